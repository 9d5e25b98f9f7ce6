import type { Field } from "../campaigns/fields.ts";
import { type FieldProblem, normaliseFields } from "../campaigns/normalise-fields.ts";
import type { LeadFields } from "../db/tables.ts";

const mostContacts = 20;

/**
 * Reads the contacts of a lead beyond the main one: a list of objects with the campaign's contact fields. What is
 * required of the main contact is not required of these. Gives the problems of all, each with its place (`contacts.0.email`).
 */
export function readContacts(
  fields: readonly Field[],
  raw: unknown,
): { readonly contacts: readonly LeadFields[]; readonly problems: readonly FieldProblem[] } {
  if (raw === undefined || raw === null) return { contacts: [], problems: [] };
  if (!Array.isArray(raw) || raw.length > mostContacts) {
    const message = `must be a list of at most ${mostContacts} objects`;
    return { contacts: [], problems: [{ field: "contacts", code: "wrong_type", message, given: null }] };
  }
  const contactFields = fields
    .filter((field) => field.group === "contact")
    .map((field) => ({ ...field, required: false }));
  const read = raw.map((contact: unknown, index) => readContact(contactFields, contact, `contacts.${index}`));
  return { contacts: read.flatMap(({ values }) => values), problems: read.flatMap(({ problems }) => problems) };
}

function readContact(
  fields: readonly Field[],
  raw: unknown,
  place: string,
): { values: LeadFields[]; problems: FieldProblem[] } {
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) {
    return { values: [], problems: [{ field: place, code: "wrong_type", message: "must be an object", given: null }] };
  }
  const normalised = normaliseFields(fields, { ...raw });
  if (normalised.ok) return { values: [normalised.values], problems: [] };
  return {
    values: [],
    problems: normalised.problems.map((problem) => ({ ...problem, field: `${place}.${problem.field}` })),
  };
}
