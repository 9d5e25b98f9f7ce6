import { createServer, type Socket } from "node:net";
import { FrameReader, machineTimeMs } from "./http-frames.ts";
import { type Collected, collectSchema, tell } from "./messages.ts";

/**
 * The partners, in a process of its own: takes every lead, notes when each came and to whom, and says yes. What is sent
 * to …/hang/… gets no answer.
 */

const tellEveryMs = 25;
const hangs = "/hang/";

const answers = {
  json: answer("application/json", '{"outcome":"success","reference":"R1"}'),
  soap: answer(
    "application/soap+xml; charset=utf-8",
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><r><status>accepted</status></r></s:Body></s:Envelope>',
  ),
};

function answer(type: string, body: string): Buffer {
  return Buffer.from(`HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
}

/** By lead number: when the first request for it came; and who has ever had it, so that a second one is seen whenever it comes. */
const arrivedAtMs = new Map<number, number>();
const firstPath = new Map<number, number>();
const pathNumbers = new Map<string, number>();
/** Since the bench began: a day's limit holds over all its runs. */
const requestsByPath = new Map<string, number>();
const hung = new Set<number>();
const repeated: number[] = [];
let told = 0;

function receive(socket: Socket): void {
  const reader = new FrameReader();
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk) => {
    for (const { firstLine, body } of reader.push(chunk)) {
      const [, path = ""] = firstLine.split(" ");
      note(path, body.toString("latin1"));
      if (!path.includes(hangs)) socket.write(body[0] === 0x3c ? answers.soap : answers.json);
    }
  });
}

function note(path: string, body: string): void {
  requestsByPath.set(path, (requestsByPath.get(path) ?? 0) + 1);
  const number = Number(/"n": *"(\d+)"|<n>(\d+)<\/n>/.exec(body)?.slice(1).join(""));
  const pathNumber = pathNumbers.get(path) ?? pathNumbers.size;
  pathNumbers.set(path, pathNumber);
  const first = firstPath.get(number);
  if (first === undefined) {
    firstPath.set(number, pathNumber);
    arrivedAtMs.set(number, machineTimeMs());
    if (path.includes(hangs)) hung.add(number);
  } else if (first !== pathNumber || !path.includes(hangs)) repeated.push(number);
}

function collect(from: number, count: number): Collected {
  const arrivals = Float64Array.from({ length: count }, (_, place) => arrivedAtMs.get(from + place) ?? Number.NaN);
  const collected = {
    kind: "collected" as const,
    arrivals,
    hung: [...hung],
    repeated: [...repeated],
    requestsByPath: [...requestsByPath],
  };
  arrivedAtMs.clear();
  hung.clear();
  repeated.length = 0;
  return collected;
}

const server = createServer(receive).listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The receiver does not listen on a port.");
  tell({ kind: "listening", port: address.port });
});
setInterval(() => {
  if (arrivedAtMs.size === told) return;
  told = arrivedAtMs.size;
  tell({ kind: "arrived", count: told });
}, tellEveryMs);
process.on("message", (message) => {
  const { from, count } = collectSchema.parse(message);
  tell(collect(from, count));
});
process.on("disconnect", () => process.exit());
