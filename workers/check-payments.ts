import { checkPayments } from "../queues/check-payments.ts";
import { checkDueTopUps } from "../src/payments/check-due-top-ups.ts";
import { defineWorker } from "./define-worker.ts";

export const checkPaymentsWorker = defineWorker(checkPayments, async (context, { organisationId }) => {
  await checkDueTopUps(context, organisationId);
});
