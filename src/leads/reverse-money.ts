import { sendAlerts } from "../../queues/send-alerts.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { changeCost } from "../delivery/introducer-cost.ts";
import { fillPlaces } from "../delivery/recheck-holds.ts";
import { reverseSale } from "../delivery/reverse-sale.ts";
import { book, costMovement } from "../ledger/book.ts";
import { type LeadDelivery, type LockedLead, lockLead, readDeliveries, recordLeadEvent } from "./lead-events.ts";
import { wasSold } from "./take-back.ts";

export interface SaleReversal {
  readonly leadId: string;
  readonly partnerId: string;
  readonly reason: string | null;
}

export type ReverseResult =
  | { readonly kind: "reversed"; readonly deliveryId: string }
  | { readonly kind: "lead_not_found" }
  | { readonly kind: "delivery_not_found" }
  | { readonly kind: "reversed_already" };

/**
 * Gives a partner the money of one sale back, and leaves it the lead: the sale costs nothing from now on, and goes to no
 * later billing point. The place stays taken, and the introducer's cost stays owed.
 */
export async function reverseMoney(
  context: Context,
  organisationId: string,
  { leadId, partnerId, reason }: SaleReversal,
  actor: string,
): Promise<ReverseResult> {
  const now = context.clock();
  const result = await inOrganisation(context.database, organisationId, async (transaction): Promise<ReverseResult> => {
    const lead = await lockLead(transaction, leadId);
    if (lead === null) return { kind: "lead_not_found" };
    const own = (await readDeliveries(transaction, leadId)).filter((row) => row.partnerId === partnerId);
    const sale = own.find(wasSold);
    if (sale === undefined) {
      const wasReversed = own.some(({ reversedAt }) => reversedAt !== null);
      return { kind: wasReversed ? "reversed_already" : "delivery_not_found" };
    }
    if (sale.reversedAt !== null) return { kind: "reversed_already" };
    const partner = { id: partnerId, organisationId, timeZone: sale.timeZone };
    const reversal = { reason: reason ?? "reversed", by: actor, note: reason, place: "keep", cost: "keep" } as const;
    await reverseSale(transaction, partner, lead, sale, reversal, now);
    // What is not paid was never owed, as when a sale is closed.
    await transaction
      .updateTable("deliveries")
      .set({ priceMinor: 0, billingClosedAt: now })
      .where("id", "=", sale.id)
      .execute();
    const detail = { deliveryId: sale.id, partnerId, reason };
    await recordLeadEvent(transaction, { organisationId, leadId, kind: "reversed", actor, detail }, now);
    return { kind: "reversed", deliveryId: sale.id };
  });
  if (result.kind !== "reversed") return result;
  context.waker.wake(sendAlerts, { organisationId });
  await fillPlaces(context, { id: partnerId, organisationId }, 1);
  return result;
}

export interface CostReversal {
  readonly leadId: string;
  readonly reason: string | null;
}

export interface TakenBack {
  readonly currency: string;
  readonly amountMinor: number;
}

export type ReverseIntroducerResult =
  | { readonly kind: "reversed"; readonly amounts: readonly TakenBack[] }
  | { readonly kind: "lead_not_found" }
  | { readonly kind: "nothing_owed" }
  /** A request is under way, which may make more of it owed: ask again when it has ended. */
  | { readonly kind: "under_way" };

/**
 * Takes back what the introducer of a lead is owed for it, for the lead and for all its sales, and agrees that nothing
 * more will be. What partners paid stays.
 */
export async function reverseIntroducer(
  context: Context,
  organisationId: string,
  { leadId, reason }: CostReversal,
  actor: string,
): Promise<ReverseIntroducerResult> {
  const now = context.clock();
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const lead = await lockLead(transaction, leadId);
    if (lead === null) return { kind: "lead_not_found" };
    // One that is claimed meanwhile would bear a cost by what was agreed before.
    await transaction.selectFrom("deliveries").select("id").where("leadId", "=", leadId).forNoKeyUpdate().execute();
    const deliveries = await readDeliveries(transaction, leadId);
    if (deliveries.some(({ sendingSince }) => sendingSince !== null)) return { kind: "under_way" };
    const because = { reason: reason ?? "introducer reversed", createdBy: actor };
    const changes = await costChanges(transaction, organisationId, lead, deliveries, because);
    if (changes.length === 0) return { kind: "nothing_owed" };
    await transaction
      .updateTable("deliveries")
      .set({ costMinor: 0 })
      .where("leadId", "=", leadId)
      .where("costMinor", ">", 0)
      .execute();
    await transaction.updateTable("leads").set({ costMinor: 0, leadCost: null }).where("id", "=", leadId).execute();
    await book(transaction, organisationId, changes.map(costMovement), now);
    const amounts = [...new Set(changes.map(({ currency }) => currency))].map((currency) => {
      const ofCurrency = changes.filter((change) => change.currency === currency);
      return { currency, amountMinor: ofCurrency.reduce((sum, change) => sum - change.amountMinor, 0) };
    });
    const detail = { partnerId: lead.introducerId, amounts, reason };
    await recordLeadEvent(transaction, { organisationId, leadId, kind: "introducer_reversed", actor, detail }, now);
    return { kind: "reversed", amounts };
  });
}

/** One for each sale of which something is owed, and one for the lead itself. */
async function costChanges(
  transaction: Database,
  organisationId: string,
  lead: LockedLead,
  deliveries: readonly LeadDelivery[],
  because: { readonly reason: string; readonly createdBy: string },
) {
  const ofLead = { id: null, leadId: lead.id, currency: lead.leadCost?.currency ?? "", costMinor: lead.costMinor };
  const changes = [];
  for (const owed of [...deliveries, ofLead]) {
    const key = `cost-reversal-${owed.id ?? lead.id}`;
    const change = await changeCost(transaction, organisationId, lead, owed, -owed.costMinor, { key, ...because });
    if (change !== null) changes.push(change);
  }
  return changes;
}
