import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { checkPayments } from "../../queues/check-payments.ts";
import { closeSales } from "../../queues/close-sales.ts";
import { drainPartner } from "../../queues/drain-partner.ts";
import { expireOffers } from "../../queues/expire-offers.ts";
import { routeLeads } from "../../queues/route-leads.ts";
import { sendAlerts } from "../../queues/send-alerts.ts";
import { sendReferralStatus } from "../../queues/send-referral-status.ts";
import { sendReferrals } from "../../queues/send-referrals.ts";
import type { Context } from "../context.ts";

/** What a server tells Prometheus about its requests, its queues and itself. */
export interface RequestMetrics {
  readonly contentType: string;
  observe(method: string, route: string, status: number, seconds: number): void;
  /** The text that /metrics answers with. */
  read(): Promise<string>;
}

/** Of the whole process, so kept once however many servers a process has. */
const processRegistry = new Registry();
let isProcessMeasured = false;

export function createRequestMetrics(context: Context): RequestMetrics {
  if (!isProcessMeasured) collectDefaultMetrics({ register: processRegistry });
  isProcessMeasured = true;
  const registry = new Registry();
  const requests = new Counter({
    name: "handoff_http_requests_total",
    help: "Requests answered, by route and status.",
    labelNames: ["method", "route", "status"],
    registers: [registry],
  });
  const durations = new Histogram({
    name: "handoff_http_request_duration_seconds",
    help: "Time to the end of the answer, by route.",
    labelNames: ["method", "route"],
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  measureQueues(context, registry);
  return {
    contentType: Registry.PROMETHEUS_CONTENT_TYPE,
    observe(method, route, status, seconds) {
      requests.inc({ method, route, status });
      durations.observe({ method, route }, seconds);
    },
    read: async () => Registry.merge([processRegistry, registry]).metrics(),
  };
}

const queues = [
  routeLeads,
  drainPartner,
  expireOffers,
  sendAlerts,
  sendReferrals,
  sendReferralStatus,
  closeSales,
  checkPayments,
];
const queueNames = queues.map(({ name }) => name);

function measureQueues(context: Context, registry: Registry): void {
  new Gauge({
    name: "handoff_queue_jobs",
    help: "Jobs in each queue, by state. Absent where the queue does not answer.",
    labelNames: ["queue", "state"],
    registers: [registry],
    async collect() {
      this.reset();
      for (const name of queueNames) {
        const counts = await readJobCounts(context, name).catch(() => ({}));
        for (const [state, count] of Object.entries(counts)) this.set({ queue: name, state }, count);
      }
    },
  });
}

const queueTimeoutMs = 2_000;

/** Asks a queue how many jobs it has, by state. Fails when it does not answer within two seconds. */
export async function readJobCounts(context: Context, name: string): Promise<Record<string, number>> {
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("The queue does not answer.")), queueTimeoutMs);
  });
  return Promise.race([context.queues.openQueue(name).getJobCounts(), timeUp]).finally(() => clearTimeout(timer));
}
