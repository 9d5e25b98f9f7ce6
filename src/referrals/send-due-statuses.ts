import { sql } from "kysely";
import { sendReferralStatus } from "../../queues/send-referral-status.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { recordLeadEvent } from "../leads/lead-events.ts";
import { type DueStatus, deliverStatus } from "./deliver-status.ts";
import { nextStatusAttempt, type StatusOutcome } from "./status-outcome.ts";
import { tellOverConnection } from "./tell-over-connection.ts";

/** Statuses of one organisation that one job has under way at once. */
const concurrency = 10;

/** Longer than any attempt takes with its settling. A worker that dies leaves its statuses to be sent again after this. */
const leaseMs = 60_000;

/** A job hands the worker back after this long; what is left goes to another. */
const sliceMs = 10_000;

/**
 * Tells those who referred leads to an organisation what became of them, as far as that is due. Of one referral, one after the
 * other, in the order in which it was reported. Any number may run at once: each status is claimed by one; one that is sent
 * twice, because a worker died, has no effect the second time, by its sequence.
 */
export async function sendDueStatuses(context: Context, organisationId: string): Promise<void> {
  const endsAt = performance.now() + sliceMs;
  for (;;) {
    const due = await claimDue(context, organisationId);
    const sent = await Promise.allSettled(
      due.map(async (one) => settle(context, organisationId, one, await tell(context, organisationId, one))),
    );
    for (const one of sent) if (one.status === "rejected") throw one.reason;
    // One that was told lets the next of the same referral go.
    if (due.length === 0 || context.stopping.signal.aborted) return;
    if (performance.now() < endsAt) continue;
    context.waker.wake(sendReferralStatus, { organisationId });
    return;
  }
}

/** Each kind of link has its own way back. */
async function tell(context: Context, organisationId: string, due: DueStatus): Promise<StatusOutcome> {
  const { connectionId } = due;
  return connectionId === null
    ? deliverStatus(context, due)
    : tellOverConnection(context, organisationId, connectionId, due);
}

async function claimDue(context: Context, organisationId: string): Promise<readonly DueStatus[]> {
  const now = context.clock();
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const { rows } = await sql<DueStatus>`
      with due as (
        select c.id from status_callbacks c
        where c.organisation_id = ${organisationId} and c.state = 'due' and c.due_at <= ${now}
          and not exists (select from status_callbacks e
            where e.arrival_id = c.arrival_id and e.sequence < c.sequence and e.state = 'due')
        order by c.due_at, c.id limit ${concurrency} for no key update skip locked
      ), claimed as (
        update status_callbacks c set attempt_count = c.attempt_count + 1, due_at = ${new Date(now.getTime() + leaseMs)}
        from due where c.id = due.id
        returning c.*
      )
      select c.id, a.lead_id, a.referral_id, a.referrer, a.connection_id, a.status_url, a.status_key_encrypted, c.sequence,
        c.status, c.reason, c.reported_at, c.attempt_count
      from claimed c join arrivals a on a.id = c.arrival_id
    `.execute(transaction);
    return rows;
  });
}

/** Only whoever made the latest attempt settles it. What could not be told in the end is noted in the lead's history. */
async function settle(context: Context, organisationId: string, due: DueStatus, outcome: StatusOutcome): Promise<void> {
  const { id, leadId, referrer, status, attemptCount } = due;
  const now = context.clock();
  const retryAt = outcome.kind === "retry" ? nextStatusAttempt(attemptCount, outcome.retryAfterMs, now) : null;
  const error = outcome.kind === "told" ? null : outcome.reason;
  await inOrganisation(context.database, organisationId, async (transaction) => {
    const settled = await transaction
      .updateTable("statusCallbacks")
      .set({
        state: outcome.kind === "told" ? "sent" : retryAt === null ? "failed" : "due",
        dueAt: retryAt,
        error,
        finishedAt: retryAt === null ? now : null,
      })
      .where("id", "=", id)
      .where("state", "=", "due")
      .where("attemptCount", "=", attemptCount)
      .returning("state")
      .executeTakeFirst();
    if (settled?.state !== "failed") return;
    const detail = { referrer, status, error };
    const event = { organisationId, leadId, kind: "status_not_told", actor: "system", detail } as const;
    await recordLeadEvent(transaction, event, now);
  });
  const entry = { organisationId, leadId, statusId: id, attempt: attemptCount, result: outcome.kind };
  context.log.info(entry, "referral_status.attempted");
}
