import { expect, test } from "@jest/globals";
import { parse } from "csv-parse/sync";
import fc from "fast-check";
import { writeCsv } from "../../src/write-csv.ts";

test("any text comes back as it was, but for an apostrophe before what would be a formula", () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(fc.string({ unit: "binary" }), { minLength: 2, maxLength: 2 }), { minLength: 1 }),
      (rows) => {
        const read: string[][] = parse(writeCsv(rows), {
          bom: true,
          relax_column_count: true,
          record_delimiter: "\r\n",
        });
        const expected = rows.map((row) =>
          row.map((text) => (/^[\s\p{C}]*[=+\-@＝＋－＠]|^[\t\r\n]/u.test(text) ? `'${text}` : text)),
        );
        expect(read).toEqual(expected);
      },
    ),
  );
});

test.each(["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", "＠SUM(A1)", " =1", "\u200b=1"])(
  "%j is shown and not run",
  (text) => {
    expect(writeCsv([[text, "b"]])).toMatch(/^\uFEFF"?'/);
  },
);

test("numbers stay numbers, below zero too, and nothing is nothing", () => {
  expect(writeCsv([[-5, { number: "-12.50" }, null]])).toBe("\uFEFF-5,-12.50,\r\n");
});
