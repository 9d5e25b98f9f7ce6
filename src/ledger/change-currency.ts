import type { Database } from "../db/database.ts";

/**
 * Puts the accounts of a partner, or with null the organisation's own, into another currency. Refuses (false) once there
 * is an entry on any of them, or a top-up was begun. Locks the accounts, so that nothing is booked or begun meanwhile.
 */
export async function changeAccountCurrency(
  transaction: Database,
  partnerId: string | null,
  currency: string,
): Promise<boolean> {
  const accounts = await transaction
    .selectFrom("accounts")
    .select("id")
    .where("partnerId", partnerId === null ? "is" : "=", partnerId)
    .orderBy("id")
    .forNoKeyUpdate()
    .execute();
  const ids = accounts.map((account) => account.id);
  const booked = await transaction
    .selectFrom("entries")
    .select("accountId")
    .where("accountId", "in", ids)
    .limit(1)
    .executeTakeFirst();
  if (booked !== undefined || (await hasTopUp(transaction, partnerId))) return false;
  await transaction.updateTable("accounts").set({ currency }).where("id", "in", ids).execute();
  return true;
}

/** What a payer may still approve at PayPal comes in the currency that it was asked for in. */
async function hasTopUp(transaction: Database, partnerId: string | null): Promise<boolean> {
  if (partnerId === null) return false;
  const query = transaction.selectFrom("topUps").select("id").where("partnerId", "=", partnerId).limit(1);
  return (await query.executeTakeFirst()) !== undefined;
}
