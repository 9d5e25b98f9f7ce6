import type { z } from "zod";
import type { QueueBackend } from "./connection.ts";
import { createStandBys } from "./stand-bys.ts";

/** One kind of job: its queue has its name, its payload carries ids only, and `key` says what one wake-up is about. */
export interface JobDefinition<Payload extends object> {
  readonly name: string;
  readonly payload: z.ZodType<Payload>;
  readonly key: (payload: Payload) => string;
}

export interface Waker {
  /**
   * Sees to it that a worker looks at what `payload` names. Called after commit; never fails and never waits: a wake-up
   * that cannot be queued is reported, and the sweep finds the work.
   *
   * Without `by` it takes the shortest way: this process does it, or one that stands by for it, or whichever worker is free. By
   * `queue` this process does not do it at once. `overdue` goes past deduplication too, for work that earlier wake-ups did
   * not get done.
   */
  wake<Payload extends object>(job: JobDefinition<Payload>, payload: Payload, by?: "queue" | "overdue"): void;
  /**
   * Has this process do work of a kind itself, up to `places` at a time, until `stopping`: a wake-up that it gives is then
   * followed at once instead of by way of the queue. What finds no place, or fails, goes to the queue as ever.
   */
  doHere<Payload extends object>(
    job: JobDefinition<Payload>,
    places: number,
    stopping: AbortSignal,
    handle: (payload: object) => Promise<void>,
  ): void;
  /** Says that this process, which has just done what `payload` names and does such work here, is there for more of it. */
  standBy<Payload extends object>(job: JobDefinition<Payload>, payload: Payload): void;
  /** From now on this process knows who stands by for what, and gives its wake-ups to them. */
  followStandBys(): void;
  /** Resolves when every wake-up given so far is followed, queued or reported. */
  settled(): Promise<void>;
}

/** What this process does of a kind by itself. */
interface Here {
  readonly places: number;
  readonly stopping: AbortSignal;
  readonly handle: (payload: object) => Promise<void>;
  readonly underWay: UnderWay;
}

/** What is woken again and again gives its place back after this long, and queues up like the rest. */
const hereSliceMs = 5_000;

/**
 * Wake-ups for the same thing fall together: while one is being queued, those that come are one more at the end. So
 * a burst of leads costs the queue a few jobs, not one each.
 */
export function createWaker(backend: QueueBackend, onError: (error: Error) => void): Waker {
  const underWay: UnderWay = new Map();
  const standBys = createStandBys(backend, onError);

  async function passOn(name: string, key: string, payload: object): Promise<void> {
    const isTaken = await standBys.give(name, key, payload);
    if (!isTaken) await backend.openQueue(name).add(name, payload, jobOptions(key)).catch(onError);
  }

  function enqueue(name: string, key: string, payload: object): void {
    const id = `${name}-${key}`;
    begin(underWay, id, async (entry) => {
      do {
        entry.again = false;
        await passOn(name, key, payload);
      } while (entry.again);
      underWay.delete(id);
    });
  }

  const here = new Map<string, Here>();
  /** What others give this process to do, by kind. */
  const given = new Map<string, (payload: unknown) => void>();

  const waker: Waker = {
    wake(job, payload, by) {
      const key = job.key(payload);
      if (by === "overdue") {
        backend.openQueue(job.name).add(job.name, payload, overdueOptions(key)).catch(onError);
        return;
      }
      const mine = by === "queue" ? undefined : here.get(job.name);
      const isFollowed = mine !== undefined && followHere(mine, key, payload, () => enqueue(job.name, key, payload));
      if (!isFollowed) enqueue(job.name, key, payload);
    },
    doHere(job, places, stopping, handle) {
      here.set(job.name, { places, stopping, handle, underWay: new Map() });
      given.set(job.name, (payload) => {
        const { data } = job.payload.safeParse(payload);
        if (data !== undefined) waker.wake(job, data);
      });
      standBys.open((name, payload) => given.get(name)?.(payload), stopping);
    },
    standBy(job, payload) {
      if (here.get(job.name)?.stopping.aborted === false) standBys.offer(job.name, job.key(payload));
    },
    followStandBys: () => standBys.follow(),
    async settled() {
      for (;;) {
        const all = [underWay, ...[...here.values()].map((mine) => mine.underWay)];
        const open = all.flatMap((entries) => [...entries.values()]);
        if (open.length === 0) return;
        await Promise.all(open.map(async (entry) => entry.done));
      }
    },
  };
  return waker;
}

/** What is being done about a wake-up, and whether another came meanwhile. */
interface Woken {
  again: boolean;
  done: Promise<void>;
}

type UnderWay = Map<string, Woken>;

/** Begins what is not under way; else it is to be done again. */
function begin(underWay: UnderWay, id: string, work: (entry: Woken) => Promise<void>): void {
  const entry = underWay.get(id);
  if (entry !== undefined) {
    entry.again = true;
    return;
  }
  const started = { again: false, done: Promise.resolve() };
  underWay.set(id, started);
  started.done = work(started);
}

/** Gives whether the wake-up is followed by this process. What is left over in the end is handed to `enqueue`. */
function followHere(mine: Here, key: string, payload: object, enqueue: () => void): boolean {
  if (mine.stopping.aborted) return false;
  if (!mine.underWay.has(key) && mine.underWay.size >= mine.places) return false;
  begin(mine.underWay, key, async (entry) => {
    const isDone = await doUntilQuiet(mine, payload, entry);
    mine.underWay.delete(key);
    if (!isDone) enqueue();
  });
  return true;
}

/** Gives whether all is done that it was woken for. */
async function doUntilQuiet({ handle, stopping }: Here, payload: object, entry: Woken): Promise<boolean> {
  const endsAt = performance.now() + hereSliceMs;
  try {
    do {
      entry.again = false;
      await handle(payload);
    } while (entry.again && performance.now() < endsAt && !stopping.aborted);
    return !entry.again;
  } catch {
    // The handler has told of it; the queue tries again.
    return false;
  }
}

/** More than one attempt, because the PostgreSQL backend can deadlock when it finishes a job; without delay, because nothing rests on it. */
const attempts = 3;

/** At most one job under way and one waiting for each key; a wake-up that arrives during the run is kept for its end. */
const jobOptions = (key: string) => ({ attempts, deduplication: { id: key, keepLastIfActive: true } });

/** At most one such job at a time, and a deduplication key that was left behind does not silence it. */
const overdueOptions = (key: string) => ({ attempts, jobId: `overdue-${key}`, removeOnFail: true });
