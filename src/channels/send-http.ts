import { readOutboundUrl } from "./address-guard.ts";
import type { Credentials } from "./authentication.ts";
import { authenticate } from "./authentication.ts";
import type { HttpRequest, Reply, SendContext } from "./contract.ts";
import type { Answer, Exchanged, HttpExchange } from "./http-exchange.ts";
import { exchange, failure } from "./http-exchange.ts";
import { dropToken } from "./oauth2-token.ts";
import { userAgent } from "./user-agent.ts";

/** How much of an answer is kept. */
const maxBodyBytes = 64 * 1024;
const maxRedirects = 5;

/**
 * Sends a rendered request to a partner and gives what came back. Never throws for what a partner or a network does:
 * that is a failure, with whether the request may have arrived. The request's `timeoutMs` covers everything, tokens and
 * redirects included.
 */
export async function sendHttp(request: HttpRequest, context: SendContext): Promise<Reply> {
  const startedMs = performance.now();
  const sent = await sendAuthenticated(request, context, startedMs + request.timeoutMs);
  return { ...sent, durationMs: Math.round(performance.now() - startedMs) };
}

async function sendAuthenticated(request: HttpRequest, context: SendContext, deadlineMs: number): Promise<Exchanged> {
  const { authentication } = request;
  const leftMs = () => deadlineMs - performance.now();
  // Before any token is fetched: an address that cannot be sent to needs none.
  const url = readOutboundUrl(request.url);
  if (!url.ok) return failure("refused_address", url.detail);
  const credentials = await authenticate(authentication, request.body, context, leftMs());
  if (credentials.kind === "failure") return credentials;
  const answer = await sendAndFollow(url.url, request, credentials, context, deadlineMs);
  if (answer.kind === "failure" || answer.status !== 401 || authentication.type !== "oauth2") return answer;
  // The partner may have forgotten the token before its time: once more, with a fresh one.
  if (credentials.token !== null) dropToken(authentication, credentials.token);
  const renewed = await authenticate(authentication, request.body, context, leftMs());
  if (renewed.kind === "failure") return renewed;
  return sendAndFollow(url.url, request, renewed, context, deadlineMs);
}

async function sendAndFollow(
  url: URL,
  request: HttpRequest,
  credentials: Credentials,
  context: SendContext,
  deadlineMs: number,
): Promise<Exchanged> {
  let hop: Hop = {
    method: request.method,
    url,
    headers: headersOf(request, credentials, context),
    body: credentials.body,
  };
  // After a 303 the first request has been handled; whatever fails from there on, it may have arrived.
  let handled = false;
  for (let redirects = 0; ; redirects += 1) {
    const answer = await exchange({ ...hop, timeoutMs: deadlineMs - performance.now(), maxBodyBytes }, context);
    if (answer.kind === "failure") return handled ? { ...answer, arrived: "unknown" } : answer;
    const location = request.followRedirects ? redirectTarget(answer) : null;
    if (location === null) return answer;
    handled ||= answer.status === 303;
    const arrived = handled ? "unknown" : "no";
    if (redirects === maxRedirects) return failure("redirect", `More than ${maxRedirects} redirects.`, arrived);
    const next = readOutboundUrl(location, hop.url);
    if (!next.ok) return failure("refused_address", `The redirect: ${next.detail}`, arrived);
    hop = followHop(hop, next.url, answer.status, request.body);
  }
}

type Hop = Pick<HttpExchange, "method" | "url" | "headers" | "body">;

const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

function redirectTarget(answer: Answer): string | null {
  return redirectStatuses.has(answer.status) ? (answer.headers.location ?? null) : null;
}

/**
 * RFC 9110 section 15.4: after 307 and 308 the same request goes to the new address, after 303 a GET for the result.
 * After 301 and 302 a POST may become a GET; here it stays a POST, since the answer to a GET would look like the
 * partner's answer to a lead that was never sent.
 */
function followHop(hop: Hop, url: URL, status: number, renderedBody: string): Hop {
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
  // A UsernameToken is in the body: another host gets the body as it was rendered.
  return { ...hop, url, headers, body: elsewhere && hop.body !== "" ? renderedBody : hop.body };
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

/** Ours first, in place of which the request may name its own; the credentials take the place of either. */
function headersOf(request: HttpRequest, credentials: Credentials, context: SendContext): Hop["headers"] {
  const ours: Hop["headers"] = [
    ["user-agent", userAgent],
    ["accept", "*/*"],
    ["accept-encoding", "gzip, deflate, br"],
    ["idempotency-key", context.idempotencyKey],
  ];
  return replaceHeaders(replaceHeaders(ours, request.headers), credentials.headers);
}

function replaceHeaders(headers: Hop["headers"], replacements: Hop["headers"]): Hop["headers"] {
  const replaced = new Set(replacements.map(([name]) => name.toLowerCase()));
  return [...headers.filter(([name]) => !replaced.has(name.toLowerCase())), ...replacements];
}
