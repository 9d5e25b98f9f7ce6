import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { eraseLead } from "./erase-lead.ts";
import { findLeads, leadsQuery } from "./find-leads.ts";
import { leadAnswer, leadWithHistory, presentLeads, readLead } from "./present-lead.ts";

export function leadRoutes(api: Api, context: Context): void {
  const tags = ["Leads"];

  api.get(
    "/leads",
    {
      config: { permission: "leads.read" },
      schema: {
        tags,
        summary: "Leads, newest first",
        querystring: leadsQuery,
        response: { 200: pageSchema(leadAnswer), ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId } = callerOf(request);
      return inOrganisation(context.database, organisationId, async (transaction) => {
        const found = await findLeads(transaction, context.vault, request.query);
        if (!found.ok) return sendProblem(reply, "invalid_query", { fields: found.fields });
        const { rows, nextCursor } = cutPage(found.rows, request.query);
        return { data: await presentLeads(transaction, rows), nextCursor };
      });
    },
  );

  api.get(
    "/leads/:id",
    {
      config: { permission: "leads.read" },
      schema: {
        tags,
        summary: "A lead, with its deliveries, what happened, and why",
        params: idParams,
        response: { 200: leadWithHistory, ...problems },
      },
    },
    async (request, reply) => {
      const lead = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) =>
        readLead(transaction, request.params.id),
      );
      return lead ?? sendProblem(reply, "not_found");
    },
  );

  api.delete(
    "/leads/:id",
    {
      config: { permission: "leads.erase" },
      schema: {
        tags,
        summary: "Erase what is personal in a lead",
        description: "What it cost and who had it stays. Refused while a delivery is under way or may still be tried.",
        params: idParams,
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const result = await eraseLead(context, changeBy(context, request), request.params.id);
      if (result === "not_found") return sendProblem(reply, "not_found");
      if (result === "under_way") return sendProblem(reply, "delivery_under_way");
      return reply.code(204).send();
    },
  );
}
