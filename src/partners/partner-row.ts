import type { Selectable } from "kysely";
import type { Tables } from "../db/tables.ts";
import type { Vault } from "../encrypt.ts";
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
  "creditLimitMinor",
  "contact",
  "limits",
  "schedule",
  "whenClosed",
  "whenCapped",
  "whenUnfunded",
  "alerts",
  "internet",
  "email",
  "concurrency",
  "ratePerMinute",
  "spreadSeconds",
  "createdAt",
  "updatedAt",
] as const;

export type PartnerRow = Pick<Selectable<Tables["partners"]>, (typeof partnerColumns)[number]>;

/** The document of a partner as it was stored: its secrets are encrypted. */
export function toDocument(row: PartnerRow): PartnerDocument {
  const { id: _id, createdAt: _createdAt, updatedAt: _updatedAt, leadValueMinor, creditLimitMinor, ...document } = row;
  return { ...document, leadValue: leadValueMinor, creditLimit: creditLimitMinor };
}

/** The columns that a document goes into; its secrets come in the clear. */
export function toColumns(vault: Vault, document: PartnerDocument) {
  const { leadValue, creditLimit, contact, limits, schedule, alerts, internet, email, ...columns } = document;
  const sealed = sealDeliverySettings(vault, { internet, email });
  return {
    ...columns,
    leadValueMinor: leadValue,
    creditLimitMinor: creditLimit,
    contact: JSON.stringify(contact),
    limits: JSON.stringify(limits),
    schedule: schedule === null ? null : JSON.stringify(schedule),
    alerts: JSON.stringify(alerts),
    internet: sealed.internet === null ? null : JSON.stringify(sealed.internet),
    email: sealed.email === null ? null : JSON.stringify(sealed.email),
  };
}
