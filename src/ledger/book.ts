import { type RawBuilder, sql } from "kysely";
import type { Database } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { recordSet } from "../db/record-set.ts";
import type { AccountKind } from "../db/tables.ts";

/**
 * The ledger: double entry, append only, integers in minor units. The database itself refuses entries that do not sum to
 * zero, and any change or deletion; it keeps each account's balance at the sum of its entries.
 */

/** The accounts that every partner has, by kind: { funds, reserved, revenue, cash, adjustment }. */
export type PartnerAccounts = Readonly<Record<PartnerAccountKind, string>>;

export const partnerAccountKinds = [
  "funds",
  "reserved",
  "revenue",
  "cash",
  "adjustment",
] as const satisfies AccountKind[];
export type PartnerAccountKind = (typeof partnerAccountKinds)[number];

export interface Movement {
  /** What this is once for all: the same key is never booked twice. */
  readonly key: string;
  readonly kind: TransactionKind;
  readonly currency: string;
  readonly partnerId: string | null;
  readonly leadId: string | null;
  readonly deliveryId: string | null;
  readonly reason: string | null;
  readonly createdBy: string;
  /** From one account to another; the amount is above zero. */
  readonly fromAccountId: string;
  readonly toAccountId: string;
  readonly amountMinor: number;
}

export type TransactionKind = "reserve" | "post" | "void" | "reverse" | "payment" | "refund" | "adjustment" | "sms";

/** Books all movements in one statement. A movement of nothing is no movement and leaves no trace. */
export async function book(
  transaction: Database,
  organisationId: string,
  movements: readonly Movement[],
  at: Date,
): Promise<void> {
  if (movements.every((movement) => movement.amountMinor === 0)) return;
  await sql`with ${bookingClauses(organisationId, movements, at)} select`.execute(transaction);
}

/** The same as clauses of a statement that does more: `with <clauses> select`. */
export function bookingClauses(organisationId: string, movements: readonly Movement[], at: Date): RawBuilder<unknown> {
  const rows = movements
    .filter((movement) => movement.amountMinor !== 0)
    .map((movement) => ({
      id: newId(),
      key: movement.key,
      kind: movement.kind,
      currency: movement.currency,
      partner_id: movement.partnerId,
      lead_id: movement.leadId,
      delivery_id: movement.deliveryId,
      reason: movement.reason,
      created_by: movement.createdBy,
      from_account_id: movement.fromAccountId,
      to_account_id: movement.toAccountId,
      amount_minor: movement.amountMinor,
    }));
  return sql`
    movements as (
      select * from ${recordSet(
        rows,
        `
        id uuid, key text, kind text, currency text, partner_id uuid, lead_id uuid, delivery_id uuid, reason
        text, created_by text, from_account_id uuid, to_account_id uuid, amount_minor bigint`,
      )} as g
    ), booked as (
      insert into transactions
        (id, organisation_id, key, kind, currency, occurred_at, partner_id, lead_id, delivery_id, reason, created_by)
      select id, ${organisationId}::uuid, key, kind, currency, ${at}::timestamptz, partner_id, lead_id, delivery_id, reason,
        created_by
      from movements
    ), entered as (
      insert into entries (transaction_id, account_id, organisation_id, amount_minor, currency)
      select id, from_account_id, ${organisationId}::uuid, -amount_minor, currency from movements
      union all
      select id, to_account_id, ${organisationId}::uuid, amount_minor, currency from movements
    )`;
}

/** What a sale moves, step by step: the price is promised, then paid, or given back. */
export interface Sale {
  readonly deliveryId: string;
  readonly leadId: string;
  readonly partnerId: string;
  readonly currency: string;
  readonly priceMinor: number;
}

export function reserveMovement(sale: Sale, accounts: PartnerAccounts): Movement {
  return saleMovement("reserve", sale, accounts.funds, accounts.reserved, null, "system");
}

export function postMovement(sale: Sale, accounts: PartnerAccounts): Movement {
  return saleMovement("post", sale, accounts.reserved, accounts.revenue, null, "system");
}

export function voidMovement(sale: Sale, accounts: PartnerAccounts): Movement {
  return saleMovement("void", sale, accounts.reserved, accounts.funds, null, "system");
}

/** Takes a posted sale back by a new transaction; the old one stays as it is. */
export function reverseMovement(sale: Sale, accounts: PartnerAccounts, reason: string, createdBy: string): Movement {
  return saleMovement("reverse", sale, accounts.revenue, accounts.funds, reason, createdBy);
}

function saleMovement(
  kind: "reserve" | "post" | "void" | "reverse",
  sale: Sale,
  fromAccountId: string,
  toAccountId: string,
  reason: string | null,
  createdBy: string,
): Movement {
  return {
    key: `${kind}-${sale.deliveryId}`,
    kind,
    currency: sale.currency,
    partnerId: sale.partnerId,
    leadId: sale.leadId,
    deliveryId: sale.deliveryId,
    reason,
    createdBy,
    fromAccountId,
    toAccountId,
    amountMinor: sale.priceMinor,
  };
}
