import { z } from "zod";
import type { JobDefinition } from "./waker.ts";

/** "Organisation O has referrals to send over link L." */
export const sendReferrals: JobDefinition<{ organisationId: string; linkId: string }> = {
  name: "send-referrals",
  payload: z.object({ organisationId: z.uuid(), linkId: z.uuid() }),
  key: ({ linkId }) => linkId,
};
