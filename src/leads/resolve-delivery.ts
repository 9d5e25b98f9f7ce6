import { routeLeads } from "../../queues/route-leads.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { endSales, type SellingPartner } from "../delivery/end-sales.ts";
import { changeCost } from "../delivery/introducer-cost.ts";
import { fillPlaces } from "../delivery/recheck-holds.ts";
import { costOfAcceptance } from "../prices/lead-cost.ts";
import { acceptSale } from "../prices/sale-terms.ts";
import { type LeadDelivery, type LockedLead, lockLead, readDeliveries, recordLeadEvent } from "./lead-events.ts";

export interface Resolution {
  readonly deliveryId: string;
  /** What staff found out: the partner has the lead, or it has not. */
  readonly outcome: "delivered" | "not_delivered";
  readonly reference: string | null;
  readonly reason: string | null;
}

export type ResolveResult =
  | { readonly kind: "resolved" }
  | { readonly kind: "delivery_not_found" }
  | { readonly kind: "delivery_state"; readonly state: string };

/** Ends an uncertain delivery by what staff found out: it is sold and charged, or place and money go back and the lead goes on. */
export async function resolveDelivery(
  context: Context,
  organisationId: string,
  { deliveryId, outcome, reference, reason }: Resolution,
  actor: string,
): Promise<ResolveResult> {
  const now = context.clock();
  const result = await inOrganisation(context.database, organisationId, async (transaction) => {
    const found = await transaction
      .selectFrom("deliveries")
      .select("leadId")
      .where("id", "=", deliveryId)
      .executeTakeFirst();
    const lead = found === undefined ? null : await lockLead(transaction, found.leadId);
    if (lead === null) return { kind: "delivery_not_found" } as const;
    const delivery = (await readDeliveries(transaction, lead.id)).find(({ id }) => id === deliveryId);
    if (delivery?.state !== "uncertain") return { kind: "delivery_state", state: delivery?.state ?? "gone" } as const;
    const isDelivered = outcome === "delivered";
    const partner = { id: delivery.partnerId, organisationId, timeZone: delivery.timeZone };
    const ownLeadCostMinor = isDelivered
      ? await acceptByHand(transaction, partner, lead, delivery, reference, actor, now)
      : await failByHand(transaction, partner, delivery, now);
    await transaction
      .updateTable("leads")
      .set({
        soldCount: lead.soldCount + (isDelivered ? 1 : 0),
        costMinor: lead.costMinor + ownLeadCostMinor,
        ...(lead.state === "erased" ? {} : { state: "routing", stateReason: null, dueAt: now, finishedAt: null }),
      })
      .where("id", "=", lead.id)
      .execute();
    const detail = { deliveryId, partnerId: delivery.partnerId, outcome, reference, reason };
    await recordLeadEvent(transaction, { organisationId, leadId: lead.id, kind: "resolved", actor, detail }, now);
    return { kind: "resolved", campaignId: lead.campaignId, partnerId: delivery.partnerId } as const;
  });
  if (result.kind !== "resolved") return result;
  if (outcome === "not_delivered") await fillPlaces(context, { id: result.partnerId, organisationId }, 1);
  context.waker.wake(routeLeads, { organisationId, campaignId: result.campaignId });
  return { kind: "resolved" };
}

/** The same as when the partner accepts, but that its answer is not known. Gives what is owed for the lead itself now. */
async function acceptByHand(
  transaction: Database,
  partner: SellingPartner,
  lead: LockedLead,
  delivery: LeadDelivery,
  reference: string | null,
  actor: string,
  now: Date,
): Promise<number> {
  const accepted = acceptSale(delivery, delivery.currency, null, now);
  const { ofSaleMinor, ofLeadMinor } = costOfAcceptance(lead.leadCost, accepted.billedMinor, lead.costMinor);
  const { priceMinor, billedMinor, terms, closesAt, priceNote } = accepted;
  await transaction
    .updateTable("deliveries")
    .set({
      state: "delivered",
      reference,
      finishedAt: now,
      billingPoint: "accepted",
      soldAt: now,
      priceMinor,
      billedMinor,
    })
    .set({ billingClosesAt: closesAt, priceNote, costMinor: ofSaleMinor })
    .set(terms === null ? {} : { terms: JSON.stringify(terms) })
    .where("id", "=", delivery.id)
    .where("state", "=", "uncertain")
    .execute();
  const because = { key: `cost-${delivery.id}`, reason: null, createdBy: actor };
  const owedMinor = ofSaleMinor + ofLeadMinor;
  const cost = await changeCost(transaction, partner.organisationId, lead, delivery, owedMinor, because);
  await endSales(transaction, partner, [{ sale: delivery, end: { kind: "accept", accepted }, cost }], now);
  return ofLeadMinor;
}

async function failByHand(
  transaction: Database,
  partner: SellingPartner,
  delivery: LeadDelivery,
  now: Date,
): Promise<number> {
  await transaction
    .updateTable("deliveries")
    .set({ state: "failed", reservedAt: null, finishedAt: now })
    .where("id", "=", delivery.id)
    .where("state", "=", "uncertain")
    .execute();
  await endSales(transaction, partner, [{ sale: delivery, end: { kind: "void" }, cost: null }], now);
  return 0;
}
