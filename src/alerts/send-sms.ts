import twilio from "twilio";
import type RequestClient from "twilio/lib/base/RequestClient.js";
import type TwilioResponse from "twilio/lib/http/response.js";
import { z } from "zod";
import { portOf } from "../channels/address-guard.ts";
import type { Reply } from "../channels/contract.ts";
import { sendHttp } from "../channels/send-http.ts";
import type { Config } from "../config.ts";
import type { Context } from "../context.ts";
import { type AlertOutcome, failForGood, retryLater } from "./alert-outcome.ts";
import type { ClaimedAlert } from "./claim-alerts.ts";
import { explainTwilioError } from "./explain-twilio-error.ts";
import type { SmsText } from "./fit-sms.ts";

type TwilioSettings = NonNullable<Config["twilio"]>;

/** Covers finding the host, connecting, sending and reading the whole answer. */
const timeoutMs = 10_000;

/** Where Twilio reports what became of a message. It signs its requests with this address, so both sides write it alike. */
export function smsStatusUrl(config: Config): string {
  return `${config.publicUrl.replace(/\/+$/, "")}/v1/alerts/sms-status`;
}

/**
 * Hands an SMS to Twilio. Refused for good where Twilio says that this message will never go (4xx); to be tried again
 * when it is busy, fails or cannot be reached: a message that a failed answer hid may then arrive twice.
 */
export async function sendSms(
  context: Context,
  alert: ClaimedAlert,
  { body, segments }: SmsText,
): Promise<AlertOutcome> {
  const { config } = context;
  if (config.twilio === null) {
    return failForGood(
      "not_configured",
      "No SMS service is configured (TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_FROM).",
    );
  }
  const { accountSid, authToken, from } = config.twilio;
  const client = twilio(accountSid, authToken, { httpClient: new GuardedClient(context, config.twilio, alert.id) });
  const message = { to: alert.recipient, from, body };
  try {
    const created = await client.messages
      .create({ ...message, statusCallback: smsStatusUrl(config) })
      // Twilio takes no address that only this machine or its network can reach: then the message goes without reports.
      .catch(async (error: unknown) =>
        refusalOf(error)?.code === badStatusCallback ? client.messages.create(message) : Promise.reject(error),
      );
    return { kind: "sent", code: null, providerId: z.string().min(1).parse(created.sid), segments };
  } catch (error) {
    return judge(error);
  }
}

const badStatusCallback = 21609;

const refusalSchema = z.object({ status: z.int(), code: z.int().optional(), message: z.string().optional() });

/** What Twilio's library throws for an answer that is no 2xx; null for anything else. */
function refusalOf(error: unknown): z.infer<typeof refusalSchema> | null {
  const parsed = refusalSchema.safeParse(error);
  return parsed.success ? parsed.data : null;
}

/** Client errors that say "later", not "no". */
const passingStatuses: ReadonlySet<number> = new Set([408, 425, 429]);

function judge(error: unknown): AlertOutcome {
  if (error instanceof NoAnswer)
    return retryLater(`sms_${error.code}`, `The SMS service could not be asked: ${error.message}`);
  const refusal = refusalOf(error);
  if (refusal !== null) {
    const { status, code, message } = refusal;
    const reason =
      code === undefined
        ? `The SMS service answered with status ${status} and no reason.`
        : explainTwilioError(code, message ?? null);
    const isFinal = status >= 400 && status < 500 && !passingStatuses.has(status);
    return (isFinal ? failForGood : retryLater)(`twilio_${code ?? status}`, reason);
  }
  if (error instanceof SyntaxError || error instanceof z.ZodError) {
    return retryLater("sms_answer", "The SMS service's answer could not be read.");
  }
  throw error;
}

/** The request did not get there, or its answer did not come back. */
class NoAnswer extends Error {
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
  readonly #alertId: string;

  constructor(context: Context, settings: TwilioSettings, alertId: string) {
    super();
    this.#context = context;
    this.#settings = settings;
    this.#alertId = alertId;
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
        idempotencyKey: this.#alertId,
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
