import type { FastifyRequest } from "fastify";
import type { Context } from "../context.ts";
import type { Change } from "../organisations/record-change.ts";
import { callerOf } from "./authenticate.ts";

/** The change that a request makes: by its caller, now. */
export function changeBy(context: Context, request: FastifyRequest): Change {
  const { organisationId, actor } = callerOf(request);
  return { organisationId, by: actor, at: context.clock() };
}
