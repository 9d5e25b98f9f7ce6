import type { Attacker } from "./attacker.ts";
import { valueAt } from "./http.ts";
import type { Report } from "./record.ts";

/** The routes, out of the OpenAPI document that the installation gives: a new route is attacked without anybody adding it here. */
export interface Operation {
  readonly method: string;
  readonly path: string;
  readonly isPublic: boolean;
  /** What the caller must be allowed to do; null where it is open to all. */
  readonly permission: string | null;
  readonly parameters: readonly Parameter[];
  readonly body: unknown;
  readonly hasBody: boolean;
}

export interface Parameter {
  readonly name: string;
  readonly place: string;
  readonly schema: unknown;
}

export interface ApiDocument {
  readonly operations: readonly Operation[];
  readonly schemas: unknown;
}

export async function readDocument(attacker: Attacker, report: Report): Promise<ApiDocument> {
  const { json } = await attacker.call(report, { path: "/openapi.json", key: null });
  const operations = entriesOf(valueAt(json, "paths")).flatMap(([path, methods]) =>
    entriesOf(methods).map(([method, operation]) => {
      const security = valueAt(operation, "security");
      const content = valueAt(operation, "requestBody.content");
      const media = entriesOf(content).find(([type]) => type === "application/json") ?? entriesOf(content)[0];
      return {
        method: method.toUpperCase(),
        path,
        isPublic: Array.isArray(security) && security.length === 0,
        permission: textOrNull(valueAt(operation, "x-permission")),
        parameters: listOf(valueAt(operation, "parameters")).map((parameter) => ({
          name: String(valueAt(parameter, "name")),
          place: String(valueAt(parameter, "in")),
          schema: valueAt(parameter, "schema"),
        })),
        body: valueAt(media?.[1], "schema"),
        hasBody: media !== undefined,
      };
    }),
  );
  if (operations.length === 0) throw new Error("The OpenAPI document names no routes.");
  return { operations, schemas: valueAt(json, "components.schemas") };
}

function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

export function entriesOf(value: unknown): [string, unknown][] {
  return typeof value === "object" && value !== null ? Object.entries(value) : [];
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** What schemas do not tell: values of which only some are right, by the name of the field. */
const hints: Readonly<Record<string, unknown>> = {
  timeZone: "Europe/London",
  currency: "GBP",
  expiresAt: "2099-01-01T00:00:00Z",
  phone: "+442079460000",
  transferPhone: "+442079460000",
  closedDates: ["2099-12-25"],
  from: "09:00",
  to: "17:00",
  match: ["v"],
  key: "v",
  path: "$.a",
  reason: "$.reason",
  matches: "a+",
  tokenUrl: "https://example.com/token",
  wsdl: "x",
};

/** A document that fits the schema, with every field that is not null somewhere filled in. Ids are `idOf`. */
export function sampleOf(
  schema: unknown,
  document: ApiDocument,
  idOf: (name: string) => unknown,
  name = "",
  depth = 0,
): unknown {
  const reference = valueAt(schema, "$ref");
  if (typeof reference === "string") {
    if (depth > 8) return null;
    return sampleOf(valueAt(document.schemas, reference.split("/").at(-1) ?? ""), document, idOf, name, depth + 2);
  }
  if (valueAt(schema, "format") === "uuid") return idOf(name);
  const choices = [...listOf(valueAt(schema, "anyOf")), ...listOf(valueAt(schema, "oneOf"))].filter(
    (one) => valueAt(one, "type") !== "null",
  );
  if (choices.length > 0) {
    if (depth > 8) return null;
    return sampleOf(choices[0], document, idOf, name, depth + 1);
  }
  // Of an owner only owners make any.
  if (name === "role") return "viewer";
  const fixed = valueAt(schema, "const") ?? listOf(valueAt(schema, "enum"))[0];
  if (fixed !== undefined) return fixed;
  if (name === "op") return "exists";
  if (name === "to" && valueAt(schema, "type") === "array") return ["someone@example.com"];
  if (valueAt(schema, "format") === "date") return "2026-01-01";
  if (valueAt(schema, "format") === "email") return "someone@example.com";
  if (name === "url") return `${sampleUrl}/ok`;
  if (name === "body") return "{}";
  if (Object.hasOwn(hints, name)) return hints[name];
  const type = [valueAt(schema, "type")].flat()[0];
  switch (type) {
    case "object": {
      const properties = entriesOf(valueAt(schema, "properties"));
      return Object.fromEntries(
        properties.map(([key, inner]) => [key, sampleOf(inner, document, idOf, key, depth + 1)]),
      );
    }
    case "array":
      return depth > 8 ? [] : [sampleOf(valueAt(schema, "items"), document, idOf, name, depth + 1)];
    case "integer":
    case "number":
      return Math.max(1, Number(valueAt(schema, "minimum") ?? 1));
    case "boolean":
      return valueAt(schema, "default") ?? false;
    default: {
      if (valueAt(schema, "format") === "date-time") return "2026-01-01T00:00:00Z";
      return `Sample ${name}`;
    }
  }
}

const sampleUrl = "http://127.0.0.1:1";

/** The path with its parameters filled in. */
export function fillPath(operation: Operation, valueFor: (name: string) => string): string {
  return operation.path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(valueFor(name)));
}

/** Every text inside, by its place. */
export function textPlaces(value: unknown, place: readonly string[] = []): readonly (readonly string[])[] {
  if (typeof value === "string") return [place];
  return entriesOf(value).flatMap(([key, inner]) => textPlaces(inner, [...place, key]));
}

/** Every value inside that holds no other, by its place. */
export function leafPlaces(value: unknown, place: readonly string[] = []): readonly (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [place];
  return entriesOf(value).flatMap(([key, inner]) => leafPlaces(inner, [...place, key]));
}

/** A copy with another value at a place. What lies on the way there and is missing is taken from `full`. */
export function withValue(root: unknown, [key, ...rest]: readonly string[], value: unknown, full: unknown): unknown {
  if (key === undefined) return value;
  const copy: unknown =
    typeof root === "object" && root !== null
      ? structuredClone(root)
      : Array.isArray(full)
        ? []
        : structuredClone(full);
  if (typeof copy !== "object" || copy === null) return value;
  const inner = withValue(valueAt(copy, key), rest, value, valueAt(full, key));
  Object.defineProperty(copy, key, { value: inner, enumerable: true, configurable: true, writable: true });
  return copy;
}

/** A copy without what lies at a place. */
export function without(root: unknown, [key, ...rest]: readonly string[]): unknown {
  if (key === undefined || typeof root !== "object" || root === null) return root;
  const copy: unknown = structuredClone(root);
  if (typeof copy !== "object" || copy === null) return copy;
  if (rest.length === 0) {
    if (Array.isArray(copy)) copy.splice(Number(key), 1);
    else Reflect.deleteProperty(copy, key);
    return copy;
  }
  Reflect.set(copy, key, without(valueAt(copy, key), rest));
  return copy;
}

/** Takes away what is refused, field by field, until a document is taken: so that what is tried afterwards gets past the front door. */
export async function makeGood(
  attacker: Attacker,
  operation: Operation,
  path: string,
  full: unknown,
  key = attacker.installation.ownerKey,
): Promise<unknown> {
  let body = full;
  let status = 0;
  let why = "";
  const refusedBefore = new Set<string>();
  await attacker.record.case(`a good document for ${operation.method} ${operation.path}`, async (report) => {
    for (let tries = 0; tries < 20; tries += 1) {
      const answer = await attacker.call(report, {
        method: operation.method,
        path,
        key,
        document: body,
        shows: /intake key/,
      });
      status = answer.status;
      why = answer.text.replace(/.*"fields":/, "").slice(0, 200);
      const fields = valueAt(answer.json, "fields");
      if (status < 400 || status === 409 || !Array.isArray(fields) || fields.length === 0) return;
      for (const field of [...fields].reverse()) {
        let place = String(valueAt(field, "field"));
        // It is wanted, and what stands there is not: without what it belongs to, then.
        while (refusedBefore.has(place) && place.includes(".")) place = place.slice(0, place.lastIndexOf("."));
        refusedBefore.add(place);
        body = without(body, place.split("."));
      }
    }
  });
  if (status >= 400 && status !== 409)
    attacker.record.note(
      `${operation.method} ${operation.path} takes no made-up document (${why}): its fields are tried one by one all the same.`,
    );
  return body;
}
