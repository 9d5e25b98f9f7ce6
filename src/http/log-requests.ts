import type { Context } from "../context.ts";
import type { Api } from "./api.ts";
import type { RequestMetrics } from "./metrics.ts";

/** Asked every few seconds by machines: the log would hold little else. */
const watched: ReadonlySet<string> = new Set(["/healthz", "/readyz", "/metrics"]);

/**
 * One line in the log for each request, and its metrics. The route is the pattern, never the address itself: intake keys
 * and search terms are in that. Bodies and headers are never logged.
 */
export function logRequests(api: Api, context: Context, metrics: RequestMetrics): void {
  api.addHook("onResponse", async (request, reply) => {
    const route = request.routeOptions.url ?? "unknown";
    const { method } = request;
    const status = reply.statusCode;
    metrics.observe(method, route, status, reply.elapsedTime / 1000);
    const { organisationId } = request;
    const durationMs = Math.round(reply.elapsedTime * 10) / 10;
    const level = watched.has(route) ? "debug" : "info";
    context.log[level]({ method, route, status, durationMs, organisationId }, "request");
  });
}
