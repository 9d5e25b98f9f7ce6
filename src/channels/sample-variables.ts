import type { FieldValue, TemplateVariables } from "./contract.ts";
import { moneyFields } from "./money-fields.ts";

/** What is needed of a campaign's field to make up a value for it. */
export interface SampleField {
  readonly key: string;
  readonly type: string;
  readonly required?: boolean | undefined;
  readonly group?: string | undefined;
  readonly choices?: readonly string[] | undefined;
  readonly country?: string | undefined;
  readonly min?: number | undefined;
  readonly currency?: string | undefined;
  readonly decimals?: number | undefined;
}

/**
 * Two made-up leads with these fields: a typical one with a second contact, and a sparse one whose optional fields are
 * all null, with no contact but the main one and no price. What renders for both renders for any lead of the campaign.
 */
export function sampleVariables(fields: readonly SampleField[]): readonly [TemplateVariables, TemplateVariables] {
  return [
    sample(fields, true, { price_minor: 1250, currency: "GBP" }),
    sample(fields, false, { price_minor: null, currency: null }),
  ];
}

type Price = Pick<TemplateVariables["delivery"], "price_minor" | "currency">;

function sample(fields: readonly SampleField[], complete: boolean, price: Price): TemplateVariables {
  const values = fieldValues(fields, complete);
  const contactFields = fields.filter((field) => field.group === "contact");
  return {
    lead: {
      ...values,
      id: "01900000-0000-7000-8000-000000000001",
      received_at: "2026-03-31T09:30:00.000Z",
      source: complete ? "website" : null,
    },
    contacts: complete ? [fieldValues(contactFields, true)] : [],
    campaign: { id: "01900000-0000-7000-8000-000000000002", name: "Sample campaign", money: moneyFields(fields) },
    partner: { id: "01900000-0000-7000-8000-000000000003", name: "Sample partner" },
    delivery: { id: "01900000-0000-7000-8000-000000000004", ...price, test: true },
  };
}

function fieldValues(fields: readonly SampleField[], complete: boolean): Record<string, FieldValue> {
  return Object.fromEntries(
    fields.map((field) => [field.key, complete || field.required === true ? sampleValue(field) : null]),
  );
}

const knownTexts: Readonly<Record<string, string>> = {
  first_name: "Alex",
  last_name: "Example",
  name: "Alex Example",
  city: "London",
  address: "1 Example Street",
};

/** Telephone numbers that are set aside for fiction, and postcodes, by country. */
const phones: Readonly<Record<string, string>> = { US: "+12025550123", CA: "+12025550123" };
const postcodes: Readonly<Record<string, string>> = { GB: "SW1A 1AA", CA: "K1A 0B1", NL: "1234 AB", IE: "D02 AF30" };

function sampleValue(field: SampleField): FieldValue {
  switch (field.type) {
    case "email":
      return "alex@example.com";
    case "phone":
      return phones[field.country ?? ""] ?? "+442079460000";
    case "date":
      return "1980-03-31";
    case "number":
      return field.min ?? 42;
    case "money":
      return field.min ?? 125_000;
    case "boolean":
      return true;
    case "choice":
      return field.choices?.[0] ?? "Sample choice";
    case "postcode":
      return postcodes[field.country ?? "GB"] ?? "12345";
    default:
      return knownTexts[field.key] ?? `Sample ${field.key.replaceAll("_", " ")}`;
  }
}
