import { z } from "zod";
import type { Context } from "../context.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { sendProblem } from "../http/send-problem.ts";
import { moveBillingPoint } from "./move-billing-point.ts";

const billingBody = z.strictObject({
  point: z.enum(
    ["accepted", "qualified", "converted", "closed"],
    "must be one of accepted, qualified, converted, closed",
  ),
  reason: z.string().trim().max(500).nullable().default(null).meta({ description: "kept in the lead's history" }),
});

const billingAnswer = z.object({
  deliveryId: z.uuid(),
  point: z.string(),
  moved: z.boolean().meta({ description: "false: it was so already, and nothing was changed" }),
});

/** When partners pay for what was sold to them. */
export function billingRoutes(api: Api, context: Context): void {
  api.post(
    "/deliveries/:id/billing-point",
    {
      config: { permission: "leads.decide" },
      schema: {
        tags: ["Deliveries"],
        summary: "Say that a sold lead has qualified or converted, or will not",
        description:
          "What is due up to the point is paid at once; `closed` gives back what is still reserved. A point is never gone back from.",
        params: idParams,
        body: billingBody,
        response: { 200: billingAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, actor } = callerOf(request);
      const { id: deliveryId } = request.params;
      const { point, reason } = request.body;
      const result = await moveBillingPoint(context, organisationId, { deliveryId, to: point, reason }, actor);
      switch (result.kind) {
        case "moved":
          return { deliveryId, point, moved: result.isNew };
        case "delivery_not_found":
          return sendProblem(reply, "not_found");
        case "delivery_state":
          return sendProblem(reply, "delivery_state", {
            detail: `It is ${result.state}; only a delivered one has a billing point.`,
          });
        case "refused":
          return sendProblem(reply, "billing_point", {
            detail: result.isClosed
              ? "It is closed: what was still reserved went back to the partner."
              : `It is ${result.at} already, and does not go back.`,
          });
      }
    },
  );
}
