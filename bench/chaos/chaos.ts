import { randomInt } from "node:crypto";
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { printTable } from "../../src/print-table.ts";
import { reapNow } from "../../test/helpers/reaper.ts";
import { findRedisServer } from "../../test/helpers/redis.ts";
import { makeTemporaryFolder } from "../../test/helpers/temporary-folder.ts";
import { finalStates, type Verdict } from "./checker.ts";
import type { Recovery } from "./faults.ts";
import { type Backend, openStage } from "./stage.ts";
import { runTrial, type TrialResult, type TrialSize } from "./trial.ts";

const usage = `npm run chaos [-- options]

Two APIs and four workers hand leads over while they and everything around them is broken on purpose: workers and an API
killed, PostgreSQL and Redis restarted, emptied and cut off, partners that lie, hang and flood. Meanwhile staff enter payments,
partners pay through PayPal and give leads back, and deals are referred to another organisation. Afterwards an independent checker compares what the APIs answered, what the partners received,
what PayPal took, and how everything ended.
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
  const each = results.map(([backend, result]) => [backend, toFigures([result])] as const);
  return { ...toFigures(results.map(([, result]) => result)), backends: Object.fromEntries(each) };
}

function toFigures(results: readonly TrialResult[]) {
  const sum = (countOf: (result: TrialResult) => number) => results.reduce((total, one) => total + countOf(one), 0);
  const figure = (name: keyof Verdict["figures"]) => sum(({ verdict }) => verdict.figures[name]);
  const slowest = (kind: keyof Recovery) => {
    const measured = results.flatMap(({ recovery }) => recovery[kind] ?? []);
    return measured.length === 0 ? null : Math.max(...measured);
  };
  return {
    accepted: sum(({ accepted }) => accepted),
    final: sum(({ verdict }) => [...finalStates].reduce((ended, state) => ended + (verdict.final[state] ?? 0), 0)),
    lost: figure("lost"),
    sold_twice: figure("sold_twice"),
    charged_twice: figure("charged_twice"),
    cap_overshoot: figure("cap_overshoot"),
    outside_schedule: figure("outside_schedule"),
    ledger_sum: figure("ledger_sum"),
    duplicate_requests: sum(({ verdict }) => verdict.duplicateRequests),
    recovery_s: { worker: slowest("worker"), redis: slowest("redis"), postgres: slowest("postgres") },
    stored_twice: figure("stored_twice"),
    changed_key: figure("changed_key"),
    reached_forbidden: figure("reached_forbidden"),
    not_ended: figure("not_ended"),
    credited_twice: figure("credited_twice"),
    paid_lost: figure("paid_lost"),
    balance_wrong: figure("balance_wrong"),
    overdrawn: figure("overdrawn"),
    returned_and_charged: figure("returned_and_charged"),
    returned_to_the_same_partner: figure("returned_to_the_same_partner"),
    ledger_verify: figure("ledger_verify"),
    referrals_lost: figure("referrals_lost"),
    referrals_doubled: figure("referrals_doubled"),
    statuses_lost: figure("statuses_lost"),
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
