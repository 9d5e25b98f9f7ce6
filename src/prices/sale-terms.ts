import { type AnsweredPrice, readAnsweredPrice } from "./answered-price.ts";
import { type Billing, type BillingPoint, type Parts, partsOf, pointsBetween, sumOf } from "./billing.ts";
import type { LeadPrice } from "./price.ts";

/**
 * What was agreed for one sale when the lead was given to the partner: settings that change later do not change it. Kept
 * with the delivery, and only where there is more to it than a price that is paid when the partner accepts.
 */
export interface SaleTerms {
  /** What the parts are parts of. Until the answer has named a price that it may name, the most that it can be. */
  readonly valueMinor: number;
  readonly billing: Billing | null;
  /** Where the answer names the price: its bounds, and what is charged if it names none. */
  readonly answer: { readonly min: number; readonly max: number; readonly default: number } | null;
}

/** What a sale is about: its price in total, all of it reserved until it is paid or given back. */
export interface AgreedSale {
  readonly priceMinor: number;
  /** null: the price is paid as a whole when the partner accepts. */
  readonly terms: SaleTerms | null;
}

/** Agrees on a sale. Where the answer names the price, the most that it may name is reserved. Pure. */
export function agreeSale({ valueMinor, answer }: LeadPrice, billing: Billing | null): AgreedSale {
  if (answer === null && billing === null) return { priceMinor: valueMinor, terms: null };
  const terms: SaleTerms = {
    valueMinor: answer === null ? valueMinor : answer.max,
    billing,
    answer: answer === null ? null : { min: answer.min, max: answer.max, default: valueMinor },
  };
  return { priceMinor: sumOf(partsOf(terms.valueMinor, billing)), terms };
}

/** What is paid at each billing point of a sale. */
export function partsOfSale({ priceMinor, terms }: AgreedSale): Parts {
  return terms === null ? partsOf(priceMinor, null) : partsOf(terms.valueMinor, terms.billing);
}

/** What the sale is expected to come to: where the answer names the price, what is charged if it names none. */
export function expectedMinor({ priceMinor, terms }: AgreedSale): number {
  return terms?.answer == null ? priceMinor : sumOf(partsOf(terms.answer.default, terms.billing));
}

/** The lead's value, of which percentages are taken. */
export function saleValue({ priceMinor, terms }: AgreedSale): number {
  return terms?.valueMinor ?? priceMinor;
}

/** Why the price that is charged is not the one that the answer named. */
export const priceNotes = ["missing", "unreadable", "other_currency", "below_minimum", "above_maximum"] as const;
export type PriceNote = (typeof priceNotes)[number];

export interface AcceptedSale extends AgreedSale {
  /** Paid at once. */
  readonly billedMinor: number;
  /** What was reserved beyond the price that came out: given back. */
  readonly excessMinor: number;
  readonly priceNote: PriceNote | null;
  /** When a sale that is not through by then is closed. */
  readonly closesAt: Date | null;
}

const dayMs = 86_400_000;

/**
 * What a sale comes to when the partner accepts, by the price that its answer names, where that counts. It is never above
 * what was reserved: a price beyond the bounds is charged as the bound, one that cannot be read or is in another currency
 * as if none had been named. Pure.
 */
export function acceptSale(agreed: AgreedSale, currency: string, named: string | null, now: Date): AcceptedSale {
  const { terms } = agreed;
  if (terms === null) {
    return { ...agreed, billedMinor: agreed.priceMinor, excessMinor: 0, priceNote: null, closesAt: null };
  }
  const { valueMinor, priceNote } = chargedValue(terms, named, currency);
  const parts = partsOf(valueMinor, terms.billing);
  const priceMinor = sumOf(parts);
  const days = terms.billing?.closeAfterDays ?? null;
  return {
    priceMinor,
    terms: { ...terms, valueMinor },
    billedMinor: parts.accepted,
    excessMinor: agreed.priceMinor - priceMinor,
    priceNote,
    closesAt: days === null || parts.accepted === priceMinor ? null : new Date(now.getTime() + days * dayMs),
  };
}

function chargedValue(
  { valueMinor, answer }: SaleTerms,
  text: string | null,
  currency: string,
): { readonly valueMinor: number; readonly priceNote: PriceNote | null } {
  if (answer === null) return { valueMinor, priceNote: null };
  const named: AnsweredPrice = readAnsweredPrice(text, currency);
  if (named.kind !== "named") return { valueMinor: answer.default, priceNote: named.kind };
  if (named.amountMinor < answer.min) return { valueMinor: answer.min, priceNote: "below_minimum" };
  if (named.amountMinor > answer.max) return { valueMinor: answer.max, priceNote: "above_maximum" };
  return { valueMinor: named.amountMinor, priceNote: null };
}

/** What is due when a sale moves from one billing point to a later one: the parts of all points on the way. */
export function partsUpTo(sale: AgreedSale, from: BillingPoint | null, to: BillingPoint) {
  return partsAt(sale, pointsBetween(from, to));
}

/** What is still reserved of a sale that has reached a billing point, part by part. */
export function partsAfter(sale: AgreedSale, reached: BillingPoint | null) {
  return partsAt(sale, pointsBetween(reached, "converted"));
}

export interface Part {
  readonly point: BillingPoint;
  readonly amountMinor: number;
}

function partsAt(sale: AgreedSale, points: readonly BillingPoint[]): readonly Part[] {
  const parts = partsOfSale(sale);
  return points.map((point) => ({ point, amountMinor: parts[point] })).filter(({ amountMinor }) => amountMinor > 0);
}
