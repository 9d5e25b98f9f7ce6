import { sql } from "kysely";
import type { Database } from "../db/database.ts";
import type { AccountKind } from "../db/ledger-tables.ts";
import type { Period } from "../period.ts";

/** What a statement is about, and the accounts that it is made of. */
export const statementAccounts = {
  /** What a partner has, reserved or not: as `balance` says. */
  balance: ["funds", "reserved"],
  /** What an introducer is owed. */
  owed: ["payable"],
} as const satisfies Record<string, readonly AccountKind[]>;
export type StatementAccount = keyof typeof statementAccounts;

export interface StatementEntry {
  readonly transactionId: string;
  readonly occurredAt: Date;
  readonly kind: string;
  readonly reason: string | null;
  readonly createdBy: string;
  readonly leadId: string | null;
  readonly deliveryId: string | null;
  readonly campaign: string | null;
  /** What the partner calls the lead. */
  readonly reference: string | null;
  readonly amountMinor: number;
  /** After this entry. */
  readonly balanceMinor: number;
}

export interface Statement {
  readonly openingMinor: number;
  readonly entries: readonly StatementEntry[];
  readonly closingMinor: number;
  /** Some entries of the period are missing: there are more than were asked for. */
  readonly isCut: boolean;
}

interface Row extends Omit<StatementEntry, "balanceMinor"> {
  readonly openingMinor: number;
}

/**
 * All that changed a balance in a period, in order, between what it was before and after. What moves within it (a
 * reservation) changes nothing and is left out. Takes at most `limit` entries. Opening balance and entries are read in one
 * statement, so that they fit together whatever is booked meanwhile.
 */
export async function readStatement(
  transaction: Database,
  partnerId: string,
  account: StatementAccount,
  currency: string,
  period: Period,
  limit: number,
): Promise<Statement> {
  const kinds = statementAccounts[account];
  const { rows } = await sql<Row | { transactionId: null; openingMinor: number }>`
    with own as (
      select id, balance_minor from accounts
      where partner_id = ${partnerId} and kind = any(${kinds}::text[]) and currency = ${currency}
    ), since as materialized (
      select t.id, t.occurred_at, sum(e.amount_minor) as amount_minor
      from transactions t
      join entries e on e.transaction_id = t.id
      where t.partner_id = ${partnerId} and t.occurred_at >= ${period.startsAt} and e.account_id in (select id from own)
      group by t.id
      having sum(e.amount_minor) <> 0
    )
    select opening.opening_minor, s.transaction_id, s.occurred_at, s.kind, s.reason, s.created_by, s.lead_id, s.delivery_id,
      s.campaign, s.reference, s.amount_minor
    from (
      select (select coalesce(sum(balance_minor), 0) from own) - (select coalesce(sum(amount_minor), 0) from since) as opening_minor
    ) opening
    left join (
      select t.id as transaction_id, t.occurred_at, t.kind, t.reason, t.created_by, t.lead_id, t.delivery_id,
        k.name as campaign, d.reference, since.amount_minor
      from since
      join transactions t on t.id = since.id
      left join deliveries d on d.id = t.delivery_id
      left join leads l on l.id = t.lead_id
      left join campaigns k on k.id = coalesce(d.campaign_id, l.campaign_id)
      where since.occurred_at < ${period.endsAt}
      order by since.occurred_at, since.id limit ${limit + 1}
    ) s on true
    order by s.occurred_at, s.transaction_id
  `.execute(transaction);
  const openingMinor = rows[0]?.openingMinor ?? 0;
  let balanceMinor = openingMinor;
  const entries = rows.slice(0, limit).flatMap((row): StatementEntry[] => {
    if (row.transactionId === null) return [];
    const { openingMinor: _opening, ...entry } = row;
    balanceMinor += entry.amountMinor;
    return [{ ...entry, balanceMinor }];
  });
  return { openingMinor, entries, closingMinor: balanceMinor, isCut: rows.length > limit };
}

const words: Readonly<Record<string, string>> = {
  post: "Lead",
  reverse: "Lead taken back",
  payment: "Payment",
  refund: "Refund",
  adjustment: "Correction",
  cost: "Lead introduced",
  cost_reversal: "Lead taken back",
  payout: "Paid to you",
};

/** What an entry is, for people. */
export function entryWords(kind: string): string {
  return words[kind] ?? kind.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());
}
