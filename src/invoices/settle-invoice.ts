import { sql } from "kysely";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { sha256 } from "../encrypt.ts";
import type { Change } from "../organisations/record-change.ts";
import { type Invoice, readInvoice, readInvoiceLines, today } from "./invoice.ts";
import { insertInvoice, lockNumbers, readSeller } from "./issue-invoice.ts";

/** What staff do with an invoice that is issued: enter what was paid on it, or void it. */

export interface InvoicePayment {
  readonly invoiceId: string;
  /** Below zero corrects an entry, or pays out a credit. */
  readonly amountMinor: number;
  readonly paidOn: string | null;
  readonly note: string | null;
  /** The same key enters once. */
  readonly idempotencyKey: string | null;
}

export type InvoicePaymentResult =
  | { readonly kind: "entered" }
  | { readonly kind: "not_found" }
  | { readonly kind: "voided" }
  | { readonly kind: "idempotency_conflict" }
  /** What can be entered: between nothing paid and all of it. */
  | { readonly kind: "out_of_range"; readonly leastMinor: number; readonly mostMinor: number };

/**
 * Enters what was paid on an invoice; the ledger is not touched. What is paid of an invoice never goes beyond its total,
 * nor below nothing. Refuses a used idempotency key with other content.
 */
export async function enterInvoicePayment(
  context: Context,
  change: Change,
  payment: InvoicePayment,
): Promise<InvoicePaymentResult> {
  const { organisationId, at, by } = change;
  const { invoiceId, amountMinor, note, idempotencyKey } = payment;
  return inOrganisation(context.database, organisationId, async (transaction): Promise<InvoicePaymentResult> => {
    const invoice = await lockInvoice(transaction, invoiceId, at);
    if (invoice === null) return { kind: "not_found" };
    const requestKey = idempotencyKey === null ? null : sha256(idempotencyKey).toString("base64url");
    const paidOn = payment.paidOn ?? (await today(transaction, at));
    const earlier = await findPayment(transaction, invoiceId, requestKey);
    if (earlier !== undefined) {
      const isSame =
        earlier.amountMinor === amountMinor &&
        earlier.note === note &&
        (payment.paidOn === null || earlier.paidOn === payment.paidOn);
      return { kind: isSame ? "entered" : "idempotency_conflict" };
    }
    if (invoice.state === "void") return { kind: "voided" };
    const { totalMinor, paidMinor } = invoice;
    const leastMinor = Math.min(0, totalMinor) - paidMinor;
    const mostMinor = Math.max(0, totalMinor) - paidMinor;
    if (amountMinor < leastMinor || amountMinor > mostMinor) return { kind: "out_of_range", leastMinor, mostMinor };
    await transaction
      .insertInto("invoicePayments")
      .values({
        id: newId(),
        organisationId,
        invoiceId,
        requestKey,
        amountMinor,
        paidOn,
        note,
        createdBy: by,
        createdAt: at,
      })
      .execute();
    return { kind: "entered" };
  });
}

async function findPayment(transaction: Database, invoiceId: string, requestKey: string | null) {
  if (requestKey === null) return undefined;
  return transaction
    .selectFrom("invoicePayments")
    .select(["amountMinor", "note", sql<string>`paid_on::text`.as("paidOn")])
    .where("invoiceId", "=", invoiceId)
    .where("requestKey", "=", requestKey)
    .executeTakeFirst();
}

export type VoidResult =
  | { readonly kind: "voided"; readonly creditNoteId: string }
  | { readonly kind: "not_found" }
  | { readonly kind: "refused"; readonly reason: string };

/**
 * Voids an invoice by a credit note of the opposite amounts, under the next number. What it held is free to be on the
 * partner's next invoice. Refuses one that is void, and one on which something was paid.
 */
export async function voidInvoice(context: Context, change: Change, id: string, reason: string): Promise<VoidResult> {
  const { organisationId, at } = change;
  return inOrganisation(context.database, organisationId, async (transaction): Promise<VoidResult> => {
    const invoice = await lockInvoice(transaction, id, at);
    if (invoice === null) return { kind: "not_found" };
    if (invoice.state === "void") return { kind: "refused", reason: "It is void already." };
    if (invoice.paidMinor !== 0) {
      return { kind: "refused", reason: "Something was paid on it: enter that it was given back first." };
    }
    const lastNumber = await lockNumbers(transaction);
    const creditNoteId = newId();
    const lines = await readInvoiceLines(transaction, id);
    const seller = await readSeller(transaction);
    const { startsAt, endsAt } = await transaction
      .selectFrom("invoices")
      .select(["startsAt", "endsAt"])
      .where("id", "=", id)
      .executeTakeFirstOrThrow();
    await insertInvoice(transaction, change, {
      id: creditNoteId,
      partnerId: invoice.partnerId,
      number: lastNumber + 1,
      voidsInvoiceId: id,
      reason,
      period: { from: invoice.periodFrom, to: invoice.periodTo, startsAt, endsAt },
      currency: invoice.currency,
      netMinor: -invoice.netMinor,
      taxMinor: -invoice.taxMinor,
      // The tax of then, and the parties of then: it undoes what was.
      seller: { ...seller, ...invoice.seller, taxName: invoice.taxName, taxRate: invoice.taxRate },
      buyer: invoice.buyer,
      lines: lines.map((line) => ({ ...line, amountMinor: -line.amountMinor })),
    });
    await transaction.updateTable("invoiceCharges").set({ released: true }).where("invoiceId", "=", id).execute();
    return { kind: "voided", creditNoteId };
  });
}

/** Locks the organisation's invoices, so that of two that settle one the later sees the earlier. */
async function lockInvoice(transaction: Database, id: string, now: Date): Promise<Invoice | null> {
  await lockNumbers(transaction);
  return readInvoice(transaction, id, await today(transaction, now));
}
