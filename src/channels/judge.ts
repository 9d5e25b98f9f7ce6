import { type Answer, openAnswer } from "./answer-paths.ts";
import type { Arrival, Outcome, Reply } from "./contract.ts";
import { describeRule, listRules, type Rule, type Rules, testRule } from "./rules.ts";

/** What the settings say about a partner's answers. */
export interface AnswerSettings {
  readonly success?: Rules | undefined;
  readonly reject?: Rules | undefined;
  readonly reason?: string | undefined;
  readonly reference?: string | undefined;
  readonly price?: string | undefined;
  readonly currency?: string | undefined;
}

type HttpAnswer = Extract<Reply, { kind: "answer" }>;
type Failure = Extract<Reply, { kind: "failure" }>;

const maximumTextLength = 200;
const maximumRetryAfterMs = 3_600_000;

/**
 * What an HTTP attempt came to (design, section 4). Only a 2xx can be accepted, and the rules can only take that away.
 * 400, 409 and 422 speak about the lead; every other 4xx but 408, 425 and 429 about the endpoint or our access to it.
 * A SOAP Fault with a 2xx, 400, 422 or 500 counts for what it says; with another status, the status counts.
 */
export function judgeHttp(reply: Reply, settings: AnswerSettings): Outcome {
  if (reply.kind === "failure") return judgeFailure(reply);
  const { status } = reply;
  const answer = openAnswer(reply.body);
  const fault = faultStatuses.has(status) || isSuccess(status) ? readFault(reply, answer, settings) : null;
  if (fault !== null) return fault;
  if (isSuccess(status)) return judgeBody(reply, answer, settings);
  if (rejectingStatuses.has(status)) return rejected(readText(answer, settings.reason) ?? answered(status));
  if (status >= 500 || retryStatuses.has(status)) return retry(answered(status), arrivalOf(status), reply);
  if (status >= 300 && status < 400) return broken(`${answered(status)}, a redirect that is not followed.`);
  return broken(`${answered(status)}.`);
}

const rejectingStatuses: ReadonlySet<number> = new Set([400, 409, 422]);
const faultStatuses: ReadonlySet<number> = new Set([400, 422, 500]);
const retryStatuses: ReadonlySet<number> = new Set([408, 425, 429]);

/** These say that the request was not acted on. */
const untouchedStatuses: ReadonlySet<number> = new Set([408, 425, 429, 503]);

/** A gateway speaks for a server whose answer it never saw; 520 and 524 are what Cloudflare says then. */
const gatewayStatuses: ReadonlySet<number> = new Set([502, 504, 520, 524]);

function arrivalOf(status: number): Arrival {
  if (untouchedStatuses.has(status)) return "no";
  return gatewayStatuses.has(status) ? "unknown" : "yes";
}

function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

/** SMTP (RFC 5321): 4xx is for now, 5xx for good; then the mailbox is at fault, not the lead. */
export function judgeMail(reply: Reply): Outcome {
  if (reply.kind === "failure") return judgeMailFailure(reply);
  const { status } = reply;
  if (isSuccess(status)) return { kind: "accepted", reference: null, reason: null, price: null };
  const said = `The mail server answered ${status}`;
  return status >= 500 && status < 600 ? broken(`${said}: it does not take mail for this address.`) : retry(said, "no");
}

/** The mail server is the operator's own: what is wrong between us and it is not the partner's endpoint's fault. */
function judgeMailFailure(failure: Failure): Outcome {
  if (failure.code === "protocol" && failure.arrived === "no") return broken(failure.detail);
  return retry(failure.detail, failure.arrived);
}

function judgeFailure(failure: Failure): Outcome {
  switch (failure.code) {
    case "tls":
    case "refused_address":
    case "redirect":
    case "authentication":
      return broken(failure.detail);
    case "protocol":
      // With `no` it is our own request that cannot be sent, now or later; else it is an answer that is not HTTP.
      return failure.arrived === "no" ? broken(failure.detail) : retry(failure.detail, failure.arrived);
    case "cut_off":
      return retry(failure.detail, "unknown");
    case "dns":
    case "connect":
    case "timeout":
    case "reset":
      return retry(failure.detail, failure.arrived);
  }
}

function judgeBody(reply: HttpAnswer, answer: Answer, settings: AnswerSettings): Outcome {
  const success = listRules(settings.success);
  const reject = listRules(settings.reject);
  const obstacle = reply.unreadable ?? (reply.truncated ? "it is longer than 64 KiB" : null);
  if (obstacle !== null && success.length + reject.length > 0) return unreadable(obstacle);
  for (const [rules, wanted] of [[reject, false] as const, [success, true] as const]) {
    const failed = firstNot(rules, wanted, answer);
    if (failed === null) continue;
    if (!failed.ok) return unreadable(failed.reason);
    const rule = `the ${wanted ? "success" : "reject"} rule: ${describeRule(failed.rule)}`;
    return rejected(readText(answer, settings.reason) ?? `The answer ${wanted ? "did not meet" : "met"} ${rule}`);
  }
  return {
    kind: "accepted",
    reference: obstacle === null ? readText(answer, settings.reference) : null,
    reason: obstacle === null ? readText(answer, settings.reason) : null,
    price: obstacle === null ? readPrice(answer, settings) : null,
  };
}

type Failed = { readonly ok: true; readonly rule: Rule } | { readonly ok: false; readonly reason: string };

/** The first rule that does not come out as wanted, or that cannot be asked. */
function firstNot(rules: readonly Rule[], wanted: boolean, answer: Answer): Failed | null {
  for (const rule of rules) {
    const tested = testRule(rule, answer);
    if (!tested.ok) return tested;
    if (tested.holds !== wanted) return { ok: true, rule };
  }
  return null;
}

/** The price with its currency, where the answer names that in a place of its own. */
function readPrice(answer: Answer, settings: AnswerSettings): string | null {
  const price = readText(answer, settings.price);
  const currency = readText(answer, settings.currency);
  return price === null || currency === null ? price : `${price} ${currency}`;
}

/** What a path leads to, as text of at most 200 characters; several values are joined. Null where there is nothing. */
function readText(answer: Answer, path: string | undefined): string | null {
  if (path === undefined) return null;
  const found = answer.find(path);
  if (!found.ok) return null;
  const texts = found.values
    .slice(0, 20)
    .map((value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value ?? "")));
  const text = texts
    .map((part) => part.replace(/\s+/g, " ").trim())
    .filter((part) => part !== "")
    .join("; ");
  return text === "" ? null : [...text].slice(0, maximumTextLength).join("");
}

/** SOAP 1.1 (section 4.4.1) and SOAP 1.2 (part 1, section 5.4.6) name who is at fault. */
function readFault(reply: HttpAnswer, answer: Answer, settings: AnswerSettings): Outcome | null {
  if (!/^\s*</.test(reply.body) || !/<(?:[\w.-]+:)?Fault[\s/>]/.test(reply.body)) return null;
  const found = answer.find("/Envelope/Body/Fault");
  if (!found.ok) return isSuccess(reply.status) ? unreadable(found.reason) : null;
  if (found.values.length === 0) return null;
  const value =
    readText(answer, "/Envelope/Body/Fault/faultcode") ?? readText(answer, "/Envelope/Body/Fault/Code/Value");
  const said =
    readText(answer, "/Envelope/Body/Fault/faultstring") ?? readText(answer, "/Envelope/Body/Fault/Reason/Text");
  const reason = readText(answer, settings.reason) ?? `SOAP Fault${said === null ? "" : `: ${said}`}`;
  // A dot refines a code of SOAP 1.1: Client.Authentication is a Client.
  switch (value?.replace(/^.*:/, "").replace(/\..*$/, "")) {
    case "Client":
    case "Sender":
      return rejected(reason);
    case "Server":
    case "Receiver":
      return retry(reason, "yes", reply);
    default:
      return broken(reason);
  }
}

function answered(status: number): string {
  return `The partner answered ${status}`;
}

function unreadable(reason: string): Outcome {
  return { kind: "broken", reason: `The answer cannot be checked: ${reason}.`, mayHaveArrived: true };
}

function rejected(reason: string): Outcome {
  return { kind: "rejected", reason };
}

function broken(reason: string): Outcome {
  return { kind: "broken", reason };
}

function retry(reason: string, arrived: Arrival, reply?: HttpAnswer): Outcome {
  return { kind: "retry", reason, arrived, retryAfterMs: reply === undefined ? null : readRetryAfter(reply.headers) };
}

/** RFC 9110, section 10.2.3: seconds, or a date; a date is measured from the partner's own Date, so no clock is needed. */
function readRetryAfter(headers: HttpAnswer["headers"]): number | null {
  const value = headers["retry-after"]?.trim() ?? "";
  const waitMs = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.parse(headers.date ?? "");
  if (Number.isNaN(waitMs)) return null;
  return Math.min(Math.max(waitMs, 0), maximumRetryAfterMs);
}
