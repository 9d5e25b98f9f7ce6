import type { FastifyReply } from "fastify";
import { z } from "zod";
import type { Context } from "../context.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { sendProblem } from "../http/send-problem.ts";
import { type AnswerOfferResult, answerOffer } from "./answer-offer.ts";

export const answeredOffer = z.object({ deliveryId: z.uuid(), answer: z.enum(["accepted", "declined"]) });

const declineBody = z.strictObject({
  reason: z.string().trim().max(500).nullable().default(null).meta({ description: "kept in the lead's history" }),
});

/** Staff answer for a partner that told them. */
export function offerRoutes(api: Api, context: Context): void {
  const tags = ["Deliveries"];

  api.post(
    "/deliveries/:id/accept",
    {
      config: { permission: "leads.decide" },
      schema: {
        tags,
        summary: "Accept a lead for the partner that it is offered to",
        description: "The whole lead is delivered, in the partner's hours, and charged.",
        params: idParams,
        response: { 200: answeredOffer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, actor } = callerOf(request);
      const { id: deliveryId } = request.params;
      const answer = { deliveryId, partnerId: null, answer: "accept", reason: null, by: "api" } as const;
      const result = await answerOffer(context, organisationId, answer, actor);
      return sendAnswered(reply, deliveryId, result);
    },
  );

  api.post(
    "/deliveries/:id/decline",
    {
      config: { permission: "leads.decide" },
      schema: {
        tags,
        summary: "Decline a lead for the partner that it is offered to",
        description: "Place and money go back, and the lead goes to the next partner.",
        params: idParams,
        body: declineBody,
        response: { 200: answeredOffer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, actor } = callerOf(request);
      const { id: deliveryId } = request.params;
      const { reason } = request.body;
      const answer = { deliveryId, partnerId: null, answer: "decline", reason, by: "api" } as const;
      const result = await answerOffer(context, organisationId, answer, actor);
      return sendAnswered(reply, deliveryId, result);
    },
  );
}

/** What became of an answer, as a route says it. */
export function sendAnswered(reply: FastifyReply, deliveryId: string, result: AnswerOfferResult): FastifyReply {
  switch (result.kind) {
    case "accepted":
    case "declined":
      return reply.send({ deliveryId, answer: result.kind });
    case "already":
      return sendProblem(reply, "delivery_state", {
        detail: `It is ${result.state}; only a lead that waits for the partner's answer is accepted or declined.`,
      });
    case "expired":
      return sendProblem(reply, "offer_expired", { detail: "The lead has gone on to others." });
    case "not_found":
      return sendProblem(reply, "not_found");
  }
}
