import { describe, expect, test } from "@jest/globals";
import { drainDueDeliveries } from "../../src/delivery/drain-partner.ts";
import { resolveDelivery } from "../../src/leads/resolve-delivery.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";

/** What a partner's trouble means for its leads: retries, pauses and probes, and leads that may or may not have arrived. */

const sellers = useSellers();

const requestsOf = ({ name }: Buyer) => sellers.partners.requestsOf(name);
const sentTo = (buyer: Buyer) => requestsOf(buyer).length;
const at = (minutes: number) => new Date(Date.parse("2026-03-04T10:00:00Z") + minutes * 60_000).toISOString();
/** Each is past the retry that is planned next, however early or late that was made. */
const retryTimes = [2, 9, 45, 185].map(at);

const alertsOf = async (seller: Seller) =>
  seller.inOrganisation(async (transaction) =>
    transaction
      .selectFrom("alerts")
      .select(["kind", "channel", "recipient", "state", "detail"])
      .orderBy("id")
      .execute(),
  );

async function tryUntilGivenUp(seller: Seller): Promise<void> {
  await seller.settle();
  for (const time of retryTimes) {
    seller.setTime(time);
    await seller.settle();
  }
}

describe("a retry", () => {
  test("waits as long as the partner asks for, up to an hour", async () => {
    const seller = await sellers.open();
    const [patient, greedy] = [await seller.partner(), await seller.partner()];
    sellers.partners.answer(patient.name, { status: 429, headers: { "retry-after": "1200" } });
    sellers.partners.answer(greedy.name, { status: 503, headers: { "retry-after": "86400" } });
    const leadIds = [
      await seller.lead(await seller.campaign([patient])),
      await seller.lead(await seller.campaign([greedy])),
    ];
    await seller.settle();
    const dueAt = await Promise.all(leadIds.map(async (id) => (await seller.deliveries(id))[0]?.dueAt?.toISOString()));
    expect(dueAt).toEqual(["2026-03-04T10:20:00.000Z", "2026-03-04T11:00:00.000Z"]);
    seller.setTime("2026-03-04T10:19:59Z");
    await seller.settle();
    expect(sentTo(patient)).toBe(1);
    seller.setTime("2026-03-04T10:20:00Z");
    await seller.settle();
    expect(sentTo(patient)).toBe(2);
  });

  test("that helps ends in a sale, every attempt kept", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner();
    sellers.partners.answer(buyer.name, { status: 500 });
    const leadId = await seller.lead(await seller.campaign([buyer]));
    await seller.settle();
    sellers.partners.answer(buyer.name, "accept");
    seller.setTime(at(2));
    await seller.settle();
    const [delivery] = await seller.deliveries(leadId);
    expect(delivery).toMatchObject({ state: "delivered", attemptCount: 2 });
    expect(await seller.attempts(delivery?.id ?? "")).toMatchObject([
      { number: 1, outcome: "retry", status: 500 },
      { number: 2, outcome: "accepted", status: 200 },
    ]);
  });

  test("that never helps and surely never arrived: after five the lead goes to the next, place and money go back", async () => {
    const seller = await sellers.open();
    const [buyer, other] = [await seller.partner(), await seller.partner()];
    sellers.partners.answer(buyer.name, { status: 503 });
    const leadId = await seller.lead(await seller.campaign([buyer, other]));
    await tryUntilGivenUp(seller);
    expect(await seller.deliveries(leadId)).toMatchObject([
      { state: "failed", partnerId: buyer.id, attemptCount: 5, reservedAt: null },
      { state: "delivered", partnerId: other.id },
    ]);
    expect(await seller.usage(buyer)).toMatchObject({ totalLeads: 0 });
    expect(await seller.funds(buyer)).toMatchObject({ funds: 0, reserved: 0, revenue: 0 });
  });
});

describe("a lead that may or may not have arrived", () => {
  async function makeUncertain(answer: "hang" | "reset", document: Record<string, unknown> = {}) {
    const seller = await sellers.open();
    await seller.setStaffEmail("staff@example.com");
    const buyer = await seller.partner({}, { timeoutMs: 1_000 });
    const other = await seller.partner();
    sellers.partners.answer(buyer.name, answer);
    const leadId = await seller.lead(await seller.campaign([buyer, other], document));
    await seller.settle();
    // Once is enough of hanging.
    sellers.partners.answer(buyer.name, "reset");
    await tryUntilGivenUp(seller);
    const [delivery] = await seller.deliveries(leadId);
    return { seller, buyer, other, leadId, deliveryId: delivery?.id ?? "" };
  }

  test.each(["hang", "reset"] as const)(
    "(%s) is not sold to the next: staff decide, and are told",
    async (answer) => {
      const { seller, buyer, other, leadId } = await makeUncertain(answer);
      expect(sentTo(buyer)).toBe(5);
      expect(await seller.deliveries(leadId)).toMatchObject([{ state: "uncertain", partnerId: buyer.id }]);
      expect(await seller.leadRow(leadId)).toMatchObject({
        state: "unsold",
        stateReason: { code: "delivery_uncertain" },
      });
      expect(sentTo(other)).toBe(0);
      // What may be sold stays reserved.
      expect(await seller.funds(buyer)).toMatchObject({ reserved: 1000, revenue: 0 });
      expect(await alertsOf(seller)).toMatchObject([{ kind: "delivery_uncertain", recipient: "staff@example.com" }]);
    },
    20_000,
  );

  test("is sold where staff find that the partner has it", async () => {
    const { seller, buyer, other, leadId, deliveryId } = await makeUncertain("reset");
    const resolution = { deliveryId, outcome: "delivered", reference: "R7", reason: "they phoned" } as const;
    const resolve = async () => resolveDelivery(seller.context, seller.organisationId, resolution, "staff");
    expect((await resolve()).kind).toBe("resolved");
    await seller.settle();
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 1 });
    expect(await seller.deliveries(leadId)).toMatchObject([{ state: "delivered", reference: "R7" }]);
    expect(await seller.funds(buyer)).toMatchObject({ reserved: 0, revenue: 1000 });
    expect(sentTo(other)).toBe(0);
    expect(await resolve()).toEqual({ kind: "delivery_state", state: "delivered" });
  });

  test("goes on where staff find that the partner has it not, and place and money go back", async () => {
    const { seller, buyer, other, leadId, deliveryId } = await makeUncertain("reset");
    const resolution = { deliveryId, outcome: "not_delivered", reference: null, reason: null } as const;
    await resolveDelivery(seller.context, seller.organisationId, resolution, "staff");
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([
      { state: "failed" },
      { state: "delivered", partnerId: other.id },
    ]);
    expect(await seller.funds(buyer)).toMatchObject({ funds: 0, reserved: 0, revenue: 0 });
    expect(await seller.usage(buyer)).toMatchObject({ totalLeads: 0 });
  });

  test("goes on by itself where the campaign says next", async () => {
    const { seller, other, leadId } = await makeUncertain("reset", { whenUncertain: "next" });
    expect(await seller.deliveries(leadId)).toMatchObject([
      { state: "uncertain" },
      { state: "delivered", partnerId: other.id },
    ]);
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 1 });
  });

  test("of a shared kind does not keep other partners from their share", async () => {
    const { seller, leadId } = await makeUncertain("reset", { saleLimit: 3 });
    expect((await seller.deliveries(leadId)).map(({ state }) => state).toSorted()).toEqual(["delivered", "uncertain"]);
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 1 });
  });
});

describe("a broken endpoint", () => {
  test.each([401, 404, 302])("(%d) is paused, staff are told once, and the lead goes on at once", async (status) => {
    const seller = await sellers.open();
    await seller.setStaffEmail("staff@example.com");
    const [buyer, other] = [await seller.partner(), await seller.partner()];
    sellers.partners.answer(buyer.name, { status, headers: status === 302 ? { location: "/elsewhere" } : {} });
    const leadId = await seller.lead(await seller.campaign([buyer, other]));
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([
      { state: "failed", partnerId: buyer.id, attemptCount: 1 },
      { state: "delivered", partnerId: other.id },
    ]);
    expect(await seller.endpoint(buyer)).toMatchObject({ pausedUntil: new Date(at(5)), pauseCount: 1 });
    expect(await alertsOf(seller)).toMatchObject([
      { kind: "endpoint_paused", channel: "email", recipient: "staff@example.com", state: "due" },
    ]);
    expect(await seller.funds(buyer)).toMatchObject({ reserved: 0 });
    expect(await seller.usage(buyer)).toMatchObject({ totalLeads: 0 });
  });

  test("that fails many at once is paused once, and briefly", async () => {
    const seller = await sellers.open();
    await seller.setStaffEmail("staff@example.com");
    const [buyer, other] = [await seller.partner({ concurrency: 10 }), await seller.partner()];
    sellers.partners.answer(buyer.name, { status: 404 });
    const campaignId = await seller.campaign([buyer, other]);
    await seller.leads(campaignId, 30);
    await seller.settle();
    expect(sentTo(buyer)).toBe(10);
    expect(sentTo(other)).toBe(30);
    expect(await seller.endpoint(buyer)).toMatchObject({ pausedUntil: new Date(at(5)), pauseCount: 1 });
    expect(await alertsOf(seller)).toHaveLength(1);
  });

  test("eight failures in the last ten attempts pause it too", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ concurrency: 1 });
    sellers.partners.answer(buyer.name, { status: 503 });
    const campaignId = await seller.campaign([buyer]);
    await seller.leads(campaignId, 12);
    await seller.settle();
    expect(sentTo(buyer)).toBe(8);
    expect(await seller.endpoint(buyer)).toMatchObject({ recent: "--------", pauseCount: 1 });
    expect((await seller.endpoint(buyer)).pausedUntil?.toISOString()).toBe(new Date(at(5)).toISOString());
  });
});

describe("a paused endpoint", () => {
  async function pause(document: Record<string, unknown> = {}) {
    const seller = await sellers.open();
    const buyer = await seller.partner({ concurrency: 1, spreadSeconds: 0, ...document });
    const other = await seller.partner();
    sellers.partners.answer(buyer.name, { status: 404 });
    await seller.lead(await seller.campaign([buyer]));
    await seller.settle();
    expect(sentTo(buyer)).toBe(1);
    return { seller, buyer, other };
  }

  test("is passed over while others can take the lead, even where it wants to be waited for", async () => {
    const { seller, buyer, other } = await pause({ whenClosed: "hold", whenCapped: "hold", whenUnfunded: "hold" });
    const leadId = await seller.lead(await seller.campaign([buyer, other]));
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([{ state: "delivered", partnerId: other.id }]);
  });

  test("is waited for where there is nobody else, probed with one lead, and resumes by itself", async () => {
    const { seller, buyer } = await pause({ concurrency: 10 });
    const campaignId = await seller.campaign([buyer]);
    await seller.leads(campaignId, 6);
    await seller.settle();
    expect(await seller.leadStates(campaignId)).toEqual({ held: 6 });
    seller.setTime(at(5));
    await seller.settle();
    // The probe alone went out, and failed: its lead is refused by the endpoint, the others wait on.
    expect(sentTo(buyer)).toBe(2);
    expect(await seller.endpoint(buyer)).toMatchObject({ pauseCount: 2, pausedUntil: new Date(at(15)) });
    expect(await seller.leadStates(campaignId)).toEqual({ held: 5, unsold: 1 });
    sellers.partners.answer(buyer.name, "accept");
    seller.setTime(at(15));
    await seller.settle();
    expect(await seller.leadStates(campaignId)).toEqual({ sold: 5, unsold: 1 });
    expect(await seller.endpoint(buyer)).toMatchObject({ pauseCount: 0, pausedUntil: null });
  });

  test("gives back the leads that wait for their first attempt", async () => {
    const seller = await sellers.open();
    const [buyer, other] = [await seller.partner({ concurrency: 1 }), await seller.partner()];
    sellers.partners.answer(buyer.name, { status: 404 });
    const campaignId = await seller.campaign([buyer, other]);
    await seller.leads(campaignId, 20);
    await seller.settle();
    expect([sentTo(buyer), sentTo(other)]).toEqual([1, 20]);
    expect(await seller.leadStates(campaignId)).toEqual({ sold: 20 });
    expect(await seller.usage(buyer)).toMatchObject({ totalLeads: 0, dayLeads: 0 });
    expect(await seller.funds(buyer)).toMatchObject({ funds: 0, reserved: 0 });
  });

  test("that stays down: leads that may have arrived end with their hold, they do not wait for ever", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ concurrency: 1 });
    const campaignId = await seller.campaign([buyer], { holdHours: 2 });
    sellers.partners.answer(buyer.name, "reset");
    const leadIds = await seller.leads(campaignId, 8);
    await seller.settle();
    expect(await seller.endpoint(buyer)).toMatchObject({ pauseCount: 1 });
    const states = async () => (await Promise.all(leadIds.map(seller.deliveries))).map((rows) => rows[0]?.state);
    // Each pause ends with a probe, which is one of them.
    for (const minutes of [5, 15, 35, 75]) {
      seller.setTime(at(minutes));
      await seller.settle();
    }
    expect(new Set(await states())).toEqual(new Set(["sending"]));
    seller.setTime(at(140));
    await seller.settle();
    // One more probe, and all but that one are over.
    expect((await states()).toSorted()).toEqual(["sending", ...Array(7).fill("uncertain")]);
    // That one goes on probing until its attempts are used up.
    for (const minutes of [300, 500, 700, 900]) {
      seller.setTime(at(minutes));
      await seller.settle();
    }
    expect(await states()).toEqual(Array(8).fill("uncertain"));
  });
});

describe("a partner's rate", () => {
  test("is kept between drains, whatever wakes them", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ ratePerMinute: 4 });
    const campaignId = await seller.campaign([buyer]);
    for (let second = 0; second < 60; second += 5) {
      seller.setTime(new Date(Date.parse("2026-03-04T10:00:00Z") + second * 1000).toISOString());
      await seller.lead(campaignId);
      await seller.route(campaignId);
      await drainDueDeliveries(seller.context, seller.organisationId, buyer.id);
    }
    expect(sentTo(buyer)).toBe(4);
  });
});
