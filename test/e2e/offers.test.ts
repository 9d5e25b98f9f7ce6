import { afterEach, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { queueBackends } from "../helpers/redis.ts";
import { openSeller, useSellers } from "../helpers/seller.ts";
import { expectSoundLedger } from "../helpers/sound-ledger.ts";
import { until } from "../helpers/until.ts";
import { startWorkers } from "../helpers/workers.ts";

/** Offers with real worker processes, on both queue backends. */

const sellers = useSellers();
const opened: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});

test.each(queueBackends())(
  "on $name a worker that is killed, and its queue, lose no deadline: others end each offer once, and the next partner gets it",
  async ({ createRedisUrl }) => {
    const seller = await openSeller(sellers.partners, { redisUrl: await createRedisUrl() });
    opened.push(seller);
    const asked = await seller.partner({ acceptFirst: { deadlineHours: 1 } });
    const next = await seller.partner();
    const campaignId = await seller.campaign([asked, next]);
    const first = await startWorkers(1, [seller]);
    const leadIds = await seller.leads(campaignId, 20);
    const countOf = async (state: string) => {
      const deliveries = await Promise.all(leadIds.map(seller.deliveries));
      return deliveries.flat().filter((delivery) => delivery.state === state).length;
    };
    await until(async () => (await countOf("offered")) === 20, 30_000);
    await first.processes[0]?.end("SIGKILL");
    // An hour later, while nobody runs.
    await seller.inOrganisation(async (transaction) =>
      sql`update deliveries set due_at = now(), offer_until = now() where state = 'offered'`.execute(transaction),
    );
    const others = await startWorkers(3, [seller]);
    opened.push({ close: async () => others.stop() });
    await until(async () => (await countOf("delivered")) === 20, 45_000);
    expect(await countOf("expired")).toBe(20);
    expect(sellers.partners.requestsOf(asked.name)).toEqual([]);
    expect(sellers.partners.requestsOf(next.name)).toHaveLength(20);
    expect(await seller.funds(asked)).toMatchObject({ funds: 0, reserved: 0 });
    expect(await seller.usage(asked)).toMatchObject({ totalLeads: 0 });
    expect(others.errors()).toEqual([]);
    await expectSoundLedger(seller);
  },
  120_000,
);
