import { afterAll, beforeAll, expect, test } from "@jest/globals";
import fc from "fast-check";
import { sql } from "kysely";
import { type MailCatcher, startMailCatcher } from "../../demo/mail-catcher.ts";
import { demoAccount, type SmsCatcher, startSmsCatcher } from "../../demo/sms-catcher.ts";
import { sendDueAlerts } from "../../src/alerts/send-due-alerts.ts";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import { createPool, openDatabase } from "../../src/db/database.ts";
import { newId } from "../../src/db/id.ts";
import { unreferLead } from "../../src/leads/unrefer-lead.ts";
import { readPartnerFunds } from "../../src/ledger/accounts.ts";
import { book, type Movement } from "../../src/ledger/book.ts";
import { recordPayment } from "../../src/ledger/record-payment.ts";
import { type PartnerDocument, partnerSchema } from "../../src/partners/partner.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";

const sellers = useSellers();

let sms: SmsCatcher;
let mail: MailCatcher;
beforeAll(async () => {
  sms = await startSmsCatcher("127.0.0.1", 0);
  mail = await startMailCatcher("127.0.0.1", 0);
});
afterAll(async () => {
  await Promise.all([sms.stop(), mail.stop()]);
  await closeOutbound();
});

const contact = partnerSchema.shape.contact.parse({ email: "acme@example.com", phone: "+447700900001" });
const alerts = partnerSchema.shape.alerts.parse({ fundsSms: true, fundsEmail: true });

async function openFunded(document: Partial<PartnerDocument> = {}): Promise<{ seller: Seller; buyer: Buyer }> {
  const environment = {
    SMTP_HOST: "127.0.0.1",
    SMTP_PORT: String(mail.port),
    SMTP_FROM: "Handoff <handoff@example.com>",
    TWILIO_ACCOUNT_SID: demoAccount.accountSid,
    TWILIO_AUTH_TOKEN: demoAccount.authToken,
    TWILIO_FROM: "+442079460000",
    TWILIO_BASE_URL: sms.url,
  };
  const seller = await sellers.open({ environment });
  await seller.setStaffEmail("staff@example.com");
  const buyer = await seller.partner({ creditLimit: 0, lowFundsThreshold: 5000, contact, alerts, ...document });
  return { seller, buyer };
}

async function pay(seller: Seller, buyer: Buyer, amountMinor: number): Promise<void> {
  const change = { organisationId: seller.organisationId, by: "test", at: seller.context.clock() };
  const kind = amountMinor > 0 ? "payment" : "refund";
  const payment = { partnerId: buyer.id, kind, amountMinor: Math.abs(amountMinor), reason: "x", idempotencyKey: null };
  const result = await recordPayment(seller.context, change, { ...payment, kind });
  expect(result.kind).toBe("booked");
}

async function sell(seller: Seller, campaignId: string, count = 1): Promise<readonly string[]> {
  const ids = await seller.leads(campaignId, count);
  await seller.settle();
  return ids;
}

const readAlerts = async (seller: Seller) =>
  seller.inOrganisation(async (transaction) => transaction.selectFrom("alerts").selectAll().orderBy("id").execute());

/** How many crossings were told: each goes to staff once. */
async function told(seller: Seller, kind: "low_funds" | "out_of_funds"): Promise<number> {
  const found = await readAlerts(seller);
  return found.filter((alert) => alert.kind === kind && alert.recipient === "staff@example.com").length;
}

const fundsOf = async (seller: Seller, buyer: Buyer) => {
  const funds = await seller.inOrganisation(async (transaction) => readPartnerFunds(transaction, [buyer.id], "read"));
  const own = funds.get(buyer.id);
  if (own === undefined) throw new Error("no funds");
  return own;
};

test("falling below the threshold is told to the partner by SMS and email, as it wishes, and to staff, once", async () => {
  const { seller, buyer } = await openFunded();
  const campaignId = await seller.campaign([buyer]);
  await pay(seller, buyer, 7000);
  await sell(seller, campaignId, 2);
  expect(await readAlerts(seller)).toEqual([]);
  await sell(seller, campaignId, 2);
  const made = await readAlerts(seller);
  expect(made.map(({ channel, recipient }) => [channel, recipient]).sort()).toEqual([
    ["email", "acme@example.com"],
    ["email", "staff@example.com"],
    ["sms", "+447700900001"],
  ]);
  for (const alert of made) {
    expect(alert).toMatchObject({
      kind: "low_funds",
      partnerId: buyer.id,
      state: "due",
      dueAt: seller.context.clock(),
    });
  }
  expect(await fundsOf(seller, buyer)).toMatchObject({ lowSince: seller.context.clock(), outSince: null });
});

test.each([
  ["nobody but staff where it wants neither", { fundsSms: false, fundsEmail: false }, ["staff@example.com"]],
  ["only who was asked for", { fundsSms: true, fundsEmail: false }, ["+447700900001", "staff@example.com"]],
  ["staff alone where it gets a summary instead", { fundsSummaryAt: "18:00" }, ["staff@example.com"]],
])("low funds are told to %s", async (_, wishes, recipients) => {
  const { seller, buyer } = await openFunded({ alerts: { ...alerts, ...wishes } });
  await pay(seller, buyer, 5500);
  await sell(seller, await seller.campaign([buyer]));
  expect((await readAlerts(seller)).map(({ recipient }) => recipient).sort()).toEqual(recipients);
});

test("a payment that lifts the funds above the threshold arms the alert again, one that does not lift them so far does not", async () => {
  const { seller, buyer } = await openFunded();
  const campaignId = await seller.campaign([buyer]);
  await pay(seller, buyer, 5500);
  await sell(seller, campaignId);
  await pay(seller, buyer, 500);
  expect((await fundsOf(seller, buyer)).lowSince).not.toBeNull();
  await sell(seller, campaignId);
  expect(await told(seller, "low_funds")).toBe(1);
  await pay(seller, buyer, 1001);
  expect((await fundsOf(seller, buyer)).lowSince).toBeNull();
  await sell(seller, campaignId);
  expect(await told(seller, "low_funds")).toBe(2);
});

test("a lead that the partner refuses gives its money back and arms nothing: the next one is not told again", async () => {
  const { seller, buyer } = await openFunded();
  const campaignId = await seller.campaign([buyer]);
  await pay(seller, buyer, 5500);
  sellers.partners.answer(buyer.name, "reject");
  for (let lead = 0; lead < 3; lead += 1) await sell(seller, campaignId);
  expect(await told(seller, "low_funds")).toBe(1);
  expect(await fundsOf(seller, buyer)).toMatchObject({ balanceMinor: 5500, reservedMinor: 0 });
});

test("a sale that is taken back is a credit: it arms the alert", async () => {
  const { seller, buyer } = await openFunded();
  const campaignId = await seller.campaign([buyer]);
  await pay(seller, buyer, 5500);
  const [leadId = ""] = await sell(seller, campaignId);
  await unreferLead(
    seller.context,
    seller.organisationId,
    { leadId, partnerId: buyer.id, reason: null, reroute: false },
    "x",
  );
  expect((await fundsOf(seller, buyer)).lowSince).toBeNull();
});

test("a lower credit limit and a higher threshold can bring it about too, and their opposites arm it", async () => {
  const { seller, buyer } = await openFunded({ creditLimit: 6000 });
  await seller.change(buyer, { creditLimit: 4000 });
  expect(await told(seller, "low_funds")).toBe(1);
  await seller.change(buyer, { creditLimit: 7000 });
  expect((await fundsOf(seller, buyer)).lowSince).toBeNull();
  await seller.change(buyer, { lowFundsThreshold: 7001 });
  expect(await told(seller, "low_funds")).toBe(2);
  await seller.change(buyer, { lowFundsThreshold: 0 });
  expect((await fundsOf(seller, buyer)).lowSince).toBeNull();
  await pay(seller, buyer, 100);
  await pay(seller, buyer, -100);
  expect(await told(seller, "low_funds")).toBe(2);
});

test("funds that were never above the threshold have not fallen below it", async () => {
  const { seller, buyer } = await openFunded();
  await pay(seller, buyer, 3000);
  await sell(seller, await seller.campaign([buyer]));
  expect(await readAlerts(seller)).toEqual([]);
  expect((await fundsOf(seller, buyer)).lowSince).toEqual(seller.context.clock());
});

test("out of funds is told once, when a lead is missed for want of money alone, until that lead could be paid for", async () => {
  const { seller, buyer } = await openFunded({ lowFundsThreshold: 0 });
  const other = await seller.partner();
  const campaignId = await seller.campaign([buyer, other]);
  await pay(seller, buyer, 1500);
  await sell(seller, campaignId);
  expect(await readAlerts(seller)).toEqual([]);
  await sell(seller, campaignId, 3);
  const made = await readAlerts(seller);
  expect(made.map(({ kind, recipient }) => [kind, recipient]).sort()).toEqual([
    ["out_of_funds", "+447700900001"],
    ["out_of_funds", "acme@example.com"],
    ["out_of_funds", "staff@example.com"],
  ]);
  expect(made[0]?.detail).toEqual({ available_minor: 500, price_minor: 1000, currency: "GBP" });
  await pay(seller, buyer, 499);
  await sell(seller, campaignId);
  expect(await told(seller, "out_of_funds")).toBe(1);
  await pay(seller, buyer, 1);
  expect((await fundsOf(seller, buyer)).outSince).toBeNull();
  await sell(seller, campaignId, 2);
  expect(await told(seller, "out_of_funds")).toBe(2);
});

test("nobody is out of funds who would not have got the lead anyhow", async () => {
  const { seller, buyer } = await openFunded({ lowFundsThreshold: 0 });
  const closed = await seller.partner({ creditLimit: 0, schedule: { sun: [{ from: "09:00", to: "10:00" }] } });
  const first = await seller.partner();
  await sell(seller, await seller.campaign([closed, first, buyer]));
  expect(await readAlerts(seller)).toEqual([]);
});

test("the SMS is charged at the organisation's rate and shows among what was booked for the partner", async () => {
  const { seller, buyer } = await openFunded();
  const { context, organisationId } = seller;
  await pay(seller, buyer, 5500);
  await sell(seller, await seller.campaign([buyer]));
  await sendDueAlerts(context, organisationId);
  const sent = await readAlerts(seller);
  expect(sent.map(({ state, error }) => [state, error])).toEqual(sent.map(() => ["sent", null]));
  const text = sms.texts().find(({ to }) => to === contact.phone)?.body;
  expect(text).toBe(`Handoff: funds of ${buyer.name} with Seller are low: 45.00 GBP available, threshold 50.00.`);
  const booked = await seller.inOrganisation(async (transaction) =>
    transaction
      .selectFrom("transactions as t")
      .innerJoin("entries as e", "e.transactionId", "t.id")
      .innerJoin("accounts as a", "a.id", "e.accountId")
      .select(["a.kind", "e.amountMinor", "t.partnerId", "t.reason"])
      .where("t.kind", "=", "sms")
      .orderBy("e.amountMinor")
      .execute(),
  );
  expect(booked).toEqual([
    { kind: "sms_payable", amountMinor: -5, partnerId: buyer.id, reason: "1 × 5" },
    { kind: "sms_usage", amountMinor: 5, partnerId: buyer.id, reason: "1 × 5" },
  ]);
});

/** What the alert of low funds is to do, knowing the operations alone. */
class Model {
  balance = 0;
  credit: number;
  threshold: number;
  isLow: boolean;
  told = 0;

  constructor(credit: number, threshold: number) {
    this.credit = credit;
    this.threshold = threshold;
    this.isLow = credit < threshold;
  }

  change(isCredit: boolean): void {
    const available = this.balance + this.credit;
    if (this.threshold === 0) this.isLow = false;
    else if (available < this.threshold && !this.isLow) {
      this.isLow = true;
      this.told += 1;
    } else if (available > this.threshold && isCredit) this.isLow = false;
  }
}

const amount = fc.integer({ min: 1, max: 60 });
const someStep = fc.oneof(
  fc.record({
    kind: fc.constantFrom("payment", "refund", "reserve", "void", "reverse", "adjustment"),
    amount,
  }),
  fc.record({ kind: fc.constantFrom("creditLimit", "lowFundsThreshold"), amount: fc.integer({ min: 0, max: 100 }) }),
);

const outward: readonly string[] = ["refund", "reserve"];

test("in whatever order funds change, each crossing is told once, as a model of it says", async () => {
  const seller = await sellers.open();
  await seller.setStaffEmail("staff@example.com");
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 100 }),
      fc.integer({ min: 0, max: 100 }),
      fc.array(someStep, { maxLength: 30 }),
      async (creditLimit, lowFundsThreshold, steps) => {
        const buyer = await seller.partner({ creditLimit, lowFundsThreshold });
        const model = new Model(creditLimit, lowFundsThreshold);
        for (const { kind, amount } of steps) {
          if (kind === "creditLimit") {
            const isCredit = amount > model.credit;
            if (amount !== model.credit) {
              model.credit = amount;
              model.change(isCredit);
            }
            await seller.change(buyer, { creditLimit: amount });
          } else if (kind === "lowFundsThreshold") {
            if (amount !== model.threshold) {
              model.threshold = amount;
              model.change(true);
            }
            await seller.change(buyer, { lowFundsThreshold: amount });
          } else {
            const isOut = outward.includes(kind);
            // What is voided was reserved before.
            if (kind === "void") await move(seller, buyer, "reserve", amount, () => model.change(false), model);
            await move(seller, buyer, kind, amount, () => model.change(!isOut && kind !== "void"), model);
          }
          const own = await fundsOf(seller, buyer);
          expect({ isLow: own.lowSince !== null, told: await toldOf(seller, buyer) }).toEqual({
            isLow: model.isLow,
            told: model.told,
          });
        }
      },
    ),
    { numRuns: 25 },
  );
});

async function toldOf(seller: Seller, { id }: Buyer): Promise<number> {
  return (await readAlerts(seller)).filter(({ kind, partnerId }) => kind === "low_funds" && partnerId === id).length;
}

async function move(seller: Seller, buyer: Buyer, kind: string, amountMinor: number, judge: () => void, model: Model) {
  const { accounts } = await fundsOf(seller, buyer);
  const isOut = outward.includes(kind);
  const other = kind === "reserve" || kind === "void" ? accounts.reserved : accounts.adjustment;
  const movement: Movement = {
    key: newId(),
    kind: kind as Movement["kind"],
    currency: "GBP",
    partnerId: buyer.id,
    leadId: null,
    deliveryId: null,
    reason: null,
    createdBy: "test",
    fromAccountId: isOut ? accounts.funds : other,
    toAccountId: isOut ? other : accounts.funds,
    amountMinor,
  };
  await seller.inOrganisation(async (transaction) =>
    book(transaction, seller.organisationId, [movement], seller.context.clock()),
  );
  model.balance += isOut ? -amountMinor : amountMinor;
  judge();
}

test("16 clients sell, pay and give back at once: what is told is what the account went through, in its order", async () => {
  const { seller, buyer } = await openFunded({ creditLimit: 4000 });
  const twins = [
    seller,
    await sellers.openTwin(seller),
    await sellers.openTwin(seller),
    await sellers.openTwin(seller),
  ];
  const campaignIds = [await seller.campaign([buyer]), await seller.campaign([buyer])];
  const { accounts } = await fundsOf(seller, buyer);
  const owner = openDatabase(createPool(seller.databaseUrl, "owner", 1));
  try {
    // Written while the account's row is locked: so its numbers are in the order of the changes.
    await sql`create table passed (number bigserial, before bigint, after bigint, low boolean)`.execute(owner);
    await sql`
      create function note_passing() returns trigger language plpgsql security definer as $$
      begin
        insert into passed (before, after, low) values (old.balance_minor, new.balance_minor, new.low_since is not null);
        return null;
      end $$`.execute(owner);
    await sql
      .raw(
        `create trigger passing after update on accounts for each row when (new.id = '${accounts.funds}') execute function note_passing()`,
      )
      .execute(owner);
    await Promise.all(
      Array.from({ length: 16 }, async (_, client) => {
        const own = twins[client % twins.length] ?? seller;
        const campaignId = campaignIds[client % 2] ?? "";
        for (let round = 0; round < 4; round += 1) {
          if ((client + round) % 3 === 0) await pay(own, buyer, 1500);
          else {
            await own.lead(campaignId);
            await own.route(campaignId);
          }
        }
      }),
    );
    await seller.settle();
    const { rows } = await sql<{ before: number; after: number; low: boolean }>`
      select before, after, low from passed order by number`.execute(owner);
    const model = new Model(4000, 5000);
    for (const { before, after } of rows) {
      if (before === after) continue;
      expect(before).toBe(model.balance);
      model.balance = after;
      model.change(after > before);
    }
    expect(model.told).toBeGreaterThan(0);
    expect(await told(seller, "low_funds")).toBe(model.told);
    const own = await fundsOf(seller, buyer);
    expect(own.lowSince !== null).toBe(model.isLow);
  } finally {
    await owner.destroy();
  }
});

test("16 clients that sell at once cross the threshold once and find the funds gone once", async () => {
  const { seller, buyer } = await openFunded();
  const twin = await sellers.openTwin(seller);
  const campaignIds = [await seller.campaign([buyer]), await seller.campaign([buyer])];
  await pay(seller, buyer, 10_000);
  await Promise.all(
    Array.from({ length: 16 }, async (_, client) => {
      const own = client % 2 === 0 ? seller : twin;
      const campaignId = campaignIds[client % 2] ?? "";
      await own.lead(campaignId);
      await own.route(campaignId);
    }),
  );
  await seller.settle();
  expect(await told(seller, "low_funds")).toBe(1);
  expect(await told(seller, "out_of_funds")).toBe(1);
  expect(await fundsOf(seller, buyer)).toMatchObject({ balanceMinor: 0, reservedMinor: 0 });
});
