import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { partnerCallerOf } from "../http/authenticate.ts";
import { cutPage, pageQuery, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { answerOffer } from "../offers/answer-offer.ts";
import { answeredOffer, sendAnswered } from "../offers/offer-routes.ts";
import { offerAnswer, presentOffer, readOpenOffers, toOfferAnswer } from "../offers/present-offer.ts";

const tags = ["Partner portal"];

/** Leads that are offered to a partner, for its own people: no more of them than the campaign lets be seen. */
export function ownOfferRoutes(api: Api, context: Context): void {
  readRoutes(api, context);
  answerRoutes(api, context);
}

function readRoutes(api: Api, context: Context): void {
  api.get(
    "/portal/offers",
    {
      config: { permission: "portal.leads.read" },
      schema: {
        tags,
        summary: "Leads that are offered to you and wait for your answer, newest first",
        description: "Of a lead only what the campaign shows before it is accepted.",
        querystring: z.strictObject(pageQuery),
        response: { 200: pageSchema(offerAnswer), ...problems },
      },
    },
    async (request) => {
      const { organisationId, partnerId } = partnerCallerOf(request);
      const found = await inOrganisation(context.database, organisationId, async (transaction) =>
        readOpenOffers(transaction, partnerId, request.query),
      );
      const { rows, nextCursor } = cutPage(
        found.map((offer) => ({ ...offer, id: offer.deliveryId })),
        request.query,
      );
      return { data: rows.map(toOfferAnswer), nextCursor };
    },
  );

  api.get(
    "/portal/offers/:id",
    {
      config: { permission: "portal.leads.read" },
      schema: {
        tags,
        summary: "A lead that is or was offered to you, and how that stands",
        params: idParams,
        response: { 200: offerAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, partnerId } = partnerCallerOf(request);
      const offer = await presentOffer(context, organisationId, { deliveryId: request.params.id, partnerId });
      return offer === null ? sendProblem(reply, "not_found") : toOfferAnswer(offer);
    },
  );
}

function answerRoutes(api: Api, context: Context): void {
  api.post(
    "/portal/offers/:id/accept",
    {
      config: { permission: "portal.leads.accept" },
      schema: {
        tags,
        summary: "Accept a lead that is offered to you",
        description: "The whole lead is delivered, in your opening hours, and charged.",
        params: idParams,
        response: { 200: answeredOffer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, partnerId, actor } = partnerCallerOf(request);
      const { id: deliveryId } = request.params;
      const answer = { deliveryId, partnerId, answer: "accept", reason: null, by: "portal" } as const;
      return sendAnswered(reply, deliveryId, await answerOffer(context, organisationId, answer, actor));
    },
  );

  api.post(
    "/portal/offers/:id/decline",
    {
      config: { permission: "portal.leads.accept" },
      schema: {
        tags,
        summary: "Decline a lead that is offered to you",
        description: "It costs nothing, and goes to others.",
        params: idParams,
        body: z.strictObject({ reason: z.string().trim().min(1).max(500).nullable().default(null) }),
        response: { 200: answeredOffer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, partnerId, actor } = partnerCallerOf(request);
      const { id: deliveryId } = request.params;
      const answer = { deliveryId, partnerId, answer: "decline", reason: request.body.reason, by: "portal" } as const;
      return sendAnswered(reply, deliveryId, await answerOffer(context, organisationId, answer, actor));
    },
  );
}
