import type { Database } from "../db/database.ts";

/**
 * Puts the accounts of a partner, or with null the organisation's own, into another currency. Refuses (false) once there
 * is an entry on any of them. Locks the accounts, so that nothing is booked meanwhile.
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
  if (booked !== undefined) return false;
  await transaction.updateTable("accounts").set({ currency }).where("id", "in", ids).execute();
  return true;
}
