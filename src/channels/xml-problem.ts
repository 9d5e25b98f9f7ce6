import { DOMParser } from "@xmldom/xmldom";
import { XMLValidator } from "fast-xml-parser";

/**
 * Why a rendered body cannot be sent as XML, or null. Cheap enough for every attempt: values are escaped where they are
 * printed, so what is left to find is a template whose tags do not match in one of its branches.
 */
export function xmlProblem(body: string): string | null {
  if (/<!DOCTYPE/i.test(body.replace(onlyText, ""))) return "the body must not have a DOCTYPE";
  const encoding = /^<\?xml[^>]*\bencoding\s*=\s*["']([^"']*)["']/.exec(body)?.[1];
  if (encoding !== undefined && encoding.toLowerCase() !== "utf-8")
    return "the body is sent as UTF-8: its XML declaration must not name another encoding";
  const valid = XMLValidator.validate(body);
  return valid === true ? null : notXml(`line ${valid.err.line} of the result`);
}

/** What stands in these is a value's text, not markup. */
const onlyText = /<!--[\s\S]*?-->|<!\[CDATA\[[\s\S]*?\]\]>/g;

/** As `xmlProblem`, and more exact at several times the cost: for when settings are saved. */
export function strictXmlProblem(body: string): string | null {
  // What xmldom lets pass although XML 1.0 does not: bare ampersands, control characters and `]]>` in text.
  const problem = xmlProblem(body);
  if (problem !== null) return problem;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  if (/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/.test(body)) return notXml("it holds a control character");
  let found = "its elements do not match";
  const stop = (level: string, message: string) => {
    if (level === "warning") return;
    found = message;
    throw new Error(message);
  };
  try {
    new DOMParser({ onError: stop }).parseFromString(body, "text/xml");
    return null;
  } catch {
    return notXml(found);
  }
}

function notXml(why: string): string {
  return `the rendered body is not well-formed XML (${why})`;
}
