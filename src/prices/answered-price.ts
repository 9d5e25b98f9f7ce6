import { isCurrency, parseAmount } from "../money.ts";

/** What an answer says that the lead costs. */
export type AnsweredPrice =
  | { readonly kind: "named"; readonly amountMinor: number }
  | { readonly kind: "missing" | "unreadable" | "other_currency" };

/** What may stand for a currency beside its code. A dollar is anybody's who counts in dollars. */
const signs: Readonly<Record<string, readonly string[]>> = {
  "£": ["GBP"],
  "€": ["EUR"],
  "¥": ["JPY", "CNY"],
  $: ["USD", "CAD", "AUD", "NZD"],
};

/**
 * Reads the price that a partner's answer names, as a decimal number in a currency: `12.50`, `£12.50`, `1,250.00 GBP`.
 * Without a currency it is the partner's own. More decimals than the currency has cannot be read, unless they are zeros.
 */
export function readAnsweredPrice(text: string | null, currency: string): AnsweredPrice {
  if (text === null || text.trim() === "") return { kind: "missing" };
  // An older partner may have a code that is none: nobody knows its decimals.
  if (!isCurrency(currency)) return { kind: "unreadable" };
  const [, before = "", number = "", after = ""] = /^([^\d.,+-]*)([\d.,+-]+)([^\d.,+-]*)$/.exec(text) ?? [];
  const marks = [before, after].map((mark) => mark.replace(/[\s;]/g, "").toUpperCase()).filter((mark) => mark !== "");
  for (const mark of marks) {
    const meant = signs[mark] ?? (isCurrency(mark) ? [mark] : null);
    if (meant === null) return { kind: "unreadable" };
    if (!meant.includes(currency)) return { kind: "other_currency" };
  }
  // Without decimals behind it a comma may be a decimal point as well: 1,250 is not guessed at.
  const plain = /^\d{1,3}(,\d{3})+\.\d+$/.test(number) ? number.replaceAll(",", "") : number;
  const parsed = parseAmount(withoutSpareZeros(plain), currency);
  return parsed.ok && parsed.amountMinor >= 0
    ? { kind: "named", amountMinor: parsed.amountMinor }
    : { kind: "unreadable" };
}

function withoutSpareZeros(number: string): string {
  const [, whole, fraction] = /^(\d+)\.(\d*?)0*$/.exec(number) ?? [];
  if (whole === undefined || fraction === undefined) return number;
  return fraction === "" ? whole : `${whole}.${fraction}`;
}
