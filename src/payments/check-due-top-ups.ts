import { sql } from "kysely";
import { checkPayments } from "../../queues/check-payments.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { lookAtTopUp } from "./look-at-top-up.ts";

/** Payments of one organisation that one job asks about at once. */
const concurrency = 5;

/** Longer than asking about one takes; a worker that dies leaves its payments to be looked at again after this. */
const leaseMs = 120_000;

/** A job hands the worker back after this long; what is left goes to another. */
const sliceMs = 10_000;

/**
 * Asks PayPal about the payments of an organisation that are due: those whose payer did not come back, that PayPal had under
 * review, that a crash left between taking the money and booking it, or that may have been refunded. Any number may run at once.
 */
export async function checkDueTopUps(context: Context, organisationId: string): Promise<void> {
  const endsAt = performance.now() + sliceMs;
  for (;;) {
    const ids = await claimDue(context, organisationId);
    // Each stores what came of it, trouble included.
    const looks = await Promise.allSettled(ids.map(async (id) => lookAtTopUp(context, organisationId, id)));
    for (const look of looks) if (look.status === "rejected") throw look.reason;
    if (ids.length < concurrency || context.stopping.signal.aborted) return;
    if (performance.now() < endsAt) continue;
    context.waker.wake(checkPayments, { organisationId });
    return;
  }
}

async function claimDue(context: Context, organisationId: string): Promise<readonly string[]> {
  const now = context.clock();
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const { rows } = await sql<{ id: string }>`
      with due as (
        select id from top_ups where organisation_id = ${organisationId} and due_at <= ${now}
        order by due_at limit ${concurrency} for no key update skip locked
      )
      update top_ups t set due_at = ${new Date(now.getTime() + leaseMs)} from due where t.id = due.id returning t.id
    `.execute(transaction);
    return rows.map(({ id }) => id);
  });
}
