import { describe, expect, test } from "@jest/globals";
import { redeliverLead } from "../../src/leads/redeliver-lead.ts";
import { referLead } from "../../src/leads/refer-lead.ts";
import { type Buyer, useSellers } from "../helpers/seller.ts";

/** The schedule is kept: no attempt leaves outside a partner's hours. */

const sellers = useSellers();

const sentTo = ({ name }: Buyer) => sellers.partners.requestsOf(name).length;

/** Office hours in the middle of the week. */
const hours = { wed: [{ from: "09:00", to: "17:00" }], thu: [{ from: "09:00", to: "17:00" }] };

describe("the first attempt", () => {
  test("waits for the opening, to the second, and for closed dates", async () => {
    const seller = await sellers.open({ at: "2026-03-04T08:00:00Z" });
    const buyer = await seller.partner({ schedule: { ...hours, closedDates: ["2026-03-04"] } });
    await seller.lead(await seller.campaign([buyer]));
    for (const instant of ["2026-03-04T08:00:00Z", "2026-03-04T12:00:00Z", "2026-03-05T08:59:59Z"]) {
      seller.setTime(instant);
      await seller.settle();
      expect([instant, sentTo(buyer)]).toEqual([instant, 0]);
    }
    seller.setTime("2026-03-05T09:00:00Z");
    await seller.settle();
    expect(sentTo(buyer)).toBe(1);
  });

  test("that stands in a queue when the partner closes does not leave: the lead is held, or goes to the next", async () => {
    const seller = await sellers.open({ at: "2026-03-04T16:59:59Z" });
    const [waits, passes, other] = [
      await seller.partner({ schedule: hours, whenClosed: "hold" }),
      await seller.partner({ schedule: hours, whenClosed: "next" }),
      await seller.partner(),
    ];
    const held = await seller.campaign([waits, other]);
    const passedOn = await seller.campaign([passes, other]);
    await seller.leads(held, 3);
    await seller.leads(passedOn, 3);
    await Promise.all([seller.route(held), seller.route(passedOn)]);
    seller.setTime("2026-03-04T17:00:00Z");
    await seller.settle();
    expect([sentTo(waits), sentTo(passes), sentTo(other)]).toEqual([0, 0, 3]);
    expect(await seller.leadStates(held)).toEqual({ held: 3 });
    expect(await seller.leadStates(passedOn)).toEqual({ sold: 3 });
    expect(await seller.usage(waits)).toMatchObject({ totalLeads: 0 });
    expect(await seller.funds(passes)).toMatchObject({ reserved: 0 });
  });
});

describe("a retry", () => {
  test("of a lead that the partner surely has not does not wait for it while another can have it", async () => {
    const seller = await sellers.open({ at: "2026-03-04T16:59:30Z" });
    const [buyer, other] = [await seller.partner({ schedule: hours }), await seller.partner()];
    sellers.partners.answer(buyer.name, { status: 503 });
    const leadId = await seller.lead(await seller.campaign([buyer, other]));
    await seller.settle();
    seller.setTime("2026-03-04T17:01:00Z");
    await seller.settle();
    expect([sentTo(buyer), sentTo(other)]).toEqual([1, 1]);
    expect(await seller.deliveries(leadId)).toMatchObject([{ state: "cancelled" }, { state: "delivered" }]);
  });

  test("of a lead that the partner may have waits for the next opening, with its own key", async () => {
    const seller = await sellers.open({ at: "2026-03-04T16:59:30Z" });
    const [buyer, other] = [await seller.partner({ schedule: hours }), await seller.partner()];
    sellers.partners.answer(buyer.name, "reset");
    const leadId = await seller.lead(await seller.campaign([buyer, other]));
    await seller.settle();
    sellers.partners.answer(buyer.name, "accept");
    for (const instant of ["2026-03-04T17:01:00Z", "2026-03-04T23:00:00Z", "2026-03-05T08:59:59Z"]) {
      seller.setTime(instant);
      await seller.settle();
      expect([instant, sentTo(buyer)]).toEqual([instant, 1]);
    }
    seller.setTime("2026-03-05T09:00:00Z");
    await seller.settle();
    const [delivery] = await seller.deliveries(leadId);
    expect(delivery).toMatchObject({ state: "delivered", attemptCount: 2 });
    expect(sellers.partners.requestsOf(buyer.name).map(({ idempotencyKey }) => idempotencyKey)).toEqual([
      delivery?.id,
      delivery?.id,
    ]);
    expect(sentTo(other)).toBe(0);
  });

  test("to a partner that will never open again ends, and staff decide where the lead may have arrived", async () => {
    const seller = await sellers.open({ at: "2026-03-04T16:59:30Z" });
    await seller.setStaffEmail("staff@example.com");
    const buyer = await seller.partner({ schedule: hours });
    sellers.partners.answer(buyer.name, "reset");
    const leadId = await seller.lead(await seller.campaign([buyer]));
    await seller.settle();
    const dates = Array.from({ length: 420 }, (_, day) =>
      new Date(Date.UTC(2026, 2, 4 + day)).toISOString().slice(0, 10),
    );
    await seller.change(buyer, { schedule: { ...hours, closedDates: dates } });
    seller.setTime("2026-03-04T17:01:00Z");
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([{ state: "uncertain", reason: "The partner is closed." }]);
    expect(await seller.leadRow(leadId)).toMatchObject({
      state: "unsold",
      stateReason: { code: "delivery_uncertain" },
    });
    expect(await seller.endpoint(buyer)).toMatchObject({ pausedUntil: null });
  });

  test("by hand keeps the hours as well", async () => {
    const seller = await sellers.open({ at: "2026-03-04T10:00:00Z" });
    const buyer = await seller.partner({ schedule: hours });
    const leadId = await seller.lead(await seller.campaign([buyer]));
    await seller.settle();
    seller.setTime("2026-03-04T20:00:00Z");
    const redelivery = { leadId, deliveryId: null, reason: null };
    const { kind } = await redeliverLead(seller.context, seller.organisationId, redelivery, "staff");
    await seller.settle();
    expect([kind, sentTo(buyer)]).toEqual(["redelivering", 1]);
    seller.setTime("2026-03-05T09:00:00Z");
    await seller.settle();
    expect(sentTo(buyer)).toBe(2);
  });
});

test("staff may send past the hours, and that is recorded", async () => {
  const seller = await sellers.open({ at: "2026-03-04T20:00:00Z" });
  const buyer = await seller.partner({ schedule: hours });
  const leadId = await seller.lead(await seller.campaign([buyer]));
  await seller.settle();
  const refer = async (override: boolean) =>
    referLead(
      seller.context,
      seller.organisationId,
      { leadId, partnerId: buyer.id, override, reason: "asked" },
      "staff",
    );
  expect(await refer(false)).toMatchObject({ kind: "refused", mayOverride: true, reasons: [{ code: "closed" }] });
  expect(await refer(true)).toMatchObject({ kind: "referred", overridden: [{ code: "closed" }] });
  await seller.settle();
  expect(sentTo(buyer)).toBe(1);
  expect(await seller.deliveries(leadId)).toMatchObject([
    { state: "cancelled" },
    { state: "delivered", manual: true, override: true },
  ]);
});

describe("when the clock changes", () => {
  /** Offers a lead at each instant and gives those at which the partner got it at once. */
  async function openAt(schedule: object, instants: readonly string[]) {
    const seller = await sellers.open({ at: instants[0] ?? "" });
    const buyer = await seller.partner({ timeZone: "Europe/London", schedule });
    const campaignId = await seller.campaign([buyer], { holdHours: 0 });
    const open: string[] = [];
    for (const instant of instants) {
      seller.setTime(instant);
      const before = sentTo(buyer);
      await seller.lead(campaignId);
      await seller.settle();
      if (sentTo(buyer) > before) open.push(instant);
    }
    return open;
  }

  test("a window over the hour that comes twice is open the first time and the second", async () => {
    const open = await openAt({ sun: [{ from: "01:00", to: "02:00" }] }, [
      "2026-10-24T23:59:59Z",
      "2026-10-25T00:00:00Z",
      "2026-10-25T00:59:59Z",
      "2026-10-25T01:30:00Z",
      "2026-10-25T02:00:00Z",
    ]);
    expect(open).toEqual(["2026-10-25T00:00:00Z", "2026-10-25T00:59:59Z", "2026-10-25T01:30:00Z"]);
  });

  test("a window that ends in the hour that comes twice ends the second time", async () => {
    const instants = ["2026-10-25T00:30:00Z", "2026-10-25T01:29:59Z", "2026-10-25T01:30:00Z"];
    expect(await openAt({ sun: [{ from: "00:30", to: "01:30" }] }, instants)).toEqual(instants.slice(0, 2));
  });

  test("a start in the hour that is skipped moves forward by it", async () => {
    const open = await openAt({ sun: [{ from: "01:30", to: "03:00" }] }, [
      "2026-03-29T00:59:59Z",
      "2026-03-29T01:00:00Z",
      "2026-03-29T01:29:59Z",
      "2026-03-29T01:30:00Z",
      "2026-03-29T01:59:59Z",
      "2026-03-29T02:00:00Z",
    ]);
    expect(open).toEqual(["2026-03-29T01:30:00Z", "2026-03-29T01:59:59Z"]);
  });

  test("a held lead leaves at the opening by the new clock", async () => {
    const seller = await sellers.open({ at: "2026-03-28T20:00:00Z" });
    const buyer = await seller.partner({ schedule: { sun: [{ from: "09:00", to: "17:00" }] } });
    const leadId = await seller.lead(await seller.campaign([buyer]));
    await seller.settle();
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "held", dueAt: new Date("2026-03-29T08:00:00Z") });
  });
});
