import type { Database } from "../db/database.ts";
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
  await transaction
    .insertInto("limitUsage")
    .values([...usages])
    .onConflict((conflict) =>
      conflict.columns(["partnerId", "campaignId"]).doUpdateSet((is) => ({
        hourStart: is.ref("excluded.hourStart"),
        hourLeads: is.ref("excluded.hourLeads"),
        dayStart: is.ref("excluded.dayStart"),
        dayLeads: is.ref("excluded.dayLeads"),
        daySpendMinor: is.ref("excluded.daySpendMinor"),
        weekStart: is.ref("excluded.weekStart"),
        weekLeads: is.ref("excluded.weekLeads"),
        weekSpendMinor: is.ref("excluded.weekSpendMinor"),
        monthStart: is.ref("excluded.monthStart"),
        monthLeads: is.ref("excluded.monthLeads"),
        monthSpendMinor: is.ref("excluded.monthSpendMinor"),
        totalLeads: is.ref("excluded.totalLeads"),
      })),
    )
    .execute();
}
