import { CamelCasePlugin, CompiledQuery, type DatabaseConnection, Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { preparing } from "./prepared-statements.ts";
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

/**
 * A prepared statement keeps its plan, and one that was made for a young table is bad for a grown one until PostgreSQL has
 * looked at it again (autovacuum, once a minute). With a new connection every statement is planned anew.
 */
const lifetimeSeconds = 60;

const optionsOf = {
  application: `-c role=handoff_app ${forsaken}`,
  owner: "",
  // A job is a hint: one that a crash of PostgreSQL loses is found by the sweep. So none waits for the disk.
  queue: `-c search_path=bullmq -c synchronous_commit=off ${forsaken}`,
};

export function createPool(databaseUrl: string, role: Role, size: number): pg.Pool {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: size,
    types,
    keepAlive: true,
    connectionTimeoutMillis: 5_000,
    ...(role === "queue" ? {} : { pipeline: true, maxLifetimeSeconds: lifetimeSeconds }),
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

const plugins = [new CamelCasePlugin({ maintainNestedObjectKeys: true })];

export function openDatabase(pool: pg.Pool): Database {
  return new Kysely<Tables>({ dialect: new PostgresDialect({ pool: preparing(pool) }), plugins });
}

/**
 * A hash or merge join reads one side from end to end. That looks cheap while a table is young or few rows are in a state, and the
 * plan is kept when it no longer is.
 */
const onePlan = [
  "set local plan_cache_mode = force_generic_plan",
  "set local enable_hashjoin = off",
  "set local enable_mergejoin = off",
];

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Sends the transaction's last statement, and `commit` right behind it; resolves once both are done. */
export type Last = <T>(statement: () => Promise<T>) => Promise<T>;

/**
 * Runs `work` in one transaction that sees and writes one organisation's rows only. Commits when `work` resolves, rolls
 * back when it throws.
 *
 * Statements that are started together share a round trip; they run in the order in which they were started. So does
 * `begin` with the first, and, where `work` says which is the last, `commit` with that.
 *
 * With `soon` the commit does not wait for the disk: for what may be lost when PostgreSQL crashes within the second. With
 * `keepsPlans` statements that come again are planned once for each connection, and not for each set of rows that they are given: for
 * a few rows that are looked up by what they are named by, as on a lead's way.
 */
export async function inOrganisation<T>(
  database: Database,
  organisationId: string,
  work: (transaction: Database, last: Last) => Promise<T>,
  { soon = false, keepsPlans = false }: { readonly soon?: boolean; readonly keepsPlans?: boolean } = {},
): Promise<T> {
  const settings = [
    bindTo("organisation", organisationId),
    ...(soon ? ["set local synchronous_commit = off"] : []),
    ...(keepsPlans ? onePlan : []),
  ];
  return inTransaction(database, ["begin", ...settings].join("; "), work);
}

/**
 * The same for what one partner's own people are shown: it reads only, under a role that sees this partner's rows alone, and of
 * them the columns that are a partner's business (src/db/migrations/0015-portal.sql).
 */
export async function inPartner<T>(
  database: Database,
  { organisationId, partnerId }: { readonly organisationId: string; readonly partnerId: string },
  work: (transaction: Database) => Promise<T>,
): Promise<T> {
  const bound = `${bindTo("organisation", organisationId)}; ${bindTo("partner", partnerId)}`;
  return inTransaction(database, `begin read only; set local role handoff_portal; ${bound}`, work);
}

function bindTo(what: "organisation" | "partner", id: string): string {
  if (!uuidPattern.test(id)) throw new Error(`Not the id of a ${what}: ${id}`);
  return `set local handoff.${what}_id = '${id}'`;
}

async function inTransaction<T>(
  database: Database,
  begin: string,
  work: (transaction: Database, last: Last) => Promise<T>,
): Promise<T> {
  return database.getExecutor().provideConnection(async (connection) => {
    const transaction = new Transaction(database, connection, begin);
    try {
      const result = await work(transaction.database, (statement) => transaction.last(statement));
      await transaction.commit();
      return result;
    } catch (error) {
      await transaction.rollback();
      throw error;
    }
  });
}

/** What a Kysely of one connection needs and never uses: it is given its connection. */
const lent = new PostgresDialect({
  pool: async () => {
    throw new Error("A transaction has the one connection that it was given.");
  },
});
const lentParts = { config: { dialect: lent }, dialect: lent, driver: lent.createDriver() };

class Transaction {
  readonly database: Database;
  readonly #connection: DatabaseConnection;
  readonly #begun: Promise<unknown>;
  #ended: Promise<unknown> | null = null;
  #statements = 0;

  constructor(database: Database, connection: DatabaseConnection, begin: string) {
    this.#connection = connection;
    this.#begun = this.#send(begin);
    // Unlike Kysely's own provider this one lets statements go out before the earlier ones have been answered.
    const executor = database.getExecutor().withConnectionProvider({
      provideConnection: async (consumer) => {
        if (this.#ended !== null) throw new Error("A statement came after the end of its transaction.");
        this.#statements += 1;
        return consumer(connection);
      },
    });
    this.database = new Kysely<Tables>({ ...lentParts, executor });
  }

  async last<T>(statement: () => Promise<T>): Promise<T> {
    const before = this.#statements;
    const answer = statement();
    if (this.#statements !== before + 1) {
      await answer.catch(() => undefined);
      throw new Error("The last of a transaction is one statement, started at once.");
    }
    const committed = this.commit();
    // A statement that failed makes the commit a rollback: its own error says more.
    committed.catch(() => undefined);
    const result = await answer;
    await committed;
    return result;
  }

  async commit(): Promise<void> {
    this.#ended ??= this.#send("commit");
    await Promise.all([this.#begun, this.#ended]);
  }

  async rollback(): Promise<void> {
    // From here on a statement that another branch of the work still starts is refused.
    this.#ended ??= this.#send("rollback");
    await Promise.allSettled([this.#begun, this.#ended]);
  }

  #send(text: string): Promise<unknown> {
    const sent = this.#connection.executeQuery(CompiledQuery.raw(text));
    // Whoever waits for it hears of its failure; nobody has to.
    sent.catch(() => undefined);
    return sent;
  }
}
