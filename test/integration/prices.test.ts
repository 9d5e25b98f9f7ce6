import { describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { closeSales } from "../../queues/close-sales.ts";
import { closeDueSales } from "../../src/leads/close-due-sales.ts";
import { readIntakeCampaign } from "../../src/leads/intake-campaign.ts";
import { moveBillingPoint } from "../../src/leads/move-billing-point.ts";
import { receiveLead } from "../../src/leads/receive-lead.ts";
import { referLead } from "../../src/leads/refer-lead.ts";
import { resolveDelivery } from "../../src/leads/resolve-delivery.ts";
import { unreferLead } from "../../src/leads/unrefer-lead.ts";
import { sweep } from "../../src/sweep.ts";
import { type Buyer, type Seller, useSellers, wednesdayMorning } from "../helpers/seller.ts";
import { expectSoundLedger } from "../helpers/sound-ledger.ts";
import { quietWaker } from "../helpers/waker.ts";

/** What partners pay, and when; what introducers are paid; and that nothing of what was reserved is lost or doubled. */

const sellers = useSellers();

const named = (price: unknown, currency?: string) =>
  ({ body: JSON.stringify({ outcome: "success", price, currency }) }) as const;
const byAnswer = { default: 1000, rules: [], answer: { min: 500, max: 3000 } };
const inThree = {
  accepted: { percent: 20 },
  qualified: { percent: 30 },
  converted: { percent: 50 },
};

const rowOf = (buyer: Buyer, row: Record<string, unknown> = {}) => ({
  routing: [{ method: "priority", partners: [{ partnerId: buyer.id, ...row }] }],
});

/** A lead sold to a buyer under these settings, and its delivery. */
async function sell(seller: Seller, buyer: Buyer, row: Record<string, unknown> = {}) {
  const campaignId = await seller.campaign([], rowOf(buyer, row));
  const leadId = await seller.lead(campaignId);
  await seller.settle();
  const [delivery] = await seller.deliveries(leadId);
  if (delivery === undefined) throw new Error("nothing was delivered");
  return { campaignId, leadId, deliveryId: delivery.id, delivery };
}

async function deliveryOf(seller: Seller, leadId: string) {
  const delivery = (await seller.deliveries(leadId)).at(-1);
  if (delivery === undefined) throw new Error("no delivery");
  return delivery;
}

const move = async (seller: Seller, deliveryId: string, to: "accepted" | "qualified" | "converted" | "closed") =>
  moveBillingPoint(seller.context, seller.organisationId, { deliveryId, to, reason: null }, "staff");

const takeBack = async (seller: Seller, leadId: string, buyer: Buyer) =>
  unreferLead(
    seller.context,
    seller.organisationId,
    { leadId, partnerId: buyer.id, reason: "wrong number", reroute: false },
    "staff",
  );

describe("the price of a lead", () => {
  test("is that of the routing, else of the campaign in the partner's currency, else of the partner", async () => {
    const seller = await sellers.open();
    const [pounds, euros] = [
      await seller.partner({ leadValue: 700 }),
      await seller.partner({ leadValue: 700, currency: "EUR" }),
    ];
    const leadValues = [{ currency: "GBP", price: 900 }];
    const priceOf = async (buyer: Buyer, row: Record<string, unknown>, document: Record<string, unknown>) => {
      const campaignId = await seller.campaign([], { ...rowOf(buyer, row), ...document });
      const leadId = await seller.lead(campaignId);
      await seller.settle();
      const { priceMinor, currency } = await deliveryOf(seller, leadId);
      return [priceMinor, currency];
    };
    expect(await priceOf(pounds, { price: 1100 }, { leadValues })).toEqual([1100, "GBP"]);
    expect(await priceOf(pounds, {}, { leadValues })).toEqual([900, "GBP"]);
    expect(await priceOf(pounds, {}, {})).toEqual([700, "GBP"]);
    expect(await priceOf(euros, {}, { leadValues })).toEqual([700, "EUR"]);
    await expectSoundLedger(seller);
  });

  test("follows the rules on the lead's fields, in routing and by hand", async () => {
    const seller = await sellers.open();
    const leadValue = {
      default: 1000,
      rules: [{ when: { field: "postcode", op: "startsWith", value: "SW" }, price: 2500 }],
    };
    const buyer = await seller.partner({ leadValue: { answer: null, ...leadValue } });
    const campaignId = await seller.campaign([], rowOf(buyer));
    const [dear, cheap] = [await seller.lead(campaignId, { postcode: "SW1A 1AA" }), await seller.lead(campaignId)];
    const byHandId = await seller.campaign([], { routing: [] });
    const byHand = await seller.lead(byHandId, { postcode: "SW1A 1AA" });
    await seller.settle();
    const referral = { leadId: byHand, partnerId: buyer.id, override: false, reason: null };
    expect(await referLead(seller.context, seller.organisationId, referral, "staff")).toMatchObject({
      kind: "referred",
    });
    await seller.settle();
    const prices = await Promise.all(
      [dear, cheap, byHand].map(async (id) => (await deliveryOf(seller, id)).priceMinor),
    );
    expect(prices).toEqual([2500, 1000, 2500]);
    expect(await seller.funds(buyer)).toMatchObject({ revenue: 6000, reserved: 0 });
  });

  test("is what highest_price goes by, for each lead", async () => {
    const seller = await sellers.open();
    const rules = [{ when: { field: "postcode", op: "startsWith", value: "SW" }, price: 2500 }];
    const [choosy, steady] = [
      await seller.partner({ leadValue: { default: 500, rules, answer: null } }),
      await seller.partner({ leadValue: { default: 900, rules: [], answer: { min: 100, max: 5000 } } }),
    ];
    const partners = [choosy, steady].map(({ id }) => ({ partnerId: id }));
    const campaignId = await seller.campaign([], { routing: [{ method: "highest_price", partners }] });
    const [london, leeds] = [await seller.lead(campaignId, { postcode: "SW1A 1AA" }), await seller.lead(campaignId)];
    await seller.settle();
    expect((await deliveryOf(seller, london)).partnerId).toBe(choosy.id);
    expect((await deliveryOf(seller, leeds)).partnerId).toBe(steady.id);
  });

  test("stays as it was agreed when settings change while the lead is on its way", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ leadValue: byAnswer, billing: inThree }, { price: "$.price" });
    sellers.partners.answer(buyer.name, named(20));
    const campaignId = await seller.campaign([], rowOf(buyer));
    const leadId = await seller.lead(campaignId);
    await seller.route(campaignId);
    await seller.change(buyer, { leadValue: 100, billing: null });
    await seller.settle();
    expect(await deliveryOf(seller, leadId)).toMatchObject({ priceMinor: 2000, billedMinor: 400 });
    await expectSoundLedger(seller);
  });
});

describe("a price that the partner's answer names", () => {
  test.each([
    [20, undefined, 2000, null],
    ["£5.00", undefined, 500, null],
    [4, undefined, 500, "below_minimum"],
    [99, undefined, 3000, "above_maximum"],
    [20, "EUR", 1000, "other_currency"],
    ["twenty", undefined, 1000, "unreadable"],
    [undefined, undefined, 1000, "missing"],
  ])("%j %j is charged as %s, noted as %j", async (price, currency, chargedMinor, priceNote) => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ leadValue: byAnswer }, { price: "$.price", currency: "$.currency" });
    sellers.partners.answer(buyer.name, named(price, currency));
    const campaignId = await seller.campaign([], rowOf(buyer));
    const leadId = await seller.lead(campaignId);
    await seller.route(campaignId);
    expect(await seller.funds(buyer)).toMatchObject({ reserved: 3000 });
    await seller.settle();
    const delivery = await deliveryOf(seller, leadId);
    expect(delivery).toMatchObject({
      state: "delivered",
      priceMinor: chargedMinor,
      billedMinor: chargedMinor,
      priceNote,
    });
    expect(await seller.funds(buyer)).toMatchObject({ reserved: 0, revenue: chargedMinor, funds: -chargedMinor });
    expect(await seller.usage(buyer)).toMatchObject({ dayLeads: 1, daySpendMinor: chargedMinor });
    await expectSoundLedger(seller);
  });

  test("counts only where its bounds are set", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({}, { price: "$.price" });
    sellers.partners.answer(buyer.name, named(99));
    const { delivery } = await sell(seller, buyer, { price: 1000 });
    expect(delivery).toMatchObject({ priceMinor: 1000, answeredPrice: "99", priceNote: null });
  });

  test("needs funds and spending limits for the most that it may be", async () => {
    const seller = await sellers.open();
    const poor = await seller.partner({ leadValue: byAnswer, creditLimit: 2999 }, { price: "$.price" });
    const thrifty = await seller.partner({ leadValue: byAnswer, limits: { spendDay: 4000 } }, { price: "$.price" });
    sellers.partners.answer(thrifty.name, named(10));
    const unfunded = await seller.lead(await seller.campaign([], rowOf(poor)));
    const campaignId = await seller.campaign([], { ...rowOf(thrifty), holdHours: 0 });
    await seller.leads(campaignId, 1);
    await seller.settle();
    // 3000 of what was reserved turned out to be 1000: there is room for another.
    await seller.leads(campaignId, 1);
    await seller.settle();
    await seller.leads(campaignId, 1);
    await seller.settle();
    const [decision] = await seller.decisions(unfunded);
    expect(decision?.explanation[0]?.reasons).toEqual([{ code: "no_funds", availableMinor: 2999, priceMinor: 3000 }]);
    expect(await seller.leadStates(campaignId)).toEqual({ sold: 2, unsold: 1 });
    expect(await seller.usage(thrifty)).toMatchObject({ dayLeads: 2, daySpendMinor: 2000 });
  });

  test("is not told to the partner beforehand: it sees what is charged if it names none", async () => {
    const seller = await sellers.open();
    const body = '{ "price": {{ delivery.price_minor }} }';
    const buyer = await seller.partner({ leadValue: byAnswer }, { price: "$.price", body });
    await sell(seller, buyer);
    expect(sellers.partners.requestsOf(buyer.name).map((request) => request.body)).toEqual([{ price: 1000 }]);
  });
});

/** The organisations whose sales the sweep would have closed now. */
async function woken({ context }: Seller): Promise<readonly unknown[]> {
  const organisationIds: unknown[] = [];
  const wake = (job: { readonly name: string }, payload: object) => {
    if (job.name === closeSales.name && "organisationId" in payload) organisationIds.push(payload.organisationId);
  };
  await sweep({ ...context, waker: { ...quietWaker, wake } });
  return organisationIds;
}

describe("billing points", () => {
  test("all is reserved at referral; each part is paid when its point is reached", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ leadValue: 1000, billing: inThree, creditLimit: 1000 });
    const { deliveryId } = await sell(seller, buyer);
    expect(await seller.funds(buyer)).toMatchObject({ funds: -1000, reserved: 800, revenue: 200 });
    expect(await move(seller, deliveryId, "qualified")).toMatchObject({ kind: "moved", isNew: true });
    expect(await seller.funds(buyer)).toMatchObject({ funds: -1000, reserved: 500, revenue: 500 });
    expect(await move(seller, deliveryId, "converted")).toMatchObject({ kind: "moved", isNew: true });
    expect(await seller.funds(buyer)).toMatchObject({ funds: -1000, reserved: 0, revenue: 1000 });
    await expectSoundLedger(seller);
  });

  test("nobody gets a lead that it could not pay for in the end", async () => {
    const seller = await sellers.open();
    const billing = { ...inThree, accepted: null, qualified: null };
    const buyer = await seller.partner({ leadValue: 1000, billing, creditLimit: 499 });
    const leadId = await seller.lead(await seller.campaign([], rowOf(buyer)));
    await seller.settle();
    expect(await seller.leadRow(leadId)).toMatchObject({
      state: "held",
      stateReason: { code: "no_funds", priceMinor: 500 },
    });
  });

  test("move forward only, and to be told twice changes nothing", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ leadValue: 1000, billing: inThree });
    const { deliveryId, leadId } = await sell(seller, buyer);
    expect(await move(seller, deliveryId, "accepted")).toMatchObject({ kind: "moved", isNew: false });
    expect(await move(seller, deliveryId, "converted")).toMatchObject({ kind: "moved", isNew: true });
    const before = await seller.funds(buyer);
    expect(await move(seller, deliveryId, "converted")).toMatchObject({ kind: "moved", isNew: false });
    for (const to of ["accepted", "qualified", "closed"] as const) {
      expect(await move(seller, deliveryId, to)).toEqual({ kind: "refused", at: "converted", isClosed: false });
    }
    expect(await seller.funds(buyer)).toEqual(before);
    // Those that lie on the way are paid too.
    expect(before).toMatchObject({ revenue: 1000, reserved: 0 });
    const { rows } = await seller.inOrganisation(async (transaction) =>
      sql<{ kind: string }>`select kind from lead_events where lead_id = ${leadId}`.execute(transaction),
    );
    expect(rows).toEqual([{ kind: "billed" }]);
  });

  test("a sale that will not convert is closed: what is still reserved goes back, and counts as spent no longer", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ leadValue: 1000, billing: inThree });
    const { deliveryId } = await sell(seller, buyer);
    expect(await seller.usage(buyer)).toMatchObject({ dayLeads: 1, daySpendMinor: 1000 });
    expect(await move(seller, deliveryId, "closed")).toMatchObject({ kind: "moved", isNew: true });
    expect(await move(seller, deliveryId, "closed")).toMatchObject({ kind: "moved", isNew: false });
    expect(await seller.funds(buyer)).toMatchObject({ funds: -200, reserved: 0, revenue: 200 });
    expect(await seller.usage(buyer)).toMatchObject({ dayLeads: 1, daySpendMinor: 200 });
    expect(await move(seller, deliveryId, "converted")).toEqual({ kind: "refused", at: "accepted", isClosed: true });
    await expectSoundLedger(seller);
  });

  test("a sale is closed by itself after so many days, unless it is through", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ leadValue: 1000, billing: { ...inThree, closeAfterDays: 30 } });
    const [open, through] = [await sell(seller, buyer), await sell(seller, buyer)];
    await move(seller, through.deliveryId, "converted");
    const due = async () => {
      await closeDueSales(seller.context, seller.organisationId);
      return seller.funds(buyer);
    };
    expect(await due()).toMatchObject({ reserved: 800, revenue: 1200 });
    seller.setTime(new Date(Date.parse(wednesdayMorning) + 30 * 86_400_000).toISOString());
    expect(await woken(seller)).toEqual([seller.organisationId]);
    expect(await due()).toMatchObject({ reserved: 0, revenue: 1200, funds: -1200 });
    expect(await deliveryOf(seller, open.leadId)).toMatchObject({ billingClosesAt: null, priceMinor: 200 });
    expect(await woken(seller)).toEqual([]);
    await expectSoundLedger(seller);
  });

  test("start afresh when a returned lead is sold again", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ leadValue: 1000, billing: inThree });
    const { deliveryId, leadId } = await sell(seller, buyer);
    await move(seller, deliveryId, "qualified");
    expect(await takeBack(seller, leadId, buyer)).toMatchObject({ kind: "unreferred" });
    expect(await seller.funds(buyer)).toMatchObject({ funds: 0, reserved: 0, revenue: 0 });
    expect(await seller.usage(buyer)).toMatchObject({ dayLeads: 0, daySpendMinor: 0 });
    expect(await move(seller, deliveryId, "converted")).toEqual({ kind: "delivery_state", state: "returned" });
    const referral = { leadId, partnerId: buyer.id, override: true, reason: null };
    await referLead(seller.context, seller.organisationId, referral, "staff");
    await seller.settle();
    const again = await deliveryOf(seller, leadId);
    expect(again).toMatchObject({ state: "delivered", billingPoint: "accepted", billedMinor: 200 });
    expect(await move(seller, again.id, "qualified")).toMatchObject({ kind: "moved", isNew: true });
    expect(await seller.funds(buyer)).toMatchObject({ revenue: 500, reserved: 500 });
    await expectSoundLedger(seller);
  });

  test("a part is ended once, whoever moves, closes and takes back at the same time", async () => {
    const seller = await sellers.open();
    const twin = await sellers.openTwin(seller);
    const buyer = await seller.partner({ leadValue: 1000, billing: inThree });
    for (let round = 0; round < 5; round += 1) {
      const { deliveryId, leadId } = await sell(seller, buyer);
      const results = await Promise.allSettled(
        [seller, twin].flatMap((one) => [
          move(one, deliveryId, "qualified"),
          move(one, deliveryId, "converted"),
          move(one, deliveryId, "closed"),
          takeBack(one, leadId, buyer),
        ]),
      );
      expect(results.filter(({ status }) => status === "rejected")).toEqual([]);
      await expectSoundLedger(seller);
    }
    expect(await seller.funds(buyer)).toMatchObject({ funds: 0, reserved: 0, revenue: 0 });
  });

  test("the database itself lets a part be ended once, and no more be given back than was reserved", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ leadValue: 1000, billing: inThree });
    const { deliveryId } = await sell(seller, buyer);
    const forget = async (set: string) =>
      seller.inOrganisation(async (transaction) => sql.raw(`update deliveries set ${set}`).execute(transaction));
    await move(seller, deliveryId, "qualified");
    await forget("billing_point = 'accepted', billed_minor = 200");
    await expect(move(seller, deliveryId, "qualified")).rejects.toMatchObject({
      constraint: "transactions_organisation_id_key_key",
    });
    await expect(forget("billed_minor = 1001")).rejects.toMatchObject({ constraint: "deliveries_billed_minor_check" });
    await forget("billing_point = 'qualified', billed_minor = 500");
  });

  test("an uncertain delivery that staff say is with the partner is billed as if it had accepted", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ leadValue: byAnswer, billing: inThree }, { price: "$.price" });
    sellers.partners.answer(buyer.name, "reset");
    const campaignId = await seller.campaign([], rowOf(buyer));
    const leadId = await seller.lead(campaignId);
    for (const hour of [0, 1, 2, 3, 6, 9]) {
      seller.setTime(new Date(Date.parse(wednesdayMorning) + hour * 3_600_000).toISOString());
      await seller.settle();
    }
    const { id: deliveryId, state } = await deliveryOf(seller, leadId);
    expect(state).toBe("uncertain");
    expect(await seller.funds(buyer)).toMatchObject({ reserved: 3000 });
    const resolution = { deliveryId, outcome: "delivered", reference: null, reason: null } as const;
    await resolveDelivery(seller.context, seller.organisationId, resolution, "staff");
    expect(await deliveryOf(seller, leadId)).toMatchObject({
      priceNote: "missing",
      priceMinor: 1000,
      billedMinor: 200,
    });
    expect(await seller.funds(buyer)).toMatchObject({ reserved: 800, revenue: 200 });
    await expectSoundLedger(seller);
  });
});

describe("introducers", () => {
  async function receiveFrom(seller: Seller, campaignId: string, introducer: Buyer, raw: object = {}) {
    const campaign = await readIntakeCampaign(seller.context, seller.organisationId, campaignId);
    if (campaign === null) throw new Error("no such campaign");
    const entrance = { campaign, intakeKeyId: null, introducerId: introducer.id };
    const unlike = { first_name: "Ann", email: `${Math.random()}@example.com`, ...raw };
    const intake = await receiveLead(seller.context, entrance, { raw: unlike, idempotencyKey: null, source: null });
    if (intake.kind !== "answered") throw new Error(intake.reason);
    return intake.answer.leadId;
  }
  const introducer = async (seller: Seller, leadCost: object, document: object = {}) =>
    seller.partner({
      type: "introducer",
      leadCost: { due: "sold", whenReversed: "reverse", ...leadCost },
      ...document,
    });
  const owed = async (seller: Seller, { id }: Buyer) => {
    const rows = await seller.inOrganisation(async (transaction) =>
      transaction
        .selectFrom("accounts")
        .select(["currency", "balanceMinor"])
        .where("partnerId", "=", id)
        .where("kind", "=", "payable")
        .where("balanceMinor", "<>", 0)
        .orderBy("currency")
        .execute(),
    );
    return Object.fromEntries(rows.map(({ currency, balanceMinor }) => [currency, balanceMinor]));
  };

  test("are owed a percentage of what is paid, whenever it is", async () => {
    const seller = await sellers.open();
    const source = await introducer(seller, { percent: 12.5 });
    const buyer = await seller.partner({ leadValue: 1001, billing: inThree });
    const leadId = await receiveFrom(seller, await seller.campaign([], rowOf(buyer)), source);
    await seller.settle();
    const { id } = await deliveryOf(seller, leadId);
    expect(await owed(seller, source)).toEqual({ GBP: 25 });
    await move(seller, id, "converted");
    // 12.5 % of 1001 is 125.125.
    expect(await owed(seller, source)).toEqual({ GBP: 125 });
    expect(await deliveryOf(seller, leadId)).toMatchObject({ costMinor: 125 });
    await expectSoundLedger(seller);
    await takeBack(seller, leadId, buyer);
    expect(await owed(seller, source)).toEqual({});
    await expectSoundLedger(seller);
  });

  test("are owed a percentage in the currency of the sale", async () => {
    const seller = await sellers.open();
    const source = await introducer(seller, { percent: 10 }, { currency: "GBP" });
    const buyer = await seller.partner({ leadValue: 1000, currency: "EUR" });
    const campaignId = await seller.campaign([], rowOf(buyer));
    await Promise.all([1, 2, 3].map(async () => receiveFrom(seller, campaignId, source)));
    await seller.settle();
    expect(await owed(seller, source)).toEqual({ EUR: 300 });
    await expectSoundLedger(seller);
  });

  test("are owed an amount once for a lead that is sold, however often", async () => {
    const seller = await sellers.open();
    const source = await introducer(seller, { amount: 400 });
    const [first, second] = [await seller.partner(), await seller.partner()];
    const campaignId = await seller.campaign([first, second], { saleLimit: 2 });
    const leadId = await receiveFrom(seller, campaignId, source);
    await seller.settle();
    expect((await seller.leadRow(leadId)).soldCount).toBe(2);
    expect(await owed(seller, source)).toEqual({ GBP: 400 });
    await takeBack(seller, leadId, first);
    expect(await owed(seller, source)).toEqual({ GBP: 400 });
    await takeBack(seller, leadId, second);
    expect(await owed(seller, source)).toEqual({});
    const referral = { leadId, partnerId: first.id, override: true, reason: null };
    await referLead(seller.context, seller.organisationId, referral, "staff");
    await seller.settle();
    expect(await owed(seller, source)).toEqual({ GBP: 400 });
    await expectSoundLedger(seller);
  });

  test("are owed nothing for a lead that is not sold, unless an amount is due when it comes in", async () => {
    const seller = await sellers.open();
    const [onSale, onReceipt] = [
      await introducer(seller, { amount: 400 }),
      await introducer(seller, { amount: 300, due: "received" }),
    ];
    const buyer = await seller.partner();
    sellers.partners.answer(buyer.name, "reject");
    const campaignId = await seller.campaign([buyer]);
    for (const source of [onSale, onReceipt]) {
      await receiveFrom(seller, campaignId, source, { email: `${source.name}@example.com` });
      await receiveFrom(seller, campaignId, source, { first_name: "" });
      // The same lead once more is a duplicate.
      await receiveFrom(seller, campaignId, source, { email: `${source.name}@example.com` });
    }
    await seller.settle();
    expect(await owed(seller, onSale)).toEqual({});
    expect(await owed(seller, onReceipt)).toEqual({ GBP: 300 });
    await expectSoundLedger(seller);
  });

  test("keep what they are owed when a sale is taken back, where that is agreed", async () => {
    const seller = await sellers.open();
    const source = await introducer(seller, { percent: 10, whenReversed: "keep" });
    const buyer = await seller.partner();
    const leadId = await receiveFrom(seller, await seller.campaign([buyer]), source);
    await seller.settle();
    await takeBack(seller, leadId, buyer);
    expect(await owed(seller, source)).toEqual({ GBP: 100 });
    expect(await seller.funds(buyer)).toMatchObject({ revenue: 0, funds: 0 });
    await expectSoundLedger(seller);
  });

  test("are paid as was agreed when the lead came in", async () => {
    const seller = await sellers.open();
    const source = await introducer(seller, { amount: 400 });
    const buyer = await seller.partner();
    await receiveFrom(seller, await seller.campaign([buyer]), source);
    await seller.change(source, { leadCost: null });
    await seller.settle();
    expect(await owed(seller, source)).toEqual({ GBP: 400 });
  });

  test("in a currency without decimals and in one with three", async () => {
    const seller = await sellers.open();
    for (const [currency, leadValue, expected] of [
      ["JPY", 155, 16],
      ["KWD", 12_345, 1234],
      ["JPY", 145, 14],
    ] as const) {
      const source = await introducer(seller, { percent: 10 }, { currency });
      const buyer = await seller.partner({ leadValue, currency });
      await receiveFrom(seller, await seller.campaign([], rowOf(buyer)), source);
      await seller.settle();
      expect(await owed(seller, source)).toEqual({ [currency]: expected });
    }
    await expectSoundLedger(seller);
  });
});
