import { describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { verifyLedgerCommand } from "../../src/commands/ledger-commands.ts";
import { createPool, type Database, openDatabase } from "../../src/db/database.ts";
import { newId } from "../../src/db/id.ts";
import { issueInvoice } from "../../src/invoices/issue-invoice.ts";
import { voidInvoice } from "../../src/invoices/settle-invoice.ts";
import { referLead } from "../../src/leads/refer-lead.ts";
import { unreferLead } from "../../src/leads/unrefer-lead.ts";
import { recordPayment } from "../../src/ledger/record-payment.ts";
import { verifyLedger } from "../../src/ledger/verify-ledger.ts";
import { addOrganisation } from "../helpers/installation.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";

/** The books are sound, and what is not is found: real sales, then damage that only a superuser can do. */

const sellers = useSellers();

async function asOwner<T>({ databaseUrl }: Seller, work: (owner: Database) => Promise<T>): Promise<T> {
  const owner = openDatabase(createPool(databaseUrl, "owner", 1));
  try {
    return await work(owner);
  } finally {
    await owner.destroy();
  }
}

/** Past every trigger, as nobody can who is no superuser. */
async function damage(seller: Seller, ...statements: readonly ReturnType<typeof sql>[]): Promise<void> {
  await asOwner(seller, async (owner) =>
    owner.transaction().execute(async (transaction) => {
      await sql`set local session_replication_role = replica`.execute(transaction);
      for (const statement of statements) await statement.execute(transaction);
    }),
  );
}

async function verified(seller: Seller) {
  return asOwner(seller, async (owner) => verifyLedger(owner, null));
}

/** What is wrong, in all rules. */
async function problemsOf(seller: Seller): Promise<readonly string[]> {
  return (await verified(seller)).flatMap(({ examples }) => examples);
}

async function book(seller: Seller, buyer: Buyer, kind: "payment" | "refund", amountMinor: number): Promise<void> {
  const change = { organisationId: seller.organisationId, by: "staff", at: seller.context.clock() };
  const payment = { partnerId: buyer.id, kind, amountMinor, reason: "Bank", idempotencyKey: null } as const;
  expect(await recordPayment(seller.context, change, payment)).toMatchObject({ kind: "booked" });
}

async function invoice(seller: Seller, { id }: Buyer): Promise<string> {
  const at = seller.context.clock();
  const today = at.toISOString().slice(0, 10);
  const change = { organisationId: seller.organisationId, by: "staff", at };
  const issued = await issueInvoice(seller.context, change, { partnerId: id, from: today, to: today });
  if (issued.kind !== "issued") throw new Error(JSON.stringify(issued));
  return issued.invoiceId;
}

interface Traded {
  readonly seller: Seller;
  readonly buyer: Buyer;
  readonly campaignId: string;
  /** Sold, and still so. */
  readonly leadId: string;
}

/** Everything that happens to money: sold, refused, given back, taken back, paid, waiting, and past the limit by hand. */
async function trade(): Promise<Traded> {
  const seller = await sellers.open();
  const buyer = await seller.partner({ creditLimit: 2000, whenUnfunded: "next" });
  const refusing = await seller.partner({ creditLimit: 0 });
  sellers.partners.answer(refusing.name, "reject");
  await book(seller, buyer, "payment", 5000);
  await book(seller, refusing, "payment", 1000);
  const campaignId = await seller.campaign([refusing, buyer]);
  const [leadId = "", returnedId = ""] = await seller.leads(campaignId, 5);
  await seller.settle();
  const unreferral = { leadId: returnedId, partnerId: buyer.id, reason: "wrong number", reroute: false };
  await unreferLead(seller.context, seller.organisationId, unreferral, "staff");
  await book(seller, buyer, "refund", 500);
  await seller.change(buyer, { creditLimit: 0 });
  const overridden = await seller.lead(campaignId, { email: "override@example.com" });
  await seller.settle();
  const referral = { leadId: overridden, partnerId: buyer.id, reason: null, override: true };
  await referLead(seller.context, seller.organisationId, referral, "staff");
  await invoice(seller, buyer);
  return { seller, buyer, campaignId, leadId };
}

async function one(seller: Seller, query: ReturnType<typeof sql<{ id: string }>>): Promise<string> {
  const { rows } = await asOwner(seller, async (owner) => query.execute(owner));
  return rows[0]?.id ?? "";
}

describe("handoff ledger verify", () => {
  test("finds nothing wrong with any of what happens to money", async () => {
    const { seller } = await trade();
    const rules = await verified(seller);
    expect(rules.flatMap(({ examples }) => examples)).toEqual([]);
    for (const { rule, looked, wrong } of rules) expect([rule, looked > 0, wrong]).toEqual([rule, true, 0]);
    await seller.settle();
    expect(await problemsOf(seller)).toEqual([]);
  });

  test("a system in use raises no false alarm: everything is read in one snapshot", async () => {
    const seller = await sellers.open();
    const buyers = await Promise.all([seller.partner(), seller.partner()]);
    const campaignId = await seller.campaign(buyers);
    let isTrading = true;
    const trading = (async () => {
      for (let round = 0; round < 12; round += 1) {
        await seller.leads(campaignId, 5);
        await seller.settle();
      }
      isTrading = false;
    })();
    while (isTrading) expect(await problemsOf(seller)).toEqual([]);
    await trading;
  });

  test("entries that do not sum to zero are found", async () => {
    const { seller } = await trade();
    const id = await one(seller, sql`select id from transactions where kind = 'post' limit 1`);
    await damage(
      seller,
      sql`update entries set amount_minor = amount_minor + 1 where transaction_id = ${id} and amount_minor > 0`,
      sql`update accounts set balance_minor = balance_minor + 1 where kind = 'revenue' and id in
          (select account_id from entries where transaction_id = ${id})`,
    );
    expect(await problemsOf(seller)).toEqual([
      `transaction ${id} sums to 1 GBP`,
      expect.stringMatching(/^delivery .* was billed \d+, and \d+ is booked$/),
      expect.stringMatching(/^invoice .* comes to \d+ net, and what is on it to \d+$/),
    ]);
  });

  test("a transaction without entries is found", async () => {
    const { seller } = await trade();
    const id = await one(seller, sql`select id from transactions where kind = 'payment' limit 1`);
    await damage(seller, sql`delete from entries where transaction_id = ${id}`);
    expect(await problemsOf(seller)).toContain(`transaction ${id} has no entries`);
  });

  test("a balance that its entries do not give is found", async () => {
    const { seller, buyer } = await trade();
    const id = await one(seller, sql`select id from accounts where partner_id = ${buyer.id} and kind = 'funds'`);
    const { funds = 0 } = await seller.funds(buyer);
    await damage(seller, sql`update accounts set balance_minor = balance_minor + 100 where id = ${id}`);
    expect(await problemsOf(seller)).toEqual([
      `account ${id} (funds) has ${funds + 100}, and its entries sum to ${funds}`,
    ]);
  });

  test("an entry in another currency than its account, or of another organisation, is found", async () => {
    const { seller, buyer } = await trade();
    const other = await addOrganisation({ databaseUrl: seller.databaseUrl, drop: async () => undefined }, "Other");
    const [cash, adjustment] = [
      await one(seller, sql`select id from accounts where partner_id = ${buyer.id} and kind = 'cash'`),
      await one(seller, sql`select id from accounts where organisation_id = ${other} limit 1`),
    ];
    const paid = await one(
      seller,
      sql`select t.id from transactions t where t.kind = 'payment' and t.partner_id = ${buyer.id}`,
    );
    const refunded = await one(seller, sql`select id from transactions where kind = 'refund'`);
    await damage(seller, sql`update accounts set currency = 'EUR' where id = ${cash}`);
    expect(await problemsOf(seller)).toEqual(
      [paid, refunded].toSorted().map((id) => `transaction ${id} has GBP on account ${cash}, which is in EUR`),
    );
    await damage(
      seller,
      sql`update entries set account_id = ${adjustment} where transaction_id = ${paid} and account_id = ${cash}`,
    );
    expect(await problemsOf(seller)).toContain(
      `transaction ${paid} has an entry on account ${adjustment} of another organisation`,
    );
  });

  test("a reservation that is posted a second time is found", async () => {
    const { seller, leadId } = await trade();
    const delivery = await one(
      seller,
      sql`select id from deliveries where lead_id = ${leadId} and state = 'delivered'`,
    );
    await asOwner(seller, async (owner) => {
      const id = newId();
      await owner.transaction().execute(async (transaction) => {
        await sql`
          insert into transactions (id, organisation_id, key, kind, currency, occurred_at, partner_id, lead_id, delivery_id, created_by)
          select ${id}, organisation_id, 'again', kind, currency, occurred_at, partner_id, lead_id, delivery_id, created_by
          from transactions where delivery_id = ${delivery} and kind = 'post'`.execute(transaction);
        await sql`
          insert into entries (transaction_id, account_id, organisation_id, amount_minor, currency)
          select ${id}, e.account_id, e.organisation_id, e.amount_minor, e.currency
          from entries e join transactions t on t.id = e.transaction_id
          where t.delivery_id = ${delivery} and t.kind = 'post'`.execute(transaction);
      });
    });
    expect(await problemsOf(seller)).toEqual([
      `delivery ${delivery}: 1000 more was posted or voided than was reserved`,
      `delivery ${delivery} was billed 1000, and 2000 is booked`,
    ]);
  });

  test("a delivery that has ended and still holds money, and one under way that holds none, are found", async () => {
    const { seller, leadId } = await trade();
    const sent = await one(seller, sql`select id from deliveries where override`);
    const ended = await one(seller, sql`select id from deliveries where lead_id = ${leadId} and state = 'delivered'`);
    await damage(
      seller,
      sql`update deliveries set state = 'rejected' where id = ${sent}`,
      sql`update deliveries set billed_minor = 400 where id = ${ended}`,
    );
    expect((await problemsOf(seller)).toSorted()).toEqual(
      [
        `delivery ${sent} is rejected, and 1000 is still reserved`,
        `delivery ${ended} is delivered at 600, and 0 is reserved`,
        `delivery ${ended} was billed 400, and 1000 is booked`,
      ].toSorted(),
    );
  });

  test("a sale beyond what was available is found, and one that staff overrode is none", async () => {
    const { seller, buyer } = await trade();
    await seller.settle();
    expect((await seller.funds(buyer)).funds).toBeLessThan(0);
    expect(await problemsOf(seller)).toEqual([]);
    await damage(seller, sql`update deliveries set override = false where override`);
    const id = await one(seller, sql`select t.id from transactions t where kind = 'reserve' order by id desc limit 1`);
    const { funds = 0 } = await seller.funds(buyer);
    // Within the tolerance the credit limit was still 2000: older, it is seen.
    expect(await problemsOf(seller)).toEqual([]);
    await damage(
      seller,
      sql`
        update changes
        set id = (lpad(to_hex(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint - 60000), 12, '0')
          || right(replace(id::text, '-', ''), 20))::uuid
        where object_id = ${buyer.id}`,
    );
    expect(await problemsOf(seller)).toEqual([`transaction ${id} took ${-funds} more than was available`]);
  });

  test("an invoice that is not the sum of its charges or of its lines, and a missing number, are found", async () => {
    const { seller, buyer } = await trade();
    const id = await one(seller, sql`select id from invoices`);
    const change = { organisationId: seller.organisationId, by: "staff", at: seller.context.clock() };
    expect(await voidInvoice(seller.context, change, id, "wrong")).toMatchObject({ kind: "voided" });
    const next = await invoice(seller, buyer);
    expect(await problemsOf(seller)).toEqual([]);
    const net = Number(await one(seller, sql`select net_minor::text as id from invoices where id = ${next}`));
    await damage(seller, sql`update invoices set number = 4 where id = ${next}`);
    expect(await problemsOf(seller)).toEqual([`before invoice ${next} (INV-00003) a number is missing`]);
    await damage(
      seller,
      sql`delete from invoice_charges where invoice_id = ${next} and transaction_id =
          (select min(transaction_id::text)::uuid from invoice_charges where invoice_id = ${next})`,
      sql`update invoice_lines set amount_minor = amount_minor + 1 where invoice_id = ${id} and position = 0`,
    );
    expect((await problemsOf(seller)).toSorted()).toEqual([
      `invoice ${id} (INV-00001) comes to ${net} net, and its lines to ${net + 1}`,
      expect.stringContaining(`invoice ${next} (INV-00003) comes to ${net} net, and what is on it to`),
    ]);
  });

  test("one organisation can be verified alone", async () => {
    const { seller, buyer } = await trade();
    const other = await addOrganisation({ databaseUrl: seller.databaseUrl, drop: async () => undefined }, "Other");
    await damage(seller, sql`update accounts set balance_minor = 1 where partner_id = ${buyer.id} and kind = 'cash'`);
    const wrongOf = async (id: string) =>
      asOwner(seller, async (owner) => (await verifyLedger(owner, id)).reduce((sum, { wrong }) => sum + wrong, 0));
    expect([await wrongOf(other), await wrongOf(seller.organisationId)]).toEqual([0, 1]);
  });

  test("as a command it prints a table, and fails with the ids of what is wrong", async () => {
    const { seller, buyer } = await trade();
    const config = { ...seller.context.config, databaseUrl: seller.databaseUrl };
    const lines: string[] = [];
    expect(await verifyLedgerCommand(config, {}, (line) => lines.push(line))).toEqual({ ok: true });
    expect(lines.join("\n")).toMatch(/rule +looked at +wrong\n[- ]+\neach transaction sums to zero +\d+ +0\n/);
    const id = await one(seller, sql`select id from accounts where partner_id = ${buyer.id} and kind = 'funds'`);
    await damage(seller, sql`update accounts set balance_minor = balance_minor + 100 where id = ${id}`);
    const found = await verifyLedgerCommand(config, {}, () => undefined);
    expect(found).toMatchObject({ ok: false, problem: expect.stringContaining(`account ${id} (funds)`) });
    const misnamed = await verifyLedgerCommand(config, { organisation: "Seller" }, () => undefined);
    expect(misnamed).toMatchObject({ ok: false, problem: expect.stringContaining("by its id") });
  });
});
