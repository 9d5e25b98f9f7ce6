import { randomBytes } from "node:crypto";
import { sql } from "kysely";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { equalDigests, sha256 } from "../encrypt.ts";

export type TokenPurpose = "invitation" | "password_reset";

/** How long a link that was mailed is good for. */
const lifetimeMs: Readonly<Record<TokenPurpose, number>> = {
  invitation: 7 * 86_400_000,
  password_reset: 3_600_000,
};

export interface NewUserToken {
  readonly id: string;
  /** For the link; only its digest is kept. */
  readonly token: string;
  readonly expiresAt: Date;
}

/** Makes a token of 256 random bits for one use. Those that the user was given for the same purpose before are none any more. */
export async function createUserToken(
  transaction: Database,
  user: { readonly id: string; readonly organisationId: string },
  purpose: TokenPurpose,
  at: Date,
): Promise<NewUserToken> {
  await endUserTokens(transaction, user.id, at, purpose);
  const token = randomBytes(32).toString("base64url");
  const tokenHash = sha256(token);
  const id = newId();
  const expiresAt = new Date(at.getTime() + lifetimeMs[purpose]);
  await transaction
    .insertInto("userTokens")
    .values({
      id,
      organisationId: user.organisationId,
      userId: user.id,
      purpose,
      tokenLookup: tokenHash.subarray(0, 8),
      tokenHash,
      createdAt: at,
      expiresAt,
      usedAt: null,
    })
    .execute();
  return { id, token, expiresAt };
}

/** Has the tokens that a user was given, for one purpose or any, be none any more. */
export async function endUserTokens(
  transaction: Database,
  userId: string,
  at: Date,
  purpose: TokenPurpose | null = null,
): Promise<void> {
  let query = transaction
    .updateTable("userTokens")
    .set({ usedAt: at })
    .where("userId", "=", userId)
    .where("usedAt", "is", null);
  if (purpose !== null) query = query.where("purpose", "=", purpose);
  await query.execute();
}

export interface FoundToken {
  readonly id: string;
  readonly userId: string;
  readonly organisationId: string;
  readonly organisationName: string;
  readonly portalCode: string;
  readonly email: string;
  readonly name: string;
}

const nobody = "00000000-0000-0000-0000-000000000000";

/** Whose a token is. Null where it is unknown, used, too old, for something else, or its user is disabled. */
export async function findUserToken(
  context: Context,
  token: string,
  purpose: TokenPurpose,
): Promise<FoundToken | null> {
  const digest = sha256(token);
  const { rows } = await sql<{ organisationId: string; userTokenId: string }>`
    select * from find_user_token(${digest.subarray(0, 8)})
  `.execute(context.database);
  const { organisationId, userTokenId } = rows[0] ?? { organisationId: nobody, userTokenId: nobody };
  const row = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("userTokens as t")
      .innerJoin("users as u", "u.id", "t.userId")
      .innerJoin("organisations as o", "o.id", "t.organisationId")
      .select(["t.id", "t.userId", "t.organisationId", "t.tokenHash", "o.name as organisationName", "o.portalCode"])
      .select(["u.email", "u.name"])
      .where("t.id", "=", userTokenId)
      .where("t.purpose", "=", purpose)
      .where("t.usedAt", "is", null)
      .where("t.expiresAt", ">", context.clock())
      .where("u.disabledAt", "is", null)
      .executeTakeFirst(),
  );
  const isRight = equalDigests(row?.tokenHash ?? Buffer.alloc(digest.length), digest);
  if (row === undefined || !isRight) return null;
  const { tokenHash: _, ...found } = row;
  return found;
}
