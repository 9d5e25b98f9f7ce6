import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, instantSchema, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { patchSchemaOf } from "../http/patch-schema.ts";
import { sendProblem } from "../http/send-problem.ts";
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
