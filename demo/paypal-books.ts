import { randomBytes } from "node:crypto";
import type { Answer } from "./behaviour.ts";

/** What a PayPal account holds: orders, captures and refunds, by PayPal's rules for them. */

export interface Money {
  readonly currency_code: string;
  readonly value: string;
}

export type OrderStatus = "PAYER_ACTION_REQUIRED" | "APPROVED" | "COMPLETED" | "VOIDED";
export type CaptureStatus = "PENDING" | "COMPLETED" | "DECLINED" | "PARTIALLY_REFUNDED" | "REFUNDED";
export type RefundStatus = "PENDING" | "COMPLETED" | "FAILED" | "CANCELLED";

/** How the payer pays: at once, held by PayPal for review, or with a card that is refused. */
export type Payment = "at_once" | "for_review" | "refused";

export interface Order {
  readonly id: string;
  status: OrderStatus;
  readonly customId: string | null;
  readonly invoiceId: string | null;
  readonly description: string;
  amount: Money;
  readonly returnUrl: string;
  readonly cancelUrl: string;
  payment: Payment;
  readonly createTime: string;
}

export interface Capture {
  readonly id: string;
  readonly orderId: string;
  status: CaptureStatus;
  amount: Money;
  readonly customId: string | null;
  readonly createTime: string;
}

export interface Refund {
  readonly id: string;
  readonly captureId: string;
  status: RefundStatus;
  readonly amount: Money;
  readonly customId: string | null;
  readonly note: string | null;
  readonly createTime: string;
}

export class Books {
  readonly orders = new Map<string, Order>();
  readonly captures = new Map<string, Capture>();
  readonly refunds = new Map<string, Refund>();

  capturesOf(orderId: string): Capture[] {
    return [...this.captures.values()].filter((capture) => capture.orderId === orderId);
  }

  refundsOf(captureId: string): Refund[] {
    return [...this.refunds.values()].filter((refund) => refund.captureId === captureId);
  }

  /** What is left of a capture, in the smallest unit. */
  leftOf({ id, amount }: Capture): number {
    const back = this.refundsOf(id).filter(({ status }) => status === "COMPLETED" || status === "PENDING");
    return minor(amount) - back.reduce((sum, refund) => sum + minor(refund.amount), 0);
  }

  addCapture(order: Order, status: CaptureStatus): Capture {
    const { id: orderId, amount, customId } = order;
    const capture = { id: newName(), orderId, status, amount, customId, createTime: now() };
    this.captures.set(capture.id, capture);
    return capture;
  }

  addRefund(capture: Capture, details: Pick<Refund, "amount" | "status" | "customId" | "note">): Refund {
    const refund = { id: newName(), captureId: capture.id, createTime: now(), ...details };
    this.refunds.set(refund.id, refund);
    this.followRefunds(capture);
    return refund;
  }

  /** A capture's status follows what went back of it. */
  followRefunds(capture: Capture): void {
    if (capture.status === "PENDING" || capture.status === "DECLINED") return;
    const left = this.leftOf(capture);
    capture.status = left === 0 ? "REFUNDED" : left < minor(capture.amount) ? "PARTIALLY_REFUNDED" : "COMPLETED";
  }
}

/** As PayPal's names look: 17 capital letters and digits. */
export function newName(): string {
  return randomBytes(17)
    .toString("base64")
    .replace(/[^A-Za-z0-9]/g, "X")
    .toUpperCase()
    .slice(0, 17);
}

export function now(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}

/** Hundredths, or whole units of a currency without decimals: only compared with others of the same currency. */
export function minor({ value }: Money): number {
  const [whole = "", fraction = ""] = value.split(".");
  return Number(whole + fraction.padEnd(2, "0"));
}

export function fromMinor(value: number, currency: string): Money {
  const [whole, fraction] = [Math.trunc(value / 100), String(value % 100).padStart(2, "0")];
  return { currency_code: currency, value: withoutDecimals.has(currency) ? String(whole) : `${whole}.${fraction}` };
}

const withoutDecimals: ReadonlySet<string> = new Set(["HUF", "JPY", "TWD"]);
const supported: ReadonlySet<string> = new Set(
  "AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF ILS JPY MXN MYR NOK NZD PHP PLN SEK SGD THB TWD USD".split(" "),
);

/** Why PayPal would not take this amount; null where it would. */
export function refuseMoney(money: unknown): Answer | null {
  const { currency_code: currency, value } = Object(money) as { currency_code?: unknown; value?: unknown };
  if (typeof currency !== "string" || typeof value !== "string" || !/^\d{1,10}(\.\d{1,10})?$/.test(value)) {
    return refusal(400, "INVALID_REQUEST", "INVALID_PARAMETER_SYNTAX", "An amount is not well-formed.");
  }
  if (!supported.has(currency)) {
    return refusal(422, "UNPROCESSABLE_ENTITY", "CURRENCY_NOT_SUPPORTED", `${currency} is not taken.`);
  }
  const decimals = value.split(".")[1]?.length ?? 0;
  if (decimals > (withoutDecimals.has(currency) ? 0 : 2)) {
    return refusal(422, "UNPROCESSABLE_ENTITY", "DECIMALS_NOT_SUPPORTED", `${value} has too many decimals.`);
  }
  if (Number(value) === 0) {
    return refusal(422, "UNPROCESSABLE_ENTITY", "CANNOT_BE_ZERO_OR_NEGATIVE", "It must be above zero.");
  }
  return null;
}

export function refusal(status: number, name: string, issue: string, description: string): Answer {
  const document = { name, message: description, debug_id: newName(), details: [{ issue, description }] };
  return { status, contentType: "application/json", body: JSON.stringify(document) };
}

export function answer(status: number, document: object): Answer {
  return { status, contentType: "application/json", body: JSON.stringify(document) };
}

export const notFound = (): Answer =>
  refusal(404, "RESOURCE_NOT_FOUND", "INVALID_RESOURCE_ID", "Specified resource ID does not exist.");

/** An order as PayPal shows it, with its captures and refunds. */
export function orderResource(books: Books, order: Order, base: string, pagesUrl: string): object {
  const captures = books.capturesOf(order.id);
  const refunds = captures.flatMap(({ id }) => books.refundsOf(id));
  const payments =
    captures.length === 0
      ? {}
      : {
          payments: {
            captures: captures.map((capture) => captureResource(capture, base)),
            ...(refunds.length === 0 ? {} : { refunds: refunds.map((refund) => refundResource(books, refund, base)) }),
          },
        };
  const { id, status, amount, customId, invoiceId, description, createTime } = order;
  const self = `${base}/v2/checkout/orders/${id}`;
  return {
    id,
    intent: "CAPTURE",
    status,
    purchase_units: [
      { reference_id: "default", amount, custom_id: customId, invoice_id: invoiceId, description, ...payments },
    ],
    create_time: createTime,
    links: [
      { href: self, rel: "self", method: "GET" },
      { href: `${pagesUrl}/checkoutnow?token=${id}`, rel: "payer-action", method: "GET" },
      { href: `${self}/capture`, rel: "capture", method: "POST" },
    ],
  };
}

export function captureResource({ id, orderId, status, amount, customId, createTime }: Capture, base: string): object {
  const self = `${base}/v2/payments/captures/${id}`;
  return {
    id,
    status,
    amount,
    final_capture: true,
    custom_id: customId,
    supplementary_data: { related_ids: { order_id: orderId } },
    create_time: createTime,
    update_time: now(),
    links: [
      { href: self, rel: "self", method: "GET" },
      { href: `${self}/refund`, rel: "refund", method: "POST" },
      { href: `${base}/v2/checkout/orders/${orderId}`, rel: "up", method: "GET" },
    ],
  };
}

export function refundResource(books: Books, refund: Refund, base: string): object {
  const { id, captureId, status, amount, customId, note, createTime } = refund;
  const total = books.refundsOf(captureId).reduce((sum, one) => sum + minor(one.amount), 0);
  return {
    id,
    status,
    amount,
    ...(customId === null ? {} : { custom_id: customId }),
    ...(note === null ? {} : { note_to_payer: note }),
    seller_payable_breakdown: {
      gross_amount: amount,
      total_refunded_amount: fromMinor(total, amount.currency_code),
    },
    create_time: createTime,
    update_time: now(),
    links: [
      { href: `${base}/v2/payments/refunds/${id}`, rel: "self", method: "GET" },
      { href: `${base}/v2/payments/captures/${captureId}`, rel: "up", method: "GET" },
    ],
  };
}
