import { type RawBuilder, sql } from "kysely";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { dateAt } from "../period.ts";

/** Who an invoice is from or to, as it was when it was issued. */
export interface InvoiceParty {
  readonly name: string;
  readonly address: string | null;
  readonly taxId: string | null;
}

export const invoiceStates = ["open", "partly_paid", "paid", "overdue", "void"] as const;
export type InvoiceState = (typeof invoiceStates)[number];

export interface InvoiceLine {
  readonly kind: "sales" | "credits";
  readonly campaignId: string | null;
  readonly campaign: string;
  readonly count: number;
  readonly amountMinor: number;
}

export interface Invoice {
  readonly id: string;
  readonly partnerId: string;
  readonly reference: string;
  readonly voidsInvoiceId: string | null;
  readonly voidedById: string | null;
  readonly periodFrom: string;
  readonly periodTo: string;
  readonly timeZone: string;
  readonly currency: string;
  readonly netMinor: number;
  readonly taxName: string;
  readonly taxRate: number;
  readonly taxMinor: number;
  readonly totalMinor: number;
  readonly paidMinor: number;
  readonly state: InvoiceState;
  readonly issuedAt: Date;
  readonly issuedOn: string;
  readonly dueOn: string;
  readonly seller: InvoiceParty;
  readonly buyer: InvoiceParty;
  readonly reason: string | null;
  readonly createdBy: string;
}

/** Which invoices: all that hold to `where`, newest first, `limit` at most. `today` decides what is overdue. */
export async function readInvoices(
  transaction: Database,
  where: RawBuilder<unknown>,
  today: string,
  limit: number,
): Promise<readonly Invoice[]> {
  const { rows } = await sql<Invoice>`
    select * from (
      select i.id, i.partner_id, i.reference, i.voids_invoice_id, v.id as voided_by_id,
        i.period_from::text as period_from, i.period_to::text as period_to, p.time_zone,
        i.currency, i.net_minor, i.tax_name, i.tax_rate, i.tax_minor, i.total_minor, paid.paid_minor,
        case
          when i.voids_invoice_id is not null or v.id is not null then 'void'
          when paid.paid_minor = i.total_minor then 'paid'
          when i.due_on < ${today}::date and i.total_minor > 0 then 'overdue'
          when paid.paid_minor <> 0 then 'partly_paid'
          else 'open'
        end as state,
        i.issued_at, i.issued_on::text as issued_on, i.due_on::text as due_on, i.seller, i.buyer, i.reason, i.created_by
      from invoices i
      join partners p on p.id = i.partner_id
      left join invoices v on v.voids_invoice_id = i.id
      cross join lateral (select coalesce(sum(y.amount_minor), 0) as paid_minor from invoice_payments y where y.invoice_id = i.id) paid
    ) as i
    where ${where} order by i.id desc limit ${limit}
  `.execute(transaction);
  return rows;
}

export async function readInvoice(transaction: Database, id: string, today: string): Promise<Invoice | null> {
  const [invoice] = await readInvoices(transaction, sql`i.id = ${id}::uuid`, today, 1);
  return invoice ?? null;
}

export async function readInvoiceLines(transaction: Database, invoiceId: string): Promise<readonly InvoiceLine[]> {
  return transaction
    .selectFrom("invoiceLines")
    .select(["kind", "campaignId", "campaignName as campaign", "count", "amountMinor"])
    .where("invoiceId", "=", invoiceId)
    .orderBy("position")
    .execute();
}

export interface FoundInvoice {
  readonly invoice: Invoice;
  readonly lines: readonly InvoiceLine[];
}

/** An invoice with its lines, as it stands today. */
export async function findInvoice(context: Context, organisationId: string, id: string): Promise<FoundInvoice | null> {
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const invoice = await readInvoice(transaction, id, await today(transaction, context.clock()));
    return invoice === null ? null : { invoice, lines: await readInvoiceLines(transaction, id) };
  });
}

/** The same for an id of ours: invoices are never deleted. */
export async function requireInvoice(context: Context, organisationId: string, id: string): Promise<FoundInvoice> {
  const found = await findInvoice(context, organisationId, id);
  if (found === null) throw new Error(`There is no invoice ${id}, and invoices are never deleted.`);
  return found;
}

/** The date in the organisation's time zone, which decides what is overdue. */
export async function today(transaction: Database, now: Date): Promise<string> {
  const { timeZone } = await transaction.selectFrom("organisations").select("timeZone").executeTakeFirstOrThrow();
  return dateAt(timeZone, now);
}
