import { drainPartner } from "../queues/drain-partner.ts";
import { drainDueDeliveries } from "../src/delivery/drain-partner.ts";
import { defineWorker } from "./define-worker.ts";

export const drainPartnerWorker = defineWorker(drainPartner, async (context, { organisationId, partnerId }) => {
  await drainDueDeliveries(context, organisationId, partnerId);
});
