import { setTimeout as sleep } from "node:timers/promises";
import type { Observer } from "./observer.ts";
import { type Stage, workerCount } from "./stage.ts";

/** Seconds from the end of a fault until everything goes on, the longest of each kind; null: not tried. */
export interface Recovery {
  worker: number | null;
  redis: number | null;
  postgres: number | null;
}

interface Fault {
  readonly atMs: number;
  readonly what: string;
  run(): Promise<void>;
}

export interface FaultsDone {
  readonly recovery: Recovery;
  readonly told: readonly string[];
}

const blackHoleMs = 4_000;
/** Nothing else is broken for so long after a kill whose recovery is measured. */
const quietMs = 15_500;

/**
 * Breaks things while leads flow, for `durationMs`: what, when and whom, the seed decides. A kill has its recovery measured when
 * everything else has recovered and no other outage is near.
 */
export async function breakThings(
  stage: Stage,
  observer: Observer,
  durationMs: number,
  workerKills: number,
  random: () => number,
): Promise<FaultsDone> {
  const recovery: Recovery = { worker: null, redis: null, postgres: null };
  const told: string[] = [];
  const startedAt = performance.now();
  const measurements: Promise<void>[] = [];
  let recovering = 0;
  const note = (kind: keyof Recovery, seconds: number) => {
    recovery[kind] = Math.max(recovery[kind] ?? 0, Math.round(seconds * 10) / 10);
  };
  const measure = (kind: keyof Recovery, what: string, recovered: Promise<number>) => {
    recovering += 1;
    measurements.push(
      recovered.then((seconds) => {
        recovering -= 1;
        note(kind, seconds);
        stage.log(`  … going on ${seconds.toFixed(1)} s after ${what}`);
      }),
    );
  };
  const outage = (fraction: number, what: string, run: () => Promise<void>): Fault => ({
    atMs: durationMs * (fraction + 0.02 * random()),
    what,
    run,
  });
  const outages = plan(stage, observer, outage, measure);
  const kills = planKills(durationMs, workerKills, outages, random).map(({ atMs, index, isQuiet }) => ({
    atMs,
    what: `worker ${index + 1} is killed`,
    run: async () => {
      const inHand = isQuiet && recovering === 0 ? await whatIsUnderWay(observer) : null;
      await stage.killWorker(index);
      if (inHand !== null) measure("worker", `the kill of worker ${index + 1}`, goesOn(observer, inHand));
    },
  }));
  const faults = [...outages, ...kills].sort((a, b) => a.atMs - b.atMs);
  const running: Promise<void>[] = [];
  for (const fault of faults) {
    await sleep(Math.max(0, fault.atMs - (performance.now() - startedAt)));
    const line = `${((performance.now() - startedAt) / 1000).toFixed(1).padStart(6)} s  ${fault.what}`;
    stage.log(line);
    told.push(line);
    running.push(fault.run());
  }
  await Promise.all(running);
  await Promise.all(measurements);
  return { recovery, told };
}

type Measure = (kind: keyof Recovery, what: string, recovered: Promise<number>) => void;

function plan(
  stage: Stage,
  observer: Observer,
  outage: (fraction: number, what: string, run: () => Promise<void>) => Fault,
  measure: Measure,
): Fault[] {
  const { postgres, postgresPath, redisPath } = stage;
  const faults = [
    outage(0.1, "the mail server and the SMS service go down", async () => {
      await stage.setMessages(false);
      await sleep(8_000);
      await stage.setMessages(true);
    }),
    outage(0.3, "an API is killed during intake", async () => stage.killApi(0, 1_000)),
    outage(0.35, "PostgreSQL terminates all connections", async () => {
      await observer
        .query(
          "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
        )
        .catch(() => undefined);
      measure("postgres", "PostgreSQL ended its connections", flowsAgain(observer));
    }),
    outage(0.52, "PostgreSQL is restarted in immediate mode", async () => {
      const { pid } = postgres;
      process.kill(pid, "SIGQUIT");
      while (postgres.pid === pid) await sleep(50);
      measure("postgres", "PostgreSQL was back", flowsAgain(observer));
    }),
    outage(0.6, `the disk of the workers' temporary folder is ${stage.fullDisk}`, async () => {
      await stage.setDiskFull(true);
      await sleep(10_000);
      await stage.setDiskFull(false);
    }),
    outage(0.66, `the path to PostgreSQL is a black hole for ${blackHoleMs / 1000} s`, async () => {
      postgresPath.blackHole();
      await sleep(blackHoleMs);
      postgresPath.mend();
      measure("postgres", "the path to PostgreSQL was back", flowsAgain(observer));
    }),
  ];
  if (redisPath !== null) {
    faults.push(
      outage(0.4, `the path to Redis is a black hole for ${blackHoleMs / 1000} s`, async () => {
        redisPath.blackHole();
        await sleep(blackHoleMs);
        redisPath.mend();
        measure("redis", "the path to Redis was back", flowsAgain(observer));
      }),
      outage(0.48, "Redis is killed, and comes back empty", async () => {
        await stage.emptyRedis(1_500);
        measure("redis", "Redis was back", flowsAgain(observer));
      }),
    );
  }
  return faults;
}

interface Kill {
  readonly atMs: number;
  readonly index: number;
  readonly isQuiet: boolean;
}

/** One at the beginning and one near the end are alone; the others come when they come. */
function planKills(durationMs: number, count: number, outages: readonly Fault[], random: () => number): Kill[] {
  const alone = [0.03, 0.9].map((fraction) => durationMs * fraction);
  const others = Array.from({ length: Math.max(0, count - alone.length) }, () => durationMs * (0.28 + 0.55 * random()));
  return [...alone, ...others].map((atMs) => ({
    atMs,
    index: Math.floor(random() * workerCount),
    // Mail and temporary folders hold nobody up.
    isQuiet: !outages.some(
      (fault) => !/mail|temporary/.test(fault.what) && fault.atMs > atMs - 8_000 && fault.atMs < atMs + quietMs,
    ),
  }));
}

interface UnderWay {
  readonly atMs: number;
  readonly deliveries: readonly string[];
  readonly leads: readonly string[];
}

const inHandText = "id || ' ' || state || ' ' || attempt_count || ' ' || coalesce(sending_since::text, '-')";

/** What waits to be sent or routed now, or is in somebody's hand. */
async function whatIsUnderWay(observer: Observer): Promise<UnderWay> {
  const deliveries = await observer.query<{ mark: string }>(
    `select ${inHandText} as mark from deliveries where state = 'sending' and (sending_since is not null or due_at <= now())`,
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

/** Seconds until a lead has been sent since now and none waits to be routed for more than a second. */
async function flowsAgain(observer: Observer): Promise<number> {
  const since = new Date();
  return poll(performance.now(), async () => {
    const [row] = await observer.query<{ flows: boolean }>(
      `select exists (select from deliveries where attempt_count > 0 and created_at > $1)
        and not exists (select from leads where state = 'received' and due_at < now() - interval '1 s') as flows`,
      [since],
    );
    return row?.flows === true;
  });
}

const longestRecoveryMs = 45_000;

async function poll(sinceMs: number, isDone: () => Promise<boolean>): Promise<number> {
  while (performance.now() - sinceMs < longestRecoveryMs) {
    if (await isDone().catch(() => false)) break;
    await sleep(200);
  }
  return (performance.now() - sinceMs) / 1000;
}
