import { randomBytes } from "node:crypto";
import pg from "pg";

/** Migrated once for the whole run; every test database is a copy of it. */
export const templateDatabase = "handoff_template";

export interface TestDatabase {
  /** The superuser, who owns the database: row-level security binds only who takes on the application's role. */
  readonly databaseUrl: string;
  /** Ends whatever is still connected. */
  drop(): Promise<void>;
}

/** A migrated, empty database of its own on the run's PostgreSQL. Drop it when the test file ends. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString("hex")}`;
  await administer(`create database ${name} template ${templateDatabase}`);
  return {
    databaseUrl: databaseUrlOf(name),
    drop: () => administer(`drop database if exists ${name} with (force)`),
  };
}

export async function administer(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrlOf("postgres") });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

/** The address of another database on the run's PostgreSQL. */
export function databaseUrlOf(name: string): string {
  const server = process.env.HANDOFF_TEST_DATABASE_URL;
  if (!server) {
    throw new Error(
      "HANDOFF_TEST_DATABASE_URL is not set: run the tests through jest, whose global setup starts PostgreSQL.",
    );
  }
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}
