import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { recordChange } from "../organisations/record-change.ts";
import { passwordProblem } from "./password-rules.ts";
import { hashPassword } from "./passwords.ts";
import { endSessions } from "./sessions.ts";
import { accountTried, forgetTries } from "./sign-in-tries.ts";
import { endUserTokens, findUserToken, type TokenPurpose } from "./user-tokens.ts";

export type SetPasswordResult =
  | { readonly kind: "set" }
  /** The token is unknown, used, too old, or its user may not get in any more. */
  | { readonly kind: "token_gone" }
  | { readonly kind: "password_refused"; readonly problem: string };

/**
 * Sets the password of whoever has this token, which was mailed to them and is good once. Everybody who is signed in as this
 * user is signed out, and other links that were mailed are none any more.
 */
export async function setPasswordByToken(
  context: Context,
  purpose: TokenPurpose,
  token: string,
  password: string,
): Promise<SetPasswordResult> {
  const found = await findUserToken(context, token, purpose);
  if (found === null) return { kind: "token_gone" };
  const problem = passwordProblem(password, found);
  if (problem !== null) return { kind: "password_refused", problem };
  const passwordHash = await hashPassword(password);
  const { organisationId, userId } = found;
  const isSet = await inOrganisation(context.database, organisationId, async (transaction) => {
    if (!(await useToken(transaction, found.id, context.clock()))) return false;
    return replacePassword(
      context,
      transaction,
      { userId, organisationId, by: `user ${found.name}` },
      passwordHash,
      null,
    );
  });
  if (!isSet) return { kind: "token_gone" };
  // Who has the mailbox is no guesser: whoever guessed before does not keep them waiting.
  await forgetTries(context, accountTried(found.email, null));
  await forgetTries(context, accountTried(found.email, found.portalCode));
  return { kind: "set" };
}

/** Of two that use a token at the same time, one does. */
async function useToken(transaction: Database, id: string, now: Date): Promise<boolean> {
  const used = await transaction
    .updateTable("userTokens")
    .set({ usedAt: now })
    .where("id", "=", id)
    .where("usedAt", "is", null)
    .where("expiresAt", ">", now)
    .executeTakeFirst();
  return used.numUpdatedRows > 0n;
}

/**
 * Puts another password in place, ends the user's sessions but for one that may be named, and all links that were mailed.
 * Refuses (false) where the user was disabled.
 */
export async function replacePassword(
  context: Context,
  transaction: Database,
  of: { readonly userId: string; readonly organisationId: string; readonly by: string },
  passwordHash: string,
  keptSessionId: string | null,
): Promise<boolean> {
  const { userId, organisationId, by } = of;
  const at = context.clock();
  const updated = await transaction
    .updateTable("users")
    .set({ passwordHash, updatedAt: at })
    .where("id", "=", userId)
    .where("disabledAt", "is", null)
    .executeTakeFirst();
  if (updated.numUpdatedRows === 0n) return false;
  await endSessions(transaction, userId, at, keptSessionId);
  await endUserTokens(transaction, userId, at);
  await recordChange(
    transaction,
    { organisationId, by, at },
    { kind: "user", id: userId },
    {},
    { password: "changed" },
  );
  return true;
}
