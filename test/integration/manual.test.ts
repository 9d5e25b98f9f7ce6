import { describe, expect, test } from "@jest/globals";
import { eraseLead } from "../../src/leads/erase-lead.ts";
import { redeliverLead } from "../../src/leads/redeliver-lead.ts";
import { referLead } from "../../src/leads/refer-lead.ts";
import { resolveDelivery } from "../../src/leads/resolve-delivery.ts";
import { unreferLead } from "../../src/leads/unrefer-lead.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";

/** What staff do by hand obeys the same rules, and leaves a record. */

const sellers = useSellers();

const sentTo = ({ name }: Buyer) => sellers.partners.requestsOf(name).length;

const by = (seller: Seller) => [seller.context, seller.organisationId] as const;
const refer = async (seller: Seller, leadId: string, { id }: Buyer, override = false) =>
  referLead(...by(seller), { leadId, partnerId: id, override, reason: "asked for" }, "api_key:test");
const redeliver = async (seller: Seller, leadId: string, deliveryId: string | null = null) =>
  redeliverLead(...by(seller), { leadId, deliveryId, reason: null }, "api_key:test");
const unrefer = async (seller: Seller, leadId: string, { id }: Buyer, reroute = false) =>
  unreferLead(...by(seller), { leadId, partnerId: id, reason: "wrong number", reroute }, "api_key:test");
const eventsOf = async (seller: Seller, leadId: string) =>
  seller.inOrganisation(async (transaction) =>
    transaction.selectFrom("leadEvents").select(["kind", "actor", "detail"]).where("leadId", "=", leadId).execute(),
  );
const statesOf = async (seller: Seller, leadId: string) => (await seller.deliveries(leadId)).map(({ state }) => state);

describe("refer", () => {
  test("sends a lead that is held for one partner to another, under that one's limits, at the campaign's price", async () => {
    const seller = await sellers.open();
    const [closed, other] = [
      await seller.partner({ schedule: { sun: [{ from: "09:00", to: "10:00" }] } }),
      await seller.partner(),
    ];
    const campaignId = await seller.campaign([closed]);
    const leadId = await seller.lead(campaignId);
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["held"]);
    expect((await refer(seller, leadId, other)).kind).toBe("referred");
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["cancelled", "delivered"]);
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 1, dueAt: null });
    expect(await eventsOf(seller, leadId)).toMatchObject([
      { kind: "referred", actor: "api_key:test", detail: { partnerId: other.id, reason: "asked for", overridden: [] } },
    ]);
  });

  test("obeys limit, schedule, funds, filter and sale limit, and tells all reasons at once", async () => {
    const seller = await sellers.open();
    const first = await seller.partner();
    const blocked = await seller.partner({
      schedule: { sun: [{ from: "09:00", to: "10:00" }] },
      limits: { spendDay: 500 },
      creditLimit: 0,
    });
    const filter = { field: "postcode", op: "startsWith", value: "SW" };
    const partners = [
      { partnerId: first.id, priority: 0, price: 1000 },
      { partnerId: blocked.id, priority: 1, price: 1000, filter },
    ];
    const campaignId = await seller.campaign([], { routing: [{ method: "priority", partners }] });
    const leadId = await seller.lead(campaignId);
    await seller.settle();
    const refused = await refer(seller, leadId, blocked);
    expect(refused).toMatchObject({ kind: "refused", mayOverride: true });
    const codes = refused.kind === "refused" ? refused.reasons.map(({ code }) => code) : [];
    expect(codes).toEqual(["filter_not_matched", "closed", "spend_limit_reached", "no_funds", "sale_limit_reached"]);
    expect(await seller.usage(blocked)).toMatchObject({ totalLeads: 0 });
  });

  test("with override goes past all of them, is sent and charged, and what was overridden is recorded", async () => {
    const seller = await sellers.open();
    const [first, blocked] = [
      await seller.partner(),
      await seller.partner({ limits: { spendDay: 500 }, leadValue: 700 }),
    ];
    const leadId = await seller.lead(await seller.campaign([first]));
    await seller.settle();
    expect((await refer(seller, leadId, blocked, true)).kind).toBe("referred");
    await seller.settle();
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 2 });
    expect(await seller.funds(blocked)).toMatchObject({ revenue: 700 });
    expect(await eventsOf(seller, leadId)).toMatchObject([
      { detail: { overridden: [{ code: "spend_limit_reached" }, { code: "sale_limit_reached", limit: 1 }] } },
    ]);
  });

  test("never makes a second delivery to a partner that has the lead, whatever is overridden", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner();
    const leadId = await seller.lead(await seller.campaign([buyer]));
    await seller.settle();
    expect(await refer(seller, leadId, buyer, true)).toMatchObject({ kind: "refused", mayOverride: false });
    const atOnce = await Promise.all(
      [1, 2, 3, 4].map(async () => refer(seller, leadId, await seller.partner(), false)),
    );
    expect(atOnce.every(({ kind }) => kind === "refused")).toBe(true);
    expect(sentTo(buyer)).toBe(1);
  });

  test("by several at once places an exclusive lead once", async () => {
    const seller = await sellers.open();
    const buyers = await Promise.all([1, 2, 3].map(async () => seller.partner()));
    const leadId = await seller.lead(await seller.campaign([]));
    await seller.settle();
    const results = await Promise.all(buyers.map(async (buyer) => refer(seller, leadId, buyer)));
    expect(results.map(({ kind }) => kind).toSorted()).toEqual(["referred", "refused", "refused"]);
    await seller.settle();
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 1 });
  });

  test("of a lead that its partner refuses lets it go on to the routing's partners", async () => {
    const seller = await sellers.open();
    const [asked, other] = [await seller.partner(), await seller.partner({ active: false })];
    sellers.partners.answer(asked.name, "reject");
    const leadId = await seller.lead(await seller.campaign([other]));
    await seller.settle();
    expect((await seller.leadRow(leadId)).state).toBe("unsold");
    await seller.change(other, { active: true });
    await refer(seller, leadId, asked);
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["rejected", "delivered"]);
    expect([sentTo(asked), sentTo(other)]).toEqual([1, 1]);
  });
});

describe("redeliver", () => {
  test("sends again under the same key, charges nothing, takes no place, and stays delivered whatever the answer", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ limits: { day: 1 } });
    const leadId = await seller.lead(await seller.campaign([buyer]));
    await seller.settle();
    sellers.partners.answer(buyer.name, "reject");
    expect((await redeliver(seller, leadId)).kind).toBe("redelivering");
    await seller.settle();
    const requests = sellers.partners.requestsOf(buyer.name);
    expect(requests).toHaveLength(2);
    expect(new Set(requests.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
    expect(await statesOf(seller, leadId)).toEqual(["delivered"]);
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 1 });
    expect(await seller.funds(buyer)).toMatchObject({ funds: -1000, reserved: 0, revenue: 1000 });
    expect(await seller.usage(buyer)).toMatchObject({ dayLeads: 1 });
  });

  test("of an uncertain delivery that the partner now accepts sells it, and charges once", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner();
    sellers.partners.answer(buyer.name, "reset");
    const leadId = await seller.lead(await seller.campaign([buyer]));
    for (const time of ["10:00", "10:02", "10:09", "10:45", "13:00"]) {
      seller.setTime(`2026-03-04T${time}:00Z`);
      await seller.settle();
    }
    expect(await statesOf(seller, leadId)).toEqual(["uncertain"]);
    sellers.partners.answer(buyer.name, "accept");
    await redeliver(seller, leadId);
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["delivered"]);
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 1 });
    expect(await seller.funds(buyer)).toMatchObject({ reserved: 0, revenue: 1000 });
  });

  test("asks which where several could be meant, and refuses what was not delivered", async () => {
    const seller = await sellers.open();
    const buyers = [await seller.partner(), await seller.partner(), await seller.partner()];
    sellers.partners.answer(buyers[2]?.name ?? "", "reject");
    const leadId = await seller.lead(await seller.campaign(buyers, { saleLimit: 3 }));
    await seller.settle();
    const deliveries = await seller.deliveries(leadId);
    expect(await redeliver(seller, leadId)).toMatchObject({ kind: "several" });
    expect(await redeliver(seller, leadId, deliveries[2]?.id)).toEqual({ kind: "delivery_state", state: "rejected" });
    expect((await redeliver(seller, leadId, deliveries[1]?.id)).kind).toBe("redelivering");
  });
});

describe("unrefer", () => {
  test("of a sold lead reverses the charge by a new transaction, gives the place back, and the lead is returned", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ limits: { day: 1 } });
    const leadId = await seller.lead(await seller.campaign([buyer]));
    await seller.settle();
    expect((await unrefer(seller, leadId, buyer)).kind).toBe("unreferred");
    expect(await statesOf(seller, leadId)).toEqual(["returned"]);
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "returned", soldCount: 0, dueAt: null });
    expect(await seller.funds(buyer)).toMatchObject({ funds: 0, reserved: 0, revenue: 0 });
    expect(await seller.usage(buyer)).toMatchObject({ dayLeads: 0, daySpendMinor: 0 });
    const kinds = await seller.inOrganisation(async (transaction) =>
      transaction.selectFrom("transactions").select("kind").orderBy("id").execute(),
    );
    expect(kinds.map(({ kind }) => kind)).toEqual(["reserve", "post", "reverse"]);
    expect(await unrefer(seller, leadId, buyer)).toEqual({ kind: "delivery_not_found" });
  });

  test("gives the place to a lead that waits for one", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ limits: { day: 1 } });
    const campaignId = await seller.campaign([buyer]);
    const [first, second] = [await seller.lead(campaignId), await seller.lead(campaignId)];
    await seller.settle();
    expect((await seller.leadRow(second)).state).toBe("held");
    await unrefer(seller, first, buyer);
    await seller.settle();
    expect((await seller.leadRow(second)).state).toBe("sold");
  });

  test("with reroute sends it to the next, and never to the same partner", async () => {
    const seller = await sellers.open();
    const [buyer, other] = [await seller.partner(), await seller.partner()];
    const leadId = await seller.lead(await seller.campaign([buyer, other]));
    await seller.settle();
    await unrefer(seller, leadId, buyer, true);
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["returned", "delivered"]);
    expect([sentTo(buyer), sentTo(other)]).toEqual([1, 1]);
    await unrefer(seller, leadId, other, true);
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["returned", "returned"]);
    expect((await seller.leadRow(leadId)).state).toBe("unsold");
  });

  test("with reroute of a lead that is held, or waits to be sent, does not bring it back to the same partner", async () => {
    const seller = await sellers.open();
    const closed = await seller.partner({ schedule: { sun: [{ from: "09:00", to: "10:00" }] } });
    const buyer = await seller.partner();
    const [heldCampaign, campaignId] = [await seller.campaign([closed]), await seller.campaign([buyer])];
    const [held, waiting] = [await seller.lead(heldCampaign), await seller.lead(campaignId)];
    await Promise.all([seller.route(heldCampaign), seller.route(campaignId)]);
    await unrefer(seller, held, closed, true);
    await unrefer(seller, waiting, buyer, true);
    await seller.settle();
    for (const leadId of [held, waiting]) {
      expect(await statesOf(seller, leadId)).toEqual(["cancelled"]);
      expect((await seller.leadRow(leadId)).state).toBe("unsold");
    }
    expect(sentTo(buyer)).toBe(0);
  });

  test("of a lead that is held, and of one that waits to be sent, ends it with the reason", async () => {
    const seller = await sellers.open();
    const closed = await seller.partner({ schedule: { sun: [{ from: "09:00", to: "10:00" }] } });
    const held = await seller.lead(await seller.campaign([closed]));
    await seller.settle();
    await unrefer(seller, held, closed);
    expect(await seller.leadRow(held)).toMatchObject({
      state: "unsold",
      stateReason: { code: "unreferred" },
      dueAt: null,
    });
    const buyer = await seller.partner();
    const campaignId = await seller.campaign([buyer]);
    const waiting = await seller.lead(campaignId);
    await seller.route(campaignId);
    await unrefer(seller, waiting, buyer);
    await seller.settle();
    expect(await statesOf(seller, waiting)).toEqual(["cancelled"]);
    expect(sentTo(buyer)).toBe(0);
    expect(await seller.usage(buyer)).toMatchObject({ totalLeads: 0 });
    expect(await seller.funds(buyer)).toMatchObject({ funds: 0, reserved: 0 });
  });

  test("of one of several leaves the others as they are, whatever they are", async () => {
    const seller = await sellers.open();
    const [sold, doubtful, another] = [await seller.partner(), await seller.partner(), await seller.partner()];
    sellers.partners.answer(doubtful.name, "reset");
    const leadId = await seller.lead(await seller.campaign([sold, doubtful, another], { saleLimit: 3 }));
    for (const time of ["10:00", "10:02", "10:09", "10:45", "13:00"]) {
      seller.setTime(`2026-03-04T${time}:00Z`);
      await seller.settle();
    }
    expect((await statesOf(seller, leadId)).toSorted()).toEqual(["delivered", "delivered", "uncertain"]);
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 2 });
    await unrefer(seller, leadId, another);
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 1, dueAt: null });
    await unrefer(seller, leadId, sold);
    expect(await seller.leadRow(leadId)).toMatchObject({
      state: "unsold",
      stateReason: { code: "delivery_uncertain" },
      soldCount: 0,
    });
  });
});

describe("an erased lead stays erased", () => {
  test("when an uncertain delivery of it is resolved, and is not sent again", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner();
    sellers.partners.answer(buyer.name, "reset");
    const leadId = await seller.lead(await seller.campaign([buyer]));
    for (const time of ["10:00", "10:02", "10:09", "10:45", "13:00"]) {
      seller.setTime(`2026-03-04T${time}:00Z`);
      await seller.settle();
    }
    const change = { organisationId: seller.organisationId, by: "staff", at: seller.context.clock() };
    expect(await eraseLead(seller.context, change, leadId)).toBe("erased");
    expect(await redeliver(seller, leadId)).toEqual({ kind: "delivery_state", state: "erased" });
    const [delivery] = await seller.deliveries(leadId);
    const resolution = { deliveryId: delivery?.id ?? "", outcome: "delivered", reference: null, reason: null } as const;
    await resolveDelivery(...by(seller), resolution, "staff");
    await seller.settle();
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "erased", fields: {} });
    expect(await seller.funds(buyer)).toMatchObject({ reserved: 0, revenue: 1000 });
    await unrefer(seller, leadId, buyer, true);
    await seller.settle();
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "erased", dueAt: null });
    expect(await seller.funds(buyer)).toMatchObject({ funds: 0, revenue: 0 });
  });
});
