import { sendAlerts } from "../queues/send-alerts.ts";
import { sendDueAlerts } from "../src/alerts/send-due-alerts.ts";
import { defineWorker } from "./define-worker.ts";

export const sendAlertsWorker = defineWorker(sendAlerts, async (context, { organisationId }) => {
  await sendDueAlerts(context, organisationId);
});
