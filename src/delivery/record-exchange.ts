import type { ChannelRequest, Reply } from "../channels/contract.ts";
import { secretMask } from "../channels/http-settings.ts";

/** As much of a body as is kept with an attempt. */
const keptBytes = 65_536;

/** What is kept of a request: all that helps to see what the partner got, with every secret masked. */
export function recordRequest(request: ChannelRequest): Record<string, unknown> {
  const { secrets } = request;
  const headers = request.headers.map(([name, value]) => [name, mask(value, secrets)]);
  if (request.kind === "http") {
    return { method: request.method, url: mask(request.url, secrets), headers, body: kept(request.body, secrets) };
  }
  const { to, subject, text, html } = request;
  return { to, subject, headers, text: kept(text, secrets), html: html === null ? null : kept(html, secrets) };
}

/** What is kept of a reply. A partner that echoes our credentials does not get them stored. */
export function recordReply(reply: Reply, secrets: readonly string[]): Record<string, unknown> {
  if (reply.kind === "failure") return { failure: reply.code, detail: mask(reply.detail, secrets) };
  const headers = Object.entries(reply.headers).map(([name, value]) => [name, mask(value, secrets)]);
  return { status: reply.status, headers, body: kept(reply.body, secrets), truncated: reply.truncated };
}

function kept(text: string, secrets: readonly string[]): string {
  return storable(mask(text, secrets).slice(0, keptBytes));
}

/** The text with every secret masked. */
export function mask(text: string, secrets: readonly string[]): string {
  return storable(secrets.reduce((rest, secret) => (secret === "" ? rest : rest.replaceAll(secret, secretMask)), text));
}

/** The text without what PostgreSQL keeps in no text and no jsonb: NUL, and halves of surrogate pairs. */
export function storable(text: string): string {
  return text.replace(/\0|\p{Surrogate}/gu, "\ufffd");
}
