import { routeLeads } from "../queues/route-leads.ts";
import { routeDueLeads } from "../src/routing/route-leads.ts";
import { defineWorker } from "./define-worker.ts";

export const routeLeadsWorker = defineWorker(routeLeads, async (context, payload) => {
  await routeDueLeads(context, payload.organisationId, payload.campaignId);
  context.waker.standBy(routeLeads, payload);
});
