import type { z } from "zod";
import type { QueueBackend } from "./connection.ts";

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

  async function addUntilQuiet(name: string, key: string, payload: object, entry: Woken): Promise<void> {
    const queue = backend.openQueue(name);
    do {
      entry.again = false;
      await queue.add(name, payload, jobOptions(key)).catch(onError);
    } while (entry.again);
    underWay.delete(`${name}-${key}`);
  }

  function enqueue(name: string, key: string, payload: object): void {
    begin(underWay, `${name}-${key}`, async (entry) => addUntilQuiet(name, key, payload, entry));
  }

  const here = new Map<string, Here>();
  return {
    wake(job, payload, overdue) {
      const key = job.key(payload);
      if (overdue !== undefined) {
        backend.openQueue(job.name).add(job.name, payload, overdueOptions(key)).catch(onError);
        return;
      }
      const mine = here.get(job.name);
      const isFollowed = mine !== undefined && followHere(mine, key, payload, () => enqueue(job.name, key, payload));
      if (!isFollowed) enqueue(job.name, key, payload);
    },
    doHere(name, places, stopping, handle) {
      here.set(name, { places, stopping, handle, underWay: new Map() });
    },
    async settled() {
      for (;;) {
        const all = [underWay, ...[...here.values()].map((mine) => mine.underWay)];
        const open = all.flatMap((entries) => [...entries.values()]);
        if (open.length === 0) return;
        await Promise.all(open.map(async (entry) => entry.done));
      }
    },
  };
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
