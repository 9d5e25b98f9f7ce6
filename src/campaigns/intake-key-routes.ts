import { z } from "zod";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { type Api, idParams, instantSchema, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { leadCostSchema } from "../prices/lead-cost.ts";
import { changeIntakeKey, createIntakeKey, revokeIntakeKey } from "./intake-keys.ts";
import { intakeUrlOf } from "./present-campaign.ts";

const intakeKeyAnswer = z
  .object({
    id: z.uuid(),
    name: z.string(),
    introducerId: z.uuid().nullable(),
    leadCost: leadCostSchema.nullable(),
    intakeKey: z.string(),
    intakeUrl: z.string(),
    createdAt: instantSchema,
    revokedAt: instantSchema.nullable(),
  })
  .meta({ id: "IntakeKey" });

const nameSchema = z.string().trim().min(1).max(200);
const costSchema = leadCostSchema.nullable().meta({
  description: "what the introducer is paid for leads that come in over this key; null: as the introducer says",
});

const intakeKeyPatchSchema = z.strictObject({ name: nameSchema.optional(), leadCost: costSchema.optional() });

const keyParams = idParams.extend({ keyId: z.uuid() });

const newIntakeKeySchema = z.strictObject({
  name: nameSchema,
  leadCost: costSchema.default(null),
  introducerId: z
    .uuid("must be the id of a partner")
    .nullable()
    .default(null)
    .meta({ description: "the partner whose leads come in over this key; it never gets them back" }),
});

/** The keys over which leads come into a campaign. */
export function intakeKeyRoutes(api: Api, context: Context): void {
  const tags = ["Intake keys"];

  api.post(
    "/campaigns/:id/intake-keys",
    {
      config: { permission: "campaigns.change" },
      schema: {
        tags,
        summary: "Make another intake key",
        params: idParams,
        body: newIntakeKeySchema,
        response: { 201: intakeKeyAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id: campaignId } = request.params;
      const { name, introducerId, leadCost } = request.body;
      const change = changeBy(context, request);
      const created = await inOrganisation(context.database, change.organisationId, async (transaction) => {
        if (!(await exists(transaction, "campaigns", campaignId))) return "no_campaign";
        if (introducerId === null && leadCost !== null) return "no_introducer";
        if (introducerId !== null && !(await exists(transaction, "partners", introducerId))) return "no_partner";
        return createIntakeKey(transaction, context.vault, change, { campaignId, name, introducerId, leadCost });
      });
      if (created === "no_campaign") return sendProblem(reply, "not_found");
      if (created === "no_introducer") return sendProblem(reply, "invalid_body", { fields: [nobodyToPay] });
      if (created === "no_partner") {
        const field = {
          field: "introducerId",
          code: "unknown_partner",
          message: `there is no partner ${introducerId}`,
        };
        return sendProblem(reply, "invalid_body", { fields: [field] });
      }
      const { id, key } = created;
      return reply.code(201).send({
        id,
        name,
        introducerId,
        leadCost,
        intakeKey: key,
        intakeUrl: intakeUrlOf(context.config.publicUrl, key),
        createdAt: change.at.toISOString(),
        revokedAt: null,
      });
    },
  );

  api.get(
    "/campaigns/:id/intake-keys",
    {
      config: { permission: "campaigns.change" },
      schema: {
        tags,
        summary: "The intake keys of a campaign",
        params: idParams,
        querystring: z.strictObject(pageQuery),
        response: { 200: pageSchema(intakeKeyAnswer), ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) => {
        if (!(await exists(transaction, "campaigns", id))) return null;
        const query = transaction
          .selectFrom("intakeKeys")
          .select(["id", "name", "introducerId", "leadCost", "keyEncrypted", "createdAt", "revokedAt"])
          .where("campaignId", "=", id);
        return pageRows(query, request.query).execute();
      });
      if (found === null) return sendProblem(reply, "not_found");
      const { rows, nextCursor } = cutPage(found, request.query);
      const data = rows.map(({ keyEncrypted, createdAt, revokedAt, ...row }) => {
        const intakeKey = context.vault.decrypt(keyEncrypted);
        const intakeUrl = intakeUrlOf(context.config.publicUrl, intakeKey);
        const dates = { createdAt: createdAt.toISOString(), revokedAt: revokedAt?.toISOString() ?? null };
        return { ...row, intakeKey, intakeUrl, ...dates };
      });
      return { data, nextCursor };
    },
  );

  changeRoute(api, context);
  revokeRoute(api, context);
}

function revokeRoute(api: Api, context: Context): void {
  api.delete(
    "/campaigns/:id/intake-keys/:keyId",
    {
      config: { permission: "campaigns.change" },
      schema: {
        tags: ["Intake keys"],
        summary: "Revoke an intake key",
        params: keyParams,
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const { id, keyId } = request.params;
      const change = changeBy(context, request);
      const isRevoked = await inOrganisation(context.database, change.organisationId, async (transaction) =>
        revokeIntakeKey(transaction, change, id, keyId),
      );
      return isRevoked ? reply.code(204).send() : sendProblem(reply, "not_found");
    },
  );
}

function changeRoute(api: Api, context: Context): void {
  api.patch(
    "/campaigns/:id/intake-keys/:keyId",
    {
      config: { permission: "campaigns.change" },
      schema: {
        tags: ["Intake keys"],
        summary: "Change the name of an intake key, or what its introducer is paid",
        description: "For leads that come in from now on.",
        params: keyParams,
        body: intakeKeyPatchSchema,
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const { id, keyId } = request.params;
      const change = changeBy(context, request);
      const result = await inOrganisation(context.database, change.organisationId, async (transaction) =>
        changeIntakeKey(transaction, change, id, keyId, request.body),
      );
      if (result === "not_found") return sendProblem(reply, "not_found");
      if (result === "no_introducer") return sendProblem(reply, "invalid_body", { fields: [nobodyToPay] });
      return reply.code(204).send();
    },
  );
}

const nobodyToPay = {
  field: "leadCost",
  code: "no_introducer",
  message: "must be null: the key has no introducer who could be paid",
};

async function exists(transaction: Database, table: "campaigns" | "partners", id: string): Promise<boolean> {
  const row = await transaction.selectFrom(table).select("id").where("id", "=", id).executeTakeFirst();
  return row !== undefined;
}
