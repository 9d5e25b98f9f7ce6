import { setImmediate } from "node:timers/promises";
import PDFDocument from "pdfkit";
import { cutIntoRuns, type FontSet, type Fonts } from "./pdf-text.ts";

/** A document of ours: who to whom, what it is about, a table, sums, and notes. */
export interface PaperDocument {
  readonly title: string;
  readonly from: readonly string[];
  readonly to: readonly string[];
  /** Number, dates and the like. */
  readonly facts: readonly (readonly [label: string, value: string])[];
  readonly columns: readonly PaperColumn[];
  /** A cell for each column. */
  readonly rows: readonly (readonly string[])[];
  readonly sums: readonly (readonly [label: string, value: string])[];
  readonly notes: readonly string[];
  readonly writtenAt: Date;
}

export interface PaperColumn {
  readonly heading: string;
  /** Its part of the width, relative to the others. */
  readonly share: number;
  readonly align: "left" | "right";
}

const page = { width: 595.28, height: 841.89, margin: 50, footer: 40 };
const innerWidth = page.width - 2 * page.margin;
const size = { title: 20, text: 9.5, small: 8 };
const lineHeight = 1.4;
const padding = 4;
const grey = "#5f6b76";
const rule = "#c9d1d9";

/** Writes a document as a PDF on A4, as many pages as it takes, each with the table's headings and its number. */
export async function writePdf(paper: PaperDocument, fonts: Fonts): Promise<Buffer> {
  const pdf = new PDFDocument({
    size: "A4",
    margin: 0,
    bufferPages: true,
    autoFirstPage: false,
    info: {
      Title: paper.title,
      CreationDate: paper.writtenAt,
      ModDate: paper.writtenAt,
      Producer: "Handoff",
      Creator: "Handoff",
    },
  });
  const chunks: Buffer[] = [];
  const ended = new Promise<void>((resolve, reject) => pdf.on("end", resolve).on("error", reject));
  pdf.on("data", (chunk: Buffer) => chunks.push(chunk));
  const writer = new PageWriter(pdf, fonts);
  writer.addPage();
  writeHead(writer, paper);
  await writeTable(writer, paper);
  writeSums(writer, paper);
  for (const note of paper.notes) writer.paragraph(note, size.small, grey);
  writer.numberPages(paper.title);
  pdf.end();
  await ended;
  return Buffer.concat(chunks);
}

function writeHead(writer: PageWriter, paper: PaperDocument): void {
  writer.paragraph(paper.title, size.title, "black", "bold");
  writer.y += 10;
  const top = writer.y;
  const half = innerWidth / 2 - 10;
  const bottoms = [paper.from, paper.to].map((lines, index) => {
    writer.y = top;
    const x = page.margin + index * (half + 20);
    lines.forEach((line, number) => {
      writer.block(line, x, half, "left", size.text, "black", number === 0 ? "bold" : "regular");
    });
    return writer.y;
  });
  writer.y = Math.max(...bottoms) + 14;
  for (const [label, value] of paper.facts) {
    const start = writer.y;
    writer.block(label, page.margin, 120, "left", size.text, grey);
    const end = writer.y;
    writer.y = start;
    writer.block(value, page.margin + 130, innerWidth - 130, "left", size.text);
    writer.y = Math.max(end, writer.y);
  }
  writer.y += 14;
}

async function writeTable(writer: PageWriter, { columns, rows }: PaperDocument): Promise<void> {
  const shares = columns.reduce((sum, { share }) => sum + share, 0);
  const widths = columns.map(({ share }) => (innerWidth * share) / shares);
  const headings = columns.map(({ heading }) => heading);
  writer.row(headings, columns, widths, "bold");
  for (const row of rows) {
    // Other work has its turn: rows of long words take their time.
    await setImmediate();
    if (writer.rowHeight(row, widths) > writer.left()) {
      writer.addPage();
      writer.row(headings, columns, widths, "bold");
    }
    writer.row(row, columns, widths, "regular");
  }
  writer.y += 10;
}

/** The sums stay together, and on the page with some of what they sum up if they can. */
function writeSums(writer: PageWriter, { sums }: PaperDocument): void {
  const height = sums.length * (size.text * lineHeight + padding);
  if (height > writer.left()) writer.addPage();
  const x = page.margin + innerWidth * 0.5;
  sums.forEach(([label, value], index) => {
    const weight = index === sums.length - 1 ? "bold" : "regular";
    const top = writer.y;
    writer.block(label, x, innerWidth * 0.3, "left", size.text, "black", weight);
    const bottom = writer.y;
    writer.y = top;
    writer.block(value, x + innerWidth * 0.3, innerWidth * 0.2, "right", size.text, "black", weight);
    writer.y = Math.max(bottom, writer.y) + padding;
  });
  writer.y += 10;
}

type Weight = "regular" | "bold";

/** Sets text line by line, in whatever fonts it needs, and knows how far down the page it is. */
class PageWriter {
  y = page.margin;
  readonly #pdf: PDFKit.PDFDocument;
  readonly #fonts: Fonts;
  readonly #widths = new Map<string, number>();

  constructor(pdf: PDFKit.PDFDocument, fonts: Fonts) {
    this.#pdf = pdf;
    this.#fonts = fonts;
    for (const weight of ["regular", "bold"] as const)
      for (const { name, data } of fonts[weight].fonts) pdf.registerFont(name, data);
  }

  addPage(): void {
    this.#pdf.addPage();
    this.y = page.margin;
  }

  left(): number {
    return page.height - page.margin - page.footer - this.y;
  }

  paragraph(text: string, fontSize: number, color = "black", weight: Weight = "regular"): void {
    const height = this.#wrap(text, innerWidth, fontSize, weight).length * fontSize * lineHeight;
    if (height > this.left()) this.addPage();
    this.block(text, page.margin, innerWidth, "left", fontSize, color, weight);
  }

  /** Text in a column, wrapped at its width; moves down by its height. */
  block(
    text: string,
    x: number,
    width: number,
    align: "left" | "right",
    fontSize: number,
    color = "black",
    weight: Weight = "regular",
  ): void {
    for (const line of this.#wrap(text, width, fontSize, weight)) {
      const start = align === "left" ? x : x + width - this.#widthOf(line, fontSize, weight);
      this.#line(line, start, this.y, fontSize, color, weight);
      this.y += fontSize * lineHeight;
    }
  }

  rowHeight(cells: readonly string[], widths: readonly number[], weight: Weight = "regular"): number {
    const lines = cells.map(
      (cell, index) => this.#wrap(cell, (widths[index] ?? 0) - padding, size.small, weight).length,
    );
    return Math.max(...lines) * size.small * lineHeight + 2 * padding;
  }

  row(cells: readonly string[], columns: readonly PaperColumn[], widths: readonly number[], weight: Weight): void {
    const top = this.y;
    const height = this.rowHeight(cells, widths, weight);
    let x = page.margin;
    columns.forEach(({ align }, index) => {
      const width = widths[index] ?? 0;
      this.y = top + padding;
      const start = align === "left" ? x : x + padding;
      this.block(cells[index] ?? "", start, width - padding, align, size.small, "black", weight);
      x += width;
    });
    this.y = top + height;
    this.#pdf
      .moveTo(page.margin, this.y)
      .lineTo(page.margin + innerWidth, this.y)
      .lineWidth(0.5)
      .strokeColor(rule)
      .stroke();
  }

  numberPages(title: string): void {
    const { start, count } = this.#pdf.bufferedPageRange();
    for (let index = 0; index < count; index += 1) {
      this.#pdf.switchToPage(start + index);
      const number = `${index + 1} / ${count}`;
      const y = page.height - page.margin;
      const width = this.#widthOf(number, size.small, "regular");
      const room = innerWidth - width - 20;
      const [line = ""] = this.#wrap(title, room, size.small, "regular");
      this.#line(line, page.margin, y, size.small, grey, "regular");
      this.#line(number, page.margin + innerWidth - width, y, size.small, grey, "regular");
    }
  }

  #setOf(weight: Weight): FontSet {
    return this.#fonts[weight];
  }

  #line(text: string, x: number, y: number, fontSize: number, color: string, weight: Weight): void {
    let at = x;
    for (const run of cutIntoRuns(text, this.#setOf(weight))) {
      const options = { lineBreak: false, ...(run.isRightToLeft ? { features: [] } : {}) };
      this.#pdf.font(run.font).fontSize(fontSize).fillColor(color).text(run.text, at, y, options);
      at += this.#pdf.widthOfString(run.text, options);
    }
  }

  /** Measured once: a text is looked at again and again before it is written, and most stand on many rows. */
  #widthOf(text: string, fontSize: number, weight: Weight): number {
    const key = `${weight} ${fontSize} ${text}`;
    const known = this.#widths.get(key);
    if (known !== undefined) return known;
    const width = this.#measure(text, fontSize, weight);
    this.#widths.set(key, width);
    return width;
  }

  #measure(text: string, fontSize: number, weight: Weight): number {
    return cutIntoRuns(text, this.#setOf(weight)).reduce((sum, run) => {
      const options = run.isRightToLeft ? { features: [] } : {};
      return sum + this.#pdf.font(run.font).fontSize(fontSize).widthOfString(run.text, options);
    }, 0);
  }

  /** Lines that fit: broken at blanks, and within what is longer than a line. Line breaks of the text stay. */
  #wrap(text: string, width: number, fontSize: number, weight: Weight): readonly string[] {
    const fits = (line: string) => this.#widthOf(line, fontSize, weight) <= width;
    return text.split("\n").flatMap((paragraph) => {
      if (fits(paragraph)) return [paragraph];
      const lines: string[] = [];
      let line = "";
      for (const word of paragraph.split(/\s+/).flatMap((whole) => breakWord(whole, fits))) {
        const longer = line === "" ? word : `${line} ${word}`;
        if (line === "" || fits(longer)) line = longer;
        else {
          lines.push(line);
          line = word;
        }
      }
      return [...lines, line];
    });
  }
}

/** A word that is longer than a line, in pieces that fit. */
function breakWord(word: string, fits: (text: string) => boolean): readonly string[] {
  if (fits(word)) return [word];
  const characters = [...word];
  const pieces: string[] = [];
  // To measure takes long: the first guess is that this piece takes as many characters as the one before it.
  let length = 1;
  for (let start = 0; start < characters.length; start += length) {
    const pieceOf = (count: number) => characters.slice(start, start + count).join("");
    length = Math.min(length, characters.length - start);
    while (length > 1 && !fits(pieceOf(length))) length -= 1;
    while (start + length < characters.length && fits(pieceOf(length + 1))) length += 1;
    pieces.push(pieceOf(length));
  }
  return pieces;
}
