import type { Selectable } from "kysely";
import { z } from "zod";
import { secretMask } from "../channels/http-settings.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import type { Tables } from "../db/tables.ts";
import { type Api, idParams, instantSchema, problems, warningSchema } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { patchSchemaOf } from "../http/patch-schema.ts";
import { sendProblem } from "../http/send-problem.ts";
import { checkOutbound } from "./check-outbound.ts";
import { outboundSchema } from "./outbound.ts";
import { changeOutbound, createOutbound, deleteOutbound } from "./store-outbound.ts";

const outboundAnswer = z
  .object({
    id: z.uuid(),
    ...outboundSchema.shape,
    enabled: z.boolean(),
    organisation: z.string().nullable().meta({ description: "the other side, as it named itself last" }),
    createdAt: instantSchema,
    updatedAt: instantSchema,
  })
  .meta({ id: "Outbound" });

const outboundStored = outboundAnswer
  .extend({ warnings: z.array(warningSchema).meta({ description: "what is saved and yet does not work now" }) })
  .meta({ id: "OutboundStored" });

const checkAnswer = z
  .object({
    works: z.boolean(),
    text: z.string().meta({ description: "in plain words" }),
    organisation: z.string().nullable().meta({ description: "the other side, as it names itself" }),
    inbound: z.string().nullable().meta({ description: "what it calls the link" }),
    versions: z.array(z.int()).nullable().meta({ description: "of the referral protocol, that it speaks" }),
  })
  .meta({ id: "OutboundCheck" });

const tags = ["Referrals"];

/** The links over which an organisation refers deals to others. */
export function outboundRoutes(api: Api, context: Context): void {
  createRoute(api, context);
  readRoutes(api, context);
  changeRoute(api, context);
  deleteRoute(api, context);
  checkRoute(api, context);
}

function createRoute(api: Api, context: Context): void {
  api.post(
    "/outbounds",
    {
      config: { permission: "referrals.manage" },
      schema: {
        tags,
        summary: "Make an outbound: a link to another organisation's inbound",
        description: "The other side is asked at once whether the link works; that it does not is a warning.",
        body: outboundSchema,
        response: { 201: outboundStored, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const stored = await createOutbound(context, change, request.body);
      if (stored.kind === "invalid") return sendProblem(reply, "invalid_body", { fields: stored.fields });
      if (stored.kind === "not_found") throw new Error("An outbound that is made cannot be missing.");
      const outbound = await presentStored(context, change.organisationId, stored.id);
      return outbound === null ? sendProblem(reply, "not_found") : reply.code(201).send(outbound);
    },
  );
}

function readRoutes(api: Api, context: Context): void {
  api.get(
    "/outbounds",
    {
      config: { permission: "referrals.read" },
      schema: {
        tags,
        summary: "Your outbounds, newest first, their keys masked",
        querystring: z.strictObject(pageQuery),
        response: { 200: pageSchema(outboundAnswer), ...problems },
      },
    },
    async (request) => {
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) =>
        pageRows(
          transaction.selectFrom("outbounds").select(columns).where("deletedAt", "is", null),
          request.query,
        ).execute(),
      );
      const { rows, nextCursor } = cutPage(found, request.query);
      return { data: rows.map(present), nextCursor };
    },
  );

  api.get(
    "/outbounds/:id",
    {
      config: { permission: "referrals.read" },
      schema: { tags, summary: "An outbound", params: idParams, response: { 200: outboundAnswer, ...problems } },
    },
    async (request, reply) => {
      const outbound = await readOutbound(context, callerOf(request).organisationId, request.params.id);
      return outbound ?? sendProblem(reply, "not_found");
    },
  );
}

function changeRoute(api: Api, context: Context): void {
  api.patch(
    "/outbounds/:id",
    {
      config: { permission: "referrals.manage" },
      schema: {
        tags,
        summary: "Change an outbound",
        description:
          "A key sent back as •••••• stays as it is. What was confirmed for another address and is not sent yet is cancelled.",
        params: idParams,
        body: patchSchemaOf(outboundSchema),
        response: { 200: outboundStored, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const stored = await changeOutbound(context, change, request.params.id, request.body);
      if (stored.kind === "not_found") return sendProblem(reply, "not_found");
      if (stored.kind === "invalid") return sendProblem(reply, "invalid_body", { fields: stored.fields });
      const outbound = await presentStored(context, change.organisationId, stored.id);
      return outbound ?? sendProblem(reply, "not_found");
    },
  );
}

function deleteRoute(api: Api, context: Context): void {
  api.delete(
    "/outbounds/:id",
    {
      config: { permission: "referrals.manage" },
      schema: {
        tags,
        summary: "Delete an outbound",
        description: "For good. What went over it stays; what is not sent yet is cancelled.",
        params: idParams,
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const result = await deleteOutbound(context, changeBy(context, request), request.params.id);
      return result === "not_found" ? sendProblem(reply, "not_found") : reply.code(204).send();
    },
  );
}

function checkRoute(api: Api, context: Context): void {
  api.post(
    "/outbounds/:id/check",
    {
      config: { permission: "referrals.manage" },
      schema: {
        tags,
        summary: "Ask the other side whether the link works",
        params: idParams,
        response: { 200: checkAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const check = await checkOutbound(context, callerOf(request).organisationId, request.params.id);
      if (check === null) return sendProblem(reply, "not_found");
      return { ...check, versions: check.versions === null ? null : [...check.versions] };
    },
  );
}

const columns = [
  "id",
  "name",
  "url",
  "workflowId",
  "stageId",
  "enabled",
  "remoteOrganisation",
  "createdAt",
  "updatedAt",
] as const;
type OutboundRow = Pick<Selectable<Tables["outbounds"]>, (typeof columns)[number]>;

function present({ remoteOrganisation, createdAt, updatedAt, ...row }: OutboundRow): z.infer<typeof outboundAnswer> {
  return {
    ...row,
    key: secretMask,
    organisation: remoteOrganisation,
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
  };
}

async function readOutbound(context: Context, organisationId: string, id: string) {
  const row = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("outbounds")
      .select(columns)
      .where("id", "=", id)
      .where("deletedAt", "is", null)
      .executeTakeFirst(),
  );
  return row === undefined ? null : present(row);
}

/** An outbound that was stored, with what the other side says to it; null where somebody deleted it meanwhile. */
async function presentStored(
  context: Context,
  organisationId: string,
  id: string,
): Promise<z.infer<typeof outboundStored> | null> {
  const check = await checkOutbound(context, organisationId, id);
  const outbound = await readOutbound(context, organisationId, id);
  if (check === null || outbound === null) return null;
  const warnings = check.works ? [] : [{ field: "url", message: check.text }];
  return { ...outbound, warnings };
}
