import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { sql } from "kysely";
import { readIntakeCampaign } from "../../src/leads/intake-campaign.ts";
import { moveBillingPoint } from "../../src/leads/move-billing-point.ts";
import { receiveLead } from "../../src/leads/receive-lead.ts";
import { redeliverLead } from "../../src/leads/redeliver-lead.ts";
import { referLead } from "../../src/leads/refer-lead.ts";
import { decideReturn, returnLead } from "../../src/leads/return-lead.ts";
import { reverseIntroducer, reverseMoney } from "../../src/leads/reverse-money.ts";
import { reverseReferral, unreferLead } from "../../src/leads/unrefer-lead.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";
import { expectSoundLedger } from "../helpers/sound-ledger.ts";

/**
 * Returns and everything else that can happen to a sale, in any order and by many at once, on real PostgreSQL with real
 * partners: nothing is charged and returned at once, every limit is exact, and nobody gets a lead twice.
 */

const sellers = useSellers();

interface Terms {
  /** Of each of the three partners. */
  readonly policies: readonly {
    readonly decide: "auto" | "staff";
    readonly place: "give_back" | "keep";
    readonly cost: "as_agreed" | "reverse" | "keep";
    readonly rerouteWithinHours: number | null;
    readonly perMonth: { readonly leads?: number; readonly percent?: number } | null;
  }[];
  readonly acceptedPercent: number;
  readonly saleLimit: number;
  readonly dayLimit: number;
  readonly leadCost: Record<string, unknown>;
}

const somePolicy = fc.record({
  decide: fc.constantFrom("auto" as const, "staff" as const),
  place: fc.constantFrom("give_back" as const, "keep" as const),
  cost: fc.constantFrom("as_agreed" as const, "reverse" as const, "keep" as const),
  rerouteWithinHours: fc.constantFrom(null, 24, 24),
  perMonth: fc.constantFrom(null, { leads: 1 }, { percent: 34 }, { leads: 3, percent: 50 }),
});

const someTerms: fc.Arbitrary<Terms> = fc.record({
  policies: fc.array(somePolicy, { minLength: 3, maxLength: 3 }),
  acceptedPercent: fc.constantFrom(1, 20, 99),
  saleLimit: fc.constantFrom(1, 2),
  dayLimit: fc.constantFrom(0, 4),
  leadCost: fc.constantFrom<Record<string, unknown>[]>(
    { percent: 12.5 },
    { percent: 33.3333, whenReversed: "keep" },
    { amount: 70 },
    { amount: 70, whenReversed: "keep" },
    { amount: 50, due: "received" },
  ),
});

const verbs = [
  "return",
  "return",
  "decide",
  "unrefer",
  "reverse",
  "reverse_introducer",
  "reverse_referral",
  "convert",
  "close",
  "redeliver",
  "refer",
] as const;

type Step =
  | { readonly verb: "sell"; readonly refusedBy: number }
  | {
      readonly verb: (typeof verbs)[number];
      readonly lead: number;
      readonly partner: number;
      readonly yes: boolean;
    };

const someStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({ verb: fc.constant("sell" as const), refusedBy: fc.integer({ min: 0, max: 5 }) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      verb: fc.constantFrom(...verbs),
      lead: fc.nat(30),
      partner: fc.nat(2),
      yes: fc.boolean(),
    }),
  },
);

interface Shop {
  readonly buyers: readonly Buyer[];
  readonly introducer: Buyer;
  readonly campaignId: string;
  readonly terms: Terms;
  readonly leadIds: string[];
}

async function openShop(seller: Seller, terms: Terms): Promise<Shop> {
  const { policies, acceptedPercent, saleLimit, dayLimit, leadCost } = terms;
  const billing = { accepted: { percent: acceptedPercent }, converted: { percent: 100 - acceptedPercent } };
  const buyers: Buyer[] = [];
  for (const returns of policies) {
    const limits = { day: dayLimit };
    buyers.push(await seller.partner({ leadValue: 1001, billing, returns, limits, whenCapped: "next" }));
  }
  const introducer = await seller.partner({ type: "introducer", leadCost });
  const routing = [{ method: "round_robin", partners: buyers.map(({ id }) => ({ partnerId: id })) }];
  const campaignId = await seller.campaign([], { routing, saleLimit, duplicates: null });
  return { buyers, introducer, campaignId, terms, leadIds: [] };
}

let received = 0;

async function sell(seller: Seller, shop: Shop, refusedBy: number): Promise<void> {
  const campaign = await readIntakeCampaign(seller.context, seller.organisationId, shop.campaignId);
  if (campaign === null) throw new Error("no such campaign");
  for (const [index, { name }] of shop.buyers.entries()) {
    sellers.partners.answer(name, index === refusedBy ? "reject" : "accept");
  }
  received += 1;
  const raw = { first_name: "Ann", email: `returned${received}@example.com` };
  const entrance = { campaign, intakeKeyId: null, introducerId: shop.introducer.id };
  const intake = await receiveLead(seller.context, entrance, { raw, idempotencyKey: null, source: null });
  if (intake.kind !== "answered") throw new Error(intake.reason);
  shop.leadIds.push(intake.answer.leadId);
}

async function perform(seller: Seller, shop: Shop, step: Step): Promise<void> {
  const { context, organisationId } = seller;
  if (step.verb === "sell") return sell(seller, shop, step.refusedBy);
  const leadId = shop.leadIds[step.lead % Math.max(1, shop.leadIds.length)];
  const partnerId = shop.buyers[step.partner]?.id ?? "";
  if (leadId === undefined) return undefined;
  const named = { leadId, partnerId, reason: null, reroute: step.yes };
  const deliveries = await seller.deliveries(leadId);
  const own = deliveries.findLast((row) => row.partnerId === partnerId);
  switch (step.verb) {
    case "return": {
      const why = step.yes ? { reason: "duplicate", comment: null } : { reason: null, comment: "no" };
      await returnLead(context, organisationId, { leadId, partnerId, ...why, override: false }, "partner");
      break;
    }
    case "decide": {
      const asked = await returnsOf(seller, shop);
      const open = asked.filter(({ state }) => state === "open");
      const { id: returnId } = open[step.lead % Math.max(1, open.length)] ?? {};
      const decision = step.yes ? "accepted" : "declined";
      if (returnId !== undefined)
        await decideReturn(context, organisationId, { returnId, decision, note: null }, "staff");
      break;
    }
    case "unrefer":
      await unreferLead(context, organisationId, named, "staff");
      break;
    case "reverse":
      await reverseMoney(context, organisationId, named, "staff");
      break;
    case "reverse_introducer":
      await reverseIntroducer(context, organisationId, named, "staff");
      break;
    case "reverse_referral":
      await reverseReferral(context, organisationId, named, "staff");
      break;
    case "redeliver":
      if (own !== undefined) {
        await redeliverLead(context, organisationId, { leadId, deliveryId: own.id, reason: null }, "staff");
      }
      break;
    case "refer":
      await referLead(context, organisationId, { leadId, partnerId, override: false, reason: null }, "staff");
      break;
    case "convert":
    case "close": {
      const to = step.verb === "close" ? "closed" : "converted";
      if (own !== undefined) {
        await moveBillingPoint(context, organisationId, { deliveryId: own.id, to, reason: null }, "staff");
      }
    }
  }
}

const returnsOf = async (seller: Seller, { buyers }: Shop) =>
  seller.inOrganisation(async (transaction) =>
    transaction
      .selectFrom("returns")
      .selectAll()
      .where(
        "partnerId",
        "in",
        buyers.map(({ id }) => id),
      )
      .orderBy("id")
      .execute(),
  );

/** Every delivery of the shop with what is booked for it: what the partner is down by, and what was earned. */
const booksOf = async (seller: Seller, { campaignId }: Shop) =>
  seller.inOrganisation(async (transaction) => {
    const { rows } = await sql<{ id: string; spent: number; earned: number }>`
      select d.id, coalesce(-sum(e.amount_minor) filter (where a.kind in ('funds', 'reserved')), 0) as spent,
        coalesce(sum(e.amount_minor) filter (where a.kind = 'revenue'), 0) as earned
      from deliveries d
      left join transactions t on t.delivery_id = d.id and t.partner_id = d.partner_id
      left join entries e on e.transaction_id = t.id
      left join accounts a on a.id = e.account_id
      where d.campaign_id = ${campaignId} group by d.id`.execute(transaction);
    return new Map(rows.map((row) => [row.id, row]));
  });

async function expectInvariants(seller: Seller, shop: Shop): Promise<void> {
  const { buyers, campaignId, terms, leadIds } = shop;
  const deliveries = (await Promise.all(leadIds.map(async (id) => seller.deliveries(id)))).flat();
  const books = await booksOf(seller, shop);
  const returns = await returnsOf(seller, shop);
  const byId = new Map(deliveries.map((row) => [row.id, row]));

  // Charged or returned, never both, and never half.
  for (const { id, state, reversedAt, billedMinor, billingPoint, soldAt } of deliveries) {
    const { spent, earned } = books.get(id) ?? { spent: 0, earned: 0 };
    expect({ id, spent, earned }).toEqual({ id, spent: billedMinor, earned: billedMinor });
    const parts = { null: 0, accepted: Math.round(10.01 * terms.acceptedPercent), qualified: -1, converted: 1001 };
    expect(billedMinor).toBe(reversedAt === null ? parts[billingPoint ?? "null"] : 0);
    if (state === "returned") expect(reversedAt).not.toBeNull();
    if (state === "delivered") expect(soldAt).not.toBeNull();
  }
  for (const { deliveryId, state } of returns) {
    const sale = byId.get(deliveryId);
    if (state === "accepted") expect(sale?.reversedAt).not.toBeNull();
    if (state === "open") expect(sale).toMatchObject({ reversedAt: null, state: "delivered" });
  }

  for (const [index, { id, name }] of buyers.entries()) {
    // As many as was agreed, and one for each sale.
    const counted = returns.filter(({ partnerId, state }) => partnerId === id && state !== "declined");
    const sold = deliveries.filter(({ partnerId, soldAt }) => partnerId === id && soldAt !== null);
    const { leads = Number.POSITIVE_INFINITY, percent = 100 } = terms.policies[index]?.perMonth ?? {};
    expect(counted.length).toBeLessThanOrEqual(Math.min(leads, Math.floor((sold.length * percent) / 100)));
    expect(new Set(counted.map(({ deliveryId }) => deliveryId)).size).toBe(counted.length);

    // No lead twice, whatever way it came round.
    expect(new Set(sold.map(({ leadId }) => leadId)).size).toBe(sold.length);
    const keys = new Map<string, Set<string>>();
    for (const { body, idempotencyKey } of sellers.partners.requestsOf(name)) {
      keys.set(String(body.id), (keys.get(String(body.id)) ?? new Set()).add(idempotencyKey));
    }
    expect([...keys.values()].filter(({ size }) => size > 1)).toEqual([]);

    // A place is taken by exactly those that have one, and money counted of exactly those that cost some.
    const placed = deliveries.filter(({ partnerId, reservedAt }) => partnerId === id && reservedAt !== null);
    const spentMinor = placed
      .filter(({ state }) => state !== "returned")
      .reduce((sum, { priceMinor }) => sum + priceMinor, 0);
    const used = { totalLeads: placed.length, dayLeads: placed.length, daySpendMinor: spentMinor };
    expect(await seller.usage({ id, name })).toMatchObject(used);
    expect(await seller.usage({ id, name }, campaignId)).toMatchObject(used);
    if (terms.dayLimit > 0) expect(placed.length).toBeLessThanOrEqual(terms.dayLimit);
  }

  for (const leadId of leadIds) {
    const lead = await seller.leadRow(leadId);
    const standing = deliveries.filter((row) => row.leadId === leadId && row.state === "delivered").length;
    expect({ leadId, soldCount: lead.soldCount }).toEqual({ leadId, soldCount: standing });
    expect(standing).toBeLessThanOrEqual(terms.saleLimit);
    expect([lead.state === "sold", lead.state]).toEqual([standing > 0 && lead.state !== "held", lead.state]);
  }
  await expectSoundLedger(seller);
}

test("property: in any order, sales end charged or returned, limits are exact, and no partner gets a lead twice", async () => {
  const seller = await sellers.open();
  await fc.assert(
    fc.asyncProperty(someTerms, fc.array(someStep, { minLength: 15, maxLength: 30 }), async (terms, steps) => {
      const shop = await openShop(seller, terms);
      for (const refusedBy of [5, 0]) await sell(seller, shop, refusedBy);
      await seller.settle();
      for (const step of steps) {
        await perform(seller, shop, step);
        await seller.settle();
      }
      await expectInvariants(seller, shop);
    }),
    { numRuns: 12 },
  );
}, 240_000);

test("property: so they do when eight do everything at once", async () => {
  const seller = await sellers.open();
  const twin = await sellers.openTwin(seller);
  const someClients = fc.array(fc.array(someStep, { minLength: 5, maxLength: 8 }), { minLength: 8, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(someTerms, someClients, async (terms, clients) => {
      const shop = await openShop(seller, terms);
      for (const refusedBy of [5, 5, 5, 0, 1]) await sell(seller, shop, refusedBy);
      await seller.settle();
      await Promise.all(
        clients.map(async (steps, index) => {
          const own = index % 2 === 0 ? seller : twin;
          for (const step of steps) {
            await perform(own, shop, step);
            await own.settle();
          }
        }),
      );
      await seller.settle();
      await expectInvariants(seller, shop);
    }),
    { numRuns: 4, endOnFailure: true },
  );
}, 240_000);
