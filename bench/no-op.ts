import { z } from "zod";
import { openQueueBackend } from "../queues/connection.ts";
import { createPool } from "../src/db/database.ts";

/** BullMQ alone: adds jobs that do nothing, one by one as a producer does, and works them off. Prints how many a second. */

const { DATABASE_URL, REDIS_URL, JOBS } = z
  .object({
    DATABASE_URL: z.string(),
    REDIS_URL: z.string().transform((text) => (text === "" ? undefined : text)),
    JOBS: z.coerce.number(),
  })
  .parse(process.env);

const queues = openQueueBackend({
  redisUrl: REDIS_URL,
  createPool: (size) => createPool(DATABASE_URL, "queue", size),
  prefix: "no-op",
  onError: (error) => process.stderr.write(`${error.message}\n`),
});
const queue = queues.openQueue("nothing");
const producers = 32;

let done = 0;
const startedAt = performance.now();
const finished = new Promise<void>((resolve) => {
  queues.openWorker("nothing", 50, async () => {
    done += 1;
    if (done >= JOBS) resolve();
  });
});
await Promise.all(
  Array.from({ length: producers }, async (_, first) => {
    for (let number = first; number < JOBS; number += producers) await queue.add("nothing", { number }, {});
  }),
);
await finished;
process.stdout.write(`jobs per second: ${(JOBS / ((performance.now() - startedAt) / 1000)).toFixed(1)}\n`);
process.exit();
