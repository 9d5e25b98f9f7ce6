import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import type { TopUpState } from "../db/payment-tables.ts";
import { decideTopUp, nextLook, type PayPalFacts, type RefundFact } from "./decide-top-up.ts";
import { type PayPalAccount, readAccount } from "./paypal-account.ts";
import {
  type Called,
  captureOrder,
  type PayPalOrder,
  type PayPalRefund,
  readOrder,
  refundCapture,
} from "./paypal-client.ts";
import { toPayPalMoney } from "./paypal-money.ts";
import { settleTopUp } from "./settle-top-up.ts";
import { readTopUp, type StoredTopUp, toKnown } from "./top-up-rows.ts";

export type Look =
  | { readonly kind: "settled"; readonly state: TopUpState }
  | { readonly kind: "not_found" }
  /** PayPal could not be asked, or not well: it will be again. */
  | { readonly kind: "unknown"; readonly reason: string };

/** An order that was asked for and not stored within this time was never told to anybody who could pay it. */
const orderWithinMs = 10 * 60_000;

/**
 * Asks PayPal how a payment stands, takes the money if the payer has approved it, and books what came of it. The payer's
 * return, a webhook, the poll and staff all come here, in any order and number. `told` is what a verified webhook says.
 */
export async function lookAtTopUp(
  context: Context,
  organisationId: string,
  id: string,
  told: readonly RefundFact[] = [],
): Promise<Look> {
  const found = await inOrganisation(context.database, organisationId, async (transaction) => {
    const stored = await readTopUp(transaction, id);
    const account = stored === null ? null : await readAccount(transaction, stored.row.paypalAccountId);
    return stored === null || account === null ? null : { stored, account };
  });
  if (found === null) return { kind: "not_found" };
  const { stored, account } = found;
  const { orderId } = stored.row;
  if (orderId === null) return { kind: "settled", state: await giveUpOrder(context, organisationId, stored) };
  const refunded = await finishRefunds(context, account, stored);
  const asked = await readFacts(context, account, stored, orderId);
  if (asked.kind === "unknown") {
    await noteTrouble(context, organisationId, stored, asked.reason);
    return { kind: "unknown", reason: asked.reason };
  }
  const { facts, error, isCaptureRefused } = asked;
  const refunds = [...refunded.facts, ...told, ...facts.refunds];
  const outcome = { error: error ?? refunded.error, isCaptureRefused };
  return { kind: "settled", state: await settleTopUp(context, organisationId, id, { ...facts, refunds }, outcome) };
}

/** There is no order to look at: it is being made, or nobody will ever pay it. */
async function giveUpOrder(context: Context, organisationId: string, { row }: StoredTopUp): Promise<TopUpState> {
  const now = context.clock();
  if (row.state !== "requested") return row.state;
  const isLate = now.getTime() - row.createdAt.getTime() > orderWithinMs;
  const change = isLate
    ? { state: "failed" as const, dueAt: null }
    : { state: row.state, dueAt: nextLook({ ...row, refunds: [] }, now) };
  await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .updateTable("topUps")
      .set(change)
      .where("id", "=", row.id)
      .where("state", "=", "requested")
      .where("orderId", "is", null)
      .execute(),
  );
  return change.state;
}

interface FinishedRefunds {
  readonly facts: readonly RefundFact[];
  readonly error: string | null;
}

/** Asks for each refund of ours whose outcome is not known; under its own request id, so that PayPal makes it once. */
async function finishRefunds(
  context: Context,
  account: PayPalAccount,
  { row, refunds }: StoredTopUp,
): Promise<FinishedRefunds> {
  const { captureId, currency } = row;
  const open = refunds.filter(({ origin, state }) => origin === "staff" && state === "requested");
  if (captureId === null || open.length === 0) return { facts: [], error: null };
  const finished = await Promise.all(
    open.map(async ({ id, amountMinor }) => {
      const amount = toPayPalMoney(amountMinor, currency);
      const called = await refundCapture(context, account, captureId, { id, amount });
      if (called.kind === "answer") return { fact: { ...toRefundFact(called.value), ownId: id }, error: null };
      const isRefused = called.kind === "refused";
      const notMade: RefundFact = { id: null, status: "FAILED", amount, ownId: id, isReversal: false };
      return { fact: isRefused ? notMade : null, error: called.reason };
    }),
  );
  const facts = finished.flatMap(({ fact }) => (fact === null ? [] : [fact]));
  return { facts, error: finished.find(({ error }) => error !== null)?.error ?? null };
}

type Asked =
  | {
      readonly kind: "known";
      readonly facts: PayPalFacts;
      readonly error: string | null;
      readonly isCaptureRefused: boolean;
    }
  | { readonly kind: "unknown"; readonly reason: string };

/** The order as it stands, after its money was taken where that is due. */
async function readFacts(
  context: Context,
  account: PayPalAccount,
  stored: StoredTopUp,
  orderId: string,
): Promise<Asked> {
  const before = known(await readOrder(context, account, orderId), null);
  if (before.kind === "unknown") return before;
  if (!decideTopUp(toKnown(stored), before.facts, context.clock()).mayCapture) return before;
  const { id, captureTries } = stored.row;
  const captured = await captureOrder(context, account, orderId, `capture-${id}-${captureTries}`);
  if (captured.kind === "answer") return known(captured, null);
  // Somebody else may have taken it meanwhile, or this call did and its answer is lost: the order says.
  const after = known(await readOrder(context, account, orderId), captured.reason);
  const isCaptureRefused = captured.kind === "refused" && captured.issue !== "ORDER_ALREADY_CAPTURED";
  if (after.kind === "unknown") return after;
  const isTaken = after.facts.captures.length > 0;
  return { ...after, error: isTaken ? null : after.error, isCaptureRefused };
}

function known(called: Called<PayPalOrder>, error: string | null): Asked {
  if (called.kind === "answer") return { kind: "known", facts: toFacts(called.value), error, isCaptureRefused: false };
  if (called.kind === "unknown") return called;
  // An order that was not paid is forgotten after some hours. Whatever else is refused here says nothing about the money.
  if (called.status !== 404) return { kind: "unknown", reason: called.reason };
  const facts = { order: "gone", orderAmount: null, captures: [], refunds: [] };
  return { kind: "known", facts, error, isCaptureRefused: false };
}

function toFacts({ status, purchase_units: units }: PayPalOrder): PayPalFacts {
  return {
    order: status,
    orderAmount: units[0]?.amount ?? null,
    captures: units.flatMap(({ payments }) => payments.captures),
    refunds: units.flatMap(({ payments }) => payments.refunds).map(toRefundFact),
  };
}

export function toRefundFact({ id, status, amount, custom_id: ownId }: PayPalRefund): RefundFact {
  return { id, status, amount, ownId: ownId ?? null, isReversal: false };
}

async function noteTrouble(
  context: Context,
  organisationId: string,
  stored: StoredTopUp,
  reason: string,
): Promise<void> {
  const dueAt = nextLook(toKnown(stored), context.clock());
  await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction.updateTable("topUps").set({ error: reason, dueAt }).where("id", "=", stored.row.id).execute(),
  );
  context.log.warn({ organisationId, topUpId: stored.row.id, reason }, "payment.not_asked");
}
