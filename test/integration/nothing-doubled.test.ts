import { describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { newId } from "../../src/db/id.ts";
import { claimDeliveries } from "../../src/delivery/claim-deliveries.ts";
import { drainDueDeliveries } from "../../src/delivery/drain-partner.ts";
import { takePartner } from "../../src/delivery/drained-partner.ts";
import type { Intake } from "../../src/leads/receive-lead.ts";
import { readPartnerFunds } from "../../src/ledger/accounts.ts";
import { book, endPartMovement } from "../../src/ledger/book.ts";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import { type Seller, useSellers } from "../helpers/seller.ts";
import { until } from "../helpers/until.ts";

const sellers = useSellers();

const answerOf = (intake: Intake) => {
  if (intake.kind !== "answered") throw new Error(intake.reason);
  return intake.answer;
};
const countLeads = async (seller: Seller, campaignId: string) =>
  Object.values(await seller.leadStates(campaignId)).reduce((sum, count) => sum + count, 0);

const matching = (mode: "any" | "all", days = 30) => ({ duplicates: { match: ["email", "phone"], mode, days } });
const ann = { first_name: "Ann", email: "ann@example.com", phone: "+44 20 7946 0001" };

describe("the same Idempotency-Key", () => {
  test("with the same content gets the first answer, word for word, and makes no second lead", async () => {
    const seller = await sellers.open();
    const campaignId = await seller.campaign([]);
    const first = await seller.receive(campaignId, ann, "key");
    // The order of what was sent does not make it another content.
    const second = await seller.receive(campaignId, Object.fromEntries(Object.entries(ann).reverse()), "key");
    expect(second).toEqual({ ...first, isReplay: true });
    expect(await countLeads(seller, campaignId)).toBe(1);
  });

  test("with other content is refused", async () => {
    const seller = await sellers.open();
    const campaignId = await seller.campaign([]);
    await seller.receive(campaignId, ann, "key");
    const other = await seller.receive(campaignId, { ...ann, first_name: "Anne" }, "key");
    expect(other).toEqual({ kind: "refused", reason: "idempotency_conflict" });
    expect(await countLeads(seller, campaignId)).toBe(1);
  });

  test("gets the answer of an invalid lead again as well", async () => {
    const seller = await sellers.open();
    const campaignId = await seller.campaign([]);
    const first = await seller.receive(campaignId, { email: "no email" }, "key");
    expect(answerOf(first).status).toBe("invalid");
    expect(await seller.receive(campaignId, { email: "no email" }, "key")).toEqual({ ...first, isReplay: true });
  });

  test("is a key of one campaign", async () => {
    const seller = await sellers.open();
    const [one, other] = [await seller.campaign([]), await seller.campaign([])];
    const first = answerOf(await seller.receive(one, ann, "key"));
    expect(answerOf(await seller.receive(other, ann, "key")).leadId).not.toBe(first.leadId);
  });

  test("in twenty requests at once, over two processes, makes one lead and one answer", async () => {
    const seller = await sellers.open();
    const campaignId = await seller.campaign([]);
    const twin = await sellers.openTwin(seller);
    const intakes = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => (index % 2 ? seller : twin).receive(campaignId, ann, "key")),
    );
    expect(new Set(intakes.map((intake) => answerOf(intake).leadId)).size).toBe(1);
    expect(intakes.filter((intake) => intake.kind === "answered" && !intake.isReplay)).toHaveLength(1);
    expect(await countLeads(seller, campaignId)).toBe(1);
  });
});

describe("a duplicate is stored as such and says of which lead", () => {
  test("mode any: one matching field is enough", async () => {
    const seller = await sellers.open();
    const campaignId = await seller.campaign([await seller.partner()], matching("any"));
    const first = answerOf(await seller.receive(campaignId, ann));
    const second = answerOf(await seller.receive(campaignId, { ...ann, email: "other@example.com" }));
    expect(second).toMatchObject({ status: "duplicate", duplicateOf: first.leadId });
    await seller.settle();
    expect(await seller.leadStates(campaignId)).toEqual({ sold: 1, duplicate: 1 });
  });

  test("mode all: every matched field, in one earlier lead", async () => {
    const seller = await sellers.open();
    const campaignId = await seller.campaign([], matching("all"));
    const first = answerOf(await seller.receive(campaignId, ann));
    const statusOf = async (raw: Record<string, unknown>) => answerOf(await seller.receive(campaignId, raw));
    expect((await statusOf({ ...ann, email: "other@example.com" })).status).toBe("received");
    expect((await statusOf({ ...ann, phone: "+44 20 7946 0002" })).status).toBe("received");
    // Its email is of one earlier lead and its phone of another: of neither is it a duplicate.
    const mixed = { first_name: "Ann", email: "other@example.com", phone: "+44 20 7946 0002" };
    expect((await statusOf(mixed)).status).toBe("received");
    expect((await statusOf({ first_name: "Ann", email: ann.email })).status).toBe("received");
    expect(await statusOf({ ...ann, first_name: "Anne" })).toMatchObject({
      status: "duplicate",
      duplicateOf: first.leadId,
    });
  });

  test("however the values are written", async () => {
    const seller = await sellers.open();
    const campaignId = await seller.campaign([], matching("all"));
    await seller.receive(campaignId, ann);
    const written = { first_name: "ANN", email: " Ann@Example.com ", phone: "020 7946 0001" };
    expect(answerOf(await seller.receive(campaignId, written)).status).toBe("duplicate");
  });

  test("within the days that the campaign says and not after", async () => {
    const seller = await sellers.open({ at: "2026-03-01T10:00:00Z" });
    const campaignId = await seller.campaign([], matching("any", 30));
    await seller.receive(campaignId, ann);
    seller.setTime("2026-03-31T09:59:59Z");
    expect(answerOf(await seller.receive(campaignId, { ...ann, first_name: "B" })).status).toBe("duplicate");
    seller.setTime("2026-03-31T10:00:01Z");
    expect(answerOf(await seller.receive(campaignId, { ...ann, first_name: "C" })).status).toBe("received");
  });

  test("but not of an invalid lead, nor of another campaign's", async () => {
    const seller = await sellers.open();
    const [campaignId, other] = [
      await seller.campaign([], matching("any")),
      await seller.campaign([], matching("any")),
    ];
    expect(answerOf(await seller.receive(campaignId, { ...ann, first_name: "" })).status).toBe("invalid");
    await seller.receive(other, ann);
    expect(answerOf(await seller.receive(campaignId, ann)).status).toBe("received");
  });

  test("of many that come at once, over two processes, exactly one is received", async () => {
    const seller = await sellers.open();
    const twin = await sellers.openTwin(seller);
    const campaignId = await seller.campaign([], matching("any"));
    const intakes = await Promise.all(
      Array.from({ length: 30 }, async (_, index) => {
        const raw = { first_name: `Ann ${index}`, email: `ann${index}@example.com`, phone: ann.phone };
        return (index % 2 ? seller : twin).receive(campaignId, raw);
      }),
    );
    const answers = intakes.map(answerOf);
    const received = answers.filter(({ status }) => status === "received");
    expect(received).toHaveLength(1);
    for (const answer of answers) {
      if (answer.status === "duplicate") expect(answer.duplicateOf).toBe(received[0]?.leadId);
    }
  });

  test("the same content within 60 seconds without a key is one, even where nothing is matched", async () => {
    const seller = await sellers.open();
    const campaignId = await seller.campaign([]);
    const first = answerOf(await seller.receive(campaignId, ann));
    seller.setTime("2026-03-04T10:00:59Z");
    expect(answerOf(await seller.receive(campaignId, ann))).toMatchObject({
      status: "duplicate",
      duplicateOf: first.leadId,
    });
    seller.setTime("2026-03-04T10:01:01Z");
    expect(answerOf(await seller.receive(campaignId, ann)).status).toBe("received");
  });
});

describe("a lead is sold once and charged once", () => {
  test("with several routers and several drains at once", async () => {
    const seller = await sellers.open();
    const twin = await sellers.openTwin(seller);
    const buyer = await seller.partner();
    const campaignId = await seller.campaign([buyer]);
    await seller.leads(campaignId, 150);
    const route = async ({ context, organisationId }: Seller) => routeDueLeads(context, organisationId, campaignId);
    const drain = async ({ context, organisationId }: Seller) => drainDueDeliveries(context, organisationId, buyer.id);
    await Promise.all([route(seller), route(twin), drain(seller), drain(twin), route(seller), route(twin)]);
    await Promise.all([drain(seller), drain(twin), drain(seller)]);
    await seller.settle();
    expect(await seller.leadStates(campaignId)).toEqual({ sold: 150 });
    expect(sellers.partners.requestsOf(buyer.name)).toHaveLength(150);
    expect(await seller.funds(buyer)).toMatchObject({ reserved: 0, revenue: 150_000 });
  });

  test("when the lease was lost while the partner answered: the first to settle it does, and the other stops quietly", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner();
    const campaignId = await seller.campaign([buyer]);
    const leadId = await seller.lead(campaignId);
    await seller.route(campaignId);
    sellers.partners.answer(buyer.name, { delayMs: 400 });
    const first = drainDueDeliveries(seller.context, seller.organisationId, buyer.id);
    await until(() => sellers.partners.requestsOf(buyer.name).length === 1);
    // Its process stood still for so long that another took over.
    seller.setTime("2026-03-04T10:00:10Z");
    sellers.partners.answer(buyer.name, "accept");
    await seller.settle();
    await first;
    const [delivery] = await seller.deliveries(leadId);
    expect(delivery).toMatchObject({ state: "delivered", attemptCount: 2 });
    expect((await seller.attempts(delivery?.id ?? "")).map(({ outcome }) => outcome)).toEqual([
      "interrupted",
      "accepted",
    ]);
    const keys = sellers.partners.requestsOf(buyer.name).map(({ idempotencyKey }) => idempotencyKey);
    expect(keys).toEqual([delivery?.id, delivery?.id]);
    expect(await seller.funds(buyer)).toMatchObject({ funds: -1000, reserved: 0, revenue: 1000 });
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 1 });
  });

  test("when the lease was lost and both are under way: what the one that lost it hears is not settled", async () => {
    const seller = await sellers.open();
    const [buyer, other] = [await seller.partner(), await seller.partner()];
    const campaignId = await seller.campaign([buyer, other]);
    const leadId = await seller.lead(campaignId);
    await seller.route(campaignId);
    const drain = async () => drainDueDeliveries(seller.context, seller.organisationId, buyer.id);
    sellers.partners.answer(buyer.name, { delayMs: 300, outcome: "reject" });
    const first = drain();
    await until(() => sellers.partners.requestsOf(buyer.name).length === 1);
    seller.setTime("2026-03-04T10:00:10Z");
    sellers.partners.answer(buyer.name, { delayMs: 800 });
    const second = drain();
    await first;
    await seller.settle();
    expect((await seller.deliveries(leadId)).map(({ state }) => state)).toEqual(["sending"]);
    await second;
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([{ state: "delivered", partnerId: buyer.id }]);
    expect(await seller.funds(buyer)).toMatchObject({ funds: -1000, reserved: 0, revenue: 1000 });
    expect(sellers.partners.requestsOf(other.name)).toEqual([]);
  });

  test("every attempt of a delivery carries the same idempotency key to the partner", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner();
    sellers.partners.answer(buyer.name, { status: 503 });
    const leadId = await seller.lead(await seller.campaign([buyer]));
    await seller.settle();
    seller.setTime("2026-03-04T10:01:10Z");
    await seller.settle();
    sellers.partners.answer(buyer.name, "accept");
    seller.setTime("2026-03-04T10:10:00Z");
    await seller.settle();
    const [delivery] = await seller.deliveries(leadId);
    const keys = sellers.partners.requestsOf(buyer.name).map(({ idempotencyKey }) => idempotencyKey);
    expect(keys).toEqual([delivery?.id, delivery?.id, delivery?.id]);
  });

  test("a claimed delivery is claimed by nobody else while its lease lasts", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ concurrency: 2 });
    const campaignId = await seller.campaign([buyer]);
    await seller.leads(campaignId, 5);
    await seller.route(campaignId);
    const taken = await takePartner(seller.context, seller.organisationId, buyer.id);
    expect(await takePartner(seller.context, seller.organisationId, buyer.id)).toBeNull();
    if (taken === null) throw new Error("not taken");
    const claim = async () =>
      seller.inOrganisation(async (transaction) =>
        claimDeliveries(transaction, taken.lease, 3, seller.context.clock()),
      );
    const claimed = [taken.first?.deliveries ?? [], ...(await Promise.all([claim(), claim(), claim()]))];
    const ids = claimed.flat().map(({ id }) => id);
    expect([ids.length, new Set(ids).size]).toEqual([5, 5]);
  });
});

describe("the database itself refuses a second", () => {
  test.each(["post", "void"] as const)("end of what a delivery reserved: %s after it was posted", async (kind) => {
    const seller = await sellers.open();
    const buyer = await seller.partner();
    const leadId = await seller.lead(await seller.campaign([buyer]));
    await seller.settle();
    const [delivery] = await seller.deliveries(leadId);
    const again = seller.inOrganisation(async (transaction) => {
      const funds = (await readPartnerFunds(transaction, [buyer.id], "lock")).get(buyer.id);
      if (funds === undefined || delivery === undefined) throw new Error("nothing to book");
      const sale = { ...delivery, deliveryId: delivery.id };
      const part = { point: "accepted", amountMinor: 1000 } as const;
      const movement = endPartMovement(kind, sale, part, funds.accounts);
      await book(transaction, seller.organisationId, [movement], new Date());
    });
    await expect(again).rejects.toMatchObject({ constraint: "transactions_organisation_id_key_key" });
    expect(await seller.funds(buyer)).toMatchObject({ reserved: 0, revenue: 1000 });
  });

  test("live delivery of a lead to one partner", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner();
    const leadId = await seller.lead(await seller.campaign([buyer]));
    await seller.settle();
    const second = seller.inOrganisation(async (transaction) =>
      sql`insert into deliveries (id, organisation_id, lead_id, campaign_id, partner_id, state, price_minor, currency, created_at)
        select ${newId()}, organisation_id, lead_id, campaign_id, partner_id, 'sending', 0, 'GBP', now()
        from deliveries where lead_id = ${leadId}`.execute(transaction),
    );
    await expect(second).rejects.toMatchObject({ constraint: "deliveries_one_per_partner" });
  });
});
