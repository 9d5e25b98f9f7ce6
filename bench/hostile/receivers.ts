import type { AddressInfo, Server, Socket } from "node:net";
import { createServer } from "node:net";

/** A server that a partner could run, down to the bytes, and one that nobody may ever reach. No code of the product's. */

export interface Received {
  readonly method: string;
  readonly target: string;
  /** As they came, in order. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

export type Behaviour = (socket: Socket, received: Received) => void;

export interface Receiver {
  readonly url: string;
  readonly host: string;
  readonly received: Received[];
  /** What the first part of the path stands for; anything else is answered with `{"ok":true}`. */
  behave(name: string, behaviour: Behaviour): void;
  stop(): Promise<void>;
}

export async function startReceiver(): Promise<Receiver> {
  const received: Received[] = [];
  const behaviours = new Map<string, Behaviour>();
  const { server, stop } = track((socket) => {
    let bytes = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      for (let next = readRequest(bytes); next !== null; next = readRequest(bytes)) {
        bytes = bytes.subarray(next.length);
        received.push(next.request);
        const name = next.request.target.split(/[/?]/)[1] ?? "";
        (behaviours.get(name) ?? answerOk)(socket, next.request);
      }
    });
  });
  await listen(server, 0, "127.0.0.1");
  const host = `127.0.0.1:${portOf(server)}`;
  return { url: `http://${host}`, host, received, behave: (name, act) => void behaviours.set(name, act), stop };
}

function readRequest(bytes: Buffer): { readonly request: Received; readonly length: number } | null {
  const end = bytes.indexOf("\r\n\r\n");
  if (end === -1) return null;
  const [first = "", ...lines] = bytes.subarray(0, end).toString("utf8").split("\r\n");
  const [method = "", target = ""] = first.split(" ");
  const headers = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trim()] as const;
  });
  const length = Number(headers.find(([name]) => name.toLowerCase() === "content-length")?.[1] ?? 0);
  if (bytes.length < end + 4 + length) return null;
  const body = bytes.subarray(end + 4, end + 4 + length).toString("utf8");
  return { request: { method, target, headers, body }, length: end + 4 + length };
}

const answerOk: Behaviour = (socket) => answer(socket, '{"ok":true}');

/** A well-behaved answer. */
export function answer(
  socket: Socket,
  body: string | Buffer,
  headers: readonly string[] = [],
  status = "200 OK",
): void {
  const type = headers.some((line) => /^content-type:/i.test(line)) ? [] : ["Content-Type: application/json"];
  const lines = [`HTTP/1.1 ${status}`, ...type, ...headers, `Content-Length: ${Buffer.byteLength(body)}`];
  // In one piece: the second of two small ones waits for the acknowledgement of the first.
  socket.write(Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`), Buffer.from(body)]));
}

export interface Canary {
  readonly port: number;
  /** How many connections came. There must never be one. */
  connections(): number;
  stop(): Promise<void>;
}

/** Listens on the loopback addresses of both families. Whoever connects got where nobody may. */
export async function startCanary(): Promise<Canary> {
  let connections = 0;
  const onConnection = (socket: Socket) => {
    connections += 1;
    socket.end("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nCANARY");
  };
  const first = track(onConnection);
  const second = track(onConnection);
  await listen(first.server, 0, "127.0.0.1");
  const port = portOf(first.server);
  // A machine may have no IPv6.
  await listen(second.server, port, "::1").catch(() => undefined);
  const stop = async () => {
    await first.stop();
    if (second.server.listening) await second.stop();
  };
  return { port, connections: () => connections, stop };
}

function track(onConnection: (socket: Socket) => void): { readonly server: Server; stop(): Promise<void> } {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
    onConnection(socket);
  });
  const stop = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  return { server, stop };
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => resolve());
  });
}

function portOf(server: Server): number {
  const address: AddressInfo | string | null = server.address();
  if (typeof address !== "object" || address === null) throw new Error("The server does not listen.");
  return address.port;
}
