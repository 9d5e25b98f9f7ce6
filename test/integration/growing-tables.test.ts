import { expect, test } from "@jest/globals";
import { sql } from "kysely";
import { createPool, type Database, openDatabase } from "../../src/db/database.ts";
import { openSeller, type Seller, useSellers } from "../helpers/seller.ts";

const sellers = useSellers();

const growing = [
  "leads",
  "contacts",
  "lead_keys",
  "idempotency_keys",
  "lead_events",
  "decisions",
  "deliveries",
  "attempts",
];
const growingToo = ["transactions", "entries", "alerts"];

/** What a connection counted is told when it ends. */
async function asOwner<T>({ databaseUrl }: Seller, work: (owner: Database) => Promise<T>): Promise<T> {
  const owner = openDatabase(createPool(databaseUrl, "owner", 1));
  try {
    return await work(owner);
  } finally {
    await owner.destroy();
  }
}

test("nothing on the way of a lead reads a growing table from end to end, however long the queue of held leads is", async () => {
  const seller = await openSeller(sellers.partners, { at: "2026-03-04T10:00:00Z" });
  const opensSunday = { sun: [{ from: "09:00", to: "10:00" }] };
  const [buyer, other] = [await seller.partner(), await seller.partner()];
  const closed = await seller.partner({ schedule: opensSunday, whenClosed: "hold" });
  const matching = { duplicates: { match: ["email"], mode: "any", days: 30 } };
  const [campaignId, heldId] = [await seller.campaign([buyer, other], matching), await seller.campaign([closed])];
  const history = { organisationId: seller.organisationId, campaignId, heldId, buyerId: buyer.id, closedId: closed.id };
  await asOwner(seller, async (owner) => fill(owner, history));
  await asOwner(seller, async (owner) => sql`select pg_stat_reset()`.execute(owner));

  sellers.partners.answer(buyer.name, "reject");
  await seller.receive(campaignId, { first_name: "Ann", email: "ann@example.com" }, "key");
  await seller.leads(campaignId, 5);
  await seller.leads(heldId, 5);
  await seller.settle();
  await seller.change(buyer, { active: false });
  await seller.settle();
  seller.setTime("2026-03-08T09:00:03Z");
  await seller.settle();
  await seller.change(closed, { spreadSeconds: 1 });
  await seller.settle();
  expect(sellers.partners.requestsOf(closed.name).length).toBeGreaterThan(0);
  await seller.context.database.destroy();

  expect(await asOwner(seller, readFromEndToEnd)).toEqual([]);
  expect(seller.errors).toEqual([]);
  await seller.close();
});

test("nor do the plans that were made while the tables were empty, and that prepared statements keep as they grow", async () => {
  const seller = await openSeller(sellers.partners, { at: "2026-03-04T10:00:00Z" });
  const campaignId = await seller.campaign([await seller.partner(), await seller.partner()], {
    duplicates: { match: ["email"], mode: "any", days: 30 },
  });
  const timesUntilPlansAreKept = 10;
  for (let place = 0; place < timesUntilPlansAreKept; place += 1) {
    await seller.receive(campaignId, { first_name: "Ann", email: `ann-${place}@example.com` }, `key ${place}`);
    await seller.settle();
  }
  await seller.context.database.destroy();

  expect(await asOwner(seller, readFromEndToEnd)).toEqual([]);
  expect(seller.errors).toEqual([]);
  await seller.close();
});

test("nor do the plans that were made while nothing was held read what is held since", async () => {
  const seller = await openSeller(sellers.partners, { at: "2026-03-04T10:00:00Z" });
  const [buyer, closed] = [await seller.partner(), await seller.partner({ active: false })];
  const [campaignId, heldId] = [await seller.campaign([buyer]), await seller.campaign([closed])];
  const history = { organisationId: seller.organisationId, campaignId, heldId, buyerId: buyer.id, closedId: closed.id };
  await asOwner(seller, async (owner) => {
    await sell(owner, history);
    await sql`vacuum analyze`.execute(owner);
  });
  const timesUntilPlansAreKept = 10;
  for (let place = 0; place < timesUntilPlansAreKept; place += 1) {
    await seller.leads(campaignId, 1);
    await seller.settle();
  }
  await asOwner(seller, async (owner) => {
    await hold(owner, history);
    await sql`select pg_stat_reset()`.execute(owner);
  });
  await seller.leads(campaignId, 1);
  await seller.settle();
  await seller.context.database.destroy();

  const { rows } = await asOwner(seller, async (owner) =>
    // Some of what the leads before read is counted late.
    sql<{ name: string; rows: number }>`
      select indexrelname as name, idx_tup_read as rows from pg_stat_user_indexes
      where relname = 'deliveries' and idx_tup_read > 2000`.execute(owner),
  );
  expect(rows).toEqual([]);
  expect(seller.errors).toEqual([]);
  await seller.close();
});

async function readFromEndToEnd(owner: Database): Promise<readonly object[]> {
  const { rows } = await sql<{ name: string; scans: number }>`
    select relname as name, seq_scan as scans from pg_stat_user_tables
    where relname = any(${[...growing, ...growingToo]}::text[]) and seq_scan > 0
  `.execute(owner);
  return rows;
}

interface History {
  readonly organisationId: string;
  readonly campaignId: string;
  readonly heldId: string;
  readonly buyerId: string;
  readonly closedId: string;
}

async function hold(owner: Database, { organisationId, heldId, closedId }: History): Promise<void> {
  await sql`
    insert into leads (id, organisation_id, campaign_id, state, fields, content_hash, received_at, due_at, hold_ends_at)
    select gen_random_uuid(), ${organisationId}, ${heldId}, 'held', '{"first_name":"Ann"}', sha256(('held' || n)::bytea),
      '2026-03-04T09:00:00Z', '2026-03-08T09:00:00Z'::timestamptz + make_interval(secs => n), '2026-04-04T10:00:00Z'
    from generate_series(1, 5000) n`.execute(owner);
  await sql`
    insert into deliveries (id, organisation_id, lead_id, campaign_id, partner_id, state, price_minor, currency, created_at,
      due_at, hold_until, hold_reason)
    select gen_random_uuid(), organisation_id, id, campaign_id, ${closedId}, 'held', 0, 'GBP', received_at, due_at,
      '2026-03-08T09:00:00Z', '{}'
    from leads where state = 'held'`.execute(owner);
}

async function sell(owner: Database, { organisationId, campaignId, buyerId }: History): Promise<void> {
  await sql`
    insert into leads (id, organisation_id, campaign_id, state, fields, content_hash, received_at, hold_ends_at)
    select gen_random_uuid(), ${organisationId}, ${campaignId}, 'sold', '{}', sha256(n::text::bytea),
      '2026-03-04T10:00:00Z'::timestamptz - make_interval(mins => n), '2026-03-04T10:00:00Z'
    from generate_series(1, 10000) n`.execute(owner);
  await sql`
    insert into deliveries (id, organisation_id, lead_id, campaign_id, partner_id, state, price_minor, currency, created_at)
    select gen_random_uuid(), organisation_id, id, campaign_id, ${buyerId}, 'delivered', 0, 'GBP', received_at
    from leads where state = 'sold'`.execute(owner);
}

/** Ten thousand leads that are over, with all that belongs to them, and five thousand that are held. */
async function fill(owner: Database, history: History): Promise<void> {
  await sell(owner, history);
  await hold(owner, history);
  await sql`
    insert into contacts (lead_id, position, organisation_id, fields) select id, 1, organisation_id, '{}' from leads`.execute(
    owner,
  );
  await sql`
    insert into lead_keys (organisation_id, campaign_id, key_hash, lead_id, received_at)
    select organisation_id, campaign_id, sha256(id::text::bytea), id, received_at from leads`.execute(owner);
  await sql`
    insert into idempotency_keys (organisation_id, campaign_id, key, content_hash, lead_id, status, answer, created_at)
    select organisation_id, campaign_id, id::text, content_hash, id, 201, '{}', received_at from leads`.execute(owner);
  await sql`
    insert into decisions (id, organisation_id, lead_id, decided_at, result, explanation)
    select gen_random_uuid(), organisation_id, id, received_at, 'routing', '[]' from leads`.execute(owner);
  await sql`
    insert into attempts (delivery_id, number, organisation_id, channel, started_at, duration_ms, outcome, arrived)
    select id, 1, organisation_id, 'json', created_at, 5, 'accepted', 'yes' from deliveries
    where state = 'delivered'`.execute(owner);
  await sql`
    insert into transactions (id, organisation_id, key, kind, currency, occurred_at, partner_id, delivery_id, created_by)
    select gen_random_uuid(), organisation_id, 'post-' || id, 'post', 'GBP', created_at, partner_id, id, 'test' from deliveries
    where state = 'delivered'`.execute(owner);
  await sql`
    insert into alerts (id, organisation_id, key, kind, channel, recipient, state, lead_id, created_at)
    select gen_random_uuid(), organisation_id, id::text, 'lead_referred', 'email', 'ann@example.com', 'sent', id, received_at
    from leads`.execute(owner);
  await sql`vacuum analyze`.execute(owner);
}
