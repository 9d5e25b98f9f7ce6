import type { PostgresCursor, PostgresPool, PostgresPoolClient, PostgresQueryResult } from "kysely";
import type pg from "pg";
import { streamOf } from "./silent-connections.ts";

/** A statement that comes again is prepared: PostgreSQL then parses it once for each connection, and soon plans it once. */
const timesUntilPrepared = 3;

/** Statements whose text differs each time, such as searches, must not fill the memory of every connection. */
const mostPrepared = 300;

/** Gives each statement that is seen often its name; the same text has the same name on every connection. */
export class StatementNames {
  readonly #timesSeen = new Map<string, number>();
  readonly #names = new Map<string, string>();

  nameOf(text: string): string | undefined {
    const name = this.#names.get(text);
    if (name !== undefined || this.#names.size >= mostPrepared) return name;
    const times = (this.#timesSeen.get(text) ?? 0) + 1;
    if (times < timesUntilPrepared) {
      if (this.#timesSeen.size >= mostPrepared) this.#timesSeen.clear();
      this.#timesSeen.set(text, times);
      return undefined;
    }
    this.#timesSeen.delete(text);
    const given = `s${this.#names.size}`;
    this.#names.set(text, given);
    return given;
  }
}

/** The pool as Kysely takes it, with statements that come again prepared. */
export function preparing(pool: pg.Pool): PostgresPool {
  const names = new StatementNames();
  // Kysely knows a connection by its client.
  const clients = new WeakMap<pg.PoolClient, PreparingClient>();
  return {
    connect: async () => {
      const client = await pool.connect();
      const known = clients.get(client) ?? new PreparingClient(client, names);
      clients.set(client, known);
      return known;
    },
    end: async () => pool.end(),
  };
}

/** PostgreSQL answers the commit of a transaction in which a statement failed with a rollback, and calls that success. */
async function refuseRollback(answer: Promise<pg.QueryResult>): Promise<pg.QueryResult> {
  const result = await answer;
  if (result.command === "ROLLBACK")
    throw new Error("The transaction was rolled back: one of its statements had failed.");
  return result;
}

class PreparingClient implements PostgresPoolClient {
  readonly #client: pg.PoolClient;
  readonly #names: StatementNames;
  #isGathering = false;

  constructor(client: pg.PoolClient, names: StatementNames) {
    this.#client = client;
    this.#names = names;
  }

  query<R>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>>;
  query<R>(cursor: PostgresCursor<R>): PostgresCursor<R>;
  query(text: unknown, parameters: readonly unknown[] = []): unknown {
    if (typeof text !== "string")
      throw new Error("Cursors are not used: they cannot share a connection's round trips.");
    // Without parameters it may be several statements, which cannot be prepared.
    const name = parameters.length === 0 ? undefined : this.#names.nameOf(text);
    this.#gather();
    const answer = this.#client.query({ ...(name === undefined ? {} : { name }), text, values: [...parameters] });
    return text === "commit" ? refuseRollback(answer) : answer;
  }

  /** What is sent before anybody waits goes out in one write: each wakes PostgreSQL, and costs as much as a small statement. */
  #gather(): void {
    const stream = streamOf(this.#client);
    if (this.#isGathering || stream === null) return;
    this.#isGathering = true;
    stream.cork();
    process.nextTick(() => {
      this.#isGathering = false;
      stream.uncork();
    });
  }

  release(): void {
    this.#client.release();
  }
}
