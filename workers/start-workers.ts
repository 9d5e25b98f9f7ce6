import type { Context } from "../src/context.ts";
import { startSweep } from "../src/sweep.ts";
import type { JobWorker } from "./define-worker.ts";
import { drainPartnerWorker } from "./drain-partner.ts";
import { routeLeadsWorker } from "./route-leads.ts";
import { sendAlertsWorker } from "./send-alerts.ts";

/** Every kind of job and its handler. Deliveries wait for partners, so many go at once; the others work the database. */
const workers: readonly { worker: JobWorker; concurrency: (context: Context) => number }[] = [
  { worker: routeLeadsWorker, concurrency: () => 4 },
  { worker: drainPartnerWorker, concurrency: (context) => context.config.workerConcurrency },
  { worker: sendAlertsWorker, concurrency: () => 4 },
];

/** Starts all workers of this process, and the sweep that finds what no job woke. They stop with the context. */
export function startWorkers(context: Context): void {
  for (const { worker, concurrency } of workers) {
    context.queues.openWorker(worker.name, concurrency(context), async (data) => runJob(context, worker, data));
  }
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

/** Name, message and place. Messages of ours and of the database's name columns and rules, not values. */
function describeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: String(error) };
  return { name: error.name, message: error.message, stack: error.stack };
}
