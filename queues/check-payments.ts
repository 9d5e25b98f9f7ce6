import { z } from "zod";
import type { JobDefinition } from "./waker.ts";

/** "Organisation O has payments to ask PayPal about." */
export const checkPayments: JobDefinition<{ organisationId: string }> = {
  name: "check-payments",
  payload: z.object({ organisationId: z.uuid() }),
  key: (payload) => payload.organisationId,
};
