import type { Dispatcher } from "undici";
import type { AddressGuard } from "./address-guard.ts";
import { readOutboundUrl } from "./address-guard.ts";
import type { Arrival, FailureCode } from "./contract.ts";
import { agentFor, OutboundError, tlsReason } from "./outbound.ts";
import { readAnswer } from "./read-answer.ts";

/** One HTTP request and its answer: no redirect, no authentication, no second try. Everything we send goes through here. */

export interface HttpExchange {
  readonly method: string;
  readonly url: URL;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  /** Covers finding the host, connecting, sending and reading the whole answer. */
  readonly timeoutMs: number;
  /** How much of the answer is read and kept, counted after decompression. */
  readonly maxBodyBytes: number;
}

export interface Answer {
  readonly kind: "answer";
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly truncated: boolean;
  readonly unreadable: string | null;
}

export interface Failure {
  readonly kind: "failure";
  readonly code: FailureCode;
  readonly detail: string;
  readonly arrived: Arrival;
}

export type Exchanged = Answer | Failure;

export function failure(code: FailureCode, detail: string, arrived: Arrival = "no"): Failure {
  return { kind: "failure", code, detail, arrived };
}

/** Sends one request to an address that the guard permits and reads the answer. Never throws for what a network does. */
export async function exchange(request: HttpExchange, guard: AddressGuard): Promise<Exchanged> {
  if (request.timeoutMs <= 0) return failure("timeout", "No time was left to send the request.");
  const url = readOutboundUrl(request.url.href);
  if (!url.ok) return failure("refused_address", url.detail);
  if (!token.test(request.method) || refusedMethods.has(request.method.toUpperCase())) {
    return failure("protocol", "The HTTP method is not one that can be sent.");
  }
  const headers = wireHeaders(request.headers);
  if (!headers.ok) return failure("protocol", headers.detail);
  const received = await dispatch(request, headers.headers, guard);
  if (received.kind === "failure") return received;
  const { status, headers: answerHeaders, bytes, cut } = received;
  const answer = await readAnswer({ bytes, cut, headers: answerHeaders, maxBytes: request.maxBodyBytes });
  return { kind: "answer", status, headers: answerHeaders, ...answer };
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const refusedMethods: ReadonlySet<string> = new Set(["CONNECT", "TRACE"]);

/** Belong to the connection, not to the message (RFC 9110 section 7.6.1), or are computed from it. */
const connectionHeaders: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

type WireHeaders = { readonly ok: true; readonly headers: string[] } | { readonly ok: false; readonly detail: string };

/** A flat list as undici takes it; text outside ASCII travels as UTF-8. Refuses line breaks and other control characters. */
function wireHeaders(headers: HttpExchange["headers"]): WireHeaders {
  const flat: string[] = [];
  for (const [name, value] of headers) {
    if (!token.test(name)) return { ok: false, detail: "A header has a name that HTTP does not allow." };
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
    if (/[\x00-\x08\x0a-\x1f\x7f]/.test(value)) {
      return { ok: false, detail: `The header ${name} holds a line break or another control character.` };
    }
    if (connectionHeaders.has(name.toLowerCase())) continue;
    flat.push(name, Buffer.from(value.trim(), "utf8").toString("latin1"));
  }
  return { ok: true, headers: flat };
}

interface Received {
  readonly kind: "received";
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Buffer;
  /** The answer was longer than these bytes. */
  readonly cut: boolean;
}

function dispatch(request: HttpExchange, headers: string[], guard: AddressGuard): Promise<Received | Failure> {
  return new Promise((resolve) => {
    const receiver = new Receiver(request.maxBodyBytes, resolve);
    receiver.startTimer(request.timeoutMs);
    agentFor(guard).dispatch(
      {
        origin: request.url.origin,
        path: request.url.pathname + request.url.search,
        method: request.method,
        headers,
        body: request.body === "" ? null : request.body,
      },
      receiver,
    );
  });
}

type Controller = Dispatcher.DispatchController;

/** Collects one answer. Settles once: with the answer, when enough of it is there, when it fails, or when time is up. */
class Receiver implements Dispatcher.DispatchHandler {
  readonly #maxBodyBytes: number;
  readonly #resolve: (result: Received | Failure) => void;
  #timer: NodeJS.Timeout | undefined;
  /** Set when the request is about to be written: from then on it may have reached the other side. */
  #controller: Controller | null = null;
  #status: number | null = null;
  #headers: Readonly<Record<string, string>> = {};
  #chunks: Buffer[] = [];
  #size = 0;
  #settled = false;

  constructor(maxBodyBytes: number, resolve: (result: Received | Failure) => void) {
    this.#maxBodyBytes = maxBodyBytes;
    this.#resolve = resolve;
  }

  startTimer(timeoutMs: number): void {
    this.#timer = setTimeout(() => {
      this.#settle(failure("timeout", this.#timeoutDetail(timeoutMs), this.#arrived()));
      this.#controller?.abort(new Error("The time for this request is up."));
    }, timeoutMs);
  }

  onRequestStart(controller: Controller): void {
    this.#controller = controller;
    // The time was up while the connection was being opened: nothing has been written, and nothing will be.
    if (this.#settled) controller.abort(new Error("The time for this request is up."));
  }

  onResponseStart(
    _controller: Controller,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200) return;
    this.#status = status;
    this.#headers = joinHeaders(headers);
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    this.#size += chunk.length;
    this.#chunks.push(chunk);
    if (this.#size <= this.#maxBodyBytes) return;
    this.#settle(this.#received(true));
    controller.abort(new Error("More of the answer than is kept."));
  }

  onResponseEnd(): void {
    this.#settle(this.#received(false));
  }

  onResponseError(_controller: Controller, error: Error): void {
    if (this.#controller === null) this.#settle(beforeSending(error));
    else this.#settle(afterSending(error, this.#status !== null, this.#arrived()));
  }

  #settle(result: Received | Failure): void {
    if (this.#settled) return;
    this.#settled = true;
    clearTimeout(this.#timer);
    this.#resolve(result);
  }

  #received(cut: boolean): Received {
    const bytes = Buffer.concat(this.#chunks).subarray(0, this.#maxBodyBytes);
    return { kind: "received", status: this.#status ?? 0, headers: this.#headers, bytes, cut };
  }

  /** A status that is no 2xx says that the request got there and was not accepted, however the answer ends. */
  #arrived(): Arrival {
    if (this.#controller === null) return "no";
    return this.#status === null || (this.#status >= 200 && this.#status < 300) ? "unknown" : "yes";
  }

  #timeoutDetail(timeoutMs: number): string {
    const within = `within ${timeoutMs >= 1000 ? `${Math.round(timeoutMs / 100) / 10} s` : `${timeoutMs} ms`}`;
    if (this.#controller === null) return `No connection was made ${within}.`;
    if (this.#status === null) return `No answer came ${within}.`;
    return `An answer with status ${this.#status} began but did not end ${within}.`;
  }
}

function joinHeaders(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const joined = Object.entries(headers).map(([name, value]) => [
    name.toLowerCase(),
    Array.isArray(value) ? value.join(", ") : (value ?? ""),
  ]);
  return Object.fromEntries(joined);
}

function beforeSending(error: NodeJS.ErrnoException): Failure {
  if (error instanceof OutboundError) return failure(error.code, error.message);
  if (error.code === "UND_ERR_INVALID_ARG") return failure("protocol", "The request cannot be put into HTTP.");
  return failure("connect", `The connection failed (${error.code ?? "unknown reason"}).`);
}

function afterSending(error: NodeJS.ErrnoException, answered: boolean, arrived: Arrival): Failure {
  const code = error.code ?? "";
  if (code === "UND_ERR_HEADERS_OVERFLOW") return failure("protocol", "The answer's headers are too long.", arrived);
  if (error.name === "HTTPParserError" || error.message.startsWith("bad ") || code.startsWith("UND_ERR_RES_")) {
    // Once the answer has begun, what does not parse is where it broke off.
    if (answered) return failure("cut_off", "The answer broke off.", arrived);
    return failure("protocol", "The answer is not HTTP.", arrived);
  }
  // With TLS 1.3 a server that wants a client certificate says so after we believe the handshake done.
  if (code.startsWith("ERR_SSL_")) return failure("tls", `The secure connection failed: ${tlsReason(code)}.`, arrived);
  if (answered) return failure("cut_off", "The connection closed in the middle of the answer.", arrived);
  return failure("reset", "The connection closed before an answer came.", arrived);
}
