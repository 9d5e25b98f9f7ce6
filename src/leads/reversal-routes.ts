import { z } from "zod";
import type { Context } from "../context.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { sendProblem } from "../http/send-problem.ts";
import { reverseIntroducer, reverseMoney } from "./reverse-money.ts";
import { reverseReferral } from "./unrefer-lead.ts";

const reason = z.string().trim().max(500).nullable().default(null).meta({ description: "kept in the lead's history" });
const partnerId = z.uuid("must be the id of a partner");
const deliveryAnswer = z.object({ deliveryId: z.uuid() });

/** What staff take back of a sale by hand: its money, what its introducer is owed, or both with the lead. */
export function reversalRoutes(api: Api, context: Context): void {
  reverseRoute(api, context);
  reverseIntroducerRoute(api, context);
  reverseReferralRoute(api, context);
}

function reverseRoute(api: Api, context: Context): void {
  api.post(
    "/leads/:id/reverse",
    {
      config: { permission: "money.change" },
      schema: {
        tags: ["Leads"],
        summary: "Give a partner the money of one sale back, and leave it the lead",
        description: "The place stays taken, and the introducer's cost owed.",
        params: idParams,
        body: z.strictObject({ partnerId, reason }),
        response: { 200: deliveryAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, actor } = callerOf(request);
      const result = await reverseMoney(context, organisationId, { leadId: request.params.id, ...request.body }, actor);
      switch (result.kind) {
        case "reversed":
          return { deliveryId: result.deliveryId };
        case "lead_not_found":
          return sendProblem(reply, "not_found");
        case "delivery_not_found":
          return sendProblem(reply, "delivery_state", { detail: notSold });
        case "reversed_already":
          return sendProblem(reply, "sale_reversed");
      }
    },
  );
}

function reverseIntroducerRoute(api: Api, context: Context): void {
  const amounts = z.array(z.object({ currency: z.string(), amount: z.int() }));
  api.post(
    "/leads/:id/reverse-introducer",
    {
      config: { permission: "money.change" },
      schema: {
        tags: ["Leads"],
        summary: "Take back what the introducer of a lead is owed for it",
        description: "For the lead and all its sales; nothing more will be owed. What partners paid stays.",
        params: idParams,
        body: z.strictObject({ reason }),
        response: { 200: z.object({ amounts }), ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, actor } = callerOf(request);
      const reversal = { leadId: request.params.id, ...request.body };
      const result = await reverseIntroducer(context, organisationId, reversal, actor);
      switch (result.kind) {
        case "reversed":
          return { amounts: result.amounts.map(({ currency, amountMinor }) => ({ currency, amount: amountMinor })) };
        case "lead_not_found":
          return sendProblem(reply, "not_found");
        case "nothing_owed":
          return sendProblem(reply, "nothing_owed");
        case "under_way":
          return sendProblem(reply, "delivery_under_way", { detail: askAgain });
      }
    },
  );
}

function reverseReferralRoute(api: Api, context: Context): void {
  const reroute = z.boolean().default(false).meta({ description: "whether the lead goes on to other partners" });
  api.post(
    "/leads/:id/reverse-referral",
    {
      config: { permission: "money.change" },
      schema: {
        tags: ["Leads"],
        summary: "Take a sold lead back from a partner, with what its introducer is owed",
        description: "As unrefer, and the introducer's cost of the sale is taken back whatever was agreed.",
        params: idParams,
        body: z.strictObject({ partnerId, reason, reroute }),
        response: { 200: deliveryAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, actor } = callerOf(request);
      const unreferral = { leadId: request.params.id, ...request.body };
      const result = await reverseReferral(context, organisationId, unreferral, actor);
      switch (result.kind) {
        case "unreferred":
          return { deliveryId: result.deliveryId };
        case "lead_not_found":
          return sendProblem(reply, "not_found");
        case "delivery_not_found":
          return sendProblem(reply, "delivery_state", { detail: notSold });
        case "under_way":
          return sendProblem(reply, "delivery_under_way", { detail: askAgain });
      }
    },
  );
}

const notSold = "The partner has not bought this lead, or not any more.";
const askAgain = "Ask again when the attempt under way has ended.";
