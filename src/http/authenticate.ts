import type { FastifyReply, FastifyRequest } from "fastify";
import { sql } from "kysely";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { equalDigests, sha256 } from "../encrypt.ts";
import { readScopes } from "../organisations/api-keys.ts";
import { findSession, sessionCookie } from "../people/find-session.ts";
import { allStaffPermissions, type Permission } from "../people/permissions.ts";
import type { Api } from "./api.ts";
import { readCookie } from "./cookies.ts";
import { createWrongKeyLimit } from "./limit-wrong-keys.ts";
import { sendProblem } from "./send-problem.ts";

/** Who calls, by key or signed in: everything that the request reads and writes is this organisation's. */
export interface Caller {
  readonly organisationId: string;
  /** As it stands in the record of changes. */
  readonly actor: string;
  readonly apiKeyId: string | null;
  readonly userId: string | null;
  readonly sessionId: string | null;
  /** Of a partner's user: it sees what is this partner's, through routes of the portal alone. */
  readonly partnerId: string | null;
  readonly permissions: ReadonlySet<Permission>;
}

export interface PartnerCaller extends Caller {
  readonly userId: string;
  readonly partnerId: string;
}

/** `signed_in`: whoever is signed in, as staff or for a partner, about nobody but themselves. */
export type Guard = Permission | "signed_in";

declare module "fastify" {
  interface FastifyRequest {
    caller: Caller | null;
    /** Whom the request is about, for the log: the caller's, or that of the intake key. */
    organisationId: string | null;
  }
  interface FastifyContextConfig {
    /** What the caller must be allowed to do. Every guarded route names one. */
    permission?: Guard;
  }
  interface FastifySchema {
    /** Shown in the OpenAPI document. */
    "x-permission"?: Guard;
  }
}

/** The caller of a route that `authenticate` guards. */
export function callerOf(request: FastifyRequest): Caller {
  if (request.caller === null)
    throw new Error("The route is outside of what `authenticate` guards: register it inside.");
  return request.caller;
}

/** The caller of a portal route: one of a partner's users. */
export function partnerCallerOf(request: FastifyRequest): PartnerCaller {
  const caller = callerOf(request);
  const { userId, partnerId } = caller;
  if (userId === null || partnerId === null)
    throw new Error("The route names no permission of the portal: staff came through.");
  return { ...caller, userId, partnerId };
}

/**
 * Lets requests to the routes of `api` through with `Authorization: Bearer <a key of an organisation>` or the cookie of a
 * session, where the route's permission is among the caller's. An address that tried too many wrong keys has to wait before
 * the next one is looked at. A route without a permission is refused when it is registered.
 */
export function authenticate(api: Api, context: Context): void {
  const limit = createWrongKeyLimit(context.config.wrongKeysPerMinute);
  api.addHook("onRoute", (route) => {
    const permission = route.config?.permission;
    if (permission === undefined) throw new Error(`The route ${route.url} names no permission.`);
    route.schema = { ...route.schema, "x-permission": permission };
  });
  api.addHook("onRequest", async (request, reply) => {
    const offered = credentialOf(request);
    const digest = sha256(offered?.secret ?? "");
    const waitSeconds = limit.secondsToWait(request.ip, digest, context.clock());
    if (waitSeconds > 0) {
      reply.header("retry-after", String(waitSeconds));
      return sendProblem(reply, "rate_limited", { detail: `Too many wrong API keys. Try again in ${waitSeconds} s.` });
    }
    const caller = offered?.kind === "session" ? await findSignedIn(context, digest) : await findKey(context, digest);
    limit.note(request.ip, digest, caller !== null, context.clock());
    if (caller === null) return refuse(reply);
    if (offered?.kind === "session" && isFromElsewhere(context, request)) return sendProblem(reply, "cross_site");
    const { permission } = request.routeOptions.config;
    if (permission === undefined || !mayPass(caller, permission)) {
      return sendProblem(reply, "not_allowed", { detail: `This takes the permission ${permission}.` });
    }
    request.caller = caller;
    request.organisationId = caller.organisationId;
    return undefined;
  });
}

function mayPass({ userId, permissions }: Caller, guard: Guard): boolean {
  return guard === "signed_in" ? userId !== null : permissions.has(guard);
}

/** RFC 6750: the same answer for no key, an unknown, a wrong, an expired and a revoked one. */
function refuse(reply: FastifyReply): FastifyReply {
  reply.header("www-authenticate", 'Bearer realm="Handoff"');
  return sendProblem(reply, "unauthorised", { detail: "Send the header: Authorization: Bearer <API key>" });
}

interface Credential {
  readonly kind: "key" | "session";
  readonly secret: string;
}

/** A key goes before a cookie: a browser adds its cookie unasked. */
function credentialOf({ headers }: FastifyRequest): Credential | null {
  if (headers.authorization !== undefined) return { kind: "key", secret: readBearer(headers.authorization) };
  const token = readCookie(headers.cookie, sessionCookie);
  return token === null ? null : { kind: "session", secret: token };
}

function readBearer(header: string): string {
  return /^Bearer +([\x21-\x7e]{1,500}) *$/i.exec(header)?.[1] ?? "";
}

const safeMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/**
 * Whether another site may have had the browser send this: what changes something comes from our own pages, as the browser
 * says (Fetch Metadata), or an older one by Origin (RFC 6454).
 */
function isFromElsewhere(context: Context, { method, headers }: FastifyRequest): boolean {
  if (safeMethods.has(method)) return false;
  const site = headers["sec-fetch-site"];
  if (site !== undefined) return site !== "same-origin";
  return headers.origin !== new URL(context.config.publicUrl).origin;
}

const noOrganisation = "00000000-0000-0000-0000-000000000000";

/**
 * Finds the key by the first 8 bytes of its digest and compares the whole in constant time. An unknown key takes the same
 * steps as a known one, so that the time tells nothing either.
 */
async function findKey(context: Context, digest: Buffer): Promise<Caller | null> {
  const { rows } = await sql<{ organisationId: string; apiKeyId: string }>`
    select * from find_api_key(${digest.subarray(0, 8)})
  `.execute(context.database);
  const { organisationId, apiKeyId } = rows[0] ?? { organisationId: noOrganisation, apiKeyId: noOrganisation };
  const row = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("apiKeys")
      .select(["name", "keyHash", "scopes", "expiresAt", "revokedAt"])
      .where("id", "=", apiKeyId)
      .executeTakeFirst(),
  );
  const isRight = equalDigests(row?.keyHash ?? Buffer.alloc(digest.length), digest);
  if (row === undefined || !isRight || row.revokedAt !== null) return null;
  if (row.expiresAt !== null && row.expiresAt <= context.clock()) return null;
  return {
    organisationId,
    actor: `API key ${row.name}`,
    apiKeyId,
    userId: null,
    sessionId: null,
    partnerId: null,
    permissions: new Set(readScopes(row.scopes) ?? allStaffPermissions),
  };
}

async function findSignedIn(context: Context, digest: Buffer): Promise<Caller | null> {
  const user = await findSession(context, digest);
  if (user === null) return null;
  const { organisationId, actor, userId, sessionId, partnerId, permissions } = user;
  return { organisationId, actor, apiKeyId: null, userId, sessionId, partnerId, permissions };
}
