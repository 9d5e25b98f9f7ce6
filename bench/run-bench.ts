import { execFileSync } from "node:child_process";
import path from "node:path";
import pg from "pg";
import { startEmbeddedPostgres } from "../src/db/embedded-postgres.ts";
import { migrate } from "../src/db/migrate.ts";
import { projectRoot } from "../src/project-root.ts";
import { reapFolder, reapNow, reapProcess, releaseProcess } from "../test/helpers/reaper.ts";
import { findRedisServer, startRedisServer } from "../test/helpers/redis.ts";
import { describeMachine } from "./machine.ts";
import { type Bench, type Load, type Measured, measure } from "./measure.ts";
import { arrivedSchema, listeningSchema } from "./messages.ts";
import { type Mix, mixes } from "./mixes.ts";
import type { Backend, Options } from "./options.ts";
import { Helper } from "./programs.ts";
import { printReport, summarise } from "./report.ts";
import { countStatements, readStatements, type Statements, statementSettings } from "./statements.ts";
import { type Layout, type Surroundings, type System, startBare, startHandoff } from "./systems.ts";
import { writePlots } from "./write-plots.ts";

/** How long and how hard. `ahead`: how many leads may be between the sender and the partners. */
interface Sizes {
  readonly warmUpMs: number;
  readonly flatOutMs: number;
  readonly steadyMs: number;
  readonly connections: number;
  readonly ahead: number;
  readonly noOpJobs: Readonly<Record<Backend, number>>;
}

const short: Sizes = {
  warmUpMs: 1_500,
  flatOutMs: 3_000,
  steadyMs: 3_000,
  connections: 32,
  ahead: 1_000,
  noOpJobs: { postgres: 1_500, redis: 15_000 },
};
const full: Sizes = {
  ...short,
  warmUpMs: 5_000,
  flatOutMs: 20_000,
  steadyMs: 15_000,
  noOpJobs: { postgres: 20_000, redis: 100_000 },
};

export interface SteadyRun {
  readonly perSecond: number;
  readonly measured: Measured;
  readonly statements: Statements;
}

export interface MixResult {
  readonly mix: Mix;
  readonly bare: Measured;
  /** Handoff with API and worker in one process, and in two. */
  readonly handoff: Partial<Record<Layout, Measured>>;
  readonly steady: readonly SteadyRun[];
}

export interface BackendResult {
  readonly backend: Backend;
  readonly noOpPerSecond: number;
  readonly mixes: readonly MixResult[];
}

interface Running {
  readonly bench: Bench;
  readonly surroundings: Surroundings;
  readonly admin: pg.Pool;
  readonly sizes: Sizes;
  readonly print: (line: string) => void;
}

/** Runs everything and prints it; gives the exit code. What it starts ends with it. */
export async function runBench(options: Options, folder: string, print: (line: string) => void): Promise<number> {
  const startedAt = performance.now();
  const sizes = options.full ? full : short;
  const postgres = await startEmbeddedPostgres({
    dataDirectory: path.join(folder, "data"),
    settings: statementSettings,
    log: () => undefined,
  });
  // Should this process be killed, they go too.
  reapProcess(postgres.pid, "SIGINT");
  reapFolder(folder);
  const admin = new pg.Pool({ connectionString: postgres.databaseUrl, max: 1 });
  const receiver = new Helper("receiver.ts");
  const { port } = await receiver.next(listeningSchema);
  const generator = new Helper("generator.ts");
  receiver.onMessage((message) => {
    const arrived = arrivedSchema.safeParse(message);
    if (arrived.success) generator.send(arrived.data);
  });
  const results: BackendResult[] = [];
  try {
    await countStatements(admin, false);
    for (const line of await describeMachine(admin)) print(line);
    for (const backend of options.backends) {
      const redis = backend === "redis" ? await startRedis(folder, print) : undefined;
      if (backend === "redis" && redis === undefined) continue;
      const servers = { postgres: postgres.pid, ...(redis === undefined ? {} : { redis: redis.process.pid }) };
      const surroundings = {
        databaseUrl: postgres.databaseUrl,
        redisUrl: redis?.url,
        folder,
        receiver: `127.0.0.1:${port}`,
      };
      const running = { bench: { generator, receiver, servers }, surroundings, admin, sizes, print };
      results.push(await runBackend(running, backend, options));
      await redis?.process.end("SIGTERM");
    }
  } finally {
    generator.stop();
    receiver.stop();
    await admin.end();
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
  for (const file of await writePlots(results)) print(`Plot: ${file}`);
  const wrong = results.flatMap(({ backend, mixes }) =>
    mixes.flatMap((result) =>
      [result.bare, ...Object.values(result.handoff), ...result.steady.map(({ measured }) => measured)].flatMap(
        ({ wrong }) => wrong.map((words) => `${backend}, ${result.mix.title}: ${words}`),
      ),
    ),
  );
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

async function runBackend(running: Running, backend: Backend, options: Options): Promise<BackendResult> {
  const { print, sizes, surroundings } = running;
  print(`\n== ${backend} queue ==`);
  const noOpPerSecond = await runNoOp(surroundings, sizes.noOpJobs[backend]);
  print(`BullMQ, no-op: ${Math.round(noOpPerSecond)} jobs/s`);
  const results: MixResult[] = [];
  for (const name of options.mixes) results.push(await runMix(running, mixes[name], options));
  return { backend, noOpPerSecond, mixes: results };
}

async function runMix(running: Running, mix: Mix, options: Options): Promise<MixResult> {
  const { sizes, surroundings } = running;
  const isMain = mix.name === "json1";
  const flatOut: Load = {
    pace: { kind: "flat out", ahead: sizes.ahead, mostLeads: 1_000_000 },
    durationMs: isMain || options.full ? sizes.flatOutMs : sizes.flatOutMs / 2,
    connections: sizes.connections,
  };
  const one = async (system: System) => {
    try {
      return await flatOutRun(running, system, mix, flatOut);
    } finally {
      await system.stop();
    }
  };
  running.print(`${mix.title}:`);
  const bare = await one(await startBare(surroundings, mix, "two"));
  const handoff: Partial<Record<Layout, Measured>> = {};
  if (isMain) handoff.one = await one(await startHandoff(surroundings, mix, "one"));
  const system = await startHandoff(surroundings, mix, "two");
  const steady: SteadyRun[] = [];
  try {
    handoff.two = await flatOutRun(running, system, mix, flatOut);
    const paces = isMain ? [100, Math.round(handoff.two.settledPerSecond * 0.8)] : [];
    for (const perSecond of paces) steady.push(await steadyRun(running, system, mix, perSecond));
  } finally {
    await system.stop();
  }
  return { mix, bare, handoff, steady };
}

/** The first seconds of a program are spent on compiling it: they are not counted. */
async function flatOutRun({ bench, sizes, print }: Running, system: System, mix: Mix, load: Load): Promise<Measured> {
  await measure(bench, system, mix, { ...load, durationMs: Math.min(sizes.warmUpMs, load.durationMs) });
  await system.analyse();
  const measured = await measure(bench, system, mix, load);
  const layout = system.programs.map(({ kind }) => kind).join(" + ");
  print(
    `  ${system.name} (${layout}): ${Math.round(measured.acceptedPerSecond)} accepted/s, ` +
      `${Math.round(measured.settledPerSecond)} settled/s`,
  );
  return measured;
}

async function steadyRun(running: Running, system: System, mix: Mix, perSecond: number): Promise<SteadyRun> {
  const { bench, sizes, admin, print } = running;
  await countStatements(admin, true);
  const pace = { kind: "steady" as const, perSecond };
  const measured = await measure(bench, system, mix, {
    pace,
    durationMs: sizes.steadyMs,
    connections: sizes.connections,
  });
  const counted = await readStatements(admin, system.database);
  await countStatements(admin, false);
  const { p50, p95, p99 } = measured.latency;
  print(`  at ${perSecond}/s: p50 ${p50.toFixed(1)}, p95 ${p95.toFixed(1)}, p99 ${p99.toFixed(1)} ms`);
  const perLead = (count: number) => count / measured.leads;
  return { perSecond, measured, statements: { own: perLead(counted.own), queue: perLead(counted.queue) } };
}

async function runNoOp({ databaseUrl, redisUrl }: Surroundings, jobs: number): Promise<number> {
  await migrate(databaseUrl);
  const loader = path.join(projectRoot, "test", "helpers", "typescript.mjs");
  const words = ["--import", loader, path.join(projectRoot, "bench", "no-op.ts")];
  const env = { ...process.env, DATABASE_URL: databaseUrl, REDIS_URL: redisUrl ?? "", JOBS: String(jobs) };
  const output = execFileSync(process.execPath, words, { env, encoding: "utf8", timeout: 120_000 });
  return Number(/jobs per second: ([\d.]+)/.exec(output)?.[1]);
}
