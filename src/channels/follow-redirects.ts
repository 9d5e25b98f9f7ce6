import type { AddressGuard } from "./address-guard.ts";
import { readOutboundUrl } from "./address-guard.ts";
import type { Answer, Exchanged, HttpExchange } from "./http-exchange.ts";
import { exchange, failure } from "./http-exchange.ts";

const maxRedirects = 5;

export type Hop = Pick<HttpExchange, "method" | "url" | "headers" | "body">;

export interface FollowSettings {
  readonly follow: boolean;
  /** What another host gets for a body that holds credentials: the same without them. */
  readonly bodyWithoutCredentials: string;
  readonly maxBodyBytes: number;
  /** On the clock of `performance.now()`; redirects do not extend it. */
  readonly deadlineMs: number;
}

/**
 * Sends a request and follows where the answers lead, if it may. Every address on the way goes through the guard, and
 * another host (or port, or scheme) gets no credentials. Gives the last answer and the URL that gave it.
 */
export async function exchangeFollowing(
  first: Hop,
  settings: FollowSettings,
  guard: AddressGuard,
): Promise<{ readonly result: Exchanged; readonly url: URL }> {
  const { maxBodyBytes } = settings;
  let hop = first;
  // After a 303 the first request has been handled; whatever fails from there on, it may have arrived.
  let handled = false;
  for (let redirects = 0; ; redirects += 1) {
    const result = await exchange({ ...hop, timeoutMs: settings.deadlineMs - performance.now(), maxBodyBytes }, guard);
    const { url } = hop;
    if (result.kind === "failure") return { result: handled ? { ...result, arrived: "unknown" } : result, url };
    const location = settings.follow ? redirectTarget(result) : null;
    if (location === null) return { result, url };
    handled ||= result.status === 303;
    const arrived = handled ? "unknown" : "no";
    if (redirects === maxRedirects) {
      return { result: failure("redirect", `More than ${maxRedirects} redirects.`, arrived), url };
    }
    const next = readOutboundUrl(location, url);
    if (!next.ok) return { result: failure("refused_address", `The redirect: ${next.detail}`, arrived), url };
    hop = nextHop(hop, next.url, result.status, settings.bodyWithoutCredentials);
  }
}

const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

function redirectTarget(answer: Answer): string | null {
  return redirectStatuses.has(answer.status) ? (answer.headers.location ?? null) : null;
}

/**
 * RFC 9110 section 15.4: after 307 and 308 the same request goes to the new address, after 303 a GET for the result.
 * After 301 and 302 a POST may become a GET; here it stays a POST, since the answer to a GET would look like the
 * partner's answer to a lead that was never sent.
 */
function nextHop(hop: Hop, url: URL, status: number, bodyWithoutCredentials: string): Hop {
  const elsewhere = url.origin !== hop.url.origin;
  const headers = elsewhere ? hop.headers.filter(([name]) => harmlessHeaders.has(name.toLowerCase())) : hop.headers;
  if (status === 303 && hop.method !== "HEAD") {
    return {
      method: "GET",
      url,
      headers: headers.filter(([name]) => !contentHeaders.has(name.toLowerCase())),
      body: "",
    };
  }
  return { ...hop, url, headers, body: elsewhere && hop.body !== "" ? bodyWithoutCredentials : hop.body };
}

/** What another host may see. Any other header may be a key of the partner's. */
const harmlessHeaders: ReadonlySet<string> = new Set([
  "accept",
  "accept-encoding",
  "accept-language",
  "content-language",
  "content-type",
  "idempotency-key",
  "soapaction",
  "user-agent",
]);

const contentHeaders: ReadonlySet<string> = new Set([
  "content-type",
  "content-language",
  "content-encoding",
  "soapaction",
]);
