import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, idParams, instantSchema, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { allStaffPermissions } from "../people/permissions.ts";
import { createApiKey, readScopes, revokeApiKey } from "./api-keys.ts";

const tags = ["API keys"];

const scopesSchema = z
  .array(z.enum(allStaffPermissions))
  .min(1)
  .nullable()
  .meta({ description: "what the key may do; null: all that an admin may" });

const apiKeyAnswer = z
  .object({
    id: z.uuid(),
    name: z.string(),
    scopes: scopesSchema,
    createdAt: instantSchema,
    expiresAt: instantSchema.nullable(),
    revokedAt: instantSchema.nullable(),
  })
  .meta({ id: "ApiKey" });

const newApiKeySchema = z.strictObject({
  name: z.string().trim().min(1).max(200),
  expiresAt: instantSchema.nullable().default(null).meta({ description: "null: until it is revoked" }),
  scopes: scopesSchema.default(null),
});

/** The keys of an organisation. Register where `authenticate` guards. */
export function apiKeyRoutes(api: Api, context: Context): void {
  makeRoute(api, context);
  listRoute(api, context);
  revokeRoute(api, context);
}

function makeRoute(api: Api, context: Context): void {
  api.post(
    "/api-keys",
    {
      config: { permission: "keys.manage" },
      schema: {
        tags,
        summary: "Make an API key",
        description: "The key is shown in this answer and never again. It may do nothing that you may not.",
        body: newApiKeySchema,
        response: { 201: apiKeyAnswer.extend({ key: z.string() }), ...problems },
      },
    },
    async (request, reply) => {
      const { name, expiresAt, scopes } = request.body;
      const { permissions } = callerOf(request);
      const beyond = (scopes ?? allStaffPermissions).find((permission) => !permissions.has(permission));
      if (beyond !== undefined) {
        return sendProblem(reply, "not_allowed", { detail: `You may not ${beyond} yourself, and so cannot give it.` });
      }
      const change = changeBy(context, request);
      const expires = expiresAt === null ? null : new Date(expiresAt);
      if (expires !== null && expires <= change.at) {
        const field = { field: "expiresAt", code: "invalid", message: `must lie ahead (was ${expiresAt})` };
        return sendProblem(reply, "invalid_body", { fields: [field] });
      }
      const created = await inOrganisation(context.database, change.organisationId, async (transaction) =>
        createApiKey(transaction, change, { name, expiresAt: expires, scopes }),
      );
      if (created === null) throw new Error("A key that was made at random exists already.");
      const instants = { createdAt: change.at.toISOString(), expiresAt: expires?.toISOString() ?? null };
      return reply.code(201).send({ ...created, name, scopes, ...instants, revokedAt: null });
    },
  );
}

function listRoute(api: Api, context: Context): void {
  api.get(
    "/api-keys",
    {
      config: { permission: "keys.manage" },
      schema: {
        tags,
        summary: "Your API keys, without the keys themselves",
        querystring: z.strictObject(pageQuery),
        response: { 200: pageSchema(apiKeyAnswer), ...problems },
      },
    },
    async (request) => {
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) =>
        pageRows(
          transaction.selectFrom("apiKeys").select(["id", "name", "scopes", "createdAt", "expiresAt", "revokedAt"]),
          request.query,
        ).execute(),
      );
      const { rows, nextCursor } = cutPage(found, request.query);
      const data = rows.map((row) => ({
        ...row,
        scopes: readScopes(row.scopes),
        createdAt: row.createdAt.toISOString(),
        expiresAt: row.expiresAt?.toISOString() ?? null,
        revokedAt: row.revokedAt?.toISOString() ?? null,
      }));
      return { data, nextCursor };
    },
  );
}

function revokeRoute(api: Api, context: Context): void {
  api.delete(
    "/api-keys/:id",
    {
      config: { permission: "keys.manage" },
      schema: { tags, summary: "Revoke an API key", params: idParams, response: { 204: z.undefined(), ...problems } },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const result = await inOrganisation(context.database, change.organisationId, async (transaction) =>
        revokeApiKey(transaction, change, request.params.id),
      );
      if (result === "not_found") return sendProblem(reply, "not_found");
      if (result === "last") return sendProblem(reply, "last_api_key", { detail: "Make another one first." });
      return reply.code(204).send();
    },
  );
}
