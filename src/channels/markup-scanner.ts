/** Where the end of a piece of markup stands: what may be printed there, and how, follows from it. */
export type MarkupPosition =
  | { readonly where: "text" | "cdata" }
  | { readonly where: "attribute"; readonly name: string; readonly start: number }
  | { readonly where: "nowhere"; readonly because: string };

type State = "text" | "tag" | "attribute" | "cdata" | "comment" | "instruction" | "raw";

const rawTextElements = new Set(["script", "style", "xmp", "iframe", "noembed", "noframes", "noscript", "plaintext"]);
const cdataStart = "<![CDATA[";
const openings = ["<!--", cdataStart, "</"];
// As the HTML tokenizer reads them (https://html.spec.whatwg.org/multipage/parsing.html); XML allows less.
const htmlElement = /<\/?[A-Za-z][^\t\n\f\r />]*/y;
const xmlElement = /<\/?[^\t\n\f\r />!?<"'=]+/y;
const attributeName = /[^\t\n\f\r "'<>/=]+/y;
const unquotedValue = /[^\t\n\f\r >]+/y;
const blanks = /[\t\n\f\r ]*/y;

/**
 * Follows XML or HTML as it is being written, so that the place of a value is known before the value is printed.
 * It reads the text that is really there, so no turn of the template's control flow can mislead it.
 */
export class MarkupScanner {
  readonly #html: boolean;
  #state: State = "text";
  #at = 0;
  #quote = "";
  #instructionEnd = ">";
  #attribute = { name: "", start: 0 };
  #element = "";

  constructor(language: "xml" | "html") {
    this.#html = language === "html";
  }

  /** `text` is everything written so far and only ever grows. Answers where its end stands. */
  advance(text: string): MarkupPosition {
    while (this.#at < text.length && this.#step(text));
    return this.#position(text);
  }

  #position(text: string): MarkupPosition {
    if (this.#at < text.length && this.#state === "text") return nowhere("right after the start of a tag");
    switch (this.#state) {
      case "text":
      case "cdata":
        return { where: this.#state };
      case "attribute":
        return { where: "attribute", ...this.#attribute };
      case "tag":
        return nowhere("inside a tag but outside a quoted attribute");
      case "raw":
        return nowhere(`inside <${this.#element}>`);
      default:
        return nowhere(this.#state === "comment" ? "inside a comment" : "inside a declaration or instruction");
    }
  }

  /** Reads one construct; false when the rest of it is still to come. */
  #step(text: string): boolean {
    switch (this.#state) {
      case "text":
        return this.#readText(text);
      case "tag":
        return this.#readTag(text);
      case "attribute":
        return this.#skipTo(text, this.#quote, "tag");
      case "cdata":
        return this.#skipTo(text, "]]>", "text");
      case "comment":
        return this.#skipTo(text, "-->", "text");
      case "instruction":
        return this.#skipTo(text, this.#instructionEnd, "text");
      case "raw":
        return this.#skipRawText(text);
    }
  }

  #enter(state: State, at: number): true {
    this.#state = state;
    this.#at = at;
    return true;
  }

  #readText(text: string): boolean {
    const open = text.indexOf("<", this.#at);
    if (open < 0) return this.#enter("text", text.length);
    this.#at = open;
    const rest = text.slice(open, open + cdataStart.length);
    if (rest.startsWith("<!--")) return this.#enter("comment", open + 4);
    if (rest === cdataStart && !this.#html) return this.#enter("cdata", open + rest.length);
    if (openings.some((opening) => rest.length < opening.length && opening.startsWith(rest))) return false;
    if (/^<[!?]/.test(rest)) return this.#enterInstruction(rest.startsWith("<?") && !this.#html ? "?>" : ">", open + 2);
    return this.#readElement(text, open);
  }

  #enterInstruction(end: string, at: number): true {
    this.#instructionEnd = end;
    return this.#enter("instruction", at);
  }

  #readElement(text: string, open: number): boolean {
    const start = match(this.#html ? htmlElement : xmlElement, text, open);
    const closes = text.startsWith("</", open);
    if (start === "" && closes) return this.#enterInstruction(">", open + 2);
    if (start === "") return this.#enter("text", open + 1);
    if (open + start.length === text.length) return false;
    this.#element = closes ? "" : start.slice(1).toLowerCase();
    return this.#enter("tag", open + start.length);
  }

  #readTag(text: string): boolean {
    const at = this.#at + match(blanks, text, this.#at).length;
    if (at === text.length) return false;
    if (text[at] === ">") return this.#enter(this.#isRawText() ? "raw" : "text", at + 1);
    if (text[at] === "/" || text[at] === "=" || text[at] === '"' || text[at] === "'") return this.#enter("tag", at + 1);
    if (text[at] === "<") return this.#enter("text", at);
    return this.#readAttribute(text, at);
  }

  #readAttribute(text: string, at: number): boolean {
    const name = match(attributeName, text, at);
    const equals = at + name.length + match(blanks, text, at + name.length).length;
    if (equals === text.length) return false;
    if (text[equals] !== "=") return this.#enter("tag", equals);
    const value = equals + 1 + match(blanks, text, equals + 1).length;
    if (value === text.length) return false;
    if (text[value] !== '"' && text[value] !== "'") {
      const end = value + match(unquotedValue, text, value).length;
      return end < text.length && this.#enter("tag", end);
    }
    this.#quote = text[value] ?? "";
    this.#attribute = { name: name.toLowerCase(), start: value + 1 };
    return this.#enter("attribute", value + 1);
  }

  #isRawText(): boolean {
    return this.#html && rawTextElements.has(this.#element);
  }

  #skipTo(text: string, end: string, next: State): boolean {
    const found = text.indexOf(end, this.#at);
    if (found >= 0) return this.#enter(next, found + end.length);
    // The end may be written in two pieces: read its beginning again next time.
    this.#at = Math.max(this.#at, text.length - end.length + 1);
    return false;
  }

  #skipRawText(text: string): boolean {
    const found = text.toLowerCase().indexOf(`</${this.#element}`, this.#at);
    return found >= 0 && this.#enter("text", found);
  }
}

function nowhere(because: string): MarkupPosition {
  return { where: "nowhere", because };
}

function match(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? "";
}
