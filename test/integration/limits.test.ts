import { describe, expect, test } from "@jest/globals";
import { limitsSchema } from "../../src/partners/limit-windows.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";
import { until } from "../helpers/until.ts";

/** Caps on the whole way: on real rows, under real locks, over midnight and months. */

const sellers = useSellers();

const sentTo = ({ name }: Buyer) => sellers.partners.requestsOf(name).length;
const limits = (change: object) => limitsSchema.parse(change);

/** Offers leads at these instants, so many at each, and gives how many the partner has got after each. */
async function offer(seller: Seller, campaignId: string, buyer: Buyer, instants: readonly string[], each: number) {
  const counts: number[] = [];
  for (const instant of instants) {
    seller.setTime(instant);
    for (let lead = 0; lead < each; lead += 1) await seller.lead(campaignId);
    await seller.settle();
    counts.push(sentTo(buyer));
  }
  return counts;
}

describe("caps are exact", () => {
  test.each([
    ["hour", ["2026-03-04T10:00:00Z", "2026-03-04T10:59:59Z", "2026-03-04T11:00:00Z"], [2, 2, 4]],
    ["day", ["2026-03-04T00:00:00Z", "2026-03-04T23:59:59Z", "2026-03-05T00:00:00Z"], [2, 2, 4]],
    // A Wednesday, the Sunday after it, the Monday after that.
    ["week", ["2026-03-04T10:00:00Z", "2026-03-08T23:59:59Z", "2026-03-09T00:00:00Z"], [2, 2, 4]],
    ["month", ["2026-03-01T00:00:00Z", "2026-03-31T22:59:59Z", "2026-03-31T23:00:00Z"], [2, 2, 4]],
    ["total", ["2026-03-04T10:00:00Z", "2026-06-04T10:00:00Z", "2027-03-04T10:00:00Z"], [2, 2, 2]],
  ] as const)("a limit per %s counts in its window on the partner's calendar", async (window, instants, counts) => {
    const seller = await sellers.open();
    // London's clocks changed on 29 March: its month ends an hour before UTC's.
    const timeZone = window === "month" ? "Europe/London" : "Etc/UTC";
    const buyer = await seller.partner({ timeZone, limits: { [window]: 2 } });
    const campaignId = await seller.campaign([buyer], { holdHours: 0 });
    expect(await offer(seller, campaignId, buyer, instants, 3)).toEqual(counts);
  });

  test("the window is the partner's own, whatever the campaign's zone", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ timeZone: "America/New_York", limits: { day: 1 } });
    const campaignId = await seller.campaign([buyer], { holdHours: 0 });
    const instants = ["2026-03-04T04:59:59Z", "2026-03-04T05:00:00Z", "2026-03-05T04:59:59Z"];
    expect(await offer(seller, campaignId, buyer, instants, 2)).toEqual([1, 2, 2]);
  });

  test.each(["spendDay", "spendWeek", "spendMonth"] as const)(
    "%s: no lead that would exceed the money",
    async (limit) => {
      const seller = await sellers.open();
      const buyer = await seller.partner({ limits: { [limit]: 2500 } });
      const campaignId = await seller.campaign([buyer], { holdHours: 0 });
      await seller.leads(campaignId, 4);
      await seller.settle();
      expect(sentTo(buyer)).toBe(2);
      expect(await seller.usage(buyer)).toMatchObject({
        daySpendMinor: 2000,
        weekSpendMinor: 2000,
        monthSpendMinor: 2000,
      });
    },
  );

  test("partner-wide and per campaign: all bind", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ limits: { day: 3 } });
    const row = { partnerId: buyer.id, price: 1000, limits: { day: 2 } };
    const routing = [{ method: "priority", partners: [row] }];
    const [one, other] = [await seller.campaign([], { routing }), await seller.campaign([], { routing })];
    await seller.leads(one, 4);
    await seller.settle();
    expect(sentTo(buyer)).toBe(2);
    await seller.leads(other, 4);
    await seller.settle();
    expect(sentTo(buyer)).toBe(3);
    expect(await seller.usage(buyer, one)).toMatchObject({ dayLeads: 2 });
    expect(await seller.usage(buyer, other)).toMatchObject({ dayLeads: 1 });
    expect(await seller.usage(buyer)).toMatchObject({ dayLeads: 3 });
  });

  test("0 disables a limit", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ limits: { hour: 0, day: 0, month: 0, total: 0, spendDay: 0 } });
    await seller.leads(await seller.campaign([buyer]), 30);
    await seller.settle();
    expect(sentTo(buyer)).toBe(30);
  });

  test("a changed limit counts what was already used, and a zero that becomes a limit too", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner();
    const campaignId = await seller.campaign([buyer], { holdHours: 0 });
    const offerFive = async () => {
      await seller.leads(campaignId, 5);
      await seller.settle();
      return sentTo(buyer);
    };
    expect(await offerFive()).toBe(5);
    await seller.change(buyer, { limits: limits({ day: 7 }) });
    expect(await offerFive()).toBe(7);
    await seller.change(buyer, { limits: limits({ day: 3 }) });
    expect(await offerFive()).toBe(7);
    await seller.change(buyer, { limits: limits({ day: 8 }) });
    expect(await offerFive()).toBe(8);
  });

  test("another time zone counts what was used in the windows of the new zone", async () => {
    const seller = await sellers.open({ at: "2026-03-04T23:30:00Z" });
    const buyer = await seller.partner({ timeZone: "Etc/UTC", limits: { day: 3 } });
    const campaignId = await seller.campaign([buyer], { holdHours: 0 });
    await seller.leads(campaignId, 2);
    await seller.settle();
    seller.setTime("2026-03-05T00:30:00Z");
    // In New York it is still the day on which the two were sold.
    await seller.change(buyer, { timeZone: "America/New_York" });
    await seller.leads(campaignId, 2);
    await seller.settle();
    expect(sentTo(buyer)).toBe(3);
  });

  test("with several campaigns, routers and processes at once", async () => {
    const seller = await sellers.open();
    const twin = await sellers.openTwin(seller);
    const buyer = await seller.partner({ limits: { day: 37 } });
    const campaigns = [await seller.campaign([buyer]), await seller.campaign([buyer]), await seller.campaign([buyer])];
    for (const campaignId of campaigns) await seller.leads(campaignId, 60);
    await Promise.all(campaigns.flatMap((id) => [seller.route(id), twin.route(id), seller.route(id)]));
    await seller.settle();
    expect(sentTo(buyer)).toBe(37);
    expect(await seller.usage(buyer)).toMatchObject({ dayLeads: 37 });
  });
});

describe("a place that comes to nothing is given back to the window it was taken from", () => {
  test.each(["reject", { status: 404 }] as const)("when the partner answers %j", async (answer) => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ limits: { day: 1 } });
    const campaignId = await seller.campaign([buyer]);
    sellers.partners.answer(buyer.name, answer);
    await seller.lead(campaignId);
    await seller.settle();
    expect(await seller.usage(buyer)).toMatchObject({ hourLeads: 0, dayLeads: 0, totalLeads: 0, daySpendMinor: 0 });
    expect(await seller.usage(buyer, campaignId)).toMatchObject({ dayLeads: 0, totalLeads: 0 });
  });

  test("over midnight: the new day's count stays, the month's goes down", async () => {
    const seller = await sellers.open({ at: "2026-03-04T23:59:30Z" });
    const buyer = await seller.partner({ timeZone: "Etc/UTC", limits: { day: 1 } });
    const campaignId = await seller.campaign([buyer], { holdHours: 0 });
    sellers.partners.answer(buyer.name, { status: 503 });
    await seller.lead(campaignId);
    await seller.settle();
    seller.setTime("2026-03-05T00:00:00Z");
    await seller.lead(campaignId);
    await seller.route(campaignId);
    expect(await seller.usage(buyer)).toMatchObject({ dayLeads: 1, monthLeads: 2, totalLeads: 2 });
    await seller.settle();
    // The first one's retry is refused: its place was of the day before.
    sellers.partners.answer(buyer.name, "reject");
    seller.setTime("2026-03-05T00:00:40Z");
    await seller.settle();
    expect(await seller.usage(buyer)).toMatchObject({ dayLeads: 1, monthLeads: 1, totalLeads: 1 });
    seller.setTime("2026-03-05T00:02:00Z");
    await seller.settle();
    expect(await seller.usage(buyer)).toMatchObject({ dayLeads: 0, monthLeads: 0, totalLeads: 0 });
  });

  test("over midnight, and the new day's limit is not exceeded by it", async () => {
    const seller = await sellers.open({ at: "2026-03-04T23:59:30Z" });
    const buyer = await seller.partner({ timeZone: "Etc/UTC", limits: { day: 1 } });
    const campaignId = await seller.campaign([buyer], { holdHours: 0 });
    sellers.partners.answer(buyer.name, { status: 503 });
    await seller.lead(campaignId);
    await seller.settle();
    seller.setTime("2026-03-05T00:00:00Z");
    sellers.partners.answer(buyer.name, "accept");
    await seller.lead(campaignId);
    await seller.settle();
    sellers.partners.answer(buyer.name, "reject");
    seller.setTime("2026-03-05T00:02:00Z");
    await seller.settle();
    expect(await seller.usage(buyer)).toMatchObject({ dayLeads: 1, totalLeads: 1 });
    sellers.partners.answer(buyer.name, "accept");
    await seller.lead(campaignId);
    await seller.settle();
    expect(await seller.usage(buyer)).toMatchObject({ dayLeads: 1, totalLeads: 1 });
  });

  test("and lets the next lead have it, by routing alone", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ limits: { day: 1 }, whenCapped: "hold" });
    const campaignId = await seller.campaign([buyer]);
    sellers.partners.answer(buyer.name, "reject");
    await seller.lead(campaignId);
    await seller.settle();
    sellers.partners.answer(buyer.name, "accept");
    const next = await seller.lead(campaignId);
    await seller.settle();
    expect((await seller.leadRow(next)).state).toBe("sold");
  });
});

test("a place that comes back goes to a lead that waits for one, at once and in order of arrival", async () => {
  const seller = await sellers.open();
  const buyer = await seller.partner({ limits: { day: 2 }, concurrency: 1 });
  const campaignId = await seller.campaign([buyer]);
  sellers.partners.answer(buyer.name, { delayMs: 50 });
  const leadIds: string[] = [];
  for (let lead = 0; lead < 4; lead += 1) leadIds.push(await seller.lead(campaignId));
  await seller.route(campaignId);
  expect(await seller.leadStates(campaignId)).toEqual({ routing: 2, held: 2 });
  sellers.partners.answer(buyer.name, "reject");
  const settling = seller.settle();
  await until(() => sentTo(buyer) === 2);
  sellers.partners.answer(buyer.name, "accept");
  await settling;
  // Both places came back; the spread lets the second one go five seconds later.
  expect((await seller.leadRow(leadIds[2] ?? "")).state).toBe("sold");
  seller.setTime("2026-03-04T10:00:05Z");
  await seller.settle();
  expect(await seller.leadStates(campaignId)).toEqual({ unsold: 2, sold: 2 });
  expect(await seller.usage(buyer)).toMatchObject({ dayLeads: 2 });
});
