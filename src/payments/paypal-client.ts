import { z } from "zod";
import { portOf } from "../channels/address-guard.ts";
import { sendHttp } from "../channels/send-http.ts";
import type { Context } from "../context.ts";
import type { PayPalAccount } from "./paypal-account.ts";
import type { PayPalMoney } from "./paypal-money.ts";

/** PayPal's REST API, as far as payments need it: https://developer.paypal.com/api/rest/. Nothing here decides anything. */

const timeoutMs = 15_000;

const baseUrls = { sandbox: "https://api-m.sandbox.paypal.com", live: "https://api-m.paypal.com" } as const;

/** What PayPal answered, or why there is no answer to go by. */
export type Called<T> =
  | { readonly kind: "answer"; readonly value: T }
  /** It says that this is not to be, however often it is asked. `issue` is its own code, such as ORDER_NOT_APPROVED. */
  | { readonly kind: "refused"; readonly status: number; readonly issue: string; readonly reason: string }
  /** Nothing is known: it may have been done or not. To be asked again. */
  | { readonly kind: "unknown"; readonly reason: string };

/** What PayPal calls an order, a capture or a refund. */
export const identifier = z.string().regex(/^[A-Za-z0-9-]{1,64}$/);

const moneySchema = z
  .object({ currency_code: z.string().max(3), value: z.string().max(32) })
  .transform(({ currency_code, value }): PayPalMoney => ({ currency: currency_code, value }));

const captureSchema = z.object({ id: identifier, status: z.string(), amount: moneySchema });

export const refundSchema = z.object({
  id: identifier,
  status: z.string(),
  amount: moneySchema,
  custom_id: z.string().nullish(),
});

const linksSchema = z.array(z.object({ href: z.string(), rel: z.string() })).default([]);

const orderSchema = z.object({
  id: identifier,
  status: z.string(),
  purchase_units: z
    .array(
      z.object({
        amount: moneySchema.optional(),
        payments: z
          .object({ captures: z.array(captureSchema).default([]), refunds: z.array(refundSchema).default([]) })
          .prefault({}),
      }),
    )
    .default([]),
});
export type PayPalOrder = z.infer<typeof orderSchema>;
export type PayPalRefund = z.infer<typeof refundSchema>;

export interface NewOrder {
  /** Comes back with everything that PayPal tells of the payment, and names the request: the same one is made once. */
  readonly id: string;
  readonly amount: PayPalMoney;
  readonly description: string;
  readonly brandName: string;
  readonly returnUrl: string;
  readonly cancelUrl: string;
}

const newOrderSchema = z.object({ id: identifier, status: z.string(), links: linksSchema });

/** Makes an order; gives its id and the address at which the payer approves it. */
export async function createOrder(
  context: Context,
  account: PayPalAccount,
  { id, amount, description, brandName, returnUrl, cancelUrl }: NewOrder,
): Promise<Called<{ orderId: string; approvalUrl: string }>> {
  const body = {
    intent: "CAPTURE",
    purchase_units: [
      // PayPal pays one invoice once.
      { custom_id: id, invoice_id: id, description: description.slice(0, 127), amount: written(amount) },
    ],
    payment_source: {
      paypal: {
        experience_context: {
          brand_name: brandName.slice(0, 127),
          user_action: "PAY_NOW",
          shipping_preference: "NO_SHIPPING",
          return_url: returnUrl,
          cancel_url: cancelUrl,
        },
      },
    },
  };
  const called = await call(context, account, "POST", "/v2/checkout/orders", newOrderSchema, { body, requestId: id });
  if (called.kind !== "answer") return called;
  const approval = called.value.links.find(({ rel }) => rel === "payer-action" || rel === "approve");
  if (approval === undefined || !/^https?:/.test(approval.href)) {
    return { kind: "unknown", reason: "PayPal made an order and gave no address to approve it at." };
  }
  return { kind: "answer", value: { orderId: called.value.id, approvalUrl: approval.href } };
}

/** The order with its captures and refunds, as they stand now. */
export async function readOrder(
  context: Context,
  account: PayPalAccount,
  orderId: string,
): Promise<Called<PayPalOrder>> {
  return call(context, account, "GET", `/v2/checkout/orders/${orderId}`, orderSchema);
}

/** Takes the money of an order that the payer approved. The same request id takes it once. Gives the order as it then is. */
export async function captureOrder(
  context: Context,
  account: PayPalAccount,
  orderId: string,
  requestId: string,
): Promise<Called<PayPalOrder>> {
  return call(context, account, "POST", `/v2/checkout/orders/${orderId}/capture`, orderSchema, { body: {}, requestId });
}

const capturedSchema = z.object({
  supplementary_data: z.object({ related_ids: z.object({ order_id: identifier }) }),
});

/** The order that a capture belongs to. */
export async function readOrderOfCapture(
  context: Context,
  account: PayPalAccount,
  captureId: string,
): Promise<Called<string>> {
  const called = await call(context, account, "GET", `/v2/payments/captures/${captureId}`, capturedSchema);
  if (called.kind !== "answer") return called;
  return { kind: "answer", value: called.value.supplementary_data.related_ids.order_id };
}

/** Gives a captured payment back, or a part of it. The same id gives it back once; it comes back as the refund's custom id. */
export async function refundCapture(
  context: Context,
  account: PayPalAccount,
  captureId: string,
  { id, amount }: { readonly id: string; readonly amount: PayPalMoney },
): Promise<Called<PayPalRefund>> {
  const body = { amount: written(amount), custom_id: id };
  const path = `/v2/payments/captures/${captureId}/refund`;
  return call(context, account, "POST", path, refundSchema, { body, requestId: id });
}

/** The headers of a webhook that its signature is made of. */
export interface WebhookSignature {
  readonly transmissionId: string;
  readonly transmissionTime: string;
  readonly transmissionSig: string;
  readonly certUrl: string;
  readonly authAlgo: string;
}

const verificationSchema = z.object({ verification_status: z.string() });

/**
 * Asks PayPal whether it sent this webhook. The body goes back as it came, byte for byte: the signature is over it. So no
 * certificate is fetched from wherever a stranger's header says. Takes a body that is a JSON object.
 */
export async function verifyWebhook(
  context: Context,
  account: PayPalAccount,
  webhookId: string,
  signature: WebhookSignature,
  rawBody: string,
): Promise<Called<boolean>> {
  const { transmissionId, transmissionTime, transmissionSig, certUrl, authAlgo } = signature;
  const about = JSON.stringify({
    auth_algo: authAlgo,
    cert_url: certUrl,
    transmission_id: transmissionId,
    transmission_sig: transmissionSig,
    transmission_time: transmissionTime,
    webhook_id: webhookId,
  });
  const rawRequest = `${about.slice(0, -1)},"webhook_event":${rawBody}}`;
  const path = "/v1/notifications/verify-webhook-signature";
  const called = await call(context, account, "POST", path, verificationSchema, { rawRequest });
  if (called.kind !== "answer") return called;
  return { kind: "answer", value: called.value.verification_status === "SUCCESS" };
}

function written({ currency, value }: PayPalMoney) {
  return { currency_code: currency, value };
}

interface Sent {
  readonly body?: object;
  /** The body as it is, where it must not be written anew. */
  readonly rawRequest?: string;
  readonly requestId?: string;
}

async function call<T>(
  context: Context,
  account: PayPalAccount,
  method: "GET" | "POST",
  path: string,
  schema: z.ZodType<T>,
  { body, rawRequest, requestId }: Sent = {},
): Promise<Called<T>> {
  const { payPalBaseUrl } = context.config;
  const base = payPalBaseUrl?.replace(/\/+$/, "") ?? baseUrls[account.environment];
  const clientSecret = context.vault.decrypt(account.clientSecretEncrypted);
  const headers: [string, string][] = [
    ["content-type", "application/json"],
    ["accept", "application/json"],
    ["prefer", "return=representation"],
  ];
  if (requestId !== undefined) headers.push(["paypal-request-id", requestId]);
  const reply = await sendHttp(
    {
      kind: "http",
      method,
      url: base + path,
      headers,
      body: rawRequest ?? (body === undefined ? "" : JSON.stringify(body)),
      timeoutMs,
      followRedirects: false,
      secrets: [clientSecret],
      authentication: {
        type: "oauth2",
        tokenUrl: `${base}/v1/oauth2/token`,
        clientId: account.clientId,
        clientSecret,
        credentialsIn: "header",
      },
    },
    {
      // Another server than PayPal's own is the operator's choice, and may be a private one.
      allowHosts: payPalBaseUrl === undefined ? [] : [hostAndPort(new URL(payPalBaseUrl))],
      idempotencyKey: requestId ?? account.id,
      now: context.clock,
      smtp: null,
    },
  );
  if (reply.kind === "failure") return { kind: "unknown", reason: `PayPal could not be asked: ${reply.detail}` };
  if (reply.status >= 200 && reply.status < 300) return readAnswer(schema, reply.body);
  return judgeRefusal(reply.status, reply.body);
}

function readAnswer<T>(schema: z.ZodType<T>, body: string): Called<T> {
  const parsed = schema.safeParse(parseJson(body));
  if (parsed.success) return { kind: "answer", value: parsed.data };
  const place = parsed.error.issues[0]?.path.join(".") ?? "";
  return { kind: "unknown", reason: `PayPal's answer could not be read${place === "" ? "" : ` (${place})`}.` };
}

const refusalSchema = z.object({
  name: z.string().max(100).catch(""),
  message: z.string().max(500).catch(""),
  details: z
    .array(z.object({ issue: z.string().max(100), description: z.string().max(500).optional() }))
    .catch([])
    .default([]),
});

/** Statuses that speak about us or the moment and not about what was asked: our credentials, another request, too many. */
const passingStatuses: ReadonlySet<number> = new Set([401, 403, 408, 409, 425, 429]);
/** Another request with the same id is under way. */
const passingIssues: ReadonlySet<string> = new Set(["DUPLICATE_REQUEST_ID", "PREVIOUS_REQUEST_IN_PROGRESS"]);

function judgeRefusal(status: number, body: string): Called<never> {
  const parsed = refusalSchema.safeParse(parseJson(body));
  const { name, message, details } = parsed.success ? parsed.data : { name: "", message: "", details: [] };
  const [detail] = details;
  const issue = detail?.issue ?? name;
  const words = detail?.description ?? message;
  const reason = `PayPal answered ${status}${issue === "" ? "" : ` ${issue}`}${words === "" ? "" : `: ${words}`}`;
  if (status >= 500 || status < 400 || passingStatuses.has(status) || passingIssues.has(issue)) {
    return { kind: "unknown", reason };
  }
  return { kind: "refused", status, issue, reason };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function hostAndPort(url: URL): string {
  return `${url.hostname}:${portOf(url)}`;
}
