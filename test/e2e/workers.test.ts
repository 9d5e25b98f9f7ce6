import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { queueBackends } from "../helpers/redis.ts";
import { openSeller, type Seller, useSellers } from "../helpers/seller.ts";
import { until } from "../helpers/until.ts";
import { startWorkers, type Workers } from "../helpers/workers.ts";

/** Real worker processes, as many as an operator may run, on both queue backends. */

const sellers = useSellers();

/** HANDOFF_REPEAT=10 for ten in a row. */
const repeat = Number(process.env.HANDOFF_REPEAT ?? 1);

describe("eight worker processes", () => {
  const onBackend = new Map<string, Seller>();
  let workers: Workers;

  beforeAll(async () => {
    for (const backend of queueBackends()) {
      const redisUrl = await backend.createRedisUrl();
      onBackend.set(backend.name, await openSeller(sellers.partners, { redisUrl }));
    }
    workers = await startWorkers(8, [...onBackend.values()], { WORKER_CONCURRENCY: "20", DATABASE_POOL_SIZE: "6" });
  });
  afterAll(async () => {
    await workers.stop();
    await Promise.all([...onBackend.values()].map(async (seller) => seller.close()));
  });

  describe.each(queueBackends())("on $name", ({ name }) => {
    test.each(Array.from({ length: repeat }, (_, run) => run + 1))(
      "caps are exact: of 1,000 leads for one partner with a limit of 100, exactly 100 are delivered (run %d)",
      async () => {
        const seller = onBackend.get(name) as Seller;
        const buyer = await seller.partner({ limits: { total: 100 }, concurrency: 20 });
        const campaignId = await seller.campaign([buyer]);
        const startedAt = performance.now();
        await seller.leads(campaignId, 1_000);
        await until(async () => {
          const { received = 0, routing = 0 } = await seller.leadStates(campaignId);
          return received + routing === 0;
        }, 60_000);
        if (repeat > 1) process.stderr.write(`${name}: ${Math.round(performance.now() - startedAt)} ms\n`);
        expect(await seller.leadStates(campaignId)).toEqual({ sold: 100, unsold: 900 });
        const requests = sellers.partners.requestsOf(buyer.name);
        expect(requests).toHaveLength(100);
        expect(new Set(requests.map(({ body }) => body.id)).size).toBe(100);
        expect(await seller.usage(buyer)).toMatchObject({ totalLeads: 100, dayLeads: 100 });
        expect(await seller.funds(buyer)).toMatchObject({ funds: -100_000, reserved: 0, revenue: 100_000 });
      },
      90_000,
    );
  });
});
