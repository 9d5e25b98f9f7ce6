import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Server, Socket } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { createSecureContext } from "node:tls";

/** Servers on 127.0.0.1 that stand in for partners: real sockets, and whatever manners a test gives them. */

export interface Loopback {
  readonly port: number;
  /** As it stands in an allow list. */
  readonly host: string;
  readonly url: string;
  readonly server: Server;
  /** How many connections were opened so far. */
  connections(): number;
  close(): Promise<void>;
}

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly body: string;
}

export interface HttpLoopback extends Loopback {
  /** Every request so far, its body read. */
  readonly seen: Seen[];
}

export type Handler = (request: Seen, response: ServerResponse) => void;

/** Listens and remembers; ends open connections too when closed. */
async function listen(server: Server, scheme: string): Promise<Loopback> {
  const sockets = new Set<Socket>();
  let opened = 0;
  server.on("connection", (socket: Socket) => {
    opened += 1;
    sockets.add(socket);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  const host = `127.0.0.1:${port}`;
  return { port, host, url: `${scheme}://${host}`, server, connections: () => opened, close };
}

/** A server that speaks no protocol by itself: the test writes bytes. */
export function startRaw(onConnection: (socket: Socket) => void): Promise<Loopback> {
  return listen(createServer(onConnection), "http");
}

export async function startHttp(handler: Handler, certificate?: Certificate): Promise<HttpLoopback> {
  const seen: Seen[] = [];
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    void text(request).then((body) => {
      const { method = "", url = "", headers, rawHeaders } = request;
      const entry = { method, path: url, headers, rawHeaders, body };
      seen.push(entry);
      handler(entry, response);
    });
  };
  const server = certificate ? createHttpsServer(certificate, listener) : createHttpServer(listener);
  return { ...(await listen(server, certificate ? "https" : "http")), seen };
}

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** A self-signed certificate, made on the spot; null where this machine has no openssl. */
export function makeCertificate(names: string, days = 2): Certificate | null {
  const folder = mkdtempSync(join(tmpdir(), "handoff-certificate-"));
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const subject = ["-subj", "/CN=loopback.test", "-addext", `subjectAltName=${names}`];
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", String(days)];
  try {
    execFileSync("openssl", ["req", ...kind, "-keyout", key, "-out", cert, ...subject], { stdio: "ignore" });
    const made = { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
    createSecureContext(made);
    return made;
  } catch {
    return null;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
