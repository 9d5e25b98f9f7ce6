import { randomInt } from "node:crypto";
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { printTable } from "../../src/print-table.ts";
import { reapNow } from "../../test/helpers/reaper.ts";
import { findRedisServer } from "../../test/helpers/redis.ts";
import { makeTemporaryFolder } from "../../test/helpers/temporary-folder.ts";
import { finalStates } from "./checker.ts";
import { type Backend, openStage } from "./stage.ts";
import { runTrial, type TrialResult, type TrialSize } from "./trial.ts";

const usage = `npm run chaos [-- options]

Two APIs and four workers hand leads over while they and everything around them is broken on purpose: workers and an API
killed, PostgreSQL and Redis restarted, emptied and cut off, partners that lie, hang and flood. Afterwards an independent
checker compares what the APIs answered, what the partners received, and how everything ended.
Needs nothing but Node; Redis for --backend redis. Takes about 80 s for each backend with --short, else five minutes or more.

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
  short: { leads: 2_000, perSecond: 40, workerKills: 20 },
  long: { leads: 20_000, perSecond: 100, workerKills: 20 },
};

interface Options {
  readonly help: boolean;
  readonly backends: readonly Backend[];
  readonly seed: number;
  readonly size: TrialSize;
  readonly json: boolean;
  readonly logFile: string | undefined;
}

/** Gives what is wrong with the words of the command line as a text. */
function readOptions(words: readonly string[]): Options | string {
  try {
    const { values } = parseArgs({
      args: [...words],
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
    const size = sizes[values.short ? "short" : "long"];
    const [seed, leads] = [Number(values.seed), Number(values.leads ?? size.leads)];
    const backends = values.backend === "both" ? ["postgres", "redis"] : [values.backend];
    if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(leads) || leads < 1) {
      return "--seed and --leads take whole numbers.";
    }
    if (!backends.every(isBackend)) return `There is no backend ${values.backend}: postgres, redis or both.`;
    if (!values.help && backends.includes("redis") && findRedisServer() === null) {
      return "The Redis trial needs redis-server in PATH: install it, or use --backend postgres.";
    }
    const { help, json, "keep-log": logFile } = values;
    return { help, json, logFile, backends: backends.filter(isBackend), seed, size: { ...size, leads } };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function main(words: readonly string[]): Promise<number> {
  const options = readOptions(words);
  if (typeof options === "string") {
    process.stderr.write(`${options}\nnpm run chaos -- --help says what there is.\n`);
    return 2;
  }
  const { help, backends, seed, size, json, logFile } = options;
  if (help) {
    say(usage);
    return 0;
  }
  const [processor] = cpus();
  say(`seed ${seed} · Node ${process.versions.node} · ${cpus().length} × ${processor?.model ?? "unknown"}`);
  const results: [Backend, TrialResult][] = [];
  for (const backend of backends) results.push([backend, await runOn(backend, size, seed, logFile)]);
  const isClean = results.every(([, { verdict }]) => Object.values(verdict.figures).every((figure) => figure === 0));
  say(
    isClean
      ? "Nothing lost, nothing doubled."
      : `NOT CLEAN. Again: npm run chaos -- --seed ${seed} (and the options of this run)`,
  );
  if (json) say(JSON.stringify(toJson(results)));
  return isClean ? 0 : 1;
}

const isBackend = (name: string): name is Backend => name === "postgres" || name === "redis";
const say = (line: string) => void process.stdout.write(`${line}\n`);

async function runOn(
  backend: Backend,
  size: TrialSize,
  seed: number,
  logFile: string | undefined,
): Promise<TrialResult> {
  say(`\n${backend} queue`);
  const folder = await makeTemporaryFolder();
  const stage = await openStage(backend, folder, seed, say);
  try {
    const result = await runTrial(stage, size, seed);
    printResult(result);
    return result;
  } catch (error) {
    process.stderr.write(stage.output().slice(-5_000));
    throw error;
  } finally {
    await stage.stop();
    if (logFile !== undefined) {
      const { writeFile } = await import("node:fs/promises");
      await writeFile(`${logFile}.${backend}`, stage.output());
    }
    await reapNow();
  }
}

/** The figures of all backends together, counts added up and recoveries the slowest, and below them those of each. */
function toJson(results: readonly (readonly [Backend, TrialResult])[]) {
  const each = results.map(([backend, result]) => [backend, toFigures(result)] as const);
  const [first, ...others] = each.map(([, figures]) => figures);
  if (first === undefined) return {};
  return { ...others.reduce(addFigures, first), backends: Object.fromEntries(each) };
}

function toFigures({ accepted, verdict, recovery }: TrialResult) {
  const { stored_twice, changed_key, reached_forbidden, not_ended, ...named } = verdict.figures;
  const final = Object.entries(verdict.final).filter(([state]) => finalStates.has(state));
  return {
    accepted,
    final: final.reduce((sum, [, count]) => sum + count, 0),
    ...named,
    duplicate_requests: verdict.duplicateRequests,
    recovery_s: recovery,
    stored_twice,
    changed_key,
    reached_forbidden,
    not_ended,
  };
}

type Figures = ReturnType<typeof toFigures>;

function addFigures(one: Figures, other: Figures): Figures {
  const slower = (a: number | null, b: number | null) => (a === null || b === null ? (a ?? b) : Math.max(a, b));
  return {
    accepted: one.accepted + other.accepted,
    final: one.final + other.final,
    lost: one.lost + other.lost,
    sold_twice: one.sold_twice + other.sold_twice,
    charged_twice: one.charged_twice + other.charged_twice,
    cap_overshoot: one.cap_overshoot + other.cap_overshoot,
    outside_schedule: one.outside_schedule + other.outside_schedule,
    ledger_sum: one.ledger_sum + other.ledger_sum,
    duplicate_requests: one.duplicate_requests + other.duplicate_requests,
    recovery_s: {
      worker: slower(one.recovery_s.worker, other.recovery_s.worker),
      redis: slower(one.recovery_s.redis, other.recovery_s.redis),
      postgres: slower(one.recovery_s.postgres, other.recovery_s.postgres),
    },
    stored_twice: one.stored_twice + other.stored_twice,
    changed_key: one.changed_key + other.changed_key,
    reached_forbidden: one.reached_forbidden + other.reached_forbidden,
    not_ended: one.not_ended + other.not_ended,
  };
}

function printResult(result: TrialResult): void {
  const { verdict, outcomes, recovery, accepted, injected, seconds } = result;
  const list = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .map(([name, count]) => `${count} ${name}`)
      .join(", ");
  say("");
  printTable(["What was broken", "Times", "What shows it"], injected, say);
  say("");
  say(`accepted ${accepted}; leads ended as: ${list(verdict.final)}; deliveries: ${list(outcomes)}`);
  say(
    Object.entries(verdict.figures)
      .map(([name, figure]) => `${name} ${figure}`)
      .join(" · "),
  );
  say(`requests that a partner saw again, with the same key: ${verdict.duplicateRequests}`);
  for (const [reason, count] of Object.entries(verdict.duplicatesBy))
    say(`  ${String(count).padStart(6)}  the one before was ${reason}`);
  const recoveries = Object.entries(recovery).map(([name, seconds]) => `${name} ${seconds ?? "–"}`);
  say(`slowest recovery, in seconds: ${recoveries.join(" · ")}`);
  for (const example of verdict.examples) say(`  ! ${example}`);
  const [load = 0] = loadavg();
  const isBusy = load > 2 * cpus().length;
  say(
    `took ${seconds} s; ${load.toFixed(1)} processes wanted ${cpus().length} cores${isBusy ? ": the recovery times say little" : ""}`,
  );
}

process.exitCode = await main(process.argv.slice(2));
process.exit();
