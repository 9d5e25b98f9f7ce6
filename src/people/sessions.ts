import { randomBytes } from "node:crypto";
import type { Context } from "../context.ts";
import type { Database } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { sha256 } from "../encrypt.ts";

const dayMs = 86_400_000;

/** From where somebody signs in, for their own eyes. */
export interface Whence {
  readonly address: string;
  /** What the browser calls itself. */
  readonly browser: string | null;
}

export interface NewSession {
  readonly id: string;
  /** For the cookie; only its digest is kept. */
  readonly token: string;
  readonly endsAt: Date;
}

const longestBrowser = 300;

/** Begins a session. Whether its user may have one is the caller's to know, in the same transaction. */
export async function createSession(
  context: Context,
  transaction: Database,
  user: { readonly id: string; readonly organisationId: string },
  { address, browser }: Whence,
): Promise<NewSession> {
  const token = randomBytes(32).toString("base64url");
  const tokenHash = sha256(token);
  const createdAt = context.clock();
  const endsAt = new Date(createdAt.getTime() + context.config.sessionDays * dayMs);
  const id = newId();
  await transaction
    .insertInto("sessions")
    .values({
      id,
      organisationId: user.organisationId,
      userId: user.id,
      tokenLookup: tokenHash.subarray(0, 8),
      tokenHash,
      browser: browser?.slice(0, longestBrowser) ?? null,
      address,
      createdAt,
      lastSeenAt: createdAt,
      endsAt,
      endedAt: null,
    })
    .execute();
  return { id, token, endsAt };
}

/** Ends one session of a user. Gives whether it was still under way. */
export async function endSession(transaction: Database, userId: string, id: string, at: Date): Promise<boolean> {
  const ended = await transaction
    .updateTable("sessions")
    .set({ endedAt: at })
    .where("id", "=", id)
    .where("userId", "=", userId)
    .where("endedAt", "is", null)
    .executeTakeFirst();
  return ended.numUpdatedRows > 0n;
}

/** Ends all sessions of a user, but for one where that is named. */
export async function endSessions(
  transaction: Database,
  userId: string,
  at: Date,
  exceptId: string | null = null,
): Promise<void> {
  let query = transaction
    .updateTable("sessions")
    .set({ endedAt: at })
    .where("userId", "=", userId)
    .where("endedAt", "is", null);
  if (exceptId !== null) query = query.where("id", "<>", exceptId);
  await query.execute();
}

export interface ListedSession {
  readonly id: string;
  readonly createdAt: Date;
  readonly lastSeenAt: Date;
  readonly endsAt: Date;
  readonly browser: string | null;
  readonly address: string | null;
}

/** The sessions of a user that are under way, newest first. */
export async function listSessions(
  context: Context,
  transaction: Database,
  userId: string,
): Promise<readonly ListedSession[]> {
  const now = context.clock();
  return transaction
    .selectFrom("sessions")
    .select(["id", "createdAt", "lastSeenAt", "endsAt", "browser", "address"])
    .where("userId", "=", userId)
    .where("endedAt", "is", null)
    .where("endsAt", ">", now)
    .where("lastSeenAt", ">", new Date(now.getTime() - context.config.sessionIdleHours * 3_600_000))
    .orderBy("id", "desc")
    .limit(200)
    .execute();
}
