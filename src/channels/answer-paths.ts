import { type Attr, DOMParser, type Document, type Element, type Node } from "@xmldom/xmldom";
import { JSONPathEnvironment, type JSONPathQuery, type JSONValue } from "json-p3";
import xpath from "xpath";
import { z } from "zod";
import { BoundedCache } from "./bounded-cache.ts";

declare module "xpath" {
  /** In the library and its documentation, though not in its types. */
  export function parse(expression: string): {
    readonly expression: unknown;
    evaluate(options: {
      node: unknown;
      namespaces: (prefix: string) => string;
      allowAnyNamespaceForNoPrefix: boolean;
    }): unknown;
  };
}

/** What a path led to. `values` is empty where the answer has no such thing; not `ok` where it cannot be asked. */
export type Found =
  | { readonly ok: true; readonly values: readonly unknown[] }
  | { readonly ok: false; readonly reason: string };

/** The body of a partner's answer, read as JSON or XML when a path asks for it, and only once. */
export interface Answer {
  readonly text: string;
  /** `$…` is a JSONPath, `/…` an XPath, null the whole text. */
  find(path: string | null): Found;
}

/** A partner's answer must not cost more than a moment, whatever it holds and whatever the path asks. */
const maximumPathLength = 300;
const maximumNodes = 2_000;
const maximumDepth = 50;

/** JSONPath of RFC 9535 but for `match` and `search`: they would run a regular expression that can run away. */
const jsonPaths = createJsonPaths();

function createJsonPaths(): JSONPathEnvironment {
  const environment = new JSONPathEnvironment({ maxRecursionDepth: maximumDepth });
  environment.functionRegister.delete("match");
  environment.functionRegister.delete("search");
  return environment;
}

const compiledJsonPaths = new BoundedCache<JSONPathQuery>(1_000);
const compiledXPaths = new BoundedCache<ReturnType<typeof xpath.parse>>(1_000);

/** A path that looks into an answer: a string that begins with `$` (JSONPath) or `/` (XPath 1.0). */
export const answerPath = z.string().superRefine((path, context) => {
  const problem = pathProblem(path);
  if (problem !== null) context.addIssue({ code: "custom", message: problem });
});

/** What is wrong with a path, or null. Refuses what cannot be compiled and what could take long on some answer. */
export function pathProblem(path: string): string | null {
  if (path.length > maximumPathLength) return `a path has at most ${maximumPathLength} characters`;
  const bare = path.replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g, "''");
  if (path.startsWith("$")) return costlyJsonPath(bare) ?? compileProblem("JSONPath", () => compileJsonPath(path));
  if (path.startsWith("/"))
    return costlyXPath(bare) ?? compileProblem("XPath", () => compileXPath(path)) ?? secondStart(path);
  return "a path is a JSONPath, which begins with $, or an XPath, which begins with /";
}

function costlyJsonPath(bare: string): string | null {
  if (occurrences(bare, "$") > 1) return "inside a JSONPath, filters can look at @ only, not at $";
  if (occurrences(bare, "..") > 2) return "a JSONPath can have .. twice at most";
  if (occurrences(bare, ",") > 5) return "a JSONPath can name six selectors at most between commas";
  return null;
}

function costlyXPath(bare: string): string | null {
  if (occurrences(bare, "//") > 1) return "an XPath can have // once at most";
  if (occurrences(bare, "[") > 4) return "an XPath can have four predicates at most";
  if (/\.\.|(ancestor|parent|following|preceding|descendant|namespace)[\w-]*\s*::/.test(bare))
    return "an XPath can only go down: to children, attributes and, with //, descendants";
  return null;
}

/** A path from the root inside a predicate would be walked again for every node. */
function secondStart(path: string): string | null {
  const starts = countAbsolutePaths(compileXPath(path).expression);
  return starts > 1 ? "an XPath can start from the root only once, at its beginning" : null;
}

function countAbsolutePaths(expression: unknown): number {
  if (typeof expression !== "object" || expression === null) return 0;
  const own = "absolute" in expression && expression.absolute === true ? 1 : 0;
  return Object.values(expression).reduce((count: number, part) => count + countAbsolutePaths(part), own);
}

function occurrences(text: string, part: string): number {
  return text.split(part).length - 1;
}

function compileProblem(kind: string, compile: () => unknown): string | null {
  try {
    compile();
    return null;
  } catch (error) {
    return `this is no ${kind}: ${messageOf(error)}`;
  }
}

function compileJsonPath(path: string): JSONPathQuery {
  return compiledJsonPaths.getOrMake(path, () => jsonPaths.compile(path));
}

function compileXPath(path: string): ReturnType<typeof xpath.parse> {
  return compiledXPaths.getOrMake(path, () => xpath.parse(path));
}

export function openAnswer(text: string): Answer {
  const json = once(() => readJson(text));
  const xml = once(() => readXml(text));
  return {
    text,
    find(path) {
      if (path === null) return { ok: true, values: [text] };
      try {
        return { ok: true, values: path.startsWith("$") ? findInJson(path, json()) : findInXml(path, xml()) };
      } catch (error) {
        return { ok: false, reason: messageOf(error) };
      }
    },
  };
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/** What a partner sent is not as it should be. Caught in `find`, where it becomes a reason. */
class UnreadableAnswer extends Error {}

function readJson(text: string): { readonly value: JSONValue; readonly nodes: number } {
  if (text.trim() === "") throw new UnreadableAnswer("the answer is empty");
  try {
    const value: JSONValue = JSON.parse(text);
    return { value, nodes: countNodes(value) };
  } catch {
    throw new UnreadableAnswer("the answer is not JSON");
  }
}

function countNodes(value: JSONValue): number {
  const open: JSONValue[] = [value];
  let nodes = 0;
  while (open.length > 0) {
    const next = open.pop();
    nodes += 1;
    if (typeof next === "object" && next !== null) for (const inner of Object.values(next)) open.push(inner);
  }
  return nodes;
}

function findInJson(path: string, json: { readonly value: JSONValue; readonly nodes: number }): readonly unknown[] {
  const query = compileJsonPath(path);
  if (json.nodes > maximumNodes && !query.singularQuery())
    throw new UnreadableAnswer(`the answer has more than ${maximumNodes} values`);
  return query.query(json.value).values();
}

function readXml(text: string): Document {
  if (text.trim() === "") throw new UnreadableAnswer("the answer is empty");
  const document = parseXml(text);
  if (document.documentElement?.localName?.toLowerCase() === "html")
    throw new UnreadableAnswer("the answer is a web page, not XML");
  prepare(document);
  return document;
}

function parseXml(text: string): Document {
  try {
    return new DOMParser({ onError: () => undefined }).parseFromString(text.trim(), "text/xml");
  } catch {
    throw new UnreadableAnswer("the answer is not XML");
  }
}

/** Stands for every namespace, so that a path matches by local name, with or without a prefix. */
const anyNamespace = "any";

/**
 * Makes the namespaces one, and numbers the nodes: the library sorts by
 * comparing positions, which on the DOM as it comes takes minutes for an answer of thousands of siblings.
 */
function prepare(document: Document): void {
  const positions = new Map<unknown, number>();
  const compare = function (this: unknown, other: unknown): number {
    return this === other ? 0 : (positions.get(other) ?? 0) < (positions.get(this) ?? 0) ? 2 : 4;
  };
  const open: { readonly node: Node; readonly depth: number }[] = [{ node: document, depth: 0 }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const attributes = isElement(next.node) ? Array.from(next.node.attributes) : [];
    for (const node of [next.node, ...attributes]) {
      positions.set(node, positions.size);
      Object.defineProperty(node, "compareDocumentPosition", { value: compare });
      if (isElement(node) || isPlainAttribute(node)) unifyNamespace(node);
    }
    if (positions.size > maximumNodes || next.depth > maximumDepth)
      throw new UnreadableAnswer(
        `the answer has more than ${maximumNodes} parts, or is more than ${maximumDepth} deep`,
      );
    for (let child = next.node.lastChild; child !== null; child = child.previousSibling)
      open.push({ node: child, depth: next.depth + 1 });
  }
}

function isElement(node: Node): node is Element {
  return node.nodeType === node.ELEMENT_NODE;
}

function isPlainAttribute(node: Node): node is Attr {
  return node.nodeType === node.ATTRIBUTE_NODE && !/^xmlns(:|$)/.test(node.nodeName);
}

function unifyNamespace(node: Element | Attr): void {
  const nodeName = node.localName ?? node.nodeName;
  Object.defineProperties(node, {
    nodeName: { value: nodeName },
    prefix: { value: null },
    namespaceURI: { value: anyNamespace },
  });
}

/** What the library gives for a path to nodes; for an expression it gives something that reads as text. */
const xpathNodes = z.object({ nodes: z.array(z.object({ textContent: z.string().nullable() })) });

function findInXml(path: string, document: Document): readonly unknown[] {
  const result = compileXPath(path).evaluate({
    node: document,
    namespaces: () => anyNamespace,
    allowAnyNamespaceForNoPrefix: true,
  });
  const nodes = xpathNodes.safeParse(result);
  if (nodes.success) return nodes.data.nodes.map((node) => node.textContent ?? "");
  return [String(result)];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
