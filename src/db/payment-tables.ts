import type { ColumnType, Generated } from "kysely";
import type { ProblemKind } from "../payments/decide-top-up.ts";

/** The rows of src/db/migrations/0003-payments.sql, column by column. */

export type TopUpState = "requested" | "open" | "pending" | "credited" | "declined" | "refused" | "expired" | "failed";
export type RefundState = "requested" | "pending" | "completed" | "failed";

interface PaypalAccountRow {
  id: string;
  organisationId: string;
  environment: "sandbox" | "live";
  clientId: string;
  clientSecretEncrypted: string;
  webhookId: string | null;
  amounts: ColumnType<Record<string, { minimum: number; maximum: number }>, string, string>;
  active: boolean;
  isCurrent: boolean;
  createdAt: Date;
  updatedAt: Date;
}

export interface TopUpRow {
  id: string;
  organisationId: string;
  partnerId: string;
  paypalAccountId: string;
  amountMinor: number;
  currency: string;
  state: TopUpState;
  requestKey: string | null;
  requestedBy: string;
  orderId: string | null;
  approvalUrl: string | null;
  captureId: string | null;
  captureTries: Generated<number>;
  error: string | null;
  dueAt: Date | null;
  createdAt: Date;
  creditedAt: Date | null;
}

export interface TopUpRefundRow {
  id: string;
  organisationId: string;
  topUpId: string;
  paypalId: string | null;
  origin: "staff" | "paypal";
  isReversal: Generated<boolean>;
  state: RefundState;
  amountMinor: number;
  bookings: Generated<number>;
  reason: string | null;
  requestKey: string | null;
  requestedBy: string;
  createdAt: Date;
}

interface PaymentProblemRow {
  id: string;
  organisationId: string;
  key: string;
  kind: ProblemKind;
  what: string;
  partnerId: string | null;
  topUpId: string | null;
  count: Generated<number>;
  createdAt: Date;
  lastAt: Date;
  resolvedAt: Date | null;
  resolvedBy: string | null;
  note: string | null;
}

export interface PaymentTables {
  paypalAccounts: PaypalAccountRow;
  topUps: TopUpRow;
  topUpRefunds: TopUpRefundRow;
  paymentProblems: PaymentProblemRow;
}
