import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { campaignSchema } from "../../src/campaigns/campaign.ts";
import { matchKeys, normaliseFields } from "../../src/campaigns/normalise-fields.ts";
import { type CsvRow, readCsv } from "../../src/leads/read-csv.ts";

/** The rows of a file that comes in chunks of so many bytes. */
async function read(file: string | Buffer, chunkBytes = 7): Promise<CsvRow[]> {
  const bytes = Buffer.from(file);
  async function* chunks() {
    for (let start = 0; start < bytes.length; start += chunkBytes) yield bytes.subarray(start, start + chunkBytes);
  }
  const rows: CsvRow[] = [];
  for await (const row of readCsv(chunks())) rows.push(row);
  return rows;
}

const row = (line: number, raw: Record<string, string>) => ({ line, raw });
const bad = (line: number) => ({ line, error: expect.any(String) });

describe("a CSV file", () => {
  test("each row comes by the names of the first, with its line", async () => {
    expect(await read("name,email\nAnn,a@b.test\nZoë,z@b.test\n")).toEqual([
      row(2, { name: "Ann", email: "a@b.test" }),
      row(3, { name: "Zoë", email: "z@b.test" }),
    ]);
  });

  test("quoted values hold delimiters, quotes and lines, and later rows keep their line", async () => {
    expect(await read('name,note\n"O""Brien, Ann","one\ntwo\r\n\nfour"\nBob,x\n')).toEqual([
      row(2, { name: 'O"Brien, Ann', note: "one\ntwo\n\nfour" }),
      row(6, { name: "Bob", note: "x" }),
    ]);
  });

  test.each([
    ["\n", "line feeds"],
    ["\r\n", "carriage returns and line feeds"],
    ["\r", "carriage returns"],
  ])("lines may end with %j: %s", async (end) => {
    const rows = [row(2, { a: "1", b: "2" }), row(4, { a: "3", b: "x\ny" })];
    for (const chunkBytes of [1, 2, 3, 1_000]) {
      expect(await read(["a,b", "1,2", "", '3,"x', 'y"', ""].join(end), chunkBytes)).toEqual(rows);
    }
  });

  test("a byte order mark is no part of the first name", async () => {
    expect(await read("\ufeffname,email\nAnn,a@b.test")).toEqual([row(2, { name: "Ann", email: "a@b.test" })]);
  });

  test.each([",", ";", "\t"])("the delimiter %j is found from the first row, quoted or not", async (delimiter) => {
    const header = ["name", '"cover; in, all\t"', "note"].join(delimiter);
    const values = ["Ann", '"1,2;3\t4"', "x"].join(delimiter);
    expect(await read(`${header}\n${values}\n`)).toEqual([
      row(2, { name: "Ann", "cover; in, all": "1,2;3\t4", note: "x" }),
    ]);
    expect(await read(['"a"', '"b"'].join(delimiter))).toEqual([]);
  });

  test("blank rows and rows without any value are passed over", async () => {
    expect(await read("\na,b\n\n1,2\n,\n  \n3,4\n\n")).toEqual([
      row(4, { a: "1", b: "2" }),
      row(7, { a: "3", b: "4" }),
    ]);
  });

  test("a row with too few or too many values is told and costs itself only", async () => {
    expect(await read("a,b\n1\n1,2,3\n1,2\n")).toEqual([
      { line: 2, error: "The row has 1 values and the first row names 2 columns." },
      { line: 3, error: "The row has 3 values and the first row names 2 columns." },
      row(4, { a: "1", b: "2" }),
    ]);
  });

  test("empty columns at the end may have no name while they stay empty", async () => {
    expect(await read("a,b,,\n1,2,,\n1,2,3,\n")).toEqual([
      row(2, { a: "1", b: "2" }),
      { line: 3, error: "The row has a value in column 3, which has no name." },
    ]);
  });

  test("a stray quote costs its row only", async () => {
    expect(await read('a,b\n5" pipe,1\n6,2\n"x"y,3\n7,"4"\n')).toEqual([
      bad(2),
      row(3, { a: "6", b: "2" }),
      bad(4),
      row(5, { a: "7", b: "4" }),
    ]);
  });

  test("after a quote that is never closed reading goes on at the next line", async () => {
    const good = Array.from({ length: 2_000 }, (_, index) => `${index},y`);
    const rows = await read(`a,b\n"open,1\n${good.join("\n")}\n`, 1_000);
    expect(rows[0]).toEqual({ line: 2, error: "A quote in this line is never closed." });
    expect(rows.slice(1)).toEqual(good.map((_, index) => row(index + 3, { a: String(index), b: "y" })));
  });

  test("a row that is not UTF-8 is told and costs itself only, in one line or in several", async () => {
    const file = Buffer.from('a,b\nZo\xeb,1\n"x\nZo\xeb",2\nBob,3\n', "latin1");
    expect(await read(file)).toEqual([
      { line: 2, error: "The line is not UTF-8: save the file as CSV UTF-8." },
      { line: 3, error: "The line is not UTF-8: save the file as CSV UTF-8." },
      row(5, { a: "Bob", b: "3" }),
    ]);
  });

  test("a line longer than any lead costs itself only and is not kept in memory", async () => {
    const rows = await read(`a,b\n${"x".repeat(3_000_000)},1\nBob,2\n`, 65_536);
    expect(rows).toEqual([{ line: 2, error: "The line is longer than 262144 bytes." }, row(3, { a: "Bob", b: "2" })]);
  });

  test("characters that cannot be stored are left out", async () => {
    expect(await read('a,b\nx\u0000y,"1\u0007\u0000"\n')).toEqual([row(2, { a: "xy", b: "1" })]);
  });

  test("names that mean something to JavaScript are names like others", async () => {
    const [first] = await read("__proto__,constructor\nx,y\n");
    expect(first && "raw" in first && Object.entries(first.raw)).toEqual([
      ["__proto__", "x"],
      ["constructor", "y"],
    ]);
  });

  test.each([
    ["", "The file is empty."],
    ["\n\n", "The file is empty."],
    ["a,,b\n1,2,3\n", "The first row must name the columns. Column 2 has no name."],
    ["a,b,a\n1,2,3\n", 'The first row must name the columns. Two columns are named "a".'],
    ['a"b,c\n1,2\n', expect.stringMatching(/^The first row must name the columns. A quote/)],
    [Buffer.from("\ufeffa,b\n1,2\n", "utf16le"), expect.stringMatching(/UTF-8/)],
  ])("the file %j is refused at its first row", async (file, error) => {
    expect(await read(file)).toEqual([{ line: expect.any(Number), error }]);
  });

  test("what is written by the rules is read back, however it is cut into chunks", async () => {
    const unit = fc.constantFrom("a", "é", "😀", '"', ",", ";", "\n", " ", "'", "<b>");
    const value = fc.string({ unit, maxLength: 8 });
    const rows = fc.array(fc.tuple(value, value, value).filter((values) => values.some((text) => text.trim() !== "")));
    await fc.assert(
      fc.asyncProperty(rows, fc.integer({ min: 1, max: 50 }), async (values, chunkBytes) => {
        const quote = (text: string) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
        const file = ["x,y,z", ...values.map((texts) => texts.map(quote).join(","))].join("\n");
        const found = await read(`${file}\n`, chunkBytes);
        expect(found.map((line) => "raw" in line && Object.values(line.raw))).toEqual(values);
      }),
    );
  });

  test("whatever is in a file, every good row after it is read", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: fc.constantFrom("a", '"', ",", "\n", "\r\n") }), async (mess) => {
        // The rows after the mess hold no quotes, so that none of them can end one that the mess opened.
        const good = Array.from({ length: 5 }, (_, index) => `good${index},b,c,d`);
        const found = await read(`w,x,y,z\n${mess}\n${good.join("\n")}\n`);
        const names = found.flatMap((line) => ("raw" in line ? [line.raw.w] : []));
        expect(names.slice(-5)).toEqual(["good0", "good1", "good2", "good3", "good4"]);
      }),
    );
  });
});

describe("the sample leads", () => {
  test("are 200, of which six are invalid and five are duplicates", async () => {
    const document: unknown = JSON.parse(await readFile("samples/campaign.json", "utf8"));
    const { fields, duplicates } = campaignSchema.parse(document);
    const problems: string[] = [];
    const seen = new Set<string>();
    let rows = 0;
    let duplicated = 0;
    for await (const line of readCsv(createReadStream("samples/leads.csv"))) {
      rows += 1;
      const result = normaliseFields(fields, "raw" in line ? line.raw : {});
      if (result.ok) {
        const keys = Object.entries(matchKeys(fields, result.values, duplicates?.match ?? [])).map(String);
        if (keys.some((key) => seen.has(key))) duplicated += 1;
        for (const key of keys) seen.add(key);
        expect(Object.keys(result.extra)).toEqual(["source"]);
      } else problems.push(result.problems.map(({ field, code }) => `${field} ${code}`).join(", "));
    }
    expect({ rows, duplicated, problems }).toEqual({
      rows: 200,
      duplicated: 5,
      problems: [
        "email invalid_email",
        "first_name required",
        "date_of_birth invalid_date",
        "cover invalid_number",
        "property_type not_a_choice, homeowner invalid_boolean",
        "email required, phone invalid_phone",
      ],
    });
  });
});
