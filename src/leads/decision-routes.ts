import { z } from "zod";
import type { Context } from "../context.ts";
import { reasonAnswer } from "../delivery/present-delivery.ts";
import { type Api, idParams, instantSchema, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { sendProblem } from "../http/send-problem.ts";
import { choiceResults } from "../routing/choose.ts";
import { explainReason, type Reason } from "../routing/reasons.ts";
import { explainLead } from "./explain-lead.ts";
import { redeliverLead } from "./redeliver-lead.ts";
import { referLead } from "./refer-lead.ts";
import { resolveDelivery } from "./resolve-delivery.ts";
import { unreferLead } from "./unrefer-lead.ts";

const reasonText = z
  .string()
  .trim()
  .max(500)
  .nullable()
  .default(null)
  .meta({ description: "kept in the lead's history" });

const fieldProblem = z.looseObject({ field: z.string(), code: z.string(), message: z.string() });

const explanationAnswer = z.object({
  status: z.enum(["valid", "duplicate", "invalid"]),
  fields: z.array(fieldProblem).readonly(),
  duplicateOf: z.uuid().nullable(),
  partners: z
    .array(
      z.object({
        partnerId: z.uuid(),
        name: z.string(),
        groupId: z.uuid(),
        price: z.int().meta({ description: "in minor units" }),
        margin: z.int().nullable().meta({
          description: "the price less what the introducer would be owed; null where that is in another currency",
        }),
        result: z.enum(choiceResults),
        reasons: z.array(reasonAnswer).readonly(),
      }),
    )
    .readonly()
    .meta({ description: "in the order in which they would be asked" }),
});

const referBody = z.strictObject({
  partnerId: z.uuid("must be the id of a partner"),
  override: z
    .boolean()
    .default(false)
    .meta({ description: "past limits, hours, funds, filter, sale limit and the partner's acceptance; recorded" }),
  reason: reasonText,
});

const redeliverBody = z.strictObject({ deliveryId: z.uuid().nullable().default(null), reason: reasonText });

const unreferBody = z.strictObject({
  partnerId: z.uuid("must be the id of a partner"),
  reason: reasonText,
  reroute: z.boolean().default(false).meta({ description: "whether the lead goes on to other partners" }),
});

const resolveBody = z.strictObject({
  outcome: z.enum(["delivered", "not_delivered"], "must be delivered or not_delivered"),
  reference: z.string().trim().max(200).nullable().default(null),
  reason: reasonText,
});

const deliveryAnswer = z.object({ deliveryId: z.uuid() });
const referredAnswer = deliveryAnswer.extend({
  offeredUntil: instantSchema
    .nullable()
    .meta({ description: "until when the partner may accept it; null: it is sent at once" }),
  overridden: z.array(reasonAnswer),
});

/** Decisions about leads: asking who would get one, and what staff do by hand. */
export function decisionRoutes(api: Api, context: Context): void {
  explainRoute(api, context);
  referRoute(api, context);
  redeliverRoute(api, context);
  unreferRoute(api, context);
  resolveRoute(api, context);
}

function explainRoute(api: Api, context: Context): void {
  api.post(
    "/campaigns/:id/explain",
    {
      config: { permission: "leads.read" },
      schema: {
        tags: ["Leads"],
        summary: "Who would get this lead now, and every reason for and against each partner",
        description: "The body is a lead as intake takes it. Nothing is stored, sent, counted or charged.",
        params: idParams,
        querystring: z.strictObject({
          intakeKeyId: z.uuid().optional().meta({ description: "over which key the lead would come" }),
        }),
        body: z.record(z.string(), z.unknown()),
        response: { 200: explanationAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId } = callerOf(request);
      const { intakeKeyId = null } = request.query;
      const explanation = await explainLead(context, organisationId, request.params.id, request.body, intakeKeyId);
      if (explanation === null) return sendProblem(reply, "not_found");
      const partners = explanation.partners.map(({ priceMinor, marginMinor, ...partner }) => ({
        ...partner,
        price: priceMinor,
        margin: marginMinor,
      }));
      return { ...explanation, fields: explanation.fields.map((problem) => ({ ...problem })), partners };
    },
  );
}

function referRoute(api: Api, context: Context): void {
  api.post(
    "/leads/:id/refer",
    {
      config: { permission: "leads.decide" },
      schema: {
        tags: ["Leads"],
        summary: "Send a lead to a partner by hand",
        description:
          "Obeys limits, hours, funds and filters unless `override` is true. A partner that accepts first is offered it.",
        params: idParams,
        body: referBody,
        response: { 202: referredAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, actor } = callerOf(request);
      const result = await referLead(context, organisationId, { leadId: request.params.id, ...request.body }, actor);
      switch (result.kind) {
        case "referred": {
          const { deliveryId, offeredUntil, overridden } = result;
          const until = offeredUntil?.toISOString() ?? null;
          return reply.code(202).send({ deliveryId, offeredUntil: until, overridden: overridden.map(inWords) });
        }
        case "lead_not_found":
          return sendProblem(reply, "not_found");
        case "partner_not_found":
          return sendProblem(reply, "invalid_body", { fields: [unknownPartner] });
        case "lead_state":
          return sendProblem(reply, "lead_state", { detail: `It is ${result.state}.` });
        case "in_transfer":
          return sendProblem(reply, "transfer_open", { detail: "Mark the transfer first, or wait until it is over." });
        case "refused": {
          const hint = result.mayOverride ? " Send override: true to refer it all the same." : "";
          const detail = result.reasons.map(explainReason).join(" ") + hint;
          const fields = result.reasons.map((reason) => ({
            field: "partnerId",
            code: reason.code,
            message: explainReason(reason),
          }));
          return sendProblem(reply, "referral_refused", { detail, fields });
        }
      }
    },
  );
}

function redeliverRoute(api: Api, context: Context): void {
  api.post(
    "/leads/:id/redeliver",
    {
      config: { permission: "leads.decide" },
      schema: {
        tags: ["Leads"],
        summary: "Send a lead again to a partner that has it, or may have it",
        description: "Free of charge, in the partner's hours, under the same idempotency key.",
        params: idParams,
        body: redeliverBody,
        response: { 202: deliveryAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, actor } = callerOf(request);
      const result = await redeliverLead(
        context,
        organisationId,
        { leadId: request.params.id, ...request.body },
        actor,
      );
      switch (result.kind) {
        case "redelivering":
          return reply.code(202).send({ deliveryId: result.deliveryId });
        case "lead_not_found":
          return sendProblem(reply, "not_found");
        case "delivery_not_found":
          return sendProblem(reply, "delivery_state", {
            detail: "No delivery of this lead is delivered or uncertain.",
          });
        case "several":
          return sendProblem(reply, "several_deliveries", {
            detail: `deliveryId is one of ${result.deliveryIds.join(", ")}.`,
          });
        case "delivery_state":
          return sendProblem(reply, "delivery_state", {
            detail: `It is ${result.state}; only a delivered or uncertain one is sent again.`,
          });
      }
    },
  );
}

function unreferRoute(api: Api, context: Context): void {
  api.post(
    "/leads/:id/unrefer",
    {
      config: { permission: "leads.decide" },
      schema: {
        tags: ["Leads"],
        summary: "Take a lead back from a partner",
        description: "Place and money go back. The partner is not given this lead again by routing.",
        params: idParams,
        body: unreferBody,
        response: { 200: deliveryAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, actor } = callerOf(request);
      const result = await unreferLead(context, organisationId, { leadId: request.params.id, ...request.body }, actor);
      switch (result.kind) {
        case "unreferred":
          return { deliveryId: result.deliveryId };
        case "lead_not_found":
          return sendProblem(reply, "not_found");
        case "delivery_not_found":
          return sendProblem(reply, "delivery_state", {
            detail: "The partner has no delivery of this lead to take back.",
          });
        case "under_way":
          return sendProblem(reply, "delivery_under_way", {
            detail: "Ask again when the attempt under way has ended.",
          });
      }
    },
  );
}

function resolveRoute(api: Api, context: Context): void {
  api.post(
    "/deliveries/:id/resolve",
    {
      config: { permission: "leads.decide" },
      schema: {
        tags: ["Deliveries"],
        summary: "Say whether the partner has a lead of which it is uncertain",
        description:
          "`delivered` sells and charges it; `not_delivered` gives place and money back, and the lead goes on.",
        params: idParams,
        body: resolveBody,
        response: { 200: deliveryAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, actor } = callerOf(request);
      const { id } = request.params;
      const result = await resolveDelivery(context, organisationId, { deliveryId: id, ...request.body }, actor);
      switch (result.kind) {
        case "resolved":
          return { deliveryId: id };
        case "delivery_not_found":
          return sendProblem(reply, "not_found");
        case "delivery_state":
          return sendProblem(reply, "delivery_state", {
            detail: `It is ${result.state}; only an uncertain one is resolved.`,
          });
      }
    },
  );
}

const unknownPartner = { field: "partnerId", code: "unknown", message: "must be the id of a partner of yours" };

function inWords(reason: Reason): Reason & { text: string } {
  return { ...reason, text: explainReason(reason) };
}
