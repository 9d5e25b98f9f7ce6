import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { sql } from "kysely";
import { type MailCatcher, startMailCatcher } from "../../demo/mail-catcher.ts";
import { insertAlerts } from "../../src/alerts/insert-alerts.ts";
import { invoiceAlert } from "../../src/alerts/invoice-alert.ts";
import { sendDueAlerts } from "../../src/alerts/send-due-alerts.ts";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import { createPool, type Database, openDatabase } from "../../src/db/database.ts";
import { findInvoice, requireInvoice } from "../../src/invoices/invoice.ts";
import { issueInvoice } from "../../src/invoices/issue-invoice.ts";
import { enterInvoicePayment, voidInvoice } from "../../src/invoices/settle-invoice.ts";
import { unreferLead } from "../../src/leads/unrefer-lead.ts";
import { changeOrganisation } from "../../src/organisations/change-organisation.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";

/** Invoices of real sales; the mail server is the demo's. */

const sellers = useSellers();

let mail: MailCatcher;
beforeAll(async () => {
  mail = await startMailCatcher("127.0.0.1", 0);
});
afterAll(async () => {
  await closeOutbound();
  await mail.stop();
});

const by = (seller: Seller) => ({ organisationId: seller.organisationId, by: "staff", at: seller.context.clock() });

async function issue(seller: Seller, { id }: Buyer, from: string, to: string) {
  return issueInvoice(seller.context, by(seller), { partnerId: id, from, to });
}

/** Issues an invoice that must be issued, and gives it with its lines. */
async function issued(seller: Seller, buyer: Buyer, from: string, to: string) {
  const result = await issue(seller, buyer, from, to);
  if (result.kind !== "issued") throw new Error(JSON.stringify(result));
  return requireInvoice(seller.context, seller.organisationId, result.invoiceId);
}

async function pay(seller: Seller, invoiceId: string, amountMinor: number, idempotencyKey: string | null = null) {
  const payment = { invoiceId, amountMinor, paidOn: null, note: null, idempotencyKey };
  return enterInvoicePayment(seller.context, by(seller), payment);
}

async function stateOf(seller: Seller, id: string) {
  const { state, paidMinor } = (await requireInvoice(seller.context, seller.organisationId, id)).invoice;
  return [state, paidMinor];
}

async function takeBack(seller: Seller, { id }: Buyer, leadId: string): Promise<void> {
  const unreferral = { leadId, partnerId: id, reason: "wrong number", reroute: false };
  const result = await unreferLead(seller.context, seller.organisationId, unreferral, "staff");
  expect(result.kind).toBe("unreferred");
}

async function sell(seller: Seller, campaignId: string, count = 1): Promise<readonly string[]> {
  const ids = await seller.leads(campaignId, count);
  await seller.settle();
  return ids;
}

async function asOwner<T>({ databaseUrl }: Seller, work: (owner: Database) => Promise<T>): Promise<T> {
  const owner = openDatabase(createPool(databaseUrl, "owner", 1));
  try {
    return await work(owner);
  } finally {
    await owner.destroy();
  }
}

/** A seller with a tax rate, and a partner that has bought three leads of one campaign and one of another in March. */
async function afterMarch() {
  const seller = await sellers.open({ at: "2026-03-04T10:00:00Z" });
  await seller.inOrganisation(async (transaction) =>
    changeOrganisation(transaction, by(seller), {
      address: "1 Example Street\nLondon",
      taxId: "GB123",
      taxPercent: 17.5,
    }),
  );
  const buyer = await seller.partner({ contact: { email: "accounts@example.com", address: "2 Example Road" } });
  const home = await seller.campaign([buyer], { name: "Home" });
  const boiler = await seller.campaign([buyer], {
    name: "Boiler",
    routing: [{ method: "priority", partners: [{ partnerId: buyer.id, price: 333 }] }],
  });
  const sold = await sell(seller, home, 3);
  await sell(seller, boiler);
  seller.setTime("2026-04-01T08:00:00Z");
  return { seller, buyer, home, boiler, sold };
}

type Step =
  | { readonly kind: "sell"; readonly count: number }
  | { readonly kind: "takeBack" | "void"; readonly which: number }
  | { readonly kind: "issue" }
  | { readonly kind: "days"; readonly days: number };

/** Does all that, invoices what is left, and compares all invoices with the ledger. */
async function invoiceAsToldBy(steps: readonly Step[]): Promise<void> {
  const seller = await sellers.open({ at: "2026-03-04T10:00:00Z" });
  const buyer = await seller.partner({ timeZone: "Asia/Kathmandu" });
  const campaigns = [await seller.campaign([buyer]), await seller.campaign([buyer], { name: "Boiler" })];
  let time = Date.parse("2026-03-04T10:00:00Z");
  const [held, invoices]: [string[], string[]] = [[], []];
  const issueAll = async () => {
    const yesterday = new Date(time - 86_400_000).toISOString().slice(0, 10);
    const result = await issue(seller, buyer, "2026-03-01", yesterday);
    if (result.kind === "issued") invoices.push(result.invoiceId);
  };
  for (const [index, one] of steps.entries()) {
    if (one.kind === "sell") held.push(...(await sell(seller, campaigns[index % 2] ?? "", one.count)));
    if (one.kind === "takeBack" && held.length > 0) {
      const [leadId = ""] = held.splice(one.which % held.length, 1);
      await takeBack(seller, buyer, leadId);
    }
    if (one.kind === "issue") await issueAll();
    if (one.kind === "void" && invoices.length > 0) {
      const [id = ""] = invoices.splice(one.which % invoices.length, 1);
      expect(await voidInvoice(seller.context, by(seller), id, "wrong")).toMatchObject({ kind: "voided" });
    }
    if (one.kind === "days") {
      time += one.days * 86_400_000;
      seller.setTime(new Date(time).toISOString());
    }
  }
  time += 2 * 86_400_000;
  seller.setTime(new Date(time).toISOString());
  await issueAll();
  const { rows } = await seller.inOrganisation(async (transaction) =>
    sql<{ invoiced: number; lines: number }>`
      select (select coalesce(sum(net_minor), 0) from invoices) as invoiced,
        (select coalesce(sum(amount_minor), 0) from invoice_lines) as lines`.execute(transaction),
  );
  const { revenue } = await seller.funds(buyer);
  expect(rows).toEqual([{ invoiced: revenue, lines: revenue }]);
}

describe("an invoice", () => {
  test("has a number, its lines by campaign, tax rounded once half to even, a due date, and both parties as they were", async () => {
    const { seller, buyer } = await afterMarch();
    const { invoice, lines } = await issued(seller, buyer, "2026-03-01", "2026-03-31");
    expect(lines).toMatchObject([
      { kind: "sales", campaign: "Boiler", count: 1, amountMinor: 333 },
      { kind: "sales", campaign: "Home", count: 3, amountMinor: 3000 },
    ]);
    // 17.5 % of 3333 is 583.275.
    expect(invoice).toMatchObject({
      netMinor: 3333,
      taxMinor: 583,
      totalMinor: 3916,
      taxRate: 175_000,
      currency: "GBP",
    });
    expect(invoice).toMatchObject({
      reference: "INV-00001",
      issuedOn: "2026-04-01",
      dueOn: "2026-04-15",
      state: "open",
    });
    const { id, partnerId } = invoice;
    await seller.change(buyer, { name: "Renamed" });
    const later = await requireInvoice(seller.context, seller.organisationId, id);
    expect(later.invoice).toMatchObject({
      partnerId,
      seller: { name: "Seller", address: "1 Example Street\nLondon", taxId: "GB123" },
      buyer: { name: buyer.name, address: "2 Example Road", taxId: null },
    });
  });

  test("is not issued for days that have not come in the partner's zone, or the wrong way round, or with nothing in it", async () => {
    const { seller, buyer } = await afterMarch();
    const away = await seller.partner({ timeZone: "America/New_York" });
    expect(await issue(seller, away, "2026-03-01", "2026-03-31")).toEqual({ kind: "nothing_to_invoice" });
    seller.setTime("2026-03-31T03:59:00Z");
    expect(await issue(seller, away, "2026-03-01", "2026-03-31")).toMatchObject({ kind: "wrong_period", field: "to" });
    expect(await issue(seller, buyer, "2026-03-31", "2026-03-01")).toMatchObject({ kind: "wrong_period", field: "to" });
    await issued(seller, buyer, "2026-03-01", "2026-03-31");
    expect(await issue(seller, buyer, "2026-03-01", "2026-03-31")).toEqual({ kind: "nothing_to_invoice" });
    const unknown = { id: seller.organisationId, name: "" };
    expect(await issue(seller, unknown, "2026-03-01", "2026-03-31")).toEqual({ kind: "partner_not_found" });
  });

  test("holds what lies in its days in the partner's zone, to the instant", async () => {
    const seller = await sellers.open({ at: "2026-03-29T22:59:59.999Z" });
    // The clocks go forward at 01:00 UTC on 29 March: the 30th begins at 23:00 UTC.
    const buyer = await seller.partner();
    const campaignId = await seller.campaign([buyer]);
    await sell(seller, campaignId);
    seller.setTime("2026-03-29T23:00:00Z");
    await sell(seller, campaignId);
    expect((await issued(seller, buyer, "2026-03-29", "2026-03-29")).invoice.netMinor).toBe(1000);
    seller.setTime("2026-03-30T23:00:00Z");
    expect((await issued(seller, buyer, "2026-03-30", "2026-03-30")).invoice.netMinor).toBe(1000);
  });

  test("shows a lead that was taken back later as a credit on the next one", async () => {
    const { seller, buyer, home, sold } = await afterMarch();
    await issued(seller, buyer, "2026-03-01", "2026-03-31");
    await takeBack(seller, buyer, sold[0] ?? "");
    await sell(seller, home, 2);
    seller.setTime("2026-05-01T08:00:00Z");
    const { invoice, lines } = await issued(seller, buyer, "2026-04-01", "2026-04-30");
    expect(lines).toMatchObject([
      { kind: "sales", campaign: "Home", count: 2, amountMinor: 2000 },
      { kind: "credits", campaign: "Home", count: 1, amountMinor: -1000 },
    ]);
    expect(invoice).toMatchObject({ reference: "INV-00002", netMinor: 1000, taxMinor: 175 });
  });

  test("forgets nothing between two periods: what no invoice has is on the next", async () => {
    const { seller, buyer, home } = await afterMarch();
    await issued(seller, buyer, "2026-03-01", "2026-03-31");
    await sell(seller, home);
    seller.setTime("2026-06-01T08:00:00Z");
    expect((await issued(seller, buyer, "2026-05-01", "2026-05-31")).invoice.netMinor).toBe(1000);
  });

  test("takes each charge once and leaves no number out, however many are issued at once", async () => {
    const seller = await sellers.open({ at: "2026-03-04T10:00:00Z" });
    const buyers = await Promise.all(Array.from({ length: 4 }, async () => seller.partner()));
    for (const buyer of buyers) await sell(seller, await seller.campaign([buyer]), 3);
    seller.setTime("2026-04-01T08:00:00Z");
    const attempts = [...buyers, ...buyers, ...buyers].map(async (buyer) =>
      issue(seller, buyer, "2026-03-01", "2026-03-31"),
    );
    const kinds = (await Promise.all(attempts)).map(({ kind }) => kind).toSorted();
    expect(kinds).toEqual([...Array(4).fill("issued"), ...Array(8).fill("nothing_to_invoice")]);
    const rows = await seller.inOrganisation(async (transaction) =>
      transaction.selectFrom("invoices").select(["number", "netMinor"]).orderBy("number").execute(),
    );
    expect(rows).toEqual([1, 2, 3, 4].map((number) => ({ number, netMinor: 3000 })));
  });

  test("cannot be changed or deleted once it is issued, and no charge can be on two: the database refuses", async () => {
    const { seller, buyer } = await afterMarch();
    const { invoice } = await issued(seller, buyer, "2026-03-01", "2026-03-31");
    await pay(seller, invoice.id, 100);
    for (const table of ["invoices", "invoice_lines", "invoice_payments"]) {
      for (const statement of [`update ${table} set organisation_id = organisation_id`, `delete from ${table}`]) {
        await expect(asOwner(seller, async (owner) => sql.raw(statement).execute(owner))).rejects.toThrow(
          "append only",
        );
        const attempt = seller.inOrganisation(async (transaction) => sql.raw(statement).execute(transaction));
        await expect(attempt).rejects.toThrow("permission denied");
      }
    }
    const again = asOwner(seller, async (owner) =>
      sql`
        with other as (
          insert into invoices select gen_random_uuid(), organisation_id, partner_id, 2, 'INV-00002', null, period_from, period_to, starts_at,
            ends_at, currency, net_minor, tax_name, tax_rate, tax_minor, total_minor, issued_at, issued_on, due_on, seller, buyer,
            reason, created_by from invoices returning id
        )
        insert into invoice_charges select other.id, transaction_id, organisation_id from invoice_charges, other`.execute(
        owner,
      ),
    );
    await expect(again).rejects.toThrow("invoice_charges_once");
  });

  test("all invoices together come to what the ledger says was sold, whatever is sold, taken back and voided", async () => {
    const step: fc.Arbitrary<Step> = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant("sell" as const), count: fc.integer({ min: 1, max: 3 }) }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("takeBack" as const), which: fc.nat(50) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("issue" as const) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("void" as const), which: fc.nat(50) }) },
      {
        weight: 2,
        arbitrary: fc.record({ kind: fc.constant("days" as const), days: fc.integer({ min: 1, max: 40 }) }),
      },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 30 }), async (steps) => invoiceAsToldBy(steps)),
      { numRuns: 2, endOnFailure: true },
    );
  }, 60_000);
});

describe("what is paid on an invoice", () => {
  test("makes it partly paid, then paid; never more than its total nor less than nothing; a mistake is taken back", async () => {
    const { seller, buyer } = await afterMarch();
    const { id } = (await issued(seller, buyer, "2026-03-01", "2026-03-31")).invoice;
    expect(await pay(seller, id, 3917)).toEqual({ kind: "out_of_range", leastMinor: 0, mostMinor: 3916 });
    expect(await pay(seller, id, -1)).toMatchObject({ kind: "out_of_range" });
    expect(await pay(seller, id, 916)).toEqual({ kind: "entered" });
    expect(await stateOf(seller, id)).toEqual(["partly_paid", 916]);
    expect(await pay(seller, id, 3000)).toEqual({ kind: "entered" });
    expect(await stateOf(seller, id)).toEqual(["paid", 3916]);
    expect(await pay(seller, id, 1)).toEqual({ kind: "out_of_range", leastMinor: -3916, mostMinor: 0 });
    expect(await pay(seller, id, -3916)).toEqual({ kind: "entered" });
    expect(await stateOf(seller, id)).toEqual(["open", 0]);
  });

  test("is entered once for each idempotency key, and together never too much", async () => {
    const { seller, buyer } = await afterMarch();
    const { id } = (await issued(seller, buyer, "2026-03-01", "2026-03-31")).invoice;
    await Promise.all(Array.from({ length: 4 }, async () => pay(seller, id, 1000, "bank-1")));
    expect(await stateOf(seller, id)).toEqual(["partly_paid", 1000]);
    expect(await pay(seller, id, 1001, "bank-1")).toEqual({ kind: "idempotency_conflict" });
    const many = await Promise.all(Array.from({ length: 6 }, async () => pay(seller, id, 1000)));
    expect(many.filter(({ kind }) => kind === "entered")).toHaveLength(2);
    expect(await stateOf(seller, id)).toEqual(["partly_paid", 3000]);
  });

  test("decides whether it is overdue, from the day after it was due in the organisation's zone", async () => {
    const { seller, buyer } = await afterMarch();
    const { id } = (await issued(seller, buyer, "2026-03-01", "2026-03-31")).invoice;
    seller.setTime("2026-04-15T22:59:00Z");
    expect(await stateOf(seller, id)).toEqual(["open", 0]);
    seller.setTime("2026-04-15T23:00:00Z");
    expect(await stateOf(seller, id)).toEqual(["overdue", 0]);
    await pay(seller, id, 3916);
    expect(await stateOf(seller, id)).toEqual(["paid", 3916]);
  });
});

describe("an invoice that is wrong", () => {
  test("is voided by a credit note of the opposite amounts, and what it held is on the next one", async () => {
    const { seller, buyer } = await afterMarch();
    const { invoice } = await issued(seller, buyer, "2026-03-01", "2026-03-31");
    await seller.inOrganisation(async (transaction) => changeOrganisation(transaction, by(seller), { taxPercent: 20 }));
    const voided = await voidInvoice(seller.context, by(seller), invoice.id, "wrong tax rate");
    if (voided.kind !== "voided") throw new Error(JSON.stringify(voided));
    const note = await requireInvoice(seller.context, seller.organisationId, voided.creditNoteId);
    expect(note.invoice).toMatchObject({
      reference: "INV-00002",
      voidsInvoiceId: invoice.id,
      netMinor: -3333,
      taxMinor: -583,
      taxRate: 175_000,
      reason: "wrong tax rate",
      state: "void",
    });
    expect((await findInvoice(seller.context, seller.organisationId, invoice.id))?.invoice).toMatchObject({
      state: "void",
      voidedById: voided.creditNoteId,
      totalMinor: 3916,
    });
    const next = await issued(seller, buyer, "2026-03-01", "2026-03-31");
    expect(next.invoice).toMatchObject({ reference: "INV-00003", netMinor: 3333, taxMinor: 667 });
  });

  test("is not voided twice, nor while something is paid on it, and nothing is paid on a void one", async () => {
    const { seller, buyer } = await afterMarch();
    const { id } = (await issued(seller, buyer, "2026-03-01", "2026-03-31")).invoice;
    await pay(seller, id, 1);
    expect(await voidInvoice(seller.context, by(seller), id, "wrong")).toMatchObject({ kind: "refused" });
    await pay(seller, id, -1);
    const both = await Promise.all([1, 2].map(async () => voidInvoice(seller.context, by(seller), id, "wrong")));
    expect(both.map(({ kind }) => kind).toSorted()).toEqual(["refused", "voided"]);
    expect(await pay(seller, id, 1)).toEqual({ kind: "voided" });
    const note = both.find((result) => result.kind === "voided");
    if (note?.kind !== "voided") throw new Error("One of them went through.");
    expect(await voidInvoice(seller.context, by(seller), note.creditNoteId, "wrong")).toMatchObject({
      kind: "refused",
    });
  });
});

describe("an invoice by email", () => {
  test("brings the PDF, is tried again like any alert, and is sent once", async () => {
    const environment = {
      DATA_DIR: await makeTemporaryFolder(),
      SMTP_HOST: "127.0.0.1",
      SMTP_PORT: String(mail.port),
      SMTP_FROM: "Handoff <handoff@example.com>",
    };
    const seller = await sellers.open({ at: "2026-03-04T10:00:00Z", environment });
    const buyer = await seller.partner({ name: "Ирина и партнёры" });
    await sell(seller, await seller.campaign([buyer]));
    seller.setTime("2026-04-01T08:00:00Z");
    const { invoice } = await issued(seller, buyer, "2026-03-01", "2026-03-31");
    const send = async (recipient: string) =>
      seller.inOrganisation(async (transaction) =>
        insertAlerts(transaction, seller.organisationId, [invoiceAlert(invoice, recipient)], seller.context.clock()),
      );
    await send("later@example.com");
    await send("accounts@example.com");
    await sendDueAlerts(seller.context, seller.organisationId);
    const alerts = await seller.inOrganisation(async (transaction) =>
      transaction.selectFrom("alerts").select(["state", "kind", "recipient"]).orderBy("id").execute(),
    );
    expect(alerts).toEqual([
      { state: "due", kind: "invoice", recipient: "later@example.com" },
      { state: "sent", kind: "invoice", recipient: "accounts@example.com" },
    ]);
    const sent = mail.messages().filter(({ to }) => to.includes("accounts@example.com"));
    expect(sent).toHaveLength(1);
    const [{ message } = { message: undefined }] = sent;
    expect(message?.subject).toBe("Invoice INV-00001 from Seller");
    expect(message?.text).toContain("Total: 10.00 GBP\nDue: 15 April 2026");
    expect(message?.text).toContain("Period: 1 March 2026 to 31 March 2026");
    const [attachment] = message?.attachments ?? [];
    expect(attachment).toMatchObject({ filename: "INV-00001.pdf", mimeType: "application/pdf" });
    expect(
      Buffer.from(attachment?.content as ArrayBuffer)
        .subarray(0, 5)
        .toString(),
    ).toBe("%PDF-");
  });
});
