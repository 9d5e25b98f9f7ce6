import { readOutboundUrl } from "./address-guard.ts";
import type { Credentials } from "./authentication.ts";
import { authenticate } from "./authentication.ts";
import type { HttpRequest, Reply, SendContext } from "./contract.ts";
import type { Hop } from "./follow-redirects.ts";
import { exchangeFollowing } from "./follow-redirects.ts";
import type { Exchanged } from "./http-exchange.ts";
import { failure } from "./http-exchange.ts";
import { dropToken } from "./oauth2-token.ts";
import { userAgent } from "./user-agent.ts";

/** How much of an answer is kept. */
const maxBodyBytes = 64 * 1024;

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
  const answer = await sendTo(url.url, request, credentials, context, deadlineMs);
  if (answer.kind === "failure" || answer.status !== 401 || authentication.type !== "oauth2") return answer;
  // The partner may have forgotten the token before its time: once more, with a fresh one.
  if (credentials.token !== null) dropToken(authentication, credentials.token);
  const renewed = await authenticate(authentication, request.body, context, leftMs());
  if (renewed.kind === "failure") return renewed;
  return sendTo(url.url, request, renewed, context, deadlineMs);
}

async function sendTo(
  url: URL,
  request: HttpRequest,
  credentials: Credentials,
  context: SendContext,
  deadlineMs: number,
): Promise<Exchanged> {
  const headers = headersOf(request, credentials, context);
  const settings = {
    follow: request.followRedirects,
    // WS-Security writes into the body: another host gets it as it was rendered.
    bodyWithoutCredentials: request.body,
    maxBodyBytes,
    deadlineMs,
  };
  const hop = { method: request.method, url, headers, body: credentials.body };
  const { result } = await exchangeFollowing(hop, settings, context);
  return result;
}

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
