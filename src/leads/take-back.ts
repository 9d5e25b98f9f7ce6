import type { Updateable } from "kysely";
import type { Database } from "../db/database.ts";
import type { Tables } from "../db/tables.ts";
import { endSales } from "../delivery/end-sales.ts";
import { type Reversal, reverseSale } from "../delivery/reverse-sale.ts";
import type { LeadDelivery, LockedLead } from "./lead-events.ts";

/** Deliveries in these states can be taken back. */
export const withdrawable: readonly string[] = ["held", "offered", "sending", "delivered", "uncertain"];

/**
 * Takes a lead back from a partner, delivered or not: money, place and the introducer's cost as the reversal says; a
 * delivery that is no sale yet gives everything back. The partner is not given this lead again by routing; with `reroute`
 * the lead goes on to others. Gives false, and has changed nothing, when an attempt is under way: its outcome is not known
 * yet. Takes the lead locked, with all its deliveries.
 */
export async function takeBack(
  transaction: Database,
  lead: LockedLead,
  deliveries: readonly LeadDelivery[],
  delivery: LeadDelivery,
  reversal: Reversal & { readonly reroute: boolean },
  now: Date,
): Promise<boolean> {
  if (!(await withdraw(transaction, delivery, now))) return false;
  const others = deliveries.filter((row) => row.id !== delivery.id && withdrawable.includes(row.state));
  await transaction
    .updateTable("leads")
    .set(leadAfter(lead, delivery, others, reversal.reroute, now))
    .where("id", "=", lead.id)
    .execute();
  const { organisationId, timeZone, partnerId } = delivery;
  const partner = { id: partnerId, organisationId, timeZone };
  if (wasSold(delivery)) {
    await reverseSale(transaction, partner, lead, delivery, reversal, now);
  } else if (delivery.reservedAt !== null) {
    await transaction.updateTable("deliveries").set({ reservedAt: null }).where("id", "=", delivery.id).execute();
    await endSales(transaction, partner, [{ sale: delivery, end: { kind: "void" }, cost: null }], now);
  }
  return true;
}

async function withdraw(transaction: Database, delivery: LeadDelivery, now: Date): Promise<boolean> {
  const state = wasSold(delivery) ? "returned" : "cancelled";
  const changed = await transaction
    .updateTable("deliveries")
    .set({ state, withdrawn: true, dueAt: null, redeliveryOf: null, finishedAt: now })
    .where("id", "=", delivery.id)
    .where("state", "=", delivery.state)
    .where("sendingSince", "is", null)
    .returning("id")
    .executeTakeFirst();
  return changed !== undefined;
}

/** Whether the partner has the lead as a sale, be it that it is being sent again. */
export function wasSold({ state, redeliveryOf }: Pick<LeadDelivery, "state" | "redeliveryOf">): boolean {
  return state === "delivered" || redeliveryOf === "delivered";
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
