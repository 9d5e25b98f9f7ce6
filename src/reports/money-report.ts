import { type RawBuilder, sql } from "kysely";
import type { Database } from "../db/database.ts";
import type { Period } from "../period.ts";

/** What a report has a row for. */
export const reportKeys = ["day", "campaign", "partner", "introducer"] as const;
export type ReportKey = (typeof reportKeys)[number];

/** Which time counts: when it was booked, or when the lead came in that it was booked for. */
export const reportTimes = ["sold", "received"] as const;
export type ReportTime = (typeof reportTimes)[number];

export interface MoneySums {
  /** For how many leads partners paid something. */
  readonly leads: number;
  readonly revenueMinor: number;
  readonly costMinor: number;
  readonly smsCount: number;
  readonly smsMinor: number;
}

export interface MoneyRow extends MoneySums {
  readonly currency: string;
  /** A date, or the id of the campaign, partner or introducer; null: what belongs to none. */
  readonly key: string | null;
  readonly name: string | null;
}

/** No report has more rows. */
export const mostRows = 10_000;

/**
 * What was earned, what it cost, and what SMS cost, from the ledger itself: each entry on the accounts of revenue, lead
 * cost and SMS is in exactly one row. What is booked for no lead has no other time than that of its booking. Gives up to
 * one row more than `mostRows`.
 */
export async function readMoneyReport(
  transaction: Database,
  by: ReportKey,
  time: ReportTime,
  timeZone: string,
  period: Period,
): Promise<readonly MoneyRow[]> {
  const { rows } = await sql<MoneyRow>`
    with booked as (
      ${bookedFor(sql`t.partner_id in (select id from partners)`, time, period)}
      union all
      ${bookedFor(sql`t.partner_id is null`, time, period)}
    ), named as (
      select b.*, ${keyOf(by, timeZone)} as key
      from booked b
    )
    select n.key, n.currency, ${nameOf(by)} as name,
      count(distinct n.delivery_id) filter (where n.kind = 'post') as leads,
      coalesce(sum(n.amount_minor) filter (where n.account = 'revenue'), 0) as revenue_minor,
      -- What an introducer is owed is above zero on its own account, and so below on this one.
      -coalesce(sum(n.amount_minor) filter (where n.account = 'lead_cost'), 0) as cost_minor,
      count(*) filter (where n.account = 'sms_usage') as sms_count,
      coalesce(sum(n.amount_minor) filter (where n.account = 'sms_usage'), 0) as sms_minor
    from named n
    group by n.key, n.currency
    order by n.key nulls last, n.currency
    limit ${mostRows + 1}
  `.execute(transaction);
  return rows;
}

/** Entries of some transactions on the accounts that a report is about, with what they are booked for. */
function bookedFor(whose: RawBuilder<unknown>, time: ReportTime, { startsAt, endsAt }: Period): RawBuilder<unknown> {
  const at = time === "sold" ? sql`t.occurred_at` : sql`coalesce(l.received_at, t.occurred_at)`;
  return sql`
    select t.kind, t.partner_id, t.delivery_id, e.amount_minor, e.currency, a.kind as account, ${at} as at,
      coalesce(d.campaign_id, l.campaign_id) as campaign_id, d.partner_id as buyer_id, l.introducer_id
    from transactions t
    join entries e on e.transaction_id = t.id
    join accounts a on a.id = e.account_id
    left join deliveries d on d.id = t.delivery_id
    left join leads l on l.id = t.lead_id
    where ${whose} and a.kind in ('revenue', 'lead_cost', 'sms_usage')
      -- Nothing is booked for a lead before it came in.
      and t.occurred_at >= ${startsAt} and ${at} >= ${startsAt} and ${at} < ${endsAt}`;
}

function keyOf(by: ReportKey, timeZone: string): RawBuilder<unknown> {
  switch (by) {
    case "day":
      return sql`(b.at at time zone ${timeZone})::date::text`;
    case "campaign":
      return sql`b.campaign_id::text`;
    case "partner":
      // A cost counts with the sale that it is for.
      return sql`(case when b.account = 'lead_cost' then b.buyer_id else b.partner_id end)::text`;
    case "introducer":
      return sql`(case when b.account = 'lead_cost' then b.partner_id else b.introducer_id end)::text`;
  }
}

function nameOf(by: ReportKey): RawBuilder<unknown> {
  if (by === "day") return sql`null`;
  const table = by === "campaign" ? sql`campaigns` : sql`partners`;
  return sql`(select x.name from ${table} x where x.id = n.key::uuid)`;
}
