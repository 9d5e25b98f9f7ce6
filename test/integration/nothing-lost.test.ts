import { describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { createPool, openDatabase } from "../../src/db/database.ts";
import { takePartner } from "../../src/delivery/drained-partner.ts";
import { type Seller, useSellers } from "../helpers/seller.ts";
import { until } from "../helpers/until.ts";

/** A lead that was taken in ends in a final state with a reason, whatever happens in between. */

const sellers = useSellers();

/** Claims what is due to a partner as a drain does, and then does nothing: its worker has died. */
async function claimAndDie(seller: Seller, partnerId: string): Promise<void> {
  const taken = await takePartner(seller.context, seller.organisationId, partnerId);
  if (taken === null) throw new Error("Somebody else has the lease.");
  expect(taken.first?.deliveries).toHaveLength(1);
}

describe("a worker that dies", () => {
  test("leaves an attempt that is recorded as interrupted, and tried again with the same idempotency key", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner();
    const campaignId = await seller.campaign([buyer]);
    const leadId = await seller.lead(campaignId);
    await seller.route(campaignId);
    await claimAndDie(seller, buyer.id);
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([{ state: "sending", mayHaveArrived: false }]);
    seller.setTime("2026-03-04T10:00:10Z");
    await seller.settle();
    const [delivery] = await seller.deliveries(leadId);
    expect(delivery).toMatchObject({ state: "delivered", mayHaveArrived: true, attemptCount: 2 });
    expect(await seller.attempts(delivery?.id ?? "")).toMatchObject([
      { number: 1, outcome: "interrupted", arrived: "unknown" },
      { number: 2, outcome: "accepted" },
    ]);
    expect(sellers.partners.requestsOf(buyer.name)).toMatchObject([{ idempotencyKey: delivery?.id }]);
    expect(await seller.funds(buyer)).toMatchObject({ reserved: 0, revenue: 1000 });
  });

  test("leaves a lead that may have arrived: it is not given to another because the next attempt fails", async () => {
    const seller = await sellers.open();
    const [buyer, other] = [await seller.partner(), await seller.partner()];
    const campaignId = await seller.campaign([buyer, other]);
    const leadId = await seller.lead(campaignId);
    await seller.route(campaignId);
    await claimAndDie(seller, buyer.id);
    sellers.partners.answer(buyer.name, { status: 404 });
    seller.setTime("2026-03-04T10:00:10Z");
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([{ state: "uncertain", partnerId: buyer.id }]);
  });

  test("in every attempt leaves the lead uncertain: it is not tried for ever, nor sold to another", async () => {
    const seller = await sellers.open();
    const [buyer, other] = [await seller.partner(), await seller.partner()];
    const campaignId = await seller.campaign([buyer, other]);
    const leadId = await seller.lead(campaignId);
    await seller.route(campaignId);
    for (let death = 0; death < 5; death += 1) {
      await claimAndDie(seller, buyer.id);
      seller.setTime(`2026-03-04T10:0${death + 1}:00Z`);
    }
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([{ state: "uncertain", partnerId: buyer.id }]);
    expect(await seller.leadRow(leadId)).toMatchObject({
      state: "unsold",
      stateReason: { code: "delivery_uncertain" },
    });
    expect(sellers.partners.requests.filter(({ name }) => [buyer.name, other.name].includes(name))).toEqual([]);
    expect(await seller.endpoint(buyer)).toMatchObject({ pausedUntil: null, recent: "" });
  });
});

describe("a lead whose routing fails by a fault of ours", () => {
  test("stops no other lead of its campaign, is put off, and goes on when the fault is gone", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner();
    const filter = { field: "postcode", op: "startsWith", value: "SW" };
    const routing = [{ method: "priority", partners: [{ partnerId: buyer.id, price: 1000, filter }] }];
    const campaignId = await seller.campaign([], { routing });
    const raw = { postcode: "SW1A 1AA" };
    const before = await seller.lead(campaignId, raw);
    const poisoned = await seller.lead(campaignId, raw);
    const after = await seller.lead(campaignId, raw);
    await setFields(seller, poisoned, "null");
    await seller.settle();
    expect(await seller.leadStates(campaignId)).toEqual({ sold: 2, received: 1 });
    expect((await seller.leadRow(before)).state).toBe("sold");
    expect((await seller.leadRow(after)).state).toBe("sold");
    expect(await seller.leadRow(poisoned)).toMatchObject({ dueAt: new Date("2026-03-04T10:01:00Z") });
    seller.setTime("2026-03-04T10:01:00Z");
    await seller.settle();
    expect((await seller.leadRow(poisoned)).state).toBe("received");
    const logged = seller.errors.splice(0);
    expect(logged).toHaveLength(2);
    for (const line of logged) expect(line).toContain(poisoned);
    await setFields(seller, poisoned, '{"first_name":"Ann","postcode":"SW1A 1AA"}');
    seller.setTime("2026-03-04T10:02:00Z");
    await seller.settle();
    expect((await seller.leadRow(poisoned)).state).toBe("sold");
    expect(await seller.usage(buyer)).toMatchObject({ totalLeads: 3 });
  });

  async function setFields(seller: Seller, leadId: string, fields: string): Promise<void> {
    await seller.inOrganisation(async (transaction) =>
      sql`update leads set fields = ${fields}::jsonb where id = ${leadId}`.execute(transaction),
    );
  }
});

describe("a database connection that is cut", () => {
  test("in mid-transaction loses nothing, doubles nothing, and does not end the process", async () => {
    const seller = await sellers.open({ environment: { DATABASE_POOL_SIZE: "4" } });
    const buyers = [await seller.partner(), await seller.partner()];
    for (const { name } of buyers) sellers.partners.answer(name, { delayMs: 5 });
    const routing = [{ method: "round_robin", partners: buyers.map(({ id }) => ({ partnerId: id, price: 1000 })) }];
    const campaignId = await seller.campaign([], { routing });
    await seller.leads(campaignId, 200);
    const owner = openDatabase(createPool(seller.databaseUrl, "owner", 1));
    let cuts = 0;
    const cut = async () => {
      const { rows } = await sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle' limit 1
      `.execute(owner);
      cuts += rows.length;
    };
    const cutting = setInterval(() => void cut(), 25);
    const isSettled = async () =>
      seller.settle().then(
        () => true,
        () => false,
      );
    try {
      await until(async () => {
        await isSettled();
        return cuts >= 10;
      });
    } finally {
      clearInterval(cutting);
      await owner.destroy();
    }
    // What was claimed over a connection that was cut is due again when its lease has run out.
    for (const second of ["10", "20", "30"]) {
      seller.setTime(`2026-03-04T10:00:${second}Z`);
      await until(isSettled);
    }
    expect(await seller.leadStates(campaignId)).toEqual({ sold: 200 });
    const revenues = await Promise.all(buyers.map(async (buyer) => (await seller.funds(buyer)).revenue));
    expect(revenues).toEqual([100_000, 100_000]);
    seller.errors.splice(0);
  });
});
