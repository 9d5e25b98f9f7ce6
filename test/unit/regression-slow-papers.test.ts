import { setImmediate } from "node:timers/promises";
import { expect, test } from "@jest/globals";
import { loadFonts } from "../../src/invoices/pdf-text.ts";
import { writePdf } from "../../src/invoices/write-pdf.ts";

/**
 * `npm run hostile` gave payments reasons of 500 letters without a blank and asked for the statement as a PDF: each word was
 * measured letter by letter, fifty rows at a time, and the API answered nobody meanwhile, `/healthz` neither.
 */
test("between any two rows of a paper others have their turn", async () => {
  const rows = Array.from({ length: 40 }, (_, index) => [`${index}${"Wij".repeat(160)}`, "1.00"]);
  let isWritten = false;
  const written = writePdf(
    {
      title: "Statement",
      from: [],
      to: [],
      facts: [],
      columns: [
        { heading: "Reason", share: 3, align: "left" },
        { heading: "Amount", share: 1, align: "right" },
      ],
      rows,
      sums: [],
      notes: [],
      writtenAt: new Date("2026-04-01T00:00:00Z"),
    },
    await loadFonts("/nowhere"),
  ).finally(() => {
    isWritten = true;
  });
  let turns = 0;
  while (!isWritten) {
    await setImmediate();
    turns += 1;
  }
  await written;
  expect(turns).toBeGreaterThanOrEqual(rows.length);
});
