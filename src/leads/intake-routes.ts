import { z } from "zod";
import type { Context } from "../context.ts";
import { sha256 } from "../encrypt.ts";
import type { ErrorCode } from "../errors.ts";
import { type Api, problems } from "../http/api.ts";
import { idempotencyHeaders } from "../http/idempotency-header.ts";
import { limitRate } from "../http/limit-rate.ts";
import { sendProblem } from "../http/send-problem.ts";
import { findEntrance } from "./intake-campaign.ts";
import { maxIntakeBytes, parseIntakeBody } from "./parse-intake-body.ts";
import { receiveLead } from "./receive-lead.ts";
import { waitForOutcome } from "./wait-for-outcome.ts";

const longestWaitMs = 10_000;

const intakeParams = z.object({ intakeKey: z.string() });

const intakeQuery = z.object({
  source: z.string().max(200).optional().meta({ description: "where the lead comes from, as you call it" }),
  wait: z.coerce
    .number()
    .int()
    .min(0)
    .max(longestWaitMs)
    .default(0)
    .meta({ description: "milliseconds to wait for the outcome" }),
});

const intakeAnswer = z.object({
  leadId: z.uuid(),
  status: z.enum(["received", "duplicate"]),
  duplicateOf: z.uuid().optional(),
  outcome: z
    .object({ state: z.string(), sold: z.boolean(), reason: z.string().nullable() })
    .optional()
    .meta({ description: "where it was asked for with `wait` and is known by then" }),
});

const bodyErrors = {
  400: "malformed_body",
  413: "body_too_large",
  415: "unsupported_media_type",
} as const satisfies Record<number, ErrorCode>;

/** Where leads come in. The intake key is the credential; register outside of what `authenticate` guards. */
export async function intakeRoutes(api: Api, context: Context): Promise<void> {
  await limitRate(api, context, context.config.intakeRatePerMinute, (request) =>
    sha256(intakeParams.safeParse(request.params).data?.intakeKey ?? "").toString("base64url"),
  );
  // The bytes as they came: the charset may stand inside them.
  api.removeAllContentTypeParsers();
  api.addContentTypeParser(
    "*",
    { parseAs: "buffer", bodyLimit: maxIntakeBytes },
    async (_request: unknown, body: Buffer) => body,
  );

  api.post(
    "/intake/:intakeKey",
    {
      bodyLimit: maxIntakeBytes,
      schema: {
        tags: ["Intake"],
        summary: "Send a lead",
        description:
          "The fields of the lead as JSON, a form or XML, at most 256 KiB. What the campaign does not know is kept aside; `contacts` is a list of further contacts. An invalid lead is refused with each bad field, and kept.",
        security: [],
        consumes: ["application/json", "application/x-www-form-urlencoded", "application/xml"],
        params: intakeParams,
        querystring: intakeQuery,
        headers: idempotencyHeaders,
        body: z.unknown().meta({ description: "the fields of the lead", type: "object" }),
        response: { 201: intakeAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const entrance = await findEntrance(context, request.params.intakeKey);
      if (entrance === null) return sendProblem(reply, "intake_key_unknown");
      const { organisationId } = entrance.campaign;
      request.organisationId = organisationId;
      const bytes = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      const body = parseIntakeBody(request.headers["content-type"] as string | undefined, bytes);
      if (!body.ok) return sendProblem(reply, bodyErrors[body.status], { detail: body.message });
      const { source, wait } = request.query;
      const idempotencyKey = request.headers["idempotency-key"] ?? null;
      const intake = await receiveLead(context, entrance, { raw: body.raw, idempotencyKey, source: source ?? null });
      if (intake.kind === "refused") return sendProblem(reply, intake.reason);
      if (intake.isReplay) reply.header("idempotent-replayed", "true");
      const { answer } = intake;
      if (answer.status === "invalid") {
        return sendProblem(reply, "invalid_lead", { leadId: answer.leadId, fields: answer.fields });
      }
      if (answer.status === "duplicate") return reply.code(201).send(answer);
      const outcome = await waitForOutcome(context, organisationId, answer.leadId, wait);
      return reply.code(201).send(outcome === null ? answer : { ...answer, outcome });
    },
  );
}
