import type { Database } from "../db/database.ts";
import { readPartnerFunds } from "../ledger/accounts.ts";
import { book, postMovement, reverseMovement, type Sale, voidMovement } from "../ledger/book.ts";
import { givePlaceBack, type LimitUsage } from "../partners/limit-usage.ts";
import { lockUsage, saveUsage } from "../partners/save-usage.ts";

/** A delivery whose place and money are to be settled one way or the other. */
export interface SettledSale {
  readonly id: string;
  readonly leadId: string;
  readonly campaignId: string;
  readonly priceMinor: number;
  readonly currency: string;
  readonly reservedAt: Date | null;
}

export type SaleEnd =
  /** The billing point is reached: what was reserved is paid. */
  | { readonly kind: "post" }
  /** It came to nothing: place and money go back. */
  | { readonly kind: "void" }
  /** It was paid and is taken back: place and money go back by a new transaction. */
  | { readonly kind: "reverse"; readonly reason: string; readonly by: string };

/**
 * Settles places and money of one partner's deliveries, in the transaction that changes their state. Locks the partner's
 * usage rows, then its accounts.
 */
export async function endSales(
  transaction: Database,
  partner: { readonly id: string; readonly organisationId: string; readonly timeZone: string },
  sales: readonly { readonly sale: SettledSale; readonly end: SaleEnd }[],
  now: Date,
): Promise<void> {
  if (sales.length === 0) return;
  await giveBackPlaces(
    transaction,
    partner,
    sales.filter(({ end }) => end.kind !== "post").map(({ sale }) => sale),
  );
  const funds = (await readPartnerFunds(transaction, [partner.id], "lock")).get(partner.id);
  if (funds === undefined) throw new Error(`Partner ${partner.id} has no accounts.`);
  const movements = sales.map(({ sale, end }) => {
    const booked: Sale = { ...sale, deliveryId: sale.id, partnerId: partner.id };
    if (end.kind === "post") return postMovement(booked, funds.accounts);
    if (end.kind === "void") return voidMovement(booked, funds.accounts);
    return reverseMovement(booked, funds.accounts, end.reason, end.by);
  });
  await book(transaction, partner.organisationId, movements, now);
}

async function giveBackPlaces(
  transaction: Database,
  partner: { readonly id: string; readonly timeZone: string },
  sales: readonly SettledSale[],
): Promise<void> {
  const reserved = sales.filter((sale) => sale.reservedAt !== null);
  if (reserved.length === 0) return;
  const campaignIds = [...new Set(reserved.map((sale) => sale.campaignId))];
  const usages = new Map<string | null, LimitUsage>();
  for (const usage of await lockUsage(transaction, partner.id, campaignIds)) usages.set(usage.campaignId, usage);
  for (const { campaignId, reservedAt, priceMinor } of reserved) {
    for (const scope of [null, campaignId]) {
      const usage = usages.get(scope);
      if (usage === undefined || reservedAt === null) continue;
      usages.set(scope, givePlaceBack(usage, partner.timeZone, reservedAt, priceMinor));
    }
  }
  await saveUsage(transaction, [...usages.values()]);
}
