/**
 * Amounts of money: whole numbers of minor units, each with its currency. What is computed here is exact, and rounded once
 * where it must be. Nothing here knows a locale: 12.50 GBP is written so everywhere.
 */

/**
 * The currencies of ISO 4217 in use, by their number of decimals. Kept here because `Intl` follows what people print in
 * shops (no decimals for HUF or IQD) and moves with Node; what is booked must not change its meaning.
 */
const currenciesByDecimals: readonly (readonly [decimals: number, codes: string])[] = [
  [0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"],
  [
    2,
    `AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP CVE CZK
     DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD
     KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP
     PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH
     USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG`,
  ],
  [3, "BHD IQD JOD KWD LYD OMR TND"],
];

const decimalsOf: ReadonlyMap<string, number> = new Map(
  currenciesByDecimals.flatMap(([decimals, codes]) => codes.split(/\s+/).map((code) => [code, decimals] as const)),
);

/** Whether it is a currency of ISO 4217, in capital letters. */
export function isCurrency(code: string): boolean {
  return decimalsOf.has(code);
}

/** How many decimals a currency has: 2 of GBP, 0 of JPY, 3 of KWD. What takes a currency in has refused unknown ones. */
export function currencyDecimals(currency: string): number {
  const decimals = decimalsOf.get(currency);
  if (decimals === undefined) throw new Error(`${currency} is no currency of ISO 4217.`);
  return decimals;
}

/** Minor units as a decimal number: 1250 of GBP is `12.50`, of JPY `1250`, of KWD `1.250`. */
export function formatAmount(amountMinor: number, currency: string): string {
  return withDecimals(amountMinor, currencyDecimals(currency));
}

/** Minor units for people: `12.50 GBP`. */
export function formatMoney(amountMinor: number, currency: string): string {
  return `${formatAmount(amountMinor, currency)} ${currency}`;
}

/** A whole number with its last `decimals` digits behind a point. */
export function withDecimals(whole: number, decimals: number): string {
  if (!Number.isSafeInteger(whole)) throw new Error(`${whole} is no whole number that can be counted exactly.`);
  const digits = String(Math.abs(whole)).padStart(decimals + 1, "0");
  const number = decimals === 0 ? digits : `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`;
  return whole < 0 ? `-${number}` : number;
}

export type ParsedAmount =
  | { readonly ok: true; readonly amountMinor: number }
  | {
      readonly ok: false;
      readonly code: "not_an_amount" | "too_many_decimals" | "too_large";
      /** Goes after the name of the field. */
      readonly message: string;
    };

/**
 * Reads a decimal number such as `12.50` as minor units, exactly. Refuses what is no plain decimal number (no grouping, no
 * exponent), more decimals than the currency has, even if they are zeros, and what cannot be counted exactly.
 */
export function parseAmount(text: string, currency: string): ParsedAmount {
  const decimals = currencyDecimals(currency);
  const example = withDecimals(decimals === 0 ? 1250 : 125 * 10 ** (decimals - 1), decimals);
  const [, sign = "", whole = "", fraction = ""] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text) ?? [];
  if (whole === "") return { ok: false, code: "not_an_amount", message: `must be an amount such as ${example}` };
  if (fraction.length > decimals) {
    const message = `must have at most ${decimals} decimals, as ${currency} has`;
    return { ok: false, code: "too_many_decimals", message };
  }
  const amountMinor = Number(whole + fraction.padEnd(decimals, "0")) * (sign === "-" ? -1 : 1);
  if (!Number.isSafeInteger(amountMinor)) return { ok: false, code: "too_large", message: "is beyond what is counted" };
  return { ok: true, amountMinor: amountMinor === 0 ? 0 : amountMinor };
}

/** Percentages are kept as whole numbers of ten-thousandths of a percent: 20 % is 200,000, 17.5 % is 175,000. */
export const percentDecimals = 4;

/**
 * A percentage as it is typed, such as 17.5, as ten-thousandths of a percent. null where it has more than four decimals:
 * the number is taken by its shortest decimal writing, which is what was typed.
 */
export function percentToRate(percent: number): number | null {
  const [, sign = "", whole = "", fraction = ""] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(String(percent)) ?? [];
  if (whole === "" || fraction.length > percentDecimals) return null;
  const rate = Number(whole + fraction.padEnd(percentDecimals, "0")) * (sign === "-" ? -1 : 1);
  return Number.isSafeInteger(rate) ? rate : null;
}

/** The percentage that a rate was made of: 175,000 is 17.5. */
export function rateToPercent(rate: number): number {
  return Number(withDecimals(rate, percentDecimals));
}

const wholeRate = 100n * 10n ** BigInt(percentDecimals);

/**
 * A percentage of an amount in minor units, rounded once, half to even: 2.5 is 2, 3.5 is 4, -2.5 is -2. Over many amounts
 * that favours nobody. Takes the rate of `percentToRate`.
 */
export function percentOf(amountMinor: number, rate: number): number {
  const product = BigInt(amountMinor) * BigInt(rate);
  const magnitude = product < 0n ? -product : product;
  const quotient = magnitude / wholeRate;
  const doubledRest = (magnitude % wholeRate) * 2n;
  const isUp = doubledRest > wholeRate || (doubledRest === wholeRate && quotient % 2n === 1n);
  const rounded = Number(isUp ? quotient + 1n : quotient);
  if (!Number.isSafeInteger(rounded)) throw new Error(`${rate} of ${amountMinor} is beyond what is counted exactly.`);
  return product < 0n && rounded !== 0 ? -rounded : rounded;
}

/**
 * Splits an amount by weights so that the parts sum to exactly the amount: each gets its share rounded towards zero, and
 * the minor units that are left go one each to those that lost most by that, the first of equals. Takes weights of whole
 * numbers from 0 of which at least one is above.
 */
export function splitAmount(amountMinor: number, weights: readonly number[]): number[] {
  const total = weights.reduce((sum, weight) => sum + BigInt(weight), 0n);
  if (total <= 0n || weights.some((weight) => weight < 0)) throw new Error("An amount is split by weights above zero.");
  const sign = amountMinor < 0 ? -1 : 1;
  const magnitude = BigInt(Math.abs(amountMinor));
  const shares = weights.map((weight, index) => {
    const product = magnitude * BigInt(weight);
    return { index, part: Number(product / total), rest: product % total };
  });
  const left = Math.abs(amountMinor) - shares.reduce((sum, { part }) => sum + part, 0);
  const byRest = shares.toSorted((a, b) => (a.rest === b.rest ? a.index - b.index : a.rest > b.rest ? -1 : 1));
  const lucky = new Set(byRest.slice(0, left).map(({ index }) => index));
  return shares.map(({ index, part }) => {
    const whole = part + (lucky.has(index) ? 1 : 0);
    return whole === 0 ? 0 : sign * whole;
  });
}
