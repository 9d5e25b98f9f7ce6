import type { FastifyRequest } from "fastify";
import { callerOf } from "../http/authenticate.ts";
import type { SignedIn } from "./prove-identity.ts";

/** Who is signed in, on a route whose permission is `signed_in`. */
export function signedInOf(request: FastifyRequest): SignedIn {
  const { organisationId, userId, sessionId, actor } = callerOf(request);
  if (userId === null || sessionId === null)
    throw new Error("The route is not for who is signed in: a key came through.");
  return { organisationId, userId, sessionId, actor };
}
