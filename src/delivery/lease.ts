import { sql } from "kysely";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";

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

/** Keeps the lease, and with it the deliveries in hand. Gives false when it was lost: begin nothing more. */
export async function renewLease(context: Context, { organisationId, partnerId, token }: Lease): Promise<boolean> {
  const until = new Date(context.clock().getTime() + leaseMs);
  return inOrganisation(
    context.database,
    organisationId,
    async (transaction, last) => {
      const renew = transaction
        .updateTable("endpoints")
        .set({ drainLeasedUntil: until })
        .where("partnerId", "=", partnerId)
        .where("drainToken", "=", token)
        .returning("partnerId");
      return (await last(async () => renew.executeTakeFirst())) !== undefined;
    },
    { soon: true, keepsPlans: true },
  );
}

/**
 * From here until the transaction ends nobody else finds the lease taken: they wait, and find it given up. So whoever found it
 * taken came before, and so did what is due to the partner because of them.
 */
export async function lockLease(transaction: Database, { partnerId, token }: Lease): Promise<void> {
  await transaction
    .selectFrom("endpoints")
    .select("partnerId")
    .where("partnerId", "=", partnerId)
    .where("drainToken", "=", token)
    .forNoKeyUpdate()
    .execute();
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
  return inOrganisation(
    context.database,
    organisationId,
    async (transaction, last) => {
      const release = sql<{ due: boolean }>`
      with released as (
        update endpoints set drain_token = null, drain_leased_until = null, next_send_at = ${nextSendAt}
        where partner_id = ${partnerId} and drain_token = ${token}
      )
      select exists (select from deliveries where partner_id = ${partnerId} and state = 'sending' and due_at <= ${now}) as due
    `;
      const { rows } = await last(async () => release.execute(transaction));
      const isWaiting = nextSendAt !== null && nextSendAt > now;
      return !isWaiting && (rows[0]?.due ?? false);
    },
    { soon: true, keepsPlans: true },
  );
}
