import type { ColumnType, Generated } from "kysely";
import type { InvoiceParty } from "../invoices/invoice.ts";
import type { Json } from "./tables.ts";

/** Dates are read as text, such as 2026-03-31: they belong to no time zone. */
type LocalDate = ColumnType<Date, string, never>;

interface InvoiceRow {
  id: string;
  organisationId: string;
  partnerId: string;
  number: number;
  reference: string;
  voidsInvoiceId: string | null;
  periodFrom: LocalDate;
  periodTo: LocalDate;
  startsAt: Date;
  endsAt: Date;
  currency: string;
  netMinor: number;
  taxName: string;
  taxRate: number;
  taxMinor: number;
  totalMinor: number;
  issuedAt: Date;
  issuedOn: LocalDate;
  dueOn: LocalDate;
  seller: Json<InvoiceParty>;
  buyer: Json<InvoiceParty>;
  reason: string | null;
  createdBy: string;
}

interface InvoiceLineRow {
  invoiceId: string;
  position: number;
  organisationId: string;
  kind: "sales" | "credits";
  campaignId: string | null;
  campaignName: string;
  count: number;
  amountMinor: number;
}

interface InvoiceChargeRow {
  invoiceId: string;
  transactionId: string;
  organisationId: string;
  released: Generated<boolean>;
}

interface InvoicePaymentRow {
  id: string;
  organisationId: string;
  invoiceId: string;
  requestKey: string | null;
  amountMinor: number;
  paidOn: LocalDate;
  note: string | null;
  createdBy: string;
  createdAt: Date;
}

export interface InvoiceTables {
  invoices: InvoiceRow;
  invoiceLines: InvoiceLineRow;
  invoiceCharges: InvoiceChargeRow;
  invoicePayments: InvoicePaymentRow;
}
