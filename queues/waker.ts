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
  /** Resolves when every wake-up given so far is queued or reported. */
  settled(): Promise<void>;
}

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

  return {
    wake(job, payload, overdue) {
      const queue = backend.openQueue(job.name);
      const key = job.key(payload);
      if (overdue !== undefined) {
        queue.add(job.name, payload, overdueOptions(key)).catch(onError);
        return;
      }
      const id = `${job.name}-${key}`;
      const entry = underWay.get(id);
      if (entry !== undefined) {
        entry.again = true;
        return;
      }
      const started = { again: false, done: Promise.resolve() };
      underWay.set(id, started);
      started.done = addUntilQuiet(queue, job.name, key, payload);
    },
    async settled() {
      while (underWay.size > 0) await Promise.all([...underWay.values()].map(async (entry) => entry.done));
    },
  };
}

/** More than one attempt, because the PostgreSQL backend can deadlock when it finishes a job; without delay, because nothing rests on it. */
const attempts = 3;

/** At most one job under way and one waiting for each key; a wake-up that arrives during the run is kept for its end. */
const jobOptions = (key: string) => ({ attempts, deduplication: { id: key, keepLastIfActive: true } });

/** At most one such job at a time, and a deduplication key that was left behind does not silence it. */
const overdueOptions = (key: string) => ({ attempts, jobId: `overdue-${key}`, removeOnFail: true });
