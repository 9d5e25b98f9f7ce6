import { MarkupScanner } from "./markup-scanner.ts";

/**
 * The places a value can stand in. A place collects the template's own text and the values printed into it, and
 * escapes each value for where it stands, so that reading the result gives exactly the value back and no lead can
 * break out. What a place refuses depends on the template alone, never on a lead's value.
 */
export const placeNames = ["json", "xml", "html", "form", "url", "line", "text"] as const;
export type PlaceName = (typeof placeNames)[number];

/** An amount with its decimal places, such as `12.50`: a number where a number can stand, else text. */
export class Decimal {
  readonly #digits: string;

  constructor(digits: string) {
    if (!/^-?\d+(\.\d+)?$/.test(digits)) throw new Error("A Decimal is made of digits: format the amount first.");
    this.#digits = digits;
  }

  toString(): string {
    return this.#digits;
  }
}

export type Printable =
  | string
  | number
  | boolean
  | null
  | Decimal
  | readonly Printable[]
  | { [key: string]: Printable };

export interface Place {
  /** Text of the template itself: taken as it is. */
  literal(text: string): void;
  /** A value: escaped for the place it stands in. Throws a `PlaceError` where no value may stand. */
  value(value: Printable): void;
  finish(): string;
}

/** The template prints a value where none may stand. The message says where and what to do instead. */
export class PlaceError extends Error {}

export function openPlace(name: PlaceName): Place {
  switch (name) {
    case "json":
      return new JsonPlace();
    case "xml":
      return new XmlPlace();
    case "html":
      return new HtmlPlace();
    case "form":
      return new FormPlace();
    case "url":
      return new UrlPlace();
    case "line":
      return new EscapingPlace(oneLine, (text) => oneLine(text).trim());
    case "text":
      return new EscapingPlace((text) => text);
  }
}

/** The same escaping everywhere in the text. */
class EscapingPlace implements Place {
  #text = "";
  readonly #escape: (text: string) => string;
  readonly #finish: (text: string) => string;

  constructor(escapeValue: (text: string) => string, finish: (text: string) => string = (text) => text) {
    this.#escape = escapeValue;
    this.#finish = finish;
  }

  literal(text: string): void {
    this.#text += text;
  }

  value(value: Printable): void {
    this.#text += this.#escape(asText(value));
  }

  finish(): string {
    return this.#finish(this.#text);
  }
}

/** RFC 8259. Inside quotes a value is text; outside them it keeps its type. */
class JsonPlace implements Place {
  #text = "";
  #at = 0;
  #inString = false;

  literal(text: string): void {
    this.#text += text;
  }

  value(value: Printable): void {
    this.#readOn();
    this.#text += this.#inString ? JSON.stringify(asText(value)).slice(1, -1) : jsonValue(value);
    this.#at = this.#text.length;
  }

  finish(): string {
    return this.#text;
  }

  #readOn(): void {
    while (this.#at < this.#text.length) {
      const character = this.#text[this.#at];
      if (character === '"') this.#inString = !this.#inString;
      const escapes = this.#inString && character === "\\";
      this.#at += !escapes ? 1 : this.#text[this.#at + 1] === "u" ? 6 : 2;
    }
    if (this.#at > this.#text.length) throw new PlaceError("a value cannot stand right after a backslash");
  }
}

class XmlPlace implements Place {
  #text = "";
  readonly #scanner = new MarkupScanner("xml");

  literal(text: string): void {
    this.#text += text;
  }

  value(value: Printable): void {
    const position = this.#scanner.advance(this.#text);
    if (position.where === "nowhere") throw misplaced(position.because);
    refuseAfterAmpersand(this.#text, position.where);
    const text = asText(value).replace(notXml, "");
    if (position.where === "attribute") this.#text += xmlAttribute(text);
    else this.#text += position.where === "cdata" ? cdata(text, this.#text) : xmlText(text);
  }

  finish(): string {
    return this.#text.trim();
  }
}

/** Attributes that hold an address; what they hold decides what a click does. */
const addressAttributes = new Set(["href", "src", "action", "formaction", "background", "poster", "cite", "data"]);

class HtmlPlace implements Place {
  #text = "";
  readonly #scanner = new MarkupScanner("html");

  literal(text: string): void {
    this.#text += text;
  }

  value(value: Printable): void {
    const position = this.#scanner.advance(this.#text);
    if (position.where === "nowhere") throw misplaced(position.because);
    refuseAfterAmpersand(this.#text, position.where);
    const text = asText(value).replace(notXml, "");
    if (position.where !== "attribute") this.#text += htmlText(text);
    else this.#text += htmlAttribute(position.name, this.#text.slice(position.start), text);
  }

  finish(): string {
    return this.#text;
  }
}

/** `application/x-www-form-urlencoded` as the URL standard writes it: every value is percent-encoded. */
class FormPlace implements Place {
  #text = "";

  literal(text: string): void {
    this.#text += text;
  }

  value(value: Printable): void {
    refuseAfterPercent(this.#text);
    this.#text += percentEncode(asText(value)).replaceAll("%20", "+");
  }

  /** Line ends can only be the template's own lay-out, because those of values are encoded. */
  finish(): string {
    return this.#text.replace(/\s*[\r\n]\s*/g, "").trim();
  }
}

const origin = /^https?:\/\/[^\s/?#\\@]+(?=[/?])/i;
const dotSegment = /^(?:\.|%2e){1,2}$/i;

/** Scheme, host and port are the template's own; a value is one piece of the path or of the query. */
class UrlPlace implements Place {
  #text = "";

  literal(text: string): void {
    this.#text += text;
  }

  value(value: Printable): void {
    if (!origin.test(this.#text))
      throw new PlaceError("a value cannot be part of the scheme, host or port: write those out, up to the next slash");
    refuseAfterPercent(this.#text);
    this.#text += percentEncode(asText(value));
  }

  /** A path segment of one or two dots would climb out of its place and cannot be encoded: it is left empty. */
  finish(): string {
    const url = this.#text.trim();
    const end = url.indexOf("?") < 0 ? url.length : url.indexOf("?");
    const path = url.slice(0, end).split("/");
    return path.map((segment) => (dotSegment.test(segment) ? "" : segment)).join("/") + url.slice(end);
  }
}

/** Text for places that hold nothing but text. */
function asText(value: Printable): string {
  if (value === null) return "";
  if (value instanceof Decimal) return value.toString();
  if (typeof value === "object")
    throw new PlaceError("a whole list or group cannot be printed here: name one value of it");
  return String(value);
}

function jsonValue(value: Printable): string {
  return value instanceof Decimal ? value.toString() : JSON.stringify(value);
}

/** All that XML 1.0 (section 2.2) cannot carry, not even as a character reference; it is dropped. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const notXml = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Surrogate}/gu;

const references: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
  // Parsers turn these into a line feed or a blank unless they are written as references (XML 1.0, 2.11 and 3.3.3;
  // the last three in readers that follow XML 1.1).
  "\r": "&#13;",
  "\n": "&#10;",
  "\t": "&#9;",
  "\u0085": "&#133;",
  "\u2028": "&#8232;",
  "\u2029": "&#8233;",
};

function xmlText(text: string): string {
  return text.replace(/[&<>\r\u0085\u2028\u2029]/g, reference);
}

function xmlAttribute(text: string): string {
  return text.replace(/[&<>"'\r\n\t\u0085\u2028\u2029]/g, reference);
}

function htmlText(text: string): string {
  return text.replace(/[&<>"'\r]/g, reference);
}

function reference(character: string): string {
  return references[character] ?? "";
}

/**
 * What could end the section, alone or together with the text `before` it, is written outside it. An empty value keeps
 * its neighbours apart too.
 */
function cdata(text: string, before: string): string {
  if (text === "") return before.endsWith("]") ? "]]><![CDATA[" : "";
  return text.replace(/[\]\r\u0085\u2028\u2029]|^>/g, (character) => `]]>${xmlText(character)}<![CDATA[`);
}

function htmlAttribute(name: string, before: string, text: string): string {
  if (name.startsWith("on") || name === "style" || name === "srcdoc" || name === "srcset")
    throw new PlaceError(`a value cannot stand in the attribute ${name}`);
  if (!addressAttributes.has(name.replace(/^.*:/, ""))) return htmlText(text);
  const scheme = /^\s*(https?:\/\/[^\s/?#]+[/?#]|mailto:|tel:|sms:)/i.exec(before)?.[1];
  if (scheme === undefined)
    throw new PlaceError(`an address in ${name} must begin with its own text, such as mailto: or https://example.com/`);
  const encoded = percentEncode(text);
  return scheme.endsWith(":") ? encoded.replaceAll("%40", "@").replaceAll("%2B", "+") : encoded;
}

function percentEncode(text: string): string {
  const encoded = encodeURIComponent(text.replace(/\p{Surrogate}/gu, "\ufffd"));
  return encoded.replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const controls = /[\0-\x1f\x7f-\x9f\u2028\u2029]+/g;

/** A header of HTTP or mail, or a subject: whatever could end the line or the text (RFC 9110, section 5.5) is a blank. */
function oneLine(text: string): string {
  return text.replace(controls, " ");
}

function misplaced(because: string): PlaceError {
  return new PlaceError(`a value cannot stand ${because}: use text, a quoted attribute or CDATA`);
}

function refuseAfterAmpersand(text: string, where: string): void {
  if (where !== "cdata" && /&[#\w]*$/.test(text.slice(-12)))
    throw new PlaceError("a value cannot stand right after &: write &amp; for the sign itself");
}

function refuseAfterPercent(text: string): void {
  if (/%[0-9a-f]?$/i.test(text.slice(-2)))
    throw new PlaceError("a value cannot stand right after %: write %25 for the sign itself");
}
