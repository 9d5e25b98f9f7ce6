import { setTimeout } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { Redis } from "ioredis";
import pg from "pg";
import { z } from "zod";
import { openQueueBackend, type QueueBackend } from "../../queues/connection.ts";
import { createWaker, type JobDefinition, type Waker } from "../../queues/waker.ts";
import { createPool } from "../../src/db/database.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { queueBackends } from "../helpers/redis.ts";
import { until } from "../helpers/until.ts";

/** Real queues on both backends; jobs do nothing but note that they ran. */

const job: JobDefinition<{ id: string }> = {
  name: "test-job",
  payload: z.object({ id: z.string() }),
  key: (payload) => payload.id,
};

describe.each(queueBackends())("wake-ups on $name", (backend) => {
  let testDatabase: TestDatabase;
  let redisUrl: string | undefined;
  let opened: QueueBackend[] = [];

  beforeAll(async () => {
    testDatabase = await createTestDatabase();
    redisUrl = await backend.createRedisUrl();
  });
  afterEach(async () => {
    await Promise.all(opened.map(async (queues) => queues.close(100)));
    opened = [];
  });
  afterAll(async () => testDatabase.drop());

  function open(prefix: string): { queues: QueueBackend; waker: Waker; errors: Error[] } {
    const errors: Error[] = [];
    const onError = (error: Error) => void errors.push(error);
    const queues = openQueueBackend({
      redisUrl,
      prefix,
      createPool: (size) => createPool(testDatabase.databaseUrl, "queue", size),
      onError,
    });
    opened.push(queues);
    return { queues, waker: createWaker(queues, onError), errors };
  }

  test("a wake-up that arrives during the run for the same thing is followed by another run", async () => {
    const { queues, waker } = open("during");
    let letEnd = () => {};
    const mayEnd = new Promise<void>((resolve) => {
      letEnd = resolve;
    });
    let runs = 0;
    queues.openWorker(job.name, 5, async () => {
      runs += 1;
      if (runs === 1) await mayEnd;
    });
    waker.wake(job, { id: "one" });
    await until(() => runs === 1);
    waker.wake(job, { id: "one" });
    waker.wake(job, { id: "one" });
    await waker.settled();
    expect(runs).toBe(1);
    letEnd();
    await until(() => runs === 2);
  });

  describe("work that the process does itself", () => {
    function openHere(prefix: string, places: number) {
      const { queues, waker } = open(prefix);
      const [here, byQueue] = [[] as string[], [] as string[]];
      const stopping = new AbortController();
      let letEnd = () => {};
      const mayEnd = new Promise<void>((resolve) => {
        letEnd = resolve;
      });
      waker.doHere(job, places, stopping.signal, async (payload) => {
        const { id } = job.payload.parse(payload);
        here.push(id);
        if (id === "failing") throw new Error("It cannot be done here.");
        if (id === "long") await mayEnd;
      });
      queues.openWorker(job.name, 5, async (data) => void byQueue.push(job.payload.parse(data).id));
      return { waker, here, byQueue, stopping, letEnd };
    }

    test("is begun at once, past the queue, and what comes meanwhile is done after it", async () => {
      const { waker, here, byQueue, letEnd } = openHere("here", 2);
      waker.wake(job, { id: "long" });
      expect(here).toEqual(["long"]);
      waker.wake(job, { id: "long" });
      waker.wake(job, { id: "long" });
      letEnd();
      await waker.settled();
      expect(here).toEqual(["long", "long"]);
      expect(byQueue).toEqual([]);
    });

    test("goes to the queue where no place is free, where it fails, and once the process is to stop", async () => {
      const { waker, here, byQueue, stopping, letEnd } = openHere("elsewhere", 1);
      waker.wake(job, { id: "long" });
      waker.wake(job, { id: "second" });
      await until(() => byQueue.includes("second"));
      letEnd();
      await waker.settled();
      waker.wake(job, { id: "failing" });
      await until(() => byQueue.includes("failing"));
      stopping.abort();
      waker.wake(job, { id: "late" });
      await until(() => byQueue.includes("late"));
      expect(here).toEqual(["long", "failing"]);
    });

    test("is left to the queue after a wake-up that came while the process began to stop", async () => {
      const { waker, here, byQueue, stopping, letEnd } = openHere("stopping", 1);
      waker.wake(job, { id: "long" });
      waker.wake(job, { id: "long" });
      stopping.abort();
      letEnd();
      await until(() => byQueue.includes("long"));
      expect(here).toEqual(["long"]);
    });
  });

  describe("a process that stands by for work", () => {
    /** One that does work and offers itself, one that gives wake-ups, and one that takes what is in the queue. */
    function openThree(prefix: string) {
      const [standing, giving, queued] = [open(prefix), open(prefix), open(prefix)];
      const [here, byQueue] = [[] as string[], [] as string[]];
      const stopping = new AbortController();
      let letEnd = () => {};
      const mayEnd = new Promise<void>((resolve) => {
        letEnd = resolve;
      });
      standing.waker.doHere(job, 1, stopping.signal, async (payload) => {
        const { id } = job.payload.parse(payload);
        here.push(id);
        if (id === "long") await mayEnd;
      });
      queued.queues.openWorker(job.name, 5, async (data) => void byQueue.push(job.payload.parse(data).id));
      giving.waker.followStandBys();
      const give = async (id: string) => {
        giving.waker.wake(job, { id });
        await giving.waker.settled();
      };
      /** Offers to do work of this id until that is known; before, the queue had it. */
      const offer = async (id: string) => {
        await until(async () => {
          standing.waker.standBy(job, { id });
          await give(id);
          return here.includes(id);
        });
      };
      return { standing, give, offer, here, byQueue, stopping, letEnd };
    }

    test("is given it directly, and none of it goes by the queue", async () => {
      const { give, offer, here, byQueue } = openThree("direct");
      await offer("one");
      await give("another");
      await until(() => byQueue.includes("another"));
      await settle(here);
      const [done, queued] = [here.length, byQueue.length];
      for (let wakes = 1; wakes <= 20; wakes += 1) {
        await give("one");
        await until(() => here.length >= done + wakes);
      }
      expect(byQueue.length).toBe(queued);
    });

    test("shares it with others that stand by", async () => {
      const { give, offer, here } = openThree("sharing");
      const other = open("sharing");
      const there: string[] = [];
      other.waker.doHere(job, 1, new AbortController().signal, async (payload) => {
        there.push(job.payload.parse(payload).id);
      });
      await offer("one");
      await until(async () => {
        other.waker.standBy(job, { id: "one" });
        await give("one");
        return there.length > 0;
      });
      await settle(here);
      const before = [here.length, there.length];
      for (let wakes = 1; wakes <= 20; wakes += 1) {
        await give("one");
        await until(() => here.length + there.length >= (before[0] ?? 0) + (before[1] ?? 0) + wakes);
      }
      expect([here.length, there.length]).toEqual(before.map((count) => count + 10));
    });

    test("leaves it to the queue where it has no place free", async () => {
      const { give, offer, byQueue, letEnd } = openThree("full");
      await offer("one");
      await offer("long");
      await settle(byQueue);
      const before = byQueue.filter((id) => id === "one").length;
      await give("one");
      await until(() => byQueue.filter((id) => id === "one").length > before);
      letEnd();
    });

    test("says when it stops, and the queue has it again", async () => {
      const { give, offer, here, byQueue, stopping } = openThree("leaving");
      await offer("one");
      await settle(here);
      stopping.abort();
      const [done, before] = [here.length, byQueue.length];
      await give("one");
      await until(() => byQueue.length > before);
      expect(here.length).toBe(done);
    });

    test("is believed to be there for some seconds, and no longer, when it dies", async () => {
      const { standing, give, offer, byQueue } = openThree("dying");
      await offer("one");
      await standing.queues.close(100);
      const before = byQueue.length;
      await until(async () => {
        await give("one");
        return byQueue.length > before;
      }, 15_000);
    });

    test("hears again after its connection broke, and does not mind what others say", async () => {
      const { standing, give, offer, here, byQueue } = openThree("broken");
      for (const nonsense of ["", "{", '{"by":1}', "null"]) await standing.queues.say("stand-bys", nonsense);
      await offer("one");
      await breakListeners();
      // What is given while nobody hears is found by the sweep, in the product.
      const done = here.length;
      await until(async () => {
        standing.waker.standBy(job, { id: "one" });
        await give("one");
        return here.length > done;
      }, 15_000);
      await settle(here);
      const queued = byQueue.length;
      await give("one");
      await until(() => here.length > done + 1);
      expect(byQueue.length).toBe(queued);
    });
  });

  /** What was given before has come when nothing has for a while. */
  async function settle(done: readonly string[]): Promise<void> {
    for (let before = -1; before !== done.length; await setTimeout(200)) before = done.length;
  }

  async function breakListeners(): Promise<void> {
    if (redisUrl !== undefined) {
      const redis = new Redis(redisUrl);
      await redis.call("CLIENT", "KILL", "TYPE", "pubsub");
      redis.disconnect();
      return;
    }
    const admin = new pg.Client({ connectionString: testDatabase.databaseUrl });
    await admin.connect();
    const { rowCount } = await admin.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query like 'listen \"handoff-%'",
    );
    await admin.end();
    expect(rowCount).toBeGreaterThan(0);
  }

  test("a burst of wake-ups for one thing costs a few jobs, and things do not wait for each other", async () => {
    const { queues, waker } = open("burst");
    const runs = new Map<string, number>();
    queues.openWorker(job.name, 5, async (data) => {
      const { id } = job.payload.parse(data);
      runs.set(id, (runs.get(id) ?? 0) + 1);
    });
    for (let wakes = 0; wakes < 300; wakes += 1) waker.wake(job, { id: `thing${wakes % 3}` });
    await waker.settled();
    await until(() => runs.size === 3);
    expect([...runs.values()].every((count) => count <= 3)).toBe(true);
  });

  test("work that is overdue is woken although a deduplication key was left behind", async () => {
    const stuck = open("stuck");
    // A job under way that does not end: its key stands.
    let runs = 0;
    let letEnd = () => {};
    const mayEnd = new Promise<void>((resolve) => {
      letEnd = resolve;
    });
    stuck.queues.openWorker(job.name, 1, async () => {
      runs += 1;
      await mayEnd;
    });
    stuck.waker.wake(job, { id: "one" });
    await until(() => runs === 1);
    const other = open("stuck");
    let otherRuns = 0;
    other.queues.openWorker(job.name, 1, async () => {
      otherRuns += 1;
    });
    other.waker.wake(job, { id: "one" }, "overdue");
    await until(() => otherRuns === 1);
    letEnd();
  });

  if (backend.name === "redis") {
    test("workers take jobs again after Redis lost everything it had", async () => {
      const { queues, waker } = open("emptied");
      let runs = 0;
      queues.openWorker(job.name, 5, async () => {
        runs += 1;
      });
      waker.wake(job, { id: "one" });
      await until(() => runs === 1);
      const redis = new Redis(redisUrl ?? "");
      await redis.flushdb();
      redis.disconnect();
      waker.wake(job, { id: "one" });
      await until(() => runs === 2, 15_000);
    });
  }

  test("a queue that cannot be reached is reported and holds nobody up", async () => {
    const errors: Error[] = [];
    const queues = openQueueBackend({
      redisUrl: redisUrl === undefined ? undefined : "redis://127.0.0.1:1",
      prefix: "unreachable",
      createPool: (size) => createPool("postgres://nobody@127.0.0.1:1/nowhere", "queue", size),
      onError: (error) => void errors.push(error),
    });
    opened.push(queues);
    const waker = createWaker(queues, (error) => void errors.push(error));
    waker.wake(job, { id: "one" });
    await until(() => errors.length > 0, 10_000);
  });
});
