import { z } from "zod";
import type { JobDefinition } from "./waker.ts";

/** "Partner P has something due." */
export const drainPartner: JobDefinition<{ organisationId: string; partnerId: string }> = {
  name: "drain-partner",
  payload: z.object({ organisationId: z.uuid(), partnerId: z.uuid() }),
  key: (payload) => payload.partnerId,
};
