import { z } from "zod";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { type Api, idParams, instantSchema, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { cutPage, pageQuery, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { explainRefusal } from "../returns/return-policy.ts";
import { returnReasonCodeSchema } from "../returns/return-reasons.ts";
import { decideReturn, returnLead } from "./return-lead.ts";

const returnBody = z
  .strictObject({
    partnerId: z.uuid("must be the id of a partner"),
    reason: returnReasonCodeSchema.nullable().default(null).meta({ description: "of the organisation's list" }),
    comment: z
      .string()
      .trim()
      .min(1)
      .max(1000)
      .nullable()
      .default(null)
      .meta({ description: "in the partner's words" }),
    override: z.boolean().default(false).meta({
      description: "by staff: past time, number and reasons, and one that was declined before; recorded",
    }),
  })
  .refine(({ reason, comment }) => reason !== null || comment !== null, {
    path: ["reason"],
    error: "must be given, or a comment",
  });

const decisionBody = z.strictObject({
  decision: z.enum(["accepted", "declined"], "must be accepted or declined"),
  note: z.string().trim().min(1).max(1000).nullable().default(null).meta({ description: "for the partner" }),
});

const returnStates = ["open", "accepted", "declined"] as const;

const returnAnswer = z
  .object({
    id: z.uuid(),
    leadId: z.uuid(),
    deliveryId: z.uuid(),
    partnerId: z.uuid(),
    partnerName: z.string(),
    state: z.enum(returnStates),
    reason: z.object({ code: z.string(), text: z.string() }).nullable().meta({ description: "of the list, as it was" }),
    comment: z.string().nullable(),
    overridden: z.array(z.looseObject({ code: z.string(), text: z.string() })),
    soldAt: instantSchema.meta({ description: "it counts in this month" }),
    askedAt: instantSchema,
    askedBy: z.string(),
    decidedAt: instantSchema.nullable(),
    decidedBy: z.string().nullable(),
    note: z.string().nullable(),
  })
  .meta({ id: "Return" });

const listQuery = z.strictObject({
  ...pageQuery,
  state: z.enum(returnStates).optional(),
  partnerId: z.uuid().optional(),
  leadId: z.uuid().optional(),
});

/** Leads that partners give back, and what is decided about it. */
export function returnRoutes(api: Api, context: Context): void {
  askRoute(api, context);
  listRoutes(api, context);
  decideRoute(api, context);
}

function askRoute(api: Api, context: Context): void {
  api.post(
    "/leads/:id/returns",
    {
      config: { permission: "leads.decide" },
      schema: {
        tags: ["Returns"],
        summary: "Return a lead for a partner",
        description: "Accepted at once or open until staff decide, as `returns` of the partner says.",
        params: idParams,
        body: returnBody,
        response: { 201: returnAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, actor } = callerOf(request);
      const result = await returnLead(context, organisationId, { leadId: request.params.id, ...request.body }, actor);
      switch (result.kind) {
        case "asked":
          return reply.code(201).send(await requireReturn(context, organisationId, result.returnId));
        case "lead_not_found":
          return sendProblem(reply, "not_found");
        case "unknown_reason": {
          const message = `must be one of ${result.known.join(", ")}`;
          return sendProblem(reply, "invalid_body", { fields: [{ field: "reason", code: "not_allowed", message }] });
        }
        case "refused": {
          const hint = result.mayOverride ? " Send override: true to return it all the same." : "";
          const detail = result.refusals.map(explainRefusal).join(" ") + hint;
          const fields = result.refusals.map((refusal) => ({
            field: refusal.code === "reason_not_taken" ? "reason" : "partnerId",
            code: refusal.code,
            message: explainRefusal(refusal),
          }));
          return sendProblem(reply, "return_refused", { detail, fields });
        }
      }
    },
  );
}

function listRoutes(api: Api, context: Context): void {
  api.get(
    "/returns",
    {
      config: { permission: "leads.read" },
      schema: {
        tags: ["Returns"],
        summary: "Returns of leads, newest first",
        querystring: listQuery,
        response: { 200: pageSchema(returnAnswer), ...problems },
      },
    },
    async (request) => {
      const { organisationId } = callerOf(request);
      const found = await inOrganisation(context.database, organisationId, async (transaction) =>
        findReturns(transaction, request.query),
      );
      const { rows, nextCursor } = cutPage(found, request.query);
      return { data: rows.map(presentReturn), nextCursor };
    },
  );

  api.get(
    "/returns/:id",
    {
      config: { permission: "leads.read" },
      schema: {
        tags: ["Returns"],
        summary: "A return",
        params: idParams,
        response: { 200: returnAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const found = await findReturn(context, callerOf(request).organisationId, request.params.id);
      return found ?? sendProblem(reply, "not_found");
    },
  );
}

function decideRoute(api: Api, context: Context): void {
  api.post(
    "/returns/:id/decide",
    {
      config: { permission: "leads.decide" },
      schema: {
        tags: ["Returns"],
        summary: "Accept or decline an open return",
        description: "Accepted, the sale is taken back as was agreed when the return was asked for.",
        params: idParams,
        body: decisionBody,
        response: { 200: returnAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, actor } = callerOf(request);
      const { id: returnId } = request.params;
      const result = await decideReturn(context, organisationId, { returnId, ...request.body }, actor);
      switch (result.kind) {
        case "decided":
          return requireReturn(context, organisationId, returnId);
        case "return_not_found":
          return sendProblem(reply, "not_found");
        case "decided_before":
          return sendProblem(reply, "return_decided", { detail: `It was ${result.state} by ${result.by}.` });
        case "under_way":
          return sendProblem(reply, "delivery_under_way", {
            detail: "Ask again when the attempt under way has ended.",
          });
      }
    },
  );
}

function selectReturns(transaction: Database) {
  return transaction
    .selectFrom("returns as r")
    .innerJoin("partners as p", "p.id", "r.partnerId")
    .select(["r.id", "r.leadId", "r.deliveryId", "r.partnerId", "p.name as partnerName", "r.state", "r.reasonCode"])
    .select(["r.reasonText", "r.comment", "r.overridden", "r.soldAt", "r.askedAt", "r.askedBy", "r.decidedAt"])
    .select(["r.decidedBy", "r.note"]);
}

async function findReturns(transaction: Database, { state, partnerId, leadId, ...page }: z.infer<typeof listQuery>) {
  let found = selectReturns(transaction);
  if (state !== undefined) found = found.where("r.state", "=", state);
  if (partnerId !== undefined) found = found.where("r.partnerId", "=", partnerId);
  if (leadId !== undefined) found = found.where("r.leadId", "=", leadId);
  if (page.cursor !== undefined) found = found.where("r.id", "<", page.cursor);
  return found
    .orderBy("r.id", "desc")
    .limit(page.limit + 1)
    .execute();
}

type FoundReturn = Awaited<ReturnType<typeof findReturns>>[number];

function presentReturn({ reasonCode, reasonText, overridden, ...row }: FoundReturn): z.infer<typeof returnAnswer> {
  return {
    ...row,
    reason: reasonCode === null ? null : { code: reasonCode, text: reasonText ?? "" },
    overridden: overridden.map((refusal) => ({ ...refusal, text: explainRefusal(refusal) })),
    soldAt: row.soldAt.toISOString(),
    askedAt: row.askedAt.toISOString(),
    decidedAt: row.decidedAt?.toISOString() ?? null,
  };
}

async function findReturn(context: Context, organisationId: string, id: string) {
  const row = await inOrganisation(context.database, organisationId, async (transaction) =>
    selectReturns(transaction).where("r.id", "=", id).executeTakeFirst(),
  );
  return row === undefined ? null : presentReturn(row);
}

async function requireReturn(context: Context, organisationId: string, id: string) {
  const found = await findReturn(context, organisationId, id);
  if (found === null) throw new Error(`Return ${id} was there a moment ago; returns are never deleted.`);
  return found;
}
