import type { Field } from "../campaigns/fields.ts";
import type { LeadFields } from "../db/tables.ts";

/** Who a lead is, as an alert says it: each null where the lead does not. */
export interface LeadContact {
  readonly name: string | null;
  readonly phone: string | null;
  readonly email: string | null;
}

/**
 * Finds name, phone and email among a lead's fields, whatever the campaign calls them: the name by the usual keys, phone
 * and email by the type of the field, the first that holds something.
 */
export function leadContact(fields: readonly Field[], values: LeadFields): LeadContact {
  const ofType = (type: Field["type"]) =>
    firstText(fields.filter((field) => field.type === type).map((field) => values[field.key]));
  const parts = [values.first_name ?? values.firstname, values.last_name ?? values.lastname].flatMap((part) =>
    text(part),
  );
  return {
    name: parts.length > 0 ? parts.join(" ") : firstText([values.name, values.full_name]),
    phone: ofType("phone"),
    email: ofType("email"),
  };
}

function firstText(values: readonly unknown[]): string | null {
  return values.flatMap((value) => text(value))[0] ?? null;
}

/** One line, or nothing. */
function text(value: unknown): string[] {
  const line = typeof value === "string" ? value.replace(/[\s\p{Cc}]+/gu, " ").trim() : "";
  return line === "" ? [] : [line];
}
