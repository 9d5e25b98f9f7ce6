import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import { jsonSchemaTransform, jsonSchemaTransformObject } from "fastify-type-provider-zod";
import type { Context } from "../context.ts";
import type { Api } from "./api.ts";

const description = `Leads come in, the right partner gets each one, and every decision is explained.

Money is in minor units (1250 is 12.50), instants are in UTC, lists come in pages, newest first.
A refusal is a problem document (RFC 9457) with a \`code\`, and names each field that is not right.`;

/** The OpenAPI document at /openapi.json, made from the schemas of the routes, and a page to read and try it at /docs. */
export async function documentApi(api: Api, context: Context): Promise<void> {
  await api.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Handoff", description, version: "1" },
      servers: [{ url: context.config.publicUrl }],
      components: { securitySchemes: { apiKey: { type: "http", scheme: "bearer", description: "An API key" } } },
      security: [{ apiKey: [] }],
    },
    transform: jsonSchemaTransform,
    transformObject: jsonSchemaTransformObject,
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
