import { accessSync, constants } from "node:fs";
import path from "node:path";
import { Redis } from "ioredis";
import { freePort } from "../../src/db/embedded-postgres-server.ts";
import { startProcess, type TestProcess } from "./process.ts";

export type QueueBackend =
  | { readonly name: "postgres"; createRedisUrl(): Promise<undefined> }
  | { readonly name: "redis"; createRedisUrl(): Promise<string> };

/**
 * The backends to run a suite on: `describe.each(queueBackends())("on $name", (backend) => …)`. Redis is missing from the
 * list where there is none; the reporter says so at the end of the run.
 */
export function queueBackends(): QueueBackend[] {
  const postgres: QueueBackend = { name: "postgres", createRedisUrl: async () => undefined };
  return process.env.HANDOFF_TEST_REDIS_URL ? [postgres, { name: "redis", createRedisUrl }] : [postgres];
}

/** The address of an empty database of the run's Redis that no other test file of this run uses. */
async function createRedisUrl(): Promise<string> {
  const url = new URL(process.env.HANDOFF_TEST_REDIS_URL ?? "");
  const redis = new Redis(url.href);
  try {
    const [, databases] = await redis.config("GET", "databases");
    const used = await redis.incr("handoff-test:databases");
    const number = 1 + (used % (Number(databases) - 1));
    await redis.select(number);
    await redis.flushdb();
    url.pathname = `/${number}`;
    return url.href;
  } finally {
    redis.disconnect();
  }
}

export interface RedisServer {
  readonly url: string;
  readonly process: TestProcess;
}

export function findRedisServer(): string | null {
  for (const folder of (process.env.PATH ?? "").split(path.delimiter)) {
    const file = path.join(folder, "redis-server");
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not in this folder.
    }
  }
  return null;
}

/** Starts a Redis of its own on `folder`; `appendOnly` keeps its data there over a restart on the same port. */
export async function startRedisServer(
  folder: string,
  options: { port?: number; appendOnly?: boolean } = {},
): Promise<RedisServer> {
  const program = findRedisServer();
  if (!program) {
    throw new Error("No redis-server in PATH.");
  }
  for (;;) {
    const port = options.port ?? (await freePort());
    const settings = {
      bind: "127.0.0.1",
      port: String(port),
      dir: folder,
      save: "",
      appendonly: options.appendOnly ? "yes" : "no",
      "maxmemory-policy": "noeviction",
      databases: "4096",
    };
    const words = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
    const server = startProcess(program, words);
    try {
      await server.waitFor(/Ready to accept connections/);
      return { url: `redis://127.0.0.1:${port}`, process: server };
    } catch (error) {
      // Somebody else was given the port that was free a moment ago.
      if (options.port !== undefined || !/Address already in use/.test(server.output())) throw error;
    }
  }
}
