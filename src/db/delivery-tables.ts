import type { ColumnType, Generated } from "kysely";
import type { PartnerStatus } from "../delivery/partner-status.ts";
import type { BillingPoint } from "../prices/billing.ts";
import type { PriceNote, SaleTerms } from "../prices/sale-terms.ts";
import type { HoldReason, Json, JsonObject } from "./tables.ts";

/** The rows of deliveries and of their attempts, column by column. */

export type DeliveryState =
  | "held"
  | "offered"
  | "sending"
  | "delivered"
  | "rejected"
  | "failed"
  | "uncertain"
  | "declined"
  | "expired"
  | "cancelled"
  | "returned";
/** How a partner is asked before it gets a lead: it answers by itself, or an agent rings it up and hands the caller over. */
export type OfferKind = "accept" | "transfer";

export interface DeliveryRow {
  id: string;
  organisationId: string;
  leadId: string;
  campaignId: string;
  partnerId: string;
  groupId: string | null;
  state: DeliveryState;
  dueAt: Date | null;
  holdUntil: Date | null;
  holdReason: Json<HoldReason> | null;
  priceMinor: number;
  currency: string;
  reservedAt: Date | null;
  manual: Generated<boolean>;
  override: Generated<boolean>;
  withdrawn: Generated<boolean>;
  redeliveryOf: "delivered" | "uncertain" | null;
  claimToken: string | null;
  sendingSince: Date | null;
  attemptCount: Generated<number>;
  tries: Generated<number>;
  mayHaveArrived: Generated<boolean>;
  reference: string | null;
  reason: string | null;
  createdAt: Date;
  finishedAt: Date | null;
  terms: ColumnType<SaleTerms | null, string | null | undefined, string | null>;
  billedMinor: Generated<number>;
  billingPoint: ColumnType<BillingPoint | null, BillingPoint | null | undefined>;
  billingClosesAt: ColumnType<Date | null, Date | null | undefined>;
  billingClosedAt: ColumnType<Date | null, Date | null | undefined>;
  answeredPrice: ColumnType<string | null, string | null | undefined>;
  priceNote: ColumnType<PriceNote | null, PriceNote | null | undefined>;
  costMinor: Generated<number>;
  soldAt: ColumnType<Date | null, Date | null | undefined>;
  reversedAt: ColumnType<Date | null, Date | null | undefined>;
  offer: ColumnType<OfferKind | null, OfferKind | null | undefined>;
  offerUntil: ColumnType<Date | null, Date | null | undefined>;
  answeredAt: ColumnType<Date | null, Date | null | undefined>;
  calledAt: ColumnType<Date | null, Date | null | undefined>;
  partnerStatus: ColumnType<PartnerStatus | null, PartnerStatus | null | undefined>;
}

interface AttemptRow {
  deliveryId: string;
  number: number;
  organisationId: string;
  channel: string;
  startedAt: Date;
  durationMs: number;
  outcome: "accepted" | "rejected" | "retry" | "broken" | "interrupted";
  reason: string | null;
  arrived: "no" | "yes" | "unknown";
  status: number | null;
  request: Json<JsonObject> | null;
  response: Json<JsonObject> | null;
  retryAt: Date | null;
}

export interface DeliveryTables {
  deliveries: DeliveryRow;
  attempts: AttemptRow;
}
