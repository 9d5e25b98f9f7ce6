import { z } from "zod";
import type { JobDefinition } from "./waker.ts";

/** "Campaign C has leads to route." */
export const routeLeads: JobDefinition<{ organisationId: string; campaignId: string }> = {
  name: "route-leads",
  payload: z.object({ organisationId: z.uuid(), campaignId: z.uuid() }),
  key: (payload) => payload.campaignId,
};
