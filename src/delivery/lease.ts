import { sql } from "kysely";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";

/**
 * One drain at a time for each partner, whatever the queue does. A drain that dies loses the lease, and what it had in
 * hand becomes due again, within `leaseMs`.
 */
export interface Lease {
  readonly organisationId: string;
  readonly partnerId: string;
  readonly token: string;
}

export const leaseMs = 9_000;

/** Three chances to renew before the lease is lost. */
export const renewEveryMs = 3_000;

/**
 * Keeps the lease and the deliveries in hand. Gives false when the lease was lost: begin nothing more. Deliveries come
 * before the endpoint, as in settling, and those that are being settled are passed over: the two never wait in a ring.
 */
export async function renewLease(
  context: Context,
  { organisationId, partnerId, token }: Lease,
  inHand: readonly string[],
): Promise<boolean> {
  const until = new Date(context.clock().getTime() + leaseMs);
  return inOrganisation(context.database, organisationId, async (transaction) => {
    await sql`
      with kept as (
        select id from deliveries
        where id = any(${inHand}::uuid[]) and state = 'sending' and claim_token = ${token}
        for no key update skip locked
      )
      update deliveries d set due_at = ${until} from kept where d.id = kept.id
    `.execute(transaction);
    const row = await transaction
      .updateTable("endpoints")
      .set({ drainLeasedUntil: until })
      .where("partnerId", "=", partnerId)
      .where("drainToken", "=", token)
      .returning("partnerId")
      .executeTakeFirst();
    return row !== undefined;
  });
}

/**
 * Gives the lease up and says whether something is due. A wake-up that found the lease taken a moment before is kept by the
 * queue until this job has ended, and runs then; should the queue lose it, the sweep finds what is due.
 */
export async function releaseLease(
  context: Context,
  { organisationId, partnerId, token }: Lease,
  nextSendAt: Date | null,
): Promise<boolean> {
  const now = context.clock();
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const { rows } = await sql<{ due: boolean }>`
      with released as (
        update endpoints set drain_token = null, drain_leased_until = null, next_send_at = ${nextSendAt}
        where partner_id = ${partnerId} and drain_token = ${token}
      )
      select exists (select from deliveries where partner_id = ${partnerId} and state = 'sending' and due_at <= ${now}) as due
    `.execute(transaction);
    const isWaiting = nextSendAt !== null && nextSendAt > now;
    return !isWaiting && (rows[0]?.due ?? false);
  });
}
