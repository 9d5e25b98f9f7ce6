import { setTimeout } from "node:timers/promises";
import { sendAlerts } from "../../queues/send-alerts.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type ClaimedAlert, claimAlerts } from "./claim-alerts.ts";
import { sendAlert } from "./send-alert.ts";
import { type FinishedAlert, settleAlerts } from "./settle-alerts.ts";

/** Messages of one channel and organisation that one job has under way at once. */
const concurrency = 20;

/** A job hands the worker back after this long; what is left goes to another. */
const sliceMs = 5_000;

/**
 * Sends the alerts of one organisation that are due, until none is left or the slice is over. SMS and email go side by
 * side, so that a mail server that hangs holds up no SMS. Any number may run at once: each alert is claimed by one.
 *
 * An alert whose worker dies between sending and settling is sent again when its claim runs out. A mail then bears the
 * same Message-ID; an SMS may arrive twice, which is the price of none being lost, and is charged once.
 */
export async function sendDueAlerts(context: Context, organisationId: string): Promise<void> {
  const endsAt = performance.now() + sliceMs;
  const runs = await Promise.allSettled([
    sendDueOnChannel(context, organisationId, "sms", endsAt),
    sendDueOnChannel(context, organisationId, "email", endsAt),
  ]);
  if (runs.some((run) => run.status === "fulfilled" && run.value)) context.waker.wake(sendAlerts, { organisationId });
  for (const run of runs) if (run.status === "rejected") throw run.reason;
}

/** Keeps up to `concurrency` messages under way and settles those that are done meanwhile. Gives whether there may be more. */
async function sendDueOnChannel(
  context: Context,
  organisationId: string,
  channel: ClaimedAlert["channel"],
  endsAt: number,
): Promise<boolean> {
  const underWay = new Set<Promise<void>>();
  const finished: FinishedAlert[] = [];
  const begin = (alert: ClaimedAlert) => {
    const sending = sendAlert(context, organisationId, alert).then((outcome) => {
      finished.push({ alert, outcome });
      underWay.delete(sending);
    });
    underWay.add(sending);
  };
  const settleNext = async () => {
    if (finished.length === 0 && underWay.size > 0) await Promise.race(underWay);
    if (finished.length > 0) await settlePatiently(context, organisationId, finished.splice(0));
  };
  let isMore = true;
  try {
    while (isMore && performance.now() < endsAt && !context.stopping.signal.aborted) {
      const free = concurrency - underWay.size;
      const claimed = await inOrganisation(context.database, organisationId, async (transaction) =>
        claimAlerts(transaction, channel, free, context.clock()),
      );
      claimed.forEach(begin);
      isMore = claimed.length === free;
      await settleNext();
    }
  } finally {
    while (underWay.size > 0 || finished.length > 0) await settleNext();
  }
  return isMore;
}

/** Together well within the lease. */
const settleDelaysMs = [200, 1_000, 4_000, 10_000];

/** What was sent and could not be recorded would be sent again: a database that restarts is waited for. */
async function settlePatiently(
  context: Context,
  organisationId: string,
  finished: readonly FinishedAlert[],
): Promise<void> {
  for (const delayMs of settleDelaysMs) {
    try {
      return await settleAlerts(context, organisationId, finished);
    } catch (error) {
      // What PostgreSQL says may quote a value, which may be somebody's: only its code is kept.
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      const name = error instanceof Error ? error.name : typeof error;
      context.log.warn({ organisationId, alerts: finished.length, error: name, code }, "alerts.settling_failed");
      await setTimeout(delayMs);
    }
  }
  await settleAlerts(context, organisationId, finished);
}
