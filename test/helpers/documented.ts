import { z } from "zod";
import type { Api } from "../../src/http/api.ts";

/**
 * Holds answers to what the OpenAPI document says of them. Answers are not checked as they are sent, so the tests check
 * each one that they get.
 */
interface Operation {
  readonly method: string;
  readonly path: string;
  readonly pattern: RegExp;
  readonly answers: ReadonlyMap<string, z.ZodType>;
}

const documentSchema = z.looseObject({
  paths: z.record(z.string(), z.record(z.string(), z.looseObject({ responses: z.record(z.string(), z.unknown()) }))),
  components: z.looseObject({ schemas: z.record(z.string(), z.unknown()) }),
});

const responseSchema = z.looseObject({
  content: z.record(z.string(), z.looseObject({ schema: z.unknown() })).optional(),
});

const operationsOf = new WeakMap<Api, readonly Operation[]>();

/** What in an answer is not as documented; null where all is, or where the path is not documented. */
export function undocumented(api: Api, method: string, url: string, status: number, body: unknown): string | null {
  const path = url.split("?")[0] ?? "";
  const operation = listOperations(api).find((one) => one.method === method && one.pattern.test(path));
  if (operation === undefined || status === 405 || body === "") return null;
  const schema = operation.answers.get(String(status)) ?? operation.answers.get(`${String(status)[0]}XX`);
  if (schema === undefined) return `${method} ${operation.path} does not say that it answers ${status}`;
  const result = schema.safeParse(body);
  return result.success ? null : `${method} ${operation.path} ${status}: ${z.prettifyError(result.error)}`;
}

/** Every documented operation: its method, and its path with `{id}` in the places of ids. */
export function listOperations(api: Api): readonly Operation[] {
  const known = operationsOf.get(api);
  if (known !== undefined) return known;
  const { paths, components } = documentSchema.parse(api.swagger());
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { responses }]) => ({
      method: method.toUpperCase(),
      path,
      pattern: new RegExp(`^${path.replaceAll(".", "\\.").replace(/\{[^}]+\}/g, "[^/]+")}$`),
      answers: new Map(
        Object.entries(responses).flatMap(([status, response]) => {
          const [content] = Object.values(responseSchema.parse(response).content ?? {});
          return content === undefined ? [] : [[status, compile(content.schema, components.schemas)] as const];
        }),
      ),
    })),
  );
  operationsOf.set(api, operations);
  return operations;
}

function compile(schema: unknown, components: Readonly<Record<string, unknown>>): z.ZodType {
  const inlined = inline(schema, components, []);
  return z.fromJSONSchema(z.record(z.string(), z.json()).parse(inlined));
}

/** Puts what a schema refers to in its place; of what refers to itself, only the outside is checked. */
function inline(schema: unknown, components: Readonly<Record<string, unknown>>, within: readonly string[]): unknown {
  if (Array.isArray(schema)) return schema.map((part) => inline(part, components, within));
  if (typeof schema !== "object" || schema === null) return schema;
  if ("$ref" in schema && typeof schema.$ref === "string") {
    const name = schema.$ref.replace("#/components/schemas/", "");
    if (!Object.hasOwn(components, name)) throw new Error(`The document refers to ${schema.$ref}, which is not there.`);
    return within.includes(name) ? {} : inline(components[name], components, [...within, name]);
  }
  // zod reads patterns without the u flag that JSON Schema asks for; they are the input's, and not what is looked at here.
  const entries = Object.entries(schema).filter(([key, inner]) => key !== "pattern" || typeof inner !== "string");
  return Object.fromEntries(entries.map(([key, inner]) => [key, inline(inner, components, within)]));
}
