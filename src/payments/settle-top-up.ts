import { sql } from "kysely";
import { sendAlerts } from "../../queues/send-alerts.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import type { TopUpState } from "../db/payment-tables.ts";
import { recordSet } from "../db/record-set.ts";
import { bookPayment, type KeyedPayment, wakeAfterPayment } from "../ledger/record-payment.ts";
import { decideTopUp, nextLook, type PayPalFacts, type TopUpDecision } from "./decide-top-up.ts";
import { recordProblems } from "./payment-problems.ts";
import { isTaken, readTopUp, type StoredTopUp, toKnown } from "./top-up-rows.ts";

/** How asking PayPal went, beyond the facts. */
export interface Asked {
  /** What did not go well, for staff to see. */
  readonly error: string | null;
  readonly isCaptureRefused: boolean;
}

/**
 * Brings a top-up up to what PayPal says, in one transaction: its state, what is booked, and what staff have to look at. May
 * be called by any number at once, with the same or with old facts: the row is locked, and each booking has a key of its own.
 */
export async function settleTopUp(
  context: Context,
  organisationId: string,
  id: string,
  facts: PayPalFacts,
  asked: Asked = { error: null, isCaptureRefused: false },
): Promise<TopUpState> {
  const at = context.clock();
  const settled = await inOrganisation(context.database, organisationId, async (transaction) => {
    const stored = await readTopUp(transaction, id, "lock");
    if (stored === null) throw new Error(`Top-up ${id} was there a moment ago; top-ups are never deleted.`);
    const { partnerId } = stored.row;
    const decision = decideTopUp(toKnown(stored), facts, at);
    const refunds = refundRows(stored, decision);
    const payments = paymentsOf(stored, decision, refunds);
    const change = { organisationId, by: "PayPal", at };
    // Seldom more than one. The credit goes first.
    for (const payment of payments) await requireBooked(transaction, change, payment);
    await storeRefunds(transaction, organisationId, id, refunds, at);
    await transaction
      .updateTable("topUps")
      .set((is) => ({
        state: decision.state,
        captureId: decision.captureId ?? stored.row.captureId,
        captureTries: is("captureTries", "+", asked.isCaptureRefused ? 1 : 0),
        error: asked.error,
        creditedAt: stored.row.creditedAt ?? (decision.state === "credited" ? at : null),
        dueAt: nextLook({ ...decision, createdAt: stored.row.createdAt }, at),
      }))
      .where("id", "=", id)
      .execute();
    const about = { partnerId, topUpId: id };
    const isMail = await recordProblems(transaction, organisationId, decision.problems, about, at);
    return { state: decision.state, before: stored.row.state, partnerId, isBooked: payments.length > 0, isMail };
  });
  const { state, before, partnerId, isBooked, isMail } = settled;
  if (isBooked) wakeAfterPayment(context, organisationId, partnerId);
  if (isMail) context.waker.wake(sendAlerts, { organisationId });
  if (state !== before) context.log.info({ organisationId, partnerId, topUpId: id, before, state }, "payment.settled");
  return state;
}

interface RefundRow {
  readonly id: string;
  readonly paypal_id: string | null;
  readonly is_reversal: boolean;
  readonly state: string;
  readonly amount_minor: number;
  readonly bookings: number;
  readonly isBooked: boolean;
  readonly reason: string;
}

function refundRows({ refunds }: StoredTopUp, decision: TopUpDecision): RefundRow[] {
  return decision.refunds.map((refund) => {
    const known = refunds.find(({ id }) => id === refund.knownId);
    const isBooked = refund.isTaken !== (known !== undefined && isTaken(known));
    const name = refund.isReversal ? "reversal" : "refund";
    return {
      id: known?.id ?? newId(),
      paypal_id: refund.paypalId,
      is_reversal: refund.isReversal,
      state: refund.state,
      amount_minor: refund.amountMinor,
      bookings: (known?.bookings ?? 0) + (isBooked ? 1 : 0),
      isBooked,
      reason: known?.reason ?? `PayPal ${name} ${refund.paypalId}`,
    };
  });
}

/** What is to be booked: the credit, once per capture; each refund as it is taken, or given back because it was not made. */
function paymentsOf({ row }: StoredTopUp, decision: TopUpDecision, refunds: readonly RefundRow[]): KeyedPayment[] {
  const { partnerId, amountMinor } = row;
  const payments: KeyedPayment[] = [];
  if (decision.state === "credited" && row.state !== "credited") {
    const key = `paypal-capture-${decision.captureId}`;
    payments.push({ partnerId, kind: "payment", amountMinor, reason: `PayPal ${decision.captureId}`, key });
  }
  for (const { id, bookings, isBooked, amount_minor, reason } of refunds) {
    if (!isBooked) continue;
    const shared = { partnerId, amountMinor: amount_minor, key: topUpRefundKey(id, bookings), isFact: true };
    if (bookings % 2 === 1) payments.push({ ...shared, kind: "refund", reason });
    else payments.push({ ...shared, kind: "payment", reason: `Not refunded by PayPal: ${reason}` });
  }
  return payments;
}

/** The key of what is booked for a refund for the n-th time: taken, given back, taken again. */
export function topUpRefundKey(refundId: string, bookings: number): string {
  return `top-up-refund-${refundId}-${bookings}`;
}

async function requireBooked(
  transaction: Database,
  change: Parameters<typeof bookPayment>[1],
  payment: KeyedPayment,
): Promise<void> {
  const { kind } = await bookPayment(transaction, change, payment);
  if (kind !== "booked") throw new Error(`What PayPal says cannot be booked: ${kind}.`);
}

async function storeRefunds(
  transaction: Database,
  organisationId: string,
  topUpId: string,
  refunds: readonly RefundRow[],
  at: Date,
): Promise<void> {
  if (refunds.length === 0) return;
  await sql`
    insert into top_up_refunds
      (id, organisation_id, top_up_id, paypal_id, origin, is_reversal, state, amount_minor, bookings, reason, requested_by, created_at)
    select g.id, ${organisationId}::uuid, ${topUpId}::uuid, g.paypal_id, 'paypal', g.is_reversal, g.state, g.amount_minor,
      g.bookings, g.reason, 'PayPal', ${at}::timestamptz
    from ${recordSet(
      refunds,
      `
      id uuid, paypal_id text, is_reversal boolean, state text, amount_minor bigint, bookings integer, reason
      text`,
    )} as g
    on conflict (id) do update
      set paypal_id = excluded.paypal_id, is_reversal = excluded.is_reversal, state = excluded.state,
          bookings = excluded.bookings
  `.execute(transaction);
}
