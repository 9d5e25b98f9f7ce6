import { z } from "zod";
import type { JobDefinition } from "./waker.ts";

/** "Organisation O has to tell those who referred leads to it what became of them." */
export const sendReferralStatus: JobDefinition<{ organisationId: string }> = {
  name: "send-referral-status",
  payload: z.object({ organisationId: z.uuid() }),
  key: (payload) => payload.organisationId,
};
