import { z } from "zod";
import type { JobDefinition } from "./waker.ts";

/** "Organisation O has offers that nobody answered in time." */
export const expireOffers: JobDefinition<{ organisationId: string }> = {
  name: "expire-offers",
  payload: z.object({ organisationId: z.uuid() }),
  key: (payload) => payload.organisationId,
};
