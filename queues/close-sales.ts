import { z } from "zod";
import type { JobDefinition } from "./waker.ts";

/** "Organisation O has sales that did not reach their last billing point in time." */
export const closeSales: JobDefinition<{ organisationId: string }> = {
  name: "close-sales",
  payload: z.object({ organisationId: z.uuid() }),
  key: (payload) => payload.organisationId,
};
