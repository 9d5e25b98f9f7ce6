import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Any number of JSON partners on one real HTTP server, each at its own path, which note every request that they get. */
export interface JsonPartners {
  /** `host:port`, to be allowed. */
  readonly host: string;
  url(name: string): string;
  /** Delivery settings of a partner that takes a lead's fields as JSON. */
  internet(name: string, change?: Record<string, unknown>): Record<string, unknown>;
  readonly requests: readonly PartnerRequest[];
  requestsOf(name: string): readonly PartnerRequest[];
  /** How a partner answers from now on; accepting is the default. */
  answer(name: string, how: Answer): void;
  stop(): Promise<void>;
}

export interface PartnerRequest {
  readonly name: string;
  readonly idempotencyKey: string;
  readonly body: Record<string, unknown>;
}

export type Answer =
  | "accept"
  | "reject"
  | "hang"
  | "reset"
  | { status: number; headers?: Record<string, string> }
  | { body: string }
  | { delayMs: number; outcome?: "accept" | "reject" };

export async function startJsonPartners(): Promise<JsonPartners> {
  const requests: PartnerRequest[] = [];
  const answers = new Map<string, Answer>();
  const server = createServer((request, response) => {
    const name = (request.url ?? "").slice(1);
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
      requests.push({ name, idempotencyKey: String(request.headers["idempotency-key"]), body: Object(body) });
      respond(response, answers.get(name) ?? "accept", requests.length);
    });
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  const url = (name: string) => `http://127.0.0.1:${port}/${name}`;
  return {
    host: `127.0.0.1:${port}`,
    url,
    internet: (name, change = {}) => ({
      method: "json",
      url: url(name),
      body: '{"id": {{ lead.id }}, "name": "{{ lead.first_name }}"}',
      timeoutMs: 5_000,
      success: { path: "$.outcome", equals: "success" },
      reason: "$.reason",
      reference: "$.reference",
      ...change,
    }),
    requests,
    requestsOf: (name) => requests.filter((request) => request.name === name),
    answer: (name, how) => void answers.set(name, how),
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}

function respond(response: ServerResponse, how: Answer, number: number): void {
  const send = (status: number, body: object, headers: Record<string, string> = {}) =>
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
  const accept = () => send(200, { outcome: "success", reference: `R${number}` });
  if (how === "accept") accept();
  else if (how === "reject") send(200, { outcome: "no", reason: "not our area" });
  else if (how === "reset") response.socket?.resetAndDestroy();
  else if (how === "hang") return;
  else if ("delayMs" in how) setTimeout(respond, how.delayMs, response, how.outcome ?? "accept", number);
  else if ("body" in how) response.writeHead(200, { "content-type": "application/json" }).end(how.body);
  else send(how.status, {}, how.headers);
}
