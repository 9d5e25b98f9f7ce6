import type { z } from "zod";
import type { JobQueue, QueueBackend } from "./connection.ts";

/** One kind of job: its queue has its name, its payload carries ids only, and `key` says what one wake-up is about. */
export interface JobDefinition<Payload extends object> {
  readonly name: string;
  readonly payload: z.ZodType<Payload>;
  readonly key: (payload: Payload) => string;
}

export interface Waker {
  /**
   * Sees to it that a worker looks at what `payload` names. Called after commit; never fails and never waits: a wake-up
   * that cannot be queued is reported, and the sweep finds the work. `overdue` goes past deduplication, for work that
   * earlier wake-ups did not get done.
   */
  wake<Payload extends object>(job: JobDefinition<Payload>, payload: Payload, overdue?: "overdue"): void;
  /**
   * Has this process do work of a kind itself, up to `places` at a time, until `stopping`: a wake-up that it gives is then
   * followed at once instead of by way of the queue. What finds no place, or fails, goes to the queue as ever.
   */
  doHere(name: string, places: number, stopping: AbortSignal, handle: (payload: object) => Promise<void>): void;
  /** Resolves when every wake-up given so far is followed, queued or reported. */
  settled(): Promise<void>;
}

/** What this process does of a kind by itself. */
interface Here {
  readonly places: number;
  readonly stopping: AbortSignal;
  readonly handle: (payload: object) => Promise<void>;
  readonly underWay: Map<string, { again: boolean; done: Promise<void> }>;
}

/** What is woken again and again gives its place back after this long, and queues up like the rest. */
const hereSliceMs = 5_000;

/**
 * Wake-ups for the same thing fall together: while one is being queued, those that come are one more at the end. So
 * a burst of leads costs the queue a few jobs, not one each.
 */
export function createWaker(backend: QueueBackend, onError: (error: Error) => void): Waker {
  const underWay = new Map<string, { again: boolean; done: Promise<void> }>();

  async function addUntilQuiet(queue: JobQueue, name: string, key: string, payload: object): Promise<void> {
    const id = `${name}-${key}`;
    for (let again = true; again; ) {
      const entry = underWay.get(id);
      if (entry !== undefined) entry.again = false;
      await queue.add(name, payload, jobOptions(key)).catch(onError);
      again = entry?.again ?? false;
    }
    underWay.delete(id);
  }

  function enqueue(name: string, key: string, payload: object): void {
    const id = `${name}-${key}`;
    const entry = underWay.get(id);
    if (entry !== undefined) {
      entry.again = true;
      return;
    }
    const started = { again: false, done: Promise.resolve() };
    underWay.set(id, started);
    started.done = addUntilQuiet(backend.openQueue(name), name, key, payload);
  }

  const here = new Map<string, Here>();

  /** Gives whether the wake-up is followed here. */
  function follow(name: string, key: string, payload: object): boolean {
    const mine = here.get(name);
    if (mine === undefined || mine.stopping.aborted) return false;
    const entry = mine.underWay.get(key);
    if (entry !== undefined) {
      entry.again = true;
      return true;
    }
    if (mine.underWay.size >= mine.places) return false;
    const started = { again: false, done: Promise.resolve() };
    mine.underWay.set(key, started);
    started.done = doUntilQuiet(mine, name, key, payload, started);
    return true;
  }

  async function doUntilQuiet(
    mine: Here,
    name: string,
    key: string,
    payload: object,
    entry: { again: boolean },
  ): Promise<void> {
    const endsAt = performance.now() + hereSliceMs;
    let isQuiet = false;
    try {
      do {
        entry.again = false;
        await mine.handle(payload);
        isQuiet = !entry.again;
      } while (!isQuiet && performance.now() < endsAt && !mine.stopping.aborted);
    } catch {
      // The handler has told of it; the queue tries again.
      isQuiet = false;
    }
    mine.underWay.delete(key);
    if (!isQuiet) enqueue(name, key, payload);
  }

  return {
    wake(job, payload, overdue) {
      const key = job.key(payload);
      if (overdue !== undefined) {
        backend.openQueue(job.name).add(job.name, payload, overdueOptions(key)).catch(onError);
      } else if (!follow(job.name, key, payload)) enqueue(job.name, key, payload);
    },
    doHere(name, places, stopping, handle) {
      here.set(name, { places, stopping, handle, underWay: new Map() });
    },
    async settled() {
      for (;;) {
        const open = [underWay, ...[...here.values()].map((mine) => mine.underWay)].flatMap((map) => [...map.values()]);
        if (open.length === 0) return;
        await Promise.all(open.map(async (entry) => entry.done));
      }
    },
  };
}

/** More than one attempt, because the PostgreSQL backend can deadlock when it finishes a job; without delay, because nothing rests on it. */
const attempts = 3;

/** At most one job under way and one waiting for each key; a wake-up that arrives during the run is kept for its end. */
const jobOptions = (key: string) => ({ attempts, deduplication: { id: key, keepLastIfActive: true } });

/** At most one such job at a time, and a deduplication key that was left behind does not silence it. */
const overdueOptions = (key: string) => ({ attempts, jobId: `overdue-${key}`, removeOnFail: true });
