import { createReadStream } from "node:fs";
import type { Context } from "../context.ts";
import type { IntakeCampaign } from "./intake-campaign.ts";
import { type CsvRow, readCsv } from "./read-csv.ts";
import { receiveLead } from "./receive-lead.ts";

export interface ImportReport {
  rows: number;
  received: number;
  duplicates: number;
  /** Rows that were not taken, or taken as invalid: the line in the file, and why. */
  readonly bad: { readonly line: number; readonly reason: string }[];
}

/** Rows that are taken in at the same time: enough to keep the database busy, few enough to keep their order nearly. */
const atOnce = 8;

/**
 * Takes in the leads of a CSV file whose first row names the campaign's fields. Keeps the good rows, tells of each bad one
 * with its line and the reason, and holds no more than a few rows in memory. `onRow` is called after each row.
 */
export async function importLeads(
  context: Context,
  campaign: IntakeCampaign,
  file: string,
  onRow: (report: ImportReport) => void,
): Promise<ImportReport> {
  const report: ImportReport = { rows: 0, received: 0, duplicates: 0, bad: [] };
  const underWay = new Set<Promise<void>>();
  for await (const row of readCsv(createReadStream(file))) {
    report.rows += 1;
    const taken = takeRow(context, campaign, row, report).then(() => {
      underWay.delete(taken);
      onRow(report);
    });
    underWay.add(taken);
    if (underWay.size >= atOnce) await Promise.race(underWay);
  }
  await Promise.all(underWay);
  report.bad.sort((a, b) => a.line - b.line);
  return report;
}

async function takeRow(context: Context, campaign: IntakeCampaign, row: CsvRow, report: ImportReport): Promise<void> {
  if ("error" in row) {
    report.bad.push({ line: row.line, reason: row.error });
    return;
  }
  const entrance = { campaign, intakeKeyId: null, introducerId: null };
  const intake = await receiveLead(context, entrance, { raw: row.raw, idempotencyKey: null, source: null });
  if (intake.kind === "refused") {
    report.bad.push({ line: row.line, reason: `the campaign refuses it: ${intake.reason}` });
  } else if (intake.answer.status === "invalid") {
    const reason = intake.answer.fields.map((problem) => `${problem.field} ${problem.message}`).join("; ");
    report.bad.push({ line: row.line, reason });
  } else if (intake.answer.status === "duplicate") {
    report.duplicates += 1;
  } else {
    report.received += 1;
  }
}
