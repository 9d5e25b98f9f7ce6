import { sql } from "kysely";
import type { Database } from "../db/database.ts";
import { newId } from "../db/id.ts";
import type { AccountKind } from "../db/ledger-tables.ts";
import {
  type IntroducerAccounts,
  introducerAccountKinds,
  type PartnerAccountKind,
  type PartnerAccounts,
  partnerAccountKinds,
} from "./book.ts";

/** What a partner has, in minor units. `balance` includes what is reserved; a sale needs its price to be available. */
export interface PartnerFunds {
  readonly accounts: PartnerAccounts;
  readonly currency: string;
  readonly balanceMinor: number;
  readonly reservedMinor: number;
  /** Since when they are low, and since when a lead could not be had for want of money; null where that is yet to be told. */
  readonly lowSince: Date | null;
  readonly outSince: Date | null;
  /** Of each account, by its id. */
  readonly balances: ReadonlyMap<string, number>;
}

/**
 * Opens the accounts that a partner needs as a buyer and as an introducer, in its currency. Once per partner. `lowSince` where
 * less is available than its threshold from the start: funds that were never above it have not fallen below it.
 */
export async function openPartnerAccounts(
  transaction: Database,
  organisationId: string,
  partnerId: string,
  currency: string,
  lowSince: Date | null,
): Promise<void> {
  const rows = [...partnerAccountKinds, ...introducerAccountKinds].map((kind) => ({
    id: newId(),
    organisationId,
    partnerId,
    kind,
    currency,
    lowSince: kind === "funds" ? lowSince : null,
  }));
  await transaction.insertInto("accounts").values(rows).execute();
}

interface AccountRow {
  readonly id: string;
  readonly partnerId: string;
  readonly kind: AccountKind;
  readonly currency: string;
  readonly balanceMinor: number;
  readonly lowSince: Date | null;
  readonly outSince: Date | null;
}

const forNoKeyUpdate = sql`for no key update`;

/**
 * Reads partners' funds; with `lock`, nobody else takes from what is free to spend before this transaction ends. What is
 * reserved is not locked: posting a sale moves it on to revenue, and has not to wait for routing. Accounts are locked in the
 * order of their ids, after the partners' usage rows, everywhere: two transactions never wait for each other in a ring.
 */
export async function readPartnerFunds(
  transaction: Database,
  partnerIds: readonly string[],
  lock: "lock" | "read",
): Promise<ReadonlyMap<string, PartnerFunds>> {
  if (partnerIds.length === 0) return new Map();
  const { rows } = await sql<AccountRow>`
    with funds as materialized (
      select id, partner_id, kind, currency, balance_minor, low_since, out_since from accounts
      where partner_id = any(${partnerIds}::uuid[]) and kind = 'funds' order by id ${lock === "lock" ? forNoKeyUpdate : sql``}
    )
    select * from funds
    union all
    select id, partner_id, kind, currency, balance_minor, null, null from accounts
    where partner_id = any(${partnerIds}::uuid[]) and kind in ('reserved', 'revenue', 'cash', 'adjustment')
  `.execute(transaction);
  const byPartner = new Map<string, AccountRow[]>();
  for (const account of rows) {
    const { partnerId } = account;
    const accounts = byPartner.get(partnerId) ?? [];
    accounts.push(account);
    byPartner.set(partnerId, accounts);
  }
  return new Map([...byPartner].map(([partnerId, accounts]) => [partnerId, toFunds(partnerId, accounts)]));
}

function toFunds(partnerId: string, rows: readonly AccountRow[]): PartnerFunds {
  const account = (kind: PartnerAccountKind) => {
    const row = rows.find((candidate) => candidate.kind === kind);
    if (row === undefined)
      throw new Error(`Partner ${partnerId} has no ${kind} account: openPartnerAccounts was not run.`);
    return row;
  };
  const funds = account("funds");
  const reserved = account("reserved");
  return {
    accounts: {
      funds: funds.id,
      reserved: reserved.id,
      revenue: account("revenue").id,
      cash: account("cash").id,
      adjustment: account("adjustment").id,
    },
    currency: funds.currency,
    balanceMinor: funds.balanceMinor + reserved.balanceMinor,
    reservedMinor: reserved.balanceMinor,
    lowSince: funds.lowSince,
    outSince: funds.outSince,
    balances: new Map(rows.map(({ id, balanceMinor }) => [id, balanceMinor])),
  };
}

/** The accounts of what an introducer is owed in a currency; opened where it was owed nothing in that currency before. */
export async function introducerAccounts(
  transaction: Database,
  organisationId: string,
  partnerId: string,
  currency: string,
): Promise<IntroducerAccounts> {
  const rows = introducerAccountKinds.map((kind) => ({ id: newId(), organisationId, partnerId, kind, currency }));
  await transaction
    .insertInto("accounts")
    .values(rows)
    .onConflict((conflict) => conflict.columns(["organisationId", "partnerId", "kind", "currency"]).doNothing())
    .execute();
  const accounts = await transaction
    .selectFrom("accounts")
    .select(["id", "kind"])
    .where("partnerId", "=", partnerId)
    .where("currency", "=", currency)
    .where("kind", "in", introducerAccountKinds)
    .execute();
  const idOf = (kind: AccountKind) => {
    const account = accounts.find((candidate) => candidate.kind === kind);
    if (account === undefined) throw new Error(`Partner ${partnerId} has no ${kind} account in ${currency}.`);
    return account.id;
  };
  return { lead_cost: idOf("lead_cost"), payable: idOf("payable") };
}

/** Available = balance + credit limit − reserved. */
export function availableMinor(funds: PartnerFunds, creditLimitMinor: number): number {
  return funds.balanceMinor + creditLimitMinor - funds.reservedMinor;
}
