import { z } from "zod";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, flagQuery, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { patchSchemaOf } from "../http/patch-schema.ts";
import { sendProblem } from "../http/send-problem.ts";
import { partnerSchema, partnerTypes } from "./partner.ts";
import { partnerColumns } from "./partner-row.ts";
import { type PartnerAnswer, partnerAnswer, presentPartners } from "./present-partner.ts";
import { resumePartner } from "./resume-partner.ts";
import { changePartner, createPartner } from "./store-partner.ts";

const listQuery = z.strictObject({
  ...pageQuery,
  type: z.enum(partnerTypes).optional(),
  active: flagQuery.optional(),
  name: z.string().min(1).max(200).optional().meta({ description: "how the name begins, in small or capital letters" }),
});

const maskNote =
  "Secrets are shown as ••••••; sent back like that they stay as they are. What is allowed and yet hardly meant is in `warnings`.";

export function partnerRoutes(api: Api, context: Context): void {
  const tags = ["Partners"];

  api.post(
    "/partners",
    {
      config: { permission: "partners.change" },
      schema: {
        tags,
        summary: "Add a partner",
        description: maskNote,
        body: partnerSchema,
        response: { 201: partnerAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const result = await createPartner(context, change, request.body);
      if (result.kind === "invalid") return sendProblem(reply, "invalid_body", { fields: result.fields });
      return reply.code(201).send(await requirePartner(context, change.organisationId, result.id));
    },
  );

  api.get(
    "/partners",
    {
      config: { permission: "partners.read" },
      schema: {
        tags,
        summary: "Your partners, newest first",
        querystring: listQuery,
        response: { 200: pageSchema(partnerAnswer), ...problems },
      },
    },
    async (request) => {
      const { organisationId } = callerOf(request);
      return inOrganisation(context.database, organisationId, async (transaction) =>
        listPartners(transaction, context, request.query),
      );
    },
  );

  api.get(
    "/partners/:id",
    {
      config: { permission: "partners.read" },
      schema: {
        tags,
        summary: "A partner, and how it stands now",
        description: maskNote,
        params: idParams,
        response: { 200: partnerAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const partner = await readPartner(context, callerOf(request).organisationId, request.params.id);
      return partner ?? sendProblem(reply, "not_found");
    },
  );

  api.patch(
    "/partners/:id",
    {
      config: { permission: "partners.change" },
      schema: {
        tags,
        summary: "Change a partner",
        description: `A key at the top level replaces what was there as a whole; null clears. ${maskNote}`,
        params: idParams,
        body: patchSchemaOf(partnerSchema),
        response: { 200: partnerAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const change = changeBy(context, request);
      const result = await changePartner(context, change, id, request.body);
      switch (result.kind) {
        case "invalid":
          return sendProblem(reply, "invalid_body", { fields: result.fields });
        case "stored":
          return requirePartner(context, change.organisationId, id);
        default:
          return sendProblem(reply, result.kind);
      }
    },
  );

  api.post(
    "/partners/:id/resume",
    {
      config: { permission: "partners.change" },
      schema: {
        tags,
        summary: "End the pause of a partner's endpoint",
        params: idParams,
        response: { 200: partnerAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const change = changeBy(context, request);
      const isFound = await resumePartner(context, change, id);
      return isFound ? requirePartner(context, change.organisationId, id) : sendProblem(reply, "not_found");
    },
  );
}

async function readPartner(context: Context, organisationId: string, id: string): Promise<PartnerAnswer | null> {
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const rows = await transaction.selectFrom("partners").select(partnerColumns).where("id", "=", id).execute();
    const [partner] = await presentPartners(transaction, rows, context.config, context.clock());
    return partner ?? null;
  });
}

async function requirePartner(context: Context, organisationId: string, id: string): Promise<PartnerAnswer> {
  const partner = await readPartner(context, organisationId, id);
  if (partner === null) throw new Error(`Partner ${id} was there a moment ago; partners are never deleted.`);
  return partner;
}

async function listPartners(transaction: Database, context: Context, query: z.infer<typeof listQuery>) {
  const { type, active, name, ...page } = query;
  let found = transaction.selectFrom("partners").select(partnerColumns);
  if (type !== undefined) found = found.where("type", "=", type);
  if (active !== undefined) found = found.where("active", "=", active);
  if (name !== undefined) found = found.where("name", "ilike", `${name.replace(/[\\%_]/g, "\\$&")}%`);
  const { rows, nextCursor } = cutPage(await pageRows(found, page).execute(), page);
  return { data: await presentPartners(transaction, rows, context.config, context.clock()), nextCursor };
}
