import type { ColumnType } from "kysely";
import type { PartnerAccess, Role } from "../people/permissions.ts";

/** The rows of src/db/migrations/0010-people.sql, column by column. */

interface UserRow {
  id: string;
  organisationId: string;
  partnerId: string | null;
  email: string;
  name: string;
  phone: string | null;
  role: Role | null;
  access: ColumnType<PartnerAccess | null, string | null, string | null>;
  passwordHash: string | null;
  /** Encrypted. */
  totpSecret: string | null;
  totpConfirmedAt: Date | null;
  totpLastStep: number | null;
  disabledAt: Date | null;
  createdAt: Date;
  updatedAt: Date;
}

interface RecoveryCodeRow {
  userId: string;
  organisationId: string;
  codeHash: Buffer;
  usedAt: Date | null;
}

interface SessionRow {
  id: string;
  organisationId: string;
  userId: string;
  tokenLookup: Buffer;
  tokenHash: Buffer;
  browser: string | null;
  address: string | null;
  createdAt: Date;
  lastSeenAt: Date;
  endsAt: Date;
  endedAt: Date | null;
}

interface UserTokenRow {
  id: string;
  organisationId: string;
  userId: string;
  purpose: "invitation" | "password_reset";
  tokenLookup: Buffer;
  tokenHash: Buffer;
  createdAt: Date;
  expiresAt: Date;
  usedAt: Date | null;
}

export interface PeopleTables {
  users: UserRow;
  recoveryCodes: RecoveryCodeRow;
  sessions: SessionRow;
  userTokens: UserTokenRow;
}
