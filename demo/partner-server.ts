import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import path from "node:path";
import iconv from "iconv-lite";
import { projectRoot } from "../src/project-root.ts";
import { type Behaviour, behaviourFromQuery, type Misbehave, replacesAnswer, respond } from "./behaviour.ts";
import { Newest } from "./newest.ts";
import { type Decision, type Fields, formats, type PartnerFormat, partnerFormats } from "./partner-formats.ts";
import { receivedPage } from "./received-page.ts";
import { close, readBody, serve } from "./serve.ts";

const keptLeads = 1_000;
const keptKeys = 100_000;

export interface ReceivedLead {
  readonly receivedAt: string;
  readonly idempotencyKey: string | null;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  readonly fields: Fields;
  readonly decision: Decision;
}

/** Requests since the start. `repeats` came with a key that had been answered; `disturbed` were told to go wrong. */
export interface Totals {
  accepted: number;
  rejected: number;
  invalid: number;
  repeats: number;
  disturbed: number;
}

export interface PartnerServer {
  readonly url: string;
  /** The newest 1,000 leads, oldest first; repeats are not among them. */
  received(format: PartnerFormat): readonly ReceivedLead[];
  totals(format: PartnerFormat): Readonly<Totals>;
  /** Until called again, asks `misbehave` how to answer each request; null ends it. */
  misbehave(format: PartnerFormat, misbehave: Misbehave | null): void;
  stop(): Promise<void>;
}

/** One partner's memory. */
interface Desk {
  readonly format: PartnerFormat;
  readonly leads: Newest<ReceivedLead>;
  readonly totals: Totals;
  readonly answered: Map<string, Decision>;
  misbehave: Misbehave | null;
}

/** Starts one server that plays five partners, each at its own path: /xml, /json, /soap11, /soap12, /post. */
export async function startPartnerServer(host: string, port: number): Promise<PartnerServer> {
  const desks = new Map(partnerFormats.map((format) => [format, openDesk(format)]));
  const deskOf = (format: PartnerFormat): Desk => {
    const desk = desks.get(format);
    if (!desk) {
      throw new Error(`There is no demo partner for ${format}.`);
    }
    return desk;
  };
  const { server, url } = await serve(host, port, (request, response) => route(desks, request, response));
  return {
    url,
    received: (format) => deskOf(format).leads.list(),
    totals: (format) => deskOf(format).totals,
    misbehave(format, misbehave) {
      deskOf(format).misbehave = misbehave;
    },
    stop: () => close(server),
  };
}

function openDesk(format: PartnerFormat): Desk {
  const totals = { accepted: 0, rejected: 0, invalid: 0, repeats: 0, disturbed: 0 };
  return { format, leads: new Newest(keptLeads), totals, answered: new Map(), misbehave: null };
}

async function route(
  desks: ReadonlyMap<string, Desk>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? "/", `http://${request.headers.host ?? "localhost"}`);
  const desk = desks.get(url.pathname.slice(1));
  if (desk && request.method !== "GET") {
    return receive(desk, url, request, response);
  }
  const send = (status: number, type: string, body: string): void =>
    void response.writeHead(status, { "content-type": type }).end(body);
  if (desk && url.searchParams.has("wsdl") && desk.format.startsWith("soap")) {
    return send(200, "text/xml; charset=utf-8", await describeService(desk.format, url));
  }
  if (desk) {
    return send(405, "text/plain", "Send a lead with POST.\n");
  }
  if (url.pathname === "/received") {
    const wanted = [...desks.values()].filter(({ format }) => (url.searchParams.get("partner") ?? format) === format);
    const lists = wanted.map(({ format, totals, leads }) => [format, { totals, leads: leads.list() }]);
    return send(200, "application/json", JSON.stringify(Object.fromEntries(lists)));
  }
  if (url.pathname === "/") {
    const parts = [...desks.values()].map(({ format, totals, leads }) => ({ format, totals, leads: leads.list() }));
    return send(200, "text/html; charset=utf-8", receivedPage(parts));
  }
  send(404, "text/plain", "Nothing here.\n");
}

async function receive(desk: Desk, url: URL, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const bytes = await readBody(request);
  const body = bytes === null ? "" : decode(bytes, request.headers["content-type"]);
  const told: Behaviour = desk.misbehave?.({ url, headers: request.headers, body }) ?? behaviourFromQuery(url);
  desk.totals.disturbed += replacesAnswer(told) ? 1 : 0;
  await respond(response, told, () => {
    const decision: Decision =
      bytes === null
        ? { kind: "invalid", status: 413, reason: "the body is too long" }
        : decideOnce(desk, request.headers, body);
    return formats[desk.format].answer(decision);
  });
}

function decode(bytes: Buffer, contentType = ""): string {
  const charset = /charset="?([^";\s]+)/i.exec(contentType)?.[1] ?? "utf-8";
  return iconv.encodingExists(charset) ? iconv.decode(bytes, charset) : bytes.toString("utf8");
}

/** The same key gets the same answer, whatever it comes with. */
function decideOnce(desk: Desk, headers: IncomingMessage["headers"], body: string): Decision {
  const idempotencyKey = String(headers["idempotency-key"] ?? "") || null;
  const known = idempotencyKey === null ? undefined : desk.answered.get(idempotencyKey);
  if (known) {
    desk.totals.repeats += 1;
    return known;
  }
  const parsed = formats[desk.format].parse(body, headers);
  const fields = parsed.ok ? parsed.fields : [];
  const decision = parsed.ok
    ? decide(desk, fields)
    : { kind: "invalid" as const, status: parsed.status, reason: parsed.reason };
  desk.totals[decision.kind] += 1;
  desk.leads.add({ receivedAt: new Date().toISOString(), idempotencyKey, headers, body, fields, decision });
  if (idempotencyKey !== null && decision.kind !== "invalid") {
    remember(desk.answered, idempotencyKey, decision);
  }
  return decision;
}

function remember(answered: Map<string, Decision>, key: string, decision: Decision): void {
  answered.set(key, decision);
  const [oldest] = answered.keys();
  if (answered.size > keptKeys && oldest !== undefined) {
    answered.delete(oldest);
  }
}

/** Areas of the United Kingdom that none of the demo partners serves: Northern Ireland, the islands, the far north. */
const uncoveredPostcode = /^(BT|JE|GY|IM|HS|ZE|KW)\d/i;

/** Any spelling of a field's name will do: `firstName`, `first_name`, `FirstName`. */
function decide(desk: Desk, fields: Fields): Decision {
  const find = (pattern: RegExp): string | undefined =>
    fields
      .find(([name, value]) => value.trim() !== "" && pattern.test(name.toLowerCase().replace(/[^a-z]/g, "")))?.[1]
      .trim();
  const email = find(/email$/);
  const missing = [
    [find(/name$/), "name"],
    [email ?? find(/(phone|mobile)$/), "email or phone"],
  ].filter(([value]) => value === undefined);
  if (missing.length > 0) {
    return { kind: "invalid", status: 422, reason: `missing: ${missing.map(([, what]) => what).join(", ")}` };
  }
  if (email !== undefined && !/^[^\s@]+@[^\s@]+$/.test(email)) {
    return { kind: "invalid", status: 422, reason: "email is not an address" };
  }
  if (uncoveredPostcode.test(find(/(postcode|zip|zipcode|postalcode)$/) ?? "")) {
    return { kind: "rejected", reason: "postcode not covered" };
  }
  const number = String(desk.totals.accepted + 1).padStart(6, "0");
  return { kind: "accepted", reference: `${desk.format.toUpperCase()}-${number}` };
}

async function describeService(format: PartnerFormat, url: URL): Promise<string> {
  const text = await readFile(path.join(projectRoot, "demo", "lead-service.wsdl"), "utf8");
  const binding =
    format === "soap12" ? "http://schemas.xmlsoap.org/wsdl/soap12/" : "http://schemas.xmlsoap.org/wsdl/soap/";
  return text.replace("BINDING", binding).replace("ADDRESS", `${url.origin}${url.pathname}`);
}
