import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { runMigrations } from "bullmq";
import { type Kysely, Migrator, sql } from "kysely";
import pg from "pg";
import { projectRoot } from "../project-root.ts";
import { createPool, openDatabase } from "./database.ts";

const folder = join(projectRoot, "src", "db", "migrations");

/** Row-level security with `nulls not distinct` constraints. */
const oldestServerVersion = 150_000;

/**
 * Brings the database up to this version: the roles of the application, Handoff's own tables, then the queue's.
 * Takes the address of a database and a user who owns it. Safe to run at every start, and from several machines at once.
 * Gives the names of the migrations that were applied.
 */
export async function migrate(databaseUrl: string): Promise<readonly string[]> {
  const pool = createPool(databaseUrl, "owner", 2);
  const database = openDatabase(pool);
  try {
    await requireServerVersion(pool);
    for (const role of ["handoff_app", "handoff_portal"]) await createRole(pool, role);
    const { error, results = [] } = await migrator(database).migrateToLatest();
    if (error !== undefined) throw error;
    const client = await pool.connect();
    try {
      await runMigrations(client);
    } finally {
      client.release();
    }
    return results.filter((result) => result.status === "Success").map((result) => result.migrationName);
  } finally {
    await database.destroy();
  }
}

/** The names of migrations that this version has and the database has not. Processes refuse to start while there are any. */
export async function pendingMigrations(databaseUrl: string): Promise<readonly string[]> {
  const database = openDatabase(createPool(databaseUrl, "owner", 1));
  try {
    const migrations = await migrator(database).getMigrations();
    return migrations.filter((migration) => migration.executedAt === undefined).map((migration) => migration.name);
  } finally {
    await database.destroy();
  }
}

function migrator(database: ReturnType<typeof openDatabase>): Migrator {
  return new Migrator({
    db: database.withoutPlugins(),
    migrationTableName: "migrations",
    migrationLockTableName: "migrations_lock",
    provider: { getMigrations: readMigrations },
  });
}

async function readMigrations() {
  const files = (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort();
  const entries = files.map(async (name) => {
    const text = await readFile(join(folder, name), "utf8");
    const up = async (database: Kysely<unknown>) => {
      await sql.raw(text).execute(database);
    };
    return [name.replace(/\.sql$/, ""), { up }] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

async function requireServerVersion(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ version: string }>("select current_setting('server_version_num') as version");
  const version = Number(rows[0]?.version);
  if (version < oldestServerVersion) {
    throw new Error(`PostgreSQL 15 or later is needed; DATABASE_URL leads to ${Math.floor(version / 10_000)}.`);
  }
}

/** Roles belong to the whole server, so another database of ours may have made it already, or be making it now. */
async function createRole(pool: pg.Pool, role: string): Promise<void> {
  const { rowCount } = await pool.query("select from pg_roles where rolname = $1", [role]);
  try {
    if (rowCount === 0) await pool.query(`create role ${role} nologin`);
    await pool.query(`grant ${role} to current_user`);
  } catch (error) {
    if (isAlreadyThere(error)) return;
    throw new Error(
      `The role ${role} could not be made or granted. As a superuser run: create role ${role} nologin; grant ${role} to <the user in DATABASE_URL>;`,
      { cause: error },
    );
  }
}

function isAlreadyThere(error: unknown): boolean {
  // duplicate_object, or the unique index on the catalogue when two make it at the same instant.
  return (
    error instanceof pg.DatabaseError && (error.code === "42710" || error.code === "23505" || error.code === "XX000")
  );
}
