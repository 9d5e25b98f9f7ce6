import { describe, expect, test } from "@jest/globals";
import { recordPayment } from "../../src/ledger/record-payment.ts";
import { limitsSchema } from "../../src/partners/limit-windows.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";

/** Blocked is not lost: who is waited for, in which order held leads are released, and how a hold ends. */

const sellers = useSellers();

const requestsOf = ({ name }: Buyer) => sellers.partners.requestsOf(name);
const sentTo = (buyer: Buyer) => requestsOf(buyer).length;

/** Wednesday from nine; the tests begin at eight. */
const opensAtNine = { wed: [{ from: "09:00", to: "17:00" }] };
const beforeNine = { at: "2026-03-04T08:00:00Z" };
const nine = (seconds: number) => new Date(Date.parse("2026-03-04T09:00:00Z") + seconds * 1000);

const heldDeliveries = async (seller: Seller, buyer: Buyer) =>
  seller.inOrganisation(async (transaction) =>
    transaction
      .selectFrom("deliveries")
      .selectAll()
      .where("partnerId", "=", buyer.id)
      .where("state", "=", "held")
      .orderBy("leadId")
      .execute(),
  );

/** Moves the clock on second by second and settles what is due at each. */
async function pass(seller: Seller, from: Date, seconds: number): Promise<void> {
  for (let second = 0; second <= seconds; second += 1) {
    seller.setTime(new Date(from.getTime() + second * 1000).toISOString());
    await seller.settle();
  }
}

describe("held leads", () => {
  test("are released in order of arrival, spread out by the partner's setting", async () => {
    const seller = await sellers.open(beforeNine);
    const buyer = await seller.partner({ schedule: opensAtNine, spreadSeconds: 3 });
    const campaignId = await seller.campaign([buyer]);
    const leadIds: string[] = [];
    for (let lead = 0; lead < 4; lead += 1) leadIds.push(await seller.lead(campaignId));
    await seller.settle();
    leadIds.push(await seller.lead(campaignId));
    await seller.settle();
    const held = await heldDeliveries(seller, buyer);
    expect(held.map(({ leadId, dueAt }) => [leadId, dueAt])).toEqual(leadIds.map((id, index) => [id, nine(index * 3)]));
    expect(held.every(({ holdUntil }) => holdUntil?.getTime() === nine(0).getTime())).toBe(true);
    expect(await seller.usage(buyer)).toMatchObject({ totalLeads: 0 });
    await pass(seller, nine(-1), 4);
    expect(requestsOf(buyer).map(({ body }) => body.id)).toEqual(leadIds.slice(0, 2));
    await pass(seller, nine(4), 10);
    expect(requestsOf(buyer).map(({ body }) => body.id)).toEqual(leadIds);
  });

  test("get distinct slots in order, a thousand of them, taken in and decided by two processes", async () => {
    const seller = await sellers.open(beforeNine);
    const twin = await sellers.openTwin(seller);
    const buyer = await seller.partner({ schedule: opensAtNine, spreadSeconds: 2 });
    const campaignId = await seller.campaign([buyer]);
    const [one, other] = await Promise.all([seller.leads(campaignId, 500), twin.leads(campaignId, 500)]);
    await Promise.all([seller.route(campaignId), twin.route(campaignId)]);
    await seller.settle();
    const held = await heldDeliveries(seller, buyer);
    const slots = held.map(({ dueAt }) => dueAt?.getTime() ?? 0).toSorted((a, b) => a - b);
    expect(slots).toEqual(Array.from({ length: 1000 }, (_, index) => nine(index * 2).getTime()));
    const inOrder = held.toSorted((a, b) => (a.dueAt?.getTime() ?? 0) - (b.dueAt?.getTime() ?? 0));
    // Two routers may each have a batch in hand: beyond that, order of arrival.
    const arrival = new Map([...one, ...other].toSorted().map((id, index) => [id, index]));
    const moved = inOrder.map(({ leadId }, index) => Math.abs((arrival.get(leadId) ?? 0) - index));
    expect(Math.max(...moved)).toBeLessThanOrEqual(100);
  });

  test("of a partner without spreading are all released at the opening", async () => {
    const seller = await sellers.open(beforeNine);
    const buyer = await seller.partner({ schedule: opensAtNine, spreadSeconds: 0 });
    const campaignId = await seller.campaign([buyer]);
    const leadIds = await seller.leads(campaignId, 20);
    await seller.settle();
    seller.setTime(nine(0).toISOString());
    await seller.settle();
    expect(
      requestsOf(buyer)
        .map(({ body }) => body.id)
        .toSorted(),
    ).toEqual(leadIds);
  });

  test("whose place is already there keep it when the lead is looked at for another reason", async () => {
    const seller = await sellers.open(beforeNine);
    const [buyer, other] = [
      await seller.partner({ schedule: opensAtNine, spreadSeconds: 5, whenClosed: "hold" }),
      await seller.partner(),
    ];
    const campaignId = await seller.campaign([buyer, other], { saleLimit: 2 });
    const [first, second] = [await seller.lead(campaignId), await seller.lead(campaignId)];
    await seller.settle();
    expect((await seller.leadRow(first)).soldCount).toBe(1);
    const slots = (await heldDeliveries(seller, buyer)).map(({ leadId, dueAt }) => [leadId, dueAt]);
    expect(slots).toEqual([
      [first, nine(0)],
      [second, nine(5)],
    ]);
  });
});

test("looking at held leads before their time changes no slot, and lets nobody in between", async () => {
  const seller = await sellers.open(beforeNine);
  const buyer = await seller.partner({ schedule: opensAtNine, spreadSeconds: 5 });
  const campaignId = await seller.campaign([buyer]);
  const leadIds = [...(await seller.leads(campaignId, 4))];
  await seller.settle();
  for (const instant of ["2026-03-04T08:10:00Z", "2026-03-04T08:20:00Z"]) {
    seller.setTime(instant);
    await seller.change(buyer, { limits: limitsSchema.parse({ day: instant.includes("10") ? 10 : 20 }) });
    await pass(seller, new Date(instant), 7);
    leadIds.push(await seller.lead(campaignId));
    await pass(seller, new Date(Date.parse(instant) + 8_000), 30);
  }
  const held = await heldDeliveries(seller, buyer);
  expect(held.map(({ leadId, dueAt }) => [leadId, dueAt])).toEqual(leadIds.map((id, index) => [id, nine(index * 5)]));
});

describe("at release every check runs again", () => {
  async function holdTwo(document: Record<string, unknown> = {}) {
    const seller = await sellers.open(beforeNine);
    const [buyer, other] = [
      await seller.partner({ schedule: opensAtNine, whenClosed: "hold", ...document }),
      await seller.partner(),
    ];
    const campaignId = await seller.campaign([buyer, other]);
    const leadIds = [await seller.lead(campaignId), await seller.lead(campaignId)];
    await seller.settle();
    expect(await seller.leadStates(campaignId)).toEqual({ held: 2 });
    return { seller, buyer, other, campaignId, leadIds };
  }

  test("a limit that was reached meanwhile", async () => {
    const { seller, buyer, other, campaignId } = await holdTwo({ limits: { day: 1 } });
    await pass(seller, nine(0), 6);
    expect([sentTo(buyer), sentTo(other)]).toEqual([1, 1]);
    expect(await seller.leadStates(campaignId)).toEqual({ sold: 2 });
  });

  test("a limit that was reached meanwhile: held on where the partner wants to be waited for", async () => {
    const { seller, buyer, other, campaignId } = await holdTwo({ limits: { day: 1 }, whenCapped: "hold" });
    await pass(seller, nine(0), 6);
    expect([sentTo(buyer), sentTo(other)]).toEqual([1, 0]);
    expect(await seller.leadStates(campaignId)).toEqual({ sold: 1, held: 1 });
    const [held] = await heldDeliveries(seller, buyer);
    // Tomorrow's limit is free at midnight, but the partner is open on Wednesdays only.
    expect(held?.holdReason?.reason).toMatchObject({ code: "limit_reached", window: "day" });
  });

  test("a filter that was changed", async () => {
    const { seller, buyer, other, campaignId } = await holdTwo();
    const filter = { field: "postcode", op: "startsWith", value: "SW" } as const;
    const row = { priority: 1, weight: 1, price: 1000, billing: null, filter: null, limits: null };
    const partners = [
      { ...row, partnerId: buyer.id, priority: 0, filter },
      { ...row, partnerId: other.id },
    ];
    await seller.changeCampaign(campaignId, { routing: [{ method: "priority", saleLimit: 0, partners }] });
    await pass(seller, nine(0), 6);
    expect([sentTo(buyer), sentTo(other)]).toEqual([0, 2]);
  });

  test("a partner that was switched off: the leads go elsewhere at once", async () => {
    const { seller, buyer, other } = await holdTwo();
    await seller.change(buyer, { active: false });
    await pass(seller, new Date("2026-03-04T08:00:00Z"), 6);
    expect([sentTo(buyer), sentTo(other)]).toEqual([0, 2]);
  });

  test("a partner that was switched off, and there is no other: unsold, with the reason", async () => {
    const seller = await sellers.open(beforeNine);
    const buyer = await seller.partner({ schedule: opensAtNine });
    const leadId = await seller.lead(await seller.campaign([buyer]));
    await seller.settle();
    await seller.change(buyer, { active: false });
    await seller.settle();
    expect(await seller.leadRow(leadId)).toMatchObject({
      state: "unsold",
      stateReason: { code: "no_partner_eligible" },
      dueAt: null,
    });
    expect(await seller.deliveries(leadId)).toMatchObject([{ state: "cancelled" }]);
  });

  test("hours that were brought forward let them go before their time, in order and spread out", async () => {
    const { seller, buyer, leadIds } = await holdTwo();
    seller.setTime("2026-03-04T08:10:00Z");
    await seller.change(buyer, { schedule: null });
    await pass(seller, new Date("2026-03-04T08:10:00Z"), 4);
    expect(requestsOf(buyer).map(({ body }) => body.id)).toEqual(leadIds.slice(0, 1));
    await pass(seller, new Date("2026-03-04T08:10:05Z"), 1);
    expect(requestsOf(buyer).map(({ body }) => body.id)).toEqual(leadIds);
  });

  test("a limit that was raised lets them go, up to the new limit", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ limits: { day: 1 }, spreadSeconds: 0 });
    const campaignId = await seller.campaign([buyer]);
    await seller.leads(campaignId, 5);
    await seller.settle();
    expect(sentTo(buyer)).toBe(1);
    await seller.change(buyer, { limits: limitsSchema.parse({ day: 3 }) });
    await seller.settle();
    expect(sentTo(buyer)).toBe(3);
    expect(await seller.leadStates(campaignId)).toEqual({ sold: 3, held: 2 });
    const held = await heldDeliveries(seller, buyer);
    expect(held.every(({ holdUntil }) => holdUntil?.toISOString() === "2026-03-05T00:00:00.000Z")).toBe(true);
  });

  test("a payment lets them go, as far as it reaches", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ creditLimit: 0, spreadSeconds: 0, whenUnfunded: "hold" });
    const campaignId = await seller.campaign([buyer]);
    await seller.leads(campaignId, 3);
    await seller.settle();
    expect(await seller.leadStates(campaignId)).toEqual({ held: 3 });
    const change = { organisationId: seller.organisationId, by: "staff", at: seller.context.clock() };
    const payment = {
      partnerId: buyer.id,
      kind: "payment",
      amountMinor: 2500,
      reason: "",
      idempotencyKey: null,
    } as const;
    await recordPayment(seller.context, change, payment);
    await seller.settle();
    expect(await seller.leadStates(campaignId)).toEqual({ sold: 2, held: 1 });
    expect(await seller.funds(buyer)).toMatchObject({ funds: 500, reserved: 0, revenue: 2000 });
  });
});

describe("who is waited for", () => {
  const settings = [
    ["whenClosed", { schedule: opensAtNine }],
    ["whenCapped", { limits: { total: 0, day: 1 } }],
    ["whenUnfunded", { creditLimit: 0 }],
  ] as const;

  test.each(settings)("%s: the partner's setting, else the campaign's", async (name, blocked) => {
    const outcomes: string[] = [];
    for (const [own, campaigns] of [
      ["hold", "next"],
      ["next", "hold"],
      [null, "hold"],
      [null, "next"],
    ] as const) {
      const seller = await sellers.open(beforeNine);
      const [buyer, other] = [await seller.partner({ ...blocked, [name]: own }), await seller.partner()];
      const campaignId = await seller.campaign([buyer, other], { [name]: campaigns });
      if (name === "whenCapped") {
        await seller.lead(campaignId);
        await seller.settle();
      }
      const leadId = await seller.lead(campaignId);
      await seller.settle();
      const { state } = await seller.leadRow(leadId);
      outcomes.push(state === "held" ? "hold" : sentTo(other) === 1 ? "next" : state);
    }
    expect(outcomes).toEqual(["hold", "next", "hold", "next"]);
  });

  test("when nobody can take it now, the one who can take it first", async () => {
    const seller = await sellers.open(beforeNine);
    const later = await seller.partner({ schedule: { wed: [{ from: "12:00", to: "17:00" }] } });
    const sooner = await seller.partner({ schedule: opensAtNine });
    const leadId = await seller.lead(await seller.campaign([later, sooner]));
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([{ state: "held", partnerId: sooner.id }]);
  });
});

test("a lead that became exclusive while it was under way leaves no hold behind when it is sold", async () => {
  const seller = await sellers.open(beforeNine);
  const [waits, buyer] = [await seller.partner({ schedule: opensAtNine, whenClosed: "hold" }), await seller.partner()];
  const campaignId = await seller.campaign([waits, buyer], { saleLimit: 2 });
  const leadId = await seller.lead(campaignId);
  await seller.route(campaignId);
  expect((await seller.deliveries(leadId)).map(({ state }) => state).toSorted()).toEqual(["held", "sending"]);
  await seller.changeCampaign(campaignId, { saleLimit: 1 });
  await seller.settle();
  expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 1, dueAt: null });
  expect((await seller.deliveries(leadId)).map(({ state }) => state).toSorted()).toEqual(["cancelled", "delivered"]);
});

describe("a hold ends", () => {
  test("when the campaign says, and the lead is unsold with the reason", async () => {
    const seller = await sellers.open({ at: "2026-03-04T18:00:00Z" });
    const buyer = await seller.partner({ schedule: opensAtNine });
    const leadId = await seller.lead(await seller.campaign([buyer], { holdHours: 24 }));
    await seller.settle();
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "held", dueAt: new Date("2026-03-05T18:00:00Z") });
    seller.setTime("2026-03-05T17:59:59Z");
    await seller.settle();
    expect((await seller.leadRow(leadId)).state).toBe("held");
    seller.setTime("2026-03-05T18:00:00Z");
    await seller.settle();
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "unsold", stateReason: { code: "hold_expired" } });
    expect(await seller.deliveries(leadId)).toMatchObject([{ state: "cancelled", reservedAt: null }]);
    const last = (await seller.decisions(leadId)).at(-1);
    expect(last?.explanation).toMatchObject([{ result: "blocked", reasons: [{ code: "closed" }] }]);
    expect(sentTo(buyer)).toBe(0);
  });

  test("and another who can take the lead then gets it", async () => {
    const seller = await sellers.open({ at: "2026-03-04T18:00:00Z" });
    const buyer = await seller.partner({ schedule: opensAtNine, whenClosed: "hold" });
    const other = await seller.partner();
    const leadId = await seller.lead(await seller.campaign([buyer, other], { holdHours: 24 }));
    await seller.settle();
    expect((await seller.leadRow(leadId)).state).toBe("held");
    seller.setTime("2026-03-05T18:00:00Z");
    await seller.settle();
    expect((await seller.leadRow(leadId)).state).toBe("sold");
    expect(sentTo(other)).toBe(1);
  });

  test("at once where the campaign holds nothing", async () => {
    const seller = await sellers.open(beforeNine);
    const buyer = await seller.partner({ schedule: opensAtNine, whenClosed: "hold" });
    const leadId = await seller.lead(await seller.campaign([buyer], { holdHours: 0 }));
    await seller.settle();
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "unsold", stateReason: { code: "hold_expired" } });
  });
});
