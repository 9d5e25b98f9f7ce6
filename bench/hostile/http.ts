import { Agent, type IncomingMessage, request } from "node:http";
import { connect } from "node:net";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
  /** The body as JSON; undefined where it is none. */
  readonly json: unknown;
  readonly durationMs: number;
}

export interface Sending {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer | undefined;
  readonly timeoutMs?: number;
  /** How the answer's bytes become text. */
  readonly as?: "utf8" | "latin1";
}

const agent = new Agent({ keepAlive: true, maxSockets: 16 });

/** One request to a server of the installation. Fails where no whole answer comes in time. */
export function send(base: string, sending: Sending): Promise<Answer> {
  const { method = "GET", path, headers = {}, body, timeoutMs = 30_000, as = "utf8" } = sending;
  const { hostname, port } = new URL(base);
  const startedMs = performance.now();
  return new Promise((resolve, reject) => {
    const told = `${method} ${path.slice(0, 120)}`;
    const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
    const outgoing = request(
      { agent, hostname, port, method, path, headers: { ...length, ...headers } },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("error", fail);
        incoming.on("end", () => {
          clearTimeout(timer);
          const text = Buffer.concat(chunks).toString(as);
          const durationMs = performance.now() - startedMs;
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            text,
            json: readJson(text),
            durationMs,
          });
          // An answer may come before a body was read to its end.
          if (!outgoing.writableFinished) outgoing.destroy();
        });
      },
    );
    const fail = (error: Error) => {
      clearTimeout(timer);
      reject(new Error(`${told}: ${error.message}`));
    };
    const timer = setTimeout(() => outgoing.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    outgoing.on("error", fail);
    outgoing.end(body);
  });
}

export function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Writes bytes as they are; gives what comes back until the other side closes, or until `waitMs` are over. */
export function sendRaw(base: string, bytes: readonly (string | Buffer)[], waitMs = 1_500): Promise<string> {
  const { hostname, port } = new URL(base);
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect(Number(port), hostname, () => {
      for (const part of bytes) socket.write(part);
    });
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(finish, waitMs);
    socket.on("data", (chunk: Buffer) => {
      if (answer.length < 100_000) answer += chunk.toString("latin1");
    });
    socket.on("error", finish).on("close", finish);
  });
}

/** What lies at a place such as `fields.0.code`; undefined where there is nothing. */
export function valueAt(root: unknown, place: string): unknown {
  return place.split(".").reduce<unknown>((value, key) => {
    if (typeof value !== "object" || value === null) return undefined;
    return Object.getOwnPropertyDescriptor(value, key)?.value;
  }, root);
}

export function textAt(root: unknown, place: string): string {
  const value = valueAt(root, place);
  if (typeof value !== "string") throw new Error(`No text at ${place} in ${JSON.stringify(root)?.slice(0, 300)}`);
  return value;
}

export function closeAgent(): void {
  agent.destroy();
}
