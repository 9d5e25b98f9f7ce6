import { z } from "zod";
import type { Config } from "../config.ts";
import type { Database } from "../db/database.ts";
import { instantSchema, warningSchema } from "../http/api.ts";
import { type PartnerFunds, readPartnerFunds } from "../ledger/accounts.ts";
import { fundsAnswer, presentFunds } from "../ledger/present-funds.ts";
import { maskDeliverySettings } from "./delivery-settings.ts";
import type { LimitUsage } from "./limit-usage.ts";
import { type Limits, type LimitWindow, windowEnd, windowStart } from "./limit-windows.ts";
import { isPaused } from "./own-pause.ts";
import { partnerSchema } from "./partner.ts";
import { type PartnerRow, toDocument } from "./partner-row.ts";
import { partnerWarnings } from "./partner-warnings.ts";

const limitNote = { description: "0 means no limit" };
const windowAnswer = z.object({
  leads: z.int(),
  limit: z.int().meta(limitNote),
  endsAt: instantSchema,
});
const spendWindowAnswer = windowAnswer.extend({ spend: z.int(), spendLimit: z.int().meta(limitNote) });

export const usageAnswer = z
  .object({
    hour: windowAnswer,
    day: spendWindowAnswer,
    week: spendWindowAnswer,
    month: spendWindowAnswer,
    total: z.object({ leads: z.int(), limit: z.int().meta(limitNote) }),
  })
  .meta({ description: "what is used of each limit in the window that is now, in the partner's time zone" });

export const ownPauseAnswer = z.object({
  since: instantSchema,
  until: instantSchema.nullable().meta({ description: "null: until it resumes" }),
  by: z.string(),
  reason: z.string().nullable(),
});

/** A partner as the API shows it: its document with secrets masked, and how it stands now. */
export const partnerAnswer = z
  .object({
    id: z.uuid(),
    ...partnerSchema.shape,
    funds: fundsAnswer,
    usage: usageAnswer,
    endpoint: z.object({
      state: z.enum(["working", "paused"]),
      pausedUntil: instantSchema.nullable(),
      pauseReason: z.string().nullable(),
      recent: z.string().meta({ description: "the last ten attempts, newest first: + went well, - did not" }),
    }),
    ownPause: ownPauseAnswer.nullable().meta({ description: "the partner takes no leads now, by its own wish" }),
    warnings: z.array(warningSchema).meta({ description: "what is allowed and yet hardly meant" }),
    createdAt: instantSchema,
    updatedAt: instantSchema,
  })
  .meta({ id: "Partner" });
export type PartnerAnswer = z.infer<typeof partnerAnswer>;

/** How partners stand now: what is read beside their rows. */
export async function presentPartners(
  transaction: Database,
  rows: readonly PartnerRow[],
  config: Config,
  now: Date,
): Promise<PartnerAnswer[]> {
  const ids = rows.map((row) => row.id);
  if (ids.length === 0) return [];
  const funds = await readPartnerFunds(transaction, ids, "read");
  const usages = await transaction
    .selectFrom("limitUsage")
    .selectAll()
    .where("partnerId", "in", ids)
    .where("campaignId", "is", null)
    .execute();
  const endpoints = await transaction
    .selectFrom("endpoints")
    .select(["partnerId", "pausedUntil", "pauseReason", "recent"])
    .where("partnerId", "in", ids)
    .execute();
  return rows.map((row) => {
    const own = funds.get(row.id);
    const usage = usages.find(({ partnerId }) => partnerId === row.id);
    const endpoint = endpoints.find(({ partnerId }) => partnerId === row.id);
    if (own === undefined || usage === undefined || endpoint === undefined) {
      throw new Error(`Partner ${row.id} lacks its accounts, usage or endpoint: make partners with createPartner.`);
    }
    return presentPartner(row, own, usage, endpoint, config, now);
  });
}

function presentPartner(
  row: PartnerRow,
  funds: PartnerFunds,
  usage: LimitUsage,
  endpoint: { pausedUntil: Date | null; pauseReason: string | null; recent: string },
  config: Config,
  now: Date,
): PartnerAnswer {
  const document = toDocument(row);
  const isEndpointPaused = endpoint.pausedUntil !== null && endpoint.pausedUntil > now;
  return {
    id: row.id,
    ...document,
    ...maskDeliverySettings(document),
    funds: presentFunds(funds, row.creditLimitMinor),
    usage: presentUsage(usage, row.limits, row.timeZone, now),
    endpoint: {
      state: isEndpointPaused ? "paused" : "working",
      pausedUntil: isEndpointPaused ? (endpoint.pausedUntil?.toISOString() ?? null) : null,
      pauseReason: isEndpointPaused ? endpoint.pauseReason : null,
      recent: endpoint.recent,
    },
    ownPause: isPaused(row.ownPause, now) ? row.ownPause : null,
    warnings: partnerWarnings(document, config),
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

export function presentUsage(usage: LimitUsage, limits: Limits, timeZone: string, now: Date): PartnerAnswer["usage"] {
  // A window that has passed is overwritten by the next lead; until then nothing is used of the present one.
  const isNow = (window: LimitWindow, start: Date) => start >= windowStart(window, timeZone, now);
  const endsAt = (window: LimitWindow) => (windowEnd(window, timeZone, now) ?? now).toISOString();
  const leads = (window: LimitWindow, start: Date, count: number) => (isNow(window, start) ? count : 0);
  return {
    hour: { leads: leads("hour", usage.hourStart, usage.hourLeads), limit: limits.hour, endsAt: endsAt("hour") },
    day: {
      leads: leads("day", usage.dayStart, usage.dayLeads),
      limit: limits.day,
      spend: leads("day", usage.dayStart, usage.daySpendMinor),
      spendLimit: limits.spendDay,
      endsAt: endsAt("day"),
    },
    week: {
      leads: leads("week", usage.weekStart, usage.weekLeads),
      limit: limits.week,
      spend: leads("week", usage.weekStart, usage.weekSpendMinor),
      spendLimit: limits.spendWeek,
      endsAt: endsAt("week"),
    },
    month: {
      leads: leads("month", usage.monthStart, usage.monthLeads),
      limit: limits.month,
      spend: leads("month", usage.monthStart, usage.monthSpendMinor),
      spendLimit: limits.spendMonth,
      endsAt: endsAt("month"),
    },
    total: { leads: usage.totalLeads, limit: limits.total },
  };
}
