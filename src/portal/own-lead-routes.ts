import type { FastifyRequest } from "fastify";
import { z } from "zod";
import type { Context } from "../context.ts";
import { partnerStatuses } from "../delivery/partner-status.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { partnerCallerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { returnLead } from "../leads/return-lead.ts";
import { explainRefusal } from "../returns/return-policy.ts";
import { returnReasonCodeSchema } from "../returns/return-reasons.ts";
import { findOwnLeads, mostLookedAt, ownLeadsQuery } from "./find-own-leads.ts";
import { ownReturnAnswer, ownReturnStates, presentOwnReturn, selectOwnReturns } from "./own-returns.ts";
import { readForPartner } from "./portal-call.ts";
import {
  type OwnLeadDetail,
  ownLeadAnswer,
  ownLeadDetail,
  presentOwnLead,
  readOwnLeadDetail,
} from "./present-own-lead.ts";
import { setLeadStatus } from "./set-lead-status.ts";

const tags = ["Partner portal"];

const noteSchema = z.string().trim().min(1).max(1000).nullable().default(null);

const statusBody = z.strictObject({
  status: z.enum(partnerStatuses, `must be one of ${partnerStatuses.join(", ")}`),
  note: noteSchema,
});

const returnBody = z
  .strictObject({
    reason: returnReasonCodeSchema.nullable().default(null).meta({ description: "of `returnReasons` of the account" }),
    comment: noteSchema.meta({ description: "in your words" }),
  })
  .refine(({ reason, comment }) => reason !== null || comment !== null, {
    path: ["reason"],
    error: "must be given, or a comment",
  });

/** A partner's leads, for its own people. */
export function ownLeadRoutes(api: Api, context: Context): void {
  readRoutes(api, context);
  statusRoute(api, context);
  returnRoute(api, context);
  returnsRoute(api, context);
}

function readRoutes(api: Api, context: Context): void {
  api.get(
    "/portal/leads",
    {
      config: { permission: "portal.leads.read" },
      schema: {
        tags,
        summary: "Your leads, newest first",
        description: `A search looks at ${mostLookedAt} leads for each page: a page may hold fewer than asked for, and have a next one.`,
        querystring: ownLeadsQuery,
        response: { 200: pageSchema(ownLeadAnswer), ...problems },
      },
    },
    async (request, reply) => {
      const found = await readForPartner(context, request, async (transaction, partnerId) =>
        findOwnLeads(transaction, partnerId, request.query),
      );
      if (!found.ok) return sendProblem(reply, "invalid_query", { fields: found.fields });
      return { data: found.rows.map(presentOwnLead), nextCursor: found.nextCursor };
    },
  );

  api.get(
    "/portal/leads/:id",
    {
      config: { permission: "portal.leads.read" },
      schema: {
        tags,
        summary: "One of your leads, whole, with what happened to it",
        params: idParams,
        response: { 200: ownLeadDetail, ...problems },
      },
    },
    async (request, reply) => (await readLead(context, request, request.params.id)) ?? sendProblem(reply, "not_found"),
  );
}

async function readLead(context: Context, request: FastifyRequest, id: string): Promise<OwnLeadDetail | null> {
  return readForPartner(context, request, async (transaction, partnerId) =>
    readOwnLeadDetail(transaction, partnerId, id),
  );
}

async function requireLead(context: Context, request: FastifyRequest, id: string): Promise<OwnLeadDetail> {
  const lead = await readLead(context, request, id);
  if (lead === null) throw new Error(`Delivery ${id} was the partner's a moment ago; sales are never deleted.`);
  return lead;
}

function statusRoute(api: Api, context: Context): void {
  api.post(
    "/portal/leads/:id/status",
    {
      config: { permission: "portal.leads.status" },
      schema: {
        tags,
        summary: "Say what became of a lead",
        description: "All that you say is kept, and shown to us. It changes nothing in what the lead costs.",
        params: idParams,
        body: statusBody,
        response: { 200: ownLeadDetail, ...problems },
      },
    },
    async (request, reply) => {
      const { partnerId } = partnerCallerOf(request);
      const change = { deliveryId: request.params.id, ...request.body };
      switch (await setLeadStatus(context, changeBy(context, request), partnerId, change)) {
        case "not_found":
          return sendProblem(reply, "not_found");
        case "erased":
          return sendProblem(reply, "lead_erased");
        case "returned":
          return sendProblem(reply, "lead_state", { detail: "It was taken back: it has no status any more." });
        case "set":
          return requireLead(context, request, request.params.id);
      }
    },
  );
}

function returnRoute(api: Api, context: Context): void {
  api.post(
    "/portal/leads/:id/returns",
    {
      config: { permission: "portal.leads.return" },
      schema: {
        tags,
        summary: "Return a lead",
        description: "Accepted at once or open until it is decided, as was agreed with you.",
        params: idParams,
        body: returnBody,
        response: { 201: ownReturnAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, actor, partnerId } = partnerCallerOf(request);
      const lead = await readLead(context, request, request.params.id);
      if (lead === null) return sendProblem(reply, "not_found");
      // It may have been sold to the partner again since: that is another one of its leads.
      if (lead.state === "returned")
        return sendProblem(reply, "return_refused", { detail: "It was taken back already." });
      const asked = { leadId: lead.leadId, partnerId, ...request.body, override: false };
      const result = await returnLead(context, organisationId, asked, actor);
      switch (result.kind) {
        case "asked": {
          const row = await readForPartner(context, request, async (transaction) =>
            selectOwnReturns(transaction).where("id", "=", result.returnId).executeTakeFirstOrThrow(),
          );
          return reply.code(201).send(presentOwnReturn(row));
        }
        case "lead_not_found":
          return sendProblem(reply, "not_found");
        case "unknown_reason": {
          const message = `must be one of ${result.known.join(", ")}`;
          return sendProblem(reply, "invalid_body", { fields: [{ field: "reason", code: "not_allowed", message }] });
        }
        case "refused":
          return sendProblem(reply, "return_refused", {
            detail: result.refusals.map(explainRefusal).join(" "),
            fields: result.refusals.map((refusal) => ({
              field: refusal.code === "reason_not_taken" ? "reason" : "id",
              code: refusal.code,
              message: explainRefusal(refusal),
            })),
          });
      }
    },
  );
}

function returnsRoute(api: Api, context: Context): void {
  api.get(
    "/portal/returns",
    {
      config: { permission: "portal.leads.read" },
      schema: {
        tags,
        summary: "Your returns, newest first",
        querystring: z.strictObject({ ...pageQuery, state: z.enum(ownReturnStates).optional() }),
        response: { 200: pageSchema(ownReturnAnswer), ...problems },
      },
    },
    async (request) => {
      const { state, ...page } = request.query;
      const found = await readForPartner(context, request, async (transaction, partnerId) => {
        const own = selectOwnReturns(transaction).where("partnerId", "=", partnerId);
        return pageRows(state === undefined ? own : own.where("state", "=", state), page).execute();
      });
      const { rows, nextCursor } = cutPage(found, page);
      return { data: rows.map(presentOwnReturn), nextCursor };
    },
  );
}
