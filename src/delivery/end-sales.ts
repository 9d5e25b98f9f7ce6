import { type RawBuilder, sql } from "kysely";
import type { Database } from "../db/database.ts";
import { readPartnerFunds } from "../ledger/accounts.ts";
import {
  bookingClauses,
  type PartnerAccounts,
  postMovement,
  reverseMovement,
  type Sale,
  voidMovement,
} from "../ledger/book.ts";
import { givePlaceBack, type LimitUsage } from "../partners/limit-usage.ts";
import { lockUsage, usageClauses } from "../partners/save-usage.ts";

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

/** The partner whose sales end. `accounts` where they are at hand: they never change. */
export interface SellingPartner {
  readonly id: string;
  readonly organisationId: string;
  readonly timeZone: string;
  readonly accounts?: PartnerAccounts | undefined;
}

export interface EndingSale {
  readonly sale: SettledSale;
  readonly end: SaleEnd;
}

/** Settles places and money of one partner's deliveries, in the transaction that changes their state. */
export async function endSales(
  transaction: Database,
  partner: SellingPartner,
  sales: readonly EndingSale[],
  now: Date,
): Promise<void> {
  if (sales.length === 0) return;
  const clauses = await endingClauses(transaction, partner, sales, now);
  await sql`with ${clauses} select`.execute(transaction);
}

/**
 * The same as clauses of a statement that does more: `with <clauses> select`. Where places go back, locks the partner's
 * usage rows now; the accounts are locked after them, when the statement runs.
 */
export async function endingClauses(
  transaction: Database,
  partner: SellingPartner,
  sales: readonly EndingSale[],
  now: Date,
): Promise<RawBuilder<unknown>> {
  const given = sales.filter(({ end }) => end.kind !== "post").map(({ sale }) => sale);
  const usages = await giveBackPlaces(transaction, partner, given);
  const accounts = partner.accounts ?? (await readAccounts(transaction, partner.id));
  const movements = sales.map(({ sale, end }) => {
    const booked: Sale = { ...sale, deliveryId: sale.id, partnerId: partner.id };
    if (end.kind === "post") return postMovement(booked, accounts);
    if (end.kind === "void") return voidMovement(booked, accounts);
    return reverseMovement(booked, accounts, end.reason, end.by);
  });
  return sql`${usageClauses(usages)}, ${bookingClauses(partner.organisationId, movements, now)}`;
}

async function readAccounts(transaction: Database, partnerId: string): Promise<PartnerAccounts> {
  const funds = (await readPartnerFunds(transaction, [partnerId], "read")).get(partnerId);
  if (funds === undefined) throw new Error(`Partner ${partnerId} has no accounts.`);
  return funds.accounts;
}

/** The usage rows with the places of these sales given back, each to the window it was taken from. */
async function giveBackPlaces(
  transaction: Database,
  partner: SellingPartner,
  sales: readonly SettledSale[],
): Promise<readonly LimitUsage[]> {
  const reserved = sales.filter((sale) => sale.reservedAt !== null);
  if (reserved.length === 0) return [];
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
  return [...usages.values()];
}
