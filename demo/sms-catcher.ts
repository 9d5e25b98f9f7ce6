import { createHmac, randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { SegmentedMessage } from "sms-segments-calculator";
import { type Answer, behaviourFromQuery, type Misbehave, respond } from "./behaviour.ts";
import { callDocument, type ReceivedCall, readCall, reportCall } from "./call-catcher.ts";
import { Newest } from "./newest.ts";
import { close, readBody, serve } from "./serve.ts";

const keptTexts = 1_000;
const longestTextCharacters = 1_600;
const callbackTimeoutMs = 5_000;

/** What to put into TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN to be let in; these open nothing else. */
export const demoAccount = {
  accountSid: "AC00000000000000000000000000000000",
  authToken: "demo-token-demo-token-demo-token",
} as const;

export interface ReceivedText {
  readonly receivedAt: string;
  readonly sid: string;
  readonly to: string;
  readonly from: string;
  readonly body: string;
  readonly segments: number;
  status: "queued" | "sent" | "delivered" | "undelivered";
}

export interface SmsCatcher {
  readonly url: string;
  /** The newest 1,000, oldest first. */
  texts(): readonly ReceivedText[];
  /** The same of calls. */
  calls(): readonly ReceivedCall[];
  misbehave(misbehave: Misbehave | null): void;
  stop(): Promise<void>;
}

interface State {
  readonly kept: Newest<ReceivedText>;
  readonly calls: Newest<ReceivedCall>;
  readonly stopped: AbortController;
  misbehave: Misbehave | null;
}

/**
 * Starts a server that speaks the parts of Twilio's API that send a text and place a call: Messages.json and Calls.json of
 * the demo account. It refuses with Twilio's own codes, and reports `sent` and `delivered` (to +44 7700 900999
 * `undelivered`) to StatusCallback, and the end of a call to the action of its `<Dial>`.
 */
export async function startSmsCatcher(host: string, port: number): Promise<SmsCatcher> {
  const state: State = {
    kept: new Newest(keptTexts),
    calls: new Newest(keptTexts),
    stopped: new AbortController(),
    misbehave: null,
  };
  // Each text whose reports are still to be sent listens.
  setMaxListeners(0, state.stopped.signal);
  const { server, url } = await serve(host, port, (request, response) => route(state, request, response));
  return {
    url,
    texts: () => state.kept.list(),
    calls: () => state.calls.list(),
    misbehave(misbehave) {
      state.misbehave = misbehave;
    },
    stop() {
      state.stopped.abort();
      return close(server);
    },
  };
}

async function route(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://localhost");
  if (request.method === "GET" && url.pathname === "/messages") {
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(state.kept.list()));
    return;
  }
  const body = (await readBody(request))?.toString("utf8") ?? "";
  const told = state.misbehave?.({ url, headers: request.headers, body }) ?? behaviourFromQuery(url);
  await respond(response, told, () => answer(state, request, url, new URLSearchParams(body)));
}

function answer(state: State, request: IncomingMessage, url: URL, form: URLSearchParams): Answer {
  const [, account, what] =
    /^\/2010-04-01\/Accounts\/(AC[0-9a-f]{32})\/(Messages|Calls)\.json$/.exec(url.pathname) ?? [];
  if (account === undefined || request.method !== "POST") {
    return refusal(404, 20404, `The requested resource ${url.pathname} was not found`);
  }
  const credentials = Buffer.from(`${demoAccount.accountSid}:${demoAccount.authToken}`).toString("base64");
  if (request.headers.authorization !== `Basic ${credentials}` || account !== demoAccount.accountSid) {
    return refusal(401, 20003, "Authenticate");
  }
  if (what === "Calls") return answerCall(state, form);
  const problem = findProblem(form);
  if (problem) {
    return problem;
  }
  const text = keep(state, form);
  const callback = form.get("StatusCallback");
  if (callback) {
    // Nobody waits for it: the reports come after the answer, as Twilio's do.
    void report(state, text, callback);
  }
  return { status: 201, contentType: "application/json", body: JSON.stringify(resource(text)) };
}

function answerCall(state: State, form: URLSearchParams): Answer {
  const { accountSid } = demoAccount;
  const asked = readCall(form);
  if (!asked.ok) return refusal(400, asked.code, asked.message);
  state.calls.add(asked.call);
  void reportCall(asked.call, accountSid, sign, state.stopped.signal);
  const body = JSON.stringify(callDocument(asked.call, accountSid));
  return { status: 201, contentType: "application/json", body };
}

/** The codes are from Twilio's error dictionary, the magic numbers those of its test credentials. */
function findProblem(form: URLSearchParams): Answer | null {
  const to = form.get("To") ?? "";
  const from = form.get("From") ?? form.get("MessagingServiceSid") ?? "";
  const body = form.get("Body") ?? "";
  if (to === "") {
    return refusal(400, 21604, "A 'To' phone number is required.");
  }
  if (!/^\+[1-9]\d{7,14}$/.test(to) || to === "+15005550001") {
    return refusal(400, 21211, `Invalid 'To' Phone Number: ${to}`);
  }
  if (to === "+15005550004") {
    return refusal(400, 21610, "Attempt to send to unsubscribed recipient");
  }
  if (to === "+15005550009") {
    return refusal(400, 21614, `'To' number is not a valid mobile number: ${to}`);
  }
  if (from === "") {
    return refusal(400, 21603, "A 'From' phone number is required.");
  }
  if (!/^(\+[1-9]\d{7,14}|MG[0-9a-f]{32}|[A-Za-z0-9 ]{1,11})$/.test(from)) {
    return refusal(400, 21212, `Invalid From Number (caller ID): ${from}`);
  }
  if (body === "") {
    return refusal(400, 21602, "Message body is required.");
  }
  return body.length > longestTextCharacters
    ? refusal(400, 21617, "The concatenated message body exceeds the 1600 character limit")
    : null;
}

function refusal(status: number, code: number, message: string): Answer {
  const document = { code, message, more_info: `https://www.twilio.com/docs/errors/${code}`, status };
  return { status, contentType: "application/json", body: JSON.stringify(document) };
}

function keep(state: State, form: URLSearchParams): ReceivedText {
  const body = form.get("Body") ?? "";
  const text: ReceivedText = {
    receivedAt: new Date().toISOString(),
    sid: `SM${randomBytes(16).toString("hex")}`,
    to: form.get("To") ?? "",
    from: form.get("From") ?? form.get("MessagingServiceSid") ?? "",
    body,
    segments: new SegmentedMessage(body).segmentsCount,
    status: "queued",
  };
  state.kept.add(text);
  return text;
}

function resource({ sid, to, from, body, segments, status, receivedAt }: ReceivedText): object {
  const created = new Date(receivedAt).toUTCString().replace("GMT", "+0000");
  const service = from.startsWith("MG") ? from : null;
  return {
    account_sid: demoAccount.accountSid,
    api_version: "2010-04-01",
    body,
    date_created: created,
    date_sent: null,
    date_updated: created,
    direction: "outbound-api",
    error_code: null,
    error_message: null,
    from: service ? null : from,
    messaging_service_sid: service,
    num_media: "0",
    num_segments: String(segments),
    price: null,
    price_unit: "USD",
    sid,
    status,
    subresource_uris: { media: `/2010-04-01/Accounts/${demoAccount.accountSid}/Messages/${sid}/Media.json` },
    to,
    uri: `/2010-04-01/Accounts/${demoAccount.accountSid}/Messages/${sid}.json`,
  };
}

async function report(state: State, text: ReceivedText, callback: string): Promise<void> {
  const last = text.to === "+447700900999" ? "undelivered" : "delivered";
  try {
    for (const status of ["sent", last] as const) {
      await sleep(50, undefined, { signal: state.stopped.signal, ref: false });
      text.status = status;
      await postStatus(text, callback, state.stopped.signal);
    }
  } catch {
    // Whoever asked for reports is away, or we are stopping. Twilio does not insist either.
  }
}

async function postStatus(text: ReceivedText, callback: string, stopped: AbortSignal): Promise<void> {
  const form = new URLSearchParams({
    AccountSid: demoAccount.accountSid,
    ApiVersion: "2010-04-01",
    From: text.from,
    MessageSid: text.sid,
    MessageStatus: text.status,
    SmsSid: text.sid,
    SmsStatus: text.status,
    To: text.to,
    ...(text.status === "undelivered" ? { ErrorCode: "30003" } : {}),
  });
  await fetch(callback, {
    method: "POST",
    headers: { "X-Twilio-Signature": sign(callback, form), "User-Agent": "TwilioProxy/1.1" },
    body: form,
    redirect: "manual",
    signal: AbortSignal.any([stopped, AbortSignal.timeout(callbackTimeoutMs)]),
  });
}

/** Twilio's "Validating requests": HMAC-SHA1 over the address and then every parameter, sorted by name, without separators. */
function sign(callback: string, form: URLSearchParams): string {
  const words = [...form].sort(([a], [b]) => (a < b ? -1 : 1)).flat();
  return createHmac("sha1", demoAccount.authToken)
    .update(callback + words.join(""), "utf8")
    .digest("base64");
}
