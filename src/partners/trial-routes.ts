import { z } from "zod";
import type { Context } from "../context.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { sendProblem } from "../http/send-problem.ts";
import { previewDelivery, sendTest } from "./try-delivery.ts";

const trialSchema = z.strictObject({
  via: z.enum(["internet", "email"]).optional().meta({ description: "absent: as for real leads" }),
  campaignId: z.uuid().optional().meta({ description: "absent: the first campaign that the partner is in" }),
  fields: z
    .record(z.string(), z.unknown())
    .optional()
    .meta({ description: "in place of made-up values, as they would come in" }),
});

const shownRequest = z.record(z.string(), z.unknown()).nullable().meta({ description: "secrets are masked" });

const previewAnswer = z.object({
  channel: z.string(),
  request: shownRequest,
  problem: z
    .object({ field: z.string(), message: z.string() })
    .nullable()
    .meta({ description: "why it cannot be rendered" }),
});

const testAnswer = z.object({
  channel: z.string(),
  outcome: z.looseObject({
    kind: z.enum(["accepted", "rejected", "retry", "broken"]),
    reason: z.string().nullable(),
  }),
  status: z.int().nullable(),
  durationMs: z.number(),
  request: shownRequest,
  response: z.record(z.string(), z.unknown()).nullable(),
});

/** Trying a partner's delivery without a real lead. */
export function trialRoutes(api: Api, context: Context): void {
  const tags = ["Partners"];

  api.post(
    "/partners/:id/preview",
    {
      config: { permission: "partners.change" },
      schema: {
        tags,
        summary: "Show what a partner would be sent, without sending it",
        params: idParams,
        body: trialSchema
          .extend({ leadId: z.uuid().optional().meta({ description: "a lead that is stored" }) })
          .prefault({}),
        response: { 200: previewAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const trial = { partnerId: request.params.id, ...request.body };
      const preview = await previewDelivery(context, callerOf(request).organisationId, trial);
      switch (preview.kind) {
        case "not_found":
          return sendProblem(reply, "not_found");
        case "invalid":
          return sendProblem(reply, "invalid_body", { fields: preview.fields });
        case "rendered":
          return { channel: preview.channel, request: preview.request, problem: null };
        case "not_renderable": {
          const { channel, field, reason } = preview;
          return { channel, request: null, problem: { field, message: reason } };
        }
      }
    },
  );

  api.post(
    "/partners/:id/test",
    {
      config: { permission: "partners.change" },
      schema: {
        tags,
        summary: "Send a partner a made-up lead",
        description:
          "Marked as a test by `delivery.test` and the header X-Handoff-Test. It counts towards no limit and costs nothing.",
        params: idParams,
        body: trialSchema.prefault({}),
        response: { 200: testAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const trial = { partnerId: request.params.id, ...request.body };
      const sent = await sendTest(context, changeBy(context, request), trial);
      if (sent.kind === "not_found") return sendProblem(reply, "not_found");
      if (sent.kind === "invalid") return sendProblem(reply, "invalid_body", { fields: sent.fields });
      const { channel, outcome, status, durationMs, request: shown, response } = sent;
      return { channel, outcome: { ...outcome }, status, durationMs, request: shown, response };
    },
  );
}
