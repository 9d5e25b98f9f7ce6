import { sendReferrals } from "../queues/send-referrals.ts";
import { sendDueReferrals } from "../src/referrals/send-referrals.ts";
import { defineWorker } from "./define-worker.ts";

export const sendReferralsWorker = defineWorker(sendReferrals, async (context, { organisationId, linkId }) => {
  await sendDueReferrals(context, organisationId, linkId);
});
