import { describe, expect, test } from "@jest/globals";
import { explainLead } from "../../src/leads/explain-lead.ts";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";

/** The whole way of a lead, on a real database and real HTTP partners; only the clock is set by the test. */

const sellers = useSellers();

const rows = (buyers: readonly Buyer[], change: (index: number) => object = () => ({})) =>
  buyers.map(({ id }, index) => ({ partnerId: id, priority: index, price: 1000, ...change(index) }));

const partnersOf = async (seller: Seller, leadId: string) =>
  (await seller.deliveries(leadId)).map(({ partnerId, state }) => [partnerId, state]);

describe("a lead that is accepted", () => {
  test("is sold once, charged once, and its attempt is kept", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner();
    const campaignId = await seller.campaign([buyer]);
    const leadId = await seller.lead(campaignId, { first_name: "Zoë" });
    await seller.settle();
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 1, dueAt: null });
    const [delivery] = await seller.deliveries(leadId);
    expect(delivery).toMatchObject({ state: "delivered", partnerId: buyer.id, priceMinor: 1000 });
    expect(await seller.attempts(delivery?.id ?? "")).toMatchObject([
      { number: 1, outcome: "accepted", arrived: "yes", status: 200, channel: "json" },
    ]);
    expect(sellers.partners.requestsOf(buyer.name)).toMatchObject([{ body: { id: leadId, name: "Zoë" } }]);
    expect(await seller.funds(buyer)).toMatchObject({ funds: -1000, reserved: 0, revenue: 1000 });
    expect(await seller.usage(buyer)).toMatchObject({ dayLeads: 1, monthLeads: 1, totalLeads: 1, daySpendMinor: 1000 });
    await seller.settle();
    expect(sellers.partners.requestsOf(buyer.name)).toHaveLength(1);
  });
});

describe("a lead that is refused", () => {
  test("goes on to the next partner, and place and money go back to whence they came", async () => {
    const seller = await sellers.open();
    const [first, second] = [await seller.partner(), await seller.partner()];
    sellers.partners.answer(first.name, "reject");
    const campaignId = await seller.campaign([first, second]);
    const leadId = await seller.lead(campaignId);
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([
      { state: "rejected", partnerId: first.id, reason: "not our area" },
      { state: "delivered", partnerId: second.id },
    ]);
    expect(await seller.funds(first)).toMatchObject({ funds: 0, reserved: 0, revenue: 0 });
    expect(await seller.usage(first)).toMatchObject({ dayLeads: 0, monthLeads: 0, totalLeads: 0, daySpendMinor: 0 });
  });

  test("by everybody is unsold, with the reason", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner();
    sellers.partners.answer(buyer.name, "reject");
    const leadId = await seller.lead(await seller.campaign([buyer]));
    await seller.settle();
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "unsold", stateReason: { code: "all_refused" } });
  });
});

describe("how many get a lead", () => {
  test("a shared lead goes to as many partners as the sale limit says, a refusal makes room for another", async () => {
    const seller = await sellers.open();
    const buyers = [await seller.partner(), await seller.partner(), await seller.partner(), await seller.partner()];
    sellers.partners.answer(buyers[1]?.name ?? "", "reject");
    const campaignId = await seller.campaign(buyers, { saleLimit: 3 });
    const leadId = await seller.lead(campaignId);
    await seller.settle();
    expect(await partnersOf(seller, leadId)).toEqual([
      [buyers[0]?.id, "delivered"],
      [buyers[1]?.id, "rejected"],
      [buyers[2]?.id, "delivered"],
      [buyers[3]?.id, "delivered"],
    ]);
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 3 });
  });

  test("no more of a group than its own limit, groups in their order", async () => {
    const seller = await sellers.open();
    const buyers = [await seller.partner(), await seller.partner(), await seller.partner(), await seller.partner()];
    const [first, second] = [rows(buyers.slice(0, 2)), rows(buyers.slice(2))];
    const routing = [
      { method: "priority", saleLimit: 1, partners: first },
      { method: "priority", saleLimit: 1, partners: second },
    ];
    const leadId = await seller.lead(await seller.campaign([], { saleLimit: 3, routing }));
    await seller.settle();
    expect(await partnersOf(seller, leadId)).toEqual([
      [buyers[0]?.id, "delivered"],
      [buyers[2]?.id, "delivered"],
    ]);
  });

  test("one that is sold to fewer than the limit is sold all the same", async () => {
    const seller = await sellers.open();
    const buyers = [await seller.partner(), await seller.partner()];
    sellers.partners.answer(buyers[1]?.name ?? "", "reject");
    const leadId = await seller.lead(await seller.campaign(buyers, { saleLimit: 3 }));
    await seller.settle();
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 1, dueAt: null });
  });
});

describe("taking turns", () => {
  const countedBy = (buyers: readonly Buyer[]) => buyers.map(({ name }) => sellers.partners.requestsOf(name).length);

  test("round robin holds over batches and with several routers at once", async () => {
    const seller = await sellers.open();
    const buyers = [await seller.partner(), await seller.partner(), await seller.partner()];
    const routing = [{ method: "round_robin", partners: rows(buyers) }];
    const campaignId = await seller.campaign([], { routing });
    await seller.leads(campaignId, 120);
    const route = async () => routeDueLeads(seller.context, seller.organisationId, campaignId);
    await Promise.all([route(), route(), route()]);
    await seller.leads(campaignId, 30);
    await seller.settle();
    expect(countedBy(buyers)).toEqual([50, 50, 50]);
  });

  test("weighted holds over batches", async () => {
    const seller = await sellers.open();
    const buyers = [await seller.partner(), await seller.partner()];
    const routing = [{ method: "weighted", partners: rows(buyers, (index) => ({ weight: index === 0 ? 3 : 1 })) }];
    const campaignId = await seller.campaign([], { routing });
    await seller.leads(campaignId, 60);
    await seller.settle();
    await seller.leads(campaignId, 60);
    await seller.settle();
    expect(countedBy(buyers)).toEqual([90, 30]);
  });

  test("the highest price goes first", async () => {
    const seller = await sellers.open();
    const buyers = [await seller.partner(), await seller.partner()];
    const routing = [{ method: "highest_price", partners: rows(buyers, (index) => ({ price: 1000 + index })) }];
    const leadId = await seller.lead(await seller.campaign([], { routing }));
    await seller.settle();
    expect(await partnersOf(seller, leadId)).toEqual([[buyers[1]?.id, "delivered"]]);
  });
});

describe("every decision is explained", () => {
  test("all reasons for and against each partner are stored with each decision", async () => {
    const seller = await sellers.open();
    const evenings = { wed: [{ from: "18:00", to: "20:00" }] };
    const bad = await seller.partner({ schedule: evenings, creditLimit: 0, active: false });
    const good = await seller.partner();
    sellers.partners.answer(good.name, "reject");
    const routing = [
      {
        method: "priority",
        partners: rows([bad, good], (index) =>
          index === 0 ? { filter: { field: "postcode", op: "startsWith", value: "SW" } } : {},
        ),
      },
    ];
    const leadId = await seller.lead(await seller.campaign([], { routing }), { postcode: "N1 9GU" });
    await seller.settle();
    const decisions = await seller.decisions(leadId);
    const told = decisions.map(({ result, explanation }) => [
      result,
      explanation.map((entry) => [entry.partnerId, entry.result, entry.reasons.map(({ code }) => code)]),
    ]);
    const against = ["partner_inactive", "filter_not_matched", "closed", "no_funds"];
    expect(told).toEqual([
      [
        "routing",
        [
          [good.id, "sent", []],
          [bad.id, "excluded", against],
        ],
      ],
      [
        "unsold",
        [
          [bad.id, "excluded", against],
          [good.id, "excluded", ["already_had"]],
        ],
      ],
    ]);
  });

  test("explaining a lead that is not stored takes nothing, and says what routing then does", async () => {
    const seller = await sellers.open();
    const evenings = { wed: [{ from: "18:00", to: "20:00" }] };
    const buyers = [
      await seller.partner({ schedule: evenings }),
      await seller.partner({ limits: { day: 1 } }),
      await seller.partner(),
    ];
    const routing = [{ method: "round_robin", saleLimit: 1, partners: rows(buyers) }];
    const campaignId = await seller.campaign([], { routing });
    for (let lead = 0; lead < 3; lead += 1) {
      const raw = { first_name: "Ann", email: `explained${lead}@example.com` };
      const foretold = await explainLead(seller.context, seller.organisationId, campaignId, raw);
      const again = await explainLead(seller.context, seller.organisationId, campaignId, raw);
      expect(again).toEqual(foretold);
      const leadId = await seller.lead(campaignId, raw);
      await seller.settle();
      const [decision] = await seller.decisions(leadId);
      const said = foretold?.partners.map(({ partnerId, result, reasons }) => [
        partnerId,
        result,
        reasons.map(({ text: _text, ...reason }) => reason),
      ]);
      expect(decision?.explanation.map(({ partnerId, result, reasons }) => [partnerId, result, reasons])).toEqual(said);
    }
    expect(await seller.leadStates(campaignId)).toEqual({ sold: 3 });
  });
});

describe("what a partner says", () => {
  test("that no database can keep does not keep the lead from being settled", async () => {
    const seller = await sellers.open();
    const [nul, half, long] = [await seller.partner(), await seller.partner(), await seller.partner()];
    sellers.partners.answer(nul.name, { body: '{"outcome":"no","reason":"a\\u0000b"}' });
    sellers.partners.answer(half.name, { body: '{"outcome":"no","reason":"a\\ud83d"}' });
    // The limit of what is kept of a body falls into the middle of a character.
    sellers.partners.answer(long.name, {
      body: `{"outcome":"success","reference":"\\ud83d R1","x":"${"😀".repeat(20_000)}"}`,
    });
    const leadId = await seller.lead(await seller.campaign([nul, half, long]));
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([
      { state: "rejected", attemptCount: 1, reason: "a\ufffdb" },
      { state: "rejected", attemptCount: 1, reason: "a\ufffd" },
      { attemptCount: 1, partnerId: long.id },
    ]);
    expect(sellers.partners.requestsOf(long.name)).toHaveLength(1);
  });
});
