import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { projectRoot } from "../../src/project-root.ts";

/**
 * The project's pages as tests read them. A mark is an HTML comment on the line before a fenced block, so that readers
 * do not see it:
 *
 *   <!-- run -->           the block's commands are run
 *   <!-- answer -->        what the commands of the block before print; with `…` where something is left out
 *   <!-- json: partner --> a document of that kind, which the product's own schema must take
 *   <!-- text -->          nothing that can be run or checked, such as a diagram
 */
export interface Page {
  /** From the project's root, such as docs/routing.md. */
  readonly name: string;
  readonly text: string;
  readonly blocks: readonly Block[];
}

export interface Block {
  readonly page: string;
  /** Of the line after the opening fence, from 1. */
  readonly line: number;
  readonly language: string;
  readonly mark: string | null;
  readonly text: string;
}

export function readPages(): readonly Page[] {
  const names = readdirSync(path.join(projectRoot, "docs")).filter((name) => name.endsWith(".md"));
  return ["README.md", ...names.sort().map((name) => `docs/${name}`)].map(readPage);
}

export function readPage(name: string): Page {
  const text = readFileSync(path.join(projectRoot, name), "utf8");
  return { name, text, blocks: readBlocks(name, text) };
}

function readBlocks(page: string, text: string): Block[] {
  const lines = text.split("\n");
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; at += 1) {
    const language = /^```(\w*)$/.exec(lines[at] ?? "")?.[1];
    if (language === undefined) continue;
    const end = lines.indexOf("```", at + 1);
    if (end === -1) throw new Error(`${page}:${at + 1}: this block has no end.`);
    const mark = /^<!-- (.+?) -->$/.exec(lines[at - 1] ?? "")?.[1] ?? null;
    blocks.push({ page, line: at + 2, language, mark, text: lines.slice(at + 1, end).join("\n") });
    at = end;
  }
  return blocks;
}

/** The rows of the first table under a heading. */
export function readTable(page: Page, heading: string): Table {
  const [table] = readTables(page, heading);
  if (table === undefined) throw new Error(`${page.name} has no table under "${heading}".`);
  return table;
}

export type Table = readonly (readonly string[])[];

/** Every table under a heading, in order: the cells of each row without the backquotes of a cell that is all code. */
export function readTables({ name, text }: Page, heading: string): readonly Table[] {
  const start = text.search(new RegExp(`^#+ ${heading}$`, "m"));
  if (start === -1) throw new Error(`${name} has no heading "${heading}".`);
  const tables = text.slice(start).matchAll(/^(?:\|.*\n)+/gm);
  return [...tables].map(([table]) => table.trim().split("\n").slice(2).map(readRow));
}

function readRow(row: string): string[] {
  return row
    .replace(/^\||\|$/g, "")
    .split(/(?<!\\)\|/)
    .map((cell) => plain(cell.trim().replaceAll("\\|", "|")));
}

function plain(cell: string): string {
  return /^`([^`]*)`$/.exec(cell)?.[1] ?? cell;
}

const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;
const shortenedId = /^[0-9a-f]{8}-…$/;

/**
 * Whether a real answer is as a page shows it; null where it is, else what differs. JSON is compared as JSON: keys that
 * the page leaves out do not count, `"…"` among the elements of a list stands for any number of them, `…` in a text for
 * anything, an id that is cut (`01a1f846-…`) for any id, an instant for any instant. Anything else is compared line by
 * line, a line of only `…` standing for any number of lines.
 */
export function differenceOf(shown: Block, actual: string): string | null {
  if (shown.language !== "json") return textDifference(shown.text.trimEnd().split("\n"), actual.trimEnd().split("\n"));
  const document = readJson(actual);
  return document === undefined ? "it is not JSON" : jsonDifference(JSON.parse(shown.text), document, "");
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function jsonDifference(shown: unknown, actual: unknown, place: string): string | null {
  if (typeof shown === "string" && typeof actual === "string") {
    return matches(shown, actual) ? null : `${place} is ${JSON.stringify(actual)}`;
  }
  if (Array.isArray(shown) && Array.isArray(actual)) return listDifference(shown, actual, place);
  if (isObject(shown) && isObject(actual)) {
    for (const [key, value] of Object.entries(shown)) {
      if (!Object.hasOwn(actual, key)) return `${place}.${key} is not there`;
      const difference = jsonDifference(value, actual[key], `${place}.${key}`);
      if (difference !== null) return difference;
    }
    return null;
  }
  return shown === actual || shown === "…" ? null : `${place} is ${JSON.stringify(actual)}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function listDifference(shown: readonly unknown[], actual: readonly unknown[], place: string): string | null {
  let at = 0;
  let isGap = false;
  for (const element of shown) {
    if (element === "…") {
      isGap = true;
      continue;
    }
    const differences = actual
      .slice(at, isGap ? undefined : at + 1)
      .map((one, index) => jsonDifference(element, one, `${place}[${at + index}]`));
    const found = differences.indexOf(null);
    if (found === -1) return differences[0] ?? `${place}[${at}] is not there`;
    at += found + 1;
    isGap = false;
  }
  return isGap || at === actual.length ? null : `${place} has ${actual.length} elements, not ${at}`;
}

function textDifference(shown: readonly string[], actual: readonly string[]): string | null {
  let at = 0;
  let isGap = false;
  for (const line of shown) {
    if (line.trim() === "…") {
      isGap = true;
      continue;
    }
    const rest = actual.slice(at, isGap ? undefined : at + 1);
    const found = rest.findIndex((one) => matches(line.trimEnd(), one.trimEnd()));
    if (found === -1) return `line ${JSON.stringify(line)} is ${isGap ? "nowhere" : JSON.stringify(actual[at] ?? "")}`;
    at += found + 1;
    isGap = false;
  }
  return isGap || at === actual.length ? null : `more follows: ${JSON.stringify(actual[at])}`;
}

function matches(shown: string, actual: string): boolean {
  if (shortenedId.test(shown)) return /^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(actual);
  if (instant.test(shown)) return instant.test(actual);
  const parts = shown.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join("[\\s\\S]*")}$`).test(actual);
}
