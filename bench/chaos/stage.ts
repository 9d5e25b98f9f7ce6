import { spawnSync } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/db/embedded-postgres.ts";
import { freePort } from "../../src/db/embedded-postgres-server.ts";
import { startProcess, startTypeScript, type TestProcess } from "../../test/helpers/process.ts";
import { reapProcess, releaseProcess } from "../../test/helpers/reaper.ts";
import { type RedisServer, startRedisServer } from "../../test/helpers/redis.ts";
import { planPartners } from "./configuration.ts";
import { type HalfOpenProxy, openHalfOpenProxy } from "./half-open-proxy.ts";

/** All that runs during a trial. Everything goes through proxies: the processes know no other way to PostgreSQL and Redis. */
export interface Stage {
  readonly backend: Backend;
  readonly postgres: EmbeddedPostgres;
  readonly postgresPath: HalfOpenProxy;
  readonly redisPath: HalfOpenProxy | null;
  readonly receiverPort: number;
  readonly recordFile: string;
  readonly messagesFile: string;
  readonly apiKey: string;
  /** The addresses of the two APIs; they keep their ports when they are killed and started again. */
  readonly apis: readonly string[];
  /** What a full disk is here. */
  readonly fullDisk: string;
  setDiskFull(isFull: boolean): Promise<void>;
  readonly log: (text: string) => void;
  /** Kills with -9; another is started at once by whoever watches over it, here the trial. */
  killWorker(index: number): Promise<void>;
  killApi(index: number, downMs: number): Promise<void>;
  /** Ends with -9, stays away for so long, and comes back with nothing in it. */
  emptyRedis(downMs: number): Promise<void>;
  setMessages(running: boolean): Promise<void>;
  /** What the processes wrote so far. */
  output(): string;
  stop(): Promise<void>;
}

export type Backend = "postgres" | "redis";
export const workerCount = 4;

/** The disk that the workers' temporary folder is on. */
interface TemporaryFolder {
  readonly path: string;
  readonly how: string;
  /** What a worker's command line begins with. */
  readonly command: readonly string[];
  fill(pids: readonly number[]): Promise<void>;
  empty(pids: readonly number[]): Promise<void>;
}

const sleep = async (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export async function openStage(
  backend: Backend,
  folder: string,
  seed: number,
  log: (text: string) => void,
): Promise<Stage> {
  const opened: (() => Promise<unknown>)[] = [];
  const stop = async () => {
    for (const close of opened.splice(0).reverse()) await close();
  };
  try {
    return await open(backend, folder, seed, log, opened, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function open(
  backend: Backend,
  folder: string,
  seed: number,
  log: (text: string) => void,
  opened: (() => Promise<unknown>)[],
  stop: () => Promise<void>,
): Promise<Stage> {
  const postgres = await startEmbeddedPostgres({ dataDirectory: folder, log });
  opened.push(async () => postgres.stop());
  let reapedPid = postgres.pid;
  reapProcess(reapedPid, "SIGINT");
  const watch = setInterval(() => {
    if (postgres.pid === reapedPid) return;
    releaseProcess(reapedPid);
    reapedPid = postgres.pid;
    reapProcess(reapedPid, "SIGINT");
  }, 250);
  opened.push(async () => {
    clearInterval(watch);
    releaseProcess(reapedPid);
  });
  const postgresPath = await openHalfOpenProxy(postgres.port);
  opened.push(postgresPath.close);
  const throughProxy = new URL(postgres.databaseUrl);
  throughProxy.port = String(postgresPath.port);

  let redis: RedisServer | null = null;
  let redisPath: HalfOpenProxy | null = null;
  const redisPort = await freePort();
  if (backend === "redis") {
    redis = await startRedisServer(folder, { port: redisPort, appendOnly: false });
    opened.push(async () => redis?.process.end("SIGKILL"));
    redisPath = await openHalfOpenProxy(redisPort);
    opened.push(redisPath.close);
  }

  const temporaryFolder = await openTemporaryFolder(path.join(folder, "worker-tmp"));

  const recordFile = path.join(folder, "receiver.jsonl");
  const messagesFile = path.join(folder, "messages.jsonl");
  await writeFile(recordFile, "");
  await writeFile(messagesFile, "");
  const mixes = Object.fromEntries(planPartners(1, 0).map(({ name, mix }) => [name, mix]));
  const receiver = startTypeScript("bench/chaos/receiver.ts", [recordFile, String(seed), JSON.stringify(mixes)]);
  opened.push(async () => receiver.end("SIGKILL"));
  const [, ready = "{}"] = await receiver.waitFor(/^ready (.*)$/m);
  const { port: receiverPort } = z.object({ port: z.int(), forbiddenPort: z.int() }).parse(JSON.parse(ready));

  const smtpPort = await freePort();
  const smsPort = await freePort();
  let messages: TestProcess | null = null;
  const setMessages = async (running: boolean) => {
    if (!running) {
      await messages?.end("SIGKILL");
      messages = null;
    } else if (messages === null) {
      messages = startTypeScript("bench/chaos/messages.ts", [messagesFile, String(smtpPort), String(smsPort)]);
      await messages.waitFor(/^ready$/m);
    }
  };
  await setMessages(true);
  opened.push(async () => setMessages(false));

  const apiKey = `chaos_${"k".repeat(32)}`;
  const environment: Record<string, string> = {
    DATABASE_URL: throughProxy.href,
    REDIS_URL: redisPath === null ? "" : `redis://127.0.0.1:${redisPath.port}`,
    HANDOFF_SECRET: "the chaos trial's own secret, 32 characters or more",
    HANDOFF_API_KEY: apiKey,
    HANDOFF_ALLOW_HOSTS: `127.0.0.1:${receiverPort},127.0.0.1:${smtpPort},127.0.0.1:${smsPort}`,
    HOST: "127.0.0.1",
    DATA_DIR: folder,
    INTAKE_RATE_PER_MINUTE: "0",
    DATABASE_POOL_SIZE: "10",
    LOG_LEVEL: "warn",
    SMTP_HOST: "127.0.0.1",
    SMTP_PORT: String(smtpPort),
    SMTP_FROM: "Handoff <handoff@chaos.test>",
    TWILIO_ACCOUNT_SID: `AC${"0".repeat(32)}`,
    TWILIO_AUTH_TOKEN: "token",
    TWILIO_FROM: "+447700900000",
    TWILIO_BASE_URL: `http://127.0.0.1:${smsPort}`,
  };
  const processes: TestProcess[] = [];
  const handoff = (command: string, extra: Record<string, string> = {}, before: readonly string[] = []) => {
    const [program = "", ...words] = [...before, process.execPath, "dist/src/cli.js", command];
    const started = startProcess(program, words, { env: { ...environment, ...extra } });
    processes.push(started);
    return started;
  };
  const migrated = handoff("migrate");
  if ((await migrated.ended) !== 0) throw new Error(`handoff migrate failed:\n${migrated.output()}`);

  const apiPorts = [await freePort(), await freePort()];
  const startApi = (port: number) => handoff("api", { PORT: String(port) });
  const startWorker = () => handoff("worker", { TMPDIR: temporaryFolder.path }, temporaryFolder.command);
  const running = {
    apis: apiPorts.map(startApi),
    workers: Array.from({ length: workerCount }, startWorker),
  };
  let isStopping = false;
  opened.push(async () => {
    isStopping = true;
    await Promise.all([...running.apis, ...running.workers].map(async (one) => one.end("SIGKILL")));
  });
  await Promise.all(running.apis.map(async (api) => api.waitFor(/is ready/)));
  await Promise.all(running.workers.map(async (worker) => worker.waitFor(/is ready/)));

  return {
    backend,
    postgres,
    postgresPath,
    redisPath,
    receiverPort,
    recordFile,
    messagesFile,
    apiKey,
    apis: apiPorts.map((port) => `http://127.0.0.1:${port}`),
    fullDisk: temporaryFolder.how,
    async setDiskFull(isFull) {
      const pids = running.workers.map(({ pid }) => pid);
      await (isFull ? temporaryFolder.fill(pids) : temporaryFolder.empty(pids));
    },
    log,
    async killWorker(index) {
      await running.workers[index]?.end("SIGKILL");
      if (!isStopping) running.workers[index] = startWorker();
    },
    async killApi(index, downMs) {
      await running.apis[index]?.end("SIGKILL");
      await sleep(downMs);
      const port = apiPorts[index];
      if (!isStopping && port !== undefined) running.apis[index] = startApi(port);
    },
    async emptyRedis(downMs) {
      await redis?.process.end("SIGKILL");
      await sleep(downMs);
      if (!isStopping) redis = await startRedisServer(folder, { port: redisPort, appendOnly: false });
    },
    setMessages,
    output: () => processes.map((one) => one.output()).join("\n"),
    stop,
  };
}

/** Mounts a small disk that only the program after it sees, and that ends with it. */
const withSmallDisk = ["--mount", "sh", "-c", 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"'];

/**
 * A worker's temporary folder is a file system of 64 KiB that only that worker sees, where this user may mount one; else the
 * folder is taken away, so that every write fails, only with another error.
 */
async function openTemporaryFolder(folder: string): Promise<TemporaryFolder> {
  await mkdir(folder);
  const words = ["unshare", ...withSmallDisk, folder];
  if (spawnSync(words[0] ?? "", [...words.slice(1), "true"], { stdio: "ignore" }).status !== 0) {
    return {
      how: "taken away (this user may not mount a small disk)",
      path: folder,
      command: [],
      fill: async () => rm(folder, { recursive: true }),
      empty: async () => void (await mkdir(folder, { recursive: true })),
    };
  }
  const eachFiller = async (pids: readonly number[], bytes: number) => {
    for (const pid of pids)
      await writeFile(`/proc/${pid}/root${folder}/filler`, Buffer.alloc(bytes)).catch(() => undefined);
  };
  return {
    how: "full (a tmpfs of 64 KiB)",
    path: folder,
    command: words,
    fill: async (pids) => eachFiller(pids, 2 ** 20),
    empty: async (pids) => eachFiller(pids, 0),
  };
}
