import { setTimeout as sleep } from "node:timers/promises";
import type { Intake } from "./generator.ts";
import type { Observer } from "./observer.ts";
import type { Payers } from "./payers.ts";
import { type Stage, workerCount } from "./stage.ts";

/** Seconds from the end of a fault until everything goes on, the longest of each kind; null: not tried. */
export interface Recovery {
  worker: number | null;
  redis: number | null;
  postgres: number | null;
}

/** One fault as it happened, and what shows that it did. */
export interface Injection {
  readonly what: string;
  readonly evidence: string;
}

interface Fault {
  readonly atMs: number;
  readonly what: string;
  /** For so long after it no worker is killed, save those that are meant to fall into an outage. */
  readonly quietMs: number;
  /** Gives what shows that it happened. */
  run(): Promise<string>;
}

export interface FaultsDone {
  readonly recovery: Recovery;
  readonly injections: readonly Injection[];
}

const blackHoleMs = 4_000;

/** Nothing else is broken for so long after a kill whose recovery is measured. */
const quietAfterKillMs = 12_000;

/**
 * Breaks things while leads flow, for `durationMs`: what, when and whom, the seed decides. Recovery is measured of two kills that
 * are alone, and of each outage of PostgreSQL and Redis.
 */
export async function breakThings(
  stage: Stage,
  observer: Observer,
  intake: Intake,
  payers: Payers,
  durationMs: number,
  workerKills: number,
  random: () => number,
): Promise<FaultsDone> {
  const recovery: Recovery = { worker: null, redis: null, postgres: null };
  const injections: Injection[] = [];
  const startedAt = performance.now();
  const measurements: Promise<void>[] = [];
  const measure: Measure = (kind, what, recovered) => {
    measurements.push(
      recovered.then((seconds) => {
        recovery[kind] = Math.max(recovery[kind] ?? 0, Math.round(seconds * 10) / 10);
        const isGoingOn = seconds * 1000 < longestRecoveryMs;
        stage.log(`  … ${isGoingOn ? "going on" : "not all has gone on"} ${seconds.toFixed(1)} s after ${what}`);
      }),
    );
  };
  const outages = planOutages(stage, observer, intake, payers, measure).map(({ at, ...fault }) => ({
    ...fault,
    atMs: durationMs * (at + 0.02 * random()),
  }));
  const kills = planKills(durationMs, workerKills, outages, random).map(
    ({ atMs, index, isAlone }): Fault => ({
      atMs,
      what: "a worker is killed",
      quietMs: 0,
      run: async () => {
        const inHand = isAlone ? await whatIsUnderWay(observer) : null;
        await stage.killWorker(index);
        if (inHand !== null) measure("worker", "the kill of a worker", goesOn(observer, inHand));
        return "";
      },
    }),
  );
  const running: Promise<unknown>[] = [];
  for (const fault of [...outages, ...kills].sort((a, b) => a.atMs - b.atMs)) {
    await sleep(Math.max(0, fault.atMs - (performance.now() - startedAt)));
    stage.log(`${((performance.now() - startedAt) / 1000).toFixed(1).padStart(6)} s  ${fault.what}`);
    running.push(
      fault.run().then((evidence) => {
        if (evidence !== "") injections.push({ what: fault.what, evidence });
      }),
    );
  }
  await Promise.all(running);
  await Promise.all(measurements);
  return { recovery, injections };
}

type Measure = (kind: keyof Recovery, what: string, recovered: Promise<number>) => void;

/** An outage, and at what part of the time it comes. */
type PlannedOutage = Omit<Fault, "atMs"> & { readonly at: number };

function planOutages(
  stage: Stage,
  observer: Observer,
  intake: Intake,
  payers: Payers,
  measure: Measure,
): PlannedOutage[] {
  const { postgres, postgresPath, redisPath } = stage;
  const seconds = `${blackHoleMs / 1000} s`;
  const outages: PlannedOutage[] = [
    {
      at: 0.08,
      what: "the mail server and the SMS service go down",
      quietMs: 0,
      async run() {
        await stage.setMessages(false);
        await sleep(8_000);
        await stage.setMessages(true);
        return "both away for 8 s";
      },
    },
    {
      at: 0.2,
      what: "PayPal goes down",
      quietMs: 0,
      async run() {
        const refused = payers.setDown(true);
        await sleep(8_000);
        return `away for 8 s; ${payers.setDown(false) - refused} calls were reset`;
      },
    },
    {
      at: 0.28,
      what: "an API is killed during intake",
      quietMs: 0,
      async run() {
        const waiting = intake.underWay[0] ?? 0;
        await stage.killApi(0, 1_000);
        return `${waiting} requests waited for its answer`;
      },
    },
    {
      at: 0.34,
      what: "PostgreSQL ends all connections",
      quietMs: 6_000,
      async run() {
        const rows = await observer.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
        );
        measure("postgres", "PostgreSQL ended its connections", flowsAgain(observer));
        return `${rows.length} connections ended`;
      },
    },
    {
      at: 0.54,
      what: "PostgreSQL is restarted in immediate mode",
      quietMs: 10_000,
      async run() {
        const { pid } = postgres;
        process.kill(pid, "SIGQUIT");
        while (postgres.pid === pid) await sleep(50);
        measure("postgres", "PostgreSQL was back", flowsAgain(observer));
        const replayed = (await stage.postgresLog()).split("not properly shut down").length - 1;
        return `process ${pid} became ${postgres.pid}; its log says ${replayed} × "not properly shut down"`;
      },
    },
    {
      at: 0.62,
      what: `the disk of the workers' temporary folder is ${stage.fullDisk}`,
      quietMs: 0,
      async run() {
        const refused = await stage.setDiskFull(true);
        await sleep(8_000);
        await stage.setDiskFull(false);
        return `${refused} of ${workerCount} workers could write nothing there, for 8 s`;
      },
    },
    {
      at: 0.72,
      what: `the path to PostgreSQL is a black hole for ${seconds}`,
      quietMs: 14_000,
      async run() {
        const silent = postgresPath.blackHole();
        await sleep(blackHoleMs);
        postgresPath.mend();
        measure("postgres", "the path to PostgreSQL was back", flowsAgain(observer));
        return `${silent} connections went silent`;
      },
    },
  ];
  if (redisPath === null) return outages;
  return [
    ...outages,
    {
      at: 0.4,
      what: `the path to Redis is a black hole for ${seconds}`,
      quietMs: 8_000,
      async run() {
        const silent = redisPath.blackHole();
        await sleep(blackHoleMs);
        redisPath.mend();
        measure("redis", "the path to Redis was back", flowsAgain(observer));
        return `${silent} connections went silent`;
      },
    },
    {
      at: 0.48,
      what: "Redis is killed, and comes back empty",
      quietMs: 4_000,
      async run() {
        await stage.killRedis(1_500);
        measure("redis", "Redis was back", flowsAgain(observer));
        return "away for 1.5 s; it keeps no file";
      },
    },
    {
      at: 0.68,
      what: "Redis is emptied while it runs",
      quietMs: 0,
      async run() {
        const keys = await stage.emptyRedis();
        measure("redis", "Redis was emptied", flowsAgain(observer));
        return `${keys} keys lost`;
      },
    },
  ];
}

interface Kill {
  readonly atMs: number;
  readonly index: number;
  /** Nothing else is broken near it: its recovery is measured. */
  readonly isAlone: boolean;
}

/**
 * The first and the last are alone. Every third of the others comes when it comes, into an outage too; the others keep away from
 * outages whose recovery is measured.
 */
function planKills(durationMs: number, count: number, outages: readonly Fault[], random: () => number): Kill[] {
  const kill = (atMs: number, isAlone: boolean) => ({ atMs, index: Math.floor(random() * workerCount), isAlone });
  const first = 0.02 * durationMs;
  const last = 0.97 * durationMs;
  const [from, to] = [Math.min(first + quietAfterKillMs, 0.25 * durationMs), last - 0.05 * durationMs];
  const isQuiet = (atMs: number) =>
    outages.some((outage) => atMs > outage.atMs - 1_000 && atMs < outage.atMs + outage.quietMs);
  const others = Array.from({ length: Math.max(0, count - 2) }, (_, number) => {
    let atMs = from + (to - from) * random();
    for (let tries = 0; number % 3 > 0 && isQuiet(atMs) && tries < 100; tries += 1) {
      atMs = from + (to - from) * random();
    }
    return kill(atMs, false);
  });
  return [kill(first, true), ...others, kill(last, true)].slice(0, Math.max(1, count));
}

interface UnderWay {
  readonly atMs: number;
  readonly deliveries: readonly string[];
  readonly leads: readonly string[];
}

const inHandText = "id || ' ' || state || ' ' || attempt_count || ' ' || coalesce(sending_since::text, '-')";

/** What waits to be sent or routed now, or is in somebody's hand. Where a partner closes meanwhile it would wait for tomorrow. */
async function whatIsUnderWay(observer: Observer): Promise<UnderWay> {
  const deliveries = await observer.query<{ mark: string }>(
    `select ${inHandText} as mark from deliveries where state = 'sending' and (sending_since is not null or due_at <= now())
        and partner_id not in (select id from partners where name = 'closing')`,
  );
  const leads = await observer.query<{ id: string }>(
    "select id from leads where state = 'received' and due_at <= now()",
  );
  return { atMs: performance.now(), deliveries: deliveries.map(({ mark }) => mark), leads: leads.map(({ id }) => id) };
}

/** Seconds until all that was under way has gone on. */
async function goesOn(observer: Observer, { atMs, deliveries, leads }: UnderWay): Promise<number> {
  return poll(atMs, async () => {
    const [row] = await observer.query<{ left: number }>(
      `select ((select count(*) from deliveries where state = 'sending' and ${inHandText} = any($1::text[]))
        + (select count(*) from leads where id = any($2::uuid[]) and state = 'received'))::integer as left`,
      [deliveries, leads],
    );
    return row?.left === 0;
  });
}

/** Seconds from now until all that is under way now has gone on, and a lead that came later has been sent. */
async function flowsAgain(observer: Observer): Promise<number> {
  const since = new Date();
  const atMs = performance.now();
  let underWay: UnderWay | null = null;
  while (underWay === null && performance.now() - atMs < longestRecoveryMs) {
    underWay = await whatIsUnderWay(observer).catch(() => null);
    if (underWay === null) await sleep(100);
  }
  await goesOn(observer, { deliveries: [], leads: [], ...underWay, atMs });
  return poll(atMs, async () => {
    const [row] = await observer.query<{ flows: boolean }>(
      "select exists (select from deliveries where attempt_count > 0 and created_at > $1) as flows",
      [since],
    );
    return row?.flows === true;
  });
}

/** Not waited for any longer, so that a busy machine comes to an end. */
const longestRecoveryMs = 60_000;

async function poll(sinceMs: number, isDone: () => Promise<boolean>): Promise<number> {
  while (performance.now() - sinceMs < longestRecoveryMs) {
    if (await isDone().catch(() => false)) break;
    await sleep(200);
  }
  return (performance.now() - sinceMs) / 1000;
}
