import { sql } from "kysely";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { recordSet } from "../db/record-set.ts";
import type { AlertOutcome } from "./alert-outcome.ts";
import { chargeSms, type SentSms } from "./charge-sms.ts";
import type { ClaimedAlert } from "./claim-alerts.ts";

export interface FinishedAlert {
  readonly alert: ClaimedAlert;
  readonly outcome: AlertOutcome;
}

/** After the first, second, ... attempt that did not go well: 1 min, 5 min, 30 min, 2 h. The fifth is the last. */
const retryDelaysMs = [60_000, 300_000, 1_800_000, 7_200_000];
export const maximumAttempts = retryDelaysMs.length + 1;

/**
 * Settles alerts in one transaction: their states, and the charge for each SMS. A message that was sent counts whoever
 * sent it; any other result counts only as long as no later attempt has begun.
 */
export async function settleAlerts(
  context: Context,
  organisationId: string,
  finished: readonly FinishedAlert[],
): Promise<void> {
  const now = context.clock();
  const rows = finished.map(({ alert, outcome }) => ({
    id: alert.id,
    attempt_count: alert.attemptCount,
    ...stateAfter(alert.attemptCount, outcome, now),
  }));
  await inOrganisation(context.database, organisationId, async (transaction) => {
    const { rows: changed } = await sql<SentSms & { state: string; channel: string }>`
      update alerts a
      set state = g.state, due_at = g.due_at, error = g.error, finished_at = g.finished_at,
          provider_id = coalesce(g.provider_id, a.provider_id), segments = coalesce(g.segments, a.segments),
          -- What opens something is kept no longer than it is needed.
          detail = case when g.state = 'due' then a.detail else a.detail - 'token' end
      from ${recordSet(
        rows,
        `
        id uuid, attempt_count integer, state text, due_at timestamptz, error text, finished_at timestamptz,
        provider_id text, segments integer`,
      )} as g
      where a.id = g.id and a.state = 'due' and (g.state = 'sent' or a.attempt_count = g.attempt_count)
      returning a.id as alert_id, a.state, a.channel, a.segments, a.partner_id, a.lead_id, a.delivery_id
    `.execute(transaction);
    const messages = changed.filter(({ state, channel }) => state === "sent" && channel === "sms");
    await chargeSms(transaction, organisationId, messages, now);
  });
}

function stateAfter(attemptCount: number, outcome: AlertOutcome, now: Date) {
  if (outcome.kind === "sent") {
    const { providerId, segments } = outcome;
    return { state: "sent", due_at: null, error: null, finished_at: now, provider_id: providerId, segments };
  }
  const delayMs = outcome.kind === "retry" ? retryDelaysMs[attemptCount - 1] : undefined;
  if (delayMs !== undefined) {
    return { state: "due", due_at: new Date(now.getTime() + delayMs), error: outcome.reason, finished_at: null };
  }
  const error =
    outcome.kind === "retry" ? `Given up after ${attemptCount} attempts. ${outcome.reason}` : outcome.reason;
  return { state: "failed", due_at: null, error, finished_at: now };
}
