import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, flagQuery, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { patchSchemaOf } from "../http/patch-schema.ts";
import { sendProblem } from "../http/send-problem.ts";
import { inboundAnswer, inboundSchema } from "./inbound.ts";
import { inboundColumns, presentInbounds } from "./present-inbound.ts";
import {
  changeInbound,
  createInbound,
  deleteInbound,
  type InboundInUse,
  renewInboundKey,
  type StoreInboundResult,
} from "./store-inbound.ts";

const tags = ["Referrals"];

const confirmMeta = { description: "although several organisations use it, who are told in the refusal without" };

const patchSchema = patchSchemaOf(inboundSchema).extend({ confirm: z.boolean().default(false).meta(confirmMeta) });

/** The inbounds of an organisation: where referrals from others come in. */
export function inboundRoutes(api: Api, context: Context): void {
  createRoute(api, context);
  readRoutes(api, context);
  changeRoute(api, context);
  keyRoutes(api, context);
}

function readRoutes(api: Api, context: Context): void {
  api.get(
    "/inbounds",
    {
      config: { permission: "referrals.read" },
      schema: {
        tags,
        summary: "Where referrals from other organisations come in, newest first",
        querystring: z.strictObject(pageQuery),
        response: { 200: pageSchema(inboundAnswer), ...problems },
      },
    },
    async (request) =>
      inOrganisation(context.database, callerOf(request).organisationId, async (transaction) => {
        const query = transaction.selectFrom("inbounds").select(inboundColumns).where("deletedAt", "is", null);
        const { rows, nextCursor } = cutPage(await pageRows(query, request.query).execute(), request.query);
        return { data: await presentInbounds(transaction, context, rows, false), nextCursor };
      }),
  );

  api.get(
    "/inbounds/:id",
    {
      config: { permission: "referrals.read" },
      schema: {
        tags,
        summary: "An inbound with its referral URL and key",
        params: idParams,
        response: { 200: inboundAnswer, ...problems },
      },
    },
    async (request, reply) => answerInbound(context, request, reply, request.params.id),
  );
}

function createRoute(api: Api, context: Context): void {
  api.post(
    "/inbounds",
    {
      config: { permission: "referrals.manage" },
      schema: {
        tags,
        summary: "Add an inbound: a URL and a key to give to those who refer to you",
        body: inboundSchema,
        response: { 201: inboundAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const result = await createInbound(context, changeBy(context, request), request.body);
      reply.code(201);
      return answerStored(context, request, reply, result);
    },
  );
}

function changeRoute(api: Api, context: Context): void {
  api.patch(
    "/inbounds/:id",
    {
      config: { permission: "referrals.manage" },
      schema: {
        tags,
        summary: "Change an inbound",
        params: idParams,
        body: patchSchema,
        response: { 200: inboundAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { confirm, ...patch } = request.body;
      const result = await changeInbound(context, changeBy(context, request), request.params.id, patch, confirm);
      return answerStored(context, request, reply, result);
    },
  );
}

function keyRoutes(api: Api, context: Context): void {
  api.post(
    "/inbounds/:id/renew-key",
    {
      config: { permission: "referrals.manage" },
      schema: {
        tags,
        summary: "Give an inbound another key",
        description: "The old one is refused from now on: all who use the inbound need the new one.",
        params: idParams,
        response: { 200: inboundAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const isRenewed = await renewInboundKey(context, changeBy(context, request), id);
      return isRenewed ? answerInbound(context, request, reply, id) : sendProblem(reply, "not_found");
    },
  );

  api.delete(
    "/inbounds/:id",
    {
      config: { permission: "referrals.manage" },
      schema: {
        tags,
        summary: "Delete an inbound for good",
        description: "This cannot be undone. What arrived over it stays; who refers over it is told that it is gone.",
        params: idParams,
        querystring: z.strictObject({ confirm: flagQuery.optional().meta(confirmMeta) }),
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const { confirm = false } = request.query;
      const result = await deleteInbound(context, changeBy(context, request), request.params.id, confirm);
      if (result.kind === "not_found") return sendProblem(reply, "not_found");
      if (result.kind === "in_use") return refuseInUse(reply, result);
      return reply.code(204).send();
    },
  );
}

async function answerStored(
  context: Context,
  request: FastifyRequest,
  reply: FastifyReply,
  result: StoreInboundResult,
) {
  switch (result.kind) {
    case "not_found":
      return sendProblem(reply, "not_found");
    case "invalid":
      return sendProblem(reply, "invalid_body", { fields: result.fields });
    case "in_use":
      return refuseInUse(reply, result);
    case "stored":
      return answerInbound(context, request, reply, result.id);
  }
}

function refuseInUse(reply: FastifyReply, { referrers }: InboundInUse): FastifyReply {
  const detail = `These refer over it, and would be refused: ${referrers.join(", ")}. Send confirm if that is meant.`;
  return sendProblem(reply, "inbound_in_use", { detail });
}

async function answerInbound(context: Context, request: FastifyRequest, reply: FastifyReply, id: string) {
  const { organisationId, permissions } = callerOf(request);
  const found = await inOrganisation(context.database, organisationId, async (transaction) =>
    readInbound(transaction, context, id, permissions.has("referrals.manage")),
  );
  return found ?? sendProblem(reply, "not_found");
}

async function readInbound(transaction: Database, context: Context, id: string, showsKey: boolean) {
  const rows = await transaction
    .selectFrom("inbounds")
    .select(inboundColumns)
    .where("id", "=", id)
    .where("deletedAt", "is", null)
    .execute();
  return (await presentInbounds(transaction, context, rows, showsKey))[0] ?? null;
}
