import { afterAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { sql } from "kysely";
import { chargeSms } from "../../src/alerts/charge-sms.ts";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import { createPool, openDatabase } from "../../src/db/database.ts";
import { newId } from "../../src/db/id.ts";
import { readIntakeCampaign } from "../../src/leads/intake-campaign.ts";
import { receiveLead } from "../../src/leads/receive-lead.ts";
import { unreferLead } from "../../src/leads/unrefer-lead.ts";
import { readStatement } from "../../src/ledger/read-statement.ts";
import { recordPayout } from "../../src/ledger/record-payout.ts";
import { verifyLedger } from "../../src/ledger/verify-ledger.ts";
import { periodOf } from "../../src/period.ts";
import { type MoneyRow, readMoneyReport, reportKeys, reportTimes } from "../../src/reports/money-report.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";

/** What was earned and spent, and what introducers are owed and paid: real sales, and SMS as they are charged. */

const sellers = useSellers();
afterAll(closeOutbound);

let people = 0;

async function introduce(seller: Seller, campaignId: string, introducer: Buyer | null): Promise<string> {
  const campaign = await readIntakeCampaign(seller.context, seller.organisationId, campaignId);
  if (campaign === null) throw new Error("no such campaign");
  people += 1;
  const raw = { first_name: "Ann", email: `introduced${people}@example.com` };
  const entrance = { campaign, intakeKeyId: null, introducerId: introducer?.id ?? null };
  const intake = await receiveLead(seller.context, entrance, { raw, idempotencyKey: null, source: null });
  if (intake.kind !== "answered") throw new Error(intake.reason);
  return intake.answer.leadId;
}

async function report(
  seller: Seller,
  by: (typeof reportKeys)[number],
  time: "sold" | "received",
  from: string,
  to: string,
) {
  const period = periodOf("Europe/London", from, to);
  if (period === null) throw new Error("the wrong way round");
  return seller.inOrganisation(async (transaction) => readMoneyReport(transaction, by, time, "Europe/London", period));
}

/** What rows come to, by currency. */
function sums(rows: readonly MoneyRow[]) {
  const byCurrency = new Map<string, { revenue: number; cost: number; sms: number }>();
  for (const { currency, revenueMinor, costMinor, smsMinor } of rows) {
    const sum = byCurrency.get(currency) ?? { revenue: 0, cost: 0, sms: 0 };
    byCurrency.set(currency, {
      revenue: sum.revenue + revenueMinor,
      cost: sum.cost + costMinor,
      sms: sum.sms + smsMinor,
    });
  }
  return Object.fromEntries([...byCurrency].filter(([, sum]) => Object.values(sum).some((one) => one !== 0)));
}

/** The same from the accounts. */
async function booked(seller: Seller) {
  const { rows } = await seller.inOrganisation(async (transaction) =>
    sql<{ currency: string; revenue: number; cost: number; sms: number }>`
      select currency, coalesce(sum(balance_minor) filter (where kind = 'revenue'), 0) as revenue,
        coalesce(sum(balance_minor) filter (where kind = 'payable'), 0) as cost,
        coalesce(sum(balance_minor) filter (where kind = 'sms_usage'), 0) as sms
      from accounts group by currency order by currency`.execute(transaction),
  );
  const all = rows.map(({ currency, ...sum }) => [currency, sum] as const);
  return Object.fromEntries(all.filter(([, sum]) => Object.values(sum).some((one) => one !== 0)));
}

interface Step {
  readonly what: "sell" | "takeBack" | "sms" | "wait";
  readonly which: number;
  readonly hours: number;
}

async function tradeAsTold(steps: readonly Step[]): Promise<void> {
  const start = Date.parse("2026-03-20T22:00:00Z");
  const seller = await sellers.open({ at: new Date(start).toISOString() });
  const [gbp, eur] = [
    await seller.partner({ leadValue: 999 }),
    await seller.partner({ currency: "EUR", leadValue: 777 }),
  ];
  const introducers = [
    null,
    await seller.partner({ type: "introducer", leadCost: { percent: 12.5 } }),
    await seller.partner({ type: "introducer", currency: "EUR", leadCost: { amount: 150, due: "received" } }),
  ];
  const campaigns = [
    await seller.campaign([gbp], { name: "Home" }),
    await seller.campaign([eur, gbp], { name: "Boiler", saleLimit: 2 }),
  ];
  const sold: { leadId: string; buyer: Buyer }[] = [];
  let time = start;
  for (const { what, which, hours } of steps) {
    if (what === "sell") {
      const campaign = which % campaigns.length;
      const leadId = await introduce(
        seller,
        campaigns[campaign] ?? "",
        introducers[which % introducers.length] ?? null,
      );
      await seller.settle();
      sold.push({ leadId, buyer: campaign === 0 ? gbp : eur });
    }
    if (what === "takeBack" && sold.length > 0) {
      const [taken] = sold.splice(which % sold.length, 1);
      if (taken === undefined) continue;
      const unreferral = { leadId: taken.leadId, partnerId: taken.buyer.id, reason: "wrong", reroute: false };
      await unreferLead(seller.context, seller.organisationId, unreferral, "staff");
    }
    if (what === "sms") {
      const about = sold[which % Math.max(1, sold.length)];
      const partnerId = which % 3 === 0 ? null : gbp.id;
      const leadId = which % 2 === 0 ? null : (about?.leadId ?? null);
      const message = { alertId: newId(), segments: 1 + (which % 3), partnerId, leadId, deliveryId: null };
      await seller.inOrganisation(async (transaction) =>
        chargeSms(transaction, seller.organisationId, [message], seller.context.clock()),
      );
    }
    if (what === "wait") {
      time += hours * 3_600_000;
      seller.setTime(new Date(time).toISOString());
    }
  }
  const expected = await booked(seller);
  for (const by of reportKeys) {
    for (const at of reportTimes) {
      const whole = await report(seller, by, at, "2026-03-01", "2026-07-31");
      expect([by, at, sums(whole)]).toEqual([by, at, expected]);
      // Days tile: in two parts it is the same, wherever it is cut.
      const parts = [
        ...(await report(seller, by, at, "2026-03-01", "2026-03-28")),
        ...(await report(seller, by, at, "2026-03-29", "2026-07-31")),
      ];
      expect([by, at, sums(parts)]).toEqual([by, at, expected]);
    }
  }
}

describe("a report of money", () => {
  test("comes to exactly what the ledger holds, whatever it is grouped by and whichever time counts", async () => {
    const step: fc.Arbitrary<Step> = fc.record({
      what: fc.constantFrom("sell", "sell", "sell", "takeBack", "sms", "wait", "wait"),
      which: fc.nat(1000),
      hours: fc.integer({ min: 1, max: 60 }),
    });
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 25, maxLength: 35 }), tradeAsTold), {
      numRuns: 2,
      endOnFailure: true,
    });
  }, 120_000);

  test("puts each booking where it belongs: day in the organisation's zone, campaign, buyer, introducer", async () => {
    const seller = await sellers.open({ at: "2026-03-31T22:30:00Z" });
    const buyer = await seller.partner();
    const introducer = await seller.partner({ type: "introducer", leadCost: { amount: 300, due: "sold" } });
    const campaignId = await seller.campaign([buyer], { name: "Home" });
    const late = await introduce(seller, campaignId, introducer);
    seller.setTime("2026-03-31T23:30:00Z");
    await seller.settle();
    const row = { currency: "GBP", leads: 1, revenueMinor: 1000, costMinor: 300, smsCount: 0, smsMinor: 0 };
    const all = async (by: (typeof reportKeys)[number], time: "sold" | "received") =>
      report(seller, by, time, "2026-03-01", "2026-04-30");
    // Received in the last hour of March, sold in the first of April: the clocks are an hour ahead.
    expect(await all("day", "received")).toEqual([{ key: "2026-03-31", name: null, ...row }]);
    expect(await all("day", "sold")).toEqual([{ key: "2026-04-01", name: null, ...row }]);
    expect(await all("campaign", "sold")).toEqual([{ key: campaignId, name: "Home", ...row }]);
    expect(await all("partner", "sold")).toEqual([{ key: buyer.id, name: buyer.name, ...row }]);
    expect(await all("introducer", "sold")).toEqual([{ key: introducer.id, name: introducer.name, ...row }]);
    const unreferral = { leadId: late, partnerId: buyer.id, reason: "wrong", reroute: false };
    await unreferLead(seller.context, seller.organisationId, unreferral, "staff");
    expect(await all("partner", "sold")).toEqual([
      { key: buyer.id, name: buyer.name, ...row, revenueMinor: 0, costMinor: 0 },
    ]);
  });
});

describe("what an introducer is owed", () => {
  async function owing() {
    const seller = await sellers.open({ at: "2026-03-04T10:00:00Z" });
    const buyer = await seller.partner();
    const introducer = await seller.partner({ type: "introducer", leadCost: { percent: 12.5 } });
    const campaignId = await seller.campaign([buyer]);
    for (let lead = 0; lead < 3; lead += 1) await introduce(seller, campaignId, introducer);
    await seller.settle();
    return { seller, introducer };
  }

  const payOut = async (seller: Seller, { id }: Buyer, amountMinor: number, idempotencyKey: string | null = null) =>
    recordPayout(
      seller.context,
      { organisationId: seller.organisationId, by: "staff", at: seller.context.clock() },
      { partnerId: id, currency: null, amountMinor, reason: "Bank", idempotencyKey },
    );

  test("is marked as paid by an entry of its own, up to what is owed, and can be taken back", async () => {
    const { seller, introducer } = await owing();
    expect(await payOut(seller, introducer, 376)).toEqual({ kind: "out_of_range", leastMinor: 0, mostMinor: 375 });
    expect(await payOut(seller, introducer, -1)).toMatchObject({ kind: "out_of_range" });
    expect(await payOut(seller, introducer, 300)).toMatchObject({ kind: "booked", currency: "GBP", owedMinor: 75 });
    expect(await payOut(seller, introducer, -301)).toEqual({ kind: "out_of_range", leastMinor: -300, mostMinor: 75 });
    expect(await payOut(seller, introducer, -300)).toMatchObject({ kind: "booked", owedMinor: 375 });
    const nobody = { id: seller.organisationId, name: "" };
    expect(await payOut(seller, nobody, 1)).toEqual({ kind: "partner_not_found" });
    const owner = openDatabase(createPool(seller.databaseUrl, "owner", 1));
    const rules = await verifyLedger(owner, null);
    await owner.destroy();
    expect(rules.flatMap(({ examples }) => examples)).toEqual([]);
  });

  test("is paid once for each idempotency key, and never twice at once", async () => {
    const { seller, introducer } = await owing();
    const same = await Promise.all(Array.from({ length: 4 }, async () => payOut(seller, introducer, 100, "bank-1")));
    expect(new Set(same.map((result) => (result.kind === "booked" ? result.transactionId : result.kind))).size).toBe(1);
    expect(await payOut(seller, introducer, 101, "bank-1")).toEqual({ kind: "idempotency_conflict" });
    const many = await Promise.all(Array.from({ length: 6 }, async () => payOut(seller, introducer, 100)));
    expect(many.filter(({ kind }) => kind === "booked")).toHaveLength(2);
  });

  test("is on a statement of its own", async () => {
    const { seller, introducer } = await owing();
    await payOut(seller, introducer, 300);
    const period = periodOf("Europe/London", "2026-03-01", "2026-03-31");
    if (period === null) throw new Error("the wrong way round");
    const statement = await seller.inOrganisation(async (transaction) =>
      readStatement(transaction, introducer.id, "owed", "GBP", period, 100),
    );
    expect(statement.entries.map(({ kind, amountMinor, balanceMinor }) => [kind, amountMinor, balanceMinor])).toEqual([
      ["cost", 125, 125],
      ["cost", 125, 250],
      ["cost", 125, 375],
      ["payout", -300, 75],
    ]);
    expect([statement.openingMinor, statement.closingMinor]).toEqual([0, 75]);
  });
});
