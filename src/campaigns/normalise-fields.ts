import type { FieldValue } from "../channels/contract.ts";
import type { Field } from "./fields.ts";
import { cleanText, type ProblemCode, readField } from "./read-field.ts";

export interface FieldProblem {
  readonly field: string;
  readonly code: ProblemCode;
  /** In plain words: what is allowed. */
  readonly message: string;
  /** What was given, cut to 100 characters; a list or an object is only called so. */
  readonly given: string | number | boolean | null;
}

export interface NormalisedFields {
  readonly values: Record<string, FieldValue>;
  readonly extra: Record<string, unknown>;
}

export type FieldsResult =
  | ({ readonly ok: true } & NormalisedFields)
  | ({ readonly ok: false; readonly problems: readonly FieldProblem[] } & NormalisedFields);

/**
 * Makes the raw fields of a lead regular. `values` holds every field of the campaign by its key, null where it is absent
 * or bad; what the campaign does not know is kept in `extra` as it came. Keys match exactly. All problems are told at
 * once. `source` and `contacts` are the caller's to take out first.
 *
 * text: trimmed, NFC, without control characters but tab and line feed · email: the domain in lower case · phone: E.164,
 * an extension is dropped · date: YYYY-MM-DD, the time of an ISO instant is dropped · number: as long as JavaScript does
 * not round it · money: integer minor units · boolean · choice: as the campaign spells it · postcode: upper case.
 */
export function normaliseFields(fields: readonly Field[], raw: Readonly<Record<string, unknown>>): FieldsResult {
  const problems: FieldProblem[] = [];
  const values = emptyRecord<FieldValue>();
  for (const field of fields) {
    const given = Object.hasOwn(raw, field.key) ? raw[field.key] : undefined;
    const reading = readField(field, given);
    values[field.key] = "value" in reading ? reading.value : null;
    if ("code" in reading) problems.push({ field: field.key, ...reading, given: describeGiven(given) });
  }
  const extra = keepExtra(fields, raw, problems);
  return problems.length === 0 ? { ok: true, values, extra } : { ok: false, problems, values, extra };
}

/**
 * What makes the same lead out of two spellings, for each field that duplicates are matched on; absent fields are left
 * out. Takes values that `normaliseFields` gave.
 */
export function matchKeys(
  fields: readonly Field[],
  values: Readonly<Record<string, FieldValue>>,
  match: readonly string[],
): Record<string, string> {
  const keys = emptyRecord<string>();
  for (const field of fields) {
    const value = values[field.key];
    if (!match.includes(field.key) || value === undefined || value === null) continue;
    const folded = String(value).normalize("NFKC").toLowerCase();
    keys[field.key] = folded.replace(/\s+/g, field.type === "postcode" ? "" : " ");
  }
  return keys;
}

/** Without a prototype, so that no key of a stranger's means anything. */
function emptyRecord<T>(): Record<string, T> {
  return Object.create(null);
}

function describeGiven(given: unknown): FieldProblem["given"] {
  if (typeof given === "string") return [...cleanText(given.slice(0, 200))].slice(0, 100).join("");
  if (typeof given === "number" || typeof given === "boolean") return given;
  if (given === undefined || given === null) return null;
  return Array.isArray(given) ? "a list" : "an object";
}

/** What unknown fields may hold together, counted as characters and about eight for every value. */
const maxExtraSize = 65_536;
const maxExtraDepth = 10;

function keepExtra(fields: readonly Field[], raw: Readonly<Record<string, unknown>>, problems: FieldProblem[]) {
  const extra = emptyRecord<unknown>();
  const known = new Set(fields.map((field) => field.key));
  const budget = { left: maxExtraSize };
  for (const key of Object.keys(raw)) {
    if (known.has(key) || raw[key] === undefined) continue;
    const tooDeep = isDeeperThan(raw[key], maxExtraDepth);
    if (!tooDeep) budget.left -= sizeOf(raw[key], budget.left) + key.length;
    if (!tooDeep && budget.left >= 0) {
      extra[cleanText(key)] = copyOf(raw[key]);
      continue;
    }
    const message = tooDeep
      ? `must not be nested deeper than ${maxExtraDepth} levels`
      : `is not a field of the campaign, and such fields may hold at most ${maxExtraSize} characters in all`;
    const code = tooDeep ? "extra_too_deep" : "extra_too_large";
    problems.push({ field: cleanText(key).slice(0, 100), code, message, given: describeGiven(raw[key]) });
  }
  return extra;
}

function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeperThan(inner, levels - 1));
}

function sizeOf(value: unknown, enough: number): number {
  if (typeof value === "string") return value.length + 8;
  if (typeof value !== "object" || value === null) return 8;
  let size = 8;
  for (const [key, inner] of Object.entries(value)) {
    if (size > enough) break;
    size += key.length + sizeOf(inner, enough - size);
  }
  return size;
}

function copyOf(value: unknown): unknown {
  if (typeof value === "string") return cleanText(value);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(copyOf);
  const copy = emptyRecord<unknown>();
  for (const [key, inner] of Object.entries(value)) copy[cleanText(key)] = copyOf(inner);
  return copy;
}
