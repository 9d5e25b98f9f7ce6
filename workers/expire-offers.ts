import { expireOffers } from "../queues/expire-offers.ts";
import { expireDueOffers } from "../src/offers/expire-offers.ts";
import { defineWorker } from "./define-worker.ts";

export const expireOffersWorker = defineWorker(expireOffers, async (context, { organisationId }) => {
  await expireDueOffers(context, organisationId);
});
