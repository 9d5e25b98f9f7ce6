import { once } from "node:events";
import { setTimeout } from "node:timers/promises";
import pg from "pg";

/** One that hears what is said on a channel of PostgreSQL's. */
export interface PostgresListener {
  isOpen(): boolean;
  close(): void;
}

/** After a connection that broke the next is tried this much later. */
const retryMs = 1_000;

/** Keeps one connection of the pool to LISTEN on, and takes another when it breaks. */
export function listenOnPostgres(
  pool: pg.Pool,
  channel: string,
  hear: (message: string) => void,
  onError: (error: Error) => void,
): PostgresListener {
  const closing = new AbortController();
  let isOpen = false;

  async function listenOnce(): Promise<void> {
    const client = await pool.connect();
    try {
      const broken = once(client, "end", { signal: closing.signal });
      broken.catch(() => undefined);
      client.on("notification", ({ payload }) => hear(payload ?? ""));
      await client.query(`listen ${pg.escapeIdentifier(channel)}`);
      isOpen = true;
      await broken;
    } finally {
      isOpen = false;
      // What listens is of no use to anybody else.
      client.release(true);
    }
  }

  async function listenUntilClosed(): Promise<void> {
    while (!closing.signal.aborted) {
      await listenOnce().catch((error: Error) => {
        if (!closing.signal.aborted) onError(error);
      });
      await setTimeout(retryMs, undefined, { signal: closing.signal }).catch(() => undefined);
    }
  }

  void listenUntilClosed();
  return { isOpen: () => isOpen, close: () => closing.abort() };
}
