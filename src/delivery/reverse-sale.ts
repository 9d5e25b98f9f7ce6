import type { Database } from "../db/database.ts";
import { acceptOpenReturn } from "../returns/settle-return.ts";
import { endSales, type SellingPartner, type SettledSale } from "./end-sales.ts";
import { changeCost, type Introduction } from "./introducer-cost.ts";

/** The lead of a sale, locked, as it is before the sale is taken back. */
export interface SoldLead extends Introduction {
  readonly id: string;
  /** Sales of it that stand, this one included. */
  readonly soldCount: number;
  /** What its introducer is owed for it whatever its sales bring. */
  readonly costMinor: number;
}

export interface SaleToReverse extends SettledSale {
  /** What the introducer is owed of this sale. */
  readonly costMinor: number;
}

export interface Reversal {
  readonly reason: string;
  readonly by: string;
  /** Whether the partner's limits get the lead's place back. Money counts towards them no longer in either case. */
  readonly place: "give_back" | "keep";
  /** What becomes of the introducer's cost: what was agreed with the introducer, or what is said here. */
  readonly cost: "as_agreed" | "reverse" | "keep";
  /** For the partner, should a return of the lead be open. */
  readonly note?: string | null;
}

/**
 * Takes a sale back: the partner gets what it paid and what is still reserved, and the introducer is owed no longer what
 * goes with the sale. An amount for the lead itself goes with its last sale. Writes money, limits, and what delivery and lead
 * bear of it, and accepts the return that is open; their states are the caller's, in the same transaction, with the lead locked.
 */
export async function reverseSale(
  transaction: Database,
  partner: SellingPartner,
  lead: SoldLead,
  sale: SaleToReverse,
  reversal: Reversal,
  now: Date,
): Promise<void> {
  const { reason, by } = reversal;
  const agreed = lead.leadCost?.whenReversed ?? "reverse";
  const takesCost = (reversal.cost === "as_agreed" ? agreed : reversal.cost) === "reverse";
  const goesWithSale = lead.soldCount <= 1 && (lead.leadCost?.due === "sold" || reversal.cost === "reverse");
  const ofSaleMinor = takesCost ? sale.costMinor : 0;
  const ofLeadMinor = takesCost && goesWithSale ? lead.costMinor : 0;
  const because = { key: `cost-reversal-${sale.id}`, reason, createdBy: by };
  const owedMinor = ofSaleMinor + ofLeadMinor;
  const cost = await changeCost(transaction, partner.organisationId, lead, sale, -owedMinor, because);
  const end = { kind: "reverse", reason, by, keepsPlace: reversal.place === "keep" } as const;
  await transaction
    .updateTable("deliveries")
    .set({ billedMinor: 0, costMinor: sale.costMinor - ofSaleMinor, billingClosesAt: null })
    .set((is) => ({ reversedAt: is.fn.coalesce("reversedAt", is.val(now)) }))
    .set(reversal.place === "keep" ? {} : { reservedAt: null })
    .where("id", "=", sale.id)
    .execute();
  if (ofLeadMinor > 0) {
    await transaction
      .updateTable("leads")
      .set({ costMinor: lead.costMinor - ofLeadMinor })
      .where("id", "=", lead.id)
      .execute();
  }
  await acceptOpenReturn(transaction, sale.id, { by, note: reversal.note ?? null }, now);
  await endSales(transaction, partner, [{ sale, end, cost }], now);
}
