import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, idParams, instantSchema, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { patchSchemaOf } from "../http/patch-schema.ts";
import { sendProblem } from "../http/send-problem.ts";
import { createApiKey, revokeApiKey } from "./api-keys.ts";
import { changeOrganisation, readOrganisation, type StoredOrganisation } from "./change-organisation.ts";
import { organisationSchema } from "./organisation.ts";

const organisationAnswer = z
  .object({ id: z.uuid(), portalCode: z.string(), ...organisationSchema.shape, createdAt: instantSchema })
  .meta({ id: "Organisation" });

function presentOrganisation(organisation: StoredOrganisation): z.infer<typeof organisationAnswer> {
  return { ...organisation, createdAt: organisation.createdAt.toISOString() };
}

export function organisationRoutes(api: Api, context: Context): void {
  const tags = ["Organisation"];

  api.get(
    "/organisation",
    {
      config: { permission: "organisation.read" },
      schema: { tags, summary: "Your organisation", response: { 200: organisationAnswer, ...problems } },
    },
    async (request) => {
      const { organisationId } = callerOf(request);
      return presentOrganisation(await inOrganisation(context.database, organisationId, readOrganisation));
    },
  );

  api.patch(
    "/organisation",
    {
      config: { permission: "organisation.change" },
      schema: {
        tags,
        summary: "Change your organisation",
        description: "The currency can change only while nothing is booked in it.",
        body: patchSchemaOf(organisationSchema),
        response: { 200: organisationAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const changed = await inOrganisation(context.database, change.organisationId, async (transaction) =>
        changeOrganisation(transaction, change, request.body),
      );
      return changed === null ? sendProblem(reply, "currency_in_use") : presentOrganisation(changed);
    },
  );

  changeRoutes(api, context);
  apiKeyRoutes(api, context);
}

const changeAnswer = z
  .object({
    id: z.uuid(),
    changedAt: instantSchema,
    changedBy: z.string(),
    objectKind: z.string(),
    objectId: z.uuid(),
    before: z.record(z.string(), z.unknown()).nullable().meta({ description: "null: it was made" }),
    after: z.record(z.string(), z.unknown()).nullable().meta({ description: "null: it is gone" }),
  })
  .meta({ id: "Change" });

function changeRoutes(api: Api, context: Context): void {
  api.get(
    "/changes",
    {
      config: { permission: "changes.read" },
      schema: {
        tags: ["Organisation"],
        summary: "Who changed which setting, when, from what to what",
        querystring: z.strictObject({ ...pageQuery, objectId: z.uuid().optional() }),
        response: { 200: pageSchema(changeAnswer), ...problems },
      },
    },
    async (request) => {
      const { objectId, ...page } = request.query;
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) => {
        const all = transaction
          .selectFrom("changes")
          .select(["id", "changedAt", "changedBy", "objectKind", "objectId", "before", "after"]);
        const query = objectId === undefined ? all : all.where("objectId", "=", objectId);
        return pageRows(query, page).execute();
      });
      const { rows, nextCursor } = cutPage(found, page);
      return { data: rows.map((row) => ({ ...row, changedAt: row.changedAt.toISOString() })), nextCursor };
    },
  );
}

const apiKeyAnswer = z
  .object({
    id: z.uuid(),
    name: z.string(),
    createdAt: instantSchema,
    expiresAt: instantSchema.nullable(),
    revokedAt: instantSchema.nullable(),
  })
  .meta({ id: "ApiKey" });

const newApiKeySchema = z.strictObject({
  name: z.string().trim().min(1).max(200),
  expiresAt: instantSchema.nullable().default(null).meta({ description: "null: until it is revoked" }),
});

function apiKeyRoutes(api: Api, context: Context): void {
  const tags = ["API keys"];

  api.post(
    "/api-keys",
    {
      config: { permission: "keys.manage" },
      schema: {
        tags,
        summary: "Make an API key",
        description: "The key is shown in this answer and never again.",
        body: newApiKeySchema,
        response: { 201: apiKeyAnswer.extend({ key: z.string() }), ...problems },
      },
    },
    async (request, reply) => {
      const { name, expiresAt } = request.body;
      const change = changeBy(context, request);
      const expires = expiresAt === null ? null : new Date(expiresAt);
      if (expires !== null && expires <= change.at) {
        const field = { field: "expiresAt", code: "invalid", message: `must lie ahead (was ${expiresAt})` };
        return sendProblem(reply, "invalid_body", { fields: [field] });
      }
      const created = await inOrganisation(context.database, change.organisationId, async (transaction) =>
        createApiKey(transaction, change, { name, expiresAt: expires }),
      );
      if (created === null) throw new Error("A key that was made at random exists already.");
      const createdAt = change.at.toISOString();
      return reply
        .code(201)
        .send({ ...created, name, createdAt, expiresAt: expires?.toISOString() ?? null, revokedAt: null });
    },
  );

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
          transaction.selectFrom("apiKeys").select(["id", "name", "createdAt", "expiresAt", "revokedAt"]),
          request.query,
        ).execute(),
      );
      const { rows, nextCursor } = cutPage(found, request.query);
      const data = rows.map((row) => ({
        ...row,
        createdAt: row.createdAt.toISOString(),
        expiresAt: row.expiresAt?.toISOString() ?? null,
        revokedAt: row.revokedAt?.toISOString() ?? null,
      }));
      return { data, nextCursor };
    },
  );

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
