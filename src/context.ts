import { setTimeout } from "node:timers/promises";
import { sql } from "kysely";
import { type Logger, pino } from "pino";
import { openQueueBackend, type QueueBackend } from "../queues/connection.ts";
import { createWaker, type Waker } from "../queues/waker.ts";
import type { Config } from "./config.ts";
import { createPool, type Database, openDatabase } from "./db/database.ts";
import { createVault, type Vault } from "./encrypt.ts";

/** What every part works with. Made once per process; tests make their own with another clock. */
export interface Context {
  readonly config: Config;
  readonly database: Database;
  readonly vault: Vault;
  readonly log: Logger;
  readonly clock: () => Date;
  readonly queues: QueueBackend;
  readonly waker: Waker;
  /** Aborted when the process is to stop: work under way is finished, no more is begun. */
  readonly stopping: AbortController;
}

export interface ContextOptions {
  readonly config: Config;
  readonly databaseUrl: string;
  readonly secret: string;
  readonly clock?: () => Date;
  readonly log?: Logger;
}

export function openContext({ config, databaseUrl, secret, clock = () => new Date(), log }: ContextOptions): Context {
  const logger = log ?? createLogger(config.logLevel);
  const stopping = new AbortController();
  // A connection that is being closed when its server stops hears of that as trouble.
  const onQueueError = (error: Error) =>
    logger[stopping.signal.aborted ? "debug" : "warn"]({ error: error.message }, "queue.trouble");
  const queues = openQueueBackend({
    redisUrl: config.redisUrl,
    createPool: (size) => createPool(databaseUrl, "queue", size),
    prefix: config.queuePrefix,
    onError: onQueueError,
  });
  return {
    config,
    database: openDatabase(createPool(databaseUrl, "application", config.databasePoolSize)),
    vault: createVault(secret),
    log: logger,
    clock,
    queues,
    waker: createWaker(queues, onQueueError),
    stopping,
  };
}

/** Closes in reverse order, whatever state it is in. Jobs under way get `graceMs` to finish. */
export async function closeContext(context: Context, graceMs = 30_000): Promise<void> {
  context.stopping.abort();
  await Promise.race([context.waker.settled(), setTimeout(graceMs, undefined, { ref: false })]);
  await context.queues.close(graceMs);
  await context.database.destroy();
}

/** Log lines are JSON, one for each unit of work. They go to standard output, or to a file. */
export function createLogger(level: string, file?: string): Logger {
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  if (file === undefined) return pino(options);
  const destination = pino.destination({ dest: file, sync: false });
  // A log that cannot be written, on a full disk say, stops nobody's leads.
  destination.on("error", () => undefined);
  return pino(options, destination);
}

/**
 * Makes sure that this installation's secret is the one that its data was encrypted with, before anything is encrypted or
 * compared with another. The first to ask sets it.
 */
export async function checkSecret({ database, vault }: Context): Promise<void> {
  const check = vault.fingerprint("handoff installation");
  const { rows } = await sql<{ isSame: boolean }>`select confirm_secret(${check}) as is_same`.execute(database);
  if (rows[0]?.isSame === true) return;
  throw new Error(
    "HANDOFF_SECRET is not the one that this database's secrets were encrypted with: give the old one (without the setting it is kept in DATA_DIR/secret).",
  );
}
