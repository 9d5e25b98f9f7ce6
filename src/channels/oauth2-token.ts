import { createHash } from "node:crypto";
import { z } from "zod";
import { readOutboundUrl } from "./address-guard.ts";
import type { Authentication, SendContext } from "./contract.ts";
import type { Answer, Failure } from "./http-exchange.ts";
import { exchange, failure } from "./http-exchange.ts";

type ClientCredentials = Extract<Authentication, { type: "oauth2" }>;

export interface Token {
  readonly kind: "token";
  readonly accessToken: string;
  /** When the next one is to be fetched: some time before this one ends. */
  readonly renewAtMs: number;
}

interface Entry {
  readonly result: Promise<Token | Failure>;
  /** Null while it is being fetched. */
  token: Token | null;
}

const fetchTimeoutMs = 15_000;
const maxAnswerBytes = 64 * 1024;
/** A token is not used in its last minute, nor in its last tenth where it lives shorter than ten minutes. */
const leewayMs = 60_000;
/** How long a token counts as good whose life the server does not state (RFC 6749 section 5.1). */
const unstatedLifeMs = 5 * 60_000;
const maxEntries = 1_000;

/** By everything that leads to the token, the secret included: whoever does not know it gets no token out of here. */
const entries = new Map<string, Entry>();

/**
 * Gives the access token for these client credentials (RFC 6749 section 4.4): the one at hand while it is good, else a
 * new one, fetched once however many ask at the same time. Fails with `authentication` where the server refuses, with
 * the network's failure where it cannot be reached or is out of order; nothing has been sent to the partner then.
 */
export function accessToken(credentials: ClientCredentials, context: SendContext): Promise<Token | Failure> {
  const key = keyOf(credentials);
  const known = entries.get(key);
  if (known !== undefined && (known.token === null || context.now().getTime() < known.token.renewAtMs)) {
    return known.result;
  }
  const entry: Entry = { result: fetchToken(credentials, context), token: null };
  entries.delete(key);
  entries.set(key, entry);
  if (entries.size > maxEntries) forgetOldest();
  return keepWhenGood(key, entry);
}

async function keepWhenGood(key: string, entry: Entry): Promise<Token | Failure> {
  const result = await entry.result;
  if (result.kind === "token") entry.token = result;
  else if (entries.get(key) === entry) entries.delete(key);
  return result;
}

function forgetOldest(): void {
  const [oldest] = entries.keys();
  if (oldest !== undefined) entries.delete(oldest);
}

/** Forgets a token that the partner did not take, so that the next request fetches another. */
export function dropToken(credentials: ClientCredentials, refused: Token): void {
  const key = keyOf(credentials);
  if (entries.get(key)?.token?.accessToken === refused.accessToken) entries.delete(key);
}

/** Forgets every token. */
export function forgetTokens(): void {
  entries.clear();
}

function keyOf({ tokenUrl, clientId, clientSecret, scope, audience }: ClientCredentials): string {
  const parts = JSON.stringify([tokenUrl, clientId, clientSecret, scope ?? "", audience ?? ""]);
  return createHash("sha256").update(parts).digest("base64");
}

async function fetchToken(credentials: ClientCredentials, context: SendContext): Promise<Token | Failure> {
  const url = readOutboundUrl(credentials.tokenUrl);
  if (!url.ok) return failure("refused_address", `The token address: ${url.detail}`);
  const form = new URLSearchParams({ grant_type: "client_credentials" });
  if (credentials.scope !== undefined) form.set("scope", credentials.scope);
  if (credentials.audience !== undefined) form.set("audience", credentials.audience);
  const headers: [string, string][] = [
    ["content-type", "application/x-www-form-urlencoded"],
    ["accept", "application/json"],
  ];
  if (credentials.credentialsIn === "header") {
    headers.push(["authorization", clientBasic(credentials.clientId, credentials.clientSecret)]);
  } else {
    form.set("client_id", credentials.clientId);
    form.set("client_secret", credentials.clientSecret);
  }
  const answer = await exchange(
    {
      method: "POST",
      url: url.url,
      headers,
      body: form.toString(),
      timeoutMs: fetchTimeoutMs,
      maxBodyBytes: maxAnswerBytes,
    },
    context,
  );
  // Whatever went wrong, the lead itself has not been sent.
  if (answer.kind === "failure") return failure(answer.code, `The token address: ${answer.detail}`);
  return readToken(answer, context.now().getTime());
}

/** RFC 6749 section 2.3.1: both parts are form-encoded before they are put together. */
function clientBasic(clientId: string, clientSecret: string): string {
  const encode = (text: string) => new URLSearchParams([["", text]]).toString().slice(1);
  return `Basic ${Buffer.from(`${encode(clientId)}:${encode(clientSecret)}`).toString("base64")}`;
}

const tokenAnswer = z.object({
  // RFC 6750 section 2.1: what may stand in an Authorization header.
  access_token: z.string().regex(/^[\x21-\x7e]+$/),
  token_type: z
    .string()
    .regex(/^bearer$/i)
    .default("bearer"),
  expires_in: z.coerce.number().positive().optional().catch(undefined),
});

/** RFC 6749 section 5.2; anything else in an error answer might be somebody's secret. */
const errorAnswer = z.object({
  error: z.enum([
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
  ]),
});

function readToken(answer: Answer, nowMs: number): Token | Failure {
  if (answer.status === 408 || answer.status === 429 || answer.status >= 500) {
    return failure("connect", `The token address is out of order: it answered ${answer.status}.`);
  }
  const json = parseJson(answer.body);
  if (answer.status !== 200) {
    const error = errorAnswer.safeParse(json);
    const reason = error.success ? ` (${error.data.error})` : "";
    return failure("authentication", `The token address answered ${answer.status}${reason}.`);
  }
  const token = tokenAnswer.safeParse(json);
  if (!token.success) return failure("authentication", "The token address gave no bearer token.");
  const lifeMs = token.data.expires_in === undefined ? unstatedLifeMs : token.data.expires_in * 1000;
  const renewAtMs = nowMs + lifeMs - Math.min(leewayMs, lifeMs / 10);
  return { kind: "token", accessToken: token.data.access_token, renewAtMs };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
