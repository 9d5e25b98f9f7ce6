import { z } from "zod";
import type { Context } from "../context.ts";
import { type Api, problems } from "../http/api.ts";
import { sendProblem } from "../http/send-problem.ts";
import { addDays, dateSchema, datesAskedFor, periodOf } from "../period.ts";
import { type OwnReportRow, ownReportKeys, readOwnReport } from "./own-report.ts";
import { readForPartner } from "./portal-call.ts";

/** More days are refused: every lead of them is counted anew. */
const mostDays = 400;

const sumsShape = {
  leads: z.int().meta({ description: "that became yours in the period" }),
  returned: z.int().meta({ description: "of those: taken back since" }),
  returnedPercent: z
    .number()
    .nullable()
    .meta({ description: "of the leads, to two decimals; null where there are none" }),
  spend: z.int().meta({ description: "what was paid for them so far, less what went back, in minor units" }),
};

const reportAnswer = z
  .object({
    from: z.string(),
    to: z.string(),
    timeZone: z.string(),
    currency: z.string(),
    by: z.enum(ownReportKeys),
    rows: z.array(
      z.object({
        key: z.string().meta({ description: "a date, a month, the id of a campaign, or a status" }),
        name: z.string().nullable(),
        ...sumsShape,
      }),
    ),
    total: z.object(sumsShape),
  })
  .meta({ id: "OwnReport" });

const reportQuery = z.strictObject({
  from: dateSchema.optional().meta({ description: "the first day, in your time zone; absent: of the month" }),
  to: dateSchema.optional().meta({ description: "the last day, included; absent: today" }),
  by: z.enum(ownReportKeys).default("day"),
});

/** What a partner got, what it paid for it, and what it returned. */
export function ownReportRoutes(api: Api, context: Context): void {
  api.get(
    "/portal/reports/leads",
    {
      config: { permission: "portal.reports.read" },
      schema: {
        tags: ["Partner portal"],
        summary: "Your leads, what they cost and how many went back, by day, month, campaign or status",
        description: `By the time at which they became yours. Up to ${mostDays} days.`,
        querystring: reportQuery,
        response: { 200: reportAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { by } = request.query;
      const found = await readForPartner(context, request, async (transaction, partnerId) => {
        const { timeZone, currency } = await transaction
          .selectFrom("partners")
          .select(["timeZone", "currency"])
          .where("id", "=", partnerId)
          .executeTakeFirstOrThrow();
        const { from, to } = datesAskedFor(request.query, timeZone, context.clock());
        const period = periodOf(timeZone, from, to);
        if (period === null) return { refused: { field: "to", code: "invalid", message: "must not be before from" } };
        if (addDays(from, mostDays) <= to) {
          const message = `must leave ${mostDays} days or fewer`;
          return { refused: { field: "from", code: "too_many", message } };
        }
        const rows = await readOwnReport(transaction, partnerId, by, timeZone, period);
        return { refused: null, from, to, timeZone, currency, rows };
      });
      if (found.refused !== null) return sendProblem(reply, "invalid_query", { fields: [found.refused] });
      const { refused: _, rows, ...asked } = found;
      const shown = rows.map((row) => ({ key: row.key, name: row.name, ...present(row) }));
      return { ...asked, by, rows: shown, total: present(sumOf(rows)) };
    },
  );
}

type Sums = Pick<OwnReportRow, "leads" | "returned" | "spendMinor">;

function present({ leads, returned, spendMinor }: Sums): z.infer<typeof reportAnswer>["total"] {
  const returnedPercent = leads === 0 ? null : Math.round((returned * 10_000) / leads) / 100;
  return { leads, returned, returnedPercent, spend: spendMinor };
}

function sumOf(rows: readonly OwnReportRow[]): Sums {
  return rows.reduce(
    (sum, row) => ({
      leads: sum.leads + row.leads,
      returned: sum.returned + row.returned,
      spendMinor: sum.spendMinor + row.spendMinor,
    }),
    { leads: 0, returned: 0, spendMinor: 0 },
  );
}
