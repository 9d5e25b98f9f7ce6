import { expect, test } from "@jest/globals";
import { startEmbeddedPostgres } from "../../src/db/embedded-postgres.ts";
import { migrate } from "../../src/db/migrate.ts";
import { reapProcess, releaseProcess } from "../helpers/reaper.ts";
import { findRedisServer, startRedisServer } from "../helpers/redis.ts";
import { openSeller, type Seller, useSellers } from "../helpers/seller.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";
import { until } from "../helpers/until.ts";
import { startWorkers } from "../helpers/workers.ts";

/** Servers of its own, so that they can be killed. */

const sellers = useSellers();

const settings = { fsync: "off", full_page_writes: "off" };

test("nothing is lost and nothing charged twice when PostgreSQL and Redis are killed in the middle of it and come back", async () => {
  const folder = await makeTemporaryFolder();
  const postgres = await startEmbeddedPostgres({ dataDirectory: folder, settings, log: () => undefined });
  reapProcess(postgres.pid, "SIGINT");
  await migrate(postgres.databaseUrl);
  const database = { databaseUrl: postgres.databaseUrl, drop: async () => undefined };
  let redis = findRedisServer() === null ? null : await startRedisServer(folder);
  const open = async (redisUrl: string | undefined, prefix: string) =>
    openSeller(sellers.partners, { database, redisUrl, environment: { QUEUE_PREFIX: prefix } });
  const opened = [await open(undefined, "one"), ...(redis === null ? [] : [await open(redis.url, "two")])];
  const workers = await startWorkers(1, opened);
  try {
    const begun = await Promise.all(opened.map(begin));
    for (const { buyer } of begun) await until(() => sellers.partners.requestsOf(buyer.name).length > 10, 20_000);
    process.kill(postgres.pid, "SIGKILL");
    await redis?.process.end("SIGKILL");
    if (redis !== null) redis = await startRedisServer(folder, { port: Number(new URL(redis.url).port) });
    for (const { seller, buyer, campaignId } of begun) {
      await until(async () => (await seller.leadStates(campaignId).catch(() => ({ sold: 0 }))).sold === 60, 60_000);
      expect(await seller.funds(buyer)).toMatchObject({ reserved: 0, revenue: 60_000 });
      expect(new Set(sellers.partners.requestsOf(buyer.name).map(({ body }) => body.id)).size).toBe(60);
    }
  } finally {
    await workers.stop();
    for (const seller of opened) await seller.close();
    await redis?.process.end("SIGTERM");
    releaseProcess(postgres.pid);
    await postgres.stop();
  }
}, 150_000);

async function begin(seller: Seller) {
  const buyer = await seller.partner({ concurrency: 2 });
  sellers.partners.answer(buyer.name, { delayMs: 30 });
  const campaignId = await seller.campaign([buyer]);
  await seller.leads(campaignId, 60);
  return { seller, buyer, campaignId };
}
