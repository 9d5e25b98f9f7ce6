import { describe, expect, test } from "@jest/globals";
import { eraseLead } from "../../src/leads/erase-lead.ts";
import { explainLead } from "../../src/leads/explain-lead.ts";
import { readLead } from "../../src/leads/present-lead.ts";
import { redeliverLead } from "../../src/leads/redeliver-lead.ts";
import { referLead } from "../../src/leads/refer-lead.ts";
import { unreferLead } from "../../src/leads/unrefer-lead.ts";
import { answerOffer } from "../../src/offers/answer-offer.ts";
import { endOffers } from "../../src/offers/end-offers.ts";
import { expireDueOffers } from "../../src/offers/expire-offers.ts";
import { isAnythingUnderWay } from "../../src/reports/delivery-summary.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";
import { expectSoundLedger } from "../helpers/sound-ledger.ts";

/** A partner that accepts first gets a lead when it has said yes; else its place and money go back, and the next is asked. */

const sellers = useSellers();

const acceptFirst = { deadlineHours: 24, countOpenHours: false };
const at = (time: string) => `2026-03-${time}:00Z`;

const sentTo = ({ name }: Buyer) => sellers.partners.requestsOf(name).length;
const statesOf = async (seller: Seller, leadId: string) => (await seller.deliveries(leadId)).map(({ state }) => state);
const latest = async (seller: Seller, leadId: string) => (await seller.deliveries(leadId)).at(-1)?.id ?? "";

async function answer(
  seller: Pick<Seller, "context" | "organisationId">,
  deliveryId: string,
  what: "accept" | "decline",
  partnerId: string | null = null,
) {
  const { context, organisationId } = seller;
  const given = { deliveryId, partnerId, answer: what, reason: "because", by: "api" } as const;
  return answerOffer(context, organisationId, given, "staff");
}

/** A partner that accepts first, before one that does not, and a lead that is offered to it. */
async function offerOne(seller: Seller, document: Record<string, unknown> = {}, campaign = {}) {
  const asked = await seller.partner({ acceptFirst, ...document });
  const next = await seller.partner();
  const campaignId = await seller.campaign([asked, next], campaign);
  const leadId = await seller.lead(campaignId);
  await seller.settle();
  return { asked, next, campaignId, leadId, deliveryId: await latest(seller, leadId) };
}

describe("a lead for a partner that accepts first", () => {
  test("is offered: its place and the money are reserved until the deadline, and nothing is sent", async () => {
    const seller = await sellers.open();
    const { asked, next, leadId } = await offerOne(seller);
    const until = new Date(at("05T10:00"));
    expect(await seller.deliveries(leadId)).toMatchObject([
      { state: "offered", offer: "accept", offerUntil: until, dueAt: until, answeredAt: null, partnerId: asked.id },
    ]);
    expect([sentTo(asked), sentTo(next)]).toEqual([0, 0]);
    expect(await seller.usage(asked)).toMatchObject({ dayLeads: 1, daySpendMinor: 1000 });
    expect(await seller.funds(asked)).toMatchObject({ funds: -1000, reserved: 1000, revenue: 0 });
    expect(await seller.leadRow(leadId)).toMatchObject({
      state: "routing",
      stateReason: { code: "offered" },
      dueAt: null,
    });
    await expectSoundLedger(seller);
  });

  test("is delivered whole and charged when it is accepted", async () => {
    const seller = await sellers.open();
    const { asked, next, leadId, deliveryId } = await offerOne(seller);
    seller.setTime(at("04T15:00"));
    expect(await answer(seller, deliveryId, "accept")).toEqual({ kind: "accepted" });
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([
      { id: deliveryId, state: "delivered", answeredAt: new Date(at("04T15:00")), billedMinor: 1000 },
    ]);
    expect(sellers.partners.requestsOf(asked.name)[0]?.body).toMatchObject({ id: leadId, name: "Ann" });
    expect(sentTo(next)).toBe(0);
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 1, stateReason: null });
    expect(await seller.funds(asked)).toMatchObject({ funds: -1000, reserved: 0, revenue: 1000 });
  });

  test("goes to the next when it is declined, with place and money given back, and never to the same again", async () => {
    const seller = await sellers.open();
    const { asked, next, leadId, deliveryId } = await offerOne(seller);
    expect(await answer(seller, deliveryId, "decline")).toEqual({ kind: "declined" });
    expect(await seller.usage(asked)).toMatchObject({ dayLeads: 0, daySpendMinor: 0, totalLeads: 0 });
    expect(await seller.funds(asked)).toMatchObject({ funds: 0, reserved: 0 });
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([
      { state: "declined", reason: "because", dueAt: null, reservedAt: null },
      { state: "delivered", partnerId: next.id },
    ]);
    await unreferLead(
      seller.context,
      seller.organisationId,
      { leadId, partnerId: next.id, reason: null, reroute: true },
      "staff",
    );
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["declined", "returned"]);
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "unsold", stateReason: { code: "all_refused" } });
    await expectSoundLedger(seller);
  });

  test("goes to the next at the deadline, and its place goes back to the windows it was taken from", async () => {
    const seller = await sellers.open();
    const { asked, next, campaignId, leadId } = await offerOne(seller);
    seller.setTime(at("05T09:00"));
    await seller.lead(campaignId);
    await seller.settle();
    expect(await seller.usage(asked)).toMatchObject({ dayLeads: 1, weekLeads: 2, totalLeads: 2 });
    seller.setTime("2026-03-05T09:59:59.999Z");
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["offered"]);
    seller.setTime(at("05T10:00"));
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([
      { state: "expired", reason: "There was no answer in time.", answeredAt: null },
      { state: "delivered", partnerId: next.id },
    ]);
    expect(await seller.usage(asked)).toMatchObject({ dayLeads: 1, daySpendMinor: 1000, weekLeads: 1, totalLeads: 1 });
    expect(await seller.funds(asked)).toMatchObject({ reserved: 1000 });
    await expectSoundLedger(seller);
  });

  test("has a deadline in open hours where that is set, on the partner's clock", async () => {
    const seller = await sellers.open();
    const schedule = { wed: [{ from: "09:00", to: "17:00" }] };
    const { leadId } = await offerOne(seller, { schedule, acceptFirst: { deadlineHours: 8, countOpenHours: true } });
    expect(await seller.deliveries(leadId)).toMatchObject([{ dueAt: new Date(at("11T10:00")) }]);
  });

  test("that waited for it, closed or out of limits, is offered when it is released", async () => {
    const seller = await sellers.open({ at: at("04T08:00") });
    const asked = await seller.partner({ acceptFirst, schedule: { wed: [{ from: "09:00", to: "17:00" }] } });
    const leadId = await seller.lead(await seller.campaign([asked]));
    await seller.settle();
    const [held] = await seller.deliveries(leadId);
    expect(held).toMatchObject({ state: "held", offer: null });
    seller.setTime(at("04T09:00"));
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([
      { id: held?.id, state: "offered", dueAt: new Date(at("05T09:00")), holdUntil: null },
    ]);
  });

  test("gives its place to a lead that waits for one when it is declined, or its time is over", async () => {
    const seller = await sellers.open();
    const asked = await seller.partner({ acceptFirst, limits: { day: 1 } });
    const campaignId = await seller.campaign([asked]);
    const [first, second, third] = [
      await seller.lead(campaignId),
      await seller.lead(campaignId),
      await seller.lead(campaignId),
    ];
    await seller.settle();
    expect([await statesOf(seller, first), await statesOf(seller, second)]).toEqual([["offered"], ["held"]]);
    await answer(seller, await latest(seller, first), "decline");
    await seller.settle();
    expect(await statesOf(seller, second)).toEqual(["offered"]);
    seller.setTime(at("05T10:00"));
    await seller.settle();
    expect([await statesOf(seller, second), await statesOf(seller, third)]).toEqual([["expired"], ["offered"]]);
  });
});

describe("an accepted lead", () => {
  test("waits for the partner's hours, or the end of its pause, and is given to nobody else meanwhile", async () => {
    const seller = await sellers.open();
    const { asked, next, leadId, deliveryId } = await offerOne(seller, {
      schedule: { wed: [{ from: "09:00", to: "17:00" }] },
    });
    seller.setTime(at("04T20:00"));
    await answer(seller, deliveryId, "accept");
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([{ state: "sending", dueAt: new Date(at("11T09:00")) }]);
    seller.setTime(at("11T09:00"));
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["delivered"]);
    expect([sentTo(asked), sentTo(next)]).toEqual([1, 0]);

    const paused = await offerOne(seller);
    const until = new Date(at("11T10:00"));
    await seller.inOrganisation(async (transaction) =>
      transaction
        .updateTable("endpoints")
        .set({ pausedUntil: until, pauseReason: "401", pauseCount: 1 })
        .where("partnerId", "=", paused.asked.id)
        .execute(),
    );
    await answer(seller, paused.deliveryId, "accept");
    await seller.settle();
    expect(await seller.deliveries(paused.leadId)).toMatchObject([{ state: "sending", dueAt: until }]);
    seller.setTime(at("11T10:00"));
    await seller.settle();
    expect(await statesOf(seller, paused.leadId)).toEqual(["delivered"]);
  });

  test("that the partner's system refuses goes to the next, and costs nothing", async () => {
    const seller = await sellers.open();
    const { asked, next, leadId, deliveryId } = await offerOne(seller);
    sellers.partners.answer(asked.name, "reject");
    await answer(seller, deliveryId, "accept");
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["rejected", "delivered"]);
    expect(await seller.funds(asked)).toMatchObject({ funds: 0, reserved: 0, revenue: 0 });
    expect(sentTo(next)).toBe(1);
  });
});

describe("of several answers one counts", () => {
  test("the first; later ones are told what became of it, and change nothing", async () => {
    const seller = await sellers.open();
    const { leadId, deliveryId } = await offerOne(seller);
    await answer(seller, deliveryId, "accept");
    expect(await answer(seller, deliveryId, "decline")).toEqual({ kind: "already", state: "sending" });
    await seller.settle();
    expect(await answer(seller, deliveryId, "accept")).toEqual({ kind: "already", state: "delivered" });
    expect(await statesOf(seller, leadId)).toEqual(["delivered"]);
  });

  test("none after the deadline, whether or not a worker has noticed it", async () => {
    const seller = await sellers.open();
    const { asked, deliveryId, leadId } = await offerOne(seller);
    seller.setTime(at("05T10:00"));
    expect(await answer(seller, deliveryId, "accept")).toEqual({ kind: "expired" });
    expect(await statesOf(seller, leadId)).toEqual(["expired"]);
    expect(await seller.funds(asked)).toMatchObject({ funds: 0, reserved: 0 });
    expect(await answer(seller, deliveryId, "accept")).toEqual({ kind: "expired" });
  });

  test("not a worker's that found the offer due a moment before it was accepted", async () => {
    const seller = await sellers.open();
    const { asked, deliveryId, leadId } = await offerOne(seller);
    await answer(seller, deliveryId, "accept");
    const partner = { id: asked.id, organisationId: seller.organisationId, timeZone: "Europe/London" };
    const late = new Date(at("05T10:00"));
    for (const state of ["expired", "declined", "cancelled"] as const) {
      const ended = await seller.inOrganisation(async (transaction) =>
        endOffers(transaction, partner, [deliveryId], { state, reason: null }, late),
      );
      expect(ended).toEqual([]);
    }
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["delivered"]);
    await expectSoundLedger(seller);
  });

  test("none of another partner, nor of what was never offered", async () => {
    const seller = await sellers.open();
    const { asked, next, leadId, deliveryId } = await offerOne(seller);
    expect(await answer(seller, deliveryId, "accept", next.id)).toEqual({ kind: "not_found" });
    const plain = await seller.lead(await seller.campaign([next]));
    await seller.route((await seller.leadRow(plain)).campaignId);
    expect(await answer(seller, await latest(seller, plain), "accept")).toEqual({ kind: "not_found" });
    expect(await answer(seller, leadId, "accept")).toEqual({ kind: "not_found" });
    expect(await answer(seller, deliveryId, "accept", asked.id)).toEqual({ kind: "accepted" });
  });

  test("in two processes that accept, decline and expire it at the same time, again and again", async () => {
    const seller = await sellers.open();
    const twin = await sellers.openTwin(seller);
    const asked = await seller.partner({ acceptFirst, limits: { month: 1000 } });
    const next = await seller.partner();
    const campaignId = await seller.campaign([asked, next]);
    const leadIds = await seller.leads(campaignId, 40);
    await seller.route(campaignId);
    // For the twin the deadline has passed; for the other there is a moment left. Both are right, within their clocks.
    const late = new Date(at("05T10:00"));
    seller.setTime("2026-03-05T09:59:59.990Z");
    const lateTwin = { ...twin, context: { ...twin.context, clock: () => late } };
    const deliveryIds = await Promise.all(leadIds.map(async (leadId) => latest(seller, leadId)));
    const answers = deliveryIds.map(async (deliveryId) =>
      Promise.all([
        answer(seller, deliveryId, "accept"),
        answer(seller, deliveryId, "decline"),
        answer(twin, deliveryId, "accept"),
        answer(lateTwin, deliveryId, "accept"),
      ]),
    );
    const expiries = [1, 2].map(async () => expireDueOffers(lateTwin.context, seller.organisationId));
    const [outcomes] = await Promise.all([Promise.all(answers), Promise.all(expiries)]);
    const accepted = outcomes.map((ofLead) => ofLead.filter(({ kind }) => kind === "accepted").length);
    const declined = outcomes.map((ofLead) => ofLead.filter(({ kind }) => kind === "declined").length);
    for (const [index, leadId] of leadIds.entries()) {
      const [delivery, ...others] = await seller.deliveries(leadId);
      const state = delivery?.state ?? "";
      expect({ leadId, answers: [accepted[index], declined[index]], state, others: others.length }).toMatchObject({
        answers: state === "sending" ? [1, 0] : state === "declined" ? [0, 1] : [0, 0],
        state: expect.stringMatching(/^(sending|declined|expired)$/),
        others: 0,
      });
    }
    const sold = accepted.filter((count) => count === 1).length;
    expect(await seller.usage(asked)).toMatchObject({ totalLeads: sold, monthLeads: sold });
    expect(await seller.funds(asked)).toMatchObject({ funds: -1000 * sold, reserved: 1000 * sold });
    await seller.settle();
    expect(await seller.leadStates(campaignId)).toEqual({ sold: 40 });
    expect([sentTo(asked), sentTo(next)]).toEqual([sold, 40 - sold]);
    await expectSoundLedger(seller);
  });
});

describe("what staff do with an offered lead", () => {
  const refer = async (seller: Seller, leadId: string, partnerId: string, override: boolean) =>
    referLead(seller.context, seller.organisationId, { leadId, partnerId, override, reason: null }, "staff");

  test("refer offers it too, and sends it at once where told to override", async () => {
    const seller = await sellers.open();
    const asked = await seller.partner({ acceptFirst });
    const campaignId = await seller.campaign([]);
    const [first, second] = [await seller.lead(campaignId), await seller.lead(campaignId)];
    await seller.settle();
    expect(await refer(seller, first, asked.id, false)).toMatchObject({
      kind: "referred",
      offeredUntil: new Date(at("05T10:00")),
    });
    expect(await refer(seller, second, asked.id, true)).toMatchObject({ kind: "referred", offeredUntil: null });
    await seller.settle();
    expect([await statesOf(seller, first), await statesOf(seller, second)]).toEqual([["offered"], ["delivered"]]);
    expect(sentTo(asked)).toBe(1);
    await answer(seller, await latest(seller, first), "accept");
    await seller.settle();
    expect(await statesOf(seller, first)).toEqual(["delivered"]);
  });

  test("unrefer takes it back, and the partner cannot accept it any more", async () => {
    const seller = await sellers.open();
    const { asked, leadId, deliveryId } = await offerOne(seller);
    const taken = { leadId, partnerId: asked.id, reason: null, reroute: false };
    expect((await unreferLead(seller.context, seller.organisationId, taken, "staff")).kind).toBe("unreferred");
    expect(await answer(seller, deliveryId, "accept")).toEqual({ kind: "already", state: "cancelled" });
    expect(await seller.funds(asked)).toMatchObject({ funds: 0, reserved: 0 });
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "unsold", stateReason: { code: "unreferred" } });
  });

  test("erase withdraws it: place and money go back, and nobody gets it", async () => {
    const seller = await sellers.open();
    const { asked, next, leadId, deliveryId } = await offerOne(seller);
    const change = { organisationId: seller.organisationId, by: "staff", at: seller.context.clock() };
    expect(await eraseLead(seller.context, change, leadId)).toBe("erased");
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([{ state: "cancelled", dueAt: null }]);
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "erased", dueAt: null });
    expect(await seller.funds(asked)).toMatchObject({ funds: 0, reserved: 0 });
    expect(await answer(seller, deliveryId, "accept")).toEqual({ kind: "already", state: "cancelled" });
    expect(sentTo(next)).toBe(0);
    await expectSoundLedger(seller);
  });

  test("redeliver refuses it: there is nothing to send again", async () => {
    const seller = await sellers.open();
    const { leadId, deliveryId } = await offerOne(seller);
    const again = { leadId, deliveryId, reason: null };
    expect(await redeliverLead(seller.context, seller.organisationId, again, "staff")).toEqual({
      kind: "delivery_state",
      state: "offered",
    });
  });
});

describe("an offer", () => {
  test("counts as one of the places of a shared lead, and its end lets another in", async () => {
    const seller = await sellers.open();
    const buyers = [await seller.partner({ acceptFirst }), await seller.partner(), await seller.partner()];
    const leadId = await seller.lead(await seller.campaign(buyers, { saleLimit: 2 }));
    await seller.settle();
    expect((await statesOf(seller, leadId)).toSorted()).toEqual(["delivered", "offered"]);
    const offered = (await seller.deliveries(leadId)).find(({ state }) => state === "offered");
    await answer(seller, offered?.id ?? "", "decline");
    await seller.settle();
    expect((await statesOf(seller, leadId)).toSorted()).toEqual(["declined", "delivered", "delivered"]);
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 2 });
  });

  test("is told in the explanation and in the timeline, in plain words", async () => {
    const seller = await sellers.open();
    const { campaignId, asked, leadId, deliveryId } = await offerOne(seller);
    const explained = await explainLead(seller.context, seller.organisationId, campaignId, {
      first_name: "Kim",
      email: "kim@example.com",
    });
    expect(explained?.partners.map(({ partnerId, result }) => [partnerId === asked.id, result])).toEqual([
      [true, "offered"],
      [false, "not_needed"],
    ]);
    await answer(seller, deliveryId, "decline");
    await seller.settle();
    const lead = await seller.inOrganisation(async (transaction) => readLead(transaction, leadId));
    const told = lead?.timeline.map(({ text }) => text).join("\n");
    expect(told).toContain(`It was offered to ${asked.name}, to be accepted by 2026-03-05T10:00:00.000Z.`);
    expect(told).toContain("The partner declined it (staff): because.");
    expect(told).toContain(`The delivery to ${asked.name} ended: declined: because.`);
    expect(lead?.deliveries[0]?.offer).toMatchObject({ kind: "accept", answeredAt: "2026-03-04T10:00:00.000Z" });
  });

  test("does not keep those waiting who wait for what is under way", async () => {
    const seller = await sellers.open();
    const { next } = await offerOne(seller);
    expect(await isAnythingUnderWay(seller.context, seller.organisationId)).toBe(false);
    await seller.lead(await seller.campaign([next]));
    expect(await isAnythingUnderWay(seller.context, seller.organisationId)).toBe(true);
  });

  test("stays what it was when the partner's setting changes under it", async () => {
    const seller = await sellers.open();
    const { asked, leadId, deliveryId } = await offerOne(seller);
    await seller.change(asked, { acceptFirst: null });
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["offered"]);
    expect(await answer(seller, deliveryId, "accept")).toEqual({ kind: "accepted" });
  });
});
