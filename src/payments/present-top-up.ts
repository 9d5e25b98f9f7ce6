import { z } from "zod";
import { instantSchema } from "../http/api.ts";
import { isTaken, refundedMinor, type StoredTopUp } from "./top-up-rows.ts";

export const topUpStates = [
  "requested",
  "open",
  "pending",
  "credited",
  "declined",
  "refused",
  "expired",
  "failed",
] as const;

const refundAnswer = z
  .object({
    id: z.uuid(),
    state: z.enum(["requested", "pending", "completed", "failed"]),
    amount: z.int(),
    taken: z.boolean().meta({ description: "whether it is taken from the partner's account" }),
    origin: z.enum(["staff", "paypal"]).meta({ description: "where it was asked for" }),
    reversal: z.boolean().meta({ description: "PayPal took it back, as after a dispute" }),
    reason: z.string().nullable(),
    paypalId: z.string().nullable(),
    requestedBy: z.string(),
    createdAt: instantSchema,
  })
  .meta({ id: "TopUpRefund" });

export const topUpAnswer = z
  .object({
    id: z.uuid(),
    partnerId: z.uuid(),
    amount: z.int().meta({ description: "in minor units" }),
    currency: z.string(),
    state: z.enum(topUpStates),
    approvalUrl: z.string().nullable().meta({ description: "where the payer approves it, while that is possible" }),
    orderId: z.string().nullable().meta({ description: "at PayPal" }),
    captureId: z.string().nullable().meta({ description: "at PayPal: the payment itself" }),
    refunded: z.int().meta({ description: "what of it was taken from the partner's account again" }),
    refunds: z.array(refundAnswer),
    error: z.string().nullable().meta({ description: "why PayPal did not do what it was asked last" }),
    requestedBy: z.string(),
    createdAt: instantSchema,
    creditedAt: instantSchema.nullable(),
    nextLookAt: instantSchema.nullable().meta({ description: "when PayPal is asked again, if nothing happens before" }),
  })
  .meta({ id: "TopUp" });

export function presentTopUp({ row, refunds }: StoredTopUp): z.infer<typeof topUpAnswer> {
  return {
    id: row.id,
    partnerId: row.partnerId,
    amount: row.amountMinor,
    currency: row.currency,
    state: row.state,
    approvalUrl: row.state === "open" ? row.approvalUrl : null,
    orderId: row.orderId,
    captureId: row.captureId,
    refunded: refundedMinor(refunds),
    refunds: refunds.map((refund) => ({
      id: refund.id,
      state: refund.state,
      amount: refund.amountMinor,
      taken: isTaken(refund),
      origin: refund.origin,
      reversal: refund.isReversal,
      reason: refund.reason,
      paypalId: refund.paypalId,
      requestedBy: refund.requestedBy,
      createdAt: refund.createdAt.toISOString(),
    })),
    error: row.error,
    requestedBy: row.requestedBy,
    createdAt: row.createdAt.toISOString(),
    creditedAt: row.creditedAt?.toISOString() ?? null,
    nextLookAt: row.dueAt?.toISOString() ?? null,
  };
}
