import { XMLParser, XMLValidator } from "fast-xml-parser";
import iconv from "iconv-lite";
import { cleanText, exactNumber } from "../campaigns/read-field.ts";

/** A body of more bytes is refused with 413. */
export const maxIntakeBytes = 256 * 1024;
const maxDepth = 20;
/** Values in one body. A lead has dozens; the bound keeps a body of nothing but brackets from costing a second. */
const maxValues = 5_000;

export type IntakeBody =
  | { readonly ok: true; readonly raw: Record<string, unknown> }
  | { readonly ok: false; readonly status: 400 | 413 | 415; readonly code: IntakeRefusal; readonly message: string };

export type IntakeRefusal =
  | "too_large"
  | "unknown_content_type"
  | "unknown_charset"
  | "bad_encoding"
  | "empty_body"
  | "bad_json"
  | "bad_xml"
  | "not_an_object"
  | "duplicate_key"
  | "too_deep"
  | "too_many_values";

/** Thrown inside this file only, and made a value at its edge. */
class Refusal extends Error {
  readonly status: 400 | 413 | 415;
  readonly code: IntakeRefusal;
  constructor(status: 400 | 413 | 415, code: IntakeRefusal, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * Reads the body of an intake request into raw fields, which `normaliseFields` makes regular. Objects in it have no
 * prototype, texts no NUL and no half of a character.
 *
 * - JSON (`application/json`, `…+json`): one object. A number that JavaScript would round is kept as the text it was
 *   sent as. A key that comes twice in one object is refused.
 * - Form (`application/x-www-form-urlencoded`): texts; a key that comes more than once becomes a list, which a field
 *   then refuses by name.
 * - XML (`application/xml`, `text/xml`, `…+xml`): the children of the root, whatever its name, as texts; repeated ones
 *   become a list, nested ones objects. Attributes, comments and name-space prefixes are left out. A DOCTYPE and
 *   entities that XML itself does not define are refused.
 *
 * The charset is that of the byte order mark, of the content type, of the XML declaration, or UTF-8, in this order.
 */
export function parseIntakeBody(contentType: string | undefined, body: Buffer): IntakeBody {
  try {
    return { ok: true, raw: readBody(contentType, body) };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { ok: false, status: error.status, code: error.code, message: error.message };
  }
}

function readBody(contentType: string | undefined, body: Buffer): Record<string, unknown> {
  if (body.length > maxIntakeBytes) {
    throw new Refusal(413, "too_large", `The body is ${body.length} bytes; at most ${maxIntakeBytes} are taken.`);
  }
  const { format, charset } = readContentType(contentType);
  if (body.length === 0) throw new Refusal(400, "empty_body", "The body is empty: send the fields of a lead.");
  if (format === "form") return readForm(body, charset ?? "utf-8");
  const declared = format === "xml" ? declaredCharset(body) : undefined;
  const text = decode(body, charset ?? declared ?? "utf-8");
  return format === "json" ? readJson(text) : readXml(text);
}

function readContentType(contentType = ""): { format: "json" | "form" | "xml"; charset: string | undefined } {
  const [type = "", ...parameters] = contentType.split(";");
  const charset = parameters
    .map((parameter) => /^\s*charset\s*=\s*"?([^"\s]*)"?\s*$/i.exec(parameter)?.[1])
    .find(Boolean);
  const mediaType = type.trim().toLowerCase();
  if (mediaType === "application/x-www-form-urlencoded") return { format: "form", charset };
  if (mediaType === "application/json" || /^[^/]+\/[^/]+\+json$/.test(mediaType)) return { format: "json", charset };
  if (/^(application|text)\/xml$|^[^/]+\/[^/]+\+xml$/.test(mediaType)) return { format: "xml", charset };
  const given =
    mediaType === "" ? "There is no Content-Type" : `The Content-Type is ${cleanText(mediaType).slice(0, 100)}`;
  const taken = "application/json, application/x-www-form-urlencoded, application/xml and text/xml";
  throw new Refusal(415, "unknown_content_type", `${given}; taken are ${taken}.`);
}

const byteOrderMarks = [
  { bytes: Buffer.from([0xef, 0xbb, 0xbf]), charset: "utf-8" },
  { bytes: Buffer.from([0xff, 0xfe]), charset: "utf-16le" },
  { bytes: Buffer.from([0xfe, 0xff]), charset: "utf-16be" },
];

type Decoder = (bytes: Buffer) => string;

function decode(body: Buffer, charset: string): string {
  const mark = byteOrderMarks.find(({ bytes }) => body.subarray(0, bytes.length).equals(bytes));
  return decoderOf(mark?.charset ?? charset)(body);
}

/** What is sent as ISO 8859-1 or ASCII is Windows-1252 (WHATWG Encoding). */
const windows1252 = /^(iso-?8859-?1|latin-?1|(us-)?ascii)$/i;
/** iconv-lite counts these among its charsets. */
const notCharsets = /^(base64|hex|binary)$/i;

function decoderOf(charset: string): Decoder {
  if (/^utf-?(8|16(le|be)?)$/i.test(charset)) {
    const decoder = new TextDecoder(charset.replace(/^utf-?/i, "utf-"), { fatal: true });
    return (bytes) => {
      try {
        return decoder.decode(bytes);
      } catch {
        throw badEncoding(charset);
      }
    };
  }
  if (!iconv.encodingExists(charset) || notCharsets.test(charset)) {
    const given = cleanText(charset).slice(0, 50);
    throw new Refusal(415, "unknown_charset", `The charset ${given} is not known here; utf-8 always is.`);
  }
  // TextDecoder of Node 20 reads Windows-1252 as Latin 1.
  return (bytes) => {
    const text = iconv.decode(bytes, windows1252.test(charset) ? "windows-1252" : charset);
    if (text.includes("\ufffd")) throw badEncoding(charset);
    return text;
  };
}

function badEncoding(charset: string): Refusal {
  return new Refusal(400, "bad_encoding", `The body holds bytes that are not ${charset}.`);
}

/** The XML declaration is read as ASCII, so one that says UTF-16 is mistaken: tools that print to strings do that. */
function declaredCharset(body: Buffer): string | undefined {
  const start = body.subarray(0, 200).toString("latin1");
  const declared = /^(?:\xef\xbb\xbf)?<\?xml[^>]*?encoding\s*=\s*["']([^"']+)["']/.exec(start)?.[1];
  return /^utf-?16/i.test(declared ?? "") ? undefined : declared;
}

type Collected = Record<string, unknown>;

function emptyObject(): Collected {
  return Object.create(null);
}

function readForm(body: Buffer, charset: string): Collected {
  const decoder = decoderOf(charset);
  const pairs = body
    .toString("latin1")
    .split("&")
    .filter((pair) => pair !== "");
  if (pairs.length > maxValues) throw tooManyValues();
  const raw = emptyObject();
  for (const pair of pairs) {
    const equals = pair.indexOf("=");
    const key = equals === -1 ? pair : pair.slice(0, equals);
    const value = equals === -1 ? "" : pair.slice(equals + 1);
    collect(raw, readFormPart(key, decoder), readFormPart(value, decoder));
  }
  return raw;
}

/** Percent-encoding stands for bytes: they are put together before the charset is looked at. */
function readFormPart(part: string, decoder: Decoder): string {
  const bytes = part
    .replaceAll("+", " ")
    .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return cleanText(decoder(Buffer.from(bytes, "latin1")));
}

/** What comes under one key more than once becomes a list. */
function collect(raw: Collected, key: string, value: unknown): void {
  const before = raw[key];
  if (before === undefined) raw[key] = value;
  else if (Array.isArray(before)) before.push(value);
  else raw[key] = [before, value];
}

function tooManyValues(): Refusal {
  return new Refusal(400, "too_many_values", `The body holds more than ${maxValues} values.`);
}

function tooDeep(): Refusal {
  return new Refusal(400, "too_deep", `The body is nested deeper than ${maxDepth} levels.`);
}

/**
 * JSON.parse decides whether the text is JSON; then it is read once more, for what JSON.parse does not tell: keys that
 * come twice, and numbers that it rounds.
 */
function readJson(text: string): Collected {
  try {
    JSON.parse(text);
  } catch (error) {
    // The rest of the message quotes the body.
    const position = error instanceof Error ? /at position \d+/.exec(error.message)?.[0] : undefined;
    throw new Refusal(400, "bad_json", `The body is not valid JSON${position ? `: see ${position}` : ""}.`);
  }
  const json = { text, at: 0, values: 0 };
  if (peek(json) !== "{") {
    throw new Refusal(400, "not_an_object", "The body must be one JSON object with the fields of a lead.");
  }
  return readObject(json, 1);
}

interface JsonText {
  readonly text: string;
  at: number;
  values: number;
}

const otherThanSpace = /[^ \t\r\n]/g;
const literalEnd = /[,\]} \t\r\n]|$/g;

function peek(json: JsonText): string {
  otherThanSpace.lastIndex = json.at;
  json.at = otherThanSpace.exec(json.text)?.index ?? json.text.length;
  return json.text[json.at] ?? "";
}

function readValue(json: JsonText, depth: number): unknown {
  const next = peek(json);
  json.values += 1;
  if (json.values > maxValues) throw tooManyValues();
  if (next === '"') return cleanText(readString(json));
  if (next === "{" || next === "[") {
    if (depth >= maxDepth) throw tooDeep();
    return next === "{" ? readObject(json, depth + 1) : readArray(json, depth + 1);
  }
  literalEnd.lastIndex = json.at;
  const end = literalEnd.exec(json.text)?.index ?? json.text.length;
  const literal = json.text.slice(json.at, end);
  json.at = end;
  if (literal === "true" || literal === "false") return literal === "true";
  return literal === "null" ? null : (exactNumber(literal) ?? literal);
}

function readString(json: JsonText): string {
  const start = json.at;
  let end = json.text.indexOf('"', start + 1);
  while (isEscaped(json.text, end)) end = json.text.indexOf('"', end + 1);
  json.at = end + 1;
  const quoted = json.text.slice(start, end + 1);
  return quoted.includes("\\") ? String(JSON.parse(quoted)) : quoted.slice(1, -1);
}

function isEscaped(text: string, at: number): boolean {
  let backslashes = 0;
  while (text[at - 1 - backslashes] === "\\") backslashes += 1;
  return backslashes % 2 === 1;
}

function readObject(json: JsonText, depth: number): Collected {
  const object = emptyObject();
  json.at += 1;
  while (peek(json) !== "}") {
    const key = cleanText(readString(json));
    if (key in object) {
      throw new Refusal(400, "duplicate_key", `"${key.slice(0, 100)}" comes twice in one object.`);
    }
    peek(json);
    json.at += 1; // the colon
    object[key] = readValue(json, depth);
    if (peek(json) === ",") json.at += 1;
    peek(json);
  }
  json.at += 1;
  return object;
}

function readArray(json: JsonText, depth: number): unknown[] {
  const array: unknown[] = [];
  json.at += 1;
  while (peek(json) !== "]") {
    array.push(readValue(json, depth));
    if (peek(json) === ",") json.at += 1;
  }
  json.at += 1;
  return array;
}

function readXml(text: string): Collected {
  // An element has at least one bracket of this kind and at most two.
  if (text.split("<", 2 * maxValues + 1).length > 2 * maxValues) throw tooManyValues();
  const roots = elementsOf(parseXml(text));
  const [root] = roots;
  if (root === undefined || roots.length > 1) throw badXml("it must have one root element");
  const value = contentOf(root.children, 1);
  if (typeof value !== "string") return value;
  if (value.trim() === "") return emptyObject();
  throw new Refusal(400, "not_an_object", "The root element must hold an element for each field of the lead.");
}

function badXml(reason: string): Refusal {
  return new Refusal(400, "bad_xml", `The body is not XML that is taken here: ${reason}.`);
}

function parseXml(text: string): unknown {
  const validity = XMLValidator.validate(text);
  if (validity !== true) throw badXml(`see line ${validity.err.line}`);
  const parser = new XMLParser({
    preserveOrder: true,
    ignoreAttributes: true,
    removeNSPrefix: true,
    ignoreDeclaration: true,
    ignorePiTags: true,
    parseTagValue: false,
    trimValues: false,
    maxNestedTags: maxDepth,
    onDangerousProperty: (name) => name,
    entityDecoder,
  });
  try {
    return parser.parse(text);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    const message = error instanceof Error ? error.message : "";
    throw message.includes("nested tags") ? tooDeep() : badXml("a tag or a name in it is not allowed");
  }
}

const xmlEntities: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

const entityDecoder = {
  reset() {},
  setXmlVersion() {},
  setExternalEntities() {},
  /** Called for a DOCTYPE, wherever it stands and whatever it holds. */
  addInputEntities() {
    throw badXml("a DOCTYPE is not allowed");
  },
  decode(text: string): string {
    return text.includes("&") ? text.replace(/&([^;&]*);?/g, (_, name: string) => readEntity(name)) : text;
  },
};

function readEntity(name: string): string {
  const [, hexadecimal, decimal] = /^#(?:x([0-9a-f]{1,6})|([0-9]{1,7}))$/i.exec(name) ?? [];
  const codePoint = hexadecimal === undefined ? Number(decimal) : Number.parseInt(hexadecimal, 16);
  if (codePoint <= 0x10ffff) return String.fromCodePoint(codePoint);
  const known = Object.hasOwn(xmlEntities, name) ? xmlEntities[name] : undefined;
  if (known === undefined) throw badXml("it uses an entity that XML does not define");
  return known;
}

interface XmlElement {
  readonly name: string;
  readonly children: unknown;
}

/** What the parser gives for an element is an object with one key, its name; for text that key is `#text`. */
function elementsOf(nodes: unknown): XmlElement[] {
  return entriesOf(nodes)
    .filter(([name]) => name !== "#text")
    .map(([name, children]) => ({ name, children }));
}

function entriesOf(nodes: unknown): [string, unknown][] {
  return Array.isArray(nodes) ? nodes.flatMap((node: unknown) => Object.entries(node ?? {})) : [];
}

function contentOf(nodes: unknown, depth: number): string | Collected {
  if (depth > maxDepth) throw tooDeep();
  const text = cleanText(
    entriesOf(nodes)
      .map(([name, value]) => (name === "#text" ? String(value) : ""))
      .join(""),
  );
  const elements = elementsOf(nodes);
  if (elements.length === 0) return text;
  const object = emptyObject();
  for (const element of elements) collect(object, cleanText(element.name), contentOf(element.children, depth + 1));
  if (text.trim() !== "") object["#text"] = text.trim();
  return object;
}
