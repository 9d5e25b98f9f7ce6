import { type RawBuilder, sql } from "kysely";
import type { Database } from "../db/database.ts";
import { readPartnerFunds } from "../ledger/accounts.ts";
import {
  bookingClauses,
  type CostChange,
  costMovement,
  endPartMovement,
  type Movement,
  type PartnerAccounts,
  reverseMovement,
  type Sale,
} from "../ledger/book.ts";
import { givePlaceBack, giveSpendBack, type LimitUsage } from "../partners/limit-usage.ts";
import { lockUsage, usageClauses } from "../partners/save-usage.ts";
import type { BillingPoint } from "../prices/billing.ts";
import { type AcceptedSale, type AgreedSale, partsAfter, partsUpTo } from "../prices/sale-terms.ts";

/** A delivery whose place and money are to be settled one way or the other. */
export interface SettledSale extends AgreedSale {
  readonly id: string;
  readonly leadId: string;
  readonly campaignId: string;
  readonly currency: string;
  readonly reservedAt: Date | null;
  /** What was paid of the price; the rest is reserved, unless the sale is closed. */
  readonly billedMinor: number;
  readonly billingPoint: BillingPoint | null;
}

export type SaleEnd =
  /** The partner accepted: what is due then is paid, and what was reserved too much given back. */
  | { readonly kind: "accept"; readonly accepted: AcceptedSale }
  /** A later billing point is reached: what is due up to it is paid. */
  | { readonly kind: "advance"; readonly to: BillingPoint; readonly by: string }
  /** It came to nothing: place and money go back. */
  | { readonly kind: "void" }
  /** It will not reach a later billing point: what is still reserved goes back. */
  | { readonly kind: "close"; readonly reason: string; readonly by: string }
  /** It is taken back: what was paid goes back by a new transaction, what is still reserved too. */
  | { readonly kind: "reverse"; readonly reason: string; readonly by: string; readonly keepsPlace: boolean };

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
  /** What an introducer is owed with it, or no longer. */
  readonly cost: CostChange | null;
}

/**
 * Settles places and money of one partner's deliveries, in the transaction that changes their state. All that becomes of
 * what was reserved for a lead goes through here.
 */
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
  const usages = await giveBack(transaction, partner, sales);
  const accounts = partner.accounts ?? (await readAccounts(transaction, partner.id));
  const movements = sales.flatMap(({ sale, end, cost }) => {
    const { id: deliveryId, leadId, currency } = sale;
    const booked = movementsOf(sale, end, { deliveryId, leadId, currency, partnerId: partner.id }, accounts);
    return cost === null ? booked : [...booked, costMovement(cost)];
  });
  return sql`${usageClauses(usages)}, ${bookingClauses(partner.organisationId, movements, now)}`;
}

function movementsOf(sale: SettledSale, end: SaleEnd, booked: Sale, accounts: PartnerAccounts): Movement[] {
  const { billingPoint, billedMinor } = sale;
  switch (end.kind) {
    case "accept": {
      const { billedMinor: amountMinor, excessMinor } = end.accepted;
      return [
        endPartMovement("post", booked, { point: "accepted", amountMinor }, accounts),
        endPartMovement("void", booked, { point: "excess", amountMinor: excessMinor }, accounts),
      ];
    }
    case "advance": {
      const by = { reason: null, createdBy: end.by };
      return partsUpTo(sale, billingPoint, end.to).map((part) => endPartMovement("post", booked, part, accounts, by));
    }
    case "void":
      return partsAfter(sale, null).map((part) => endPartMovement("void", booked, part, accounts));
    case "close": {
      const by = { reason: end.reason, createdBy: end.by };
      return partsAfter(sale, billingPoint).map((part) => endPartMovement("void", booked, part, accounts, by));
    }
    case "reverse": {
      const by = { reason: end.reason, createdBy: end.by };
      // A closed sale has nothing reserved any more.
      const rest = sale.priceMinor > billedMinor ? partsAfter(sale, billingPoint) : [];
      return [
        reverseMovement(booked, billedMinor, accounts, end.reason, end.by),
        ...rest.map((part) => endPartMovement("void", booked, part, accounts, by)),
      ];
    }
  }
}

async function readAccounts(transaction: Database, partnerId: string): Promise<PartnerAccounts> {
  const funds = (await readPartnerFunds(transaction, [partnerId], "read")).get(partnerId);
  if (funds === undefined) throw new Error(`Partner ${partnerId} has no accounts.`);
  return funds.accounts;
}

/** What a sale gives back to the limits: the lead's place with all it counts for, or money alone. */
function returnOf({ priceMinor, billedMinor }: SettledSale, end: SaleEnd) {
  switch (end.kind) {
    case "accept":
      return { place: false, spendMinor: end.accepted.excessMinor };
    case "advance":
      return { place: false, spendMinor: 0 };
    case "void":
      return { place: true, spendMinor: priceMinor };
    case "close":
      return { place: false, spendMinor: priceMinor - billedMinor };
    case "reverse":
      return { place: !end.keepsPlace, spendMinor: priceMinor };
  }
}

/** The usage rows with what these sales give back, each to the windows from which it was taken. */
async function giveBack(
  transaction: Database,
  partner: SellingPartner,
  sales: readonly EndingSale[],
): Promise<readonly LimitUsage[]> {
  const returned = sales.flatMap(({ sale, end }) => {
    const { campaignId, reservedAt } = sale;
    const { place, spendMinor } = returnOf(sale, end);
    return reservedAt === null || (!place && spendMinor === 0) ? [] : [{ campaignId, reservedAt, place, spendMinor }];
  });
  if (returned.length === 0) return [];
  const campaignIds = [...new Set(returned.map(({ campaignId }) => campaignId))];
  const usages = new Map<string | null, LimitUsage>();
  for (const usage of await lockUsage(transaction, partner.id, campaignIds)) usages.set(usage.campaignId, usage);
  for (const { campaignId, reservedAt, place, spendMinor } of returned) {
    const back = place ? givePlaceBack : giveSpendBack;
    for (const scope of [null, campaignId]) {
      const usage = usages.get(scope);
      if (usage !== undefined) usages.set(scope, back(usage, partner.timeZone, reservedAt, spendMinor));
    }
  }
  return [...usages.values()];
}
