import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import type { Context } from "../context.ts";
import type { Database } from "../db/database.ts";
import { type Api, idParams, instantSchema, problems } from "../http/api.ts";
import { partnerCallerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { idempotencyHeaders } from "../http/idempotency-header.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { topUpStates } from "../payments/present-top-up.ts";
import { type StartedTopUp, startTopUp } from "../payments/start-top-up.ts";
import { amountSchema } from "../payments/top-up-routes.ts";
import { isTaken } from "../payments/top-up-rows.ts";
import { readForPartner } from "./portal-call.ts";

const tags = ["Partner portal"];

const ownTopUpAnswer = z
  .object({
    id: z.uuid(),
    amount: z.int().meta({ description: "in minor units" }),
    currency: z.string(),
    state: z.enum(topUpStates),
    approvalUrl: z.string().nullable().meta({ description: "where you approve it, while that is possible" }),
    refunded: z.int().meta({ description: "what of it went back" }),
    createdAt: instantSchema,
    creditedAt: instantSchema.nullable(),
  })
  .meta({ id: "OwnTopUp" });

/** Payments that a partner makes through PayPal, by its own people. */
export function ownTopUpRoutes(api: Api, context: Context): void {
  startRoute(api, context);
  readRoutes(api, context);
}

function startRoute(api: Api, context: Context): void {
  api.post(
    "/portal/top-ups",
    {
      config: { permission: "portal.funds" },
      schema: {
        tags,
        summary: "Begin a payment through PayPal",
        description:
          "Approve it at `approvalUrl`. It is credited once PayPal has the money. With an Idempotency-Key it is begun once.",
        headers: idempotencyHeaders,
        body: z.strictObject({ amount: amountSchema.meta({ description: "in minor units of your currency" }) }),
        response: { 201: ownTopUpAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { partnerId } = partnerCallerOf(request);
      const idempotencyKey = request.headers["idempotency-key"] ?? null;
      const { amount: amountMinor } = request.body;
      const started = await startTopUp(context, changeBy(context, request), { partnerId, amountMinor, idempotencyKey });
      if (started.kind !== "started") return refuseStart(reply, started, amountMinor);
      const topUp = await findOwn(context, request, started.id);
      return topUp === null ? sendProblem(reply, "not_found") : reply.code(201).send(topUp);
    },
  );
}

/** How the organisation is set up with PayPal is not for its partners. */
function refuseStart(
  reply: FastifyReply,
  refusal: Exclude<StartedTopUp, { kind: "started" }>,
  given: number,
): FastifyReply {
  switch (refusal.kind) {
    case "partner_not_found":
      return sendProblem(reply, "not_found");
    case "not_set_up":
      return sendProblem(reply, "payments_not_set_up", { detail: "Ask us how to pay." });
    case "bad_amount": {
      const field = { field: "amount", code: refusal.code, message: refusal.reason, given };
      return sendProblem(reply, "invalid_body", { fields: [field] });
    }
    case "idempotency_conflict":
      return sendProblem(reply, "idempotency_conflict");
    case "service_trouble":
      return sendProblem(reply, "payment_service_trouble", { detail: "Try again in a few minutes." });
  }
}

function readRoutes(api: Api, context: Context): void {
  api.get(
    "/portal/top-ups",
    {
      config: { permission: "portal.funds" },
      schema: {
        tags,
        summary: "Your payments through PayPal, newest first",
        querystring: z.strictObject({ ...pageQuery, state: z.enum(topUpStates).optional() }),
        response: { 200: pageSchema(ownTopUpAnswer), ...problems },
      },
    },
    async (request) => {
      const { state, ...page } = request.query;
      return readForPartner(context, request, async (transaction, partnerId) => {
        const own = selectOwnTopUps(transaction).where("partnerId", "=", partnerId);
        const query = state === undefined ? own : own.where("state", "=", state);
        const { rows, nextCursor } = cutPage(await pageRows(query, page).execute(), page);
        return { data: await present(transaction, rows), nextCursor };
      });
    },
  );

  api.get(
    "/portal/top-ups/:id",
    {
      config: { permission: "portal.funds" },
      schema: {
        tags,
        summary: "One of your payments through PayPal",
        params: idParams,
        response: { 200: ownTopUpAnswer, ...problems },
      },
    },
    async (request, reply) => (await findOwn(context, request, request.params.id)) ?? sendProblem(reply, "not_found"),
  );
}

function selectOwnTopUps(transaction: Database) {
  return transaction
    .selectFrom("topUps")
    .select(["id", "amountMinor", "currency", "state", "approvalUrl", "createdAt", "creditedAt"]);
}

type OwnTopUpRow = Awaited<ReturnType<ReturnType<typeof selectOwnTopUps>["execute"]>>[number];

async function findOwn(context: Context, request: FastifyRequest, id: string) {
  const [topUp] = await readForPartner(context, request, async (transaction, partnerId) => {
    const own = selectOwnTopUps(transaction).where("partnerId", "=", partnerId);
    return present(transaction, await own.where("id", "=", id).execute());
  });
  return topUp ?? null;
}

async function present(transaction: Database, rows: readonly OwnTopUpRow[]): Promise<z.infer<typeof ownTopUpAnswer>[]> {
  const ids = rows.map(({ id }) => id);
  const refunds =
    ids.length === 0
      ? []
      : await transaction
          .selectFrom("topUpRefunds")
          .select(["topUpId", "amountMinor", "bookings"])
          .where("topUpId", "in", ids)
          .execute();
  return rows.map(({ amountMinor, approvalUrl, createdAt, creditedAt, ...row }) => {
    const taken = refunds.filter((refund) => refund.topUpId === row.id && isTaken(refund));
    return {
      ...row,
      amount: amountMinor,
      approvalUrl: row.state === "open" ? approvalUrl : null,
      refunded: taken.reduce((sum, refund) => sum + refund.amountMinor, 0),
      createdAt: createdAt.toISOString(),
      creditedAt: creditedAt?.toISOString() ?? null,
    };
  });
}
