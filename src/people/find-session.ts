import { sql } from "kysely";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { equalDigests } from "../encrypt.ts";
import { accessSchema, type Permission, portalPermissionsOf, rolePermissions } from "./permissions.ts";

export const sessionCookie = "__Host-handoff";

/** Who signed in. */
export interface SessionUser {
  readonly sessionId: string;
  readonly organisationId: string;
  readonly userId: string;
  readonly partnerId: string | null;
  /** As it stands in the record of changes. */
  readonly actor: string;
  readonly permissions: ReadonlySet<Permission>;
}

const nobody = "00000000-0000-0000-0000-000000000000";

/** That somebody was seen is written no more often. */
const seenEveryMs = 60_000;

/**
 * Finds the session by the SHA-256 of its token: its first 8 bytes find the row, the whole is compared in constant time.
 * Null where there is none, it is over, or its user was disabled.
 */
export async function findSession(context: Context, digest: Buffer): Promise<SessionUser | null> {
  const { rows } = await sql<{ organisationId: string; sessionId: string }>`
    select * from find_session(${digest.subarray(0, 8)})
  `.execute(context.database);
  const { organisationId, sessionId } = rows[0] ?? { organisationId: nobody, sessionId: nobody };
  const row = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("sessions as s")
      .innerJoin("users as u", "u.id", "s.userId")
      .leftJoin("partners as p", "p.id", "u.partnerId")
      .select(["s.tokenHash", "s.endsAt", "s.endedAt", "s.lastSeenAt", "u.id as userId", "u.name", "u.partnerId"])
      .select(["u.role", "u.access", "u.disabledAt", "p.name as partnerName"])
      .where("s.id", "=", sessionId)
      .executeTakeFirst(),
  );
  const isRight = equalDigests(row?.tokenHash ?? Buffer.alloc(digest.length), digest);
  if (row === undefined || !isRight || row.endedAt !== null || row.disabledAt !== null) return null;
  const now = context.clock().getTime();
  if (row.endsAt.getTime() <= now || row.lastSeenAt.getTime() + context.config.sessionIdleHours * 3_600_000 <= now)
    return null;
  const { userId, partnerId, lastSeenAt } = row;
  if (lastSeenAt.getTime() + seenEveryMs <= now) await markSeen(context, organisationId, sessionId, lastSeenAt);
  const permissions =
    row.role === null ? portalPermissionsOf(accessSchema.parse(row.access)) : rolePermissions[row.role];
  const actor = row.partnerName === null ? `user ${row.name}` : `user ${row.name} of ${row.partnerName}`;
  return { sessionId, organisationId, userId, partnerId, actor, permissions };
}

/** Of many requests at the same time one writes, and it does not wait for the disk. */
async function markSeen(context: Context, organisationId: string, sessionId: string, before: Date): Promise<void> {
  const mark = async (transaction: Database) =>
    transaction
      .updateTable("sessions")
      .set({ lastSeenAt: context.clock() })
      .where("id", "=", sessionId)
      .where("lastSeenAt", "=", before)
      .execute();
  await inOrganisation(context.database, organisationId, mark, { soon: true });
}
