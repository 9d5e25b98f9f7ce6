import type { Updateable } from "kysely";
import { routeLeads } from "../../queues/route-leads.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import type { Tables } from "../db/tables.ts";
import { endSales } from "../delivery/end-sales.ts";
import { fillPlaces } from "../delivery/recheck-holds.ts";
import { reverseSale } from "../delivery/reverse-sale.ts";
import { type LeadDelivery, type LockedLead, lockLead, readDeliveries, recordLeadEvent } from "./lead-events.ts";

export interface Unreferral {
  readonly leadId: string;
  readonly partnerId: string;
  readonly reason: string | null;
  /** Whether the lead goes on to other partners. */
  readonly reroute: boolean;
}

export type UnreferResult =
  | { readonly kind: "unreferred"; readonly deliveryId: string }
  | { readonly kind: "lead_not_found" }
  | { readonly kind: "delivery_not_found" }
  /** A request is under way: ask again when it has ended. */
  | { readonly kind: "under_way" };

const withdrawable: readonly string[] = ["held", "offered", "sending", "delivered", "uncertain"];

/**
 * Takes a lead back from a partner, delivered or not: the place in the limits and the money go back, and the partner is
 * not given this lead again by routing. What the partner was sent, it has: telling it is for people.
 */
export async function unreferLead(
  context: Context,
  organisationId: string,
  unreferral: Unreferral,
  actor: string,
): Promise<UnreferResult> {
  const now = context.clock();
  const { leadId, partnerId, reason, reroute } = unreferral;
  const result = await inOrganisation(context.database, organisationId, async (transaction) => {
    const lead = await lockLead(transaction, leadId);
    if (lead === null) return { kind: "lead_not_found" } as const;
    const deliveries = await readDeliveries(transaction, leadId);
    const delivery = deliveries.find((row) => row.partnerId === partnerId && withdrawable.includes(row.state));
    if (delivery === undefined) return { kind: "delivery_not_found" } as const;
    const withdrawn = await withdraw(transaction, delivery, now);
    if (!withdrawn) return { kind: "under_way" } as const;
    const others = deliveries.filter((row) => row.id !== delivery.id && withdrawable.includes(row.state));
    await transaction
      .updateTable("leads")
      .set(leadAfter(lead, delivery, others, reroute, now))
      .where("id", "=", lead.id)
      .execute();
    const partner = { id: partnerId, organisationId, timeZone: delivery.timeZone };
    if (wasSold(delivery)) {
      const reversal = { reason: reason ?? "unreferred", by: actor, place: "give_back", cost: "as_agreed" } as const;
      await reverseSale(transaction, partner, lead, delivery, reversal, now);
    } else if (delivery.reservedAt !== null) {
      await endSales(transaction, partner, [{ sale: delivery, end: { kind: "void" }, cost: null }], now);
    }
    const detail = { deliveryId: delivery.id, partnerId, from: delivery.state, reason, reroute };
    await recordLeadEvent(transaction, { organisationId, leadId, kind: "unreferred", actor, detail }, now);
    return { kind: "unreferred", deliveryId: delivery.id, campaignId: lead.campaignId } as const;
  });
  if (result.kind !== "unreferred") return result;
  await fillPlaces(context, { id: partnerId, organisationId }, 1);
  if (reroute) context.waker.wake(routeLeads, { organisationId, campaignId: result.campaignId });
  return { kind: "unreferred", deliveryId: result.deliveryId };
}

/** Gives false when an attempt is under way: its outcome is not known yet. */
async function withdraw(transaction: Database, delivery: LeadDelivery, now: Date): Promise<boolean> {
  const state = wasSold(delivery) ? "returned" : "cancelled";
  const changed = await transaction
    .updateTable("deliveries")
    .set({ state, withdrawn: true, dueAt: null, reservedAt: null, redeliveryOf: null, finishedAt: now })
    .where("id", "=", delivery.id)
    .where("state", "=", delivery.state)
    .where("sendingSince", "is", null)
    .returning("id")
    .executeTakeFirst();
  return changed !== undefined;
}

function wasSold(delivery: LeadDelivery): boolean {
  return delivery.state === "delivered" || delivery.redeliveryOf === "delivered";
}

const inHand: readonly string[] = ["held", "offered", "sending"];

/** A lead that others have in hand goes on as it was; else it is over, unless it is to go to other partners. */
function leadAfter(
  lead: LockedLead,
  withdrawn: LeadDelivery,
  others: readonly LeadDelivery[],
  reroute: boolean,
  now: Date,
): Updateable<Tables["leads"]> {
  const soldCount = lead.soldCount - (wasSold(withdrawn) ? 1 : 0);
  const isOver = lead.state === "erased" || (lead.state === "sold" && soldCount > 0 && !reroute);
  if (isOver || (!reroute && others.some(({ state }) => inHand.includes(state)))) return { soldCount };
  if (reroute) return { soldCount, state: "routing", stateReason: null, dueAt: now, finishedAt: null };
  const over = { soldCount, stateReason: null, dueAt: null, finishedAt: now };
  if (soldCount > 0) return { ...over, state: "sold" };
  const isUncertain = others.some(({ state }) => state === "uncertain");
  if (wasSold(withdrawn) && !isUncertain) return { ...over, state: "returned" };
  const code = isUncertain ? "delivery_uncertain" : "unreferred";
  return { ...over, state: "unsold", stateReason: JSON.stringify({ code }) };
}
