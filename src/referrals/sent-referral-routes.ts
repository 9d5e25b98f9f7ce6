import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import {
  presentReferral,
  readReferral,
  referralAnswer,
  referralColumns,
  referralDetail,
  referralStates,
} from "./present-referral.ts";
import { referredFieldSchema, referredNoteSchema } from "./protocol.ts";
import { offerOutbounds, referDeal } from "./refer-deal.ts";
import { referOverConnection } from "./refer-over-connection.ts";
import { retryReferral } from "./retry-referral.ts";

const tags = ["Referrals"];

const dealOffer = z
  .object({
    shared: z
      .object({
        fields: z.array(referredFieldSchema),
        contacts: z.array(z.array(referredFieldSchema)).meta({ description: "beyond the main one" }),
        notes: z.array(referredNoteSchema),
      })
      .meta({ description: "exactly what would go" }),
    refusal: z.string().nullable().meta({ description: "why nothing of it may be referred; null: something may" }),
    outbounds: z.array(
      z.object({
        id: z.uuid(),
        name: z.string(),
        organisation: z.string().nullable().meta({ description: "the other side, as it named itself last" }),
        confirmation: z.string().meta({ description: "what has to be confirmed" }),
        referral: z
          .object({ id: z.uuid(), state: z.enum(referralStates) })
          .nullable()
          .meta({ description: "the latest referral of this lead over it" }),
      }),
    ),
  })
  .meta({ id: "DealOffer" });

const referBody = z
  .strictObject({
    outboundId: z.uuid("must be the id of an outbound").optional(),
    connectionId: z.uuid("must be the id of a connection").optional().meta({ description: "instead of an outbound" }),
    confirmed: z.boolean().default(false).meta({
      description: "over an outbound. true: the text of the refusal `confirmation_needed` was read and is so",
    }),
  })
  .refine(({ outboundId, connectionId }) => (outboundId === undefined) !== (connectionId === undefined), {
    path: ["outboundId"],
    error: "must be given, or a connectionId, and not both",
  });

const listQuery = z.strictObject({
  ...pageQuery,
  state: z.enum(referralStates).optional(),
  leadId: z.uuid().optional(),
  outboundId: z.uuid().optional(),
  connectionId: z.uuid().optional(),
});

/** Deals that go to other organisations, and what became of them. */
export function sentReferralRoutes(api: Api, context: Context): void {
  offerRoute(api, context);
  referRoute(api, context);
  listRoutes(api, context);
  retryRoute(api, context);
}

function offerRoute(api: Api, context: Context): void {
  api.get(
    "/leads/:id/outbounds",
    {
      config: { permission: "referrals.send" },
      schema: {
        tags,
        summary: "To whom a deal may be referred from where it stands, and exactly what would go",
        params: idParams,
        response: { 200: dealOffer, ...problems },
      },
    },
    async (request, reply) => {
      const offer = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) =>
        offerOutbounds(transaction, request.params.id),
      );
      return offer ?? sendProblem(reply, "not_found");
    },
  );
}

function referRoute(api: Api, context: Context): void {
  api.post(
    "/leads/:id/referrals",
    {
      config: { permission: "referrals.send" },
      schema: {
        tags,
        summary: "Refer a deal to another organisation",
        description:
          "Over an outbound, which takes a confirmation: without it 409 tells what has to be confirmed. Or over a connection, which carries the fields that are permitted. A deal goes over each once: asked for again, the first referral is answered (200), unless it was refused or cancelled.",
        params: idParams,
        body: referBody,
        response: { 200: referralDetail, 201: referralDetail, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, userId } = callerOf(request);
      const { outboundId, connectionId = "", confirmed } = request.body;
      const change = changeBy(context, request);
      const deal = { leadId: request.params.id, userId };
      const result =
        outboundId === undefined
          ? await referOverConnection(context, change, { ...deal, connectionId })
          : await referDeal(context, change, { ...deal, outboundId, confirmed });
      switch (result.kind) {
        case "lead_not_found":
          return sendProblem(reply, "not_found");
        case "outbound_not_found": {
          const message = `there is no outbound ${outboundId}`;
          return sendProblem(reply, "invalid_body", {
            fields: [{ field: "outboundId", code: "unknown_outbound", message }],
          });
        }
        case "connection_not_found": {
          const message = `there is no connection ${connectionId} to an organisation that you refer to`;
          return sendProblem(reply, "invalid_body", {
            fields: [{ field: "connectionId", code: "unknown_connection", message }],
          });
        }
        case "refused":
          return sendProblem(reply, result.code, { detail: result.detail });
        default: {
          const detail = await inOrganisation(context.database, organisationId, async (transaction) =>
            readReferral(transaction, result.referralId),
          );
          if (detail === null) throw new Error("A referral is never taken away.");
          return reply.code(result.kind === "already" ? 200 : 201).send(detail);
        }
      }
    },
  );
}

function listRoutes(api: Api, context: Context): void {
  api.get(
    "/referrals",
    {
      config: { permission: "referrals.read" },
      schema: {
        tags,
        summary: "Deals referred to other organisations, newest first",
        querystring: listQuery,
        response: { 200: pageSchema(referralAnswer), ...problems },
      },
    },
    async (request) => {
      const { state, leadId, outboundId, connectionId, ...page } = request.query;
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) => {
        let query = transaction.selectFrom("referrals").select(referralColumns);
        if (state !== undefined) query = query.where("state", "=", state);
        if (leadId !== undefined) query = query.where("leadId", "=", leadId);
        if (outboundId !== undefined) query = query.where("linkId", "=", outboundId);
        if (connectionId !== undefined) query = query.where("linkId", "=", connectionId);
        return pageRows(query, page).execute();
      });
      const { rows, nextCursor } = cutPage(found, page);
      return { data: rows.map(presentReferral), nextCursor };
    },
  );

  api.get(
    "/referrals/:id",
    {
      config: { permission: "referrals.read" },
      schema: {
        tags,
        summary: "A referral with every try",
        params: idParams,
        response: { 200: referralDetail, ...problems },
      },
    },
    async (request, reply) => {
      const referral = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) =>
        readReferral(transaction, request.params.id),
      );
      return referral ?? sendProblem(reply, "not_found");
    },
  );
}

function retryRoute(api: Api, context: Context): void {
  api.post(
    "/referrals/:id/retry",
    {
      config: { permission: "referrals.send" },
      schema: {
        tags,
        summary: "Try a referral that was given up again",
        description: "With the same content, under the same id: what arrived before is not doubled.",
        params: idParams,
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const result = await retryReferral(context, changeBy(context, request), request.params.id);
      switch (result.kind) {
        case "not_found":
          return sendProblem(reply, "not_found");
        case "erased":
          return sendProblem(reply, "lead_erased");
        case "state":
          return sendProblem(reply, "referral_state", {
            detail: `It is ${result.state}: only one that failed can be tried again.`,
          });
        default:
          return reply.code(204).send();
      }
    },
  );
}
