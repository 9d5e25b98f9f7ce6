import { sql } from "kysely";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import type { Change } from "../organisations/record-change.ts";
import { recordLeadEvent } from "./lead-events.ts";

export type EraseResult = "erased" | "not_found" | "under_way";

/**
 * Erases what is personal in a lead: its fields, contacts, keys, what was sent to partners and what they answered. What it
 * cost and who had it stays. A referral of it that is not sent yet is cancelled. Refused while a delivery of it is under way or
 * may still be tried, and in the moment in which a referral is being sent.
 */
export async function eraseLead(context: Context, change: Change, leadId: string): Promise<EraseResult> {
  const { organisationId, by, at } = change;
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const lead = await transaction
      .selectFrom("leads")
      .select(["id", "campaignId", "state"])
      .where("id", "=", leadId)
      .forNoKeyUpdate()
      .executeTakeFirst();
    if (lead === undefined) return "not_found";
    if (lead.state === "erased") return "erased";
    const underWay = await transaction
      .selectFrom("deliveries")
      .select("id")
      .where("leadId", "=", leadId)
      .where("state", "in", ["offered", "sending"])
      .forNoKeyUpdate()
      .execute();
    if (underWay.length > 0 || (await isBeingReferred(transaction, leadId))) return "under_way";
    await emptyLead(transaction, leadId, at);
    await emptyAnswers(transaction, lead.campaignId, leadId);
    await emptyDeliveries(transaction, leadId, at);
    await emptyArrival(transaction, leadId);
    await emptyReferrals(transaction, leadId, at);
    await transaction.updateTable("leadEvents").set({ detail: "{}" }).where("leadId", "=", leadId).execute();
    await recordLeadEvent(transaction, { organisationId, leadId, kind: "erased", actor: by, detail: {} }, at);
    return "erased";
  });
}

async function emptyLead(transaction: Database, leadId: string, at: Date): Promise<void> {
  await transaction
    .updateTable("leads")
    .set({
      state: "erased",
      stateReason: null,
      fields: "{}",
      extra: "{}",
      source: null,
      contentHash: null,
      dueAt: null,
      finishedAt: at,
      stageId: null,
      ownerId: null,
    })
    .where("id", "=", leadId)
    .execute();
  await transaction.deleteFrom("leadNotes").where("leadId", "=", leadId).execute();
  await transaction.deleteFrom("contacts").where("leadId", "=", leadId).execute();
  await transaction.deleteFrom("leadKeys").where("leadId", "=", leadId).execute();
}

/** The first answer is kept for its key, without what was given in the fields that were refused. */
async function emptyAnswers(transaction: Database, campaignId: string, leadId: string): Promise<void> {
  await transaction
    .updateTable("idempotencyKeys")
    .set({ answer: sql`jsonb_set(answer, '{fields}', '[]')` })
    .where("campaignId", "=", campaignId)
    .where("leadId", "=", leadId)
    .where(sql<boolean>`answer ? 'fields'`)
    .execute();
}

/** Who referred it and when stays; sent again, it is still the same referral. */
async function emptyArrival(transaction: Database, leadId: string): Promise<void> {
  await transaction
    .updateTable("arrivals")
    .set({ contentHash: null, keptAside: "[]", statusReason: null })
    .where("leadId", "=", leadId)
    .execute();
  await transaction
    .updateTable("statusCallbacks")
    .set({ reason: null })
    .where("arrivalId", "in", (is) => is.selectFrom("arrivals").select("id").where("leadId", "=", leadId))
    .execute();
}

async function emptyDeliveries(transaction: Database, leadId: string, at: Date): Promise<void> {
  await transaction
    .updateTable("deliveries")
    .set({ state: "cancelled", dueAt: null, finishedAt: at })
    .where("leadId", "=", leadId)
    .where("state", "=", "held")
    .execute();
  await transaction
    .updateTable("deliveries")
    .set({ reason: null, answeredPrice: null })
    .where("leadId", "=", leadId)
    .execute();
  await transaction.updateTable("returns").set({ comment: null, note: null }).where("leadId", "=", leadId).execute();
  await transaction
    .updateTable("deliveryStatuses")
    .set({ note: null })
    .where("deliveryId", "in", (is) => is.selectFrom("deliveries").select("id").where("leadId", "=", leadId))
    .execute();
  await transaction
    .updateTable("attempts")
    .set({ request: null, response: null, reason: null })
    .where("deliveryId", "in", (is) => is.selectFrom("deliveries").select("id").where("leadId", "=", leadId))
    .execute();
}

/** Locks those that are due, so that no worker takes one meanwhile. */
async function isBeingReferred(transaction: Database, leadId: string): Promise<boolean> {
  const due = await transaction
    .selectFrom("referrals")
    .select("sendingSince")
    .where("leadId", "=", leadId)
    .where("state", "=", "due")
    .forNoKeyUpdate()
    .execute();
  return due.some(({ sendingSince }) => sendingSince !== null);
}

async function emptyReferrals(transaction: Database, leadId: string, at: Date): Promise<void> {
  await transaction
    .updateTable("referrals")
    .set({ content: null, reason: null, statusReason: null })
    .where("leadId", "=", leadId)
    .execute();
  await transaction
    .updateTable("referrals")
    .set({ state: "cancelled", dueAt: null, finishedAt: at, reason: "The lead was erased before it was sent." })
    .where("leadId", "=", leadId)
    .where("state", "=", "due")
    .execute();
  await transaction
    .updateTable("referralAttempts")
    .set({ response: null, reason: null })
    .where("referralId", "in", (is) => is.selectFrom("referrals").select("id").where("leadId", "=", leadId))
    .execute();
}
