import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { sendProblem } from "../http/send-problem.ts";
import { dateSchema, datesAskedFor, periodOf } from "../period.ts";
import { type MoneyRow, type MoneySums, mostRows, readMoneyReport, reportKeys, reportTimes } from "./money-report.ts";

const sumsShape = {
  currency: z.string(),
  leads: z.int().meta({ description: "for how many leads partners paid something" }),
  revenue: z.int(),
  cost: z.int().meta({ description: "what introducers are owed" }),
  margin: z.int().meta({ description: "revenue less cost" }),
  smsCount: z.int(),
  sms: z.int().meta({ description: "what SMS cost" }),
};

const moneyAnswer = z
  .object({
    from: z.string(),
    to: z.string(),
    timeZone: z.string(),
    by: z.enum(reportKeys),
    time: z.enum(reportTimes),
    rows: z.array(
      z.object({
        key: z.string().nullable().meta({ description: "a date or an id; null: what belongs to none" }),
        name: z.string().nullable(),
        ...sumsShape,
      }),
    ),
    totals: z.array(z.object(sumsShape)).meta({ description: "for each currency" }),
  })
  .meta({ id: "MoneyReport" });

const moneyQuery = z.strictObject({
  from: dateSchema.optional().meta({ description: "the first day, in the organisation's zone; absent: of the month" }),
  to: dateSchema.optional().meta({ description: "the last day, included; absent: today" }),
  by: z.enum(reportKeys).default("day"),
  time: z
    .enum(reportTimes)
    .default("sold")
    .meta({ description: "sold: when it was booked; received: when the lead came in that it was booked for" }),
});

/** What the organisation earns, and what it spends. */
export function reportRoutes(api: Api, context: Context): void {
  api.get(
    "/reports/money",
    {
      config: { permission: "reports.read" },
      schema: {
        tags: ["Reports"],
        summary: "Revenue, cost, margin and SMS, by day, campaign, partner or introducer",
        description: `Straight from the ledger, in minor units. Up to ${mostRows} rows.`,
        querystring: moneyQuery,
        response: { 200: moneyAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { by, time } = request.query;
      const refuse = (field: string, code: string, message: string) =>
        sendProblem(reply, "invalid_query", { fields: [{ field, code, message }] });
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) => {
        const { timeZone } = await transaction.selectFrom("organisations").select("timeZone").executeTakeFirstOrThrow();
        const { from, to } = datesAskedFor(request.query, timeZone, context.clock());
        const period = periodOf(timeZone, from, to);
        if (period === null) return null;
        return { from, to, timeZone, rows: await readMoneyReport(transaction, by, time, timeZone, period) };
      });
      if (found === null) return refuse("to", "invalid", "must not be before from");
      if (found.rows.length > mostRows) return refuse("from", "too_many", `must leave ${mostRows} rows or fewer`);
      const rows = found.rows.map((row) => ({ key: row.key, name: row.name, ...present(row) }));
      return { ...found, by, time, rows, totals: sumByCurrency(found.rows).map(present) };
    },
  );
}

function present({ currency, leads, revenueMinor, costMinor, smsCount, smsMinor }: MoneySums & { currency: string }) {
  const [revenue, cost, sms] = [revenueMinor, costMinor, smsMinor];
  return { currency, leads, revenue, cost, margin: revenue - cost, smsCount, sms };
}

function sumByCurrency(rows: readonly MoneyRow[]): (MoneySums & { currency: string })[] {
  const currencies = [...new Set(rows.map(({ currency }) => currency))].sort();
  const none = { leads: 0, revenueMinor: 0, costMinor: 0, smsCount: 0, smsMinor: 0 };
  return currencies.map((currency) =>
    rows
      .filter((row) => row.currency === currency)
      .reduce<MoneySums & { currency: string }>(
        (sum, row) => ({
          currency,
          leads: sum.leads + row.leads,
          revenueMinor: sum.revenueMinor + row.revenueMinor,
          costMinor: sum.costMinor + row.costMinor,
          smsCount: sum.smsCount + row.smsCount,
          smsMinor: sum.smsMinor + row.smsMinor,
        }),
        { currency, ...none },
      ),
  );
}
