import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { callbackOf, type DueStatus } from "./deliver-status.ts";
import type { StatusOutcome } from "./status-outcome.ts";
import { storeStatus } from "./take-status.ts";

/**
 * Tells the sender over a connection what became of its lead: in a transaction of the sender, in which the connection stays as
 * it is. While other permissions wait for approval it is put off; once the connection has ended, or the receiver tells nothing
 * any more, it is not told.
 */
export async function tellOverConnection(
  context: Context,
  organisationId: string,
  connectionId: string,
  due: DueStatus,
): Promise<StatusOutcome> {
  const { fromOrganisationId } = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("connections")
      .select("fromOrganisationId")
      .where("id", "=", connectionId)
      .executeTakeFirstOrThrow(),
  );
  return inOrganisation(context.database, fromOrganisationId, async (transaction) => {
    const referral = await transaction
      .selectFrom("referrals")
      .select(["leadId", "linkName", "remoteOrganisation"])
      .where("id", "=", due.referralId)
      .where("connectionId", "=", connectionId)
      .executeTakeFirst();
    if (referral === undefined)
      throw new Error(`Referral ${due.referralId} came over the connection and is not there.`);
    const obstacle = await findObstacle(transaction, connectionId);
    if (obstacle !== null) return obstacle;
    await storeStatus(transaction, fromOrganisationId, referral, callbackOf(due), context.clock());
    return { kind: "told" };
  });
}

async function findObstacle(transaction: Database, connectionId: string): Promise<StatusOutcome | null> {
  const { state, reportsStatus } = await transaction
    .selectFrom("connections")
    .select(["state", "reportsStatus"])
    .where("id", "=", connectionId)
    .forShare()
    .executeTakeFirstOrThrow();
  if (state === "pending") return { kind: "retry", reason: "The connection waits for approval.", retryAfterMs: null };
  if (state !== "active") return { kind: "failed", reason: "The connection has been ended." };
  return reportsStatus
    ? null
    : { kind: "failed", reason: "The connection does not tell what becomes of leads any more." };
}
