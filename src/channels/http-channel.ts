import type { ChannelRequest, HttpRequest, Rendered, Reply, SendContext, TemplateVariables } from "./contract.ts";
import { listSecrets, secretPaths } from "./secrets.ts";
import { sendHttp } from "./send-http.ts";
import type { InternetSettings } from "./settings.ts";
import { renderTemplate } from "./templates.ts";

type Header = readonly [name: string, value: string];

/** What a channel adds to the settings that all of them share. */
export interface HttpContent {
  readonly body: string;
  /** Written unless the settings name the same header. */
  readonly headers: readonly Header[];
  /** Appended to the address. */
  readonly query?: URLSearchParams;
}

export type RenderedContent =
  | { readonly ok: true; readonly content: HttpContent }
  | { readonly ok: false; readonly field: string; readonly reason: string };

/** Puts the rendered content, address and headers together, or says which field stands in the way. */
export function renderHttpRequest(
  variables: TemplateVariables,
  settings: InternetSettings,
  rendered: RenderedContent,
): Rendered<HttpRequest> {
  if (!rendered.ok) return rendered;
  const url = renderTemplate(settings.url, "url", variables);
  if (!url.ok) return { ok: false, field: "url", reason: url.reason };
  const headers = renderHeaders(settings.headers, variables);
  if (!headers.ok) return headers;
  const { content } = rendered;
  const own = new Set(headers.headers.map(([name]) => name.toLowerCase()));
  const defaults = content.headers.filter(([name]) => !own.has(name.toLowerCase()));
  const request: HttpRequest = {
    kind: "http",
    method: settings.httpMethod,
    url: content.query === undefined ? url.text : withQuery(url.text, content.query),
    headers: [...defaults, ...headers.headers],
    body: content.body,
    timeoutMs: settings.timeoutMs,
    followRedirects: settings.followRedirects,
    secrets: secretsOf(settings, headers.headers),
    authentication: settings.auth,
  };
  return { ok: true, request };
}

export type RenderedHeaders =
  | { readonly ok: true; readonly headers: readonly Header[] }
  | { readonly ok: false; readonly field: string; readonly reason: string };

/** A header whose value comes out empty is left out. */
export function renderHeaders(
  templates: Readonly<Record<string, string>>,
  variables: TemplateVariables,
): RenderedHeaders {
  const headers: Header[] = [];
  for (const [name, template] of Object.entries(templates)) {
    const value = renderTemplate(template, "line", variables);
    if (!value.ok) return { ok: false, field: `headers.${name}`, reason: value.reason };
    if (value.text !== "") headers.push([name, value.text]);
  }
  return { ok: true, headers };
}

function withQuery(url: string, query: URLSearchParams): string {
  const added = query.toString();
  if (added === "") return url;
  return url.includes("?") ? `${url}&${added}` : `${url}?${added}`;
}

function secretsOf(settings: InternetSettings, headers: readonly Header[]): readonly string[] {
  const secret = new Set(secretPaths(settings).map(([, key]) => key));
  const values = headers.filter(([name]) => secret.has(name)).map(([, value]) => value);
  const { auth } = settings;
  if (auth.type === "basic") values.push(Buffer.from(`${auth.username}:${auth.password}`).toString("base64"));
  return [...new Set([...listSecrets(settings), ...values])];
}

export async function sendOverHttp(request: ChannelRequest, context: SendContext): Promise<Reply> {
  if (request.kind !== "http") throw new Error("A mail was given to a channel over HTTP: send it by its own channel.");
  return sendHttp(request, context);
}
