import { newId } from "../db/id.ts";
import type { Invoice } from "../invoices/invoice.ts";
import { formatMoney } from "../money.ts";
import type { NewAlert } from "./insert-alerts.ts";

/** The mail that brings an invoice to a partner, with the PDF. Each time it is asked for it goes once more. */
export function invoiceAlert(invoice: Invoice, recipient: string): NewAlert {
  return {
    key: `invoice-${invoice.id}-${newId()}`,
    kind: "invoice",
    channel: "email",
    recipient,
    partnerId: invoice.partnerId,
    leadId: null,
    deliveryId: null,
    detail: {
      invoice_id: invoice.id,
      invoice: invoice.reference,
      is_credit_note: invoice.voidsInvoiceId === null ? 0 : 1,
      total: formatMoney(invoice.totalMinor, invoice.currency),
      issued_on: invoice.issuedOn,
      due_on: invoice.dueOn,
      period_from: invoice.periodFrom,
      period_to: invoice.periodTo,
    },
  };
}
