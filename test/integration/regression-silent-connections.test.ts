import type { AddressInfo } from "node:net";
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test } from "@jest/globals";
import pg from "pg";
import { createPool } from "../../src/db/database.ts";
import { breakSilentConnections, type Patience } from "../../src/db/silent-connections.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { until } from "../helpers/until.ts";

/**
 * The story: the route to PostgreSQL was lost for four seconds while leads flowed, and came back. Nothing had closed the
 * connections, so nobody gave them up: each worker waited for ever for answers on them, until its pool was used up and every job
 * failed with "timeout exceeded when trying to connect", hours after the route was back. On the other side, sessions whose client
 * would never speak again kept rows locked that all leads of a campaign need. `npm run chaos` found it with a half-open proxy.
 */
const opened: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

async function openDatabaseOfTest(): Promise<TestDatabase> {
  const database = await createTestDatabase();
  opened.push(database.drop);
  return database;
}

/** Passes everything on until told to be silent; then it passes nothing and closes nothing. New connections always pass. */
async function openHalfOpenPath(databaseUrl: string): Promise<{ databaseUrl: string; goSilent(): void }> {
  const target = new URL(databaseUrl);
  const { hostname } = target;
  const port = Number(target.port);
  const sockets: Socket[] = [];
  const server = createServer((client) => {
    const behind = connect(port, hostname);
    for (const socket of [client, behind]) socket.on("error", () => undefined);
    sockets.push(client, behind);
    client.pipe(behind);
    behind.pipe(client);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  opened.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  target.port = String((server.address() as AddressInfo).port);
  return {
    databaseUrl: target.href,
    goSilent() {
      for (const socket of sockets) socket.unpipe().resume();
    },
  };
}

const noPatience: Patience = { askAfterMs: 100, giveUpAfterMs: 400, lookEveryMs: 50 };

interface PoolOptions extends Partial<Patience> {
  readonly askAt?: string;
  readonly size?: number;
}

function openPool(databaseUrl: string, { askAt = databaseUrl, size = 1, ...patience }: PoolOptions = {}): pg.Pool {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: size });
  pool.on("error", () => undefined);
  pool.on("connect", (client) => client.on("error", () => undefined));
  breakSilentConnections(pool, askAt, { ...noPatience, ...patience });
  opened.push(async () => pool.end());
  return pool;
}

const never = 3_600_000;

test("a statement whose answer never comes fails as soon as PostgreSQL says that it has none to do", async () => {
  const path = await openHalfOpenPath((await openDatabaseOfTest()).databaseUrl);
  const pool = openPool(path.databaseUrl, { giveUpAfterMs: never });
  await pool.query("select 1");
  path.goSilent();
  await expect(pool.query("select 1")).rejects.toThrow("PostgreSQL has been silent");
  expect((await pool.query("select 2 as two")).rows).toEqual([{ two: 2 }]);
});

test("a statement that PostgreSQL is slow with is waited for, though nothing is heard of it", async () => {
  const pool = openPool((await openDatabaseOfTest()).databaseUrl, { giveUpAfterMs: never });
  expect((await pool.query("select 1 as one from pg_sleep(1)")).rows).toEqual([{ one: 1 }]);
});

test("where PostgreSQL cannot be asked, a statement whose answer never comes is given up", async () => {
  const path = await openHalfOpenPath((await openDatabaseOfTest()).databaseUrl);
  const pool = openPool(path.databaseUrl, { askAt: "postgres://nobody@127.0.0.1:1/nowhere" });
  await pool.query("select 1");
  path.goSilent();
  await expect(pool.query("select 1")).rejects.toThrow("PostgreSQL has been silent");
});

test("what lies idle in the pool is broken with the first that was found to lead nowhere", async () => {
  const path = await openHalfOpenPath((await openDatabaseOfTest()).databaseUrl);
  const pool = openPool(path.databaseUrl, { giveUpAfterMs: never, size: 3 });
  await Promise.all([1, 2, 3].map(async () => pool.query("select pg_sleep(0.2)")));
  expect(pool.totalCount).toBe(3);
  path.goSilent();
  await expect(pool.query("select 1")).rejects.toThrow("PostgreSQL has been silent");
  await until(() => pool.totalCount === 0);
});

test("a listener that is cut off without a word hears of it", async () => {
  const path = await openHalfOpenPath((await openDatabaseOfTest()).databaseUrl);
  const listener = await openPool(path.databaseUrl).connect();
  const ended = new Promise((resolve) => {
    listener.once("end", resolve);
  });
  await listener.query("listen something");
  path.goSilent();
  await ended;
  listener.release(true);
});

test("a listener that hears nothing for long stays connected", async () => {
  const { databaseUrl } = await openDatabaseOfTest();
  const pool = openPool(databaseUrl);
  const listener = await pool.connect();
  const heard = new Promise((resolve) => {
    listener.once("notification", resolve);
  });
  await listener.query("listen something");
  await new Promise((resolve) => {
    setTimeout(resolve, 700);
  });
  await listener.query("notify something");
  await heard;
  listener.release();
});

test("a listener that hears all the time is asked something all the same: PostgreSQL ends sessions that say nothing", async () => {
  const { databaseUrl } = await openDatabaseOfTest();
  const pool = openPool(databaseUrl, { size: 2 });
  const [listener, speaker] = [await pool.connect(), await pool.connect()];
  let isEnded = false;
  listener.once("end", () => {
    isEnded = true;
  });
  await listener.query("listen something; set idle_session_timeout = '1s'");
  for (let times = 0; times < 40; times += 1) {
    await speaker.query("notify something");
    await sleep(50);
  }
  expect(isEnded).toBe(false);
  listener.release();
  speaker.release();
});

test.each(["application", "queue"] as const)(
  "PostgreSQL ends what a client of the %s left open when it went without a word",
  async (role) => {
    const pool = createPool((await openDatabaseOfTest()).databaseUrl, role, 1);
    opened.push(async () => pool.end());
    const { rows } = await pool.query(
      "select name, setting || unit as value from pg_settings where name like 'idle%session_timeout' order by name",
    );
    expect(rows).toEqual([
      { name: "idle_in_transaction_session_timeout", value: "5000ms" },
      { name: "idle_session_timeout", value: "30000ms" },
    ]);
  },
);
