import { currencyDecimals, formatAmount, isCurrency, parseAmount } from "../money.ts";

/** Amounts as PayPal writes them, such as `{ "currency_code": "GBP", "value": "12.50" }`, and in minor units as we count them. */
export interface PayPalMoney {
  readonly currency: string;
  readonly value: string;
}

/** The currencies that PayPal takes. None of them has three decimals. */
export const payPalCurrencies: readonly string[] = [
  ..."AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF ILS JPY".split(" "),
  ..."MXN MYR NOK NZD PHP PLN SEK SGD THB TWD USD".split(" "),
];

/** Have two decimals in ISO 4217 and none at PayPal, which refuses them with any. */
const wholeAtPayPal: ReadonlySet<string> = new Set(["HUF", "TWD"]);

/** Why an amount in this currency cannot be paid through PayPal; null where it can. Goes after the name of a field. */
export function whyNotPayable(amountMinor: number, currency: string): string | null {
  if (!payPalCurrencies.includes(currency)) return `cannot be paid in ${currency}, which PayPal does not take`;
  const isWhole = amountMinor % 10 ** currencyDecimals(currency) === 0;
  if (wholeAtPayPal.has(currency) && !isWhole) {
    return `must be whole ${currency}: PayPal takes no decimals of it (${formatAmount(amountMinor, currency)})`;
  }
  return null;
}

/** Writes minor units as PayPal wants them: 1250 of GBP is `12.50`, of JPY `1250`; 125000 of HUF is `1250`. */
export function toPayPalMoney(amountMinor: number, currency: string): PayPalMoney {
  const problem = whyNotPayable(amountMinor, currency);
  if (problem !== null) throw new Error(`An amount ${problem}.`);
  const value = formatAmount(amountMinor, currency);
  return { currency, value: wholeAtPayPal.has(currency) ? value.replace(/\.\d+$/, "") : value };
}

/**
 * Reads what PayPal wrote as minor units, exactly. Zeros behind the decimals that a currency has change nothing; null where
 * anything else stands there, or where it is no amount, or none in a currency of ISO 4217.
 */
export function fromPayPalMoney({ currency, value }: PayPalMoney): number | null {
  if (!isCurrency(currency)) return null;
  const [, whole, fraction = ""] = /^(\d+)(?:\.(\d+))?$/.exec(value) ?? [];
  if (whole === undefined) return null;
  const decimals = currencyDecimals(currency);
  if (/[^0]/.test(fraction.slice(decimals))) return null;
  const kept = fraction.slice(0, decimals);
  const parsed = parseAmount(kept === "" ? whole : `${whole}.${kept}`, currency);
  return parsed.ok ? parsed.amountMinor : null;
}
