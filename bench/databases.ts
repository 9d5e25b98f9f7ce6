import pg from "pg";

/** A database of the bench's PostgreSQL for one system. */
export interface BenchDatabase {
  readonly name: string;
  readonly url: string;
  /** As superuser, on one connection. */
  readonly admin: pg.Pool;
  drop(): Promise<void>;
}

let databases = 0;

export async function createDatabase(serverUrl: string): Promise<BenchDatabase> {
  databases += 1;
  const name = `bench_${databases}`;
  await runOnce(serverUrl, `create database ${name}`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  // Its one connection may still be closing when its database is dropped.
  const admin = new pg.Pool({ connectionString: url.href, max: 1 }).on("error", () => undefined);
  const drop = async () => {
    await admin.end();
    await runOnce(serverUrl, `drop database ${name} with (force)`);
  };
  return { name, url: url.href, admin, drop };
}

async function runOnce(serverUrl: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: serverUrl });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
