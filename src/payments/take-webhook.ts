import { sql } from "kysely";
import { z } from "zod";
import { sendAlerts } from "../../queues/send-alerts.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import type { RefundFact } from "./decide-top-up.ts";
import { lookAtTopUp, toRefundFact } from "./look-at-top-up.ts";
import { recordProblems } from "./payment-problems.ts";
import { type PayPalAccount, readAccount } from "./paypal-account.ts";
import { identifier, readOrderOfCapture, refundSchema, verifyWebhook, type WebhookSignature } from "./paypal-client.ts";

export type WebhookResult =
  /** Or it is about nothing of ours: either way PayPal need not send it again. */
  | { readonly kind: "taken" }
  | { readonly kind: "not_found" }
  | { readonly kind: "unreadable" }
  | { readonly kind: "not_signed" }
  /** PayPal could not be asked; it sends the webhook again later. */
  | { readonly kind: "unknown"; readonly reason: string };

/** Whose account it is at PayPal, and the account; null where there is none. */
export async function findAccount(
  context: Context,
  accountId: string,
): Promise<{ readonly organisationId: string; readonly account: PayPalAccount } | null> {
  const { rows } = await sql<{ organisationId: string }>`
    select * from find_paypal_account(${accountId}::uuid)
  `.execute(context.database);
  const organisationId = rows[0]?.organisationId;
  if (organisationId === undefined) return null;
  const account = await inOrganisation(context.database, organisationId, async (transaction) =>
    readAccount(transaction, accountId),
  );
  return account === null ? null : { organisationId, account };
}

/**
 * Takes a webhook. Once PayPal has confirmed that it is its own, it says which payment to look at, and what went back of it;
 * how the payment stands is asked from PayPal. So one that comes late, again or out of order does no harm.
 */
export async function takeWebhook(
  context: Context,
  organisationId: string,
  account: PayPalAccount,
  signature: WebhookSignature | null,
  rawBody: string,
): Promise<WebhookResult> {
  const event = readEvent(rawBody);
  if (event === null) return { kind: "unreadable" };
  if (signature === null || account.webhookId === null) {
    await recordUnverified(context, organisationId, account.id);
    return { kind: "not_signed" };
  }
  const verified = await verifyWebhook(context, account, account.webhookId, signature, rawBody);
  if (verified.kind === "unknown") return verified;
  // PayPal refuses (4xx) what cannot be a signature of its own at all.
  if (verified.kind === "refused" || !verified.value) {
    await recordUnverified(context, organisationId, account.id);
    return { kind: "not_signed" };
  }
  const about = readAbout(event);
  if (about === null) return { kind: "taken" };
  const topUpId = await findTopUp(context, organisationId, account, about);
  if (typeof topUpId !== "string") return topUpId;
  const look = await lookAtTopUp(context, organisationId, topUpId, about.refund === null ? [] : [about.refund]);
  return look.kind === "unknown" ? look : { kind: "taken" };
}

const eventSchema = z.object({
  event_type: z.string().max(100),
  resource: z.record(z.string(), z.unknown()),
});
type PayPalEvent = z.infer<typeof eventSchema>;

/** null unless it is a JSON object with a type and what it is about. */
function readEvent(rawBody: string): PayPalEvent | null {
  try {
    return eventSchema.safeParse(JSON.parse(rawBody)).data ?? null;
  } catch {
    return null;
  }
}

interface About {
  readonly orderId: string | null;
  readonly captureId: string | null;
  readonly refund: RefundFact | null;
}

const orderResource = z.object({ id: identifier });
const reversedOrderResource = z.object({ order_id: identifier });
const captureResource = z.object({
  id: identifier,
  supplementary_data: z.object({ related_ids: z.object({ order_id: identifier }) }).optional(),
});
const refundResource = refundSchema.extend({ links: z.array(z.object({ rel: z.string(), href: z.string() })) });

/** Which payment an event is about, and the refund that it tells of; null for events that mean nothing to payments. */
function readAbout({ event_type: type, resource }: PayPalEvent): About | null {
  if (type === "PAYMENT.CAPTURE.REFUNDED" || type === "PAYMENT.CAPTURE.REVERSED") {
    const refund = refundResource.safeParse(resource);
    const captureId = refund.data?.links.map(({ rel, href }) => (rel === "up" ? captureOf(href) : null)).find(Boolean);
    if (refund.success && captureId) {
      const isReversal = type === "PAYMENT.CAPTURE.REVERSED";
      return { orderId: null, captureId, refund: { ...toRefundFact(refund.data), isReversal } };
    }
  }
  if (type.startsWith("PAYMENT.CAPTURE.")) {
    const capture = captureResource.safeParse(resource);
    if (!capture.success) return null;
    const orderId = capture.data.supplementary_data?.related_ids.order_id ?? null;
    return { orderId, captureId: capture.data.id, refund: null };
  }
  const order =
    type === "CHECKOUT.PAYMENT-APPROVAL.REVERSED"
      ? reversedOrderResource.safeParse(resource).data?.order_id
      : type.startsWith("CHECKOUT.ORDER.")
        ? orderResource.safeParse(resource).data?.id
        : undefined;
  return order === undefined ? null : { orderId: order, captureId: null, refund: null };
}

function captureOf(href: string): string | null {
  return /\/captures\/([A-Za-z0-9-]{1,64})$/.exec(href)?.[1] ?? null;
}

/** The payment that it is about; where there is none, PayPal's account is used for other things too. */
async function findTopUp(
  context: Context,
  organisationId: string,
  account: PayPalAccount,
  { orderId, captureId }: About,
): Promise<string | Extract<WebhookResult, { kind: "taken" | "unknown" }>> {
  const found = await findBy(context, organisationId, account, { orderId, captureId });
  if (found !== null) return found;
  if (captureId === null || orderId !== null) return { kind: "taken" };
  // A refund names its capture, and we may not have heard of that yet.
  const asked = await readOrderOfCapture(context, account, captureId);
  if (asked.kind === "unknown") return asked;
  if (asked.kind === "refused") return { kind: "taken" };
  const byOrder = await findBy(context, organisationId, account, { orderId: asked.value, captureId: null });
  return byOrder ?? { kind: "taken" };
}

async function findBy(
  context: Context,
  organisationId: string,
  account: PayPalAccount,
  { orderId, captureId }: Pick<About, "orderId" | "captureId">,
): Promise<string | null> {
  const row = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("topUps")
      .select("id")
      .where("paypalAccountId", "=", account.id)
      .where((is) => is.or([is("orderId", "=", orderId), is("captureId", "=", captureId)]))
      .executeTakeFirst(),
  );
  return row?.id ?? null;
}

/** One problem a day and account, however many come: whoever sends them shall not fill our tables. */
async function recordUnverified(context: Context, organisationId: string, accountId: string): Promise<void> {
  const at = context.clock();
  const day = at.toISOString().slice(0, 10);
  const what =
    "A webhook came that PayPal did not confirm as its own, and was refused. Either somebody else sent it, or the webhook id in PUT /v1/paypal-account is not that of the webhook at PayPal.";
  const problem = { key: `webhook-${accountId}-${day}`, kind: "webhook_not_verified" as const, what };
  const isMail = await inOrganisation(context.database, organisationId, async (transaction) =>
    recordProblems(transaction, organisationId, [problem], { partnerId: null, topUpId: null }, at),
  );
  if (isMail) context.waker.wake(sendAlerts, { organisationId });
}
