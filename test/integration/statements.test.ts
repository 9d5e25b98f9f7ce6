import { afterAll, describe, expect, test } from "@jest/globals";
import { parse } from "csv-parse/sync";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import { statementCsv } from "../../src/invoices/statement-paper.ts";
import { unreferLead } from "../../src/leads/unrefer-lead.ts";
import { readStatement } from "../../src/ledger/read-statement.ts";
import { recordPayment } from "../../src/ledger/record-payment.ts";
import { periodOf } from "../../src/period.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";

/** What a partner had, what came and went, and what it has. */

const sellers = useSellers();
afterAll(closeOutbound);

async function pay(
  seller: Seller,
  buyer: Buyer,
  kind: "payment" | "refund" | "adjustment",
  amountMinor: number,
  reason: string,
) {
  const change = { organisationId: seller.organisationId, by: "staff", at: seller.context.clock() };
  const payment = { partnerId: buyer.id, kind, amountMinor, reason, idempotencyKey: null };
  expect(await recordPayment(seller.context, change, payment)).toMatchObject({ kind: "booked" });
}

async function statement(seller: Seller, buyer: Buyer, from: string, to: string, zone = "Europe/London", limit = 1000) {
  const period = periodOf(zone, from, to);
  if (period === null) throw new Error("the wrong way round");
  return seller.inOrganisation(async (transaction) =>
    readStatement(transaction, buyer.id, "balance", "GBP", period, limit),
  );
}

/** 31 March: paid and sold; 1 April: a lead taken back, a refund; and a lead on its way at the end of it. */
async function twoDays() {
  const seller = await sellers.open({ at: "2026-03-31T10:00:00Z" });
  const buyer = await seller.partner();
  await pay(seller, buyer, "payment", 10_000, "Bank");
  const campaignId = await seller.campaign([buyer]);
  const [first = ""] = await seller.leads(campaignId, 2);
  await seller.settle();
  seller.setTime("2026-03-31T23:00:00Z");
  await unreferLead(
    seller.context,
    seller.organisationId,
    { leadId: first, partnerId: buyer.id, reason: "wrong number", reroute: false },
    "staff",
  );
  seller.setTime("2026-04-01T10:00:00Z");
  await pay(seller, buyer, "refund", 500, '=HYPERLINK("https://evil.test"), "quoted"');
  await seller.lead(campaignId);
  await seller.route(campaignId);
  return { seller, buyer, campaignId, first };
}

const amountsOf = ({ entries }: { entries: readonly { kind: string; amountMinor: number; balanceMinor: number }[] }) =>
  entries.map(({ kind, amountMinor, balanceMinor }) => [kind, amountMinor, balanceMinor]);

describe("a statement", () => {
  test("goes from the opening to the closing balance, entry by entry, and what is only reserved is not on it", async () => {
    const { seller, buyer, first } = await twoDays();
    const march = await statement(seller, buyer, "2026-03-01", "2026-03-31");
    expect([march.openingMinor, march.closingMinor]).toEqual([0, 8000]);
    expect(amountsOf(march)).toEqual([
      ["payment", 10_000, 10_000],
      ["post", -1000, 9000],
      ["post", -1000, 8000],
    ]);
    expect(march.entries.map(({ leadId }) => leadId)).toContain(first);
    expect(march.entries[1]).toMatchObject({ campaign: "Home" });
    const april = await statement(seller, buyer, "2026-04-01", "2026-04-30");
    // The clocks are an hour ahead: what happens at 23:00 UTC on 31 March is April's.
    expect(amountsOf(april)).toEqual([
      ["reverse", 1000, 9000],
      ["refund", -500, 8500],
    ]);
    expect([april.openingMinor, april.closingMinor]).toEqual([8000, 8500]);
    const { funds = 0, reserved = 0 } = await seller.funds(buyer);
    expect([funds, reserved, april.closingMinor]).toEqual([7500, 1000, funds + reserved]);
  });

  test("of days next to each other goes on where the other ended, wherever the day begins", async () => {
    const { seller, buyer } = await twoDays();
    for (const zone of ["Europe/London", "Pacific/Kiritimati", "America/Los_Angeles", "Asia/Kathmandu"]) {
      const days = ["2026-03-30", "2026-03-31", "2026-04-01", "2026-04-02"];
      let balanceMinor = 0;
      let entries = 0;
      for (const day of days) {
        const one = await statement(seller, buyer, day, day, zone);
        expect(one.openingMinor).toBe(balanceMinor);
        balanceMinor = one.closingMinor;
        entries += one.entries.length;
      }
      expect([zone, balanceMinor, entries]).toEqual([zone, 8500, 5]);
    }
  });

  test("says when it does not hold everything, and is of one partner alone", async () => {
    const { seller, buyer } = await twoDays();
    const other = await seller.partner();
    await pay(seller, other, "payment", 77, "Bank");
    expect((await statement(seller, buyer, "2026-03-01", "2026-04-30")).isCut).toBe(false);
    expect((await statement(seller, buyer, "2026-03-01", "2026-04-30", "Europe/London", 4)).isCut).toBe(true);
    expect((await statement(seller, buyer, "2026-03-01", "2026-04-30", "Europe/London", 5)).isCut).toBe(false);
    expect(amountsOf(await statement(seller, other, "2026-03-01", "2026-04-30"))).toEqual([["payment", 77, 77]]);
  });

  test("as CSV is RFC 4180, in local time and decimal numbers, and runs no formula of anybody's", async () => {
    const { seller, buyer } = await twoDays();
    const period = periodOf("Europe/London", "2026-04-01", "2026-04-30");
    if (period === null) throw new Error("the wrong way round");
    const party = { name: "", address: null, taxId: null };
    const csv = statementCsv({
      statement: await statement(seller, buyer, "2026-04-01", "2026-04-30"),
      period,
      timeZone: "Europe/London",
      currency: "GBP",
      seller: party,
      buyer: party,
      taxName: "VAT",
      writtenAt: new Date(),
    });
    expect(csv).toMatch(/^\uFEFFTime,What,.*\r\n/);
    const rows: Record<string, string>[] = parse(csv, { bom: true, columns: true });
    expect(rows).toMatchObject([
      { Time: "2026-04-01", What: "Opening balance", Amount: "", Balance: "80.00", Currency: "GBP" },
      {
        Time: "2026-04-01 00:00:00",
        What: "Lead taken back",
        Campaign: "Home",
        Reason: "wrong number",
        Amount: "10.00",
      },
      { Time: "2026-04-01 11:00:00", What: "Refund", Amount: "-5.00", Balance: "85.00" },
      { Time: "2026-04-30", What: "Closing balance", Balance: "85.00" },
    ]);
    expect(rows[2]?.Reason).toBe(`'=HYPERLINK("https://evil.test"), "quoted"`);
  });
});
