import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { recordChange } from "../organisations/record-change.ts";
import { checkCode } from "./check-code.ts";
import type { SignedIn } from "./prove-identity.ts";
import { beginTry, forgetTries } from "./sign-in-tries.ts";
import { makeRecoveryCodes, makeTotp, type NewTotp, recoveryCodeHash } from "./totp.ts";

/** Makes a secret for an authenticator app. It counts once it was confirmed. Refuses (null) where there is one that counts. */
export async function beginTotp(context: Context, signedIn: SignedIn): Promise<NewTotp | null> {
  const { organisationId, userId } = signedIn;
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const [{ name }, { email }] = await Promise.all([
      transaction.selectFrom("organisations").select("name").executeTakeFirstOrThrow(),
      transaction.selectFrom("users").select("email").where("id", "=", userId).executeTakeFirstOrThrow(),
    ]);
    const totp = makeTotp(name, email);
    const begun = await transaction
      .updateTable("users")
      .set({ totpSecret: context.vault.encrypt(totp.secret), totpLastStep: null, updatedAt: context.clock() })
      .where("id", "=", userId)
      .where("totpConfirmedAt", "is", null)
      .executeTakeFirst();
    return begun.numUpdatedRows > 0n ? totp : null;
  });
}

export type ConfirmResult =
  | { readonly kind: "confirmed"; readonly recoveryCodes: readonly string[] }
  | { readonly kind: "wrong_code" }
  /** None was begun, or it was confirmed already. */
  | { readonly kind: "nothing_to_confirm" }
  | { readonly kind: "wait"; readonly seconds: number };

/** Has the secret that was begun count from now on, where a code shows that the app has it. Gives the recovery codes. */
export async function confirmTotp(context: Context, signedIn: SignedIn, code: string): Promise<ConfirmResult> {
  const { organisationId, userId, actor } = signedIn;
  const tried = `proof of user ${userId}`;
  const begun = await beginTry(context, tried);
  if (begun.kind === "wait") return begun;
  const result = await inOrganisation(context.database, organisationId, async (transaction): Promise<ConfirmResult> => {
    const user = await transaction
      .selectFrom("users")
      .select(["totpSecret", "totpConfirmedAt"])
      .where("id", "=", userId)
      .forNoKeyUpdate()
      .executeTakeFirstOrThrow();
    if (user.totpSecret === null || user.totpConfirmedAt !== null) return { kind: "nothing_to_confirm" };
    if (!/^\d{6}$/.test(code.trim())) return { kind: "wrong_code" };
    if (!(await checkCode(context, transaction, userId, user.totpSecret, code))) return { kind: "wrong_code" };
    const at = context.clock();
    await transaction
      .updateTable("users")
      .set({ totpConfirmedAt: at, updatedAt: at })
      .where("id", "=", userId)
      .execute();
    const recoveryCodes = await replaceRecoveryCodes(transaction, signedIn);
    await recordChange(
      transaction,
      { organisationId, by: actor, at },
      { kind: "user", id: userId },
      {},
      { totp: "on" },
    );
    return { kind: "confirmed", recoveryCodes };
  });
  if (result.kind !== "wrong_code") await forgetTries(context, tried);
  return result;
}

/** Puts ten new recovery codes in place of what there was, and gives them: only their digests are kept. */
async function replaceRecoveryCodes(
  transaction: Database,
  { organisationId, userId }: Pick<SignedIn, "organisationId" | "userId">,
): Promise<readonly string[]> {
  const codes = makeRecoveryCodes();
  await transaction.deleteFrom("recoveryCodes").where("userId", "=", userId).execute();
  const rows = codes.map((code) => ({ userId, organisationId, codeHash: recoveryCodeHash(code), usedAt: null }));
  await transaction.insertInto("recoveryCodes").values(rows).execute();
  return codes;
}

/** Gives new recovery codes; the old ones are none any more. Refuses (null) where no authenticator app is set up. */
export async function renewRecoveryCodes(context: Context, signedIn: SignedIn): Promise<readonly string[] | null> {
  return inOrganisation(context.database, signedIn.organisationId, async (transaction) => {
    const user = await transaction
      .selectFrom("users")
      .select("totpConfirmedAt")
      .where("id", "=", signedIn.userId)
      .forNoKeyUpdate()
      .executeTakeFirstOrThrow();
    return user.totpConfirmedAt === null ? null : replaceRecoveryCodes(transaction, signedIn);
  });
}

/** Switches a user's authenticator app off, with its recovery codes. Refuses (false) where none is set up or begun. */
export async function stopTotp(
  transaction: Database,
  { organisationId, by, at }: { readonly organisationId: string; readonly by: string; readonly at: Date },
  userId: string,
): Promise<boolean> {
  const stopped = await transaction
    .updateTable("users")
    .set({ totpSecret: null, totpConfirmedAt: null, totpLastStep: null, updatedAt: at })
    .where("id", "=", userId)
    .where("totpSecret", "is not", null)
    .executeTakeFirst();
  if (stopped.numUpdatedRows === 0n) return false;
  await transaction.deleteFrom("recoveryCodes").where("userId", "=", userId).execute();
  await recordChange(transaction, { organisationId, by, at }, { kind: "user", id: userId }, {}, { totp: "off" });
  return true;
}
