import { randomUUID } from "node:crypto";
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

/** Gives the lease, or null when somebody else has it: they look once more before they stop, so nothing is missed. */
export async function takeLease(context: Context, organisationId: string, partnerId: string): Promise<Lease | null> {
  const token = randomUUID();
  const now = context.clock();
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const row = await transaction
      .updateTable("endpoints")
      .set({ drainToken: token, drainLeasedUntil: new Date(now.getTime() + leaseMs) })
      .where("partnerId", "=", partnerId)
      .where((is) => is.or([is("drainLeasedUntil", "is", null), is("drainLeasedUntil", "<=", now)]))
      .returning("partnerId")
      .executeTakeFirst();
    return row === undefined ? null : { organisationId, partnerId, token };
  });
}

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
 * Gives the lease up and says whether something is due that came meanwhile. The look comes after the release, so that
 * whoever found the lease taken before it is served by this look.
 */
export async function releaseLease(
  context: Context,
  { organisationId, partnerId, token }: Lease,
  nextSendAt: Date | null,
): Promise<boolean> {
  const now = context.clock();
  await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .updateTable("endpoints")
      .set({ drainToken: null, drainLeasedUntil: null, nextSendAt })
      .where("partnerId", "=", partnerId)
      .where("drainToken", "=", token)
      .execute(),
  );
  if (nextSendAt !== null && nextSendAt > now) return false;
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const { rows } = await sql<{ due: boolean }>`
      select exists (select from deliveries where partner_id = ${partnerId} and state = 'sending' and due_at <= ${now}) as due
    `.execute(transaction);
    return rows[0]?.due ?? false;
  });
}
