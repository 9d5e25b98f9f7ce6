import { sendAlerts } from "../queues/send-alerts.ts";
import { makeFundsSummaries } from "../src/alerts/make-funds-summaries.ts";
import { sendDueAlerts } from "../src/alerts/send-due-alerts.ts";
import { defineWorker } from "./define-worker.ts";

export const sendAlertsWorker = defineWorker(sendAlerts, async (context, { organisationId }) => {
  try {
    await makeFundsSummaries(context, organisationId);
  } finally {
    // Whatever the trouble with summaries, other alerts go out.
    await sendDueAlerts(context, organisationId);
  }
});
