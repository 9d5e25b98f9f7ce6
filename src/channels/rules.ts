import { RE2JS } from "re2js";
import { z } from "zod";
import { type Answer, answerPath } from "./answer-paths.ts";
import { BoundedCache } from "./bounded-cache.ts";

/** Rules look at a partner's answer: does what is found at a path (or the whole text) pass one test? */

const scalarSchema = z.union([z.string().max(1_000), z.number(), z.boolean(), z.null()], {
  error: "must be a text, a number, true, false or null",
});

const tests = ["equals", "in", "exists", "contains", "matches"] as const;

const patternSchema = z
  .string()
  .min(1, "must not be empty")
  .max(500, "must be at most 500 characters")
  .superRefine((pattern, context) => {
    const problem = patternProblem(pattern);
    if (problem !== null) context.addIssue({ code: "custom", message: problem });
  });

export const ruleSchema = z
  .strictObject({
    path: answerPath.optional().meta({ description: "a JSONPath ($…) or XPath (/…); absent: the whole text" }),
    equals: scalarSchema.optional(),
    in: z.array(scalarSchema).min(1, "must name at least one value").max(100).optional(),
    exists: z.boolean("must be true or false").optional(),
    contains: z.string().trim().min(1, "must not be empty").max(200).optional().meta({ description: "whole words" }),
    matches: patternSchema.optional().meta({ description: "a regular expression of RE2" }),
  })
  .refine((rule) => tests.filter((test) => rule[test] !== undefined).length === 1, {
    error: `must have exactly one test: ${tests.join(", ")}`,
  });

export const rulesSchema = z.union([ruleSchema, z.array(ruleSchema).min(1).max(20)], {
  error: (issue) => (issue.code === "invalid_union" ? unionProblem(issue.errors, issue.input) : undefined),
});

/** A union would only say that none of its kinds fits: this says why the kind that was meant does not. */
function unionProblem(errors: readonly (readonly z.core.$ZodIssue[])[], input: unknown): string {
  const [problem] = errors[Array.isArray(input) ? 1 : 0] ?? [];
  if (typeof input !== "object" || input === null || problem === undefined)
    return "must be a rule, or a list of up to 20 rules";
  return problem.path.length === 0 ? problem.message : `${problem.path.join(".")}: ${problem.message}`;
}

export type Rule = z.infer<typeof ruleSchema>;
export type Rules = z.infer<typeof rulesSchema>;
type Scalar = z.infer<typeof scalarSchema>;

export type Tested = { readonly ok: true; readonly holds: boolean } | { readonly ok: false; readonly reason: string };

export function listRules(rules: Rules | undefined): readonly Rule[] {
  if (rules === undefined) return [];
  return Array.isArray(rules) ? rules : [rules];
}

/**
 * Asks one rule of an answer. Where a path leads to several values, one that passes is enough. Not `ok` where the
 * answer cannot be read as the path needs it.
 */
export function testRule(rule: Rule, answer: Answer): Tested {
  if (rule.path === undefined && rule.exists !== undefined)
    return { ok: true, holds: (answer.text.trim() !== "") === rule.exists };
  const found = answer.find(rule.path ?? null);
  if (!found.ok) return found;
  if (rule.exists !== undefined) return { ok: true, holds: found.values.some(isThere) === rule.exists };
  return { ok: true, holds: found.values.some((value) => passes(rule, value)) };
}

/** An empty element of XML is there, a null of JSON is not. */
function isThere(value: unknown): boolean {
  return value !== null;
}

function passes(rule: Rule, value: unknown): boolean {
  if (rule.equals !== undefined) return isSame(value, rule.equals);
  if (rule.in !== undefined) return rule.in.some((allowed) => isSame(value, allowed));
  const text = asText(value);
  if (rule.contains !== undefined) return containsWords(text, rule.contains);
  return rule.matches !== undefined && compilePattern(rule.matches).matcher(text).find();
}

/**
 * Text is compared exactly, but for blanks around it. A number in a rule also equals text that says the same number
 * (`1` is `"1"` and `"1.0"`), true and false also text that says so in any case, and text what a number or boolean
 * reads as. Null equals null only.
 */
function isSame(value: unknown, expected: Scalar): boolean {
  if (expected === null || value === null) return expected === value;
  const text = asText(value).trim();
  if (typeof expected === "number") return /^[+-]?\d+(\.\d+)?$/.test(text) && Number(text) === expected;
  if (typeof expected === "boolean") return text.toLowerCase() === String(expected);
  return text === expected.trim();
}

function asText(value: unknown): string {
  if (value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

const wordCharacter = /[\p{L}\p{M}\p{N}_]/u;

/** Whole words, in any case: `valid` is in `Valid lead.` and not in `invalid`. */
function containsWords(text: string, words: string): boolean {
  const haystack = text.toLowerCase();
  const needle = words.toLowerCase();
  for (let at = haystack.indexOf(needle); at >= 0; at = haystack.indexOf(needle, at + 1)) {
    const before = `${lastCharacter(haystack.slice(0, at))}${firstCharacter(needle)}`;
    const after = `${lastCharacter(needle)}${firstCharacter(haystack.slice(at + needle.length))}`;
    if (!isInsideWord(before) && !isInsideWord(after)) return true;
  }
  return false;
}

function firstCharacter(text: string): string {
  return String.fromCodePoint(text.codePointAt(0) ?? 32);
}

function lastCharacter(text: string): string {
  return [...text.slice(-2)].at(-1) ?? " ";
}

/** Two neighbours that are both of a word are of the same word. */
function isInsideWord(pair: string): boolean {
  return [...pair].every((character) => wordCharacter.test(character));
}

const compiledPatterns = new BoundedCache<RE2JS>(500);

/** RE2 takes time in proportion to the text, whatever the pattern: it cannot run away. */
function compilePattern(pattern: string): RE2JS {
  return compiledPatterns.getOrMake(pattern, () => RE2JS.compile(pattern));
}

function patternProblem(pattern: string): string | null {
  try {
    compilePattern(pattern);
    return null;
  } catch (error) {
    return `must be a regular expression of RE2: ${error instanceof Error ? error.message : "it is not"}`;
  }
}

/** A rule in words, for the reason that is stored with an outcome. */
export function describeRule(rule: Rule): string {
  const where = rule.path ?? "the answer";
  if (rule.exists !== undefined) return `${where} ${rule.exists ? "exists" : "does not exist"}`;
  const test = tests.find((name) => rule[name] !== undefined) ?? "equals";
  return `${where} ${test} ${JSON.stringify(rule[test])}`;
}
