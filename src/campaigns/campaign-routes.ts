import { z } from "zod";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { type Api, idParams, problems, warningSchema } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, flagQuery, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { patchSchemaOf } from "../http/patch-schema.ts";
import { sendProblem } from "../http/send-problem.ts";
import { campaignSchema } from "./campaign.ts";
import { campaignColumns, toDocument } from "./campaign-row.ts";
import { campaignWarnings, readRoutedPartners } from "./campaign-warnings.ts";
import { campaignAnswer, presentCampaigns } from "./present-campaign.ts";
import { changeCampaign, createCampaign } from "./store-campaign.ts";
import { templateVariables } from "./template-variables.ts";

const savedAnswer = campaignAnswer.extend({
  warnings: z.array(warningSchema).meta({ description: "what is allowed and yet hardly meant" }),
});

const variableAnswer = z.object({
  name: z.string().meta({ description: "as a template writes it" }),
  type: z.string(),
  sample: z.union([z.string(), z.number(), z.boolean()]).nullable(),
});

const listQuery = z.strictObject({ ...pageQuery, active: flagQuery.optional() });

export function campaignRoutes(api: Api, context: Context): void {
  const tags = ["Campaigns"];

  api.post(
    "/campaigns",
    {
      config: { permission: "campaigns.change" },
      schema: {
        tags,
        summary: "Add a campaign",
        description: "It has an intake key from the start: POST leads to `intakeUrl`.",
        body: campaignSchema,
        response: { 201: savedAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const result = await createCampaign(context, change, request.body);
      if (result.kind === "invalid") return sendProblem(reply, "invalid_body", { fields: result.fields });
      return reply.code(201).send(await readSaved(context, change.organisationId, result.id));
    },
  );

  api.get(
    "/campaigns",
    {
      config: { permission: "campaigns.read" },
      schema: {
        tags,
        summary: "Your campaigns, newest first",
        querystring: listQuery,
        response: { 200: pageSchema(campaignAnswer), ...problems },
      },
    },
    async (request) => {
      const { active, ...page } = request.query;
      return inOrganisation(context.database, callerOf(request).organisationId, async (transaction) => {
        const all = transaction.selectFrom("campaigns").select(campaignColumns);
        const query = active === undefined ? all : all.where("active", "=", active);
        const { rows, nextCursor } = cutPage(await pageRows(query, page).execute(), page);
        return { data: await presentCampaigns(transaction, context, rows), nextCursor };
      });
    },
  );

  api.get(
    "/campaigns/:id",
    {
      config: { permission: "campaigns.read" },
      schema: { tags, summary: "A campaign", params: idParams, response: { 200: campaignAnswer, ...problems } },
    },
    async (request, reply) => {
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) => {
        const row = await findCampaign(transaction, request.params.id);
        return row === null ? null : (await presentCampaigns(transaction, context, [row]))[0];
      });
      return found ?? sendProblem(reply, "not_found");
    },
  );

  api.patch(
    "/campaigns/:id",
    {
      config: { permission: "campaigns.change" },
      schema: {
        tags,
        summary: "Change a campaign",
        description:
          "A key at the top level replaces what was there as a whole; null clears. A group of the routing keeps its turns when it is sent back with its id, or without one in its place.",
        params: idParams,
        body: patchSchemaOf(campaignSchema),
        response: { 200: savedAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const change = changeBy(context, request);
      const result = await changeCampaign(context, change, id, request.body);
      if (result.kind === "not_found") return sendProblem(reply, "not_found");
      if (result.kind === "invalid") return sendProblem(reply, "invalid_body", { fields: result.fields });
      return readSaved(context, change.organisationId, id);
    },
  );

  api.get(
    "/campaigns/:id/template-variables",
    {
      config: { permission: "campaigns.read" },
      schema: {
        tags,
        summary: "What a partner's templates can print for leads of this campaign",
        params: idParams,
        response: { 200: z.object({ data: z.array(variableAnswer) }), ...problems },
      },
    },
    async (request, reply) => {
      const row = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) =>
        findCampaign(transaction, request.params.id),
      );
      return row === null ? sendProblem(reply, "not_found") : { data: templateVariables(row.fields) };
    },
  );
}

async function findCampaign(transaction: Database, id: string) {
  const row = await transaction.selectFrom("campaigns").select(campaignColumns).where("id", "=", id).executeTakeFirst();
  return row ?? null;
}

async function readSaved(context: Context, organisationId: string, id: string): Promise<z.infer<typeof savedAnswer>> {
  const { campaign, document, partners } = await inOrganisation(
    context.database,
    organisationId,
    async (transaction) => {
      const row = await findCampaign(transaction, id);
      const [presented] = row === null ? [] : await presentCampaigns(transaction, context, [row]);
      if (row === null || presented === undefined) throw new Error(`Campaign ${id} was there a moment ago.`);
      const document = toDocument(row);
      return { campaign: presented, document, partners: await readRoutedPartners(transaction, document) };
    },
  );
  return { ...campaign, warnings: await campaignWarnings(document, partners) };
}
