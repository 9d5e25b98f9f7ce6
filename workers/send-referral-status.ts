import { sendReferralStatus } from "../queues/send-referral-status.ts";
import { sendDueStatuses } from "../src/referrals/send-due-statuses.ts";
import { defineWorker } from "./define-worker.ts";

export const sendReferralStatusWorker = defineWorker(sendReferralStatus, async (context, { organisationId }) => {
  await sendDueStatuses(context, organisationId);
});
