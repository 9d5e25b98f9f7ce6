import { sql } from "kysely";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { checkCode } from "./check-code.ts";
import { makeDevice, readDevice } from "./device.ts";
import { hashPassword, isOutdated, isPassword } from "./passwords.ts";
import { createSession, type NewSession, type Whence } from "./sessions.ts";
import { accountTried, beginTry, forgetTries, takeBackTry } from "./sign-in-tries.ts";

export interface SignInAttempt {
  readonly email: string;
  readonly password: string;
  /** Of an authenticator app, or a recovery code; where the account has none it is not looked at. */
  readonly code: string | null;
  /** Whose organisation's account is meant; null: the email is known in one only. */
  readonly portalCode: string | null;
  /** What the browser kept from the last time. */
  readonly device: string | null;
  readonly whence: Whence;
}

export type SignInResult =
  | {
      readonly kind: "signed_in";
      readonly organisationId: string;
      readonly userId: string;
      readonly session: NewSession;
      readonly device: string;
    }
  /** Whatever it was: the email, the password, the code, the organisation, or that the account may not get in. */
  | { readonly kind: "wrong" }
  /** All is right so far, and a code is needed too. */
  | { readonly kind: "code_needed" }
  | { readonly kind: "wait"; readonly seconds: number };

/**
 * Lets somebody in. Whether an account exists shows neither in the answer nor in the work: there is one comparison of
 * passwords in each try that is looked at, and tries are counted alike. Throws `Overloaded` where too many wait.
 */
export async function signIn(context: Context, attempt: SignInAttempt): Promise<SignInResult> {
  const { password, device } = attempt;
  const account = await findAccount(context, attempt);
  const known = readDevice(context, account?.id ?? "", device);
  const tried = known === null ? accountTried(attempt.email, attempt.portalCode) : `sign-in with the browser ${known}`;
  const begun = await beginTry(context, tried);
  if (begun.kind === "wait") return begun;
  const isRight = await isPassword(password, account?.passwordHash ?? null);
  if (account === null || !isRight) return { kind: "wrong" };
  if (account.totpConfirmedAt !== null && attempt.code === null) {
    await takeBackTry(context, tried);
    return { kind: "code_needed" };
  }
  const renewedHash = isOutdated(account.passwordHash) ? await hashPassword(password) : account.passwordHash;
  const session = await inOrganisation(context.database, account.organisationId, async (transaction) =>
    enter(context, transaction, account, attempt, renewedHash),
  );
  if (session === null) return { kind: "wrong" };
  await forgetTries(context, tried);
  const { id: userId, organisationId } = account;
  const kept = known === null || device === null ? makeDevice(context, userId) : device;
  return { kind: "signed_in", organisationId, userId, session, device: kept };
}

interface Account {
  readonly id: string;
  readonly organisationId: string;
  readonly passwordHash: string;
  readonly totpConfirmedAt: Date | null;
}

const nobody = "00000000-0000-0000-0000-000000000000";

/** The account that is meant; null where it is none, or one of several. Takes the same steps for all of these. */
async function findAccount(context: Context, { email, portalCode }: SignInAttempt): Promise<Account | null> {
  const { rows } = await sql<{ organisationId: string; userId: string }>`
    select * from find_users_by_email(${email.toLowerCase()}, ${portalCode}, true)
  `.execute(context.database);
  const [only, another] = rows;
  const { organisationId, userId } =
    only !== undefined && another === undefined ? only : { organisationId: nobody, userId: nobody };
  const row = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("users")
      .select(["id", "organisationId", "passwordHash", "totpConfirmedAt"])
      .where("id", "=", userId)
      .executeTakeFirst(),
  );
  return row === undefined || row.passwordHash === null ? null : { ...row, passwordHash: row.passwordHash };
}

/** Begins the session, unless the password was changed or the user disabled meanwhile, or the code is wrong. */
async function enter(
  context: Context,
  transaction: Database,
  account: Account,
  { code, whence }: SignInAttempt,
  passwordHash: string,
): Promise<NewSession | null> {
  const updated = await transaction
    .updateTable("users")
    .set({ passwordHash })
    .where("id", "=", account.id)
    .where("passwordHash", "=", account.passwordHash)
    .where("disabledAt", "is", null)
    .returning(["totpSecret", "totpConfirmedAt"])
    .executeTakeFirst();
  if (updated === undefined) return null;
  const isCodeNeeded = updated.totpConfirmedAt !== null;
  if (isCodeNeeded && !(await checkCode(context, transaction, account.id, updated.totpSecret, code))) return null;
  return createSession(context, transaction, account, whence);
}
