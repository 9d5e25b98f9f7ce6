import { setTimeout } from "node:timers/promises";
import { sql } from "kysely";
import { checkPayments } from "../queues/check-payments.ts";
import { closeSales } from "../queues/close-sales.ts";
import { drainPartner } from "../queues/drain-partner.ts";
import { expireOffers } from "../queues/expire-offers.ts";
import { routeLeads } from "../queues/route-leads.ts";
import { sendAlerts } from "../queues/send-alerts.ts";
import { sendReferralStatus } from "../queues/send-referral-status.ts";
import { sendReferrals } from "../queues/send-referrals.ts";
import type { Context } from "./context.ts";

/** Holds, retries and lost wake-ups are noticed this much after they are due. */
const sweepEveryMs = 1_000;

/** Work that has been due for this long was woken before and not done: its wake-up goes past deduplication. */
const overdueMs = 4_000;

/**
 * Finds whatever is due in Postgres and wakes a worker for it. Every worker process sweeps; wake-ups for the same thing
 * fall together in the queue. So nothing depends on a job: it may be lost with the whole queue.
 */
export function startSweep(context: Context): void {
  void sweepUntilStopped(context);
}

async function sweepUntilStopped(context: Context): Promise<void> {
  const { signal } = context.stopping;
  while (!signal.aborted) {
    try {
      await sweep(context);
    } catch (error) {
      context.log.warn({ error: error instanceof Error ? error.message : String(error) }, "sweep.failed");
    }
    await setTimeout(sweepEveryMs, undefined, { signal }).catch(() => undefined);
  }
}

/** One look at everything that is due. */
export async function sweep({ database, clock, waker }: Context): Promise<void> {
  const now = clock();
  const lateness = (dueSince: Date) => (now.getTime() - dueSince.getTime() > overdueMs ? "overdue" : "queue");
  const campaigns = await sql<{ organisationId: string; campaignId: string; dueSince: Date }>`
    select * from due_campaigns(${now})`.execute(database);
  for (const { organisationId, campaignId, dueSince } of campaigns.rows) {
    waker.wake(routeLeads, { organisationId, campaignId }, lateness(dueSince));
  }
  const partners = await sql<{ organisationId: string; partnerId: string; dueSince: Date }>`
    select * from due_partners(${now})`.execute(database);
  for (const { organisationId, partnerId, dueSince } of partners.rows) {
    // Each worker tries at once: the lease lets one of them.
    waker.wake(drainPartner, { organisationId, partnerId }, lateness(dueSince) === "overdue" ? "overdue" : undefined);
  }
  const alerts = await sql<{ organisationId: string; dueSince: Date }>`
    select * from due_alerts(${now})`.execute(database);
  for (const { organisationId, dueSince } of alerts.rows) {
    waker.wake(sendAlerts, { organisationId }, lateness(dueSince));
  }
  const statuses = await sql<{ organisationId: string; dueSince: Date }>`
    select * from due_statuses(${now})`.execute(database);
  for (const { organisationId, dueSince } of statuses.rows) {
    waker.wake(sendReferralStatus, { organisationId }, lateness(dueSince));
  }
  const closings = await sql<{ organisationId: string; dueSince: Date }>`
    select * from due_closings(${now})`.execute(database);
  for (const { organisationId, dueSince } of closings.rows) {
    waker.wake(closeSales, { organisationId }, lateness(dueSince));
  }
  const offers = await sql<{ organisationId: string; dueSince: Date }>`
    select * from due_offers(${now})`.execute(database);
  for (const { organisationId, dueSince } of offers.rows) {
    waker.wake(expireOffers, { organisationId }, lateness(dueSince));
  }
  const payments = await sql<{ organisationId: string; dueSince: Date }>`
    select * from due_top_ups(${now})`.execute(database);
  for (const { organisationId, dueSince } of payments.rows) {
    waker.wake(checkPayments, { organisationId }, lateness(dueSince));
  }
  const referrals = await sql<{ organisationId: string; linkId: string; dueSince: Date }>`
    select * from due_referrals(${now})`.execute(database);
  for (const { organisationId, linkId, dueSince } of referrals.rows) {
    waker.wake(sendReferrals, { organisationId, linkId }, lateness(dueSince));
  }
}
