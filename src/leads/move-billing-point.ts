import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { endSales, type SaleEnd, type SellingPartner } from "../delivery/end-sales.ts";
import { changeCost } from "../delivery/introducer-cost.ts";
import { fillPlaces } from "../delivery/recheck-holds.ts";
import { type BillingPoint, isAfter } from "../prices/billing.ts";
import { costOfPayment } from "../prices/lead-cost.ts";
import { partsUpTo } from "../prices/sale-terms.ts";
import { type LeadDelivery, type LockedLead, lockLead, readDeliveries, recordLeadEvent } from "./lead-events.ts";

export interface BillingMove {
  readonly deliveryId: string;
  /** `closed`: it will not reach a later point. */
  readonly to: BillingPoint | "closed";
  readonly reason: string | null;
}

export type BillingMoveResult =
  /** It was there already, or is now. */
  | { readonly kind: "moved"; readonly isNew: boolean }
  | { readonly kind: "delivery_not_found" }
  | { readonly kind: "delivery_state"; readonly state: string }
  /** The sale is at this point, or closed: points go forward only, and a closed sale goes nowhere. */
  | { readonly kind: "refused"; readonly at: BillingPoint; readonly isClosed: boolean };

/**
 * Moves a sale to a later billing point: what is due up to there is paid, and the introducer's share of it owed. Or closes
 * it: what is still reserved goes back. To ask for what is so already changes nothing.
 */
export async function moveBillingPoint(
  context: Context,
  organisationId: string,
  move: BillingMove,
  actor: string,
): Promise<BillingMoveResult> {
  const now = context.clock();
  const result = await inOrganisation(context.database, organisationId, async (transaction) => {
    const found = await transaction
      .selectFrom("deliveries")
      .select("leadId")
      .where("id", "=", move.deliveryId)
      .executeTakeFirst();
    const lead = found === undefined ? null : await lockLead(transaction, found.leadId);
    const deliveries = lead === null ? [] : await readDeliveries(transaction, lead.id);
    const sale = deliveries.find(({ id }) => id === move.deliveryId);
    if (lead === null || sale === undefined) return { kind: "delivery_not_found" } as const;
    return moveSale(transaction, lead, sale, move, actor, now);
  });
  if (result.kind === "moved" && result.isNew && move.to === "closed") {
    await fillPlaces(context, { id: result.partnerId, organisationId }, 1);
  }
  return result;
}

/** The same for a sale whose lead is locked. */
export async function moveSale(
  transaction: Database,
  lead: LockedLead,
  sale: LeadDelivery,
  { to, reason }: Pick<BillingMove, "to" | "reason">,
  actor: string,
  now: Date,
) {
  const { id, partnerId, organisationId, billingPoint } = sale;
  const isSold = sale.state === "delivered" || sale.redeliveryOf === "delivered";
  if (!isSold || billingPoint === null) return { kind: "delivery_state", state: sale.state } as const;
  const isClosed = sale.billingClosedAt !== null;
  if (to === (isClosed ? "closed" : billingPoint)) return { kind: "moved", isNew: false, partnerId } as const;
  const mayMove = to === "closed" ? billingPoint !== "converted" : isAfter(to, billingPoint);
  if (isClosed || !mayMove) return { kind: "refused", at: billingPoint, isClosed } as const;
  const partner = { id: partnerId, organisationId, timeZone: sale.timeZone };
  if (to === "closed") await close(transaction, partner, sale, reason ?? "not converted", actor, now);
  else await advance(transaction, partner, lead, sale, to, actor, now);
  const kind = to === "closed" ? "closed" : "billed";
  const detail = { deliveryId: id, partnerId, from: billingPoint, to, reason };
  await recordLeadEvent(transaction, { organisationId, leadId: lead.id, kind, actor, detail }, now);
  return { kind: "moved", isNew: true, partnerId } as const;
}

async function advance(
  transaction: Database,
  partner: SellingPartner,
  lead: LockedLead,
  sale: LeadDelivery,
  to: BillingPoint,
  actor: string,
  now: Date,
): Promise<void> {
  const { billedMinor, costMinor } = sale;
  const due = partsUpTo(sale, sale.billingPoint, to);
  const afterMinor = due.reduce((sum, { amountMinor }) => sum + amountMinor, billedMinor);
  const owedMinor = lead.leadCost === null ? 0 : costOfPayment(lead.leadCost, billedMinor, afterMinor);
  await transaction
    .updateTable("deliveries")
    .set({ billingPoint: to, billedMinor: afterMinor, costMinor: costMinor + owedMinor })
    .set(to === "converted" ? { billingClosesAt: null } : {})
    .where("id", "=", sale.id)
    .execute();
  const because = { key: `cost-${sale.id}-${to}`, reason: null, createdBy: actor };
  const cost = await changeCost(transaction, partner.organisationId, lead, sale, owedMinor, because);
  const end: SaleEnd = { kind: "advance", to, by: actor };
  await endSales(transaction, partner, [{ sale, end, cost }], now);
}

/** What is not paid was never owed: from now on the sale costs what was paid. */
async function close(
  transaction: Database,
  partner: SellingPartner,
  sale: LeadDelivery,
  reason: string,
  actor: string,
  now: Date,
): Promise<void> {
  await transaction
    .updateTable("deliveries")
    .set({ billingClosedAt: now, billingClosesAt: null, priceMinor: sale.billedMinor })
    .where("id", "=", sale.id)
    .execute();
  await endSales(transaction, partner, [{ sale, end: { kind: "close", reason, by: actor }, cost: null }], now);
}
