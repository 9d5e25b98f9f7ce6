import type pg from "pg";
import type { Campaign } from "./handoff-system.ts";

/**
 * Puts leads into a campaign by SQL, a million in minutes. Each is a copy of one that really went through it, with all its
 * rows, under ids and times of its own.
 */

const batchSize = 50_000;

/** Leads that are over: nine of ten sold, as the campaign's latest sale was, the tenth a duplicate; spread over 60 days. */
export async function fillStored(admin: pg.Pool, campaign: Campaign, count: number): Promise<void> {
  await inBatches(admin, campaign, count, { age: "60 days", hasDuplicates: true }, async (client) => {
    await client.query(`
      insert into leads (id, organisation_id, campaign_id, intake_key_id, introducer_id, source, state, fields, extra,
        duplicate_of, content_hash, sold_count, received_at, hold_ends_at, finished_at)
      select c.lead_id, m.organisation_id, m.campaign_id, m.intake_key_id, m.introducer_id, 'source ' || c.place % 20,
        case when c.is_sold then 'sold' else 'duplicate' end, ${copiedFields}, m.extra,
        case when not c.is_sold then m.id end, sha256(c.lead_id::text::bytea), c.is_sold::integer, c.at,
        c.at + interval '3 days', c.at
      from copies c, model m`);
    await client.query(copyKeys);
    await client.query(copyDecisions("sold"));
    await client.query(`
      insert into deliveries (id, organisation_id, lead_id, campaign_id, partner_id, group_id, state, price_minor, currency,
        reserved_at, attempt_count, tries, reference, reason, created_at, finished_at, terms, billed_minor, billing_point)
      select c.delivery_id, d.organisation_id, c.lead_id, d.campaign_id, d.partner_id, d.group_id, d.state, d.price_minor,
        d.currency, c.at, d.attempt_count, d.tries, d.reference, d.reason, c.at, c.at,
        d.terms, d.billed_minor, d.billing_point
      from copies c, model m, deliveries d where c.is_sold and d.id = m.delivery_id`);
    await client.query(`
      insert into attempts (delivery_id, number, organisation_id, channel, started_at, duration_ms, outcome, reason, arrived,
        status, request, response)
      select c.delivery_id, a.number, a.organisation_id, a.channel, c.at, a.duration_ms, a.outcome, a.reason, a.arrived,
        a.status, a.request, a.response
      from copies c, model m, attempts a where c.is_sold and a.delivery_id = m.delivery_id`);
    await client.query(`
      insert into transactions (id, organisation_id, key, kind, currency, occurred_at, partner_id, lead_id, delivery_id,
        reason, created_by)
      select case t.kind when 'reserve' then c.reserve_id else c.post_id end, t.organisation_id,
        t.kind || '-' || c.delivery_id, t.kind, t.currency, c.at, t.partner_id, c.lead_id, c.delivery_id, t.reason,
        t.created_by
      from copies c, model m, transactions t where c.is_sold and t.delivery_id = m.delivery_id`);
    await client.query(`
      insert into entries (transaction_id, account_id, organisation_id, amount_minor, currency)
      select case t.kind when 'reserve' then c.reserve_id else c.post_id end, e.account_id, e.organisation_id,
        e.amount_minor, e.currency
      from copies c, model m, transactions t, entries e
      where c.is_sold and t.delivery_id = m.delivery_id and e.transaction_id = t.id`);
    await client.query(`
      update accounts a set balance_minor = a.balance_minor + s.amount
      from (select e.account_id, sum(e.amount_minor) * (select count(*) from copies where is_sold) as amount
            from model m, transactions t, entries e
            where t.delivery_id = m.delivery_id and e.transaction_id = t.id group by e.account_id) s
      where a.id = s.account_id`);
  });
}

/** Leads that wait until tomorrow for the campaign's first partner, whose limit is used up, released one after the other. */
export async function fillHeld(admin: pg.Pool, campaign: Campaign, count: number): Promise<void> {
  await inBatches(admin, campaign, count, { age: "1 day" }, async (client) => {
    await client.query(`
      insert into leads (id, organisation_id, campaign_id, intake_key_id, introducer_id, source, state, fields, extra,
        content_hash, received_at, due_at, hold_ends_at)
      select c.lead_id, m.organisation_id, m.campaign_id, m.intake_key_id, m.introducer_id, 'source ' || c.place % 20, 'held',
        ${copiedFields}, m.extra, sha256(c.lead_id::text::bytea), c.at, ${releasedAt}, c.at + interval '3 days'
      from copies c, model m`);
    await client.query(copyKeys);
    await client.query(copyDecisions("held"));
    await client.query({
      text: `
      insert into deliveries (id, organisation_id, lead_id, campaign_id, partner_id, group_id, state, price_minor, currency,
        created_at, hold_until, due_at, hold_reason)
      select c.delivery_id, m.organisation_id, c.lead_id, m.campaign_id, $1, d.group_id, 'held', d.price_minor, d.currency,
        c.at, ${tomorrow}, ${releasedAt}, jsonb_build_object('turnPassed', false, 'reason', jsonb_build_object(
          'code', 'limit_reached', 'scope', 'partner', 'window', 'day', 'limit', 1000000, 'used', 1000000,
          'until', to_char(${tomorrow} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')))
      from copies c, model m, deliveries d where d.id = m.delivery_id`,
      values: [campaign.partnerIds[0]],
    });
  });
}

/** Leads that were just taken in and wait to be routed; their numbers begin with `from`. */
export async function fillReceived(admin: pg.Pool, campaign: Campaign, from: number, count: number): Promise<void> {
  await inBatches(admin, campaign, count, { age: "1 minute" }, async (client) => {
    await client.query({
      text: `
      insert into leads (id, organisation_id, campaign_id, intake_key_id, introducer_id, source, state, fields, extra,
        content_hash, received_at, due_at, hold_ends_at)
      select c.lead_id, m.organisation_id, m.campaign_id, m.intake_key_id, m.introducer_id, m.source, 'received',
        m.fields || jsonb_build_object('n', ($1::bigint + c.place)::text, 'email', 'ann.' || $1::bigint + c.place || '@example.com'),
        m.extra, sha256(c.lead_id::text::bytea), c.at, c.at, c.at + interval '3 days'
      from copies c, model m`,
      values: [from],
    });
    await client.query(copyKeys);
  });
}

const tomorrow = "(date_trunc('day', now()) + interval '1 day')";
const releasedAt = `${tomorrow} + c.place * interval '10 ms'`;
const copiedFields =
  "m.fields || jsonb_build_object('n', 's' || c.place, 'email', 'ann.s' || c.place || '@example.com')";
const copyKeys = `
  insert into lead_keys (organisation_id, campaign_id, key_hash, lead_id, received_at)
  select m.organisation_id, m.campaign_id, sha256(('key ' || c.lead_id)::bytea), c.lead_id, c.at from copies c, model m
  where c.is_sold`;

function copyDecisions(result: "sold" | "held"): string {
  return `
    insert into decisions (id, organisation_id, lead_id, decided_at, result, explanation)
    select uuidv7(), d.organisation_id, c.lead_id, c.at, ${result === "held" ? "'held'" : "d.result"}, d.explanation
    from copies c, model m, decisions d where c.is_sold and d.lead_id = m.id`;
}

/**
 * Has `insert` put in what is in the table `copies`, batch by batch, oldest first. `model` is the lead that is copied.
 * Triggers and foreign keys rest meanwhile: what is copied has passed them.
 */
async function inBatches(
  admin: pg.Pool,
  campaign: Campaign,
  count: number,
  { age, hasDuplicates = false }: { readonly age: string; readonly hasDuplicates?: boolean },
  insert: (client: pg.PoolClient) => Promise<void>,
): Promise<void> {
  const client = await admin.connect();
  try {
    await client.query("set session_replication_role = replica");
    await client.query(`
      create temporary table model as
      select l.*, d.id as delivery_id from leads l join deliveries d on d.lead_id = l.id and d.state = 'delivered'
      where l.campaign_id = '${campaign.id}' and l.state = 'sold' order by l.id desc limit 1`);
    await client.query(`create temporary table copies (place bigint, at timestamptz, lead_id uuid, delivery_id uuid,
      reserve_id uuid, post_id uuid, is_sold boolean)`);
    for (let first = 0; first < count; first += batchSize) {
      await client.query("begin");
      await client.query("truncate copies");
      await client.query({
        text: `
        insert into copies
        select place, now() - age, uuidv7(-age), uuidv7(-age), uuidv7(-age), uuidv7(-age), place % 10 <> 9 or not $4
        from generate_series($1::bigint, $2::bigint - 1) place,
          lateral (select $5::interval * (1 - place / $3::float8) as age) a`,
        values: [first, Math.min(first + batchSize, count), count, hasDuplicates, age],
      });
      await insert(client);
      await client.query("commit");
    }
  } finally {
    // The session's settings and tables go with it.
    client.release(true);
  }
}
