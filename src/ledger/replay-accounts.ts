import { type RawBuilder, sql } from "kysely";
import type { Database } from "../db/database.ts";
import type { AccountKind } from "../db/ledger-tables.ts";

/** What came of booking everything again, from nothing. */
export interface Replay {
  readonly accounts: number;
  /** Each account whose balance is not what the replay gives. */
  readonly wrongBalances: readonly string[];
  readonly sales: number;
  /** Each sale that took more than was available. */
  readonly overdrawn: readonly string[];
}

/**
 * Ids are made in the order of time, by several machines, a moment before they are booked. What freed money within this
 * time after a sale may in truth have come before it, and so may another credit limit.
 */
const toleranceMs = 10_000;

const batchEntries = 10_000;

interface JournalLine {
  readonly accountId: string;
  readonly transactionId: string;
  readonly amountMinor: number;
  /** It takes a partner's money for a lead, within what is available. */
  readonly isSale: boolean;
}

/**
 * Goes through all entries, account by account in the order in which they were made, and compares the balances that come
 * out with those that are kept. On the way looks at each sale: what was available was enough for it, unless staff overrode
 * that. Takes a transaction of the owner with one snapshot, whose rows of `organisationId` are read; null: all.
 */
export async function replayAccounts(
  snapshot: Database,
  organisationId: string | null,
  onProgress: (entries: number) => void,
): Promise<Replay> {
  const accounts = await readAccounts(snapshot, organisationId);
  const limits = await readCreditLimits(snapshot, organisationId);
  const balances = new Map<string, number>();
  const overdrawn: string[] = [];
  let sales = 0;
  let entries = 0;
  let watchedId = "";
  let watch = new SaleWatch([]);
  for await (const line of readJournal(snapshot, organisationId)) {
    const { accountId } = line;
    if (watchedId !== accountId) {
      overdrawn.push(...watch.finish());
      watchedId = accountId;
      watch = new SaleWatch(limits.get(accounts.get(accountId)?.partnerId ?? "") ?? []);
    }
    const balanceMinor = (balances.get(accountId) ?? 0) + line.amountMinor;
    balances.set(accountId, balanceMinor);
    overdrawn.push(...watch.take(line, balanceMinor));
    if (line.isSale) sales += 1;
    entries += 1;
    if (entries % batchEntries === 0) onProgress(entries);
  }
  overdrawn.push(...watch.finish());
  onProgress(entries);
  const wrongBalances = [...accounts.values()].flatMap(({ id, kind, balanceMinor }) => {
    const replayed = balances.get(id) ?? 0;
    return replayed === balanceMinor
      ? []
      : [`account ${id} (${kind}) has ${balanceMinor}, and its entries sum to ${replayed}`];
  });
  return { accounts: accounts.size, wrongBalances, sales, overdrawn };
}

interface Account {
  readonly id: string;
  readonly kind: AccountKind;
  readonly partnerId: string | null;
  readonly balanceMinor: number;
}

async function readAccounts(snapshot: Database, organisationId: string | null): Promise<ReadonlyMap<string, Account>> {
  const all = snapshot.selectFrom("accounts").select(["id", "kind", "partnerId", "balanceMinor"]);
  const rows = await (organisationId === null ? all : all.where("organisationId", "=", organisationId)).execute();
  return new Map(rows.map((row) => [row.id, row]));
}

/** A credit limit, and from when on it counted. */
interface CreditLimit {
  readonly fromMs: number;
  readonly creditLimitMinor: number;
}

/** The credit limits that each partner has had, oldest first. */
async function readCreditLimits(
  snapshot: Database,
  organisationId: string | null,
): Promise<ReadonlyMap<string, readonly CreditLimit[]>> {
  const { rows } = await sql<{ partnerId: string; changeId: string | null; creditLimitMinor: number }>`
    select p.id as partner_id, c.id as change_id, coalesce((c.after -> 'creditLimit')::bigint, p.credit_limit_minor) as credit_limit_minor
    from partners p
    left join changes c on c.organisation_id = p.organisation_id and c.object_id = p.id and c.after ? 'creditLimit'
    where ${organisationId === null ? sql`true` : sql`p.organisation_id = ${organisationId}::uuid`}
    order by c.id
  `.execute(snapshot);
  const limits = new Map<string, CreditLimit[]>();
  for (const { partnerId, changeId, creditLimitMinor } of rows) {
    const fromMs = changeId === null ? 0 : idTimeMs(changeId);
    limits.set(partnerId, [...(limits.get(partnerId) ?? []), { fromMs, creditLimitMinor }]);
  }
  return limits;
}

/** All entries, account by account, each account's in the order of their transactions. Read bit by bit. */
async function* readJournal(snapshot: Database, organisationId: string | null): AsyncGenerator<JournalLine> {
  const ofOrganisation: RawBuilder<unknown> =
    organisationId === null ? sql`true` : sql`a.organisation_id = ${organisationId}::uuid`;
  // All of it is read: the plan that gives the first rows soonest is not the fastest.
  await sql`set local cursor_tuple_fraction = 1`.execute(snapshot);
  await sql`
    declare journal no scroll cursor for
    select e.account_id, e.transaction_id, e.amount_minor,
      a.kind = 'funds' and t.kind = 'reserve' and not coalesce(d.override, false) as is_sale
    from entries e
    join accounts a on a.id = e.account_id
    join transactions t on t.id = e.transaction_id
    left join deliveries d on d.id = t.delivery_id and a.kind = 'funds' and t.kind = 'reserve'
    where ${ofOrganisation}
    order by e.account_id, e.transaction_id
  `.execute(snapshot);
  for (;;) {
    const { rows } = await sql<JournalLine>`fetch ${sql.lit(batchEntries)} from journal`.execute(snapshot);
    yield* rows;
    if (rows.length < batchEntries) break;
  }
  await sql`close journal`.execute(snapshot);
}

interface WatchedSale {
  readonly transactionId: string;
  readonly atMs: number;
  readonly balanceMinor: number;
  /** All that had come in by then. */
  readonly incomeMinor: number;
}

/** Watches one account: no sale leaves less than the credit limit allows. */
class SaleWatch {
  readonly #limits: readonly CreditLimit[];
  /** Sales for which money may still turn up that was there in truth, oldest first. */
  #open: WatchedSale[] = [];
  #incomeMinor = 0;

  constructor(limits: readonly CreditLimit[]) {
    this.#limits = limits;
  }

  /** Takes the account's next entry and its balance after it. Gives what is wrong with sales that are decided by now. */
  take({ transactionId, amountMinor, isSale }: JournalLine, balanceMinor: number): readonly string[] {
    const atMs = idTimeMs(transactionId);
    const decided = this.#decide(atMs - toleranceMs);
    if (amountMinor > 0) this.#incomeMinor += amountMinor;
    if (isSale) this.#open.push({ transactionId, atMs, balanceMinor, incomeMinor: this.#incomeMinor });
    return decided;
  }

  finish(): readonly string[] {
    return this.#decide(Number.POSITIVE_INFINITY);
  }

  #decide(untilMs: number): readonly string[] {
    const next = this.#open.findIndex(({ atMs }) => atMs >= untilMs);
    const decided = this.#open.splice(0, next < 0 ? this.#open.length : next);
    return decided.flatMap((sale) => {
      const leftMinor = sale.balanceMinor + this.#incomeMinor - sale.incomeMinor + this.#creditLimitMinor(sale.atMs);
      return leftMinor >= 0 ? [] : [`transaction ${sale.transactionId} took ${-leftMinor} more than was available`];
    });
  }

  /** The highest that counted about then. */
  #creditLimitMinor(atMs: number): number {
    const counted = this.#limits.filter(({ fromMs }, index) => {
      const endMs = this.#limits[index + 1]?.fromMs ?? Number.POSITIVE_INFINITY;
      return fromMs <= atMs + toleranceMs && endMs >= atMs - toleranceMs;
    });
    return Math.max(0, ...counted.map(({ creditLimitMinor }) => creditLimitMinor));
  }
}

/** When an id of version 7 was made: its first 48 bits. */
function idTimeMs(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}
