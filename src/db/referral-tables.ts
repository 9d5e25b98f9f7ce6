import type { ColumnType, Generated } from "kysely";
import type { ReferralContent } from "../referrals/share-deal.ts";
import type { ConnectionTables } from "./connection-tables.ts";
import type { Json } from "./tables.ts";
import type { WorkflowTables } from "./workflow-tables.ts";

/** The rows of src/db/migrations/0013-referrals.sql, column by column. */

export type ReferralState = "due" | "sent" | "refused" | "failed" | "cancelled";
export type ReferralStatus = "accepted" | "won" | "lost";

interface OutboundRow {
  id: string;
  organisationId: string;
  name: string;
  url: string;
  keyEncrypted: string;
  workflowId: string;
  stageId: string;
  enabled: boolean;
  remoteOrganisation: string | null;
  createdAt: Date;
  updatedAt: Date;
  deletedAt: Date | null;
}

interface ReferralRow {
  id: string;
  organisationId: string;
  leadId: string;
  outboundId: string | null;
  connectionId: string | null;
  connectionVersion: ColumnType<number | null, number | null | undefined>;
  /** Whichever of the two it is; made by the database. */
  linkId: ColumnType<string, never, never>;
  linkName: string;
  remoteOrganisation: string | null;
  url: string | null;
  state: ReferralState;
  dueAt: Date | null;
  claimToken: string | null;
  sendingSince: Date | null;
  attemptCount: Generated<number>;
  tries: Generated<number>;
  retrySince: Date;
  mayHaveArrived: Generated<boolean>;
  content: Json<ReferralContent> | null;
  statusKeyEncrypted: string;
  receivedAs: string | null;
  reason: string | null;
  status: ReferralStatus | null;
  statusReason: string | null;
  statusAt: Date | null;
  statusSequence: number | null;
  confirmedBy: string;
  createdAt: Date;
  finishedAt: Date | null;
}

interface ReferralAttemptRow {
  referralId: string;
  number: number;
  organisationId: string;
  startedAt: Date;
  durationMs: number;
  outcome: "sent" | "refused" | "trouble" | "cancelled" | "interrupted";
  reason: string | null;
  mayHaveArrived: boolean;
  status: number | null;
  response: Json<Record<string, unknown>> | null;
  retryAt: Date | null;
}

/** With the tables of workflows, from whose stages deals are referred, and of connections, over which they are. */
export interface ReferralTables extends ConnectionTables, WorkflowTables {
  outbounds: OutboundRow;
  referrals: ReferralRow;
  referralAttempts: ReferralAttemptRow;
}
