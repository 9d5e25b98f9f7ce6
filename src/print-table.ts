/** Prints rows under their headings, columns aligned: numbers to the right, words to the left. */
export function printTable(
  headings: readonly string[],
  rows: readonly (readonly (string | number)[])[],
  print: (line: string) => void,
): void {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => String(row[column] ?? "").length)),
  );
  const isNumber = headings.map((_, column) => rows.every((row) => typeof row[column] === "number"));
  const line = (cells: readonly (string | number)[]) =>
    cells
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return isNumber[column] ? String(cell).padStart(width) : String(cell).padEnd(width);
      })
      .join("  ")
      .trimEnd();
  print(line(headings));
  print(widths.map((width) => "-".repeat(width)).join("  "));
  for (const row of rows) print(line(row));
}
