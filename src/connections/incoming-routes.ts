import type { FastifyReply } from "fastify";
import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import type { Change } from "../organisations/record-change.ts";
import { changeArrival, type DecideResult, decideConnection, endConnection } from "./decide-connection.ts";
import {
  connectionQuery,
  findConnection,
  findConnections,
  incomingAnswer,
  incomingDetailAnswer,
  presentIncoming,
  presentIncomingDetail,
} from "./find-connections.ts";
import { requireDetail, sendState } from "./present-refusal.ts";

const arrival = {
  stageId: z.uuid("must be the id of a stage").meta({ description: "of your workflows: where leads arrive" }),
  reportsStatus: z.boolean().meta({ description: "whether the referrer is told what becomes of the leads" }),
};

const approveBody = z.strictObject({
  version: z.int().meta({ description: "of the connection as you saw it: an approval is of those permissions" }),
  ...arrival,
  reportsStatus: arrival.reportsStatus.default(false),
});

const tags = ["Connected portals"];

/** Organisations that refer to the caller's. */
export function incomingConnectionRoutes(api: Api, context: Context): void {
  listRoutes(api, context);
  decideRoutes(api, context);
  changeRoutes(api, context);
}

function listRoutes(api: Api, context: Context): void {
  api.get(
    "/connections/incoming",
    {
      config: { permission: "referrals.read" },
      schema: {
        tags,
        summary: "Organisations that refer to you, newest first",
        querystring: connectionQuery,
        response: { 200: pageSchema(incomingAnswer), ...problems },
      },
    },
    async (request) => {
      const { organisationId } = callerOf(request);
      const found = await inOrganisation(context.database, organisationId, async (transaction) =>
        findConnections(transaction, "to", organisationId, request.query),
      );
      const { rows, nextCursor } = cutPage(found, request.query);
      return { data: rows.map(presentIncoming), nextCursor };
    },
  );

  api.get(
    "/connections/incoming/:id",
    {
      config: { permission: "referrals.read" },
      schema: {
        tags,
        summary: "A connection from an organisation that refers to you",
        params: idParams,
        response: { 200: incomingDetailAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId } = callerOf(request);
      const found = await inOrganisation(context.database, organisationId, async (transaction) =>
        findConnection(transaction, "to", organisationId, request.params.id),
      );
      return found === null ? sendProblem(reply, "not_found") : presentIncomingDetail(found);
    },
  );
}

function decideRoutes(api: Api, context: Context): void {
  api.post(
    "/connections/incoming/:id/approve",
    {
      config: { permission: "referrals.manage" },
      schema: {
        tags,
        summary: "Approve a request: its organisation may refer to you",
        params: idParams,
        body: approveBody,
        response: { 200: incomingDetailAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const { id } = request.params;
      const result = await decideConnection(context, change, id, { kind: "approve", ...request.body });
      return answer(context, change, reply, id, result);
    },
  );

  api.post(
    "/connections/incoming/:id/reject",
    {
      config: { permission: "referrals.manage" },
      schema: {
        tags,
        summary: "Reject a request",
        params: idParams,
        response: { 200: incomingDetailAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const { id } = request.params;
      return answer(context, change, reply, id, await decideConnection(context, change, id, { kind: "reject" }));
    },
  );
}

function changeRoutes(api: Api, context: Context): void {
  api.patch(
    "/connections/incoming/:id",
    {
      config: { permission: "referrals.manage" },
      schema: {
        tags,
        summary: "Choose where referred leads arrive, and whether you tell what becomes of them",
        params: idParams,
        body: z.strictObject({ stageId: arrival.stageId.optional(), reportsStatus: arrival.reportsStatus.optional() }),
        response: { 200: incomingDetailAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const { id } = request.params;
      return answer(context, change, reply, id, await changeArrival(context, change, id, request.body));
    },
  );

  api.post(
    "/connections/incoming/:id/stop",
    {
      config: { permission: "referrals.manage" },
      schema: {
        tags,
        summary: "Stop a connection: nothing comes over it any more",
        params: idParams,
        response: { 200: incomingDetailAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const { id } = request.params;
      return answer(context, change, reply, id, await endConnection(context, change, "to", id));
    },
  );
}

async function answer(context: Context, change: Change, reply: FastifyReply, id: string, result: DecideResult) {
  switch (result.kind) {
    case "done":
      return presentIncomingDetail(await requireDetail(context, change, "to", id));
    case "not_found":
      return sendProblem(reply, "not_found");
    case "state":
      return sendState(reply, result.state);
    case "other_version": {
      const detail = `Other permissions were asked for since: look again, and send version ${result.version}.`;
      return sendProblem(reply, "connection_changed", { detail });
    }
    case "stage_not_found": {
      const message = "must be the id of a stage of one of your workflows";
      return sendProblem(reply, "invalid_body", { fields: [{ field: "stageId", code: "not_found", message }] });
    }
  }
}
