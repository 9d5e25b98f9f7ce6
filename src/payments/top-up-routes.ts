import type { FastifyReply } from "fastify";
import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { idempotencyHeaders } from "../http/idempotency-header.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { formatMoney } from "../money.ts";
import { mostMinorUnits } from "../schemas.ts";
import { lookAtTopUp } from "./look-at-top-up.ts";
import { presentTopUp, topUpAnswer, topUpStates } from "./present-top-up.ts";
import { type RefundResult, refundTopUp } from "./refund-top-up.ts";
import { type StartedTopUp, startTopUp } from "./start-top-up.ts";
import { readRefunds, readTopUp } from "./top-up-rows.ts";

const tags = ["Payments"];

export const amountSchema = z
  .int("must be a whole number of minor units (1250 is 12.50)")
  .min(1, "must be above zero")
  .max(mostMinorUnits, `must be at most ${mostMinorUnits}`);

const topUpsQuery = z.strictObject({
  ...pageQuery,
  partnerId: z.uuid().optional(),
  state: z.enum(topUpStates).optional(),
});

/** Payments of partners through PayPal, for staff. */
export function topUpRoutes(api: Api, context: Context): void {
  startRoute(api, context);
  readRoutes(api, context);
  captureRoute(api, context);
  refundRoute(api, context);
}

function startRoute(api: Api, context: Context): void {
  api.post(
    "/partners/:id/top-ups",
    {
      config: { permission: "money.change" },
      schema: {
        tags,
        summary: "Begin a payment of a partner through PayPal",
        description:
          "The payer approves it at `approvalUrl`. It is credited once PayPal has the money. With an Idempotency-Key it is begun once.",
        params: idParams,
        headers: idempotencyHeaders,
        body: z.strictObject({
          amount: amountSchema.meta({ description: "in minor units of the partner's currency" }),
        }),
        response: { 201: topUpAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const idempotencyKey = request.headers["idempotency-key"] ?? null;
      const topUp = { partnerId: request.params.id, amountMinor: request.body.amount, idempotencyKey };
      const started = await startTopUp(context, change, topUp);
      if (started.kind !== "started") return refuseStart(reply, started, request.body.amount);
      return reply.code(201).send(await requireTopUp(context, change.organisationId, started.id));
    },
  );
}

function refuseStart(
  reply: FastifyReply,
  refusal: Exclude<StartedTopUp, { kind: "started" }>,
  given: number,
): FastifyReply {
  switch (refusal.kind) {
    case "partner_not_found":
      return sendProblem(reply, "not_found");
    case "not_set_up":
      return sendProblem(reply, "payments_not_set_up", { detail: refusal.reason });
    case "bad_amount": {
      const field = { field: "amount", code: refusal.code, message: refusal.reason, given };
      return sendProblem(reply, "invalid_body", { fields: [field] });
    }
    case "idempotency_conflict":
      return sendProblem(reply, "idempotency_conflict");
    case "service_trouble":
      return sendProblem(reply, "payment_service_trouble", { detail: refusal.reason });
  }
}

function readRoutes(api: Api, context: Context): void {
  api.get(
    "/top-ups",
    {
      config: { permission: "money.read" },
      schema: {
        tags,
        summary: "Payments through PayPal, newest first",
        querystring: topUpsQuery,
        response: { 200: pageSchema(topUpAnswer), ...problems },
      },
    },
    async (request) => {
      const { organisationId } = callerOf(request);
      const { partnerId, state, ...page } = request.query;
      return inOrganisation(context.database, organisationId, async (transaction) => {
        let query = transaction.selectFrom("topUps").selectAll();
        if (partnerId !== undefined) query = query.where("partnerId", "=", partnerId);
        if (state !== undefined) query = query.where("state", "=", state);
        const { rows, nextCursor } = cutPage(await pageRows(query, page).execute(), page);
        const ids = rows.map(({ id }) => id);
        const refunds = await readRefunds(transaction, ids);
        const data = rows.map((row) => presentTopUp({ row, refunds: refunds.filter((one) => one.topUpId === row.id) }));
        return { data, nextCursor };
      });
    },
  );

  api.get(
    "/top-ups/:id",
    {
      config: { permission: "money.read" },
      schema: {
        tags,
        summary: "A payment through PayPal, with what went back of it",
        params: idParams,
        response: { 200: topUpAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const topUp = await findTopUp(context, callerOf(request).organisationId, request.params.id);
      return topUp ?? sendProblem(reply, "not_found");
    },
  );
}

function captureRoute(api: Api, context: Context): void {
  api.post(
    "/top-ups/:id/capture",
    {
      config: { permission: "money.change" },
      schema: {
        tags,
        summary: "Ask PayPal now, and take the money if the payer has approved it",
        description: "This happens by itself when the payer comes back, by webhook, or within minutes by the poll.",
        params: idParams,
        response: { 200: topUpAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId } = callerOf(request);
      const { id } = request.params;
      const look = await lookAtTopUp(context, organisationId, id);
      if (look.kind === "not_found") return sendProblem(reply, "not_found");
      if (look.kind === "unknown") return sendProblem(reply, "payment_service_trouble", { detail: look.reason });
      return requireTopUp(context, organisationId, id);
    },
  );
}

const refundSchema = z.strictObject({
  amount: amountSchema.nullable().default(null).meta({ description: "in minor units; null: all that is left of it" }),
  reason: z.string().trim().min(1).max(500),
});

function refundRoute(api: Api, context: Context): void {
  api.post(
    "/top-ups/:id/refunds",
    {
      config: { permission: "money.change" },
      schema: {
        tags,
        summary: "Give a payment back through PayPal, or a part of it",
        description:
          "It is taken from the partner's account at once, and put back if PayPal does not do it. With an Idempotency-Key it is given back once.",
        params: idParams,
        headers: idempotencyHeaders,
        body: refundSchema,
        response: { 201: topUpAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const { id } = request.params;
      const { amount, reason } = request.body;
      const idempotencyKey = request.headers["idempotency-key"] ?? null;
      const result = await refundTopUp(context, change, { topUpId: id, amountMinor: amount, reason, idempotencyKey });
      if (result.kind !== "asked") return refuseRefund(reply, result);
      return reply.code(201).send(await requireTopUp(context, change.organisationId, id));
    },
  );
}

function refuseRefund(reply: FastifyReply, refusal: Exclude<RefundResult, { kind: "asked" }>): FastifyReply {
  switch (refusal.kind) {
    case "not_found":
    case "idempotency_conflict":
      return sendProblem(reply, refusal.kind);
    case "top_up_state":
      return sendProblem(reply, "top_up_state", { detail: refusal.reason });
    case "refund_beyond_payment": {
      const left = formatMoney(refusal.leftMinor, refusal.currency);
      return sendProblem(reply, "refund_beyond_payment", { detail: `${left} is left of it.` });
    }
    case "insufficient_funds":
      return sendProblem(reply, "insufficient_funds", { detail: `${refusal.availableMinor} can be taken at most.` });
    case "bad_amount": {
      const field = { field: "amount", code: "invalid", message: refusal.reason };
      return sendProblem(reply, "invalid_body", { fields: [field] });
    }
  }
}

async function findTopUp(context: Context, organisationId: string, id: string) {
  const stored = await inOrganisation(context.database, organisationId, async (transaction) =>
    readTopUp(transaction, id),
  );
  return stored === null ? null : presentTopUp(stored);
}

async function requireTopUp(context: Context, organisationId: string, id: string) {
  const topUp = await findTopUp(context, organisationId, id);
  if (topUp === null) throw new Error(`Top-up ${id} was there a moment ago; top-ups are never deleted.`);
  return topUp;
}
