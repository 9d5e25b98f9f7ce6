import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import { z } from "zod";
import type { AddressGuard } from "./address-guard.ts";
import { readOutboundUrl } from "./address-guard.ts";
import { exchangeFollowing } from "./follow-redirects.ts";
import { userAgent } from "./user-agent.ts";
import type { FetchAnswer, WsdlThreadData } from "./wsdl-thread.ts";
import { readWsdlInThread } from "./wsdl-thread.ts";

/** One operation over one version of SOAP, ready to become a partner's settings. */
export interface WsdlOperation {
  readonly name: string;
  readonly method: "soap11" | "soap12";
  /** The address that the WSDL gives; empty where it gives none. */
  readonly url: string;
  /** The SOAPAction; empty where there is none. */
  readonly action: string;
  /** The whole envelope, with `{{ lead.<element> }}` in every place that takes a value. */
  readonly body: string;
}

export type WsdlReading =
  | { readonly ok: true; readonly operations: readonly WsdlOperation[] }
  | { readonly ok: false; readonly reason: string };

const maxDocumentBytes = 2 * 1024 * 1024;
/** The WSDL and everything it includes. */
const maxDocuments = 50;
const defaultTimeoutMs = 20_000;
const threadMemoryMiB = 256;

/** Where a WSDL that came as text seems to lie: `.invalid` (RFC 2606) is nowhere. */
const nowhere = "http://wsdl.invalid/";

/**
 * Takes a WSDL as text or by its address; gives its SOAP operations. What it includes is fetched through the guard, from
 * http and https addresses only. Refuses, with the reason in plain words, what is no WSDL, has no SOAP operation, is too
 * large or takes more than `timeoutMs` (20 seconds).
 */
export async function readWsdl(
  source: { readonly text: string } | { readonly url: string },
  guard: AddressGuard,
  timeoutMs = defaultTimeoutMs,
): Promise<WsdlReading> {
  const deadlineMs = performance.now() + timeoutMs;
  const root = "url" in source ? await fetchDocument(source.url, guard, deadlineMs) : checkText(source.text, nowhere);
  if (!root.ok) return root;
  const reading = await readInThread(root, guard, deadlineMs);
  if (!reading.ok || reading.operations.length > 0) return reading;
  return { ok: false, reason: "The WSDL has no operation over SOAP." };
}

type WsdlDocument =
  | { readonly ok: true; readonly text: string; readonly url: string }
  | { readonly ok: false; readonly reason: string };

function checkText(text: string, url: string): WsdlDocument {
  if (Buffer.byteLength(text) > maxDocumentBytes) return { ok: false, reason: tooLarge };
  if (/<!DOCTYPE/i.test(text)) return { ok: false, reason: "The WSDL holds a DOCTYPE, which is not read." };
  return { ok: true, text, url };
}

const tooLarge = "The WSDL, or a part that it includes, is larger than 2 MiB.";

async function fetchDocument(address: string, guard: AddressGuard, deadlineMs: number): Promise<WsdlDocument> {
  if (address.startsWith(nowhere)) {
    const reason = "A part of the WSDL is named by a relative address. Give the WSDL by its own address instead.";
    return { ok: false, reason };
  }
  const url = readOutboundUrl(address);
  if (!url.ok) return { ok: false, reason: url.detail };
  const refused = (reason: string): WsdlDocument => ({ ok: false, reason: `${address}: ${reason}` });
  const headers = [
    ["user-agent", userAgent],
    ["accept", "text/xml, application/xml, application/wsdl+xml, */*"],
    ["accept-encoding", "gzip, deflate, br"],
  ] as const;
  const { result, url: foundAt } = await exchangeFollowing(
    { method: "GET", url: url.url, headers, body: "" },
    { follow: true, bodyWithoutCredentials: "", maxBodyBytes: maxDocumentBytes, deadlineMs },
    guard,
  );
  if (result.kind === "failure") return refused(result.detail);
  if (result.status !== 200) return refused(`It answered with status ${result.status}.`);
  if (result.unreadable !== null) return refused(result.unreadable);
  if (result.truncated) return refused(tooLarge);
  return checkText(result.body, foundAt.href);
}

const threadMessage = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("fetch"), url: z.string() }),
  z.object({ kind: z.literal("failed"), reason: z.string() }),
  z.object({
    kind: z.literal("operations"),
    operations: z.array(
      z.object({
        name: z.string(),
        method: z.enum(["soap11", "soap12"]),
        url: z.string(),
        action: z.string(),
        body: z.string(),
      }),
    ),
  }),
]);

function readInThread(
  root: { readonly text: string; readonly url: string },
  guard: AddressGuard,
  deadlineMs: number,
): Promise<WsdlReading> {
  return new Promise((resolve) => {
    const thread = startThread(root);
    const finish = (reading: WsdlReading) => {
      clearTimeout(timer);
      resolve(reading);
      void thread.terminate();
    };
    const fail = (reason: string) => {
      finish({ ok: false, reason: `The WSDL cannot be read: ${reason.replace(/\s+/g, " ").trim()}` });
    };
    const timer = setTimeout(() => fail("it takes too long."), Math.max(0, deadlineMs - performance.now()));
    let documents = 1;
    const answerFetch = async (url: string): Promise<FetchAnswer> => {
      documents += 1;
      if (documents > maxDocuments) return { ok: false, reason: `It includes more than ${maxDocuments} parts.` };
      return fetchDocument(url, guard, deadlineMs);
    };
    thread.on("message", (posted: unknown) => {
      const { data: message } = threadMessage.safeParse(posted);
      if (message === undefined) fail("the reader made no sense of it.");
      else if (message.kind === "operations") finish({ ok: true, operations: message.operations.map(indentBody) });
      else if (message.kind === "failed") fail(message.reason);
      else void answerFetch(message.url).then((answer) => thread.postMessage(answer));
    });
    thread.on("error", (error) => fail(error.message));
    thread.on("exit", () => fail("the reader stopped."));
  });
}

/** No environment, since that holds secrets, and no output of the parser's in ours. */
function startThread({ text, url }: { readonly text: string; readonly url: string }): Worker {
  const { resolve } = createRequire(import.meta.url);
  const modules = { soap: resolve("soap/lib/wsdl/index.js"), xmldom: resolve("@xmldom/xmldom") };
  const workerData: WsdlThreadData = { text, url, modules };
  return new Worker(`(${readWsdlInThread})(require)`, {
    eval: true,
    workerData,
    env: {},
    execArgv: [],
    stdout: true,
    stderr: true,
    resourceLimits: { maxOldGenerationSizeMb: threadMemoryMiB, maxYoungGenerationSizeMb: 32 },
  });
}

/** One element a line, for the person who fills it in: between two tags there is nothing but their edge. */
function indentBody(operation: WsdlOperation): WsdlOperation {
  let depth = 0;
  const lines = operation.body.split(/(?<=>)(?=<)/).map((line) => {
    const closes = line.startsWith("</");
    if (closes) depth -= 1;
    const indented = `${"  ".repeat(depth)}${line}`;
    if (!closes && !line.includes("</") && !line.endsWith("/>") && !line.startsWith("<?")) depth += 1;
    return indented;
  });
  return { ...operation, body: `${lines.join("\n")}\n` };
}
