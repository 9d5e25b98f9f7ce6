import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { openQueueBackend, type QueueBackend } from "../../queues/connection.ts";
import { createPool, type Database, openDatabase } from "../../src/db/database.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { until } from "../helpers/until.ts";

/**
 * Each kind of job had a pool of connections of its own. With eight kinds a worker process came to more than 50 of them; four
 * such processes, and what a black hole had left behind, took all 200 of PostgreSQL's, and for ten minutes no lead got in.
 */

/** As docs/scaling.md says. */
const mostConnections = 23;
const kinds = 12;

let testDatabase: TestDatabase;
let database: Database;
let queues: QueueBackend;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase(createPool(testDatabase.databaseUrl, "owner", 1));
  queues = openQueueBackend({
    redisUrl: undefined,
    prefix: "connections",
    createPool: (size) => createPool(testDatabase.databaseUrl, "queue", size),
    onError: () => undefined,
  });
});
afterAll(async () => {
  await queues?.close(100);
  await database?.destroy();
  await testDatabase?.drop();
});

async function countConnections(): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*)::integer as count from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
      and application_name not like 'handoff asks%'
  `.execute(database);
  return rows[0]?.count ?? 0;
}

test("a worker process keeps to its connections, however many kinds of jobs it works on at once", async () => {
  let done = 0;
  queues.listen("anything", () => undefined);
  for (let kind = 0; kind < kinds; kind += 1) {
    queues.openWorker(`kind-${kind}`, 20, async () => {
      done += 1;
    });
  }
  const jobs = Array.from({ length: 20 * kinds }, (_, number) => queues.openQueue(`kind-${number % kinds}`));
  await Promise.all(jobs.map(async (queue, number) => queue.add("work", { number }, {})));
  let most = 0;
  await until(async () => {
    most = Math.max(most, await countConnections());
    return done === jobs.length;
  });
  expect(most).toBeGreaterThan(kinds);
  expect(most).toBeLessThanOrEqual(mostConnections);
});
