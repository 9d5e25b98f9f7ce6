import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import { jsonSchemaTransform, jsonSchemaTransformObject } from "fastify-type-provider-zod";
import { z } from "zod";
import { filterSchema } from "../campaigns/filter.ts";
import { sessionCookie } from "../people/find-session.ts";
import type { Api } from "./api.ts";

const description = `Leads come in, the right partner gets each one, and every decision is explained.

Money is in minor units (1250 is 12.50), instants are in UTC, lists come in pages, newest first.
A refusal is a problem document (RFC 9457) with a \`code\`, and names each field that is not right.`;

// A filter holds filters: what refers to itself needs a name in the document.
z.globalRegistry.add(filterSchema.out, { id: "Filter" });

/** The OpenAPI document at /openapi.json, made from the schemas of the routes, and a page to read and try it at /docs. */
export async function documentApi(api: Api): Promise<void> {
  await api.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Handoff", description, version: "1" },
      // Wherever the document was read from.
      servers: [{ url: "/" }],
      components: {
        securitySchemes: {
          apiKey: { type: "http", scheme: "bearer", description: "An API key" },
          session: { type: "apiKey", in: "cookie", name: sessionCookie, description: "Who is signed in" },
        },
      },
      security: [{ apiKey: [] }, { session: [] }],
    },
    transform: jsonSchemaTransform,
    transformObject: (document) => tidyDocument(jsonSchemaTransformObject(document)),
  });
  await api.register(swaggerUi, {
    routePrefix: "/docs",
    staticCSP: {
      "default-src": ["'self'"],
      "img-src": ["'self'", "data:"],
      // The page sets styles on its elements as it goes.
      "style-src": ["'self'", "'unsafe-inline'"],
      "base-uri": ["'none'"],
      "form-action": ["'none'"],
      "frame-ancestors": ["'none'"],
    },
    uiConfig: { validatorUrl: null, persistAuthorization: true, docExpansion: "none", displayRequestDuration: true },
  });
  api.get("/openapi.json", { schema: { hide: true } }, async () => api.swagger());
}

/** Leaves out what readers of the document have no use for: schemas that nothing refers to, patterns of ids, bounds of integers. */
function tidyDocument<Document extends object>(document: Document): Document {
  const tidied: Document = JSON.parse(JSON.stringify(document, withoutNoise));
  const { paths, components } = documentParts.parse(tidied);
  const used = new Set<string>();
  const open = [JSON.stringify(paths)];
  for (let text = open.pop(); text !== undefined; text = open.pop()) {
    for (const [, name] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (name === undefined || used.has(name)) continue;
      used.add(name);
      open.push(JSON.stringify(components.schemas[name] ?? {}));
    }
  }
  const schemas = Object.fromEntries(Object.entries(components.schemas).filter(([name]) => used.has(name)));
  return { ...tidied, components: { ...components, schemas } };
}

const documentParts = z.looseObject({
  paths: z.unknown(),
  components: z.looseObject({ schemas: z.record(z.string(), z.unknown()) }),
});

function withoutNoise(key: string, value: unknown): unknown {
  if (key === "maximum" && value === Number.MAX_SAFE_INTEGER) return undefined;
  if (key === "minimum" && value === Number.MIN_SAFE_INTEGER) return undefined;
  if (typeof value !== "object" || value === null || !("format" in value) || !("pattern" in value)) return value;
  const { pattern: _pattern, ...rest } = value;
  return rest;
}
