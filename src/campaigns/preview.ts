import type { FieldValue } from "../channels/contract.ts";
import { moneyDecimals } from "../channels/money-fields.ts";
import { withDecimals } from "../money.ts";
import type { Field } from "./fields.ts";

/** What a partner sees of a lead before it has accepted it. */
export interface PreviewField {
  readonly key: string;
  readonly label: string;
  readonly value: FieldValue;
  /** The value as people write it. */
  readonly text: string;
}

/** The fields that may be shown before a lead is accepted; all others stay hidden. */
export function previewFields(fields: readonly Field[]): readonly Field[] {
  return fields.filter(({ preview }) => preview === true);
}

/** What the campaign lets be seen of a lead's fields before it is accepted, in the campaign's order, without empty ones. */
export function previewOf(
  fields: readonly Field[],
  values: Readonly<Record<string, FieldValue>>,
): readonly PreviewField[] {
  return previewFields(fields).flatMap((field) => {
    const { key, label = inWords(key) } = field;
    const value = values[key] ?? null;
    return value === null || value === "" ? [] : [{ key, label, value, text: textOf(field, value) }];
  });
}

function textOf(field: Field, value: string | number | boolean): string {
  if (field.type === "money" && typeof value === "number") {
    const amount = withDecimals(value, moneyDecimals(field));
    return field.currency === undefined ? amount : `${amount} ${field.currency}`;
  }
  if (typeof value === "boolean") return value ? "yes" : "no";
  return String(value);
}

function inWords(key: string): string {
  const words = key.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
