import type { FastifyReply } from "fastify";
import { sql } from "kysely";
import { z } from "zod";
import type { Context } from "../context.ts";
import { sha256 } from "../encrypt.ts";
import { type Api, fileAnswer, problems } from "../http/api.ts";
import { limitRate } from "../http/limit-rate.ts";
import { answerOffer } from "./answer-offer.ts";
import { readOfferToken } from "./offer-link.ts";
import { answeredPage, offerPage, type Page, pagePolicy, wrongLinkPage } from "./offer-page.ts";
import { type OfferView, presentOffer } from "./present-offer.ts";

/** A button's name and value. */
const answerLimitBytes = 1_024;

/** Somebody looks, and presses a button. */
const mostPerMinute = 60;

const tokenParams = z.object({ token: z.string() });

/** A page is what people get whatever became of the offer. */
const shown = fileAnswer("a page", "text/html");
const wrongLink = fileAnswer("a page: we did not make this link", "text/html");

/**
 * Where the link leads that a partner is sent with an offer. The link is the key: register outside of what `authenticate`
 * guards, in a scope of its own, which takes forms. To look changes nothing: programs that scan mails do.
 */
export async function offerPageRoutes(api: Api, context: Context): Promise<void> {
  await limitRate(api, context, mostPerMinute, ({ params }) => {
    const named = tokenParams.safeParse(params);
    return sha256(named.success ? named.data.token : "").toString("base64url");
  });
  api.removeAllContentTypeParsers();
  api.addContentTypeParser(
    "application/x-www-form-urlencoded",
    { parseAs: "string", bodyLimit: answerLimitBytes },
    async (_request: unknown, body: string) => Object.fromEntries(new URLSearchParams(body)),
  );
  const shared = { tags: ["Deliveries"], security: [], params: tokenParams };

  api.get(
    "/offers/:token",
    {
      schema: {
        ...shared,
        summary: "For a partner's browser: a lead that is offered to it",
        response: { 200: shown, 404: wrongLink, ...problems },
      },
    },
    async (request, reply) => {
      const found = await findOffer(context, request.params.token);
      if (found === null) return sendPage(reply, wrongLinkPage);
      request.organisationId = found.organisationId;
      return sendPage(reply, offerPage(found.offer, context.clock()));
    },
  );

  api.post(
    "/offers/:token",
    {
      schema: {
        ...shared,
        summary: "For a partner's browser: accept or decline a lead that is offered to it",
        body: z.object({ answer: z.enum(["accept", "decline"], "must be accept or decline") }),
        response: {
          200: shown,
          404: wrongLink,
          409: fileAnswer("a page: it was answered before, or taken back", "text/html"),
          410: fileAnswer("a page: the time to answer is over", "text/html"),
          ...problems,
        },
      },
    },
    async (request, reply) => {
      const found = await findOffer(context, request.params.token);
      if (found === null) return sendPage(reply, wrongLinkPage);
      const { organisationId, offer } = found;
      request.organisationId = organisationId;
      const { deliveryId, partnerId, partnerName } = offer;
      const answer = { deliveryId, partnerId, answer: request.body.answer, reason: null, by: "link" } as const;
      const result = await answerOffer(context, organisationId, answer, `${partnerName}, by the link`);
      const after = result.kind === "already" ? await presentOffer(context, organisationId, offer) : offer;
      return sendPage(reply, answeredPage(result, after ?? offer));
    },
  );
}

interface FoundOffer {
  readonly organisationId: string;
  readonly offer: OfferView;
}

async function findOffer(context: Context, token: string): Promise<FoundOffer | null> {
  const deliveryId = readOfferToken(context, token);
  if (deliveryId === null) return null;
  const { rows } = await sql<{ organisationId: string }>`select * from find_offer(${deliveryId}::uuid)`.execute(
    context.database,
  );
  const organisationId = rows[0]?.organisationId;
  if (organisationId === undefined) return null;
  const offer = await presentOffer(context, organisationId, { deliveryId, partnerId: null });
  return offer === null ? null : { organisationId, offer };
}

function sendPage(reply: FastifyReply, { status, html }: Page): FastifyReply {
  return reply
    .code(status)
    .headers({
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": pagePolicy,
      "cache-control": "no-store",
      "x-robots-tag": "noindex, nofollow",
      "referrer-policy": "no-referrer",
    })
    .send(html);
}
