import type { FastifyReply } from "fastify";
import { sql } from "kysely";
import { z } from "zod";
import type { Context } from "../context.ts";
import { type Api, idParams, instantSchema, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { sendProblem } from "../http/send-problem.ts";
import { phoneSchema } from "../partners/partner.ts";
import { callTransfer, isReportSigned, noteDialled } from "./call-transfer.ts";
import { markTransfer } from "./mark-transfer.ts";
import { type OpenTransferResult, openTransfer } from "./open-transfer.ts";

const tags = ["Leads"];

const transferAnswer = z
  .object({
    id: z.uuid().meta({ description: "also that of the delivery" }),
    partnerId: z.uuid(),
    partnerName: z.string(),
    transferPhone: z.string().meta({ description: "where the caller is handed over to" }),
    until: instantSchema.meta({ description: "until when the place and the money are reserved" }),
    price: z.int().meta({ description: "in minor units" }),
    currency: z.string(),
  })
  .meta({ id: "Transfer" });

const outcomeBody = z.strictObject({
  transferred: z.boolean("must be true or false"),
  reason: z.string().trim().max(500).nullable().default(null).meta({ description: "kept in the lead's history" }),
});

const callBody = z.strictObject({ agentPhone: phoneSchema.meta({ description: "who is rung up first" }) });

/** An agent hands a caller over to a partner by telephone. */
export function transferRoutes(api: Api, context: Context): void {
  openRoute(api, context);
  outcomeRoute(api, context);
  callRoute(api, context);
}

function openRoute(api: Api, context: Context): void {
  api.post(
    "/leads/:id/transfers",
    {
      config: { permission: "leads.work" },
      schema: {
        tags,
        summary: "Ask who can take a lead by telephone now",
        description: "Reserves the partner's place and the money for two minutes, in which nobody else gets the lead.",
        params: idParams,
        response: { 201: transferAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, actor } = callerOf(request);
      return sendOpened(reply, await openTransfer(context, organisationId, request.params.id, actor));
    },
  );
}

function sendOpened(reply: FastifyReply, result: OpenTransferResult): FastifyReply {
  switch (result.kind) {
    case "opened": {
      const { priceMinor, until, ...transfer } = result.transfer;
      return reply.code(201).send({ ...transfer, until: until.toISOString(), price: priceMinor });
    }
    case "lead_not_found":
      return sendProblem(reply, "not_found");
    case "lead_state":
      return sendProblem(reply, "lead_state", { detail: `It is ${result.state}.` });
    case "open_already":
      return sendProblem(reply, "transfer_open", { detail: `Mark transfer ${result.transferId} first.` });
    case "nobody": {
      const fields = result.reasons.map(({ partnerId, name, code, text }) => ({
        field: `partners.${partnerId}`,
        code,
        message: `${name}: ${text}`,
      }));
      const noNumber = "No partner in the campaign's routing has a number to transfer to (contact.transferPhone).";
      const detail = fields.length === 0 ? noNumber : fields.map(({ message }) => message).join(" ");
      return sendProblem(reply, "nobody_to_transfer_to", { detail, fields });
    }
  }
}

function outcomeRoute(api: Api, context: Context): void {
  api.post(
    "/transfers/:id/outcome",
    {
      config: { permission: "leads.work" },
      schema: {
        tags,
        summary: "Mark whether the caller was handed over",
        description:
          "`true` delivers the lead to the partner and charges it; `false` gives place and money back, and the next partner can be asked for.",
        params: idParams,
        body: outcomeBody,
        response: { 200: z.object({ transferId: z.uuid(), transferred: z.boolean() }), ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, actor } = callerOf(request);
      const { id: transferId } = request.params;
      const result = await markTransfer(context, organisationId, { transferId, ...request.body }, actor);
      switch (result.kind) {
        case "accepted":
        case "declined":
          return { transferId, transferred: result.kind === "accepted" };
        case "over":
          return sendProblem(reply, "transfer_over", { detail: overWords(result.state) });
        case "not_found":
          return sendProblem(reply, "not_found");
      }
    },
  );
}

function overWords(state: string): string {
  return state === "expired"
    ? "It was not marked within two minutes: place and money went back. Refer the lead by hand if the partner has it."
    : `It was marked before: the delivery is ${state}.`;
}

function callRoute(api: Api, context: Context): void {
  api.post(
    "/transfers/:id/call",
    {
      config: { permission: "leads.work" },
      schema: {
        tags,
        summary: "Ring up the agent and put them through to the partner",
        description: "With Twilio, from the number TWILIO_CALLER; once for each transfer.",
        params: idParams,
        body: callBody,
        response: { 202: z.object({ transferId: z.uuid() }), ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, actor } = callerOf(request);
      const { id: transferId } = request.params;
      const result = await callTransfer(context, organisationId, { transferId, ...request.body }, actor);
      switch (result.kind) {
        case "called":
          return reply.code(202).send({ transferId });
        case "not_set_up":
          return sendProblem(reply, "calls_not_set_up", { detail: `The operator sets ${result.missing.join(", ")}.` });
        case "called_already":
          return sendProblem(reply, "transfer_open", { detail: "The agent was rung up for this transfer already." });
        case "over":
          return sendProblem(reply, "transfer_over", { detail: `The delivery is ${result.state}.` });
        case "trouble":
          return sendProblem(reply, "call_service_trouble", { detail: result.reason });
        case "not_found":
          return sendProblem(reply, "not_found");
      }
    },
  );
}

/** Twilio's reports are a few hundred bytes. */
const reportLimitBytes = 16 * 1024;

/** Says nothing more, and hangs up. */
const endOfCall = '<?xml version="1.0" encoding="UTF-8"?><Response/>';

/**
 * Where Twilio reports that the partner's end of a call is over. It has a signature and no API key: register outside of what
 * `authenticate` guards, in a scope of its own, which takes forms.
 */
export function transferCallbackRoutes(api: Api, context: Context): void {
  api.addContentTypeParser(
    "application/x-www-form-urlencoded",
    { parseAs: "string", bodyLimit: reportLimitBytes },
    async (_request: unknown, body: string) => Object.fromEntries(new URLSearchParams(body)),
  );
  api.post(
    "/transfers/:transferId/dialled",
    {
      schema: {
        tags,
        summary: "For the telephone service only: what became of the call to the partner",
        security: [],
        params: z.object({ transferId: z.uuid() }),
        headers: z.looseObject({ "x-twilio-signature": z.string().default("") }),
        body: z.record(z.string(), z.string()),
        response: { 200: z.string().meta({ description: "TwiML: the call ends" }), ...problems },
      },
    },
    async (request, reply) => {
      const { transferId: id } = request.params;
      if (!isReportSigned(context, id, request.headers["x-twilio-signature"], request.body)) {
        return sendProblem(reply, "not_signed");
      }
      const { rows } = await sql<{ organisationId: string }>`select * from find_offer(${id}::uuid)`.execute(
        context.database,
      );
      const organisationId = rows[0]?.organisationId;
      if (organisationId === undefined) return sendProblem(reply, "not_found");
      request.organisationId = organisationId;
      const result = await noteDialled(context, organisationId, id, request.body);
      if (result === "unreadable") return sendProblem(reply, "invalid_body");
      if (result === "not_found") return sendProblem(reply, "not_found");
      return reply.type("text/xml; charset=utf-8").send(endOfCall);
    },
  );
}
