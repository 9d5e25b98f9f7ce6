import { drainPartner } from "../queues/drain-partner.ts";
import { routeLeads } from "../queues/route-leads.ts";
import type { Context } from "../src/context.ts";
import { describeError } from "../src/describe-error.ts";
import { startSweep } from "../src/sweep.ts";
import { checkPaymentsWorker } from "./check-payments.ts";
import { closeSalesWorker } from "./close-sales.ts";
import type { JobWorker } from "./define-worker.ts";
import { drainPartnerWorker } from "./drain-partner.ts";
import { expireOffersWorker } from "./expire-offers.ts";
import { routeLeadsWorker } from "./route-leads.ts";
import { sendAlertsWorker } from "./send-alerts.ts";
import { sendReferralStatusWorker } from "./send-referral-status.ts";
import { sendReferralsWorker } from "./send-referrals.ts";

const routesAtOnce = 4;

/** Every kind of job and its handler. Deliveries, alerts and payments wait for others, so many go at once; routing works the database. */
const workers: readonly { worker: JobWorker; concurrency: (context: Context) => number }[] = [
  { worker: routeLeadsWorker, concurrency: () => routesAtOnce },
  { worker: drainPartnerWorker, concurrency: (context) => context.config.workerConcurrency },
  { worker: expireOffersWorker, concurrency: () => 2 },
  { worker: sendAlertsWorker, concurrency: () => 20 },
  { worker: sendReferralStatusWorker, concurrency: () => 4 },
  { worker: closeSalesWorker, concurrency: () => 2 },
  { worker: checkPaymentsWorker, concurrency: () => 4 },
  { worker: sendReferralsWorker, concurrency: () => 20 },
];

/** Starts all workers of this process, and the sweep that finds what no job woke. They stop with the context. */
export function startWorkers(context: Context): void {
  for (const { worker, concurrency } of workers) {
    context.queues.openWorker(worker.name, concurrency(context), async (data) => runJob(context, worker, data));
  }
  // Whoever routes a lead has it sent at once, without the way through the queue, while it has places for that.
  const { signal } = context.stopping;
  context.waker.doHere(drainPartner, context.config.workerConcurrency, signal, async (data) =>
    runJob(context, drainPartnerWorker, data),
  );
  context.waker.doHere(routeLeads, routesAtOnce, signal, async (data) => runJob(context, routeLeadsWorker, data));
  startSweep(context);
}

/** A handler's error is logged and thrown on: the queue must not believe that the job is done. */
async function runJob(context: Context, worker: JobWorker, data: unknown): Promise<void> {
  try {
    await worker.handle(context, data);
  } catch (error) {
    context.log.error({ job: worker.name, data, error: describeError(error) }, "job.failed");
    throw error;
  }
}
