import type { ColumnType, Generated } from "kysely";
import type { InboundForm } from "../referrals/inbound.ts";
import type { StatusCallback } from "../referrals/protocol.ts";

/** The rows of src/db/migrations/0012-workflows.sql, column by column. */

type ReferralStatus = StatusCallback["status"];

interface WorkflowRow {
  id: string;
  organisationId: string;
  name: string;
  campaignId: string;
  ownerId: string;
  alertSms: boolean;
  createdAt: Date;
  updatedAt: Date;
}

interface StageRow {
  id: string;
  organisationId: string;
  workflowId: string;
  name: string;
  position: number;
  removedAt: ColumnType<Date | null, Date | null | undefined>;
}

interface LeadNoteRow {
  id: string;
  organisationId: string;
  leadId: string;
  writtenAt: Date;
  writtenBy: string;
  text: string;
  shareable: boolean;
}

interface InboundRow {
  id: string;
  organisationId: string;
  name: string;
  workflowId: string;
  stageId: string;
  enabled: boolean;
  reportsStatus: boolean;
  keyHash: Buffer;
  keyEncrypted: string | null;
  form: ColumnType<InboundForm | null, string | null, string | null>;
  formToken: string;
  createdAt: Date;
  updatedAt: Date;
  deletedAt: ColumnType<Date | null, Date | null | undefined>;
}

interface InboundReferrerRow {
  inboundId: string;
  organisationId: string;
  referrer: string;
  installation: string;
  firstAt: Date;
  lastAt: Date;
  referralCount: number;
}

interface ArrivalRow {
  id: string;
  organisationId: string;
  leadId: string;
  inboundId: string | null;
  connectionId: string | null;
  referralId: string;
  contentHash: Buffer | null;
  referrer: string;
  installation: string;
  senderLeadId: string;
  referredAt: Date;
  referredBy: string;
  keptAside: ColumnType<string[], string, string>;
  statusUrl: string | null;
  statusKeyEncrypted: string | null;
  status: ColumnType<ReferralStatus | null, undefined, ReferralStatus>;
  statusReason: ColumnType<string | null, undefined, string | null>;
  statusAt: ColumnType<Date | null, undefined, Date>;
  statusSequence: Generated<number>;
  arrivedAt: Date;
}

interface StatusCallbackRow {
  id: string;
  organisationId: string;
  arrivalId: string;
  sequence: number;
  status: ReferralStatus;
  reason: string | null;
  reportedAt: Date;
  state: "due" | "sent" | "failed";
  dueAt: Date | null;
  attemptCount: Generated<number>;
  error: ColumnType<string | null, undefined, string | null>;
  finishedAt: ColumnType<Date | null, undefined, Date | null>;
}

export interface WorkflowTables {
  workflows: WorkflowRow;
  stages: StageRow;
  leadNotes: LeadNoteRow;
  inbounds: InboundRow;
  inboundReferrers: InboundReferrerRow;
  arrivals: ArrivalRow;
  statusCallbacks: StatusCallbackRow;
}
