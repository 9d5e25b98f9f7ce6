import { sql } from "kysely";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { percentOf } from "../money.ts";
import type { Change } from "../organisations/record-change.ts";
import { addDays, dateAt, type Period, periodOf } from "../period.ts";
import type { InvoiceLine, InvoiceParty } from "./invoice.ts";

export interface NewInvoice {
  readonly partnerId: string;
  /** Dates in the partner's time zone, both included. */
  readonly from: string;
  readonly to: string;
}

export type IssueResult =
  | { readonly kind: "issued"; readonly invoiceId: string }
  | { readonly kind: "partner_not_found" }
  | { readonly kind: "wrong_period"; readonly field: "from" | "to"; readonly message: string }
  | { readonly kind: "nothing_to_invoice" };

/**
 * Issues the invoice of a period: its number, its lines and which charges it holds, all in one transaction. It takes what
 * was charged and reversed until the end of the period and is on no invoice yet; so what was booked at the last moment of
 * one period, or reversed after its invoice, is on the next. Refuses a period that ends after today, and one with nothing
 * in it.
 */
export async function issueInvoice(
  context: Context,
  change: Change,
  { partnerId, from, to }: NewInvoice,
): Promise<IssueResult> {
  return inOrganisation(context.database, change.organisationId, async (transaction): Promise<IssueResult> => {
    const partner = await transaction
      .selectFrom("partners")
      .select(["name", "timeZone", "currency", "contact"])
      .where("id", "=", partnerId)
      .executeTakeFirst();
    if (partner === undefined) return { kind: "partner_not_found" };
    const period = periodOf(partner.timeZone, from, to);
    if (period === null) return { kind: "wrong_period", field: "to", message: "must not be before from" };
    if (to > dateAt(partner.timeZone, change.at)) {
      return { kind: "wrong_period", field: "to", message: "must not lie in the future" };
    }
    const lastNumber = await lockNumbers(transaction);
    const invoiceId = newId();
    const lines = await takeCharges(transaction, change.organisationId, invoiceId, partnerId, period);
    if (lines.length === 0) return { kind: "nothing_to_invoice" };
    const seller = await readSeller(transaction);
    const netMinor = lines.reduce((sum, { amountMinor }) => sum + amountMinor, 0);
    const { name, contact } = partner;
    const buyer = { name, address: contact.address ?? null, taxId: contact.taxId ?? null };
    await insertInvoice(transaction, change, {
      id: invoiceId,
      partnerId,
      number: lastNumber + 1,
      reason: null,
      voidsInvoiceId: null,
      period,
      currency: partner.currency,
      netMinor,
      taxMinor: percentOf(netMinor, seller.taxRate),
      seller,
      buyer,
      lines,
    });
    return { kind: "issued", invoiceId };
  });
}

/** Locks the organisation's numbers until the transaction ends, and gives the last one. */
export async function lockNumbers(transaction: Database): Promise<number> {
  const { lastInvoiceNumber } = await transaction
    .selectFrom("organisations")
    .select("lastInvoiceNumber")
    .forNoKeyUpdate()
    .executeTakeFirstOrThrow();
  return lastInvoiceNumber;
}

/** What of the organisation stands on an invoice, and how it is made. */
export interface Seller extends InvoiceParty {
  readonly timeZone: string;
  readonly taxName: string;
  readonly taxRate: number;
  readonly invoicePrefix: string;
  readonly invoiceDueDays: number;
}

export async function readSeller(transaction: Database): Promise<Seller> {
  return transaction
    .selectFrom("organisations")
    .select(["name", "address", "taxId", "timeZone", "taxName", "taxRate", "invoicePrefix", "invoiceDueDays"])
    .executeTakeFirstOrThrow();
}

/**
 * Puts what is on no invoice yet on this one and gives its lines: for each campaign what was sold, then what was taken
 * back. It begins where the partner's first invoice begins, so that nothing between two periods is forgotten.
 */
async function takeCharges(
  transaction: Database,
  organisationId: string,
  invoiceId: string,
  partnerId: string,
  period: Period,
): Promise<readonly InvoiceLine[]> {
  const { rows } = await sql<InvoiceLine>`
    with taken as (
      insert into invoice_charges (invoice_id, transaction_id, organisation_id)
      select ${invoiceId}::uuid, t.id, ${organisationId}::uuid
      from transactions t
      join entries e on e.transaction_id = t.id
      join accounts a on a.id = e.account_id
      where t.partner_id = ${partnerId} and t.occurred_at < ${period.endsAt}
        and t.occurred_at >= least(${period.startsAt}, (select min(starts_at) from invoices where partner_id = ${partnerId}))
        and a.partner_id = ${partnerId} and a.kind = 'revenue'
        and not exists (select from invoice_charges c where c.transaction_id = t.id and not c.released)
      returning transaction_id
    )
    select case when e.amount_minor > 0 then 'sales' else 'credits' end as kind, k.id as campaign_id,
      coalesce(k.name, '') as campaign, count(distinct t.lead_id) as count, sum(e.amount_minor) as amount_minor
    from taken
    join transactions t on t.id = taken.transaction_id
    join entries e on e.transaction_id = t.id
    join accounts a on a.id = e.account_id and a.kind = 'revenue'
    left join deliveries d on d.id = t.delivery_id
    left join campaigns k on k.id = d.campaign_id
    group by 1, 2, 3
    order by 1 desc, 3, 2
  `.execute(transaction);
  return rows;
}

interface IssuedInvoice {
  readonly id: string;
  readonly partnerId: string;
  readonly number: number;
  readonly voidsInvoiceId: string | null;
  readonly reason: string | null;
  readonly period: Period;
  readonly currency: string;
  readonly netMinor: number;
  readonly taxMinor: number;
  readonly seller: Seller;
  readonly buyer: InvoiceParty;
  readonly lines: readonly InvoiceLine[];
}

const fewestDigits = 5;

/** Stores an invoice under the next number, with its lines. */
export async function insertInvoice(transaction: Database, change: Change, invoice: IssuedInvoice): Promise<void> {
  const { id, partnerId, number, voidsInvoiceId, reason, period, currency, netMinor, taxMinor, seller, buyer } =
    invoice;
  const { organisationId, at, by } = change;
  const { name, address, taxId } = seller;
  const issuedOn = dateAt(seller.timeZone, at);
  await transaction
    .updateTable("organisations")
    .set({ lastInvoiceNumber: number })
    .where("id", "=", organisationId)
    .execute();
  await transaction
    .insertInto("invoices")
    .values({
      id,
      organisationId,
      partnerId,
      number,
      reference: `${seller.invoicePrefix}${String(number).padStart(fewestDigits, "0")}`,
      voidsInvoiceId,
      periodFrom: period.from,
      periodTo: period.to,
      startsAt: period.startsAt,
      endsAt: period.endsAt,
      currency,
      netMinor,
      taxName: seller.taxName,
      taxRate: seller.taxRate,
      taxMinor,
      totalMinor: netMinor + taxMinor,
      issuedAt: at,
      issuedOn,
      dueOn: addDays(issuedOn, seller.invoiceDueDays),
      seller: JSON.stringify({ name, address, taxId }),
      buyer: JSON.stringify(buyer),
      reason,
      createdBy: by,
    })
    .execute();
  const lines = invoice.lines.map(({ campaign, ...line }, position) => ({
    ...line,
    invoiceId: id,
    organisationId,
    position,
    campaignName: campaign,
  }));
  await transaction.insertInto("invoiceLines").values(lines).execute();
}
