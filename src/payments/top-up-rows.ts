import type { Selectable } from "kysely";
import type { Database } from "../db/database.ts";
import type { TopUpRefundRow, TopUpRow } from "../db/payment-tables.ts";
import type { KnownTopUp } from "./decide-top-up.ts";

export interface StoredTopUp {
  readonly row: Selectable<TopUpRow>;
  readonly refunds: readonly Selectable<TopUpRefundRow>[];
}

/** Reads a top-up with what went back of it; with `lock`, nobody else settles it before this transaction ends. */
export async function readTopUp(
  transaction: Database,
  id: string,
  lock: "lock" | "read" = "read",
): Promise<StoredTopUp | null> {
  const query = transaction.selectFrom("topUps").selectAll().where("id", "=", id);
  const row = await (lock === "lock" ? query.forNoKeyUpdate() : query).executeTakeFirst();
  if (row === undefined) return null;
  return { row, refunds: await readRefunds(transaction, [id]) };
}

/** What went back of these top-ups, oldest first. */
export async function readRefunds(
  transaction: Database,
  topUpIds: readonly string[],
): Promise<readonly Selectable<TopUpRefundRow>[]> {
  if (topUpIds.length === 0) return [];
  return transaction
    .selectFrom("topUpRefunds")
    .selectAll()
    .where("topUpId", "in", topUpIds)
    .orderBy("topUpId")
    .orderBy("id")
    .execute();
}

/** What was booked an odd number of times is taken from the partner; then it was given back. */
export function isTaken({ bookings }: Pick<Selectable<TopUpRefundRow>, "bookings">): boolean {
  return bookings % 2 === 1;
}

/** Minor units that are taken from the partner again. */
export function refundedMinor(refunds: StoredTopUp["refunds"]): number {
  return refunds.filter(isTaken).reduce((sum, refund) => sum + refund.amountMinor, 0);
}

export function toKnown({ row, refunds }: StoredTopUp): KnownTopUp {
  return {
    id: row.id,
    state: row.state,
    amountMinor: row.amountMinor,
    currency: row.currency,
    captureId: row.captureId,
    createdAt: row.createdAt,
    refunds: refunds.map((refund) => ({
      id: refund.id,
      paypalId: refund.paypalId,
      origin: refund.origin,
      state: refund.state,
      amountMinor: refund.amountMinor,
      isReversal: refund.isReversal,
      isTaken: isTaken(refund),
    })),
  };
}
