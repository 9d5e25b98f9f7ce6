import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/db/embedded-postgres.ts";
import { migrate } from "../../src/db/migrate.ts";
import { administer, databaseUrlOf, templateDatabase } from "./database.ts";
import { reapNow, reapProcess, releaseProcess } from "./reaper.ts";
import { findRedisServer, startRedisServer } from "./redis.ts";
import { makeTemporaryFolder } from "./temporary-folder.ts";

/**
 * No waiting for the disk: a crash of the machine may lose the run's data. Commits stay synchronous, so a killed server
 * loses nothing, and tests may kill it.
 */
const testSettings = { fsync: "off", full_page_writes: "off", max_connections: "400" };

/** Jest calls this once: one PostgreSQL with a migrated template, and one Redis where there is one, for the whole run. */
export default async function startServers(): Promise<void> {
  const folder = await makeTemporaryFolder();
  try {
    const log = (message: string): void => void process.stderr.write(`${message}\n`);
    const postgres = await startEmbeddedPostgres({ dataDirectory: folder, settings: testSettings, log });
    reapProcess(postgres.pid, "SIGINT");
    process.env.HANDOFF_TEST_DATABASE_URL = postgres.databaseUrl;
    await createTemplate();
    await provideRedis(folder);
    Object.assign(globalThis, { stopTestServers: () => stopServers(postgres) });
  } catch (error) {
    await reapNow();
    throw error;
  }
}

async function stopServers(postgres: EmbeddedPostgres): Promise<void> {
  try {
    await postgres.stop();
    releaseProcess(postgres.pid);
  } finally {
    await reapNow();
  }
}

async function createTemplate(): Promise<void> {
  await administer(`create database ${templateDatabase}`);
  await migrate(databaseUrlOf(templateDatabase));
  await administer(`alter database ${templateDatabase} with is_template true allow_connections false`);
}

async function provideRedis(folder: string): Promise<void> {
  const given = process.env.REDIS_URL;
  if (given) {
    process.env.HANDOFF_TEST_REDIS_URL = given;
  } else if (findRedisServer()) {
    process.env.HANDOFF_TEST_REDIS_URL = (await startRedisServer(folder)).url;
  }
}
