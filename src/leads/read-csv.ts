import { CsvError, parse } from "csv-parse/sync";
import { cleanText } from "../campaigns/read-field.ts";

export type CsvRow =
  | { readonly line: number; readonly raw: Record<string, string> }
  | { readonly line: number; readonly error: string };

/** A row that goes on for longer than this has a quote that was never closed. */
const maxRowBytes = 256 * 1024;
const maxRowLines = 1_000;
const maxColumns = 1_000;

/**
 * Reads a CSV file whose first row names the columns, row by row and without holding the file. Each row comes with the
 * line it begins on: its values by the names of the columns, or what is wrong with it. A bad row costs itself only;
 * after a quote that is never closed, reading goes on at the next line. Blank rows are passed over.
 *
 * UTF-8 with or without a byte order mark; comma, semicolon or tab, whichever the first row has most of; any line end.
 * A file without a usable first row is one error and the end.
 */
export async function* readCsv(input: AsyncIterable<Uint8Array | string>): AsyncGenerator<CsvRow> {
  let header: readonly string[] | null = null;
  for await (const { line, values, error } of readRows(input)) {
    if (header === null) {
      const columns = error ?? readHeader(values);
      if (typeof columns === "string") {
        yield { line, error: `The first row must name the columns. ${columns}` };
        return;
      }
      header = columns;
    } else if (error !== null) {
      yield { line, error };
    } else if (values.some((value) => value.trim() !== "")) {
      yield { line, ...nameValues(header, values) };
    }
  }
  if (header === null) yield { line: 1, error: "The file is empty." };
}

/** The names of the columns, or what is wrong with them. */
function readHeader(values: readonly string[]): string[] | string {
  if (values.length > maxColumns) return `There are ${values.length} of them; at most ${maxColumns} are read.`;
  const names = values.map((name) => name.trim());
  const lastNamed = names.findLastIndex((name) => name !== "");
  const unnamed = names.indexOf("");
  // Spreadsheets write empty columns at the end; they may be there while they stay empty.
  if (unnamed !== -1 && unnamed < lastNamed) return `Column ${unnamed + 1} has no name.`;
  const twice = names.find((name, index) => name !== "" && names.indexOf(name) !== index);
  return twice === undefined ? names : `Two columns are named "${twice.slice(0, 100)}".`;
}

function mostCommonDelimiter(header: string): string {
  const unquoted = header.replace(/"[^"]*"/g, "");
  const count = (delimiter: string) => unquoted.split(delimiter).length;
  return [",", ";", "\t"].reduce((best, delimiter) => (count(delimiter) > count(best) ? delimiter : best));
}

function nameValues(names: readonly string[], values: readonly string[]) {
  const wrong = { error: `The row has ${values.length} values and the first row names ${names.length} columns.` };
  if (values.length !== names.length) return wrong;
  const raw: Record<string, string> = Object.create(null);
  for (const [index, name] of names.entries()) {
    const value = values[index] ?? "";
    if (name !== "") raw[name] = value;
    else if (value !== "") return { error: `The row has a value in column ${index + 1}, which has no name.` };
  }
  return { raw };
}

interface Row {
  readonly line: number;
  readonly values: readonly string[];
  readonly error: string | null;
}

/** Puts lines together to rows, which end where the quotes in them are even, and leaves out blank lines. */
async function* readRows(input: AsyncIterable<Uint8Array | string>): AsyncGenerator<Row> {
  const lines = readLines(input);
  const ahead: Line[] = [];
  let delimiter: string | null = null;
  for (let line = 1; ; ) {
    const taken = await takeLines(lines, ahead);
    if (taken === 0) return;
    const text = ahead
      .slice(0, taken)
      .map((part) => part.text)
      .join("\n");
    const unreadable = ahead.slice(0, taken).find((part) => part.error !== null)?.error ?? null;
    if (delimiter === null && text.trim() !== "") delimiter = mostCommonDelimiter(text);
    const values = readValues(text, delimiter ?? ",");
    const isRow = typeof values !== "string";
    if (unreadable !== null || !isRow) yield { line, values: [], error: unreadable ?? String(values) };
    else if (text.trim() !== "") yield { line, values, error: null };
    // What cannot be read as a row may be several: only its first line is given up.
    const given = isRow ? taken : 1;
    ahead.splice(0, given);
    line += given;
  }
}

/** How many of the lines ahead make a row; lines are read until they do, or until they are too many. 0 at the end. */
async function takeLines(lines: AsyncGenerator<Line>, ahead: Line[]): Promise<number> {
  let quotes = 0;
  let bytes = 0;
  for (let taken = 0; ; taken++) {
    if (taken === ahead.length) {
      const next = await lines.next();
      if (next.done) return taken;
      ahead.push(next.value);
    }
    const line = ahead[taken];
    quotes += line?.quotes ?? 0;
    bytes += line?.text.length ?? 0;
    if (quotes % 2 === 0 || taken >= maxRowLines || bytes > maxRowBytes) return taken + 1;
  }
}

/** The values of one row, or what is wrong with it. */
function readValues(row: string, delimiter: string): string[] | string {
  const text = cleanText(row);
  // Most rows have no quotes, and setting up a parser takes longer than everything else.
  if (!text.includes('"')) return text.split(delimiter);
  try {
    // No NUL is left in the text: what is given here is one row, whatever line ends are in it.
    return parse(text, { delimiter, relax_column_count: true, record_delimiter: "\0" })[0] ?? [];
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    if (error.code === "CSV_QUOTE_NOT_CLOSED") return "A quote in this line is never closed.";
    return "A quote stands where none can: a value that holds one is written in quotes, and the quote twice.";
  }
}

interface Line {
  readonly text: string;
  readonly quotes: number;
  readonly error: string | null;
}

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const utf8 = new TextDecoder("utf-8", { fatal: true });

function toLine(bytes: Buffer): Line {
  const withoutReturn = bytes.at(-1) === carriageReturn ? bytes.subarray(0, -1) : bytes;
  if (withoutReturn.length > maxRowBytes) {
    return { text: "", quotes: 0, error: `The line is longer than ${maxRowBytes} bytes.` };
  }
  let text: string;
  let error: string | null = null;
  try {
    text = utf8.decode(withoutReturn);
  } catch {
    text = withoutReturn.toString("latin1");
    error = "The line is not UTF-8: save the file as CSV UTF-8.";
  }
  return { text, quotes: text.split('"').length - 1, error };
}

/** Splits bytes into lines; of a line that is too long no more is kept than shows that it is. */
async function* readLines(input: AsyncIterable<Uint8Array | string>): AsyncGenerator<Line> {
  let pending = Buffer.alloc(0);
  let lineEnd: number | null = null;
  for await (const chunk of input) {
    pending = Buffer.concat([pending, typeof chunk === "string" ? Buffer.from(chunk) : chunk]);
    lineEnd ??= findLineEnd(pending);
    if (lineEnd === null) {
      pending = pending.subarray(0, maxRowBytes + 2);
      continue;
    }
    let start = 0;
    for (let end = pending.indexOf(lineEnd); end !== -1; end = pending.indexOf(lineEnd, start)) {
      yield toLine(pending.subarray(start, end));
      start = end + 1;
    }
    pending = pending.subarray(start, start + maxRowBytes + 2);
  }
  if (pending.length > 0) yield toLine(pending);
}

/** Lines end with a line feed, with or without a carriage return before it, or all of them with that alone. */
function findLineEnd(bytes: Buffer): number | null {
  const feed = bytes.indexOf(lineFeed);
  const back = bytes.indexOf(carriageReturn);
  if (back !== -1 && back < bytes.length - 1 && bytes[back + 1] !== lineFeed && (feed === -1 || back < feed)) {
    return carriageReturn;
  }
  return feed === -1 ? null : lineFeed;
}
