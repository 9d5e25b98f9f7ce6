import { RE2JS, RE2JSSyntaxException } from "re2js";
import { z } from "zod";
import type { FieldValue } from "../channels/contract.ts";
import { type Field, foldCase } from "./fields.ts";

/**
 * Which leads a partner takes: conditions on fields, joined by all, any and not. A condition looks at the regular value
 * of a field (money in minor units, dates as YYYY-MM-DD, a choice as the campaign spells it). An absent field meets no
 * condition but `exists: false`. Texts are compared without regard to capital letters, except by `matches`.
 */

const maxDepth = 10;
const maxConditions = 500;
const maxPatternSize = 500;
/** With the size of a pattern this bounds what one look at a text can cost: some fifty milliseconds at the worst. */
const matchedLength = 1_000;

const fieldName = z.string().min(1, "must name a field");
const text = z.string("must be a text").min(1, "must not be empty").max(1_000, "must be at most 1000 characters");
const scalar = z.union([text, z.number(), z.boolean()], "must be a text, a number, true or false");
const date = z.iso.date("must be a date such as 2026-12-25");

const oneLimit = "must have a min, a max or both: two numbers, or two dates such as 2026-12-25";
const range = z
  .union(
    [
      z.strictObject({ min: z.number().optional(), max: z.number().optional() }),
      z.strictObject({ min: date.optional(), max: date.optional() }),
    ],
    oneLimit,
  )
  .refine(({ min, max }) => min !== undefined || max !== undefined, oneLimit)
  .refine(
    ({ min, max }) => min === undefined || max === undefined || !isAbove(min, max),
    "must not have min above max",
  );

const pattern = text
  .superRefine((written, context) => {
    const problem = patternProblem(written);
    if (problem !== null) context.addIssue({ code: "custom", message: problem });
  })
  .meta({ description: `RE2, found anywhere in the first ${matchedLength} characters; ^ and $ stand for the ends` });

const operations = ["equals", "in", "startsWith", "range", "contains", "exists", "matches"] as const;

const conditionSchema = z.discriminatedUnion(
  "op",
  [
    z.strictObject({ field: fieldName, op: z.literal("equals"), value: scalar }),
    z.strictObject({
      field: fieldName,
      op: z.literal("in"),
      value: z.array(scalar).min(1, "must hold at least one value").max(5_000, "must hold at most 5000 values"),
    }),
    z.strictObject({
      field: fieldName,
      op: z.literal("startsWith"),
      value: z.union([text, z.array(text).min(1).max(5_000)], "must be a text or a list of texts"),
    }),
    z.strictObject({ field: fieldName, op: z.literal("range"), value: range }),
    z.strictObject({ field: fieldName, op: z.literal("contains"), value: text }),
    z.strictObject({ field: fieldName, op: z.literal("exists"), value: z.boolean().optional() }),
    z.strictObject({ field: fieldName, op: z.literal("matches"), value: pattern }),
  ],
  `must be one of ${operations.join(", ")}`,
);
export type Condition = z.infer<typeof conditionSchema>;
type Scalar = z.infer<typeof scalar>;

export type Filter =
  | { readonly all: readonly Filter[] }
  | { readonly any: readonly Filter[] }
  | { readonly not: Filter }
  | Condition;

const nodeSchema: z.ZodType<Filter> = z.lazy(() =>
  z.union([
    z.strictObject({ all: z.array(nodeSchema) }),
    z.strictObject({ any: z.array(nodeSchema) }),
    z.strictObject({ not: nodeSchema }),
    conditionSchema,
  ]),
);

/**
 * A filter as the API takes it. Refused, each at its own place: an unknown operation, an empty group, more than ten
 * levels or 500 conditions, a pattern that RE2 does not know or that is too large.
 */
export const filterSchema = z.preprocess((written, context) => {
  const problems = problemsOfNode(written, [], 1, { conditions: 0 });
  for (const problem of problems) context.addIssue({ code: "custom", ...problem });
  return problems.length > 0 ? z.NEVER : written;
}, nodeSchema);

interface NodeProblem {
  readonly path: PropertyKey[];
  readonly message: string;
}

/** A union tells only that nothing fits; this tells what is wrong where, and stops before the stack is full. */
function problemsOfNode(
  node: unknown,
  path: readonly PropertyKey[],
  depth: number,
  seen: { conditions: number },
): NodeProblem[] {
  const problem = (message: string, ...beneath: PropertyKey[]) => [{ path: [...path, ...beneath], message }];
  seen.conditions += 1;
  if (seen.conditions > maxConditions) {
    return seen.conditions === maxConditions + 1 ? problem(`must hold at most ${maxConditions} conditions`) : [];
  }
  if (depth > maxDepth) return problem(`must not be nested deeper than ${maxDepth} levels`);
  if (typeof node !== "object" || node === null) return problem("must be a condition, or all, any or not");
  const [name, inner] = Object.entries(node).find(([key]) => key === "all" || key === "any" || key === "not") ?? [];
  if (name === undefined) {
    const issues = conditionSchema.safeParse(node).error?.issues ?? [];
    return issues.flatMap((issue) => problem(issue.message, ...issue.path));
  }
  const beside = Object.keys(node).find((key) => key !== name);
  if (beside !== undefined) return problem(`must not stand beside ${name}`, beside);
  if (name === "not") return problemsOfNode(inner, [...path, name], depth + 1, seen);
  if (!Array.isArray(inner) || inner.length === 0) return problem("must be a list of at least one condition", name);
  return inner.flatMap((child, index) => problemsOfNode(child, [...path, name, index], depth + 1, seen));
}

/** Compiling takes up to ten milliseconds, and a compiled pattern some ten kilobytes. */
const compiledPatterns = new Map<string, RE2JS>();
const rememberedPatterns = 200;

function compiledPattern(written: string): RE2JS {
  let compiled = compiledPatterns.get(written);
  if (compiled === undefined) {
    compiled = RE2JS.compile(written);
    if (compiledPatterns.size >= rememberedPatterns) compiledPatterns.clear();
    compiledPatterns.set(written, compiled);
  }
  return compiled;
}

function patternProblem(written: string): string | null {
  try {
    return compiledPattern(written).programSize() > maxPatternSize ? "is too large a pattern: repeat less" : null;
  } catch (error) {
    if (!(error instanceof RE2JSSyntaxException)) throw error;
    return `is not a pattern of RE2: ${error.message}`;
  }
}

export interface FilterResult {
  readonly matches: boolean;
  /** In plain words, what must hold and does not. Says the rule and never the lead's own value. */
  readonly failed: string[];
}

/** Whether the regular values of a lead pass a filter; null lets every lead pass. */
export function evaluateFilter(filter: Filter | null, values: Readonly<Record<string, FieldValue>>): FilterResult {
  const failed = filter === null ? [] : failuresOf(filter, values, true);
  return { matches: failed.length === 0, failed };
}

const shownAlternatives = 5;

/** What keeps a filter from holding, or from not holding where that is wanted; nothing where it is as wanted. */
function failuresOf(filter: Filter, values: Readonly<Record<string, FieldValue>>, wanted: boolean): string[] {
  if ("op" in filter) return meets(filter, values) === wanted ? [] : [describe(filter, wanted)];
  if ("not" in filter) return failuresOf(filter.not, values, !wanted);
  const children = "all" in filter ? filter.all : filter.any;
  const failures = children.map((child) => failuresOf(child, values, wanted));
  // Not all of them is the same as any one of them not.
  const needsEach = "all" in filter === wanted;
  if (needsEach) return failures.flat();
  if (failures.some((ofChild) => ofChild.length === 0)) return [];
  return [joined(failures, (ofChild) => ofChild.join(" and "), ", or ")];
}

function joined<T>(list: readonly T[], inWords: (item: T) => string, separator: string): string {
  const shown = list.slice(0, shownAlternatives).map(inWords);
  if (list.length > shownAlternatives) shown.push(`${list.length - shownAlternatives} more`);
  return shown.join(separator);
}

function meets(condition: Condition, values: Readonly<Record<string, FieldValue>>): boolean {
  const value = Object.hasOwn(values, condition.field) ? values[condition.field] : null;
  const exists = value !== undefined && value !== null && value !== "";
  if (condition.op === "exists") return exists === (condition.value ?? true);
  if (!exists) return false;
  switch (condition.op) {
    case "equals":
      return fold(value) === fold(condition.value);
    case "in":
      return foldedList(condition).texts.has(fold(value));
    case "startsWith": {
      const { texts, lengths } = foldedList(condition);
      const folded = fold(value);
      return lengths.some((length) => texts.has(folded.slice(0, length)));
    }
    case "contains":
      return fold(value).includes(fold(condition.value));
    case "range":
      return isWithin(value, condition.value);
    case "matches":
      return compiledPattern(condition.value).test(String(value).slice(0, matchedLength));
  }
}

function fold(value: Scalar): string {
  return foldCase(String(value));
}

interface FoldedList {
  readonly texts: ReadonlySet<string>;
  /** The lengths that occur: looking up a start of each takes no longer for a thousand postcodes than for one. */
  readonly lengths: readonly number[];
}

const foldedLists = new WeakMap<Condition, FoldedList>();

function listOf(value: Scalar | readonly Scalar[]): readonly Scalar[] {
  return typeof value === "object" ? value : [value];
}

function foldedList(condition: Extract<Condition, { op: "in" | "startsWith" }>): FoldedList {
  let list = foldedLists.get(condition);
  if (list === undefined) {
    const texts = new Set(listOf(condition.value).map(fold));
    list = { texts, lengths: [...new Set([...texts].map((folded) => folded.length))] };
    foldedLists.set(condition, list);
  }
  return list;
}

interface Range {
  readonly min?: string | number | undefined;
  readonly max?: string | number | undefined;
}

/** Both limits are within. A number is never within dates, nor a text within numbers. */
function isWithin(value: Scalar, { min, max }: Range): boolean {
  if (typeof value !== typeof (min ?? max)) return false;
  if (typeof value === "boolean") return false;
  return (min === undefined || !isAbove(min, value)) && (max === undefined || !isAbove(value, max));
}

/** Dates in ISO form come in the order of their texts. */
function isAbove(a: string | number, b: string | number): boolean {
  return typeof a === "number" && typeof b === "number" ? a > b : String(a) > String(b);
}

function describe(condition: Condition, wanted: boolean): string {
  const must = `${condition.field} must${wanted ? "" : " not"}`;
  switch (condition.op) {
    case "equals":
      return `${must} be ${quoted(condition.value)}`;
    case "in":
      return `${must} be ${joined(condition.value, quoted, " or ")}`;
    case "startsWith":
      return `${must} start with ${joined(listOf(condition.value), quoted, " or ")}`;
    case "contains":
      return `${must} contain ${quoted(condition.value)}`;
    case "range":
      return `${must} be ${rangeInWords(condition.value)}`;
    case "exists":
      return `${condition.field} must${wanted === (condition.value ?? true) ? "" : " not"} be given`;
    case "matches":
      return `${must} match ${condition.value}`;
  }
}

function quoted(value: Scalar): string {
  return typeof value === "string" ? `"${value}"` : String(value);
}

function rangeInWords({ min, max }: Range): string {
  if (min !== undefined && max !== undefined) return `between ${min} and ${max}`;
  return min === undefined ? `at most ${max}` : `at least ${min}`;
}

export interface FilterProblem {
  /** Where in the filter, as in `all.0.value`. */
  readonly field: string;
  readonly message: string;
}

/** What a filter asks for that the fields of its campaign can never give: told when it is saved. */
export function filterProblems(filter: Filter, fields: readonly Field[]): FilterProblem[] {
  return conditionsOf(filter, []).flatMap(({ condition, path }) => {
    const field = fields.find((candidate) => candidate.key === condition.field);
    const problem = field === undefined ? unknownField(condition.field) : misfit(condition, field);
    return problem === null ? [] : [{ field: [...path, problem.at].join("."), message: problem.message }];
  });
}

function conditionsOf(filter: Filter, path: readonly string[]): { condition: Condition; path: readonly string[] }[] {
  if ("op" in filter) return [{ condition: filter, path }];
  if ("not" in filter) return conditionsOf(filter.not, [...path, "not"]);
  const [name, children] = "all" in filter ? (["all", filter.all] as const) : (["any", filter.any] as const);
  return children.flatMap((child, index) => conditionsOf(child, [...path, name, String(index)]));
}

interface Misfit {
  readonly at: "field" | "op" | "value";
  readonly message: string;
}

function unknownField(key: string): Misfit {
  return { at: "field", message: `The campaign has no field "${key}".` };
}

const rangeTypes: readonly Field["type"][] = ["number", "money", "date"];
const notTexts: readonly Field["type"][] = ["number", "money", "boolean"];

function misfit(condition: Condition, field: Field): Misfit | null {
  const ofType = `${field.key} is a field of type ${field.type}`;
  switch (condition.op) {
    case "exists":
      return null;
    case "startsWith":
    case "contains":
    case "matches":
      return notTexts.includes(field.type) ? { at: "op", message: `${ofType}, not a text.` } : null;
    case "range": {
      if (!rangeTypes.includes(field.type))
        return { at: "op", message: `${ofType}: only numbers, money and dates have ranges.` };
      const limit = condition.value.min ?? condition.value.max;
      return typeof limit === (field.type === "date" ? "string" : "number")
        ? null
        : { at: "value", message: `${ofType}: the limits must be ${field.type === "date" ? "dates" : "numbers"}.` };
    }
    case "equals":
    case "in": {
      const bad = listOf(condition.value).find((value) => !canBe(field, value));
      return bad === undefined ? null : { at: "value", message: `${ofType} and can never be ${quoted(bad)}.` };
    }
  }
}

function canBe(field: Field, value: Scalar): boolean {
  switch (field.type) {
    case "number":
    case "money":
      return typeof value === "number";
    case "boolean":
      return typeof value === "boolean";
    case "date":
      return date.safeParse(value).success;
    case "choice":
      return field.choices.some((choice) => foldCase(choice) === fold(value));
    default:
      return typeof value !== "boolean";
  }
}
