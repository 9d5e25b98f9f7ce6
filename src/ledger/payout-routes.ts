import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { idempotencyHeaders } from "../http/idempotency-header.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { currencySchema, mostMinorUnits } from "../schemas.ts";
import { recordPayout } from "./record-payout.ts";

const payoutSchema = z.strictObject({
  amount: z
    .int("must be a whole number of minor units (1250 is 12.50)")
    .min(-mostMinorUnits)
    .max(mostMinorUnits)
    .refine((amount) => amount !== 0, "must not be zero")
    .meta({ description: "in minor units; below zero takes a payout back" }),
  currency: currencySchema.optional().meta({ description: "absent: the partner's" }),
  reason: z.string().trim().min(1).max(500),
});

const payoutAnswer = z.object({
  transactionId: z.uuid(),
  amount: z.int(),
  currency: z.string(),
  owed: z.int().meta({ description: "what is still owed" }),
});

const owedAnswer = z.object({
  id: z.uuid().meta({ description: "the account" }),
  partnerId: z.uuid().nullable(),
  name: z.string(),
  currency: z.string(),
  owed: z.int(),
});

const tags = ["Ledger"];

/** What introducers are owed, and that it was paid. */
export function payoutRoutes(api: Api, context: Context): void {
  api.post(
    "/partners/:id/payouts",
    {
      config: { permission: "money.change" },
      schema: {
        tags,
        summary: "Mark what an introducer is owed as paid",
        description: "With an Idempotency-Key it is booked once.",
        params: idParams,
        headers: idempotencyHeaders,
        body: payoutSchema,
        response: { 201: payoutAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { amount, currency = null, reason } = request.body;
      const idempotencyKey = request.headers["idempotency-key"] ?? null;
      const payout = { partnerId: request.params.id, currency, amountMinor: amount, reason, idempotencyKey };
      const result = await recordPayout(context, changeBy(context, request), payout);
      switch (result.kind) {
        case "partner_not_found":
          return sendProblem(reply, "not_found");
        case "idempotency_conflict":
          return sendProblem(reply, "idempotency_conflict");
        case "out_of_range": {
          const message = `must lie between ${result.leastMinor} and ${result.mostMinor}`;
          return sendProblem(reply, "invalid_body", { fields: [{ field: "amount", code: "out_of_range", message }] });
        }
        case "booked": {
          const { transactionId, owedMinor } = result;
          return reply.code(201).send({ transactionId, amount, currency: result.currency, owed: owedMinor });
        }
      }
    },
  );
  owedRoutes(api, context);
}

function owedRoutes(api: Api, context: Context): void {
  api.get(
    "/owed",
    {
      config: { permission: "money.read" },
      schema: {
        tags,
        summary: "What introducers are owed",
        description: "Below zero where more was taken back than was owed still: it counts against what comes.",
        querystring: z.strictObject(pageQuery),
        response: { 200: pageSchema(owedAnswer), ...problems },
      },
    },
    async (request) => {
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) =>
        pageRows(
          transaction
            .selectFrom((from) =>
              from
                .selectFrom("accounts as a")
                .innerJoin("partners as p", "p.id", "a.partnerId")
                .select(["a.id", "a.partnerId", "p.name", "a.currency", "a.balanceMinor as owed"])
                .where("a.kind", "=", "payable")
                .where("a.balanceMinor", "<>", 0)
                .as("owed"),
            )
            .select(["id", "partnerId", "name", "currency", "owed"]),
          request.query,
        ).execute(),
      );
      const { rows, nextCursor } = cutPage(found, request.query);
      return { data: [...rows], nextCursor };
    },
  );
}
