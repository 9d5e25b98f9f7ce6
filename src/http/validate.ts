import type { FastifySchemaCompiler } from "fastify";
import type { z } from "zod";
import type { FieldError } from "../errors.ts";

/** What a schema found wrong with a request. Thrown by Fastify's validation, answered by the error handler. */
export class InvalidInput extends Error {
  readonly fields: readonly FieldError[];

  constructor(fields: readonly FieldError[]) {
    super("The request does not match its schema.");
    this.fields = fields;
  }
}

/** Validates each part of a request by its zod schema; hands on what the schema made of it. */
export const validatorCompiler: FastifySchemaCompiler<z.ZodType> =
  ({ schema, httpPart }) =>
  (data) => {
    // Fastify gives null for a body that is not there.
    const result = parseFields(schema, httpPart === "body" && data === null ? undefined : data);
    return result.ok ? { value: result.value } : { error: new InvalidInput(result.fields) };
  };

export type ParsedFields<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly fields: readonly FieldError[] };

/** Parses `data`, or gives every bad field with its place, a code, and what is allowed and was given in plain words. */
export function parseFields<T>(schema: z.ZodType<T>, data: unknown): ParsedFields<T> {
  const result = schema.safeParse(data, { error: inWords, reportInput: true });
  return result.success
    ? { ok: true, value: result.data }
    : { ok: false, fields: result.error.issues.flatMap((issue) => toFieldErrors(issue, [])) };
}

type Issue = z.core.$ZodIssue;

function toFieldErrors(issue: Issue, parents: readonly PropertyKey[]): FieldError[] {
  const path = [...parents, ...issue.path];
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      field: nameOf([...path, key]),
      code: "unknown_field",
      message: "is not a known field",
    }));
  }
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    return nearest(issue.errors).flatMap((inner) => toFieldErrors(inner, path));
  }
  return [{ field: nameOf(path), code: codeOf(issue), message: issue.message + wasGiven(issue, path) }];
}

/** Of the ways in which a value could have been right, the one that it came closest to. */
function nearest(branches: readonly Issue[][]): Issue[] {
  const depthOf = ({ code, path }: Issue) => path.length + (code === "unrecognized_keys" ? 1 : 0);
  const depth = (branch: readonly Issue[]) => Math.max(...branch.map(depthOf));
  return branches.reduce((best, branch) => (depth(branch) > depth(best) ? branch : best));
}

function nameOf(path: readonly PropertyKey[]): string {
  return path.length === 0 ? "body" : path.map(String).join(".");
}

function codeOf(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined ? "required" : "wrong_type";
    case "too_small":
      return "too_small";
    case "too_big":
      return "too_large";
    case "invalid_value":
    case "invalid_union":
      return "not_allowed";
    case "invalid_format":
      return "bad_format";
    default:
      return "invalid";
  }
}

/** Delivery settings hold secrets, and so do passwords and what stands for them: what was given there is not repeated. */
const notRepeated = /^(internet|auth|headers|password|newPassword|code|token)$/;
const longestRepeated = 100;

function wasGiven(issue: Issue, path: readonly PropertyKey[]): string {
  const { input } = issue;
  const isShort = typeof input === "string" ? input.length <= longestRepeated : typeof input === "number";
  if (!isShort || issue.message.includes("(was ") || path.some((key) => notRepeated.test(String(key)))) return "";
  return ` (was ${JSON.stringify(input)})`;
}

/** The words for what schemas do not put into words of their own. */
function inWords(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined ? "is required" : `must be ${typeNames[issue.expected] ?? issue.expected}`;
    case "invalid_value":
      return `must be ${issue.values.length > 1 ? "one of " : ""}${issue.values.map(String).join(", ")}`;
    case "too_small":
      if (issue.minimum === 1 && sizeWords(issue.origin) === "have") return "must not be empty";
      return `must ${sizeWords(issue.origin)} at least ${issue.minimum}${unitWords(issue.origin)}`;
    case "too_big":
      return `must ${sizeWords(issue.origin)} at most ${issue.maximum}${unitWords(issue.origin)}`;
    case "invalid_format":
      return formatWords[issue.format];
    default:
      return undefined;
  }
}

const typeNames: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "an object",
  record: "an object",
};

const formatWords: Readonly<Record<string, string>> = {
  uuid: "must be an id (UUID)",
  email: "must be an email address",
  datetime: "must be an instant in UTC, such as 2026-11-20T09:00:00Z",
  url: "must be a web address",
};

function sizeWords(origin: string): string {
  return origin === "string" || origin === "array" ? "have" : "be";
}

function unitWords(origin: string): string {
  if (origin === "string") return " characters";
  return origin === "array" ? " entries" : "";
}
