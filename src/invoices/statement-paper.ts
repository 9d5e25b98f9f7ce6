import { DateTime } from "luxon";
import type { Context } from "../context.ts";
import { entryWords, type Statement, type StatementEntry } from "../ledger/read-statement.ts";
import { formatAmount, formatMoney } from "../money.ts";
import type { Period } from "../period.ts";
import { type CsvCell, writeCsv } from "../write-csv.ts";
import type { InvoiceParty } from "./invoice.ts";
import { fontsFolder, partyLines } from "./invoice-paper.ts";
import { loadFonts } from "./pdf-text.ts";
import { writePdf } from "./write-pdf.ts";

/** A statement for people, with all that stands on it beside the entries. */
export interface StatementPaper {
  readonly statement: Statement;
  readonly period: Period;
  readonly timeZone: string;
  readonly currency: string;
  readonly seller: InvoiceParty;
  readonly buyer: InvoiceParty;
  readonly taxName: string;
  readonly writtenAt: Date;
}

const headings = [
  "Time",
  "What",
  "Campaign",
  "Lead",
  "Reference",
  "Reason",
  "Amount",
  "Balance",
  "Currency",
  "Transaction",
];

/** The entries between the opening and the closing balance; times are those of the partner's zone. */
export function statementCsv({ statement, timeZone, currency, period }: StatementPaper): string {
  const balance = (time: string, what: string, amountMinor: number): CsvCell[] => {
    const number = formatAmount(amountMinor, currency);
    return [time, what, null, null, null, null, null, { number }, currency, null];
  };
  const rows = statement.entries.map((entry): CsvCell[] => [
    localTime(entry.occurredAt, timeZone),
    entryWords(entry.kind),
    entry.campaign,
    entry.leadId,
    entry.reference,
    entry.reason,
    { number: formatAmount(entry.amountMinor, currency) },
    { number: formatAmount(entry.balanceMinor, currency) },
    currency,
    entry.transactionId,
  ]);
  return writeCsv([
    headings,
    balance(period.from, "Opening balance", statement.openingMinor),
    ...rows,
    balance(period.to, "Closing balance", statement.closingMinor),
  ]);
}

export async function statementPdf(context: Context, paper: StatementPaper): Promise<Buffer> {
  const { statement, timeZone, currency, period, taxName } = paper;
  const row = (entry: StatementEntry) => [
    localTime(entry.occurredAt, timeZone),
    entryWords(entry.kind),
    [entry.campaign, entry.reference, entry.reason].filter((text) => text !== null).join(", "),
    entry.leadId?.slice(-12) ?? "",
    formatAmount(entry.amountMinor, currency),
    formatAmount(entry.balanceMinor, currency),
  ];
  const document = {
    title: `Statement of ${paper.buyer.name}`,
    from: partyLines(paper.seller, taxName),
    to: partyLines(paper.buyer, taxName),
    facts: [["Period", `${period.from} to ${period.to} (${timeZone})`] as const, ["Currency", currency] as const],
    columns: [
      { heading: "Time", share: 3.4, align: "left" as const },
      { heading: "What", share: 2.6, align: "left" as const },
      { heading: "For", share: 5, align: "left" as const },
      { heading: "Lead", share: 2.8, align: "left" as const },
      { heading: "Amount", share: 2.2, align: "right" as const },
      { heading: "Balance", share: 2.2, align: "right" as const },
    ],
    rows: [
      [period.from, "Opening balance", "", "", "", formatAmount(statement.openingMinor, currency)],
      ...statement.entries.map(row),
      [period.to, "Closing balance", "", "", "", formatAmount(statement.closingMinor, currency)],
    ],
    sums: [
      ["Opening balance", formatMoney(statement.openingMinor, currency)] as const,
      ["Closing balance", formatMoney(statement.closingMinor, currency)] as const,
    ],
    notes: [],
    writtenAt: paper.writtenAt,
  };
  return writePdf(document, await loadFonts(fontsFolder(context)));
}

function localTime(instant: Date, timeZone: string): string {
  return DateTime.fromJSDate(instant, { zone: timeZone }).toFormat("yyyy-MM-dd HH:mm:ss");
}
