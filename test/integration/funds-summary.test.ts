import { expect, test } from "@jest/globals";
import { sql } from "kysely";
import { makeFundsSummaries } from "../../src/alerts/make-funds-summaries.ts";
import { unreferLead } from "../../src/leads/unrefer-lead.ts";
import { recordPayment } from "../../src/ledger/record-payment.ts";
import { partnerSchema } from "../../src/partners/partner.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";

const sellers = useSellers();

const contact = partnerSchema.shape.contact.parse({ email: "acme@example.com", phone: "+447700900001" });
const wishes = { fundsEmail: true, fundsSummaryAt: "18:00" };
const alerts = partnerSchema.shape.alerts.parse(wishes);

const makeAll = async (one: Seller) => makeFundsSummaries(one.context, one.organisationId);

const summaries = async (seller: Seller) => {
  const rows = await seller.inOrganisation(async (transaction) =>
    transaction.selectFrom("alerts").selectAll().where("kind", "=", "funds_summary").orderBy("id").execute(),
  );
  return rows.map(({ channel, recipient, detail }) => ({ channel, recipient, detail }));
};

async function pay(seller: Seller, buyer: Buyer, amountMinor: number): Promise<void> {
  const change = { organisationId: seller.organisationId, by: "test", at: seller.context.clock() };
  const payment = { partnerId: buyer.id, kind: "payment", reason: "x", amountMinor, idempotencyKey: null } as const;
  expect((await recordPayment(seller.context, change, payment)).kind).toBe("booked");
}

async function sell(seller: Seller, campaignId: string, count: number): Promise<readonly string[]> {
  const ids = await seller.leads(campaignId, count);
  await seller.settle();
  return ids;
}

/** Whom the sweep would wake for alerts. */
const dueNow = async (seller: Seller) => {
  const { rows } = await sql`select * from due_alerts(${seller.context.clock()})`.execute(seller.context.database);
  return rows.length;
};

test("a summary tells of a day: its leads and what they cost, what was returned, and how the partner stands", async () => {
  const seller = await sellers.open({ at: "2026-03-04T10:00:00Z" });
  const buyer = await seller.partner({ creditLimit: 500, contact, alerts: { ...alerts, fundsSms: true } });
  const campaignId = await seller.campaign([buyer]);
  await pay(seller, buyer, 10_000);
  const [leadId = ""] = await sell(seller, campaignId, 3);
  const unreferral = { leadId, partnerId: buyer.id, reason: null, reroute: false };
  await unreferLead(seller.context, seller.organisationId, unreferral, "test");
  seller.setTime("2026-03-04T18:00:29Z");
  expect(await dueNow(seller)).toBe(0);
  seller.setTime("2026-03-04T18:00:30Z");
  expect(await dueNow(seller)).toBe(1);
  await makeAll(seller);
  const detail = {
    since: "2026-03-03T18:00:00.000Z",
    until: "2026-03-04T18:00:00.000Z",
    currency: "GBP",
    leads: 3,
    charged_minor: 3000,
    returned: 1,
    returned_minor: 1000,
    other_minor: 10_000,
    balance_minor: 8000,
    available_minor: 8500,
  };
  expect(await summaries(seller)).toEqual([
    { channel: "sms", recipient: "+447700900001", detail },
    { channel: "email", recipient: "acme@example.com", detail },
  ]);
});

test("each day has one summary, though many workers look at once", async () => {
  const seller = await sellers.open({ at: "2026-03-04T10:00:00Z" });
  const buyers = await Promise.all(Array.from({ length: 5 }, async () => seller.partner({ contact, alerts })));
  const twins = [seller, await sellers.openTwin(seller), await sellers.openTwin(seller)];
  for (const day of ["04", "05", "06"]) {
    seller.setTime(`2026-03-${day}T18:00:31Z`);
    await Promise.all(Array.from({ length: 9 }, async (_, worker) => makeAll(twins[worker % 3] ?? seller)));
    await makeAll(seller);
  }
  const made = await summaries(seller);
  expect(made).toHaveLength(3 * buyers.length);
  expect(new Set(made.map(({ detail }) => detail.until)).size).toBe(3);
});

test("no summary is lost where no worker ran for days: the next one tells of all of them", async () => {
  const seller = await sellers.open({ at: "2026-03-04T10:00:00Z" });
  const buyer = await seller.partner({ contact, alerts });
  const campaignId = await seller.campaign([buyer]);
  for (const day of ["04", "05", "06", "07"]) {
    seller.setTime(`2026-03-${day}T12:00:00Z`);
    await sell(seller, campaignId, 1);
  }
  await makeAll(seller);
  seller.setTime("2026-03-07T18:00:30Z");
  await makeAll(seller);
  const made = (await summaries(seller)).map(({ detail: { since, until, leads } }) => [since, until, leads]);
  expect(made).toEqual([
    ["2026-03-03T18:00:00.000Z", "2026-03-06T18:00:00.000Z", 3],
    ["2026-03-06T18:00:00.000Z", "2026-03-07T18:00:00.000Z", 1],
  ]);
});

test("summaries follow each other without gap over clock changes, another time of day and another zone", async () => {
  const seller = await sellers.open({ at: "2026-03-27T10:00:00Z" });
  const buyer = await seller.partner({ contact, alerts });
  for (const [time, patch] of [
    ["2026-03-27T18:00:30Z", {}],
    ["2026-03-28T18:00:30Z", {}],
    ["2026-03-29T17:00:30Z", { alerts: { ...alerts, fundsSummaryAt: "07:00" } }],
    ["2026-03-30T06:00:30Z", { timeZone: "America/New_York" }],
    ["2026-03-30T11:00:30Z", {}],
  ] as const) {
    seller.setTime(time);
    await makeAll(seller);
    await seller.change(buyer, patch);
  }
  const made = (await summaries(seller)).map(({ detail }) => [detail.since, detail.until]);
  expect(made).toEqual([
    ["2026-03-26T18:00:00.000Z", "2026-03-27T18:00:00.000Z"],
    ["2026-03-27T18:00:00.000Z", "2026-03-28T18:00:00.000Z"],
    ["2026-03-28T18:00:00.000Z", "2026-03-29T17:00:00.000Z"],
    ["2026-03-29T17:00:00.000Z", "2026-03-30T06:00:00.000Z"],
    ["2026-03-30T06:00:00.000Z", "2026-03-30T11:00:00.000Z"],
  ]);
});

test("a partner that wants no summary any more gets none", async () => {
  const seller = await sellers.open({ at: "2026-03-04T10:00:00Z" });
  const buyer = await seller.partner({ contact, alerts });
  await seller.change(buyer, { alerts: { ...alerts, fundsSummaryAt: null } });
  seller.setTime("2026-03-05T19:00:00Z");
  expect(await dueNow(seller)).toBe(0);
  await makeAll(seller);
  expect(await summaries(seller)).toEqual([]);
});
