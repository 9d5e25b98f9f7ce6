import { type RawBuilder, sql } from "kysely";
import type { Database } from "../db/database.ts";
import { type Replay, replayAccounts } from "./replay-accounts.ts";

/** One rule of the ledger, held against all that is booked. */
export interface VerifiedRule {
  readonly rule: string;
  /** How many transactions, accounts or deliveries were looked at. */
  readonly looked: number;
  readonly wrong: number;
  /** What is wrong and where, each with its id; not all of them where there are many. */
  readonly examples: readonly string[];
}

/** How many of what is wrong are named for each rule. */
export const mostExamples = 20;

/**
 * Proves the rules of the ledger on a database in use, of one organisation or of all (null), without changing anything.
 * Takes a connection of the owner, which sees all rows. Everything is read in one snapshot, in which each transaction is
 * whole or absent: what is booked meanwhile raises no alarm. `onProgress` is told how many entries have been replayed.
 */
export async function verifyLedger(
  owner: Database,
  organisationId: string | null,
  onProgress: (entries: number) => void = () => undefined,
): Promise<readonly VerifiedRule[]> {
  return owner
    .transaction()
    .setIsolationLevel("repeatable read")
    .setAccessMode("read only")
    .execute(async (snapshot) => [
      await verifyBy(snapshot, "each transaction sums to zero", transactionSums(organisationId)),
      await verifyBy(snapshot, "each entry is in its account's currency and organisation", misplaced(organisationId)),
      ...replayed(await replayAccounts(snapshot, organisationId, onProgress)),
      await verifyBy(snapshot, "each reservation is posted or voided once", reservations(organisationId)),
      await verifyBy(snapshot, "each delivery brought what was billed of it", revenues(organisationId)),
      await verifyBy(snapshot, "introducers are owed what their leads bear", costs(organisationId)),
      await verifyBy(
        snapshot,
        "each invoice is the sum of its charges, and no number is missing",
        invoices(organisationId),
      ),
    ]);
}

function replayed({ accounts, wrongBalances, sales, overdrawn }: Replay): readonly VerifiedRule[] {
  const found = (rule: string, looked: number, wrong: readonly string[]) => ({
    rule,
    looked,
    wrong: wrong.length,
    examples: wrong.slice(0, mostExamples),
  });
  return [
    found("each balance is what its entries give when they are booked again", accounts, wrongBalances),
    found("no sale took more than was available", sales, overdrawn),
  ];
}

interface Counted {
  readonly looked: number;
  readonly wrong: number;
  readonly examples: readonly string[];
}

/** Runs a query that gives a row for each thing looked at, with `problem`: null where it is right. */
async function verifyBy(snapshot: Database, rule: string, each: RawBuilder<unknown>): Promise<VerifiedRule> {
  const { rows } = await sql<Counted>`
    select count(*) as looked, count(problem) as wrong,
      coalesce((array_agg(problem order by problem) filter (where problem is not null))[1:${sql.lit(mostExamples)}], '{}') as examples
    from (${each}) as each_one
  `.execute(snapshot);
  const [counted] = rows;
  if (counted === undefined) throw new Error("An aggregate gave no row.");
  return { rule, ...counted };
}

function ofOrganisation(table: string, organisationId: string | null): RawBuilder<unknown> {
  return organisationId === null ? sql`true` : sql`${sql.ref(`${table}.organisation_id`)} = ${organisationId}::uuid`;
}

function transactionSums(organisationId: string | null): RawBuilder<unknown> {
  return sql`
    select case
        when count(e.transaction_id) = 0 then format('transaction %s has no entries', t.id)
        when sum(e.amount_minor) <> 0 then format('transaction %s sums to %s %s', t.id, sum(e.amount_minor), e.currency)
      end as problem
    from transactions t left join entries e on e.transaction_id = t.id
    where ${ofOrganisation("t", organisationId)}
    group by t.id, e.currency`;
}

function misplaced(organisationId: string | null): RawBuilder<unknown> {
  return sql`
    select case
        when a.id is null then format('transaction %s has an entry on no account', t.id)
        when a.organisation_id <> e.organisation_id or t.organisation_id <> e.organisation_id
          then format('transaction %s has an entry on account %s of another organisation', t.id, a.id)
        when a.currency <> e.currency or t.currency <> e.currency
          then format('transaction %s has %s on account %s, which is in %s', t.id, e.currency, a.id, a.currency)
      end as problem
    from entries e
    join transactions t on t.id = e.transaction_id
    left join accounts a on a.id = e.account_id
    where ${ofOrganisation("t", organisationId)}`;
}

/**
 * What a delivery has reserved and what went from there, held against where it stands: one that is under way or sold has
 * of its price reserved what is not billed, one that has ended has nothing reserved any more, and from none more was taken
 * than was reserved.
 */
function reservations(organisationId: string | null): RawBuilder<unknown> {
  return sql`
    select case
        when booked.left_minor < 0 then format('delivery %s: %s more was posted or voided than was reserved', d.id, -booked.left_minor)
        when booked.left_minor <> expected.minor and expected.minor = 0
          then format('delivery %s is %s, and %s is still reserved', d.id, d.state, booked.left_minor)
        when coalesce(booked.left_minor, 0) <> expected.minor
          then format('delivery %s is %s at %s, and %s is reserved', d.id, d.state, expected.minor, coalesce(booked.left_minor, 0))
        when booked.reserves > 1 then format('delivery %s was reserved %s times', d.id, booked.reserves)
      end as problem
    from deliveries d
    left join (
      select t.delivery_id, sum(e.amount_minor) as left_minor, count(*) filter (where e.amount_minor > 0) as reserves
      from accounts a join entries e on e.account_id = a.id join transactions t on t.id = e.transaction_id
      where a.kind = 'reserved' and ${ofOrganisation("a", organisationId)}
      group by t.delivery_id
    ) booked on booked.delivery_id = d.id
    cross join lateral (select case
        when d.state in ('offered', 'sending', 'uncertain', 'delivered') then d.price_minor - d.billed_minor
        else 0 end as minor) expected
    where ${ofOrganisation("d", organisationId)}`;
}

function revenues(organisationId: string | null): RawBuilder<unknown> {
  return sql`
    select case when coalesce(booked.minor, 0) <> d.billed_minor
        then format('delivery %s was billed %s, and %s is booked', d.id, d.billed_minor, coalesce(booked.minor, 0)) end as problem
    from deliveries d
    left join (
      select t.delivery_id, sum(e.amount_minor) as minor
      from accounts a join entries e on e.account_id = a.id join transactions t on t.id = e.transaction_id
      where a.kind = 'revenue' and ${ofOrganisation("a", organisationId)}
      group by t.delivery_id
    ) booked on booked.delivery_id = d.id
    where ${ofOrganisation("d", organisationId)}`;
}

/** For a lead itself, and for each of its sales; paying an introducer belongs to no lead. */
function costs(organisationId: string | null): RawBuilder<unknown> {
  return sql`
    select case when coalesce(booked.minor, 0) <> l.cost_minor + coalesce(sold.minor, 0)
        then format('lead %s bears a cost of %s, and %s is booked', l.id, l.cost_minor + coalesce(sold.minor, 0),
          coalesce(booked.minor, 0)) end as problem
    from leads l
    left join (select lead_id, sum(cost_minor) as minor from deliveries group by lead_id) sold on sold.lead_id = l.id
    left join (
      select t.lead_id, sum(e.amount_minor) as minor
      from accounts a join entries e on e.account_id = a.id join transactions t on t.id = e.transaction_id
      where a.kind = 'payable' and t.lead_id is not null and ${ofOrganisation("a", organisationId)}
      group by t.lead_id
    ) booked on booked.lead_id = l.id
    where ${ofOrganisation("l", organisationId)}`;
}

/** A credit note holds no charges: it is the opposite of what it voids. Numbers follow each other from 1. */
function invoices(organisationId: string | null): RawBuilder<unknown> {
  return sql`
    select case
        when i.net_minor <> coalesce(-v.net_minor, charged.minor)
          then format('invoice %s (%s) comes to %s net, and what is on it to %s', i.id, i.reference, i.net_minor,
            coalesce(-v.net_minor, charged.minor))
        when i.net_minor <> lines.minor
          then format('invoice %s (%s) comes to %s net, and its lines to %s', i.id, i.reference, i.net_minor, lines.minor)
        when i.number <> row_number() over (partition by i.organisation_id order by i.number)
          then format('before invoice %s (%s) a number is missing', i.id, i.reference)
      end as problem
    from invoices i
    left join invoices v on v.id = i.voids_invoice_id
    cross join lateral (
      select coalesce(sum(e.amount_minor), 0) as minor
      from invoice_charges c join entries e on e.transaction_id = c.transaction_id
      join accounts a on a.id = e.account_id and a.kind = 'revenue'
      where c.invoice_id = i.id
    ) charged
    cross join lateral (select coalesce(sum(l.amount_minor), 0) as minor from invoice_lines l where l.invoice_id = i.id) lines
    where ${ofOrganisation("i", organisationId)}`;
}
