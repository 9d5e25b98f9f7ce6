import type { Selectable } from "kysely";
import type { Tables } from "../db/tables.ts";
import type { Vault } from "../encrypt.ts";
import type { Price } from "../prices/price.ts";
import { sealDeliverySettings } from "./delivery-settings.ts";
import type { PartnerDocument } from "./partner.ts";

export const partnerColumns = [
  "id",
  "name",
  "type",
  "active",
  "timeZone",
  "currency",
  "leadValueMinor",
  "leadPrices",
  "billing",
  "leadCost",
  "returnPolicy",
  "creditLimitMinor",
  "lowFundsMinor",
  "contact",
  "limits",
  "schedule",
  "acceptFirst",
  "whenClosed",
  "whenCapped",
  "whenUnfunded",
  "alerts",
  "internet",
  "email",
  "concurrency",
  "ratePerMinute",
  "spreadSeconds",
  "ownPause",
  "createdAt",
  "updatedAt",
] as const;

export type PartnerRow = Pick<Selectable<Tables["partners"]>, (typeof partnerColumns)[number]>;

/** The document of a partner as it was stored: its secrets are encrypted. */
export function toDocument(row: PartnerRow): PartnerDocument {
  const { id: _id, createdAt: _createdAt, updatedAt: _updatedAt, ownPause: _ownPause, ...settings } = row;
  const { creditLimitMinor, lowFundsMinor, ...priced } = settings;
  const { leadValueMinor: _leadValueMinor, leadPrices: _leadPrices, returnPolicy: returns, ...document } = priced;
  const money = { leadValue: leadValueOf(row), creditLimit: creditLimitMinor, lowFundsThreshold: lowFundsMinor };
  return { ...document, returns, ...money };
}

/** What a partner pays for a lead: one amount, which is a column, and beside it the rules and bounds where there are any. */
export function leadValueOf({ leadValueMinor, leadPrices }: Pick<PartnerRow, "leadValueMinor" | "leadPrices">): Price {
  return leadPrices === null ? leadValueMinor : { default: leadValueMinor, ...leadPrices };
}

function leadValueColumns(leadValue: Price) {
  if (typeof leadValue === "number") return { leadValueMinor: leadValue, leadPrices: null };
  const { default: leadValueMinor, ...leadPrices } = leadValue;
  return { leadValueMinor, leadPrices: JSON.stringify(leadPrices) };
}

/** The columns that a document goes into; its secrets come in the clear. */
export function toColumns(vault: Vault, document: PartnerDocument) {
  const {
    leadValue,
    billing,
    leadCost,
    returns,
    creditLimit,
    lowFundsThreshold,
    contact,
    limits,
    schedule,
    acceptFirst,
    alerts,
    internet,
    email,
    ...columns
  } = document;
  const sealed = sealDeliverySettings(vault, { internet, email });
  return {
    ...columns,
    ...leadValueColumns(leadValue),
    billing: billing === null ? null : JSON.stringify(billing),
    leadCost: leadCost === null ? null : JSON.stringify(leadCost),
    returnPolicy: returns === null ? null : JSON.stringify(returns),
    creditLimitMinor: creditLimit,
    lowFundsMinor: lowFundsThreshold,
    contact: JSON.stringify(contact),
    limits: JSON.stringify(limits),
    schedule: schedule === null ? null : JSON.stringify(schedule),
    acceptFirst: acceptFirst === null ? null : JSON.stringify(acceptFirst),
    alerts: JSON.stringify(alerts),
    internet: sealed.internet === null ? null : JSON.stringify(sealed.internet),
    email: sealed.email === null ? null : JSON.stringify(sealed.email),
  };
}
