import type { Context } from "../context.ts";
import type { Database } from "../db/database.ts";
import { recoveryCodeHash, stepOf } from "./totp.ts";

/**
 * Whether a code is the authenticator app's of this moment, or a recovery code, and was not used before. Uses it up, in
 * the transaction of what it is for. Takes the secret as it is stored.
 */
export async function checkCode(
  context: Context,
  transaction: Database,
  userId: string,
  secretEncrypted: string | null,
  code: string | null,
): Promise<boolean> {
  if (code === null || secretEncrypted === null) return false;
  const digits = code.replace(/\s/g, "");
  if (!/^\d{6}$/.test(digits)) return useRecoveryCode(context, transaction, userId, code);
  const step = stepOf(context.vault.decrypt(secretEncrypted), digits, context.clock());
  if (step === null) return false;
  const taken = await transaction
    .updateTable("users")
    .set({ totpLastStep: step })
    .where("id", "=", userId)
    .where((is) => is.or([is("totpLastStep", "is", null), is("totpLastStep", "<", step)]))
    .executeTakeFirst();
  return taken.numUpdatedRows > 0n;
}

async function useRecoveryCode(
  context: Context,
  transaction: Database,
  userId: string,
  code: string,
): Promise<boolean> {
  const used = await transaction
    .updateTable("recoveryCodes")
    .set({ usedAt: context.clock() })
    .where("userId", "=", userId)
    .where("codeHash", "=", recoveryCodeHash(code))
    .where("usedAt", "is", null)
    .executeTakeFirst();
  return used.numUpdatedRows > 0n;
}
