import { sql } from "kysely";
import type { Database } from "../db/database.ts";
import type { LimitUsage } from "./limit-usage.ts";
import { windowStart } from "./limit-windows.ts";
import { saveUsage } from "./save-usage.ts";

interface Counted {
  readonly campaignId: string | null;
  readonly hourLeads: number;
  readonly dayLeads: number;
  readonly daySpendMinor: number;
  readonly weekLeads: number;
  readonly weekSpendMinor: number;
  readonly monthLeads: number;
  readonly monthSpendMinor: number;
}

/** Reads all usage rows of a partner and locks them until the transaction ends. Before its accounts, as everywhere. */
export async function lockAllUsage(transaction: Database, partnerId: string): Promise<readonly LimitUsage[]> {
  return transaction
    .selectFrom("limitUsage")
    .selectAll()
    .where("partnerId", "=", partnerId)
    .orderBy("campaignId")
    .forNoKeyUpdate()
    .execute();
}

/**
 * Counts a partner's usage anew from its deliveries, in the windows of another time zone that hold `now`. Locks the
 * usage rows first, so that no place is taken or given back meanwhile.
 */
export async function recountUsage(
  transaction: Database,
  partnerId: string,
  timeZone: string,
  now: Date,
): Promise<void> {
  const usages = await lockAllUsage(transaction, partnerId);
  const [hourStart, dayStart, weekStart, monthStart] = (["hour", "day", "week", "month"] as const).map((window) =>
    windowStart(window, timeZone, now),
  ) as [Date, Date, Date, Date];
  // The row without a campaign is the sum of all: the partner-wide usage.
  const { rows } = await sql<Counted>`
    select campaign_id,
      count(*) filter (where reserved_at >= ${hourStart}) as hour_leads,
      count(*) filter (where reserved_at >= ${dayStart}) as day_leads,
      coalesce(sum(price_minor) filter (where reserved_at >= ${dayStart} and state <> 'returned'), 0) as day_spend_minor,
      count(*) filter (where reserved_at >= ${weekStart}) as week_leads,
      coalesce(sum(price_minor) filter (where reserved_at >= ${weekStart} and state <> 'returned'), 0) as week_spend_minor,
      count(*) filter (where reserved_at >= ${monthStart}) as month_leads,
      coalesce(sum(price_minor) filter (where reserved_at >= ${monthStart} and state <> 'returned'), 0) as month_spend_minor
    from deliveries
    where partner_id = ${partnerId} and reserved_at >= least(${weekStart}::timestamptz, ${monthStart}::timestamptz)
    group by rollup (campaign_id)
  `.execute(transaction);
  const counted = new Map(rows.map((row) => [row.campaignId, row]));
  const nothing = {
    hourLeads: 0,
    dayLeads: 0,
    daySpendMinor: 0,
    weekLeads: 0,
    weekSpendMinor: 0,
    monthLeads: 0,
    monthSpendMinor: 0,
  };
  const starts = { hourStart, dayStart, weekStart, monthStart };
  const recounted = usages.map((usage) => {
    const { campaignId } = usage;
    return { ...usage, ...starts, ...(counted.get(campaignId) ?? nothing), campaignId };
  });
  await saveUsage(transaction, recounted);
}
