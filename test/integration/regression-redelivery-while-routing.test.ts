import { expect, test } from "@jest/globals";
import { drainDueDeliveries } from "../../src/delivery/drain-partner.ts";
import { redeliverLead } from "../../src/leads/redeliver-lead.ts";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import { openSeller, useSellers } from "../helpers/seller.ts";

/**
 * A lead was being sent again to a partner that had it when routing looked at it: routing waited for that delivery, which ended as
 * it had been and told nobody. The lead was sold, and shown as on its way for ever.
 */
const sellers = useSellers();

test("a lead that routing found being sent again to its partner goes on when that has ended", async () => {
  const seller = await openSeller(sellers.partners, { at: "2026-03-04T10:00:00Z" });
  const { context, organisationId } = seller;
  const [buyer, slow] = [await seller.partner(), await seller.partner()];
  const campaignId = await seller.campaign([buyer, slow], { saleLimit: 2 });
  sellers.partners.answer(slow.name, { status: 500 });
  const [leadId = ""] = await seller.leads(campaignId, 1);
  await seller.settle();
  seller.setTime("2026-03-04T10:02:00Z");
  sellers.partners.answer(slow.name, "reject");

  const redelivery = { leadId, deliveryId: null, reason: null };
  expect(await redeliverLead(context, organisationId, redelivery, "staff")).toMatchObject({ kind: "redelivering" });
  await drainDueDeliveries(context, organisationId, slow.id);
  await routeDueLeads(context, organisationId, campaignId);
  expect(await seller.leadRow(leadId)).toMatchObject({ state: "routing" });
  await seller.settle();

  expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 1, dueAt: null });
  const deliveries = await seller.deliveries(leadId);
  expect(deliveries.map(({ state }) => state).sort()).toEqual(["delivered", "rejected"]);
  expect(seller.errors).toEqual([]);
  await seller.close();
});
