import { CamelCasePlugin, Kysely, PostgresDialect, sql } from "kysely";
import pg from "pg";
import { breakSilentConnections, usualPatience } from "./silent-connections.ts";
import type { Tables } from "./tables.ts";

/**
 * Access to PostgreSQL. Everything an organisation owns is read and written inside `inOrganisation`; outside of it
 * row-level security shows no row at all.
 */
export type Database = Kysely<Tables>;

/** bigint columns are money and counts within 2^53; a value beyond is our own fault and must not be rounded silently. */
function parseBigint(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value))
    throw new Error(`A bigint column holds ${text}, beyond what can be counted exactly.`);
  return value;
}

const types = new pg.TypeOverrides();
types.setTypeParser(pg.types.builtins.INT8, parseBigint);
types.setTypeParser(pg.types.builtins.NUMERIC, parseBigint);

/**
 * `application` is the role that row-level security binds; it is taken on at connection, so that it costs no statement
 * and no code path can forget it. `owner` is for migrations and for making organisations, `queue` for BullMQ's own tables.
 */
export type Role = "application" | "owner" | "queue";

/**
 * What PostgreSQL is told about sessions whose client has gone without a word: one that left a transaction open lets go of what it
 * locked after 5 s, and ends; any other ends after 30 s, so that they do not use up its connections. Ours are closed when idle for
 * 10 s, and listeners say something every 15 s.
 */
const forsaken = "-c idle_in_transaction_session_timeout=5s -c idle_session_timeout=30s";

const optionsOf = {
  application: `-c role=handoff_app ${forsaken}`,
  owner: "",
  queue: `-c search_path=bullmq ${forsaken}`,
};

export function createPool(databaseUrl: string, role: Role, size: number): pg.Pool {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: size,
    types,
    keepAlive: true,
    connectionTimeoutMillis: 5_000,
    options: optionsOf[role],
    ...(role === "application" ? { verify: requireRole } : {}),
  });
  // A connection that breaks is replaced by the pool; without listeners it would end the process, idle or in use.
  pool.on("error", () => undefined);
  pool.on("connect", (client) => client.on("error", () => undefined));
  // Migrations take as long as they take.
  if (role !== "owner") breakSilentConnections(pool, databaseUrl, usualPatience);
  return pool;
}

/** A pooler in between may drop the connection's options, and the owner of the tables is bound by no policy. */
function requireRole(client: pg.ClientBase, done: (error?: Error) => void): void {
  client
    .query<{ role: string }>("select current_user as role")
    .then(
      ({ rows }) =>
        rows[0]?.role === "handoff_app"
          ? done()
          : done(
              new Error("The connection did not take on the role handoff_app: let the pooler pass startup options."),
            ),
      done,
    );
}

export function openDatabase(pool: pg.Pool): Database {
  return new Kysely<Tables>({
    dialect: new PostgresDialect({ pool }),
    plugins: [new CamelCasePlugin({ maintainNestedObjectKeys: true })],
  });
}

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Runs `work` in one transaction that sees and writes one organisation's rows only. Commits when `work` resolves,
 * rolls back when it throws. The organisation travels in the same round trip as `begin`.
 */
export async function inOrganisation<T>(
  database: Database,
  organisationId: string,
  work: (transaction: Database) => Promise<T>,
): Promise<T> {
  if (!uuidPattern.test(organisationId)) throw new Error(`Not an organisation id: ${organisationId}`);
  return database.connection().execute(async (connection) => {
    await sql.raw(`begin; set local handoff.organisation_id = '${organisationId}'`).execute(connection);
    try {
      const result = await work(connection);
      await sql.raw("commit").execute(connection);
      return result;
    } catch (error) {
      await sql
        .raw("rollback")
        .execute(connection)
        .catch(() => undefined);
      throw error;
    }
  });
}
