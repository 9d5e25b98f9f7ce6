import type { FastifyReply } from "fastify";
import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { changePermissions, requestConnection, type UnknownGroups } from "./ask-for-connection.ts";
import { alwaysPermitted, permissionsSchema, readKnownGroups } from "./connection.ts";
import { endConnection } from "./decide-connection.ts";
import {
  connectionQuery,
  findConnection,
  findConnections,
  outgoingAnswer,
  outgoingDetailAnswer,
  presentOutgoing,
  presentOutgoingDetail,
} from "./find-connections.ts";
import { requireDetail, sendState } from "./present-refusal.ts";

const requestBody = z.strictObject({
  portalCode: z
    .string()
    .trim()
    .toLowerCase()
    .min(1, "must not be empty")
    .max(100, "must be at most 100 characters")
    .meta({ description: "of the organisation that is to receive" }),
  permissions: permissionsSchema.default([]),
});

const groupAnswer = z
  .object({
    group: z.string(),
    fields: z.array(z.string()).meta({ description: "what its fields are called" }),
    always: z.boolean().meta({ description: "carried whether named or not" }),
  })
  .meta({ id: "FieldGroup" });

const tags = ["Connected portals"];

/** Organisations that the caller's refers to. */
export function outgoingConnectionRoutes(api: Api, context: Context): void {
  groupsRoute(api, context);
  requestRoute(api, context);
  listRoutes(api, context);
  changeRoutes(api, context);
}

function groupsRoute(api: Api, context: Context): void {
  api.get(
    "/connections/groups",
    {
      config: { permission: "referrals.read" },
      schema: {
        tags,
        summary: "The groups of fields that a connection can carry",
        response: { 200: z.object({ data: z.array(groupAnswer) }), ...problems },
      },
    },
    async (request) => {
      const groups = await inOrganisation(context.database, callerOf(request).organisationId, readKnownGroups);
      const always = (group: string) => group === alwaysPermitted;
      return { data: groups.map(({ group, labels }) => ({ group, fields: [...labels], always: always(group) })) };
    },
  );
}

function requestRoute(api: Api, context: Context): void {
  api.post(
    "/connections/outgoing",
    {
      config: { permission: "referrals.manage" },
      schema: {
        tags,
        summary: "Ask an organisation to take your referrals",
        description: "By its portal code. Pending until the other organisation approves or rejects.",
        body: requestBody,
        response: { 201: outgoingDetailAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const result = await requestConnection(context, change, request.body);
      switch (result.kind) {
        case "requested":
          return reply.code(201).send(presentOutgoingDetail(await requireDetail(context, change, "from", result.id)));
        case "unknown_groups":
          return sendUnknownGroups(reply, result);
        case "unknown_code":
          return sendProblem(reply, "portal_code_unknown");
        case "own_code":
          return sendProblem(reply, "own_portal_code");
        case "exists": {
          const now = result.state === "active" ? "is active" : "waits for approval";
          return sendProblem(reply, "connection_exists", { detail: `Connection ${result.id} ${now}.` });
        }
      }
    },
  );
}

function listRoutes(api: Api, context: Context): void {
  api.get(
    "/connections/outgoing",
    {
      config: { permission: "referrals.read" },
      schema: {
        tags,
        summary: "Organisations that you refer to, newest first",
        querystring: connectionQuery,
        response: { 200: pageSchema(outgoingAnswer), ...problems },
      },
    },
    async (request) => {
      const { organisationId } = callerOf(request);
      const found = await inOrganisation(context.database, organisationId, async (transaction) =>
        findConnections(transaction, "from", organisationId, request.query),
      );
      const { rows, nextCursor } = cutPage(found, request.query);
      return { data: rows.map(presentOutgoing), nextCursor };
    },
  );

  api.get(
    "/connections/outgoing/:id",
    {
      config: { permission: "referrals.read" },
      schema: {
        tags,
        summary: "A connection to an organisation that you refer to",
        params: idParams,
        response: { 200: outgoingDetailAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId } = callerOf(request);
      const found = await inOrganisation(context.database, organisationId, async (transaction) =>
        findConnection(transaction, "from", organisationId, request.params.id),
      );
      return found === null ? sendProblem(reply, "not_found") : presentOutgoingDetail(found);
    },
  );
}

function changeRoutes(api: Api, context: Context): void {
  api.patch(
    "/connections/outgoing/:id",
    {
      config: { permission: "referrals.manage" },
      schema: {
        tags,
        summary: "Ask for other permissions",
        description: "Nothing is carried from then on until the other organisation approves anew.",
        params: idParams,
        body: z.strictObject({ permissions: permissionsSchema }),
        response: { 200: outgoingDetailAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const { id } = request.params;
      const result = await changePermissions(context, change, id, request.body.permissions);
      switch (result.kind) {
        case "requested":
        case "unchanged":
          return presentOutgoingDetail(await requireDetail(context, change, "from", id));
        case "not_found":
          return sendProblem(reply, "not_found");
        case "state":
          return sendState(reply, result.state);
        case "unknown_groups":
          return sendUnknownGroups(reply, result);
      }
    },
  );

  api.delete(
    "/connections/outgoing/:id",
    {
      config: { permission: "referrals.manage" },
      schema: {
        tags,
        summary: "Remove a connection: nothing goes over it any more",
        params: idParams,
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const result = await endConnection(context, changeBy(context, request), "from", request.params.id);
      if (result.kind === "done") return reply.code(204).send();
      return result.kind === "state" ? sendState(reply, result.state) : sendProblem(reply, "not_found");
    },
  );
}

function sendUnknownGroups(reply: FastifyReply, { unknown, known }: UnknownGroups) {
  const message = `must be among ${known.map(({ group }) => group).join(", ")}`;
  const fields = [{ field: "permissions", code: "not_allowed", message, given: unknown.join(", ") }];
  return sendProblem(reply, "invalid_body", { fields });
}
