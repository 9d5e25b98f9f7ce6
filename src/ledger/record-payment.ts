import { drainPartner } from "../../queues/drain-partner.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { sha256 } from "../encrypt.ts";
import type { Change } from "../organisations/record-change.ts";
import { recheckHoldsOf } from "../partners/resume-partner.ts";
import { mostMinorUnits } from "../schemas.ts";
import { type PartnerFunds, readPartnerFunds } from "./accounts.ts";
import { book, type Movement } from "./book.ts";

export interface Payment {
  readonly partnerId: string;
  /** payment: money came in; refund: money was given back; adjustment: a correction, either way. */
  readonly kind: "payment" | "refund" | "adjustment";
  /** In minor units of the partner's currency. Below zero only where an adjustment takes away. */
  readonly amountMinor: number;
  readonly reason: string;
  /** The same key books once. */
  readonly idempotencyKey: string | null;
}

export type PaymentResult =
  | { readonly kind: "booked"; readonly transactionId: string; readonly isReplay: boolean }
  | { readonly kind: "partner_not_found" }
  | { readonly kind: "insufficient_funds"; readonly availableMinor: number }
  | { readonly kind: "beyond_limit"; readonly limitMinor: number }
  | { readonly kind: "idempotency_conflict" };

/** An account is never this far from zero: beyond 2^53, nine times as far, it could not be read any more. */
const largestBalanceMinor = 1_000 * mostMinorUnits;

/**
 * Books what staff enter for a partner. Refuses to give back more than the balance less what is reserved, what no
 * account could count, and a used idempotency key with other content. Leads that wait for the partner's money are looked at again.
 */
export async function recordPayment(context: Context, change: Change, payment: Payment): Promise<PaymentResult> {
  const { organisationId } = change;
  const result = await inOrganisation(context.database, organisationId, async (transaction) =>
    bookPayment(transaction, change, { ...payment, key: toKey(payment) }),
  );
  if (result.kind === "booked" && !result.isReplay) wakeAfterPayment(context, organisationId, payment.partnerId);
  return result;
}

export type KeyedPayment = Omit<Payment, "idempotencyKey"> & {
  /** What this is once for all; with another content it is refused. */
  readonly key: string;
  /** It happened already, outside: it is booked even if the account falls below zero by it. */
  readonly isFact?: boolean;
};

/**
 * Books a payment, a refund or an adjustment in the caller's transaction: every one of them goes through here, whoever made
 * it. Refuses as `recordPayment` does. After the commit the caller calls `wakeAfterPayment`.
 */
export async function bookPayment(
  transaction: Database,
  { organisationId, by, at }: Change,
  payment: KeyedPayment,
): Promise<PaymentResult> {
  const { partnerId } = payment;
  // Before the accounts are locked: a settlement takes the endpoint first, and the two must not wait for each other.
  await recheckHoldsOf(transaction, [partnerId], at);
  const funds = (await readPartnerFunds(transaction, [partnerId], "lock")).get(partnerId);
  if (funds === undefined) return { kind: "partner_not_found" };
  const movement = toMovement(payment, funds, by);
  const earlier = await findBooked(transaction, movement);
  if (earlier !== null) return earlier;
  const freeMinor = funds.balanceMinor - funds.reservedMinor;
  const isTaken = movement.fromAccountId === funds.accounts.funds;
  if (isTaken && payment.isFact !== true && movement.amountMinor > freeMinor) {
    return { kind: "insufficient_funds", availableMinor: freeMinor };
  }
  if (!canBeCounted(movement, funds)) return { kind: "beyond_limit", limitMinor: largestBalanceMinor };
  await book(transaction, organisationId, [movement], at);
  const booked = await findBooked(transaction, movement);
  if (booked?.kind !== "booked") throw new Error("A movement that was just booked is not there.");
  return { ...booked, isReplay: false };
}

/** Leads that wait for the partner's money are looked at again. */
export function wakeAfterPayment(context: Context, organisationId: string, partnerId: string): void {
  context.waker.wake(drainPartner, { organisationId, partnerId });
}

function canBeCounted({ fromAccountId, toAccountId, amountMinor }: Movement, { balances }: PartnerFunds): boolean {
  const from = (balances.get(fromAccountId) ?? 0) - amountMinor;
  const to = (balances.get(toAccountId) ?? 0) + amountMinor;
  return Math.max(Math.abs(from), Math.abs(to)) <= largestBalanceMinor;
}

function toKey({ partnerId, idempotencyKey }: Payment): string {
  // Hashed, so that a key of any length and content makes a short one; with the partner, so that it is a key per partner.
  const key = idempotencyKey === null ? newId() : sha256(`${partnerId} ${idempotencyKey}`).toString("base64url");
  return `payment-${key}`;
}

function toMovement(payment: KeyedPayment, { accounts, currency }: PartnerFunds, createdBy: string): Movement {
  const { partnerId, kind, amountMinor, reason, key } = payment;
  const other = kind === "adjustment" ? accounts.adjustment : accounts.cash;
  const isTaken = kind === "refund" || amountMinor < 0;
  return {
    key,
    kind,
    currency,
    partnerId,
    leadId: null,
    deliveryId: null,
    reason,
    createdBy,
    fromAccountId: isTaken ? accounts.funds : other,
    toAccountId: isTaken ? other : accounts.funds,
    amountMinor: Math.abs(amountMinor),
  };
}

/** What is booked under the movement's key already; null where nothing is. */
async function findBooked(transaction: Database, movement: Movement): Promise<PaymentResult | null> {
  const booked = await transaction
    .selectFrom("transactions as t")
    .innerJoin("entries as e", "e.transactionId", "t.id")
    .select(["t.id", "t.kind", "t.reason", "e.accountId", "e.amountMinor"])
    .where("t.key", "=", movement.key)
    .where("e.amountMinor", ">", 0)
    .executeTakeFirst();
  if (booked === undefined) return null;
  const isSame =
    booked.kind === movement.kind &&
    booked.reason === movement.reason &&
    booked.accountId === movement.toAccountId &&
    booked.amountMinor === movement.amountMinor;
  return isSame ? { kind: "booked", transactionId: booked.id, isReplay: true } : { kind: "idempotency_conflict" };
}
