import { closeSales } from "../queues/close-sales.ts";
import { closeDueSales } from "../src/leads/close-due-sales.ts";
import { defineWorker } from "./define-worker.ts";

export const closeSalesWorker = defineWorker(closeSales, async (context, { organisationId }) => {
  await closeDueSales(context, organisationId);
});
