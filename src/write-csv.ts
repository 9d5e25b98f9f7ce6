/** A number stays one; a text that a spreadsheet would run as a formula is shown as text. */
export type CsvCell = string | number | CsvNumber | null;

/** A decimal number that is written already, such as -12.50. */
export interface CsvNumber {
  readonly number: string;
}

/** Blanks and what is not seen do not count, and the wide forms of East Asian keyboards are taken for the others. */
const formulaStart = /^[\s\p{C}]*[=+\-@＝＋－＠]|^[\t\r\n]/u;

/**
 * Rows as CSV (RFC 4180) that spreadsheets open as it is: a byte order mark says that it is UTF-8, and a text that begins
 * like a formula gets an apostrophe before it.
 */
export function writeCsv(rows: readonly (readonly CsvCell[])[]): string {
  return `\uFEFF${rows.map((row) => `${row.map(writeCell).join(",")}\r\n`).join("")}`;
}

function writeCell(cell: CsvCell): string {
  if (cell === null) return "";
  if (typeof cell === "number") return String(cell);
  if (typeof cell === "object") return cell.number;
  const text = formulaStart.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
