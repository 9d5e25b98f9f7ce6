import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { sql } from "kysely";
import { createPool, type Database, openDatabase } from "../../src/db/database.ts";
import { newId } from "../../src/db/id.ts";
import { unreferLead } from "../../src/leads/unrefer-lead.ts";
import { recordPayment } from "../../src/ledger/record-payment.ts";
import { addOrganisation } from "../helpers/installation.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";
import { expectSoundLedger } from "../helpers/sound-ledger.ts";

/** Money is a ledger: double entry, append only, integers; available never goes below zero through a sale. */

const sellers = useSellers();

const sentTo = ({ name }: Buyer) => sellers.partners.requestsOf(name).length;

async function pay(seller: Seller, buyer: Buyer, amountMinor: number): Promise<void> {
  const change = { organisationId: seller.organisationId, by: "staff", at: seller.context.clock() };
  const payment = { partnerId: buyer.id, kind: "payment", amountMinor, reason: "", idempotencyKey: null } as const;
  expect(await recordPayment(seller.context, change, payment)).toMatchObject({ kind: "booked" });
}

async function asOwner<T>(seller: Seller, work: (database: Database) => Promise<T>): Promise<T> {
  const owner = openDatabase(createPool(seller.databaseUrl, "owner", 2));
  try {
    return await work(owner);
  } finally {
    await owner.destroy();
  }
}

describe("a sale", () => {
  test("is reserved with the place, posted on delivery, and the entries sum to zero at every step", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ creditLimit: 0 });
    await pay(seller, buyer, 5000);
    const campaignId = await seller.campaign([buyer]);
    await seller.lead(campaignId);
    await seller.route(campaignId);
    expect(await seller.funds(buyer)).toMatchObject({ cash: -5000, funds: 4000, reserved: 1000, revenue: 0 });
    await expectSoundLedger(seller);
    await seller.settle();
    expect(await seller.funds(buyer)).toMatchObject({ cash: -5000, funds: 4000, reserved: 0, revenue: 1000 });
    await expectSoundLedger(seller);
  });

  test("that comes to nothing is voided", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ creditLimit: 0 });
    sellers.partners.answer(buyer.name, "reject");
    await pay(seller, buyer, 1000);
    await seller.lead(await seller.campaign([buyer]));
    await seller.settle();
    expect(await seller.funds(buyer)).toMatchObject({ funds: 1000, reserved: 0, revenue: 0 });
    await expectSoundLedger(seller);
  });

  test("at price 0 needs no funds and leaves no entry", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ creditLimit: 0, leadValue: 0 });
    const routing = [{ method: "priority", partners: [{ partnerId: buyer.id }] }];
    const leadId = await seller.lead(await seller.campaign([], { routing }));
    await seller.settle();
    expect((await seller.leadRow(leadId)).state).toBe("sold");
    const { rows } = await seller.inOrganisation(async (transaction) => sql`select from entries`.execute(transaction));
    expect(rows).toHaveLength(0);
  });

  test("is at the price of the routing, else at the partner's lead value", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ leadValue: 777 });
    const priced = { method: "priority", partners: [{ partnerId: buyer.id, price: 1250 }] };
    const unpriced = { method: "priority", partners: [{ partnerId: buyer.id }] };
    await seller.lead(await seller.campaign([], { routing: [priced] }));
    await seller.lead(await seller.campaign([], { routing: [unpriced] }));
    await seller.settle();
    expect(await seller.funds(buyer)).toMatchObject({ revenue: 1250 + 777 });
  });
});

describe("a partner without funds", () => {
  test.each([
    ["next", 1, { sold: 1 }],
    ["hold", 0, { held: 1 }],
  ] as const)("is not sold to (%s)", async (whenUnfunded, others, states) => {
    const seller = await sellers.open();
    const [buyer, other] = [await seller.partner({ creditLimit: 999, whenUnfunded }), await seller.partner()];
    const campaignId = await seller.campaign([buyer, other]);
    const leadId = await seller.lead(campaignId);
    await seller.settle();
    expect([sentTo(buyer), sentTo(other)]).toEqual([0, others]);
    expect(await seller.leadStates(campaignId)).toEqual(states);
    const [decision] = await seller.decisions(leadId);
    const entry = decision?.explanation.find(({ partnerId }) => partnerId === buyer.id);
    expect(entry?.reasons).toEqual([{ code: "no_funds", availableMinor: 999, priceMinor: 1000 }]);
  });

  test("balance and credit limit together are what it has, to the last unit", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner({ creditLimit: 500 });
    await pay(seller, buyer, 1500);
    const campaignId = await seller.campaign([buyer], { holdHours: 0 });
    await seller.leads(campaignId, 4);
    await seller.settle();
    expect(await seller.leadStates(campaignId)).toEqual({ sold: 2, unsold: 2 });
    expect(await seller.funds(buyer)).toMatchObject({ funds: -500, revenue: 2000 });
  });

  test("is never overdrawn by batches of two campaigns, two processes and payments at once", async () => {
    const seller = await sellers.open();
    const twin = await sellers.openTwin(seller);
    const buyer = await seller.partner({ creditLimit: 0, concurrency: 20 });
    const campaigns = [
      await seller.campaign([buyer], { holdHours: 0 }),
      await seller.campaign([buyer], { holdHours: 0 }),
    ];
    await pay(seller, buyer, 30_000);
    await Promise.all(campaigns.map(async (id) => seller.leads(id, 60)));
    await Promise.all([
      ...campaigns.flatMap((id) => [seller.route(id), twin.route(id)]),
      ...[1, 2, 3].map(async () => pay(seller, buyer, 1000)),
    ]);
    await Promise.all([seller.settle(), twin.settle(), ...[1, 2, 3].map(async () => pay(twin, buyer, 500))]);
    await seller.settle();
    const { funds = 0, revenue = 0, reserved } = await seller.funds(buyer);
    expect(reserved).toBe(0);
    expect(funds).toBeGreaterThanOrEqual(0);
    expect(funds + revenue).toBe(34_500);
    expect(sentTo(buyer) * 1000).toBe(revenue);
    expect(revenue).toBeGreaterThanOrEqual(30_000);
    await expectSoundLedger(seller);
  });
});

test("property: whatever happens to two partners of two campaigns, the ledger is sound and nobody is overdrawn", async () => {
  const someStep = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant("leads" as const),
        campaign: fc.nat(1),
        count: fc.integer({ min: 1, max: 5 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant("answer" as const),
        buyer: fc.nat(1),
        answer: fc.constantFrom("accept" as const, "reject" as const, "reset" as const),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant("pay" as const),
        buyer: fc.nat(1),
        amountMinor: fc.integer({ min: 1, max: 4000 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("later" as const), minutes: fc.constantFrom(1, 10, 200) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("take back" as const), which: fc.nat() }) },
  );
  const seller = await sellers.open();
  await fc.assert(
    fc.asyncProperty(fc.array(someStep, { minLength: 5, maxLength: 14 }), async (steps) => {
      const buyers = [await seller.partner({ creditLimit: 0 }), await seller.partner({ creditLimit: 1500 })] as const;
      const [first, second] = buyers;
      const campaigns = [
        await seller.campaign([first, second], { holdHours: 1 }),
        await seller.campaign([second, first], { holdHours: 1, saleLimit: 2 }),
      ];
      const leadIds: string[] = [];
      for (const step of steps) {
        const buyer = "buyer" in step ? (buyers[step.buyer] ?? first) : first;
        if (step.kind === "answer") sellers.partners.answer(buyer.name, step.answer);
        else if (step.kind === "pay") await pay(seller, buyer, step.amountMinor);
        else if (step.kind === "leads")
          leadIds.push(...(await seller.leads(campaigns[step.campaign] ?? "", step.count)));
        else if (step.kind === "later") {
          seller.setTime(new Date(seller.context.clock().getTime() + step.minutes * 60_000).toISOString());
        } else {
          const leadId = leadIds[step.which % Math.max(1, leadIds.length)];
          const unreferral = { leadId: leadId ?? newId(), partnerId: second.id, reason: null, reroute: true };
          await unreferLead(seller.context, seller.organisationId, unreferral, "test");
        }
        await seller.settle();
        for (const [index, one] of buyers.entries()) {
          const { funds = 0 } = await seller.funds(one);
          expect(funds + (index === 0 ? 0 : 1500)).toBeGreaterThanOrEqual(0);
        }
      }
      await expectSoundLedger(seller);
    }),
    { numRuns: 12 },
  );
}, 120_000);

describe("the database itself", () => {
  test("refuses to change or remove what is booked, even to its owner", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner();
    await seller.lead(await seller.campaign([buyer]));
    await seller.settle();
    await asOwner(seller, async (owner) => {
      for (const statement of [
        "update entries set amount_minor = amount_minor + 1",
        "delete from entries",
        "truncate entries",
        "update transactions set kind = 'payment'",
        "delete from transactions",
        "truncate transactions cascade",
      ]) {
        await expect(sql.raw(statement).execute(owner)).rejects.toThrow(/append only/);
      }
    });
    await expectSoundLedger(seller);
  });

  test("refuses entries that do not sum to zero, in another currency, or of another organisation", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner();
    const { databaseUrl } = seller;
    const otherId = await addOrganisation({ databaseUrl, drop: async () => undefined }, "Another");
    const accounts = await seller.inOrganisation(async (transaction) =>
      transaction.selectFrom("accounts").select(["id", "kind"]).where("partnerId", "=", buyer.id).execute(),
    );
    const id = (kind: string) => accounts.find((account) => account.kind === kind)?.id ?? "";
    const { rows: others } = await asOwner(seller, async (owner) =>
      sql<{ id: string }>`select id from accounts where organisation_id = ${otherId} limit 1`.execute(owner),
    );
    const enter = async (entries: readonly (readonly [account: string, amountMinor: number, currency: string])[]) =>
      seller.inOrganisation(async (transaction) => {
        const transactionId = newId();
        await sql`insert into transactions (id, organisation_id, key, kind, currency, occurred_at, created_by)
          values (${transactionId}, ${seller.organisationId}, ${transactionId}, 'adjustment', 'GBP', now(), 'test')`.execute(
          transaction,
        );
        const rows = entries.map(([accountId, amountMinor, currency]) => ({
          transactionId,
          accountId,
          organisationId: seller.organisationId,
          amountMinor,
          currency,
        }));
        await transaction.insertInto("entries").values(rows).execute();
      });
    const [funds, revenue] = [id("funds"), id("revenue")];
    await expect(
      enter([
        [funds, -100, "GBP"],
        [revenue, 99, "GBP"],
      ]),
    ).rejects.toThrow(/sum to zero/);
    await expect(enter([[funds, -100, "GBP"]])).rejects.toThrow(/sum to zero/);
    await expect(
      enter([
        [funds, -100, "EUR"],
        [revenue, 100, "EUR"],
      ]),
    ).rejects.toThrow(/another currency or organisation/);
    const foreign = others[0]?.id ?? "";
    await expect(
      enter([
        [funds, -100, "GBP"],
        [foreign, 100, "GBP"],
      ]),
    ).rejects.toThrow(/another currency or organisation/);
    await expect(
      enter([
        [funds, 0, "GBP"],
        [revenue, 0, "GBP"],
      ]),
    ).rejects.toThrow(/amount_minor/);
    await enter([
      [funds, -100, "GBP"],
      [revenue, 100, "GBP"],
    ]);
    expect(await seller.funds(buyer)).toMatchObject({ funds: -100, revenue: 100 });
  });

  test("moves balances by entries alone", async () => {
    const seller = await sellers.open();
    await seller.partner();
    const moved = seller.inOrganisation(async (transaction) =>
      transaction.updateTable("accounts").set({ balanceMinor: 1_000_000 }).execute(),
    );
    await expect(moved).rejects.toThrow(/permission denied/);
  });
});
