import { createHash } from "node:crypto";
import { createPostgresBackend, type JobsOptions, type PostgresConnectionOptions, Queue, Worker } from "bullmq";
import { Redis } from "ioredis";
import type pg from "pg";
import { listenOnPostgres, type PostgresListener } from "./postgres-listener.ts";

/**
 * Where BullMQ keeps its queues: Redis where an address is given, else PostgreSQL. Jobs are alarm clocks: they carry ids
 * only, may be lost or doubled, and whatever they would have woken is found again by the sweep.
 */
export interface QueueBackend {
  readonly kind: "postgres" | "redis";
  openQueue(name: string): JobQueue;
  openWorker(name: string, concurrency: number, handler: (data: unknown) => Promise<void>): void;
  /** Says something to those who listen on a channel at this moment. Gives false where it is known that nobody does. */
  say(channel: string, message: string): Promise<boolean>;
  /** Hears what is said on a channel until it is closed, through connections that break: what is said meanwhile is lost. */
  listen(channel: string, hear: (message: string) => void): Listening;
  /** Closes what was opened, workers first. A worker finishes the jobs it has, for as long as `graceMs`. */
  close(graceMs: number): Promise<void>;
}

export interface Listening {
  /** Whether it hears what is said now, as far as is known. */
  isOpen(): boolean;
}

/** What is used of a BullMQ queue, whichever backend is behind it. */
export interface JobQueue {
  add(name: string, data: object, options: JobsOptions): Promise<unknown>;
  getJobCounts(): Promise<Record<string, number>>;
  close(): Promise<void>;
  on(event: "error", listener: (error: Error) => void): unknown;
}

interface JobWorker {
  close(force?: boolean): Promise<void>;
  on(event: "error", listener: (error: Error) => void): unknown;
}

export interface QueueBackendOptions {
  readonly redisUrl: string | undefined;
  /** A pool whose search_path is the queue's schema. */
  readonly createPool: (size: number) => pg.Pool;
  readonly prefix: string;
  readonly onError: (error: Error) => void;
}

/**
 * A killed worker's jobs start again on another within lock + check: 10 s. BullMQ's own defaults take up to a minute.
 * A job is bounded by its slice (a few seconds) and renews its lock while it runs.
 */
const lockDurationMs = 6_000;
const stalledIntervalMs = 4_000;

/** A worker whose server refuses connections, because it restarts, asks again after this. BullMQ's own default is 15 s. */
const runRetryDelayMs = 1_000;

/** A job may be started again after a crash as often as it takes: a second run of any of ours is harmless. */
const stalledCountMaximum = 1_000_000;

/**
 * Of a process, for all kinds of jobs together: each keeps one to LISTEN, and they share the rest. A pool for each kind
 * came to more than 50, and four workers with those of a black hole to more than PostgreSQL's 200.
 */
const workerConnections = 18;

export function openQueueBackend(options: QueueBackendOptions): QueueBackend {
  return options.redisUrl === undefined ? onPostgres(options) : onRedis(options, options.redisUrl);
}

interface Opened {
  readonly queues: Map<string, JobQueue>;
  readonly workers: JobWorker[];
}

const workerOptions = (concurrency: number) => ({
  concurrency,
  lockDuration: lockDurationMs,
  stalledInterval: stalledIntervalMs,
  runRetryDelay: runRetryDelayMs,
  maxStalledCount: stalledCountMaximum,
  removeOnComplete: { count: 0 },
  removeOnFail: { count: 100 },
});

/** BullMQ takes a pg.Pool; only its own description of one lacks the words for it. */
const asTaken = (pool: pg.Pool) => pool as unknown as PostgresConnectionOptions;

/** Of the installation's own: PostgreSQL takes names of up to 63 bytes. */
const channelName = (prefix: string, channel: string) =>
  `handoff-${createHash("sha256").update(`${prefix}-${channel}`).digest("hex").slice(0, 32)}`;

function onPostgres({ createPool, prefix, onError }: QueueBackendOptions): QueueBackend {
  const opened: Opened = { queues: new Map(), workers: [] };
  const pools: pg.Pool[] = [];
  const listeners: PostgresListener[] = [];
  const openPool = (size: number) => {
    const pool = createPool(size);
    pools.push(pool);
    return pool;
  };
  const queuePool = openPool(4);
  let workerPool: pg.Pool | null = null;
  return {
    kind: "postgres",
    openQueue: (name) =>
      openQueueOnce(
        opened,
        name,
        onError,
        () => new Queue(`${prefix}-${name}`, { connection: asTaken(queuePool) }, createPostgresBackend),
      ),
    openWorker: (name, concurrency, handler) => {
      workerPool ??= openPool(workerConnections);
      const options = { connection: asTaken(workerPool), ...workerOptions(concurrency) };
      const worker = new Worker(`${prefix}-${name}`, async (job) => handler(job.data), options, createPostgresBackend);
      keep(opened, worker, onError);
    },
    say: async (channel, message) => {
      await queuePool.query("select pg_notify($1, $2)", [channelName(prefix, channel), message]);
      return true;
    },
    listen: (channel, hear) => {
      const listener = listenOnPostgres(openPool(1), channelName(prefix, channel), hear, onError);
      listeners.push(listener);
      return listener;
    },
    close: async (graceMs) => {
      await closeOpened(opened, graceMs);
      for (const listener of listeners) listener.close();
      await within(lastResortMs, Promise.allSettled(pools.map(async (pool) => pool.end())));
    },
  };
}

function onRedis({ prefix, onError }: QueueBackendOptions, redisUrl: string): QueueBackend {
  const opened: Opened = { queues: new Map(), workers: [] };
  // A producer fails fast: the row is committed, so a wake-up that cannot be queued now is left to the sweep.
  const producer = new Redis(redisUrl, { maxRetriesPerRequest: 1, enableOfflineQueue: true, commandTimeout: 2_000 });
  producer.on("error", onError);
  const consumers: Redis[] = [];
  return {
    kind: "redis",
    openQueue: (name) => openQueueOnce(opened, name, onError, () => new Queue(name, { connection: producer, prefix })),
    openWorker: (name, concurrency, handler) => {
      const connection = new Redis(redisUrl, { maxRetriesPerRequest: null, keepAlive: 5_000 });
      connection.on("error", onError);
      consumers.push(connection);
      const worker = new Worker(name, async (job) => handler(job.data), {
        connection,
        prefix,
        ...workerOptions(concurrency),
      });
      keep(opened, worker, onError);
    },
    say: async (channel, message) => (await producer.publish(channelName(prefix, channel), message)) > 0,
    listen: (channel, hear) => {
      const connection = new Redis(redisUrl, { maxRetriesPerRequest: null, keepAlive: 5_000 });
      connection.on("error", onError);
      consumers.push(connection);
      let isOpen = false;
      connection.on("close", () => {
        isOpen = false;
      });
      connection.on("ready", () => {
        isOpen = true;
      });
      connection.on("message", (_channel: string, message: string) => hear(message));
      // It subscribes again by itself when a connection is back.
      connection.subscribe(channelName(prefix, channel)).catch(onError);
      return { isOpen: () => isOpen };
    },
    close: async (graceMs) => {
      await closeOpened(opened, graceMs);
      for (const connection of [...consumers, producer]) connection.disconnect();
    },
  };
}

function openQueueOnce(opened: Opened, name: string, onError: (error: Error) => void, open: () => JobQueue): JobQueue {
  const existing = opened.queues.get(name);
  if (existing !== undefined) return existing;
  const queue = open();
  queue.on("error", onError);
  opened.queues.set(name, queue);
  return queue;
}

function keep(opened: Opened, worker: JobWorker, onError: (error: Error) => void): void {
  worker.on("error", onError);
  opened.workers.push(worker);
}

/** What is left of a worker whose job hangs gets this long to let go of its connections. */
const lastResortMs = 1_000;

/** `worker.close()` waits for ever for a job that hangs, and so do its connections: each is given a time. */
async function closeOpened({ queues, workers }: Opened, graceMs: number): Promise<void> {
  const isClosed = await within(graceMs, Promise.allSettled(workers.map(async (worker) => worker.close())));
  if (!isClosed) await within(lastResortMs, Promise.allSettled(workers.map(async (worker) => worker.close(true))));
  await within(lastResortMs, Promise.allSettled([...queues.values()].map(async (queue) => queue.close())));
}

/** Waits for `work` no longer than `limitMs`; gives whether it was done. */
async function within(limitMs: number, work: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, limitMs, false);
  });
  const isDone = await Promise.race([work.then(() => true), timeUp]);
  clearTimeout(timer);
  return isDone;
}
