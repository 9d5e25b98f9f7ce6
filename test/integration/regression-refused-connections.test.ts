import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test } from "@jest/globals";
import { openQueueBackend } from "../../queues/connection.ts";
import { createPool } from "../../src/db/database.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { until } from "../helpers/until.ts";

/**
 * The story: PostgreSQL restarted and was back within a second. Each worker whose connection was refused meanwhile asked for its next
 * job 15 s later, as BullMQ does when nothing is said; so no lead moved until then. `npm run chaos` measured it.
 */
const opened: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

/** A way to the database that can be shut, so that connections are refused, and opened again. */
function openDoor(databaseUrl: string) {
  const target = new URL(databaseUrl);
  const behind = { host: target.hostname, port: Number(target.port) };
  const sockets = new Set<Socket>();
  let server: Server | null = null;
  let port = 0;
  const shut = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => {
      if (server === null) resolve(null);
      else server.close(resolve);
    });
  };
  opened.push(shut);
  return {
    shut,
    async open(): Promise<string> {
      server = createServer((client) => {
        const other = connect(behind);
        for (const socket of [client, other]) {
          sockets.add(socket);
          socket.on("error", () => undefined);
        }
        client.pipe(other).pipe(client);
      });
      await new Promise<void>((resolve) => {
        server?.listen(port, "127.0.0.1", resolve);
      });
      const address = server.address();
      port = typeof address === "object" && address !== null ? address.port : 0;
      target.port = String(port);
      return target.href;
    },
  };
}

test("a worker that PostgreSQL refused asks again as soon as a second later", async () => {
  const database = await createTestDatabase();
  opened.push(database.drop);
  const door = openDoor(database.databaseUrl);
  const databaseUrl = await door.open();
  const openQueues = (url: string) => {
    const createQueuePool = (size: number) => createPool(url, "queue", size);
    const options = { redisUrl: undefined, prefix: "refused", createPool: createQueuePool, onError: () => undefined };
    const queues = openQueueBackend(options);
    opened.push(async () => queues.close(100));
    return queues;
  };
  let runs = 0;
  openQueues(databaseUrl).openWorker("test-job", 1, async () => {
    runs += 1;
  });
  const queue = openQueues(database.databaseUrl).openQueue("test-job");
  await queue.add("test-job", {}, {});
  await until(() => runs === 1);
  await door.shut();
  await queue.add("test-job", {}, {});
  // It is refused at once, and goes on to wait.
  await sleep(500);
  await door.open();
  await until(() => runs === 2, 8_000);
  expect(runs).toBe(2);
});
