import { Socket } from "node:net";
import pg from "pg";

/** When a connection that says nothing is looked into, and when it is given up. */
export interface Patience {
  /** When an answer takes longer, PostgreSQL is asked over another connection whether it is at work on it at all. */
  readonly askAfterMs: number;
  /** No statement of ours takes so long: an answer that has not come by then never will. */
  readonly giveUpAfterMs: number;
  readonly lookEveryMs: number;
}

export const usualPatience: Patience = { askAfterMs: 2_000, giveUpAfterMs: 15_000, lookEveryMs: 1_000 };

/** The first time that PostgreSQL says it has nothing to do for us, its answer may be on the way. */
const timesForgotten = 2;

interface Connection {
  readonly client: pg.PoolClient;
  readonly stream: Socket;
  readonly processId: number;
  /** Bytes to and fro: while they stand still, it is silent. */
  bytes: number;
  silentSince: number;
  /** Bytes to PostgreSQL, which ends sessions that say nothing for long, however much a listener hears. */
  bytesWritten: number;
  saidAt: number;
  forgotten: number;
}

/**
 * Breaks those connections of a pool that lead nowhere: a lost route and a machine without power close nothing, and who waits
 * for an answer would wait for ever. One that waits although PostgreSQL has nothing to do for it is broken within seconds; a
 * statement that is slow is not. One that waits for nothing, as a listener does, is asked something when nothing was said to it for
 * long, or when another of the pool was broken.
 */
export function breakSilentConnections(pool: pg.Pool, databaseUrl: string, patience: Patience): void {
  const connections = new Set<Connection>();
  let timer: NodeJS.Timeout | undefined;
  let isLooking = false;

  pool.on("connect", (client) => {
    const connection = follow(client);
    if (connection === null) return;
    connections.add(connection);
    connection.stream.once("close", () => {
      connections.delete(connection);
      if (connections.size === 0) timer = clearInterval(timer) ?? undefined;
    });
    timer ??= setInterval(() => void look(), patience.lookEveryMs).unref();
  });

  async function look(): Promise<void> {
    if (isLooking) return;
    isLooking = true;
    for (const connection of connections) {
      if (quietOf(connection) > patience.giveUpAfterMs && !isWaiting(connection)) ask(connection);
    }
    const silent = [...connections].filter(
      (connection) => silenceOf(connection) > patience.askAfterMs && isWaiting(connection),
    );
    if (silent.length > 0) await lookInto(silent);
    isLooking = false;
  }

  async function lookInto(silent: readonly Connection[]): Promise<void> {
    const idle = await askWhichAreIdle(
      databaseUrl,
      silent.map(({ processId }) => processId),
    );
    let isAnyBroken = false;
    for (const connection of silent) {
      const silenceMs = silenceOf(connection);
      if (silenceMs < patience.askAfterMs || !isWaiting(connection)) continue;
      connection.forgotten = idle.has(connection.processId) ? connection.forgotten + 1 : 0;
      if (connection.forgotten < timesForgotten && silenceMs < patience.giveUpAfterMs) continue;
      connection.stream.destroy(new Error("Connection terminated: PostgreSQL has been silent for too long."));
      isAnyBroken = true;
    }
    if (isAnyBroken) for (const connection of connections) if (!isWaiting(connection)) ask(connection);
  }
}

/** The socket of a connection, where it has one. */
export function streamOf(client: pg.PoolClient): Socket | null {
  const stream = "connection" in client && client.connection instanceof pg.Connection && client.connection.stream;
  return stream instanceof Socket ? stream : null;
}

function follow(client: pg.PoolClient): Connection | null {
  const stream = streamOf(client);
  const processId = "processID" in client ? client.processID : null;
  if (stream === null || typeof processId !== "number") return null;
  const now = performance.now();
  return { client, stream, processId, bytes: 0, silentSince: now, bytesWritten: 0, saidAt: now, forgotten: 0 };
}

/** How long nothing has gone to and fro, in milliseconds. */
function silenceOf(connection: Connection): number {
  const { stream } = connection;
  const bytes = stream.bytesRead + stream.bytesWritten;
  if (bytes !== connection.bytes) {
    Object.assign(connection, { bytes, silentSince: performance.now(), forgotten: 0 });
  }
  return performance.now() - connection.silentSince;
}

/** How long nothing was said to PostgreSQL, in milliseconds. */
function quietOf(connection: Connection): number {
  const { bytesWritten } = connection.stream;
  if (bytesWritten !== connection.bytesWritten) Object.assign(connection, { bytesWritten, saidAt: performance.now() });
  return performance.now() - connection.saidAt;
}

const isWaiting = ({ client }: Connection): boolean => "readyForQuery" in client && client.readyForQuery !== true;

/** From now on it waits for an answer, and is broken when none comes. */
const ask = ({ client }: Connection): void => void client.query("select").catch(() => undefined);

/** Who looks at the sessions of a server sees what this one is for. */
const askerName = "handoff asks about silent sessions";

/** PostgreSQL that takes longer to say is out of reach. */
const askLimitMs = 2_000;

/** Which of these sessions wait for their client; empty where nobody can be asked. */
async function askWhichAreIdle(databaseUrl: string, processIds: readonly number[]): Promise<ReadonlySet<unknown>> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    application_name: askerName,
    connectionTimeoutMillis: askLimitMs,
    query_timeout: askLimitMs,
  });
  client.on("error", () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ pid: number }>(
      "select pid from pg_stat_activity where pid = any($1::integer[]) and state like 'idle%'",
      [processIds],
    );
    return new Set(rows.map(({ pid }) => pid));
  } catch {
    return new Set();
  } finally {
    client.end().catch(() => undefined);
  }
}
