import { randomInt } from "node:crypto";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { reapNow } from "../../test/helpers/reaper.ts";
import { findRedisServer } from "../../test/helpers/redis.ts";
import { makeTemporaryFolder } from "../../test/helpers/temporary-folder.ts";
import { mustWait } from "./configuration.ts";
import { type Backend, openStage } from "./stage.ts";
import { runTrial, type TrialResult, type TrialSize } from "./trial.ts";

const usage = `npm run chaos [-- options]

Two APIs and four workers hand leads over while they and everything around them is broken on purpose: workers and an API
killed, PostgreSQL and Redis restarted, emptied and cut off, partners that lie, hang and flood. Afterwards an independent
checker compares what the APIs answered, what the partners received, and how everything ended.
Needs nothing but Node; Redis for --backend redis. Takes about two minutes for each backend with --short, else six.

  --short                          2,000 leads instead of 20,000
  --backend postgres|redis|both    which queue (default: both where redis-server is found)
  --seed N                         the same faults again (default: a random one, printed)
  --leads N                        another number of leads
  --json                           the figures as JSON in the last line
  --keep-log FILE                  what the processes wrote, for looking into a failure
  --help

Exit code: 0 when every correctness figure is 0, 1 when one is not, 2 for bad options.
docs/reliability.md explains each figure.`;

const sizes: Record<"short" | "long", TrialSize> = {
  short: { leads: 2_000, perSecond: 33, workerKills: 8, runOutMs: 60_000 },
  long: { leads: 20_000, perSecond: 100, workerKills: 20, runOutMs: 120_000 },
};

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      short: { type: "boolean", default: false },
      backend: { type: "string", default: findRedisServer() === null ? "postgres" : "both" },
      seed: { type: "string", default: String(randomInt(1_000_000)) },
      leads: { type: "string" },
      json: { type: "boolean", default: false },
      "keep-log": { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    say(usage);
    return 0;
  }
  const seed = Number(values.seed);
  const size = sizes[values.short ? "short" : "long"];
  const leads = Number(values.leads ?? size.leads);
  const backends = values.backend === "both" ? (["postgres", "redis"] as const) : [values.backend];
  if (!Number.isInteger(seed) || !Number.isInteger(leads) || leads < 1)
    return complain("--seed and --leads take whole numbers.");
  if (!backends.every(isBackend)) return complain(`There is no backend ${values.backend}: postgres, redis or both.`);
  if (backends.includes("redis") && findRedisServer() === null) {
    return complain("The Redis trial needs redis-server in PATH: install it, or use --backend postgres.");
  }
  const [processor] = cpus();
  say(`seed ${seed} · Node ${process.versions.node} · ${cpus().length} × ${processor?.model ?? "unknown"}`);
  const results: [Backend, TrialResult][] = [];
  for (const backend of backends.filter(isBackend)) {
    results.push([backend, await runOn(backend, { ...size, leads }, seed, values["keep-log"])]);
  }
  const isClean = results.every(([, { verdict }]) => Object.values(verdict.figures).every((figure) => figure === 0));
  say(
    isClean
      ? "Nothing lost, nothing doubled."
      : `NOT CLEAN. Again: npm run chaos -- --seed ${seed} (and the options of this run)`,
  );
  if (values.json) {
    const figures = results.map(([backend, result]) => [backend, toFigures(result)] as const);
    say(JSON.stringify(figures.length === 1 ? figures[0]?.[1] : Object.fromEntries(figures)));
  }
  return isClean ? 0 : 1;
}

const isBackend = (name: string): name is Backend => name === "postgres" || name === "redis";
const say = (line: string) => void process.stdout.write(`${line}\n`);

function complain(problem: string): number {
  process.stderr.write(`${problem}\n`);
  return 2;
}

async function runOn(
  backend: Backend,
  size: TrialSize,
  seed: number,
  logFile: string | undefined,
): Promise<TrialResult> {
  const waitMs = mustWait(Date.now());
  if (waitMs > 0) {
    say(`It is near midnight in Kolkata, where two partners are: waiting ${Math.ceil(waitMs / 60_000)} min.`);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
  say(`\n${backend} queue`);
  const folder = await makeTemporaryFolder();
  const stage = await openStage(backend, folder, seed, say);
  try {
    const result = await runTrial(stage, size, seed);
    printResult(result);
    return result;
  } finally {
    await stage.stop();
    if (logFile !== undefined) {
      const { writeFile } = await import("node:fs/promises");
      await writeFile(`${logFile}.${backend}`, stage.output());
    }
    await reapNow();
  }
}

function toFigures({ accepted, verdict, recovery }: TrialResult) {
  return {
    accepted,
    final: Object.values(verdict.final).reduce((sum, count) => sum + count, 0),
    ...verdict.figures,
    duplicate_requests: verdict.duplicateRequests,
    recovery_s: recovery,
  };
}

function printResult(result: TrialResult): void {
  const { verdict, outcomes, recovery, accepted } = result;
  const list = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .map(([name, count]) => `${count} ${name}`)
      .join(", ");
  say(`accepted ${accepted}; leads ended as: ${list(verdict.final)}; deliveries: ${list(outcomes)}`);
  say(
    Object.entries(verdict.figures)
      .map(([name, figure]) => `${name} ${figure}`)
      .join(" · "),
  );
  say(`requests that a partner saw again, with the same key: ${verdict.duplicateRequests}`);
  for (const [reason, count] of Object.entries(verdict.duplicatesBy))
    say(`  ${String(count).padStart(6)}  the one before was ${reason}`);
  say(
    `slowest recovery, in seconds: ${list(Object.fromEntries(Object.entries(recovery).map(([name, seconds]) => [name, seconds ?? 0])))}`,
  );
  for (const example of verdict.examples) say(`  ! ${example}`);
}

process.exitCode = await main();
process.exit();
