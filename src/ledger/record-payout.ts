import { sql } from "kysely";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { sha256 } from "../encrypt.ts";
import type { Change } from "../organisations/record-change.ts";
import { introducerAccounts } from "./accounts.ts";
import { book, type Movement } from "./book.ts";

/** What was paid to an introducer of what it is owed. */
export interface Payout {
  readonly partnerId: string;
  /** null: the partner's own. */
  readonly currency: string | null;
  /** Below zero takes a payout back. */
  readonly amountMinor: number;
  readonly reason: string;
  /** The same key books once. */
  readonly idempotencyKey: string | null;
}

export type PayoutResult =
  | { readonly kind: "booked"; readonly transactionId: string; readonly currency: string; readonly owedMinor: number }
  | { readonly kind: "partner_not_found" }
  /** What can be booked: from taking back all that was paid out to paying all that is owed. */
  | { readonly kind: "out_of_range"; readonly leastMinor: number; readonly mostMinor: number }
  | { readonly kind: "idempotency_conflict" };

/**
 * Marks what an introducer is owed as paid. Refuses more than is owed, to take back more than was paid out, and a used
 * idempotency key with other content.
 */
export async function recordPayout(context: Context, change: Change, payout: Payout): Promise<PayoutResult> {
  const { organisationId, at, by } = change;
  const { partnerId, amountMinor, reason } = payout;
  return inOrganisation(context.database, organisationId, async (transaction): Promise<PayoutResult> => {
    const partner = await transaction
      .selectFrom("partners")
      .select("currency")
      .where("id", "=", partnerId)
      .executeTakeFirst();
    if (partner === undefined) return { kind: "partner_not_found" };
    const currency = payout.currency ?? partner.currency;
    const accounts = await introducerAccounts(transaction, organisationId, partnerId, currency);
    const cash = await openCashAccount(transaction, organisationId, currency);
    const { balanceMinor: owedMinor } = await transaction
      .selectFrom("accounts")
      .select("balanceMinor")
      .where("id", "=", accounts.payable)
      .forNoKeyUpdate()
      .executeTakeFirstOrThrow();
    const movement = toMovement(payout, currency, accounts.payable, cash, by);
    const earlier = await findBooked(transaction, movement.key, accounts.payable);
    if (earlier !== undefined) {
      const isSame = earlier.reason === reason && earlier.amountMinor === -amountMinor;
      return isSame
        ? { kind: "booked", transactionId: earlier.id, currency, owedMinor }
        : { kind: "idempotency_conflict" };
    }
    const leastMinor = await readPayouts(transaction, accounts.payable);
    const mostMinor = Math.max(0, owedMinor);
    if (amountMinor < leastMinor || amountMinor > mostMinor) return { kind: "out_of_range", leastMinor, mostMinor };
    await book(transaction, organisationId, [movement], at);
    const booked = await findBooked(transaction, movement.key, accounts.payable);
    if (booked === undefined) throw new Error("A payout that was just booked is not there.");
    return { kind: "booked", transactionId: booked.id, currency, owedMinor: owedMinor - amountMinor };
  });
}

function toMovement(payout: Payout, currency: string, payable: string, cash: string, createdBy: string): Movement {
  const { partnerId, amountMinor, reason, idempotencyKey } = payout;
  // With the partner, so that it is a key per partner.
  const key = idempotencyKey === null ? newId() : sha256(`${partnerId} ${idempotencyKey}`).toString("base64url");
  return {
    key: `payout-${key}`,
    kind: "payout",
    currency,
    partnerId,
    leadId: null,
    deliveryId: null,
    reason,
    createdBy,
    fromAccountId: amountMinor > 0 ? payable : cash,
    toAccountId: amountMinor > 0 ? cash : payable,
    amountMinor: Math.abs(amountMinor),
  };
}

/** The organisation's own: an introducer may be owed in other currencies than it has as a partner. */
async function openCashAccount(transaction: Database, organisationId: string, currency: string): Promise<string> {
  await transaction
    .insertInto("accounts")
    .values({ id: newId(), organisationId, partnerId: null, kind: "cash", currency })
    .onConflict((conflict) => conflict.columns(["organisationId", "partnerId", "kind", "currency"]).doNothing())
    .execute();
  const { id } = await transaction
    .selectFrom("accounts")
    .select("id")
    .where("partnerId", "is", null)
    .where("kind", "=", "cash")
    .where("currency", "=", currency)
    .executeTakeFirstOrThrow();
  return id;
}

/** What is booked under the key already, as the introducer's account shows it. */
async function findBooked(transaction: Database, key: string, payableId: string) {
  return transaction
    .selectFrom("transactions as t")
    .innerJoin("entries as e", "e.transactionId", "t.id")
    .select(["t.id", "t.reason", "e.amountMinor"])
    .where("t.key", "=", key)
    .where("e.accountId", "=", payableId)
    .executeTakeFirst();
}

/** All payouts together, as they stand on the introducer's account: below zero. */
async function readPayouts(transaction: Database, payableId: string): Promise<number> {
  const { rows } = await sql<{ paidMinor: number }>`
    select coalesce(sum(e.amount_minor), 0) as paid_minor
    from entries e join transactions t on t.id = e.transaction_id
    where e.account_id = ${payableId} and t.kind = 'payout'
  `.execute(transaction);
  return rows[0]?.paidMinor ?? 0;
}
