import { describe, expect, test } from "@jest/globals";
import { readIntakeCampaign } from "../../src/leads/intake-campaign.ts";
import { moveBillingPoint } from "../../src/leads/move-billing-point.ts";
import { receiveLead } from "../../src/leads/receive-lead.ts";
import { redeliverLead } from "../../src/leads/redeliver-lead.ts";
import { decideReturn, type ReturnRequest, returnLead } from "../../src/leads/return-lead.ts";
import { reverseIntroducer, reverseMoney } from "../../src/leads/reverse-money.ts";
import { reverseReferral, unreferLead } from "../../src/leads/unrefer-lead.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";
import { expectSoundLedger } from "../helpers/sound-ledger.ts";

/** Leads that partners give back, and what staff take back by hand: what becomes of lead, delivery, place and money. */

const sellers = useSellers();

const auto = { decide: "auto", within: { days: 14 } };
const inTwo = { accepted: { percent: 20 }, converted: { percent: 80 } };

const ask = async (seller: Seller, leadId: string, buyer: Buyer, change: Partial<ReturnRequest> = {}) => {
  const request = { leadId, partnerId: buyer.id, reason: "wrong_contact", comment: null, override: false };
  return returnLead(seller.context, seller.organisationId, { ...request, ...change }, "partner");
};

const decide = async (seller: Seller, returnId: string, decision: "accepted" | "declined", by = "staff") =>
  decideReturn(seller.context, seller.organisationId, { returnId, decision, note: `${decision} by ${by}` }, by);

const codesOf = (result: Awaited<ReturnType<typeof ask>>) =>
  result.kind === "refused" ? result.refusals.map(({ code }) => code) : result.kind;

async function returnIdOf(asked: Promise<Awaited<ReturnType<typeof ask>>>): Promise<string> {
  const result = await asked;
  if (result.kind !== "asked") throw new Error(JSON.stringify(result));
  return result.returnId;
}

const returnsOf = async (seller: Seller) =>
  seller.inOrganisation(async (transaction) => transaction.selectFrom("returns").selectAll().orderBy("id").execute());

const eventsOf = async (seller: Seller, leadId: string) =>
  seller.inOrganisation(async (transaction) =>
    transaction
      .selectFrom("leadEvents")
      .select(["kind", "actor", "detail"])
      .where("leadId", "=", leadId)
      .orderBy("id")
      .execute(),
  );

const ledgerKinds = async (seller: Seller, leadId: string) =>
  seller.inOrganisation(async (transaction) => {
    const rows = await transaction
      .selectFrom("transactions")
      .select(["kind", "reason"])
      .where("leadId", "=", leadId)
      .orderBy("id")
      .execute();
    return rows.map(({ kind }) => kind);
  });

/** Leads sold to the first of these buyers, at 10.00. */
async function sell(seller: Seller, buyers: readonly Buyer[], count = 1, document: Record<string, unknown> = {}) {
  const campaignId = await seller.campaign(buyers, document);
  const leadIds = await seller.leads(campaignId, count);
  await seller.settle();
  const [leadId = ""] = leadIds;
  return { campaignId, leadIds, leadId };
}

let introduced = 0;

/** A lead that an introducer brought, sold. */
async function sellIntroduced(seller: Seller, buyers: readonly Buyer[], introducer: Buyer, document = {}) {
  const partners = buyers.map(({ id }) => ({ partnerId: id }));
  const campaignId = await seller.campaign([], { routing: [{ method: "priority", partners }], ...document });
  const campaign = await readIntakeCampaign(seller.context, seller.organisationId, campaignId);
  if (campaign === null) throw new Error("no such campaign");
  introduced += 1;
  const raw = { first_name: "Ann", email: `introduced${introduced}@example.com` };
  const received = { raw, idempotencyKey: null, source: null };
  const entrance = { campaign, intakeKeyId: null, introducerId: introducer.id };
  const intake = await receiveLead(seller.context, entrance, received);
  if (intake.kind !== "answered") throw new Error(intake.reason);
  await seller.settle();
  return { campaignId, leadId: intake.answer.leadId };
}

describe("a return", () => {
  test("that staff decide leaves the sale as it is until they accept, and then takes it back as a whole", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ returns: {} });
    const { leadId } = await sell(seller, [buyer]);
    const returnId = await returnIdOf(ask(seller, leadId, buyer, { comment: "Nobody of that name" }));
    expect(await returnsOf(seller)).toMatchObject([
      { state: "open", reasonCode: "wrong_contact", comment: "Nobody of that name", askedBy: "partner" },
    ]);
    expect(await seller.funds(buyer)).toMatchObject({ funds: -1000, revenue: 1000 });
    expect(await decide(seller, returnId, "accepted")).toEqual({ kind: "decided" });
    expect(await seller.funds(buyer)).toMatchObject({ funds: 0, reserved: 0, revenue: 0 });
    expect(await seller.usage(buyer)).toMatchObject({ dayLeads: 0, daySpendMinor: 0, totalLeads: 0 });
    const [delivery] = await seller.deliveries(leadId);
    expect(delivery).toMatchObject({ state: "returned", withdrawn: true, reservedAt: null, billedMinor: 0 });
    expect(delivery?.reversedAt).not.toBeNull();
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "returned", soldCount: 0, dueAt: null });
    expect(await returnsOf(seller)).toMatchObject([
      { state: "accepted", decidedBy: "staff", note: "accepted by staff" },
    ]);
    expect((await eventsOf(seller, leadId)).map(({ kind }) => kind)).toEqual(["return_asked", "return_accepted"]);
    await expectSoundLedger(seller);
  });

  test("that is declined leaves the sale, and the lead is returned another time only past that", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ returns: {} });
    const { leadId } = await sell(seller, [buyer]);
    const returnId = await returnIdOf(ask(seller, leadId, buyer));
    expect(await decide(seller, returnId, "declined")).toEqual({ kind: "decided" });
    expect(await seller.funds(buyer)).toMatchObject({ funds: -1000, revenue: 1000 });
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 1 });
    expect(codesOf(await ask(seller, leadId, buyer))).toEqual(["declined_before"]);
    expect(codesOf(await ask(seller, leadId, buyer, { override: true }))).toBe("asked");
    expect(await returnsOf(seller)).toMatchObject([
      { state: "declined", note: "declined by staff" },
      { state: "open", overridden: [{ code: "declined_before" }] },
    ]);
  });

  test("is accepted at once where that is agreed, but not for a reason that is only written", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ returns: auto });
    const { leadIds } = await sell(seller, [buyer], 2);
    const [listed = "", written = ""] = leadIds;
    await ask(seller, listed, buyer);
    await ask(seller, written, buyer, { reason: null, comment: "They moved" });
    const states = (await returnsOf(seller)).map(({ leadId, state, decidedBy }) => [leadId, state, decidedBy]);
    expect(states).toEqual([
      [listed, "accepted", "return policy"],
      [written, "open", null],
    ]);
    expect(await seller.funds(buyer)).toMatchObject({ funds: -1000, revenue: 1000 });
  });

  test.each([
    ["hours", { hours: 48 }, "2026-03-06T09:59:59Z", "2026-03-06T10:00:00Z"],
    // To the end of the second day after, in the partner's zone, which is an hour ahead.
    ["days", { days: 2 }, "2026-03-06T22:59:59Z", "2026-03-06T23:00:00Z"],
  ])("is in time for so many %s and not an instant longer", async (_unit, within, last, over) => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ timeZone: "Europe/Paris", returns: { within } });
    const { leadIds } = await sell(seller, [buyer], 2);
    const [inTime = "", late = ""] = leadIds;
    seller.setTime(last);
    expect(codesOf(await ask(seller, inTime, buyer))).toBe("asked");
    seller.setTime(over);
    const refused = await ask(seller, late, buyer);
    const until = new Date(over).toISOString();
    expect(refused).toEqual({ kind: "refused", mayOverride: true, refusals: [{ code: "out_of_time", until }] });
    expect(await seller.funds(buyer)).toMatchObject({ funds: -2000, revenue: 2000 });
  });

  test("is refused with every reason at once, which is recorded, and nothing else is changed", async () => {
    const seller = await sellers.open();
    const returns = { ...auto, within: { hours: 1 }, perMonth: { leads: 1, percent: 20 }, neverFor: ["no_interest"] };
    const buyer = await seller.partner({ returns });
    const { leadIds } = await sell(seller, [buyer], 5);
    const [first = "", second = ""] = leadIds;
    await ask(seller, first, buyer);
    const before = await seller.funds(buyer);
    seller.setTime("2026-03-04T12:00:00Z");
    const refused = await ask(seller, second, buyer, { reason: "no_interest" });
    expect(refused).toEqual({
      kind: "refused",
      mayOverride: true,
      refusals: [
        { code: "out_of_time", until: "2026-03-04T11:00:00.000Z" },
        { code: "too_many", used: 1, limit: 1 },
        { code: "above_share", used: 1, sold: 5, percent: 20 },
        { code: "reason_not_taken", reason: "no_interest" },
      ],
    });
    expect(await seller.funds(buyer)).toEqual(before);
    expect(await returnsOf(seller)).toHaveLength(1);
    expect(await eventsOf(seller, second)).toMatchObject([{ kind: "return_refused", actor: "partner" }]);
    expect(codesOf(await ask(seller, second, buyer, { reason: "no_interest", override: true }))).toBe("asked");
  });

  test("counts in the month of the sale in the partner's zone, and a declined one does not", async () => {
    const seller = await sellers.open({ at: "2026-02-28T20:00:00Z" });
    // There it is March already.
    const buyer = await seller.partner({ timeZone: "Asia/Tokyo", returns: { perMonth: { leads: 1 } } });
    const { campaignId, leadId: inMarch } = await sell(seller, [buyer]);
    seller.setTime("2026-03-31T14:00:00Z");
    const alsoInMarch = await seller.lead(campaignId);
    await seller.settle();
    seller.setTime("2026-03-31T15:00:00Z");
    const inApril = await seller.lead(campaignId);
    await seller.settle();
    const first = await returnIdOf(ask(seller, inMarch, buyer));
    expect(codesOf(await ask(seller, alsoInMarch, buyer))).toEqual(["too_many"]);
    expect(codesOf(await ask(seller, inApril, buyer))).toBe("asked");
    await decide(seller, first, "declined");
    expect(codesOf(await ask(seller, alsoInMarch, buyer))).toBe("asked");
  });

  test("of what was never the partner's, or is not any more, is refused and cannot be overridden", async () => {
    const seller = await sellers.open();
    const [buyer, other, none] = [
      await seller.partner({ returns: auto }),
      await seller.partner({ returns: auto }),
      await seller.partner(),
    ];
    const { leadIds } = await sell(seller, [buyer], 3);
    const [returned = "", reversed = "", unreferred = ""] = leadIds;
    const override = { override: true };
    expect(codesOf(await ask(seller, returned, other, override))).toEqual(["not_theirs"]);
    await ask(seller, returned, buyer);
    expect(codesOf(await ask(seller, returned, buyer, override))).toEqual(["already_returned"]);
    const sale = { leadId: reversed, partnerId: buyer.id, reason: null };
    await reverseMoney(seller.context, seller.organisationId, sale, "staff");
    expect(codesOf(await ask(seller, reversed, buyer, override))).toEqual(["already_reversed"]);
    const unreferral = { leadId: unreferred, partnerId: buyer.id, reason: null, reroute: false };
    await unreferLead(seller.context, seller.organisationId, unreferral, "staff");
    expect(codesOf(await ask(seller, unreferred, buyer, override))).toEqual(["already_reversed"]);
    const { leadId: ofNone } = await sell(seller, [none]);
    expect(codesOf(await ask(seller, ofNone, none))).toEqual(["not_agreed"]);
    expect(codesOf(await ask(seller, ofNone, none, override))).toBe("asked");
    expect(await ask(seller, ofNone, none, { reason: "boredom" })).toMatchObject({ kind: "unknown_reason" });
    await expectSoundLedger(seller);
  });

  test("goes on to the next partner, never to one that had it, while the lead is young enough", async () => {
    const seller = await sellers.open();
    const returns = { ...auto, rerouteWithinHours: 24 };
    const buyers = [await seller.partner({ returns }), await seller.partner({ returns })];
    const { leadIds } = await sell(seller, buyers, 2);
    const [young = "", old = ""] = leadIds;
    const [first, second] = buyers as [Buyer, Buyer];
    await ask(seller, young, first);
    await seller.settle();
    const holders = async (leadId: string) =>
      (await seller.deliveries(leadId)).map(({ partnerId, state }) => [partnerId, state]);
    expect(await holders(young)).toEqual([
      [first.id, "returned"],
      [second.id, "delivered"],
    ]);
    await ask(seller, young, second);
    await seller.settle();
    expect(await holders(young)).toEqual([
      [first.id, "returned"],
      [second.id, "returned"],
    ]);
    expect(await seller.leadRow(young)).toMatchObject({ state: "unsold", stateReason: { code: "all_refused" } });
    seller.setTime("2026-03-05T10:00:00Z");
    await ask(seller, old, first);
    await seller.settle();
    expect(await holders(old)).toEqual([[first.id, "returned"]]);
    expect(await seller.leadRow(old)).toMatchObject({ state: "returned" });
    await expectSoundLedger(seller);
  });

  test("gives the place in the limits back, or keeps it where that is agreed; money counts no longer", async () => {
    const seller = await sellers.open();
    const limits = { day: 1, spendDay: 5000 };
    const [giving, keeping] = [
      await seller.partner({ limits, returns: auto }),
      await seller.partner({ limits, returns: { ...auto, place: "keep" } }),
    ];
    for (const [buyer, places] of [
      [giving, 0],
      [keeping, 1],
    ] as const) {
      const { campaignId, leadId } = await sell(seller, [buyer]);
      await ask(seller, leadId, buyer);
      const used = { dayLeads: places, monthLeads: places, totalLeads: places, daySpendMinor: 0, monthSpendMinor: 0 };
      expect(await seller.usage(buyer)).toMatchObject(used);
      expect(await seller.usage(buyer, campaignId)).toMatchObject(used);
      const next = await seller.lead(campaignId);
      await seller.settle();
      expect((await seller.leadRow(next)).state).toBe(places === 0 ? "sold" : "held");
    }
  });

  test("of a sale that is paid in parts gives back what was paid and voids the rest; sold again it starts afresh", async () => {
    const seller = await sellers.open();
    const returns = { ...auto, rerouteWithinHours: 24 };
    const buyers = [await seller.partner({ returns, billing: inTwo }), await seller.partner({ billing: inTwo })];
    const [first, second] = buyers as [Buyer, Buyer];
    const { leadId } = await sell(seller, buyers);
    expect(await seller.funds(first)).toMatchObject({ funds: -1000, reserved: 800, revenue: 200 });
    await ask(seller, leadId, first);
    expect(await seller.funds(first)).toMatchObject({ funds: 0, reserved: 0, revenue: 0 });
    expect(await ledgerKinds(seller, leadId)).toEqual(["reserve", "post", "reverse", "void"]);
    await seller.settle();
    const [returned, again] = await seller.deliveries(leadId);
    expect(again).toMatchObject({ state: "delivered", billingPoint: "accepted", billedMinor: 200 });
    expect(await seller.funds(second)).toMatchObject({ funds: -1000, reserved: 800, revenue: 200 });
    const move = { deliveryId: returned?.id ?? "", to: "converted", reason: null } as const;
    expect(await moveBillingPoint(seller.context, seller.organisationId, move, "staff")).toMatchObject({
      kind: "delivery_state",
    });
    await expectSoundLedger(seller);
  });

  test.each([
    ["as_agreed", "reverse", 0],
    ["as_agreed", "keep", 125],
    ["keep", "reverse", 125],
    ["reverse", "keep", 0],
  ])("with cost %s does with the introducer's cost that is agreed to %s: %i is owed", async (cost, agreed, owed) => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ leadValue: 1000, returns: { ...auto, cost } });
    const leadCost = { percent: 12.5, due: "sold", whenReversed: agreed };
    const introducer = await seller.partner({ type: "introducer", leadCost });
    const { leadId } = await sellIntroduced(seller, [buyer], introducer);
    expect(await seller.funds(introducer)).toMatchObject({ payable: 125 });
    await ask(seller, leadId, buyer);
    expect(await seller.funds(introducer)).toMatchObject({ payable: owed });
    await expectSoundLedger(seller);
  });

  test("stays open for staff while the lead is being sent again, and is accepted when that has ended", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ returns: auto });
    const { leadId } = await sell(seller, [buyer]);
    await redeliverLead(seller.context, seller.organisationId, { leadId, deliveryId: null, reason: null }, "staff");
    await seller.inOrganisation(async (transaction) =>
      transaction.updateTable("deliveries").set({ sendingSince: new Date() }).where("leadId", "=", leadId).execute(),
    );
    const returnId = await returnIdOf(ask(seller, leadId, buyer));
    expect(await decide(seller, returnId, "accepted")).toEqual({ kind: "under_way" });
    expect(await returnsOf(seller)).toMatchObject([{ state: "open" }]);
    await seller.inOrganisation(async (transaction) =>
      transaction.updateTable("deliveries").set({ sendingSince: null }).where("leadId", "=", leadId).execute(),
    );
    await seller.settle();
    expect(await decide(seller, returnId, "accepted")).toEqual({ kind: "decided" });
    expect(await seller.funds(buyer)).toMatchObject({ funds: 0, revenue: 0 });
    expect(sellers.partners.requestsOf(buyer.name)).toHaveLength(2);
  });

  test("that is open is accepted by whatever takes the sale back", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ returns: {} });
    const { leadIds } = await sell(seller, [buyer], 3);
    const verbs = [unreferLead, reverseReferral, reverseMoney] as const;
    for (const [index, verb] of verbs.entries()) {
      const leadId = leadIds[index] ?? "";
      await ask(seller, leadId, buyer);
      const named = { leadId, partnerId: buyer.id, reason: "They asked", reroute: false };
      await verb(seller.context, seller.organisationId, named, "staff");
    }
    const states = (await returnsOf(seller)).map(({ state, decidedBy, note }) => [state, decidedBy, note]);
    expect(states).toEqual(verbs.map(() => ["accepted", "staff", "They asked"]));
  });
});

describe("alerts", () => {
  test("tell staff of an open return and the partner of the decision, each once", async () => {
    const seller = await sellers.open();
    await seller.setStaffEmail("staff@sellers.test");
    const buyer = await seller.partner({ returns: {}, contact: { email: "acme@example.com" } });
    const { leadId } = await sell(seller, [buyer]);
    const returnId = await returnIdOf(ask(seller, leadId, buyer));
    await decide(seller, returnId, "declined");
    const alerts = await seller.inOrganisation(async (transaction) =>
      transaction.selectFrom("alerts").select(["kind", "recipient", "state"]).orderBy("id").execute(),
    );
    expect(alerts).toEqual([
      { kind: "return_open", recipient: "staff@sellers.test", state: "due" },
      { kind: "return_decided", recipient: "acme@example.com", state: "due" },
    ]);
  });
});

describe("what staff take back by hand", () => {
  const state = async (seller: Seller, leadId: string, buyer: Buyer, introducer: Buyer) => {
    const [delivery] = await seller.deliveries(leadId);
    const { funds, revenue } = await seller.funds(buyer);
    const { payable } = await seller.funds(introducer);
    const { totalLeads, daySpendMinor } = await seller.usage(buyer);
    const lead = (await seller.leadRow(leadId)).state;
    return { lead, delivery: delivery?.state, totalLeads, daySpendMinor, funds, revenue, payable };
  };
  const sold = {
    lead: "sold",
    delivery: "delivered",
    totalLeads: 1,
    daySpendMinor: 1000,
    funds: -1000,
    revenue: 1000,
    payable: 125,
  };
  const reversed = { ...sold, daySpendMinor: 0, funds: 0, revenue: 0 };
  const gone = { ...reversed, lead: "returned", delivery: "returned", totalLeads: 0 };

  test.each([
    ["redeliver", sold],
    ["unrefer", gone],
    ["reverse", reversed],
    ["reverse introducer", { ...sold, payable: 0 }],
    ["reverse referral", { ...gone, payable: 0 }],
  ])("by %s is just that", async (verb, expected) => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ leadValue: 1000 });
    const leadCost = { percent: 12.5, due: "sold", whenReversed: "keep" };
    const introducer = await seller.partner({ type: "introducer", leadCost });
    const { leadId } = await sellIntroduced(seller, [buyer], introducer);
    const { context, organisationId } = seller;
    const named = { leadId, partnerId: buyer.id, deliveryId: null, reason: "wrong", reroute: false };
    expect(await state(seller, leadId, buyer, introducer)).toEqual(sold);
    if (verb === "redeliver") await redeliverLead(context, organisationId, named, "staff");
    if (verb === "unrefer") await unreferLead(context, organisationId, named, "staff");
    if (verb === "reverse") await reverseMoney(context, organisationId, named, "staff");
    if (verb === "reverse introducer") await reverseIntroducer(context, organisationId, named, "staff");
    if (verb === "reverse referral") await reverseReferral(context, organisationId, named, "staff");
    await seller.settle();
    expect(await state(seller, leadId, buyer, introducer)).toEqual(expected);
    await expectSoundLedger(seller);
  });

  test("happens once: a second time is refused and books nothing", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ leadValue: 1000, billing: inTwo });
    const introducer = await seller.partner({ type: "introducer", leadCost: { amount: 300, due: "received" } });
    const { leadId } = await sellIntroduced(seller, [buyer], introducer);
    const { context, organisationId } = seller;
    const named = { leadId, partnerId: buyer.id, reason: null, reroute: false };
    expect(await reverseMoney(context, organisationId, named, "staff")).toMatchObject({ kind: "reversed" });
    expect(await reverseIntroducer(context, organisationId, named, "staff")).toEqual({
      kind: "reversed",
      amounts: [{ currency: "GBP", amountMinor: 300 }],
    });
    const booked = await ledgerKinds(seller, leadId);
    expect(await reverseMoney(context, organisationId, named, "staff")).toEqual({ kind: "reversed_already" });
    expect(await reverseIntroducer(context, organisationId, named, "staff")).toEqual({ kind: "nothing_owed" });
    const [sale] = await seller.deliveries(leadId);
    const move = { deliveryId: sale?.id ?? "", to: "converted", reason: null } as const;
    expect(await moveBillingPoint(context, organisationId, move, "staff")).toMatchObject({ kind: "refused" });
    expect(await reverseReferral(context, organisationId, named, "staff")).toMatchObject({ kind: "unreferred" });
    expect(await reverseReferral(context, organisationId, named, "staff")).toEqual({ kind: "delivery_not_found" });
    expect(await ledgerKinds(seller, leadId)).toEqual(booked);
    expect(await seller.usage(buyer)).toMatchObject({ totalLeads: 0, daySpendMinor: 0 });
    await expectSoundLedger(seller);
  });

  test("from the introducer holds for what the lead brings later too", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ leadValue: 1000, billing: inTwo });
    const introducer = await seller.partner({ type: "introducer", leadCost: { percent: 50 } });
    const { leadId } = await sellIntroduced(seller, [buyer], introducer);
    const { context, organisationId } = seller;
    await reverseIntroducer(context, organisationId, { leadId, reason: null }, "staff");
    const [sale] = await seller.deliveries(leadId);
    await moveBillingPoint(
      context,
      organisationId,
      { deliveryId: sale?.id ?? "", to: "converted", reason: null },
      "staff",
    );
    expect(await seller.funds(introducer)).toMatchObject({ payable: 0 });
    expect(await seller.funds(buyer)).toMatchObject({ revenue: 1000 });
    await expectSoundLedger(seller);
  });
});

describe("at the same time", () => {
  test("returns of one lead come to one", async () => {
    const seller = await sellers.open();
    const twin = await sellers.openTwin(seller);
    const buyer = await seller.partner({ returns: auto });
    const { leadIds } = await sell(seller, [buyer], 5);
    for (const leadId of leadIds) {
      const results = await Promise.all([seller, twin, seller, twin].map(async (own) => ask(own, leadId, buyer)));
      expect(results.filter(({ kind }) => kind === "asked")).toHaveLength(1);
    }
    expect(await returnsOf(seller)).toHaveLength(leadIds.length);
    expect(await seller.funds(buyer)).toMatchObject({ funds: 0, revenue: 0 });
    await expectSoundLedger(seller);
  });

  test("two staff decide a return once", async () => {
    const seller = await sellers.open();
    const twin = await sellers.openTwin(seller);
    const buyer = await seller.partner({ returns: {} });
    const { leadIds } = await sell(seller, [buyer], 6);
    for (const leadId of leadIds) {
      const returnId = await returnIdOf(ask(seller, leadId, buyer));
      const results = await Promise.all([
        decide(seller, returnId, "accepted", "Ann"),
        decide(twin, returnId, "declined", "Ben"),
      ]);
      expect(results.map(({ kind }) => kind).sort()).toEqual(["decided", "decided_before"]);
    }
    const accepted = (await returnsOf(seller)).filter(({ state }) => state === "accepted").length;
    expect(await seller.funds(buyer)).toMatchObject({ revenue: 1000 * (leadIds.length - accepted) });
    await expectSoundLedger(seller);
  });

  test("a return and a billing point that moves come to one or the other, whole", async () => {
    const seller = await sellers.open();
    const twin = await sellers.openTwin(seller);
    const buyer = await seller.partner({ returns: auto, billing: inTwo });
    const { leadIds } = await sell(seller, [buyer], 6);
    for (const leadId of leadIds) {
      const [sale] = await seller.deliveries(leadId);
      const move = { deliveryId: sale?.id ?? "", to: "converted", reason: null } as const;
      await Promise.all([
        ask(seller, leadId, buyer),
        moveBillingPoint(twin.context, twin.organisationId, move, "staff"),
      ]);
    }
    expect(await seller.funds(buyer)).toMatchObject({ funds: 0, reserved: 0, revenue: 0 });
    await expectSoundLedger(seller);
  });

  test.each([
    ["share", { percent: 25 }, 5],
    ["number", { leads: 3 }, 3],
  ])("returns from every side keep the %s that was agreed, exactly", async (_what, perMonth, most) => {
    const seller = await sellers.open();
    const twin = await sellers.openTwin(seller);
    const buyer = await seller.partner({ returns: { ...auto, perMonth } });
    const [one, two] = [await sell(seller, [buyer], 11), await sell(seller, [buyer], 9)];
    const leadIds = [...one.leadIds, ...two.leadIds];
    const results = await Promise.all(
      leadIds.map(async (leadId, index) => ask(index % 2 === 0 ? seller : twin, leadId, buyer)),
    );
    expect(results.filter(({ kind }) => kind === "asked")).toHaveLength(most);
    expect(await seller.funds(buyer)).toMatchObject({ revenue: 1000 * (20 - most) });
    expect(await seller.usage(buyer)).toMatchObject({ totalLeads: 20 - most, dayLeads: 20 - most });
    await expectSoundLedger(seller);
  });
});
