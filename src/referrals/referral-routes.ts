import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { sql } from "kysely";
import { z } from "zod";
import { cleanText } from "../campaigns/read-field.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { equalDigests, sha256 } from "../encrypt.ts";
import type { ErrorCode, ProblemDetails } from "../errors.ts";
import { type Api, problems } from "../http/api.ts";
import { limitRate } from "../http/limit-rate.ts";
import { createWrongKeyLimit } from "../http/limit-wrong-keys.ts";
import { sendProblem } from "../http/send-problem.ts";
import { parseFields } from "../http/validate.ts";
import {
  linkAnswerSchema,
  mostReferralBytes,
  type Referral,
  referralAnswerSchema,
  referralSchema,
  supportedVersions,
  versionedSchema,
} from "./protocol.ts";
import { findTarget, type ReceiveReferralResult, receiveReferral } from "./receive-referral.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Whose inbound the key of this request opened. */
    inbound: OpenedInbound | null;
  }
}

const inboundParams = z.object({ inboundId: z.uuid() });

interface OpenedInbound {
  readonly id: string;
  readonly organisationId: string;
}

/**
 * Where other organisations refer leads to. The inbound's key is the credential: register outside of what `authenticate`
 * guards, in a scope of its own, which takes bodies as they come.
 */
export async function referralRoutes(api: Api, context: Context): Promise<void> {
  api.decorateRequest("inbound", null);
  openByKey(api, context);
  await limitRate(api, context, context.config.intakeRatePerMinute, (request) =>
    sha256(bearerOf(request)).toString("base64url"),
  );
  api.removeAllContentTypeParsers();
  api.addContentTypeParser(
    "*",
    { parseAs: "buffer", bodyLimit: mostReferralBytes },
    async (_request: unknown, body: Buffer) => body,
  );
  api.setErrorHandler((error: FastifyError, _request, reply) => {
    if (error.code !== "FST_ERR_CTP_BODY_TOO_LARGE") throw error;
    return sendProblem(reply, "referral_too_large", { detail: `At most ${mostReferralBytes} bytes are taken.` });
  });
  checkRoute(api, context);
  receiveRoute(api, context);
}

/** Lets requests through that bear the inbound's key; the same answer for a wrong one and for an inbound that never was. */
function openByKey(api: Api, context: Context): void {
  const limit = createWrongKeyLimit(context.config.wrongKeysPerMinute);
  api.addHook("onRequest", async (request, reply) => {
    const inboundId = inboundParams.safeParse(request.params).data?.inboundId ?? null;
    const key = bearerOf(request);
    // A key is good for one inbound: what was good there is none at another.
    const tried = sha256(`${inboundId} ${key}`);
    const waitSeconds = limit.secondsToWait(request.ip, tried, context.clock());
    if (waitSeconds > 0) {
      reply.header("retry-after", String(waitSeconds));
      return sendProblem(reply, "rate_limited", { detail: `Too many wrong keys. Try again in ${waitSeconds} s.` });
    }
    request.inbound = await openInbound(context, inboundId ?? nobody, sha256(key));
    limit.note(request.ip, tried, request.inbound !== null, context.clock());
    request.organisationId = request.inbound?.organisationId ?? null;
    if (request.inbound !== null) return undefined;
    reply.header("www-authenticate", 'Bearer realm="Handoff referrals"');
    return sendProblem(reply, "referral_key_wrong", { detail: "Send the header: Authorization: Bearer <inbound key>" });
  });
}

function bearerOf({ headers }: FastifyRequest): string {
  return /^Bearer +([\x21-\x7e]{1,500}) *$/i.exec(headers.authorization ?? "")?.[1] ?? "";
}

const nobody = "00000000-0000-0000-0000-000000000000";

/** An inbound that is not there takes the same steps as one that is. */
async function openInbound(context: Context, id: string, digest: Buffer): Promise<OpenedInbound | null> {
  const { rows } = await sql<{ organisationId: string }>`
    select * from find_inbound(${id}::uuid)`.execute(context.database);
  const organisationId = rows[0]?.organisationId ?? nobody;
  const row = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction.selectFrom("inbounds").select("keyHash").where("id", "=", id).executeTakeFirst(),
  );
  const isRight = equalDigests(row?.keyHash ?? Buffer.alloc(digest.length), digest);
  return row === undefined || !isRight ? null : { id, organisationId };
}

/** The inbound that the request's key opened. */
function inboundOf({ inbound }: FastifyRequest): OpenedInbound {
  if (inbound === null) throw new Error("The route is outside of what the key of an inbound guards.");
  return inbound;
}

function checkRoute(api: Api, context: Context): void {
  api.get(
    "/referrals/inbound/:inboundId",
    {
      schema: {
        tags: ["Referrals"],
        summary: "For referrers: whether the link works",
        description: "With `Authorization: Bearer <inbound key>`.",
        security: [],
        params: inboundParams,
        response: { 200: linkAnswerSchema, ...problems },
      },
    },
    async (request, reply) => {
      const { id, organisationId } = inboundOf(request);
      return inOrganisation(context.database, organisationId, async (transaction) => {
        const target = await findTarget(transaction, { kind: "inbound", inboundId: id });
        if (target.kind === "refused") return refuse(reply, target);
        const [inbound, organisation] = await Promise.all([
          transaction.selectFrom("inbounds").select("name").where("id", "=", id).executeTakeFirstOrThrow(),
          transaction.selectFrom("organisations").select("name").executeTakeFirstOrThrow(),
        ]);
        return { versions: [...supportedVersions], organisation: organisation.name, inbound: inbound.name };
      });
    },
  );
}

function receiveRoute(api: Api, context: Context): void {
  api.post(
    "/referrals/inbound/:inboundId",
    {
      bodyLimit: mostReferralBytes,
      schema: {
        tags: ["Referrals"],
        summary: "For referrers: refer a lead",
        description:
          "With `Authorization: Bearer <inbound key>` and `Idempotency-Key: <referralId>`. What is sent and answered is in docs/referral-protocol.md. 201 the first time, 200 with the same answer for the same referral again.",
        security: [],
        params: inboundParams,
        body: z.unknown().meta({ description: "a referral, JSON, at most 1 MiB", type: "object" }),
        response: { 200: referralAnswerSchema, 201: referralAnswerSchema, ...problems },
      },
    },
    async (request, reply) => {
      const { id, organisationId } = inboundOf(request);
      const read = readReferral(request.body, request.headers["idempotency-key"]);
      if (read.kind === "refused") return sendProblem(reply, read.code, read.details);
      const { referral } = read;
      const via = { kind: "inbound", inboundId: id } as const;
      const result = await receiveReferral(context, { organisationId, via, referral });
      if (result.kind === "not_admitted") throw new Error("What comes over an inbound needs no connection.");
      if (result.kind === "refused") return refuse(reply, result);
      return reply.code(result.isReplay ? 200 : 201).send(result.answer);
    },
  );
}

type ReadReferral =
  | { readonly kind: "read"; readonly referral: Referral }
  | { readonly kind: "refused"; readonly code: ErrorCode; readonly details: ProblemDetails };

/** The referral in a body, or why it is refused. */
function readReferral(bytes: unknown, idempotencyKey: unknown): ReadReferral {
  const body = parseBody(bytes);
  if (body === undefined) {
    const detail = "The body is not well-formed JSON in UTF-8.";
    return { kind: "refused", code: "malformed_body", details: { detail } };
  }
  const version = versionedSchema.safeParse(body).data?.version;
  if (version !== undefined && !supportedVersions.includes(version)) {
    const detail = `Version ${version} is not spoken here; these are: ${supportedVersions.join(", ")}.`;
    return { kind: "refused", code: "referral_version", details: { detail, supported: supportedVersions } };
  }
  const parsed = parseFields(referralSchema, body);
  if (!parsed.ok) return { kind: "refused", code: "invalid_referral", details: { fields: parsed.fields } };
  const referral = parsed.value;
  if (idempotencyKey === undefined || idempotencyKey === referral.referralId) return { kind: "read", referral };
  const field = { field: "Idempotency-Key", code: "not_allowed", message: "must be the referralId" };
  return { kind: "refused", code: "invalid_referral", details: { fields: [field] } };
}

/** Without what PostgreSQL cannot keep; undefined where it is no JSON. */
function parseBody(body: unknown): unknown {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(Buffer.isBuffer(body) ? body : Buffer.alloc(0));
    return JSON.parse(text, (_key, value: unknown) => (typeof value === "string" ? cleanText(value) : value));
  } catch {
    return undefined;
  }
}

type Refused = Extract<ReceiveReferralResult, { kind: "refused" }>;

const refusalDetails: Readonly<Record<Refused["reason"], string>> = {
  inbound_gone: "The organisation has deleted the inbound. It will not come back.",
  inbound_disabled: "The organisation has switched the inbound off.",
  stage_gone: "The organisation has taken away the stage that the inbound leads to, and has to choose another.",
  idempotency_conflict: "This referral came before with another lead.",
};

function refuse(reply: FastifyReply, { reason }: Pick<Refused, "reason">): FastifyReply {
  return sendProblem(reply, reason, { detail: refusalDetails[reason] });
}
