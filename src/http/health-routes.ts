import { sql } from "kysely";
import { z } from "zod";
import { routeLeads } from "../../queues/route-leads.ts";
import type { Context } from "../context.ts";
import type { Api } from "./api.ts";
import { type RequestMetrics, readJobCounts } from "./metrics.ts";

export interface HealthOptions {
  /** Gives the names of migrations that the database has not had yet; asked until there are none. */
  readonly pendingMigrations: () => Promise<readonly string[]>;
}

const checkSchema = z.object({ ok: z.boolean(), detail: z.string().optional() });

const readinessSchema = z.object({
  status: z.enum(["ready", "not_ready"]),
  checks: z.object({ database: checkSchema, migrations: checkSchema, queue: checkSchema }),
});

type Check = z.infer<typeof checkSchema>;

/** What load balancers and Prometheus ask, without a key. */
export function healthRoutes(api: Api, context: Context, metrics: RequestMetrics, options: HealthOptions): void {
  const shared = { tags: ["Health"], security: [] };

  api.get(
    "/healthz",
    {
      schema: {
        ...shared,
        summary: "Whether the process is alive",
        response: { 200: z.object({ status: z.literal("alive") }) },
      },
    },
    async () => ({ status: "alive" as const }),
  );

  api.get(
    "/readyz",
    {
      schema: {
        ...shared,
        summary: "Whether requests can be served: the database, its migrations, the queue",
        response: { 200: readinessSchema, 503: readinessSchema },
      },
    },
    async (_request, reply) => {
      const checks = {
        database: await check(async () => void (await sql`select 1`.execute(context.database))),
        migrations: await check(async () => requireMigrated(options)),
        queue: await check(async () => void (await readJobCounts(context, routeLeads.name))),
      };
      const isReady = Object.values(checks).every(({ ok }) => ok) && !context.stopping.signal.aborted;
      return reply.code(isReady ? 200 : 503).send({ status: isReady ? "ready" : "not_ready", checks });
    },
  );

  api.get(
    "/metrics",
    { schema: { ...shared, summary: "Metrics for Prometheus", response: { 200: z.string() } } },
    async (_request, reply) => reply.type(metrics.contentType).send(await metrics.read()),
  );
}

async function check(probe: () => Promise<void>): Promise<Check> {
  try {
    await probe();
    return { ok: true };
  } catch (error) {
    return { ok: false, detail: error instanceof NotMigrated ? error.message : "does not answer" };
  }
}

class NotMigrated extends Error {}

const migrated = new WeakSet<HealthOptions>();

async function requireMigrated(options: HealthOptions): Promise<void> {
  if (migrated.has(options)) return;
  const pending = await options.pendingMigrations();
  if (pending.length > 0) throw new NotMigrated(`not applied yet: ${pending.join(", ")}`);
  migrated.add(options);
}
