import { createHash } from "node:crypto";
import { appendFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Behaviour, behaviours } from "./configuration.ts";
import { fractionOf } from "./random.ts";
import type { ReceivedRequest } from "./record.ts";

/**
 * The partners: a process of its own that keeps its own record. `receiver.ts RECORD SEED MIXES`: writes each request to the
 * file RECORD before it answers. MIXES is JSON: how often each partner misbehaves. Prints `ready {port, forbiddenPort}`.
 */
const [recordFile = "", seed = "0", mixes = "{}"] = process.argv.slice(2);
const mixOf = new Map<string, Partial<Record<Behaviour, number>>>(Object.entries(JSON.parse(mixes)));
const taken = new Set<string>();
const seen = new Map<string, number>();
let count = 0;
let clock: string | undefined;
/** Others live in the present, even while the trial sets a time. */
const isOfSetTime = (partner: string) => partner.startsWith("clock-");

const lateMs = 1_600;
const flood = Buffer.alloc(10 * 2 ** 20, " ");

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("error", () => undefined);
  request.on("end", () => receive(request, response, Buffer.concat(chunks)));
});
server.keepAliveTimeout = 60_000;

/** Stands for the metadata service of a cloud and the like: nobody may get here. */
const forbidden = createServer((request, response) => {
  appendFileSync(recordFile, `${JSON.stringify({ forbidden: request.url })}\n`);
  response.end("secret");
});

server.listen(0, "127.0.0.1", () =>
  forbidden.listen(0, "127.0.0.1", () => {
    const [{ port }, { port: forbiddenPort }] = [server.address() as AddressInfo, forbidden.address() as AddressInfo];
    process.stdout.write(`ready ${JSON.stringify({ port, forbiddenPort })}\n`);
  }),
);

function receive(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  const partner = (request.url ?? "").slice(1);
  if (partner === "clock") {
    clock = body.toString("utf8");
    response.end();
    return;
  }
  const key = String(request.headers["idempotency-key"] ?? "");
  const { lead }: { lead?: string } = JSON.parse(body.toString("utf8"));
  const nth = (seen.get(key) ?? 0) + 1;
  seen.set(key, nth);
  const answered = choose(partner, `${seed} ${partner} ${lead} ${nth}`);
  if (behaviours[answered].taken) taken.add(key);
  count += 1;
  const line: ReceivedRequest = {
    number: count,
    atMs: Date.now(),
    partner,
    key,
    leadId: String(lead),
    body: createHash("sha256").update(body).digest("hex"),
    answered,
    taken: taken.has(key),
    ...(clock !== undefined && isOfSetTime(partner) ? { clock } : {}),
  };
  appendFileSync(recordFile, `${JSON.stringify(line)}\n`);
  answer(response, answered, `R${count}`);
}

/** Which lead fares how is the seed's decision; a rejection stays one however often it is asked. */
function choose(partner: string, text: string): Behaviour {
  const mix = Object.entries(mixOf.get(partner) ?? {}) as [Behaviour, number][];
  let left = fractionOf(mix.some(([name]) => name === "rejected") ? text.replace(/ \d+$/, "") : text);
  for (const [name, part] of mix) {
    if (left < part) return name;
    left -= part;
  }
  return "good";
}

function answer(response: ServerResponse, behaviour: Behaviour, reference: string): void {
  const success = JSON.stringify({ outcome: "success", reference });
  const send = (status: number, body: string, headers: Record<string, string> = {}) =>
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(body);
  switch (behaviour) {
    case "good":
      return void send(200, success);
    case "rejected":
      return void send(200, JSON.stringify({ outcome: "no", reason: "not our area" }));
    case "error":
      return void send(500, "{}");
    case "busy":
      return void send(429, "{}", { "retry-after": "20" });
    case "hang":
      return;
    case "late":
      setTimeout(() => send(200, success), lateMs);
      return;
    case "cut":
      response.writeHead(200, { "content-type": "application/json", "content-length": String(success.length) });
      response.write(success.slice(0, 12), () => response.socket?.resetAndDestroy());
      return;
    case "flood":
      response.writeHead(200, { "content-type": "application/json" });
      response.write(`{"outcome":"success","reference":"${reference}","filler":"`);
      response.end(Buffer.concat([flood, Buffer.from('"}')]));
      return;
    case "redirect":
      return void send(307, "", {
        location: `http://127.0.0.1:${(forbidden.address() as AddressInfo).port}/latest/meta-data`,
      });
  }
}
