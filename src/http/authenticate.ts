import type { FastifyReply, FastifyRequest } from "fastify";
import { sql } from "kysely";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { equalDigests, sha256 } from "../encrypt.ts";
import type { Api } from "./api.ts";
import { createWrongKeyLimit } from "./limit-wrong-keys.ts";
import { sendProblem } from "./send-problem.ts";

/** Who calls: everything that the request reads and writes is this organisation's. */
export interface Caller {
  readonly organisationId: string;
  readonly apiKeyId: string;
  /** As it stands in the record of changes. */
  readonly actor: string;
}

declare module "fastify" {
  interface FastifyRequest {
    caller: Caller | null;
    /** Whom the request is about, for the log: the caller's, or that of the intake key. */
    organisationId: string | null;
  }
}

/** The caller of a route that `authenticate` guards. */
export function callerOf(request: FastifyRequest): Caller {
  if (request.caller === null)
    throw new Error("The route is outside of what `authenticate` guards: register it inside.");
  return request.caller;
}

/**
 * Lets requests to the routes of `api` through only with `Authorization: Bearer <a key of an organisation>`. An address
 * that tried too many wrong keys has to wait before the next one is looked at.
 */
export function authenticate(api: Api, context: Context): void {
  const limit = createWrongKeyLimit(context.config.wrongKeysPerMinute);
  api.addHook("onRequest", async (request, reply) => {
    const digest = sha256(readBearer(request.headers.authorization));
    const waitSeconds = limit.secondsToWait(request.ip, digest, context.clock());
    if (waitSeconds > 0) {
      reply.header("retry-after", String(waitSeconds));
      return sendProblem(reply, "rate_limited", { detail: `Too many wrong API keys. Try again in ${waitSeconds} s.` });
    }
    const caller = await findCaller(context, digest);
    limit.note(request.ip, digest, caller !== null, context.clock());
    if (caller === null) return refuse(reply);
    request.caller = caller;
    request.organisationId = caller.organisationId;
    return undefined;
  });
}

/** RFC 6750: the same answer for no key, an unknown, a wrong, an expired and a revoked one. */
function refuse(reply: FastifyReply): FastifyReply {
  reply.header("www-authenticate", 'Bearer realm="Handoff"');
  return sendProblem(reply, "unauthorised", { detail: "Send the header: Authorization: Bearer <API key>" });
}

function readBearer(header: string | undefined): string {
  return /^Bearer +([\x21-\x7e]{1,500}) *$/i.exec(header ?? "")?.[1] ?? "";
}

const noOrganisation = "00000000-0000-0000-0000-000000000000";

/**
 * Finds the key by the first 8 bytes of its digest and compares the whole in constant time. An unknown key takes the same
 * steps as a known one, so that the time tells nothing either.
 */
async function findCaller(context: Context, digest: Buffer): Promise<Caller | null> {
  const { rows } = await sql<{ organisationId: string; apiKeyId: string }>`
    select * from find_api_key(${digest.subarray(0, 8)})
  `.execute(context.database);
  const { organisationId, apiKeyId } = rows[0] ?? { organisationId: noOrganisation, apiKeyId: noOrganisation };
  const row = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("apiKeys")
      .select(["name", "keyHash", "expiresAt", "revokedAt"])
      .where("id", "=", apiKeyId)
      .executeTakeFirst(),
  );
  const isRight = equalDigests(row?.keyHash ?? Buffer.alloc(digest.length), digest);
  if (row === undefined || !isRight || row.revokedAt !== null) return null;
  if (row.expiresAt !== null && row.expiresAt <= context.clock()) return null;
  return { organisationId, apiKeyId, actor: `API key ${row.name}` };
}
