import { join } from "node:path";
import type { Context } from "../context.ts";
import { formatAmount, formatMoney, rateToPercent } from "../money.ts";
import type { Invoice, InvoiceLine, InvoiceParty } from "./invoice.ts";
import { loadFonts } from "./pdf-text.ts";
import { type PaperDocument, writePdf } from "./write-pdf.ts";

/** The invoice as a PDF, the same each time. */
export async function invoicePdf(context: Context, invoice: Invoice, lines: readonly InvoiceLine[]): Promise<Buffer> {
  return writePdf(invoicePaper(invoice, lines), await loadFonts(fontsFolder(context)));
}

/** Where an operator puts fonts for letters that DejaVu Sans lacks. */
export function fontsFolder(context: Context): string {
  return join(context.config.dataDirectory, "fonts");
}

export function partyLines({ name, address, taxId }: InvoiceParty, taxName: string): readonly string[] {
  const tax = taxId === null ? [] : [`${taxName} ${taxId}`];
  return [name, ...(address?.split(/\r?\n/) ?? []), ...tax];
}

function invoicePaper(invoice: Invoice, lines: readonly InvoiceLine[]): PaperDocument {
  const { currency, seller, buyer, taxName } = invoice;
  const isCredit = invoice.voidsInvoiceId !== null;
  const what = isCredit ? "Credit note" : "Invoice";
  return {
    title: `${what} ${invoice.reference}`,
    from: partyLines(seller, taxName),
    to: partyLines(buyer, taxName),
    facts: [
      ["Date", invoice.issuedOn],
      ["Period", `${invoice.periodFrom} to ${invoice.periodTo} (${invoice.timeZone})`],
      ...(isCredit ? [] : [["Due", invoice.dueOn] as const]),
      ...(invoice.reason === null ? [] : [["Reason", invoice.reason] as const]),
    ],
    columns: [
      { heading: "Campaign", share: 6, align: "left" },
      { heading: "", share: 3, align: "left" },
      { heading: "Leads", share: 1.5, align: "right" },
      { heading: currency, share: 2.5, align: "right" },
    ],
    rows: lines.map((line) => [
      line.campaign,
      line.kind === "sales" ? "Leads sold" : "Leads taken back",
      String(line.count),
      formatAmount(line.amountMinor, currency),
    ]),
    sums: [
      ["Net", formatMoney(invoice.netMinor, currency)],
      [`${taxName} ${rateToPercent(invoice.taxRate)} %`, formatMoney(invoice.taxMinor, currency)],
      ["Total", formatMoney(invoice.totalMinor, currency)],
    ],
    notes: [],
    writtenAt: invoice.issuedAt,
  };
}
