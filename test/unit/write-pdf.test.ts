import { copyFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { cutIntoRuns, loadFonts } from "../../src/invoices/pdf-text.ts";
import { type PaperDocument, writePdf } from "../../src/invoices/write-pdf.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";

/** The pages themselves were looked at; here is what must stay so. */

const paper = (rows: readonly (readonly string[])[]): PaperDocument => ({
  title: "Invoice INV-00001",
  from: ["Seller", "1 Example Street"],
  to: ["Buyer"],
  facts: [["Date", "2026-04-01"]],
  columns: [
    { heading: "Name", share: 3, align: "left" },
    { heading: "Amount", share: 1, align: "right" },
  ],
  rows,
  sums: [["Total", "12.50 GBP"]],
  notes: ["A note."],
  writtenAt: new Date("2026-04-01T00:00:00Z"),
});

const pagesOf = (pdf: Buffer) => Number(/\/Count (\d+)/.exec(pdf.toString("latin1"))?.[1]);

test("takes as many pages as its rows need, and is the same each time", async () => {
  const fonts = await loadFonts("/nowhere");
  const rows = Array.from({ length: 100 }, (_, index) => [`Row ${index}`, "1.00"]);
  const [short, long, again] = [
    await writePdf(paper(rows.slice(0, 3)), fonts),
    await writePdf(paper(rows), fonts),
    await writePdf(paper(rows), fonts),
  ];
  expect([pagesOf(short), pagesOf(long)]).toEqual([1, 4]);
  expect(again.equals(long)).toBe(true);
});

test("words longer than their column, empty ones and many lines do no harm", async () => {
  const fonts = await loadFonts("/nowhere");
  const pdf = await writePdf(
    paper([
      ["x".repeat(500), ""],
      ["", ""],
      ["a\nb\nc ".repeat(60), "-1.00"],
    ]),
    fonts,
  );
  expect(pagesOf(pdf)).toBeGreaterThan(0);
});

test.each(["Zoë Ångström", "Αλέξης", "Ирина и Łódź", "Նարե", "ნინო", "Nguyễn"])(
  "%s is shown from left to right in the font that comes with Handoff",
  async (name) => {
    const { regular } = await loadFonts("/nowhere");
    expect(cutIntoRuns(name, regular)).toEqual([
      { text: name.normalize("NFC"), font: "DejaVuSans", isRightToLeft: false },
    ]);
    for (const character of name) {
      expect(regular.fonts[0]?.font.hasGlyphForCodePoint(character.codePointAt(0) ?? 0)).toBe(true);
    }
  },
);

test("right-to-left words are one run, and digits and Latin words beside them are not", async () => {
  const { regular } = await loadFonts("/nowhere");
  const runs = cutIntoRuns("محمد علي 12 (Haifa)", regular);
  expect(runs.map(({ text, isRightToLeft }) => [text, isRightToLeft])).toEqual([
    ["محمد علي", true],
    [" 12 (Haifa)", false],
  ]);
});

test("what DejaVu Sans lacks is shown in a font of the operator's; what none has is left to DejaVu Sans", async () => {
  const folder = await makeTemporaryFolder();
  const other = createRequire(import.meta.url).resolve("dejavu-fonts-ttf/ttf/DejaVuMathTeXGyre.ttf");
  await copyFile(other, join(folder, "maths.ttf"));
  await copyFile(join(import.meta.dirname, "write-pdf.test.ts"), join(folder, "no-font.ttf"));
  const fonts = await loadFonts(folder);
  expect(cutIntoRuns("山", fonts.regular)).toMatchObject([{ text: "山", font: "DejaVuSans" }]);
  const missing = [...Array(0x1_d800 - 0x1_d400).keys()]
    .map((index) => 0x1_d400 + index)
    .find((code) => {
      const [own, added] = fonts.regular.fonts;
      return own?.font.hasGlyphForCodePoint(code) === false && added?.font.hasGlyphForCodePoint(code) === true;
    });
  const character = String.fromCodePoint(missing ?? 0);
  expect(cutIntoRuns(`a${character}`, fonts.regular)[1]).toMatchObject({ text: character, font: "maths.ttf" });
  expect(pagesOf(await writePdf(paper([[character, "1.00"]]), fonts))).toBe(1);
});
