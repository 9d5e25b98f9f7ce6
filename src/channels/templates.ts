import {
  analyzeSync,
  Context,
  Drop,
  Liquid,
  LiquidError,
  type Template,
  toValue,
  toValueSync,
  Variable,
} from "liquidjs";
import { BoundedCache } from "./bounded-cache.ts";
import type { TemplateVariables } from "./contract.ts";
import { templateFilters } from "./filters.ts";
import { Decimal, openPlace, type Place, PlaceError, type PlaceName, type Printable } from "./places.ts";

export type { PlaceName } from "./places.ts";

export type RenderedText =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly reason: string };

/** Longer templates are refused when settings are saved. */
export const maximumTemplateLength = 65_536;

/** A lead is at most 256 KiB at intake; escaping can make six characters of one. */
const maximumOutputLength = 4_194_304;

/** Only `{{ }}` prints. No tag reads a file, keeps a counter in the variables, or writes past the place. */
const allowedTags = ["assign", "capture", "for", "break", "continue", "if", "unless", "case", "comment", "#"];

const needlessFilters = new Set(
  "escape escape_once xml_escape raw safe json jsonify inspect url_encode url_escape cgi_escape uri_escape".split(" "),
);

/** A printed value on its way through LiquidJS, so that the emitter can tell it from the template's own text. */
class PrintedValue {
  readonly value: Printable;

  constructor(value: Printable) {
    this.value = value;
  }

  /** What `capture` keeps: the plain text, which is escaped once, when it is printed in its turn. */
  toString(): string {
    return this.value === null ? "" : String(this.value);
  }
}

/** Whoever renders does nothing else meanwhile, and so serves nobody else. */
const longestRenderMs = 500;

let budget = { leftMs: Number.POSITIVE_INFINITY };

/**
 * Gives all templates that `render` renders (not later: at once) so much time together. What is over it is refused like
 * a template that takes too long by itself. Inside another budget, that one binds too.
 */
export function withinRenderBudget<T>(budgetMs: number, render: () => T): T {
  const outer = budget;
  const own = { leftMs: Math.min(budgetMs, outer.leftMs) };
  const givenMs = own.leftMs;
  budget = own;
  try {
    return render();
  } finally {
    outer.leftMs -= givenMs - own.leftMs;
    budget = outer;
  }
}

const liquid = createEngine();

function createEngine(): Liquid {
  const engine = new Liquid({
    strictVariables: true,
    strictFilters: true,
    ownPropertyOnly: true,
    // Lets a template ask `{% if contacts[0] %}`; unknown names inside a condition are found when settings are saved.
    lenientIf: true,
    // The file system is out of reach even if a tag that reads it were to come back.
    templates: {},
    parseLimit: maximumTemplateLength,
    renderLimit: longestRenderMs,
    memoryLimit: 10_000_000,
    outputEscape: (value: unknown) => new PrintedValue(toPrintable(value)) as unknown as string,
  });
  for (const tag of Object.keys(engine.tags)) if (!allowedTags.includes(tag)) delete engine.tags[tag];
  for (const filter of Object.keys(engine.filters)) engine.unregisterFilter(filter);
  for (const [name, filter] of templateFilters) engine.registerFilter(name, filter);
  return engine;
}

/** Hands the template's own text and the printed values to the place, each for what it is. */
class PlaceEmitter {
  readonly #place: Place;
  #length = 0;
  readonly buffer = "";

  constructor(place: Place) {
    this.#place = place;
  }

  write(written: unknown): void {
    if (written instanceof PrintedValue) {
      this.#count(written.toString().length);
      this.#place.value(written.value);
    } else if (typeof written === "string") {
      this.#count(written.length);
      this.#place.literal(written);
    } else throw new Error("LiquidJS wrote neither template text nor a printed value: see which tag did.");
  }

  #count(length: number): void {
    this.#length += length;
    if (this.#length > maximumOutputLength) throw new PlaceError("the result is longer than 4 MiB");
  }
}

type Parsed = { readonly ok: true; readonly templates: Template[] } | { readonly ok: false; readonly reason: string };

const parsedTemplates = new BoundedCache<Parsed>(2_000);

function parse(source: string): Parsed {
  if (source.length > maximumTemplateLength)
    return { ok: false, reason: `a template has at most ${maximumTemplateLength} characters` };
  return parsedTemplates.getOrMake(source, () => {
    try {
      return { ok: true, templates: liquid.parse(source) };
    } catch (error) {
      return { ok: false, reason: explain(error) };
    }
  });
}

/**
 * Renders `source` with every value escaped for `place`. Refuses, with the reason and its line, what LiquidJS cannot
 * parse, unknown variables and filters, and a value where none may stand. The reason never quotes a value.
 */
export function renderTemplate(source: string, place: PlaceName, variables: TemplateVariables): RenderedText {
  const parsed = parse(source);
  if (!parsed.ok) return parsed;
  const destination = openPlace(place);
  const startedMs = performance.now();
  const renderLimit = Math.max(0, Math.min(longestRenderMs, budget.leftMs));
  const context = new Context(variables, liquid.options, { sync: true, renderLimit }, { liquid });
  try {
    toValueSync(liquid.renderer.renderTemplates(parsed.templates, context, new PlaceEmitter(destination)));
    return { ok: true, text: destination.finish() };
  } catch (error) {
    return { ok: false, reason: explain(error) };
  } finally {
    budget.leftMs -= performance.now() - startedMs;
  }
}

/**
 * The variables that `source` names anywhere, also in branches that a sample does not take, and that `sample` lacks:
 * each as the template writes it, with its line. Names found only when rendering (`lead[key]`) are not looked at.
 */
export function unknownVariables(source: string, sample: TemplateVariables): readonly string[] {
  const parsed = parse(source);
  if (!parsed.ok) return [];
  const found = Object.values(analyzeSync(parsed.templates).globals).flat();
  const unknown = found.filter((variable) => !exists(sample, variable.segments));
  return [...new Set(unknown.map((variable) => `${String(variable)} (line ${variable.location.row})`))];
}

function exists(value: unknown, segments: Variable["segments"]): boolean {
  const [name, ...rest] = segments;
  if (name === undefined || name instanceof Variable || typeof value !== "object" || value === null) return true;
  if (Array.isArray(value)) return ["size", "first", "last"].includes(String(name)) || exists(value[0], rest);
  return Object.hasOwn(value, name) && exists(Object.entries(value).find(([key]) => key === name)?.[1], rest);
}

function toPrintable(given: unknown): Printable {
  const value: unknown = toValue(given);
  if (value === undefined || value === null) return null;
  if (typeof value === "string" || typeof value === "boolean" || value instanceof Decimal) return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : null;
  if (Array.isArray(value)) return value.map(toPrintable);
  if (typeof value === "object" && !(value instanceof Drop))
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, toPrintable(inner)]));
  throw new PlaceError("this is nothing that can be printed");
}

/** Says what is wrong in the words of this product. */
function explain(error: unknown): string {
  // What LiquidJS throws between two parts of the template has no line.
  if (error instanceof Error && error.name === "AssertionError" && error.message.endsWith("limit exceeded"))
    return error.message;
  if (!LiquidError.is(error)) throw error;
  const [line] = error.token.getPosition();
  const message = (error.originalError ?? error).message.replace(/, line:\d+, col:\d+/g, "");
  return `${inPlainWords(message)} (line ${line})`;
}

function inPlainWords(message: string): string {
  const [, problem, name] = /^(undefined variable|undefined filter|tag)[: "]+([^"]+)/.exec(message) ?? [];
  if (problem === "undefined variable") return `there is no variable ${name}`;
  if (problem === "undefined filter" && name !== undefined && needlessFilters.has(name))
    return `the filter ${name} is not needed: every value is escaped for the place it stands in`;
  if (problem === "undefined filter") return `there is no filter ${name}`;
  if (message.endsWith("not found")) return `there is no tag ${name}`;
  return message;
}
