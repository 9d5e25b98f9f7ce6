import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { cutPage, flagQuery, pageQuery, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import {
  deliveryAnswer,
  deliveryStates,
  deliveryWithAttempts,
  presentDelivery,
  readAttempts,
  selectDeliveries,
} from "./present-delivery.ts";

const listQuery = z.strictObject({
  ...pageQuery,
  partnerId: z.uuid().optional(),
  leadId: z.uuid().optional(),
  state: z.enum(deliveryStates).optional(),
  priceInQuestion: flagQuery.optional().meta({
    description: "true: those where another price is charged than the partner's answer named",
  }),
});

export function deliveryRoutes(api: Api, context: Context): void {
  const tags = ["Deliveries"];

  api.get(
    "/deliveries",
    {
      config: { permission: "leads.read" },
      schema: {
        tags,
        summary: "Deliveries, newest first",
        querystring: listQuery,
        response: { 200: pageSchema(deliveryAnswer), ...problems },
      },
    },
    async (request) => {
      const { partnerId, leadId, state, priceInQuestion, ...page } = request.query;
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) => {
        let query = selectDeliveries(transaction);
        if (partnerId !== undefined) query = query.where("d.partnerId", "=", partnerId);
        if (leadId !== undefined) query = query.where("d.leadId", "=", leadId);
        if (state !== undefined) query = query.where("d.state", "=", state);
        if (priceInQuestion !== undefined) query = query.where("d.priceNote", priceInQuestion ? "is not" : "is", null);
        if (page.cursor !== undefined) query = query.where("d.id", "<", page.cursor);
        return query
          .orderBy("d.id", "desc")
          .limit(page.limit + 1)
          .execute();
      });
      const { rows, nextCursor } = cutPage(found, page);
      return { data: rows.map(presentDelivery), nextCursor };
    },
  );

  api.get(
    "/deliveries/:id",
    {
      config: { permission: "leads.read" },
      schema: {
        tags,
        summary: "A delivery with its attempts",
        params: idParams,
        response: { 200: deliveryWithAttempts, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) => {
        const row = await selectDeliveries(transaction).where("d.id", "=", id).executeTakeFirst();
        if (row === undefined) return null;
        const attempts = await readAttempts(transaction, [id]);
        return { ...presentDelivery(row), attempts: attempts.get(id) ?? [] };
      });
      return found ?? sendProblem(reply, "not_found");
    },
  );
}
