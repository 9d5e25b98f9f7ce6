import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { sha256 } from "../encrypt.ts";
import { bookPayment } from "../ledger/record-payment.ts";
import type { Change } from "../organisations/record-change.ts";
import { lookAtTopUp } from "./look-at-top-up.ts";
import { whyNotPayable } from "./paypal-money.ts";
import { topUpRefundKey } from "./settle-top-up.ts";
import { readTopUp, refundedMinor } from "./top-up-rows.ts";

export interface NewRefund {
  readonly topUpId: string;
  /** null: all that is left. */
  readonly amountMinor: number | null;
  readonly reason: string;
  /** The same key of the same payment gives back once. */
  readonly idempotencyKey: string | null;
}

export type RefundResult =
  | { readonly kind: "asked"; readonly id: string }
  | { readonly kind: "not_found" }
  | { readonly kind: "top_up_state"; readonly reason: string }
  | { readonly kind: "refund_beyond_payment"; readonly leftMinor: number; readonly currency: string }
  | { readonly kind: "insufficient_funds"; readonly availableMinor: number }
  | { readonly kind: "bad_amount"; readonly reason: string }
  | { readonly kind: "idempotency_conflict" };

/**
 * Gives a payment back through PayPal, or a part of it. It is taken from the partner's account first, so that it cannot be
 * spent meanwhile, and put back if PayPal does not do it. Refuses more than is left of the payment, or than the partner has.
 */
export async function refundTopUp(context: Context, change: Change, refund: NewRefund): Promise<RefundResult> {
  const { organisationId } = change;
  const result = await inOrganisation(context.database, organisationId, async (transaction) =>
    storeRefund(transaction, change, refund),
  );
  // What PayPal does not answer now is asked again by the poll.
  if (result.kind === "asked") await lookAtTopUp(context, organisationId, refund.topUpId);
  return result;
}

async function storeRefund(transaction: Database, change: Change, refund: NewRefund): Promise<RefundResult> {
  const { topUpId, reason, idempotencyKey } = refund;
  const stored = await readTopUp(transaction, topUpId, "lock");
  if (stored === null) return { kind: "not_found" };
  const { row, refunds } = stored;
  const leftMinor = row.amountMinor - refundedMinor(refunds);
  const requestKey = idempotencyKey === null ? null : sha256(idempotencyKey).toString("base64url");
  const earlier = refunds.find((one) => requestKey !== null && one.requestKey === requestKey);
  if (earlier !== undefined) {
    const isSame = earlier.reason === reason && (refund.amountMinor ?? earlier.amountMinor) === earlier.amountMinor;
    return isSame ? { kind: "asked", id: earlier.id } : { kind: "idempotency_conflict" };
  }
  if (row.state !== "credited") return { kind: "top_up_state", reason: `It is ${row.state}: nothing was credited.` };
  const amountMinor = refund.amountMinor ?? leftMinor;
  if (amountMinor > leftMinor || leftMinor === 0) {
    return { kind: "refund_beyond_payment", leftMinor, currency: row.currency };
  }
  const unpayable = whyNotPayable(amountMinor, row.currency);
  if (unpayable !== null) return { kind: "bad_amount", reason: unpayable };
  const { organisationId, by, at } = change;
  const id = newId();
  const key = topUpRefundKey(id, 1);
  const { partnerId } = row;
  const booked = await bookPayment(transaction, change, { partnerId, kind: "refund", amountMinor, reason, key });
  if (booked.kind === "insufficient_funds") return booked;
  if (booked.kind !== "booked") throw new Error(`A refund cannot be booked: ${booked.kind}.`);
  const request = { origin: "staff" as const, state: "requested" as const, bookings: 1, reason, requestKey };
  await transaction
    .insertInto("topUpRefunds")
    .values({ id, organisationId, topUpId, amountMinor, ...request, requestedBy: by, createdAt: at })
    .execute();
  await transaction.updateTable("topUps").set({ dueAt: at }).where("id", "=", topUpId).execute();
  return { kind: "asked", id };
}
