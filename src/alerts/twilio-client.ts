import twilio from "twilio";
import type RequestClient from "twilio/lib/base/RequestClient.js";
import type TwilioResponse from "twilio/lib/http/response.js";
import { z } from "zod";
import { portOf } from "../channels/address-guard.ts";
import type { Reply } from "../channels/contract.ts";
import { sendHttp } from "../channels/send-http.ts";
import type { Config } from "../config.ts";
import type { Context } from "../context.ts";

export type TwilioSettings = NonNullable<Config["twilio"]>;

/** Covers finding the host, connecting, sending and reading the whole answer. */
const timeoutMs = 10_000;

/** Twilio's library, for requests of one thing that bear its id. */
export function twilioClient(context: Context, settings: TwilioSettings, idempotencyKey: string) {
  const { accountSid, authToken } = settings;
  return twilio(accountSid, authToken, { httpClient: new GuardedClient(context, settings, idempotencyKey) });
}

const refusalSchema = z.object({ status: z.int(), code: z.int().optional(), message: z.string().optional() });

/** What Twilio's library throws for an answer that is no 2xx; null for anything else. */
export function refusalOf(error: unknown): z.infer<typeof refusalSchema> | null {
  const parsed = refusalSchema.safeParse(error);
  return parsed.success ? parsed.data : null;
}

/** The request did not get there, or its answer did not come back. */
export class NoAnswer extends Error {
  readonly code: string;

  constructor({ code, detail }: Extract<Reply, { kind: "failure" }>) {
    super(detail);
    this.code = code;
  }
}

/**
 * Carries the requests of Twilio's library over our own HTTP client, bounded in time and size, and to another server where
 * one is configured. That server may be a private one: its address is the operator's setting.
 */
class GuardedClient extends twilio.RequestClient {
  readonly #context: Context;
  readonly #settings: TwilioSettings;
  readonly #idempotencyKey: string;

  constructor(context: Context, settings: TwilioSettings, idempotencyKey: string) {
    super();
    this.#context = context;
    this.#settings = settings;
    this.#idempotencyKey = idempotencyKey;
  }

  override async request<TData>(options: RequestClient.RequestOptions<TData>): Promise<TwilioResponse.default<TData>> {
    const { baseUrl, accountSid, authToken } = this.#settings;
    const url = new URL(options.uri);
    const form = Object.entries(options.data ?? {}).map(([name, value]) => [name, String(value)]);
    const reply = await sendHttp(
      {
        kind: "http",
        method: options.method.toUpperCase(),
        url: baseUrl === undefined ? url.href : baseUrl.replace(/\/+$/, "") + url.pathname + url.search,
        headers: Object.entries(options.headers ?? {}),
        body: new URLSearchParams(form).toString(),
        timeoutMs,
        followRedirects: false,
        secrets: [authToken],
        authentication: { type: "basic", username: accountSid, password: authToken },
      },
      {
        allowHosts: baseUrl === undefined ? [] : [hostAndPort(new URL(baseUrl))],
        idempotencyKey: this.#idempotencyKey,
        now: this.#context.clock,
        smtp: null,
      },
    );
    if (reply.kind === "failure") throw new NoAnswer(reply);
    // The library reads JSON from text by itself.
    return { statusCode: reply.status, body: reply.body as TData, headers: reply.headers };
  }
}

function hostAndPort(url: URL): string {
  return `${url.hostname}:${portOf(url)}`;
}
