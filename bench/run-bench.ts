import { execFileSync } from "node:child_process";
import path from "node:path";
import pg from "pg";
import { startEmbeddedPostgres } from "../src/db/embedded-postgres.ts";
import { migrate } from "../src/db/migrate.ts";
import { projectRoot } from "../src/project-root.ts";
import { reapFolder, reapNow, reapProcess, releaseProcess } from "../test/helpers/reaper.ts";
import { findRedisServer, startRedisServer } from "../test/helpers/redis.ts";
import { createDatabase } from "./databases.ts";
import { describeMachine } from "./machine.ts";
import { arrivedSchema, listeningSchema } from "./messages.ts";
import { type MixName, mixes } from "./mixes.ts";
import type { Backend, Options } from "./options.ts";
import { Helper } from "./programs.ts";
import { printReport, summarise, wrongOf } from "./report.ts";
import { type MemoryResult, runMemory } from "./run-memory.ts";
import { runMixes } from "./run-mixes.ts";
import { runStored, type StoredResult } from "./run-stored.ts";
import { fullSizes, type MixResult, type Running, shortSizes } from "./runs.ts";
import { countStatements, statementSettings } from "./statements.ts";
import type { Surroundings } from "./systems.ts";
import { writePlots } from "./write-plots.ts";

export interface BackendResult {
  readonly backend: Backend;
  readonly noOpPerSecond: number;
  readonly mixes: readonly MixResult[];
  readonly stored: readonly StoredResult[];
  readonly memory: readonly MemoryResult[];
}

/** Runs everything and prints it; gives the exit code. What it starts ends with it. */
export async function runBench(options: Options, folder: string, print: (line: string) => void): Promise<number> {
  const startedAt = performance.now();
  const sizes = options.full ? fullSizes : shortSizes;
  const postgres = await startEmbeddedPostgres({
    dataDirectory: path.join(folder, "data"),
    settings: statementSettings,
    log: () => undefined,
  });
  // Should this process be killed, they go too.
  reapProcess(postgres.pid, "SIGINT");
  reapFolder(folder);
  const server = new pg.Pool({ connectionString: postgres.databaseUrl, max: 1 });
  const receiver = new Helper("receiver.ts");
  const { port } = await receiver.next(listeningSchema);
  const generator = new Helper("generator.ts");
  receiver.onMessage((message) => {
    const arrived = arrivedSchema.safeParse(message);
    if (arrived.success) generator.send(arrived.data);
  });
  const results: BackendResult[] = [];
  try {
    await countStatements(server, false);
    for (const line of await describeMachine(server)) print(line);
    for (const backend of options.backends) {
      const redis = backend === "redis" ? await startRedis(folder, print) : undefined;
      if (backend === "redis" && redis === undefined) continue;
      const servers = { postgres: postgres.pid, ...(redis === undefined ? {} : { redis: redis.process.pid }) };
      const surroundings = {
        serverUrl: postgres.databaseUrl,
        redisUrl: redis?.url,
        folder,
        receiver: `127.0.0.1:${port}`,
      };
      const bench = { generator, receiver, servers };
      const running = { bench, surroundings, server, sizes, full: options.full, print };
      results.push(await runBackend(running, backend, options));
      await redis?.process.end("SIGTERM");
    }
  } finally {
    generator.stop();
    receiver.stop();
    await server.end();
    await postgres.stop();
    releaseProcess(postgres.pid);
    await reapNow();
  }
  print(`\nTook ${Math.round((performance.now() - startedAt) / 1000)} s.`);
  return report(results, options, print);
}

async function report(
  results: readonly BackendResult[],
  options: Options,
  print: (line: string) => void,
): Promise<number> {
  printReport(results, print);
  for (const file of await writePlots(results)) print(`Wrote ${file}`);
  const wrong = results.flatMap(wrongOf);
  for (const line of wrong) print(`WRONG: ${line}`);
  if (options.json) print(JSON.stringify(summarise(results)));
  return wrong.length > 0 ? 1 : 0;
}

async function startRedis(folder: string, print: (line: string) => void) {
  if (findRedisServer() === null) {
    print("There is no redis-server in PATH: the Redis backend is left out.");
    return undefined;
  }
  return startRedisServer(folder, { appendOnly: true });
}

async function runBackend(running: Running, backend: Backend, { parts }: Options): Promise<BackendResult> {
  const { print, sizes, surroundings } = running;
  print(`\n== ${backend} queue ==`);
  const noOpPerSecond = await runNoOp(surroundings, sizes.noOpJobs[backend]);
  print(`BullMQ, no-op: ${Math.round(noOpPerSecond)} jobs/s`);
  const isMix = (name: string): name is MixName => name in mixes;
  return {
    backend,
    noOpPerSecond,
    mixes: await runMixes(
      running,
      parts.filter(isMix).map((name) => mixes[name]),
    ),
    stored: parts.includes("stored") ? await runStored(running) : [],
    memory: parts.includes("memory") ? await runMemory(running) : [],
  };
}

async function runNoOp({ serverUrl, redisUrl }: Surroundings, jobs: number): Promise<number> {
  const database = await createDatabase(serverUrl);
  await migrate(database.url);
  const loader = path.join(projectRoot, "test", "helpers", "typescript.mjs");
  const words = ["--import", loader, path.join(projectRoot, "bench", "no-op.ts")];
  const env = { ...process.env, DATABASE_URL: database.url, REDIS_URL: redisUrl ?? "", JOBS: String(jobs) };
  const output = execFileSync(process.execPath, words, { env, encoding: "utf8", timeout: 120_000 });
  await database.drop();
  return Number(/jobs per second: ([\d.]+)/.exec(output)?.[1]);
}
