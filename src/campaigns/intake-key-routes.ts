import { z } from "zod";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { type Api, idParams, instantSchema, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { createIntakeKey, revokeIntakeKey } from "./intake-keys.ts";
import { intakeUrlOf } from "./present-campaign.ts";

const intakeKeyAnswer = z
  .object({
    id: z.uuid(),
    name: z.string(),
    introducerId: z.uuid().nullable(),
    intakeKey: z.string(),
    intakeUrl: z.string(),
    createdAt: instantSchema,
    revokedAt: instantSchema.nullable(),
  })
  .meta({ id: "IntakeKey" });

const newIntakeKeySchema = z.strictObject({
  name: z.string().trim().min(1).max(200),
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
      const { name, introducerId } = request.body;
      const change = changeBy(context, request);
      const created = await inOrganisation(context.database, change.organisationId, async (transaction) => {
        if (!(await exists(transaction, "campaigns", campaignId))) return "no_campaign";
        if (introducerId !== null && !(await exists(transaction, "partners", introducerId))) return "no_partner";
        return createIntakeKey(transaction, context.vault, change, { campaignId, name, introducerId });
      });
      if (created === "no_campaign") return sendProblem(reply, "not_found");
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
          .select(["id", "name", "introducerId", "keyEncrypted", "createdAt", "revokedAt"])
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

  api.delete(
    "/campaigns/:id/intake-keys/:keyId",
    {
      schema: {
        tags,
        summary: "Revoke an intake key",
        params: idParams.extend({ keyId: z.uuid() }),
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

async function exists(transaction: Database, table: "campaigns" | "partners", id: string): Promise<boolean> {
  const row = await transaction.selectFrom(table).select("id").where("id", "=", id).executeTakeFirst();
  return row !== undefined;
}
