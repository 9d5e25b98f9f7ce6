import { createHash, randomBytes } from "node:crypto";
import type { Document, Element } from "@xmldom/xmldom";
import { DOMParser, XMLSerializer } from "@xmldom/xmldom";
import type { Authentication } from "./contract.ts";

type UsernameToken = Extract<Authentication, { type: "usernameToken" }>;

export type Secured =
  | { readonly ok: true; readonly envelope: string }
  | { readonly ok: false; readonly detail: string };

const soapNamespaces = ["http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"];
const wss = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss";
const wsse = `${wss}-wssecurity-secext-1.0.xsd`;
const wsu = `${wss}-wssecurity-utility-1.0.xsd`;
const passwordTypes = {
  text: `${wss}-username-token-profile-1.0#PasswordText`,
  digest: `${wss}-username-token-profile-1.0#PasswordDigest`,
};
const base64Binary = `${wss}-soap-message-security-1.0#Base64Binary`;

/**
 * Puts a WS-Security UsernameToken (OASIS profile 1.1) into the header of a SOAP 1.1 or 1.2 envelope, making the header
 * where there is none and sharing a Security header that is there. Refuses text that is not such an envelope.
 */
export function addUsernameToken(envelope: string, token: UsernameToken, createdAt: Date): Secured {
  const document = parse(envelope);
  const root = document?.documentElement ?? null;
  if (document === null || root === null || !isSoap(root, "Envelope")) {
    return { ok: false, detail: "The body is not a SOAP envelope, so there is no place for the UsernameToken." };
  }
  securityHeader(document, root).appendChild(tokenElement(document, token, createdAt));
  // A carriage return that survived parsing was written as a reference; as it stands it would be read as a line feed.
  return { ok: true, envelope: new XMLSerializer().serializeToString(document).replaceAll("\r", "&#13;") };
}

function parse(text: string): Document | null {
  try {
    const onError = (level: string, message: string) => {
      if (level !== "warning") throw new Error(message);
    };
    return new DOMParser({ onError }).parseFromString(text, "text/xml");
  } catch {
    return null;
  }
}

function isSoap(element: Element, localName: string): boolean {
  return element.localName === localName && soapNamespaces.includes(element.namespaceURI ?? "");
}

function childElements(parent: Element): Element[] {
  return [...parent.childNodes].filter((node): node is Element => node.nodeType === node.ELEMENT_NODE);
}

/** The header for the final receiver: one with an actor or role is for somebody on the way. */
function securityHeader(document: Document, root: Element): Element {
  const soap = root.namespaceURI ?? "";
  const prefixed = (name: string) => (root.prefix ? `${root.prefix}:${name}` : name);
  let header = childElements(root).find((element) => isSoap(element, "Header"));
  if (header === undefined) {
    header = document.createElementNS(soap, prefixed("Header"));
    root.insertBefore(header, root.firstChild);
  }
  const existing = childElements(header).find((element) => {
    const forOthers = element.hasAttributeNS(soap, "actor") || element.hasAttributeNS(soap, "role");
    return element.localName === "Security" && element.namespaceURI === wsse && !forOthers;
  });
  if (existing !== undefined) return existing;
  const security = document.createElementNS(wsse, "wsse:Security");
  // An attribute needs a prefix to be in a namespace; an envelope may have none.
  security.setAttributeNS(soap, `${root.prefix || "soapenv"}:mustUnderstand`, "1");
  header.appendChild(security);
  return security;
}

function tokenElement(document: Document, token: UsernameToken, createdAt: Date): Element {
  const nonce = randomBytes(16);
  const created = createdAt.toISOString();
  const element = (namespace: string, name: string, text: string, attributes: Record<string, string> = {}) => {
    const made = document.createElementNS(namespace, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== "") made.appendChild(document.createTextNode(text));
    return made;
  };
  const digest = token.passwordType === "digest";
  const password = digest ? passwordDigest(nonce, created, token.password) : token.password;
  const usernameToken = element(wsse, "wsse:UsernameToken", "");
  usernameToken.appendChild(element(wsse, "wsse:Username", token.username));
  usernameToken.appendChild(element(wsse, "wsse:Password", password, { Type: passwordTypes[token.passwordType] }));
  usernameToken.appendChild(element(wsse, "wsse:Nonce", nonce.toString("base64"), { EncodingType: base64Binary }));
  usernameToken.appendChild(element(wsu, "wsu:Created", created));
  return usernameToken;
}

/** Base64(SHA-1(nonce + created + password)), UsernameToken Profile section 3.1; SHA-1 is what the profile fixes. */
function passwordDigest(nonce: Buffer, created: string, password: string): string {
  return createHash("sha1").update(nonce).update(created).update(password).digest("base64");
}
