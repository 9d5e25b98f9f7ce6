import { drainPartner } from "../../queues/drain-partner.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { type Change, recordChange } from "../organisations/record-change.ts";

/** Has the held leads of these partners looked at again; the caller wakes their drains after the commit. */
export async function recheckHoldsOf(transaction: Database, partnerIds: readonly string[], at: Date): Promise<void> {
  if (partnerIds.length === 0) return;
  await transaction
    .updateTable("endpoints")
    .set({ recheckHoldsAt: at })
    .where("partnerId", "in", (is) =>
      // Locked in one order everywhere, lest two changes wait for each other in a ring.
      is
        .selectFrom("endpoints")
        .select("partnerId")
        .where("partnerId", "in", partnerIds)
        .orderBy("partnerId")
        .forNoKeyUpdate(),
    )
    .execute();
}

/** Takes a partner's endpoint for a good one again. */
export async function clearPause(transaction: Database, partnerId: string): Promise<void> {
  await transaction
    .updateTable("endpoints")
    .set({ pausedUntil: null, pauseReason: null, pauseCount: 0, recent: "" })
    .where("partnerId", "=", partnerId)
    .execute();
}

/** Ends the pause of a partner's endpoint by hand: what waits for it is due now. Gives false where there is no such partner. */
export async function resumePartner(context: Context, change: Change, id: string): Promise<boolean> {
  const { organisationId, at } = change;
  const found = await inOrganisation(context.database, organisationId, async (transaction) => {
    const endpoint = await transaction
      .selectFrom("endpoints")
      .select(["pausedUntil", "pauseReason"])
      .where("partnerId", "=", id)
      .executeTakeFirst();
    if (endpoint === undefined) return false;
    const { pausedUntil, pauseReason } = endpoint;
    if (pausedUntil === null) return true;
    // These were put off to the end of the pause; others wait for a retry of their own.
    await transaction
      .updateTable("deliveries")
      .set({ dueAt: at })
      .where("partnerId", "=", id)
      .where("state", "=", "sending")
      .where("dueAt", "=", pausedUntil)
      .execute();
    await clearPause(transaction, id);
    await recheckHoldsOf(transaction, [id], at);
    await recordChange(
      transaction,
      change,
      { kind: "partner", id },
      { pausedUntil, pauseReason },
      { pausedUntil: null },
    );
    return true;
  });
  if (found) context.waker.wake(drainPartner, { organisationId, partnerId: id });
  return found;
}
