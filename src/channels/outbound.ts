import type { LookupFunction, Socket } from "node:net";
import { connect, isIP } from "node:net";
import { Agent, buildConnector } from "undici";
import type { AddressGuard, Lookup, ResolvedAddress } from "./address-guard.ts";
import { normaliseHost, permitAddresses, portOf } from "./address-guard.ts";
import type { FailureCode } from "./contract.ts";

/**
 * Connections to addresses that somebody else typed in. A host is resolved once, the addresses found are checked, and
 * one of exactly those is connected to: a name that answers differently the second time (DNS rebinding) gains nothing.
 */

/** From the first packet to an open connection, TLS included; the request's own time limit may end it sooner. */
const connectTimeoutMs = 10_000;

/** An answer's status line and headers; more ends the connection. */
const maxHeaderBytes = 32 * 1024;

/** Why no connection came about. Thrown only towards undici and nodemailer, which pass it back to us unchanged. */
export class OutboundError extends Error {
  readonly code: FailureCode;
  constructor(code: FailureCode, detail: string) {
    super(detail);
    this.code = code;
  }
}

export type Connected =
  | { readonly ok: true; readonly socket: Socket }
  | { readonly ok: false; readonly error: OutboundError };

/** Every connection that is open or being opened: an agent does not know of the latter. */
const sockets = new Set<Socket>();

/** Opens a TCP connection to a host that the guard permits, within ten seconds. Refusals and failures are values. */
export async function connectGuarded(guard: AddressGuard, host: string, port: number): Promise<Connected> {
  const startedMs = performance.now();
  const permitted = await withinConnectTimeout(permitAddresses(guard, host, port));
  if (permitted === null) return notConnected("timeout", `No address was found for ${host} within 10 seconds.`);
  if (!permitted.ok) return notConnected(permitted.code, permitted.detail);
  const leftMs = connectTimeoutMs - (performance.now() - startedMs);
  return openSocket(normaliseHost(host) ?? host, port, permitted.addresses, leftMs);
}

function notConnected(code: FailureCode, detail: string): Connected {
  return { ok: false, error: new OutboundError(code, detail) };
}

async function withinConnectTimeout<T>(promise: Promise<T>): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), connectTimeoutMs).unref();
  });
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

function openSocket(
  host: string,
  port: number,
  addresses: readonly ResolvedAddress[],
  timeoutMs: number,
): Promise<Connected> {
  return new Promise((resolve) => {
    // A literal address is never looked up; a name gets the addresses that were checked, tried in turn (RFC 8305).
    const lookup = answerWith(addresses);
    const socket = connect({ host, port, lookup, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 });
    sockets.add(socket);
    const timer = setTimeout(() => {
      socket.destroy(new OutboundError("timeout", `No connection to ${host} port ${port} within 10 seconds.`));
    }, timeoutMs);
    socket.once("connect", () => {
      clearTimeout(timer);
      resolve({ ok: true, socket });
    });
    socket.once("close", () => {
      clearTimeout(timer);
      sockets.delete(socket);
    });
    // Stays on: between here and the new owner's first listener an error must not end the process.
    socket.on("error", (error) => resolve({ ok: false, error: connectError(error, host, port) }));
  });
}

function answerWith(addresses: readonly ResolvedAddress[]): LookupFunction {
  return (_hostname, options, callback) => {
    const [first] = addresses;
    if (options.all) callback(null, [...addresses]);
    else callback(null, first?.address ?? "", first?.family);
  };
}

const connectReasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: "refused the connection",
  EHOSTUNREACH: "cannot be reached",
  ENETUNREACH: "cannot be reached",
  ECONNRESET: "closed the connection while it was being opened",
  ETIMEDOUT: "did not answer",
};

function connectError(error: NodeJS.ErrnoException, host: string, port: number): OutboundError {
  if (error instanceof OutboundError) return error;
  const reason = connectReasons[error.code ?? ""] ?? `could not be connected to (${error.code ?? "unknown reason"})`;
  return new OutboundError("connect", `${host} port ${port} ${reason}.`);
}

/** A handshake that the network cut short may go well next time; a certificate that is wrong will be wrong again. */
const cutShort: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "ETIMEDOUT", "UND_ERR_SOCKET"]);

/** What an error in or after a TLS handshake with `host` means. Also for mail, which does its own handshake. */
export function tlsError(error: NodeJS.ErrnoException, host: string): OutboundError {
  const code = error.code ?? "unknown reason";
  if (code === "UND_ERR_CONNECT_TIMEOUT") {
    return new OutboundError("timeout", `${host} did not finish the TLS handshake within 10 seconds.`);
  }
  if (cutShort.has(code))
    return new OutboundError("connect", `${host} closed the connection during the TLS handshake.`);
  return new OutboundError("tls", `No secure connection to ${host}: ${tlsReason(code)}.`);
}

const tlsReasons: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "its certificate has expired",
  CERT_NOT_YET_VALID: "its certificate is not valid yet",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is self-signed",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate is self-signed",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate does not come with the certificates that vouch for it",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate is not issued by an authority we trust",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another host",
};

export function tlsReason(code: string): string {
  return tlsReasons[code] ?? `the TLS handshake failed (${code})`;
}

function guardedConnector(guard: AddressGuard): buildConnector.connector {
  // undici's own connector, handed a connection that is already open, adds TLS and keeps sessions for resumption.
  const secure = buildConnector({ timeout: connectTimeoutMs });
  return (options, callback) => {
    const { hostname, protocol } = options;
    const connected = connectGuarded(guard, hostname, portOf(options)).catch((error: unknown) => ({
      ok: false as const,
      error: error instanceof Error ? error : new Error("The connection failed without a reason."),
    }));
    void connected.then((result) => {
      if (!result.ok) return callback(result.error, null);
      if (protocol !== "https:") return callback(null, result.socket);
      const servername = isIP(hostname) ? "" : hostname.replace(/\.$/, "");
      // On failure undici gives no second argument, whatever its types say.
      secure({ ...options, servername, httpSocket: result.socket }, (error, socket) => {
        if (!error) return callback(null, socket);
        result.socket.destroy();
        callback(tlsError(error, hostname), null);
      });
    });
  };
}

const lookupNumbers = new WeakMap<Lookup, number>();
let lookupsSeen = 0;

/** Two guards with the same key permit the same: what is kept open under one may be used under the other. */
export function guardKey(guard: AddressGuard): string {
  if (guard.lookup === undefined) return guard.allowHosts.join(" ");
  if (!lookupNumbers.has(guard.lookup)) lookupNumbers.set(guard.lookup, ++lookupsSeen);
  return `${lookupNumbers.get(guard.lookup)} ${guard.allowHosts.join(" ")}`;
}

/** Agents keep connections open between requests, and never share one across different guards. */
const agents = new Map<string, Agent>();

/** The agent whose connections obey this guard; made once per guard. */
export function agentFor(guard: AddressGuard): Agent {
  const key = guardKey(guard);
  const agent = agents.get(key) ?? newAgent(guard);
  agents.set(key, agent);
  return agent;
}

function newAgent(guard: AddressGuard): Agent {
  return new Agent({
    connect: guardedConnector({ allowHosts: [...guard.allowHosts], lookup: guard.lookup }),
    maxHeaderSize: maxHeaderBytes,
    // One timer per request covers connecting, headers and body: see http-exchange.ts.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
}

/** Ends every connection, mail's too; requests still under way fail. The next request starts afresh. */
export async function closeConnections(): Promise<void> {
  const open = [...agents.values()];
  agents.clear();
  await Promise.all(open.map((agent) => agent.destroy()));
  for (const socket of sockets) socket.destroy(new OutboundError("connect", "Handoff is shutting down."));
}
