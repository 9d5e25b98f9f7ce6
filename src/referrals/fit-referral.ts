import type { Field } from "../campaigns/fields.ts";
import { normaliseFields } from "../campaigns/normalise-fields.ts";
import type { LeadFields } from "../db/tables.ts";
import type { Referral, ReferredField } from "./protocol.ts";

/** A lead of another organisation, as far as it fits into a campaign of this one. */
export interface FittedLead {
  readonly fields: LeadFields;
  readonly contacts: readonly LeadFields[];
  /** By key, `contacts.0.key` for those of contacts: what the campaign has no field for, or could not read. */
  readonly extra: Readonly<Record<string, ReferredField["value"]>>;
  /** The keys of `extra`. */
  readonly keptAside: readonly string[];
}

/**
 * Matches what was sent with a campaign's fields by key, and makes it regular as intake does. Nothing is refused and nothing
 * is lost: a required field may be absent, and what does not fit is kept aside. Pure.
 */
export function fitReferral(fields: readonly Field[], lead: Referral["lead"]): FittedLead {
  const own = fitFields(fields, lead.fields, "");
  const contactFields = fields.filter(({ group }) => group === "contact");
  const contacts = lead.contacts.map((contact, index) => fitFields(contactFields, contact, `contacts.${index}.`));
  const aside = [own, ...contacts].flatMap((part) => part.aside);
  return {
    fields: own.values,
    contacts: contacts.map(({ values }) => values),
    extra: Object.fromEntries(aside),
    keptAside: aside.map(([key]) => key),
  };
}

type Aside = readonly [key: string, value: ReferredField["value"]];

function fitFields(
  fields: readonly Field[],
  given: readonly ReferredField[],
  place: string,
): { readonly values: LeadFields; readonly aside: readonly Aside[] } {
  const optional = fields.map((field) => ({ ...field, required: false }));
  const fitting = given.filter((one) => fields.some((field) => field.key === one.key && isOfCurrency(field, one)));
  const read = normaliseFields(optional, Object.fromEntries(fitting.map(({ key, value }) => [key, value])));
  const unread = new Set(read.ok ? [] : read.problems.map(({ field }) => field));
  const aside = given
    .filter((one) => one.value !== null && (!fitting.includes(one) || unread.has(one.key)))
    .map(({ key, value }): Aside => [`${place}${key}`, value]);
  return { values: read.values, aside };
}

/** An amount in one currency is none in another. */
function isOfCurrency(field: Field, { currency = null }: ReferredField): boolean {
  return field.type !== "money" || field.currency === undefined || currency === null || field.currency === currency;
}
