import { z } from "zod";
import { readConfig } from "../../src/config.ts";
import { closeContext, openContext } from "../../src/context.ts";
import { startWorkers } from "../../workers/start-workers.ts";

/**
 * A process with real workers, one set for each environment in its argument (a JSON list): says `ready`, and stops in
 * order on SIGTERM.
 */
const environments = z.array(z.record(z.string(), z.string())).parse(JSON.parse(process.argv[2] ?? ""));
const contexts = environments.map((environment) => {
  const read = readConfig(environment);
  if (!read.ok) throw new Error(read.problems.join("\n"));
  const { databaseUrl, secret } = read.config;
  if (databaseUrl === undefined || secret === undefined) throw new Error("DATABASE_URL and HANDOFF_SECRET are needed.");
  const context = openContext({ config: read.config, databaseUrl, secret });
  startWorkers(context);
  return context;
});
process.once("SIGTERM", () => {
  Promise.all(contexts.map(async (context) => closeContext(context, 10_000))).then(
    () => process.exit(0),
    () => process.exit(1),
  );
});
process.stdout.write("ready\n");
