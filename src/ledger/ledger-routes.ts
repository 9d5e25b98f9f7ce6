import { z } from "zod";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { type Api, idParams, instantSchema, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { idempotencyHeaders } from "../http/idempotency-header.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { mostMinorUnits } from "../schemas.ts";
import { readPartnerFunds } from "./accounts.ts";
import { type FundsAnswer, fundsAnswer, presentFunds } from "./present-funds.ts";
import { recordPayment } from "./record-payment.ts";

const paymentSchema = z
  .strictObject({
    kind: z.enum(["payment", "refund", "adjustment"], "must be payment, refund or adjustment").default("payment"),
    amount: z
      .int("must be a whole number of minor units (1250 is 12.50)")
      .min(-mostMinorUnits, `must be at least -${mostMinorUnits}`)
      .max(mostMinorUnits, `must be at most ${mostMinorUnits}`)
      .refine((amount) => amount !== 0, "must not be zero")
      .meta({ description: "in minor units; below zero only for an adjustment that takes away" }),
    reason: z.string().trim().min(1).max(500),
    reference: z.string().trim().min(1).max(200).optional().meta({ description: "such as the bank's" }),
  })
  .refine(({ kind, amount }) => kind === "adjustment" || amount >= 0, {
    path: ["amount"],
    error: "must be above zero; only an adjustment can be below",
  });

const transactionAnswer = z
  .object({
    id: z.uuid(),
    kind: z.string(),
    occurredAt: instantSchema,
    currency: z.string(),
    reason: z.string().nullable(),
    createdBy: z.string(),
    leadId: z.uuid().nullable(),
    deliveryId: z.uuid().nullable(),
    entries: z
      .array(z.object({ account: z.string(), amount: z.int() }))
      .meta({ description: "they sum to zero; funds and reserved together are the partner's balance" }),
  })
  .meta({ id: "Transaction" });

/** What is booked for a partner, and what staff may book. */
export function ledgerRoutes(api: Api, context: Context): void {
  const tags = ["Ledger"];

  api.post(
    "/partners/:id/payments",
    {
      config: { permission: "money.change" },
      schema: {
        tags,
        summary: "Enter a payment, a refund or an adjustment",
        description: "Amounts are in minor units of the partner's currency. With an Idempotency-Key it is booked once.",
        params: idParams,
        headers: idempotencyHeaders,
        body: paymentSchema,
        response: {
          201: z.object({ transactionId: z.uuid(), kind: z.string(), amount: z.int(), funds: fundsAnswer }),
          ...problems,
        },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { kind, amount, reason, reference } = request.body;
      const change = changeBy(context, request);
      const result = await recordPayment(context, change, {
        partnerId: id,
        kind,
        amountMinor: amount,
        reason: reference === undefined ? reason : `${reason} (${reference})`,
        idempotencyKey: request.headers["idempotency-key"] ?? null,
      });
      switch (result.kind) {
        case "partner_not_found":
          return sendProblem(reply, "not_found");
        case "idempotency_conflict":
          return sendProblem(reply, "idempotency_conflict");
        case "beyond_limit": {
          const message = `would take the partner's books beyond ${result.limitMinor}`;
          return sendProblem(reply, "invalid_body", { fields: [{ field: "amount", code: "too_large", message }] });
        }
        case "insufficient_funds":
          return sendProblem(reply, "insufficient_funds", { detail: `${result.availableMinor} can be taken at most.` });
        case "booked": {
          const funds = await inOrganisation(context.database, change.organisationId, async (transaction) =>
            readFunds(transaction, id),
          );
          return reply.code(201).send({ transactionId: result.transactionId, kind, amount, funds });
        }
      }
    },
  );

  api.get(
    "/partners/:id/ledger",
    {
      config: { permission: "money.read" },
      schema: {
        tags,
        summary: "Everything booked for a partner, newest first",
        params: idParams,
        querystring: z.strictObject(pageQuery),
        response: { 200: pageSchema(transactionAnswer), ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const page = request.query;
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) => {
        const partner = await transaction.selectFrom("partners").select("id").where("id", "=", id).executeTakeFirst();
        if (partner === undefined) return null;
        const query = transaction
          .selectFrom("transactions")
          .select(["id", "kind", "occurredAt", "currency", "reason", "createdBy", "leadId", "deliveryId"])
          .where("partnerId", "=", id);
        const { rows, nextCursor } = cutPage(await pageRows(query, page).execute(), page);
        const entries = await readEntries(
          transaction,
          rows.map((row) => row.id),
        );
        return { rows, nextCursor, entries };
      });
      if (found === null) return sendProblem(reply, "not_found");
      const data = found.rows.map((row) => ({
        ...row,
        occurredAt: row.occurredAt.toISOString(),
        entries: found.entries
          .filter((entry) => entry.transactionId === row.id)
          .map(({ account, amount }) => ({ account, amount })),
      }));
      return { data, nextCursor: found.nextCursor };
    },
  );
}

async function readEntries(transaction: Database, transactionIds: readonly string[]) {
  if (transactionIds.length === 0) return [];
  return transaction
    .selectFrom("entries as e")
    .innerJoin("accounts as a", "a.id", "e.accountId")
    .select(["e.transactionId", "a.kind as account", "e.amountMinor as amount"])
    .where("e.transactionId", "in", transactionIds)
    .orderBy("e.amountMinor")
    .execute();
}

async function readFunds(transaction: Database, partnerId: string): Promise<FundsAnswer> {
  const funds = (await readPartnerFunds(transaction, [partnerId], "read")).get(partnerId);
  if (funds === undefined) throw new Error(`Partner ${partnerId} has no accounts.`);
  const { creditLimitMinor } = await transaction
    .selectFrom("partners")
    .select("creditLimitMinor")
    .where("id", "=", partnerId)
    .executeTakeFirstOrThrow();
  return presentFunds(funds, creditLimitMinor);
}
