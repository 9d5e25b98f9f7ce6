import { type RawBuilder, sql } from "kysely";
import type { Database } from "../db/database.ts";
import { recordSet } from "../db/record-set.ts";
import { type LimitUsage, unusedUsage } from "./limit-usage.ts";

/**
 * Makes the rows under whose lock places are taken: one partner-wide and one for each campaign. A row must exist before
 * the first lead, because one that is not there cannot be locked.
 */
export async function ensureUsageRows(
  transaction: Database,
  organisationId: string,
  partnerIds: readonly string[],
  campaignId: string | null,
): Promise<void> {
  if (partnerIds.length === 0) return;
  await transaction
    .insertInto("limitUsage")
    .values(partnerIds.map((partnerId) => unusedUsage(organisationId, partnerId, campaignId)))
    .onConflict((conflict) => conflict.columns(["partnerId", "campaignId"]).doNothing())
    .execute();
}

/**
 * Reads usage rows of one partner, partner-wide and in the campaigns named, and locks them until the transaction ends.
 */
export async function lockUsage(
  transaction: Database,
  partnerId: string,
  campaignIds: readonly string[],
): Promise<readonly LimitUsage[]> {
  return transaction
    .selectFrom("limitUsage")
    .selectAll()
    .where("partnerId", "=", partnerId)
    .where((is) => is.or([is("campaignId", "is", null), is("campaignId", "in", campaignIds)]))
    .orderBy("campaignId")
    .forNoKeyUpdate()
    .execute();
}

/** Writes usage rows as they are given, in one statement. The caller has them locked. */
export async function saveUsage(transaction: Database, usages: readonly LimitUsage[]): Promise<void> {
  if (usages.length === 0) return;
  await sql`with ${usageClauses(usages)} select`.execute(transaction);
}

/** The same as a clause of a statement that does more: `with <clauses> select`. */
export function usageClauses(usages: readonly LimitUsage[]): RawBuilder<unknown> {
  const rows = usages.map((usage) => ({
    organisation_id: usage.organisationId,
    partner_id: usage.partnerId,
    campaign_id: usage.campaignId,
    hour_start: usage.hourStart,
    hour_leads: usage.hourLeads,
    day_start: usage.dayStart,
    day_leads: usage.dayLeads,
    day_spend_minor: usage.daySpendMinor,
    week_start: usage.weekStart,
    week_leads: usage.weekLeads,
    week_spend_minor: usage.weekSpendMinor,
    month_start: usage.monthStart,
    month_leads: usage.monthLeads,
    month_spend_minor: usage.monthSpendMinor,
    total_leads: usage.totalLeads,
  }));
  return sql`
    used as (
      insert into limit_usage
      select * from ${recordSet(
        rows,
        `
        organisation_id uuid, partner_id uuid, campaign_id uuid, hour_start timestamptz, hour_leads integer,
        day_start timestamptz, day_leads integer, day_spend_minor bigint, week_start timestamptz, week_leads
        integer, week_spend_minor bigint, month_start timestamptz, month_leads integer, month_spend_minor
        bigint, total_leads integer`,
      )} as g
      on conflict (partner_id, campaign_id) do update set
        hour_start = excluded.hour_start, hour_leads = excluded.hour_leads, day_start = excluded.day_start,
        day_leads = excluded.day_leads, day_spend_minor = excluded.day_spend_minor, week_start = excluded.week_start,
        week_leads = excluded.week_leads, week_spend_minor = excluded.week_spend_minor, month_start = excluded.month_start,
        month_leads = excluded.month_leads, month_spend_minor = excluded.month_spend_minor, total_leads = excluded.total_leads
    )`;
}
