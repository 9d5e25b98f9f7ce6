import { once } from "node:events";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { z } from "zod";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import { reapNow } from "../../test/helpers/reaper.ts";
import { findRedisServer } from "../../test/helpers/redis.ts";
import { attackAnswers } from "./attack-answers.ts";
import { attackByGuessing } from "./attack-guessing.ts";
import { attackIntake } from "./attack-intake.ts";
import { attackMoney } from "./attack-money.ts";
import { attackPortal } from "./attack-portal.ts";
import { attackRights } from "./attack-rights.ts";
import { attackAsStranger } from "./attack-stranger.ts";
import { attackStrings } from "./attack-strings.ts";
import { attackTargets } from "./attack-targets.ts";
import { attackTemplates } from "./attack-templates.ts";
import { type Attacker, createAttacker } from "./attacker.ts";
import { findTraces } from "./find-traces.ts";
import { closeAgent } from "./http.ts";
import { type AttackedInstallation, type Backend, startInstallation } from "./installation.ts";
import { Random } from "./random.ts";
import { TrialRecord } from "./record.ts";

const usage = `npm run hostile -- [options]

Attacks a real installation that it starts itself: Handoff's API and worker processes on an embedded PostgreSQL, and partners
that mean ill, all on this machine's loopback addresses. Nothing is left behind. What it tries is in docs/security.md.

  --backend postgres|redis|both   the queue; both if redis-server is found, else postgres
  --seed N                        the same numbers again; a new seed is drawn and printed otherwise
  --only NAME,NAME                some groups of attacks: ${"intake, templates, targets, answers, stranger, strings, money, guessing, rights, portal"}
  --short                         about four minutes for each backend, in place of twenty
  --json                          as last line: {"cases","crashes","leaks","accepted_bad","server_errors"}
  --help                          this text

Ends with 0 when nothing was found, 1 when something was, 2 for bad options.`;

const attacks: Readonly<Record<string, (attacker: Attacker) => Promise<void>>> = {
  intake: attackIntake,
  templates: attackTemplates,
  targets: attackTargets,
  answers: attackAnswers,
  stranger: attackAsStranger,
  strings: attackStrings,
  money: attackMoney,
  guessing: attackByGuessing,
  rights: attackRights,
  portal: attackPortal,
};

const print = (line: string) => void process.stdout.write(`${line}\n`);

interface Settings {
  readonly isShort: boolean;
  readonly only: readonly string[];
  readonly seed: number;
}

async function main(): Promise<number> {
  const read = readOptions();
  if (!read.ok) {
    process.stderr.write(`${read.problem}\nnpm run hostile -- --help says which options there are.\n`);
    return 2;
  }
  const { values } = read;
  if (values.help) {
    print(usage);
    return 0;
  }
  const { seed, backends, only } = read;
  print(`Seed ${seed}`);
  const records: TrialRecord[] = [];
  for (const backend of backends) {
    const record = new TrialRecord(print);
    records.push(record);
    await attackBackend(backend, record, { isShort: values.short, only, seed });
  }
  const sum = (count: (record: TrialRecord) => number) => records.reduce((total, record) => total + count(record), 0);
  const result = {
    cases: sum((record) => record.cases),
    crashes: sum((record) => record.count("crash")),
    leaks: sum((record) => record.count("leak")),
    accepted_bad: sum((record) => record.count("accepted_bad")),
    server_errors: sum((record) => record.count("server_error")),
  };
  const { cases, crashes, leaks, accepted_bad: accepted, server_errors: errors } = result;
  print(
    `${cases} cases (seed ${seed}): ${crashes} crashes, ${leaks} leaks, ${accepted} accepted that should not be, ${errors} server errors.`,
  );
  if (values.json) print(JSON.stringify(result));
  return crashes + leaks + accepted + errors === 0 ? 0 : 1;
}

function parse() {
  return parseArgs({
    options: {
      backend: { type: "string" },
      seed: { type: "string" },
      only: { type: "string" },
      short: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  }).values;
}

/** The words of the command line, or what is wrong with them. */
function readOptions() {
  const refused = (problem: string) => ({ ok: false, problem }) as const;
  let values: ReturnType<typeof parse>;
  try {
    values = parse();
  } catch (error) {
    return refused(error instanceof Error ? error.message : String(error));
  }
  const seed = Number(values.seed ?? Date.now() % 2 ** 31);
  if (!Number.isInteger(seed) || seed < 0) return refused("--seed takes a whole number.");
  const hasRedis = findRedisServer() !== null;
  const backends = backendsOf[values.backend ?? (hasRedis ? "both" : "postgres")];
  if (backends === undefined) return refused(`There is no backend ${values.backend}: postgres, redis or both.`);
  if (backends.includes("redis") && !hasRedis)
    return refused("The Redis trial needs redis-server in PATH: install it, or use --backend postgres.");
  const only = values.only?.split(",") ?? Object.keys(attacks);
  const unknown = only.find((name) => !Object.hasOwn(attacks, name));
  if (unknown !== undefined) return refused(`There is no group of attacks ${unknown}.`);
  return { ok: true, values, seed, backends, only } as const;
}

const backendsOf: Readonly<Record<string, readonly Backend[]>> = {
  postgres: ["postgres"],
  redis: ["redis"],
  both: ["postgres", "redis"],
};

async function attackBackend(backend: Backend, record: TrialRecord, settings: Settings): Promise<void> {
  const startedMs = performance.now();
  print(`On ${backend}:`);
  const installation = await startInstallation(backend);
  const watch = watchHealth(installation);
  record.onCase = watch.during;
  try {
    const attacker = createAttacker(installation, new Random(settings.seed), record, settings.isShort);
    for (const name of settings.only) {
      const attack = attacks[name];
      if (attack === undefined) continue;
      await record.section(name, async () => attack(attacker));
      await record.case(`still alive after ${name}`, async (report) => {
        for (const { name: process, process: one } of installation.processes) {
          const code = await Promise.race([one.ended.then((code) => `ended with ${code}`), undefined]);
          if (code !== undefined) report("crash", `${process} ${code}: ${one.output().slice(-400)}`);
        }
      });
    }
    await record.section("traces", async () => findTraces(attacker));
    await record.section("health", async () => {
      await record.case("GET /healthz answers throughout", async (report) => {
        const { failures, longestMs, longestDuring } = await watch.read();
        for (const failure of failures.slice(0, 5)) report("crash", failure);
        record.note(`The longest that /healthz took was ${Math.round(longestMs)} ms, during: ${longestDuring}.`);
      });
    });
  } finally {
    await watch.end();
    closeAgent();
    await installation.stop();
  }
  for (const note of record.notes) print(`  note: ${note}`);
  print(`  ${((performance.now() - startedMs) / 1000).toFixed(0)} s in all`);
}

const watchReading = z.object({ failures: z.array(z.string()), longestMs: z.number(), longestDuring: z.string() });

/** Asks each API over and over whether it is alive, from a thread of its own: this one is busy at times. */
function watchHealth({ api, limited }: AttackedInstallation) {
  const thread = new Worker(new URL("./watch-health.mjs", import.meta.url), {
    workerData: [api, limited],
    execArgv: [],
  });
  return {
    async read(): Promise<z.infer<typeof watchReading>> {
      const told = once(thread, "message");
      thread.postMessage("read");
      const [message] = await told;
      return watchReading.parse(message);
    },
    during(name: string) {
      thread.postMessage({ during: name });
    },
    async end() {
      await thread.terminate();
    },
  };
}

try {
  process.exitCode = await main();
} finally {
  await closeOutbound();
  await reapNow();
}
process.exit();
