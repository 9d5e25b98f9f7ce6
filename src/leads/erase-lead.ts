import { sql } from "kysely";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { fillPlaces } from "../delivery/recheck-holds.ts";
import { endOffers } from "../offers/end-offers.ts";
import type { Change } from "../organisations/record-change.ts";
import { readDeliveries, recordLeadEvent } from "./lead-events.ts";

export type EraseResult = "erased" | "not_found" | "under_way";

/**
 * Erases what is personal in a lead: its fields, contacts, keys, what was sent to partners and what they answered. What it
 * cost and who had it stays. A referral of it that is not sent yet is cancelled, and who has it only offered is offered it no
 * more. Refused while a delivery of it is under way or may still be tried, while a caller is being handed over, and in the
 * moment in which a referral is being sent.
 */
export async function eraseLead(context: Context, change: Change, leadId: string): Promise<EraseResult> {
  const { organisationId, by, at } = change;
  const withdrawnFrom: string[] = [];
  const result = await inOrganisation(context.database, organisationId, async (transaction): Promise<EraseResult> => {
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
      .select(["state", "offer"])
      .where("leadId", "=", leadId)
      .where("state", "in", ["offered", "sending"])
      .forNoKeyUpdate()
      .execute();
    const isBusy = underWay.some(({ state, offer }) => state === "sending" || offer === "transfer");
    if (isBusy || (await isBeingReferred(transaction, leadId))) return "under_way";
    withdrawnFrom.push(...(await withdrawOffers(transaction, leadId, at)));
    await emptyLead(transaction, leadId, at);
    await emptyAnswers(transaction, lead.campaignId, leadId);
    await emptyDeliveries(transaction, leadId, at);
    await emptyArrival(transaction, leadId);
    await emptyReferrals(transaction, leadId, at);
    await transaction.updateTable("leadEvents").set({ detail: "{}" }).where("leadId", "=", leadId).execute();
    await recordLeadEvent(transaction, { organisationId, leadId, kind: "erased", actor: by, detail: {} }, at);
    return "erased";
  });
  for (const id of withdrawnFrom) await fillPlaces(context, { id, organisationId }, 1);
  return result;
}

/** Gives the partners that had it before them to accept; one after the other in the order of their ids, as usage rows are locked. */
async function withdrawOffers(transaction: Database, leadId: string, at: Date): Promise<readonly string[]> {
  const open = (await readDeliveries(transaction, leadId)).filter(({ state }) => state === "offered");
  const inOrder = open.toSorted((a, b) => (a.partnerId < b.partnerId ? -1 : 1));
  for (const { id, partnerId, organisationId, timeZone } of inOrder) {
    const partner = { id: partnerId, organisationId, timeZone };
    await endOffers(transaction, partner, [id], { state: "cancelled", reason: null }, at);
  }
  return inOrder.map(({ partnerId }) => partnerId);
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
