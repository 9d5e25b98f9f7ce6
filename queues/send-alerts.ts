import { z } from "zod";
import type { JobDefinition } from "./waker.ts";

/** "Organisation O has alerts to send." */
export const sendAlerts: JobDefinition<{ organisationId: string }> = {
  name: "send-alerts",
  payload: z.object({ organisationId: z.uuid() }),
  key: (payload) => payload.organisationId,
};
