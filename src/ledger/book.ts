import { type RawBuilder, sql } from "kysely";
import type { Database } from "../db/database.ts";
import { newId } from "../db/id.ts";
import type { AccountKind } from "../db/ledger-tables.ts";
import { recordSet } from "../db/record-set.ts";
import type { BillingPoint } from "../prices/billing.ts";

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

/** What an introducer costs and what it is owed, by kind; for each currency in which it is owed. */
export const introducerAccountKinds = ["lead_cost", "payable"] as const satisfies AccountKind[];
export type IntroducerAccounts = Readonly<Record<(typeof introducerAccountKinds)[number], string>>;

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

export type TransactionKind =
  | "reserve"
  | "post"
  | "void"
  | "reverse"
  | "cost"
  | "cost_reversal"
  | "payment"
  | "refund"
  | "adjustment"
  | "payout"
  | "sms";

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

/**
 * The same as clauses of a statement that does more: `with <clauses> select`. The one place where a partner's funds change:
 * sales, payments and what becomes of them all come through here.
 */
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

/** What a sale's movements say of it. */
export interface Sale {
  readonly deliveryId: string;
  readonly leadId: string;
  readonly partnerId: string;
  readonly currency: string;
}

/** The price is promised: it is no longer free to spend. */
export function reserveMovement(sale: Sale, priceMinor: number, accounts: PartnerAccounts): Movement {
  const key = `reserve-${sale.deliveryId}`;
  return movementOf(sale, {
    key,
    kind: "reserve",
    from: accounts.funds,
    to: accounts.reserved,
    amountMinor: priceMinor,
  });
}

/** A part of what was reserved: that of a billing point, or what came out to be too much. */
export interface ReservedPart {
  readonly point: BillingPoint | "excess";
  readonly amountMinor: number;
}

/**
 * A part is posted when its billing point is reached, or voided. Both have the same key: the database lets a part be ended
 * once, whoever tries what at the same time.
 */
export function endPartMovement(
  kind: "post" | "void",
  sale: Sale,
  { point, amountMinor }: ReservedPart,
  accounts: PartnerAccounts,
  by: { readonly reason: string | null; readonly createdBy: string } = ofItself,
): Movement {
  const key = `end-${sale.deliveryId}-${point}`;
  const to = kind === "post" ? accounts.revenue : accounts.funds;
  return movementOf(sale, { key, kind, from: accounts.reserved, to, amountMinor, ...by });
}

/** Takes what was posted of a sale back by a new transaction; the old ones stay as they are. */
export function reverseMovement(
  sale: Sale,
  amountMinor: number,
  accounts: PartnerAccounts,
  reason: string,
  createdBy: string,
): Movement {
  const key = `reverse-${sale.deliveryId}`;
  const { revenue: from, funds: to } = accounts;
  return movementOf(sale, { key, kind: "reverse", from, to, amountMinor, reason, createdBy });
}

const ofItself = { reason: null, createdBy: "system" };

function movementOf(
  sale: Sale,
  movement: {
    readonly key: string;
    readonly kind: TransactionKind;
    readonly from: string;
    readonly to: string;
    readonly amountMinor: number;
    readonly reason?: string | null;
    readonly createdBy?: string;
  },
): Movement {
  const { key, kind, from, to, amountMinor, reason, createdBy } = { ...ofItself, ...movement };
  return { ...sale, key, kind, fromAccountId: from, toAccountId: to, amountMinor, reason, createdBy };
}

/** What is owed to an introducer: more of it, or, below zero, less of it. `partnerId` of the sale is the introducer. */
export interface CostChange extends Omit<Sale, "deliveryId"> {
  /** null: of the lead itself. */
  readonly deliveryId: string | null;
  readonly accounts: IntroducerAccounts;
  /** What it is for, once for all. */
  readonly key: string;
  readonly amountMinor: number;
  readonly reason: string | null;
  readonly createdBy: string;
}

export function costMovement({ accounts, amountMinor, ...sale }: CostChange): Movement {
  const isOwed = amountMinor >= 0;
  return {
    ...sale,
    kind: isOwed ? "cost" : "cost_reversal",
    fromAccountId: isOwed ? accounts.lead_cost : accounts.payable,
    toAccountId: isOwed ? accounts.payable : accounts.lead_cost,
    amountMinor: Math.abs(amountMinor),
  };
}
