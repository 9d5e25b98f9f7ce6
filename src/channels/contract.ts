import type { z } from "zod";
import type { Lookup } from "./address-guard.ts";

/**
 * What every channel is made of. Channels know no database, no queue and no ledger: they turn a lead into a request,
 * send it, and say what the answer means. See docs/delivery-methods.md.
 */

export const channelNames = ["email", "xml", "json", "soap11", "soap12", "post"] as const;
export type ChannelName = (typeof channelNames)[number];

/** A field of a lead after intake has made it regular: money is minor units as a number, a date is `YYYY-MM-DD`. */
export type FieldValue = string | number | boolean | null;

/**
 * What a template sees. `lead` holds every field of the campaign by its key (absent optional fields are null) with the
 * main contact's fields among them, and `id`, `received_at` (ISO 8601, UTC) and `source`.
 */
/** How the money fields of a lead are written for people, by key. */
export type MoneyFields = Readonly<Record<string, { readonly decimals: number; readonly currency: string | null }>>;

export interface TemplateVariables {
  readonly lead: Readonly<Record<string, FieldValue>>;
  readonly contacts: readonly Readonly<Record<string, FieldValue>>[];
  /** `money` tells by key which of the lead's fields are money. */
  readonly campaign: { readonly id: string; readonly name: string; readonly money?: MoneyFields };
  readonly partner: { readonly id: string; readonly name: string };
  /** `id` is also the idempotency key; `price_minor` is null where no price applies; `test` marks a trial send. */
  readonly delivery: {
    readonly id: string;
    readonly price_minor: number | null;
    readonly currency: string | null;
    readonly test: boolean;
  };
}

export interface HttpRequest {
  readonly kind: "http";
  readonly method: string;
  readonly url: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  readonly timeoutMs: number;
  readonly followRedirects: boolean;
  /** Values (tokens, passwords) to be masked wherever the request or its reply is stored or shown. */
  readonly secrets: readonly string[];
  /** Applied when sending because it needs a clock, a nonce or a token from elsewhere. */
  readonly authentication: Authentication;
}

export interface MailRequest {
  readonly kind: "mail";
  readonly to: readonly string[];
  readonly subject: string;
  readonly text: string;
  readonly html: string | null;
  /** Of mails of ours; what a partner is sent has none. */
  readonly attachments?: readonly MailAttachment[];
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly timeoutMs: number;
  readonly secrets: readonly string[];
}

export interface MailAttachment {
  readonly name: string;
  readonly contentType: string;
  readonly content: Buffer;
}

export type ChannelRequest = HttpRequest | MailRequest;

export type Authentication =
  | { readonly type: "none" }
  | { readonly type: "basic"; readonly username: string; readonly password: string }
  | { readonly type: "bearer"; readonly token: string }
  | { readonly type: "apiKey"; readonly header: string; readonly value: string }
  | {
      readonly type: "oauth2";
      readonly tokenUrl: string;
      readonly clientId: string;
      readonly clientSecret: string;
      readonly scope?: string | undefined;
      readonly audience?: string | undefined;
      /** Where the client's credentials go (RFC 6749 section 2.3.1). */
      readonly credentialsIn: "header" | "body";
    }
  | {
      /** WS-Security UsernameToken Profile 1.1: put into the SOAP header. */
      readonly type: "usernameToken";
      readonly username: string;
      readonly password: string;
      readonly passwordType: "text" | "digest";
    }
  | {
      /** Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`; the secret is `whsec_` and base64. */
      readonly type: "standardWebhooks";
      readonly secret: string;
    };

/** Did the request reach the partner? `unknown` when it may have been sent whole and no readable answer came. */
export type Arrival = "no" | "yes" | "unknown";

/** What came back over the wire, before it is judged. Sending never throws for what a partner or a network does. */
export type Reply =
  | {
      readonly kind: "answer";
      /** HTTP status; for mail the SMTP reply code. */
      readonly status: number;
      /** Lower-case names; a repeated header is joined with `, `. */
      readonly headers: Readonly<Record<string, string>>;
      /** Decoded text (charset, gzip, BOM), at most 64 KiB of it. */
      readonly body: string;
      /** The answer was longer than what is kept. */
      readonly truncated: boolean;
      /** The answer could not be decoded: the rules cannot be asked. Says why. */
      readonly unreadable: string | null;
      readonly durationMs: number;
    }
  | {
      readonly kind: "failure";
      /** One of a closed list, in plain words in `detail`. */
      readonly code: FailureCode;
      readonly detail: string;
      readonly arrived: Arrival;
      readonly durationMs: number;
    };

export const failureCodes = [
  "dns",
  "connect",
  "tls",
  "timeout",
  "reset",
  "cut_off",
  "refused_address",
  "redirect",
  "authentication",
  "protocol",
] as const;
export type FailureCode = (typeof failureCodes)[number];

/** What an attempt came to (design, section 4). A value, never an exception. */
export type Outcome =
  | {
      readonly kind: "accepted";
      readonly reference: string | null;
      readonly reason: string | null;
      /** The price that the answer names, as the text found there; whether it counts is the ledger's decision. */
      readonly price: string | null;
    }
  | { readonly kind: "rejected"; readonly reason: string }
  | {
      readonly kind: "retry";
      readonly reason: string;
      readonly arrived: Arrival;
      /** From Retry-After, at most an hour; null where the partner named none. */
      readonly retryAfterMs: number | null;
    }
  | {
      readonly kind: "broken";
      readonly reason: string;
      /** The partner said 2xx to the whole request, and what else it said cannot be read: it may have taken the lead. */
      readonly mayHaveArrived?: true;
    };

/** Rendering ends in a request or in the reason why this lead cannot be put into this body. */
export type Rendered<R extends ChannelRequest = ChannelRequest> =
  | { readonly ok: true; readonly request: R }
  | { readonly ok: false; readonly field: string; readonly reason: string };

/** Problems found when settings are saved: which field, and what is wrong with it in plain words. */
export interface SettingsProblem {
  readonly field: string;
  readonly message: string;
}

export interface SendContext {
  /** `host:port` entries that may be reached although they resolve to a private address. */
  readonly allowHosts: readonly string[];
  /** Turns a host name into its addresses; the system's resolver where absent. */
  readonly lookup?: Lookup | undefined;
  /** Sent to the partner with every attempt of one delivery. */
  readonly idempotencyKey: string;
  readonly now: () => Date;
  /** The operator's SMTP server; null where none is configured. */
  readonly smtp: SmtpServer | null;
}

export interface SmtpServer {
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
  readonly username: string | null;
  readonly password: string | null;
  readonly from: string;
}

/** One way to reach a partner. `settings` is data; `render` and `judge` are pure; only `send` touches the network. */
export interface Channel<Settings> {
  readonly name: ChannelName;
  /** Validates, draws the form, and marks secrets with `.meta({ secret: true })`. */
  readonly settings: z.ZodType<Settings>;
  render(variables: TemplateVariables, settings: Settings): Rendered;
  send(request: ChannelRequest, context: SendContext): Promise<Reply>;
  judge(reply: Reply, settings: Settings): Outcome;
}
