import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, instantSchema, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { alertKinds } from "./insert-alerts.ts";
import { isSignedByTwilio, takeSmsStatus } from "./sms-status.ts";

const alertStates = ["due", "sent", "delivered", "failed"] as const;

const alertAnswer = z
  .object({
    id: z.uuid(),
    kind: z.string().meta({ description: alertKinds.join(", ") }),
    channel: z.enum(["sms", "email"]),
    recipient: z.string(),
    partnerId: z.uuid().nullable(),
    leadId: z.uuid().nullable(),
    deliveryId: z.uuid().nullable(),
    state: z.enum(alertStates).meta({ description: "delivered only where the SMS service reports it" }),
    dueAt: instantSchema.nullable().meta({ description: "when it is tried next" }),
    attemptCount: z.int(),
    segments: z.int().nullable().meta({ description: "of an SMS that was sent: what is charged" }),
    error: z.string().nullable().meta({ description: "why the last attempt did not go well" }),
    createdAt: instantSchema,
    finishedAt: instantSchema.nullable(),
  })
  .meta({ id: "Alert" });

const alertsQuery = z.strictObject({
  ...pageQuery,
  state: z.enum(alertStates).optional(),
  kind: z.enum(alertKinds).optional(),
  partnerId: z.uuid().optional(),
});

/** The routes for an organisation's own eyes. Register where `authenticate` guards. */
export function alertRoutes(api: Api, context: Context): void {
  api.get(
    "/alerts",
    {
      config: { permission: "leads.read" },
      schema: {
        tags: ["Alerts"],
        summary: "Messages to partners and staff, and what became of them",
        querystring: alertsQuery,
        response: { 200: pageSchema(alertAnswer), ...problems },
      },
    },
    async (request) => {
      const found = await readAlerts(context, callerOf(request).organisationId, request.query);
      const { rows, nextCursor } = cutPage(found, request.query);
      const data = rows.map((row) => ({
        ...row,
        dueAt: row.dueAt?.toISOString() ?? null,
        createdAt: row.createdAt.toISOString(),
        finishedAt: row.finishedAt?.toISOString() ?? null,
      }));
      return { data, nextCursor };
    },
  );
}

async function readAlerts(
  context: Context,
  organisationId: string,
  { state, kind, partnerId, ...page }: z.infer<typeof alertsQuery>,
) {
  return inOrganisation(context.database, organisationId, async (transaction) => {
    let query = transaction
      .selectFrom("alerts")
      .select(["id", "kind", "channel", "recipient", "partnerId", "leadId", "deliveryId", "state", "dueAt"])
      .select(["attemptCount", "segments", "error", "createdAt", "finishedAt"]);
    if (state !== undefined) query = query.where("state", "=", state);
    if (kind !== undefined) query = query.where("kind", "=", kind);
    if (partnerId !== undefined) query = query.where("partnerId", "=", partnerId);
    return pageRows(query, page).execute();
  });
}

/** Twilio's reports are a few hundred bytes. */
const reportLimitBytes = 16 * 1024;

/**
 * Where Twilio reports what became of an SMS. It has a signature and no API key: register outside of what `authenticate`
 * guards, in a scope of its own, which takes forms.
 */
export function smsStatusRoutes(api: Api, context: Context): void {
  api.addContentTypeParser(
    "application/x-www-form-urlencoded",
    { parseAs: "string", bodyLimit: reportLimitBytes },
    async (_request: unknown, body: string) => Object.fromEntries(new URLSearchParams(body)),
  );
  api.post(
    "/alerts/sms-status",
    {
      schema: {
        tags: ["Alerts"],
        summary: "For the SMS service only: what became of a message",
        security: [],
        headers: z.looseObject({ "x-twilio-signature": z.string().default("") }),
        body: z.record(z.string(), z.string()),
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      if (!isSignedByTwilio(context, request.headers["x-twilio-signature"], request.body)) {
        return sendProblem(reply, "not_signed");
      }
      const result = await takeSmsStatus(context, request.body);
      if (result === "unreadable") return sendProblem(reply, "invalid_body");
      if (result === "unknown_message") return sendProblem(reply, "not_found");
      return reply.code(204).send();
    },
  );
}
