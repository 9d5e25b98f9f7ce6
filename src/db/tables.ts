import type { ColumnType, Generated } from "kysely";
import type { CampaignValue, Duplicates, RoutingGroup } from "../campaigns/campaign.ts";
import type { Field } from "../campaigns/fields.ts";
import type { FieldValue } from "../channels/contract.ts";
import type { EmailSettings, InternetSettings } from "../channels/settings.ts";
import type { AcceptFirst } from "../partners/accept-first.ts";
import type { Limits } from "../partners/limit-windows.ts";
import type { OwnPause } from "../partners/own-pause.ts";
import type { PartnerAlerts, PartnerContact } from "../partners/partner.ts";
import type { Schedule } from "../partners/schedule.ts";
import type { Billing } from "../prices/billing.ts";
import type { AgreedCost, LeadCost } from "../prices/lead-cost.ts";
import type { PriceList } from "../prices/price.ts";
import type { ReturnPolicy } from "../returns/return-policy.ts";
import type { ReturnReason } from "../returns/return-reasons.ts";
import type { ConsideredPartner, Turns } from "../routing/choose.ts";
import type { Reason } from "../routing/reasons.ts";
import type { DeliveryTables } from "./delivery-tables.ts";
import type { InvoiceTables } from "./invoice-tables.ts";
import type { LedgerTables } from "./ledger-tables.ts";
import type { PaymentTables } from "./payment-tables.ts";
import type { PeopleTables } from "./people-tables.ts";
import type { PortalTables } from "./portal-tables.ts";
import type { ReferralTables } from "./referral-tables.ts";
import type { ReturnTables } from "./return-tables.ts";

export type { DeliveryRow, DeliveryState, OfferKind } from "./delivery-tables.ts";

/** The rows of src/db/migrations, column by column. Instants are Date, money is integer minor units. */

/** Written as JSON text, read as the value. */
export type Json<T> = ColumnType<T, string, string>;

export type LeadState =
  | "received"
  | "routing"
  | "held"
  | "sold"
  | "unsold"
  | "duplicate"
  | "invalid"
  | "returned"
  | "erased";
export type WhenBlocked = "next" | "hold";

export type JsonObject = Record<string, unknown>;
export type LeadFields = Record<string, FieldValue>;

/** Why a delivery is held, and whether the partner gave up its turn in the rotation for it. */
export interface HoldReason {
  readonly reason: Reason;
  readonly turnPassed: boolean;
}

interface OrganisationRow {
  id: string;
  name: string;
  portalCode: string;
  timeZone: string;
  currency: string;
  smsRateMinor: number;
  staffEmail: string | null;
  address: ColumnType<string | null, string | null | undefined>;
  taxId: ColumnType<string | null, string | null | undefined>;
  taxName: Generated<string>;
  taxRate: Generated<number>;
  invoicePrefix: Generated<string>;
  invoiceDueDays: Generated<number>;
  lastInvoiceNumber: Generated<number>;
  returnReasons: ColumnType<ReturnReason[], string | undefined, string>;
  createdAt: Date;
}

interface ApiKeyRow {
  id: string;
  organisationId: string;
  name: string;
  keyLookup: Buffer;
  keyHash: Buffer;
  /** null: all that staff may. */
  scopes: ColumnType<string[] | null, string | null | undefined, string | null>;
  createdAt: Date;
  expiresAt: Date | null;
  revokedAt: Date | null;
}

interface ChangeRow {
  id: string;
  organisationId: string;
  changedAt: Date;
  changedBy: string;
  objectKind: string;
  objectId: string;
  before: Json<JsonObject> | null;
  after: Json<JsonObject> | null;
}

interface PartnerRow {
  id: string;
  organisationId: string;
  name: string;
  type: "introducer" | "partner" | "both";
  active: boolean;
  timeZone: string;
  currency: string;
  leadValueMinor: number;
  leadPrices: Json<Pick<PriceList, "rules" | "answer">> | null;
  billing: Json<Billing> | null;
  leadCost: Json<LeadCost> | null;
  returnPolicy: Json<ReturnPolicy> | null;
  creditLimitMinor: number;
  lowFundsMinor: Generated<number>;
  contact: Json<PartnerContact>;
  limits: Json<Limits>;
  schedule: Json<Schedule> | null;
  acceptFirst: ColumnType<AcceptFirst | null, string | null | undefined, string | null>;
  whenClosed: WhenBlocked | null;
  whenCapped: WhenBlocked | null;
  whenUnfunded: WhenBlocked | null;
  alerts: Json<PartnerAlerts>;
  /** Secrets inside are encrypted. */
  internet: Json<InternetSettings> | null;
  email: Json<EmailSettings> | null;
  concurrency: number;
  ratePerMinute: number;
  spreadSeconds: number;
  summaryDueAt: ColumnType<Date | null, Date | null | undefined>;
  summarySince: ColumnType<Date | null, Date | null | undefined>;
  ownPause: ColumnType<OwnPause | null, string | null | undefined, string | null>;
  createdAt: Date;
  updatedAt: Date;
}

interface EndpointRow {
  partnerId: string;
  organisationId: string;
  recent: Generated<string>;
  pausedUntil: Date | null;
  pauseReason: string | null;
  pauseCount: Generated<number>;
  drainToken: string | null;
  drainLeasedUntil: Date | null;
  nextSendAt: Date | null;
  recheckHoldsAt: Date | null;
}

export interface LimitUsageRow {
  organisationId: string;
  partnerId: string;
  campaignId: string | null;
  hourStart: Generated<Date>;
  hourLeads: Generated<number>;
  dayStart: Generated<Date>;
  dayLeads: Generated<number>;
  daySpendMinor: Generated<number>;
  weekStart: Generated<Date>;
  weekLeads: Generated<number>;
  weekSpendMinor: Generated<number>;
  monthStart: Generated<Date>;
  monthLeads: Generated<number>;
  monthSpendMinor: Generated<number>;
  totalLeads: Generated<number>;
}

interface CampaignRow {
  id: string;
  organisationId: string;
  name: string;
  active: boolean;
  timeZone: string;
  saleLimit: number;
  routeAfterMinutes: Generated<number>;
  holdHours: number;
  whenClosed: WhenBlocked;
  whenCapped: WhenBlocked;
  whenUnfunded: WhenBlocked;
  whenUncertain: "staff" | "next";
  fields: Json<Field[]>;
  duplicates: Json<Duplicates> | null;
  routing: Json<RoutingGroup[]>;
  leadValues: ColumnType<CampaignValue[], string | undefined, string>;
  moneyFields: ColumnType<Field[], never, never>;
  version: Generated<number>;
  createdAt: Date;
  updatedAt: Date;
}

interface IntakeKeyRow {
  id: string;
  organisationId: string;
  campaignId: string;
  introducerId: string | null;
  name: string;
  keyHash: Buffer;
  keyEncrypted: string;
  leadCost: Json<LeadCost> | null;
  createdAt: Date;
  revokedAt: Date | null;
}

interface RotationRow {
  campaignId: string;
  organisationId: string;
  turns: ColumnType<Record<string, Turns>, string | undefined, string>;
}

interface LeadRow {
  id: string;
  organisationId: string;
  campaignId: string;
  intakeKeyId: string | null;
  introducerId: string | null;
  source: string | null;
  state: LeadState;
  stateReason: Json<JsonObject> | null;
  fields: Json<LeadFields>;
  extra: Json<JsonObject>;
  duplicateOf: string | null;
  contentHash: Buffer | null;
  soldCount: Generated<number>;
  receivedAt: Date;
  dueAt: Date | null;
  holdEndsAt: Date;
  finishedAt: Date | null;
  leadCost: ColumnType<AgreedCost | null, string | null | undefined, string | null>;
  costMinor: Generated<number>;
  stageId: ColumnType<string | null, string | null | undefined>;
  ownerId: ColumnType<string | null, string | null | undefined>;
  byHand: Generated<boolean>;
}

interface ContactRow {
  leadId: string;
  position: number;
  organisationId: string;
  fields: Json<LeadFields>;
}

interface LeadKeyRow {
  organisationId: string;
  campaignId: string;
  keyHash: Buffer;
  leadId: string;
  receivedAt: Date;
}

interface IdempotencyKeyRow {
  organisationId: string;
  campaignId: string;
  key: string;
  contentHash: Buffer;
  leadId: string;
  status: number;
  answer: Json<JsonObject>;
  createdAt: Date;
}

interface LeadEventRow {
  id: string;
  organisationId: string;
  leadId: string;
  happenedAt: Date;
  kind: string;
  actor: string;
  detail: Json<JsonObject>;
}

interface DecisionRow {
  id: string;
  organisationId: string;
  leadId: string;
  decidedAt: Date;
  result: string;
  explanation: Json<ConsideredPartner[]>;
}

interface AlertRow {
  id: string;
  organisationId: string;
  key: string;
  kind: string;
  channel: "sms" | "email";
  recipient: string;
  partnerId: string | null;
  leadId: string | null;
  deliveryId: string | null;
  detail: Json<JsonObject>;
  state: "due" | "sent" | "delivered" | "failed";
  dueAt: Date | null;
  attemptCount: Generated<number>;
  providerId: string | null;
  segments: number | null;
  error: string | null;
  createdAt: Date;
  finishedAt: Date | null;
}

export interface Tables
  extends DeliveryTables,
    InvoiceTables,
    LedgerTables,
    PaymentTables,
    PeopleTables,
    PortalTables,
    ReferralTables,
    ReturnTables {
  organisations: OrganisationRow;
  apiKeys: ApiKeyRow;
  changes: ChangeRow;
  partners: PartnerRow;
  endpoints: EndpointRow;
  limitUsage: LimitUsageRow;
  campaigns: CampaignRow;
  intakeKeys: IntakeKeyRow;
  rotations: RotationRow;
  leads: LeadRow;
  contacts: ContactRow;
  leadKeys: LeadKeyRow;
  idempotencyKeys: IdempotencyKeyRow;
  leadEvents: LeadEventRow;
  decisions: DecisionRow;
  alerts: AlertRow;
}
