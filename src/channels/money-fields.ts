import { currencyDecimals } from "../money.ts";
import type { MoneyFields } from "./contract.ts";

/** What is needed of a campaign's field to write its money. */
interface MoneyField {
  readonly key: string;
  readonly type: string;
  readonly currency?: string | undefined;
  readonly decimals?: number | undefined;
}

const usualDecimals = 2;

/** How many decimals a field of money has: as it says, else those of its currency. */
export function moneyDecimals({ decimals, currency }: Omit<MoneyField, "key" | "type">): number {
  return decimals ?? (currency === undefined ? usualDecimals : currencyDecimals(currency));
}

/** How the money among these fields is written for people. */
export function moneyFields(fields: readonly MoneyField[]): MoneyFields {
  const money = fields.filter(({ type }) => type === "money");
  return Object.fromEntries(
    money.map((field) => [field.key, { decimals: moneyDecimals(field), currency: field.currency ?? null }]),
  );
}
