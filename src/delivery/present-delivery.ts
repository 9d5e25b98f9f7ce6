import type { Selectable } from "kysely";
import { z } from "zod";
import type { Database } from "../db/database.ts";
import type { DeliveryRow, DeliveryState, Tables } from "../db/tables.ts";
import { instantSchema } from "../http/api.ts";
import { billingPoints } from "../prices/billing.ts";
import { partsOfSale, priceNotes, saleValue } from "../prices/sale-terms.ts";
import { explainReason } from "../routing/reasons.ts";
import { partnerStatuses } from "./partner-status.ts";

export const deliveryStates = [
  "held",
  "offered",
  "sending",
  "delivered",
  "rejected",
  "failed",
  "uncertain",
  "declined",
  "expired",
  "cancelled",
  "returned",
] as const;

/** A reason from the closed list, with what belongs to it and in plain words. */
export const reasonAnswer = z.looseObject({ code: z.string(), text: z.string() });

export const deliveryAnswer = z
  .object({
    id: z.uuid(),
    leadId: z.uuid(),
    campaignId: z.uuid(),
    partnerId: z.uuid(),
    partnerName: z.string(),
    groupId: z.uuid().nullable(),
    state: z.enum(deliveryStates),
    price: z.int().meta({
      description: "what the sale costs in total, in minor units; until the partner accepts, the most that it can",
    }),
    currency: z.string(),
    value: z.int().meta({ description: "the lead's value, of which billing points take percentages" }),
    billing: z.object({
      point: z.enum(billingPoints).nullable().meta({ description: "the latest that was reached" }),
      parts: z
        .object({ accepted: z.int(), qualified: z.int(), converted: z.int() })
        .meta({ description: "what is paid at each point" }),
      billed: z.int().meta({ description: "what was paid so far" }),
      reserved: z.int().meta({ description: "what is still promised" }),
      closesAt: instantSchema.nullable().meta({ description: "when what is still reserved is given back" }),
      closedAt: instantSchema.nullable().meta({ description: "when it was" }),
    }),
    answeredPrice: z.string().nullable().meta({ description: "the price as the partner's answer named it" }),
    priceNote: z
      .enum(priceNotes)
      .nullable()
      .meta({ description: "why another price is charged than the answer named" }),
    cost: z.int().meta({ description: "what the introducer is owed of what was paid" }),
    hold: z
      .object({ until: instantSchema.nullable(), reason: reasonAnswer })
      .nullable()
      .meta({ description: "what it waits for" }),
    offer: z
      .object({
        kind: z.enum(["accept", "transfer"]),
        until: instantSchema,
        answeredAt: instantSchema.nullable().meta({ description: "null: not yet, or not in time" }),
      })
      .nullable()
      .meta({ description: "how the partner was asked first: to accept it, or by telephone; null: it was not" }),
    dueAt: instantSchema.nullable().meta({ description: "when something happens next" }),
    manual: z.boolean().meta({ description: "sent by hand" }),
    override: z.boolean().meta({ description: "past limits, hours or funds" }),
    attemptCount: z.int(),
    mayHaveArrived: z.boolean(),
    reference: z.string().nullable().meta({ description: "what the partner calls it" }),
    reason: z.string().nullable(),
    createdAt: instantSchema,
    finishedAt: instantSchema.nullable(),
    soldAt: instantSchema.nullable().meta({ description: "when the partner accepted" }),
    reversedAt: instantSchema.nullable().meta({ description: "when the sale was taken back" }),
    partnerStatus: z
      .enum(partnerStatuses)
      .nullable()
      .meta({ description: "what became of the lead, as the partner says; null: it has not said" }),
  })
  .meta({ id: "Delivery" });
export type DeliveryAnswer = z.infer<typeof deliveryAnswer>;

export const attemptAnswer = z
  .object({
    number: z.int(),
    channel: z.string(),
    startedAt: instantSchema,
    durationMs: z.int(),
    outcome: z.enum(["accepted", "rejected", "retry", "broken", "interrupted"]),
    reason: z.string().nullable(),
    arrived: z.enum(["no", "yes", "unknown"]),
    status: z.int().nullable(),
    request: z.record(z.string(), z.unknown()).nullable().meta({ description: "secrets are masked" }),
    response: z.record(z.string(), z.unknown()).nullable(),
    retryAt: instantSchema.nullable(),
  })
  .meta({ id: "Attempt" });
export type AttemptAnswer = z.infer<typeof attemptAnswer>;

export const deliveryWithAttempts = deliveryAnswer
  .extend({ attempts: z.array(attemptAnswer) })
  .meta({ id: "DeliveryDetail" });
export type DeliveryWithAttempts = z.infer<typeof deliveryWithAttempts>;

const columns = [
  "d.id",
  "d.leadId",
  "d.campaignId",
  "d.partnerId",
  "d.groupId",
  "d.state",
  "d.priceMinor",
  "d.currency",
  "d.terms",
  "d.billedMinor",
  "d.billingPoint",
  "d.billingClosesAt",
  "d.billingClosedAt",
  "d.answeredPrice",
  "d.priceNote",
  "d.costMinor",
  "d.holdUntil",
  "d.holdReason",
  "d.dueAt",
  "d.manual",
  "d.override",
  "d.attemptCount",
  "d.mayHaveArrived",
  "d.reference",
  "d.reason",
  "d.createdAt",
  "d.finishedAt",
  "d.soldAt",
  "d.reversedAt",
  "d.partnerStatus",
  "d.offer",
  "d.offerUntil",
  "d.answeredAt",
  "p.name as partnerName",
] as const;

/** Deliveries with the names of their partners, to be filtered further. */
export function selectDeliveries(transaction: Database) {
  return transaction.selectFrom("deliveries as d").innerJoin("partners as p", "p.id", "d.partnerId").select(columns);
}

type PresentedRow = Omit<
  Selectable<DeliveryRow>,
  "organisationId" | "reservedAt" | "redeliveryOf" | "claimToken" | "sendingSince" | "tries" | "withdrawn" | "calledAt"
> & { readonly partnerName: string };

/** In these a delivery holds money. */
const reservedStates: readonly DeliveryState[] = ["offered", "sending", "delivered", "uncertain"];

export function presentDelivery(row: PresentedRow): DeliveryAnswer {
  const { priceMinor, terms, billedMinor, billingPoint, billingClosesAt, billingClosedAt, costMinor, ...sold } = row;
  const { holdUntil, holdReason, offer, offerUntil, answeredAt, ...told } = sold;
  const { dueAt, createdAt, finishedAt, soldAt, reversedAt, ...rest } = told;
  const reason = holdReason?.reason;
  return {
    ...rest,
    price: priceMinor,
    value: saleValue(row),
    billing: {
      point: billingPoint,
      parts: partsOfSale(row),
      billed: billedMinor,
      reserved: reservedStates.includes(row.state) ? priceMinor - billedMinor : 0,
      closesAt: billingClosesAt?.toISOString() ?? null,
      closedAt: billingClosedAt?.toISOString() ?? null,
    },
    cost: costMinor,
    hold:
      row.state === "held" && reason !== undefined
        ? { until: holdUntil?.toISOString() ?? null, reason: { ...reason, text: explainReason(reason) } }
        : null,
    offer:
      offer === null || offerUntil === null
        ? null
        : { kind: offer, until: offerUntil.toISOString(), answeredAt: answeredAt?.toISOString() ?? null },
    dueAt: dueAt?.toISOString() ?? null,
    createdAt: createdAt.toISOString(),
    finishedAt: finishedAt?.toISOString() ?? null,
    soldAt: soldAt?.toISOString() ?? null,
    reversedAt: reversedAt?.toISOString() ?? null,
  };
}

/** The attempts of these deliveries, by delivery, in order. */
export async function readAttempts(
  transaction: Database,
  deliveryIds: readonly string[],
): Promise<ReadonlyMap<string, AttemptAnswer[]>> {
  const byDelivery = new Map<string, AttemptAnswer[]>();
  if (deliveryIds.length === 0) return byDelivery;
  const rows = await transaction
    .selectFrom("attempts")
    .selectAll()
    .where("deliveryId", "in", deliveryIds)
    .orderBy("deliveryId")
    .orderBy("number")
    .execute();
  for (const row of rows) {
    const attempts = byDelivery.get(row.deliveryId) ?? [];
    attempts.push(presentAttempt(row));
    byDelivery.set(row.deliveryId, attempts);
  }
  return byDelivery;
}

function presentAttempt(row: Selectable<Tables["attempts"]>): AttemptAnswer {
  const { deliveryId: _deliveryId, organisationId: _organisationId, startedAt, retryAt, ...attempt } = row;
  return { ...attempt, startedAt: startedAt.toISOString(), retryAt: retryAt?.toISOString() ?? null };
}
