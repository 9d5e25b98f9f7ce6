import { secretOfTests } from "./installation.ts";
import { startTypeScript, type TestProcess } from "./process.ts";
import type { Seller } from "./seller.ts";

export interface Workers {
  readonly processes: readonly TestProcess[];
  /** What they logged as errors. */
  errors(): readonly string[];
  /** Ends those that still run; fails where one did not end in order. */
  stop(): Promise<void>;
}

/** Starts processes with real workers, each for all of these sellers, and waits until they are there. */
export async function startWorkers(
  count: number,
  sellers: readonly Seller[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Workers> {
  const environments = sellers.map(({ databaseUrl, context: { config } }) => ({
    DATABASE_URL: databaseUrl,
    HANDOFF_SECRET: secretOfTests,
    HANDOFF_ALLOW_HOSTS: config.allowHosts.join(","),
    QUEUE_PREFIX: config.queuePrefix,
    ...(config.redisUrl === undefined ? {} : { REDIS_URL: config.redisUrl }),
    LOG_LEVEL: process.env.TEST_LOG_LEVEL ?? "error",
    ...environment,
  }));
  const processes = Array.from({ length: count }, () =>
    startTypeScript("test/helpers/worker-process.ts", [JSON.stringify(environments)]),
  );
  await Promise.all(processes.map(async (one) => one.waitFor(/ready/)));
  return {
    processes,
    errors: () =>
      processes.flatMap((one) =>
        one
          .output()
          .split("\n")
          .filter((line) => line.includes('"level":50')),
      ),
    async stop() {
      const codes = await Promise.all(processes.map(async (one) => one.end("SIGTERM")));
      const bad = processes.filter((_, index) => codes[index] !== 0 && codes[index] !== null);
      if (bad.length > 0) throw new Error(`A worker did not end in order:\n${bad[0]?.output()}`);
    },
  };
}
