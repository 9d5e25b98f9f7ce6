import { DOMParser, type Document, type Element, onErrorStopParsing } from "@xmldom/xmldom";
import type { Answer } from "./behaviour.ts";

export const partnerFormats = ["xml", "json", "soap11", "soap12", "post"] as const;
export type PartnerFormat = (typeof partnerFormats)[number];

/** Both SOAP partners know this one operation. */
export const soapAction = "urn:demo-partner:SubmitLead";
const serviceNamespace = "urn:demo-partner";

/** Names and values as they were found at the leaves of the document. */
export type Fields = readonly (readonly [name: string, value: string])[];

export type Decision =
  | { readonly kind: "accepted"; readonly reference: string }
  | { readonly kind: "rejected"; readonly reason: string }
  /** The request itself is wrong; `status` is what plain HTTP would answer. */
  | { readonly kind: "invalid"; readonly status: number; readonly reason: string };

type Parsed =
  | { readonly ok: true; readonly fields: Fields }
  | { readonly ok: false; readonly status: number; readonly reason: string };

export interface Format {
  /** Reads a request as a partner of this kind does, strictly. */
  parse(body: string, headers: Readonly<Record<string, string | string[] | undefined>>): Parsed;
  answer(decision: Decision): Answer;
}

export const formats: Readonly<Record<PartnerFormat, Format>> = {
  xml: {
    parse: (body, headers) => requireType(headers, ["application/xml", "text/xml"]) ?? parseXml(body),
    answer: (decision) =>
      answerWith(
        statusOf(decision),
        "application/xml; charset=utf-8",
        xmlDocument("response", resultElements(decision)),
      ),
  },
  json: {
    parse: (body, headers) => requireType(headers, ["application/json"]) ?? parseJson(body),
    answer: (decision) =>
      answerWith(
        decision.kind === "accepted" ? 201 : statusOf(decision),
        "application/json",
        JSON.stringify(jsonResult(decision)),
      ),
  },
  soap11: {
    parse: (body, headers) =>
      requireType(headers, ["text/xml"]) ?? requireSoapAction(headers) ?? parseEnvelope(body, soap11Namespace),
    answer: (decision) => soapAnswer(decision, soap11Namespace),
  },
  soap12: {
    parse: (body, headers) =>
      requireType(headers, ["application/soap+xml"]) ?? requireAction(headers) ?? parseEnvelope(body, soap12Namespace),
    answer: (decision) => soapAnswer(decision, soap12Namespace),
  },
  post: {
    parse: (body, headers) =>
      requireType(headers, ["application/x-www-form-urlencoded"]) ?? {
        ok: true,
        fields: [...new URLSearchParams(body)],
      },
    answer: (decision) => answerWith(statusOf(decision), "text/plain; charset=utf-8", plainResult(decision)),
  },
};

const soap11Namespace = "http://schemas.xmlsoap.org/soap/envelope/";
const soap12Namespace = "http://www.w3.org/2003/05/soap-envelope";

type Headers = Readonly<Record<string, string | string[] | undefined>>;

function refuse(status: number, reason: string): Parsed {
  return { ok: false, status, reason };
}

function requireType(headers: Headers, allowed: readonly string[]): Parsed | null {
  const given =
    String(headers["content-type"] ?? "none")
      .split(";")[0]
      ?.trim()
      .toLowerCase() ?? "";
  return allowed.includes(given) ? null : refuse(415, `content type is ${given}, not ${allowed.join(" or ")}`);
}

/** SOAP 1.1, section 6.1.1: the header is there, its value a quoted URI. */
function requireSoapAction(headers: Headers): Parsed | null {
  const given = headers.soapaction;
  return given === `"${soapAction}"` ? null : refuse(400, `SOAPAction is ${given ?? "missing"}, not "${soapAction}"`);
}

/** RFC 3902: the action is a parameter of the media type. */
function requireAction(headers: Headers): Parsed | null {
  const given = /;\s*action=(?:"([^"]*)"|([^;\s]*))/i.exec(String(headers["content-type"]));
  const action = given?.[1] ?? given?.[2] ?? "missing";
  return action === soapAction ? null : refuse(400, `action is ${action}, not ${soapAction}`);
}

function parseDocument(body: string): Document | string {
  try {
    return new DOMParser({ onError: onErrorStopParsing }).parseFromString(body, "text/xml");
  } catch (error) {
    return `not well-formed: ${error instanceof Error ? error.message.split("\n")[0] : error}`;
  }
}

function parseXml(body: string): Parsed {
  const document = parseDocument(body);
  return typeof document === "string" || !document.documentElement
    ? refuse(400, typeof document === "string" ? document : "not well-formed: no element")
    : { ok: true, fields: leavesOf(document.documentElement) };
}

function parseEnvelope(body: string, namespace: string): Parsed {
  const document = parseDocument(body);
  if (typeof document === "string") {
    return refuse(400, document);
  }
  const envelope = document.documentElement;
  if (envelope?.localName !== "Envelope" || envelope.namespaceURI !== namespace) {
    return refuse(400, `the root is not an Envelope of ${namespace}`);
  }
  const soapBody = childElements(envelope).find(
    (child) => child.localName === "Body" && child.namespaceURI === namespace,
  );
  const operation = soapBody && childElements(soapBody)[0];
  return operation
    ? { ok: true, fields: leavesOf(operation) }
    : refuse(400, "the Envelope has no Body with an operation in it");
}

function childElements(element: Element): Element[] {
  return Array.from(element.children);
}

function leavesOf(element: Element): Fields {
  const attributes = Array.from(element.attributes).filter(({ name }) => !/^xmlns(:|$)|:/.test(name));
  const own = attributes.map(({ name, value }) => [name, value] as const);
  const children = childElements(element);
  const text =
    children.length === 0 ? [[element.localName ?? element.nodeName, element.textContent ?? ""] as const] : [];
  return [...own, ...text, ...children.flatMap(leavesOf)];
}

function parseJson(body: string): Parsed {
  try {
    const document: unknown = JSON.parse(body);
    return typeof document === "object" && document !== null
      ? { ok: true, fields: jsonLeaves("", document) }
      : refuse(400, "not a JSON object");
  } catch (error) {
    return refuse(400, `not JSON: ${error instanceof Error ? error.message : error}`);
  }
}

function jsonLeaves(name: string, value: unknown): Fields {
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).flatMap(([key, child]) => jsonLeaves(Array.isArray(value) ? name : key, child));
  }
  return value === null ? [] : [[name, String(value)]];
}

function statusOf(decision: Decision): number {
  return decision.kind === "invalid" ? decision.status : 200;
}

function answerWith(status: number, contentType: string, body: string): Answer {
  return { status, contentType, body };
}

function jsonResult(decision: Decision): object {
  if (decision.kind === "accepted") {
    return { outcome: "success", lead: { id: decision.reference } };
  }
  return { outcome: decision.kind === "rejected" ? "rejected" : "error", reason: decision.reason };
}

function plainResult(decision: Decision): string {
  return decision.kind === "accepted"
    ? `ACCEPTED ${decision.reference}\n`
    : `${decision.kind.toUpperCase()} ${decision.reason}\n`;
}

function resultElements(decision: Decision): string {
  const detail =
    decision.kind === "accepted"
      ? `<reference>${decision.reference}</reference>`
      : `<reason>${escapeMarkup(decision.reason)}</reason>`;
  return `<status>${decision.kind}</status>${detail}`;
}

function xmlDocument(root: string, content: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root}>${content}</${root}>`;
}

/** A wrong request is a fault of the sender: 500 in SOAP 1.1, 400 in SOAP 1.2. */
function soapAnswer(decision: Decision, namespace: string): Answer {
  const isNewer = namespace === soap12Namespace;
  const contentType = isNewer ? "application/soap+xml; charset=utf-8" : "text/xml; charset=utf-8";
  if (decision.kind === "invalid") {
    const reason = escapeMarkup(decision.reason);
    const fault = isNewer
      ? `<soap:Code><soap:Value>soap:Sender</soap:Value></soap:Code><soap:Reason><soap:Text xml:lang="en">${reason}</soap:Text></soap:Reason>`
      : `<faultcode>soap:Client</faultcode><faultstring>${reason}</faultstring>`;
    return answerWith(
      decision.status === 415 ? 415 : isNewer ? 400 : 500,
      contentType,
      envelope(namespace, `<soap:Fault>${fault}</soap:Fault>`),
    );
  }
  const result = `<SubmitLeadResponse xmlns="${serviceNamespace}">${resultElements(decision)}</SubmitLeadResponse>`;
  return answerWith(200, contentType, envelope(namespace, result));
}

function envelope(namespace: string, content: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<soap:Envelope xmlns:soap="${namespace}"><soap:Body>${content}</soap:Body></soap:Envelope>`;
}

export function escapeMarkup(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
