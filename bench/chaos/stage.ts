import { spawnSync } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { Redis } from "ioredis";
import { z } from "zod";
import { type PayPalCatcher, startPayPalCatcher } from "../../demo/paypal-catcher.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/db/embedded-postgres.ts";
import { startProcess, startTypeScript, type TestProcess } from "../../test/helpers/process.ts";
import { reapProcess, releaseProcess } from "../../test/helpers/reaper.ts";
import { type RedisServer, startRedisServer } from "../../test/helpers/redis.ts";
import { planPartners } from "./configuration.ts";
import { type HalfOpenProxy, openHalfOpenProxy } from "./half-open-proxy.ts";

/** All that runs during a trial. The processes know PostgreSQL, Redis, mail and SMS only through proxies. */
export interface Stage {
  readonly backend: Backend;
  readonly postgres: EmbeddedPostgres;
  readonly postgresPath: HalfOpenProxy;
  readonly redisPath: HalfOpenProxy | null;
  readonly payPal: PayPalCatcher;
  readonly receiverPort: number;
  readonly recordFile: string;
  readonly messagesFile: string;
  readonly apiKey: string;
  /** The addresses of the two APIs. One that was killed comes back at another. */
  readonly apis: readonly string[];
  /** What PayPal and other organisations know the installation by: it leads to the API that is killed. */
  readonly publicUrl: string;
  /** Makes one more organisation in the installation. */
  createOrganisation(
    name: string,
  ): Promise<{ readonly id: string; readonly apiKey: string; readonly portalCode: string }>;
  /** What a full disk is here. */
  readonly fullDisk: string;
  /** Gives how many workers cannot write to their temporary folder. */
  setDiskFull(isFull: boolean): Promise<number>;
  readonly log: (text: string) => void;
  /**
   * Kills one with -9: this, or the next that is ready, for one that only starts has nothing to lose. Another is started at once, by
   * whoever watches over it, here the trial.
   */
  killWorker(wanted: number): Promise<void>;
  killApi(index: number, downMs: number): Promise<void>;
  /** Ends with -9, stays away for so long, and comes back with nothing in it. */
  killRedis(downMs: number): Promise<void>;
  /** Empties it while it runs. Gives how many keys are lost. */
  emptyRedis(): Promise<number>;
  setMessages(running: boolean): Promise<void>;
  /** What PostgreSQL wrote so far. */
  postgresLog(): Promise<string>;
  /** How many things `handoff ledger verify` finds wrong. */
  verifyLedger(): Promise<number>;
  /** What the processes wrote so far. */
  output(): string;
  stop(): Promise<void>;
}

export type Backend = "postgres" | "redis";
export const workerCount = 4;
const apiCount = 2;

/** A machine that is very busy may need so long to start a process. */
const startLimitMs = 180_000;

/** The disk that the workers' temporary folder is on. */
interface TemporaryFolder {
  readonly path: string;
  readonly how: string;
  /** What a worker's command line begins with. */
  readonly command: readonly string[];
  /** Both give how many of these processes cannot write there now. */
  fill(pids: readonly number[]): Promise<number>;
  empty(pids: readonly number[]): Promise<number>;
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
  const postgres = await startPostgres(folder, log);
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
  const startRedis = async () => {
    redis = await startRedisServer(folder, { appendOnly: false });
    redisPath?.leadTo(Number(new URL(redis.url).port));
  };
  if (backend === "redis") {
    redisPath = await openHalfOpenProxy(null);
    opened.push(redisPath.close);
    await startRedis();
    opened.push(async () => redis?.process.end("SIGKILL"));
  }

  const temporaryFolder = await openTemporaryFolder(path.join(folder, "worker-tmp"));

  const recordFile = path.join(folder, "receiver.jsonl");
  const messagesFile = path.join(folder, "messages.jsonl");
  await writeFile(recordFile, "");
  await writeFile(messagesFile, "");
  const mixes = Object.fromEntries(planPartners(1, 0).map(({ name, mix }) => [name, mix]));
  const receiver = startTypeScript("bench/chaos/receiver.ts", [recordFile, String(seed), JSON.stringify(mixes)]);
  opened.push(async () => receiver.end("SIGKILL"));
  const [, ready = "{}"] = await receiver.waitFor(/^ready (.*)$/m, startLimitMs);
  const { port: receiverPort } = z.object({ port: z.int(), forbiddenPort: z.int() }).parse(JSON.parse(ready));

  const smtpPath = await openHalfOpenProxy(null);
  const smsPath = await openHalfOpenProxy(null);
  opened.push(smtpPath.close, smsPath.close);
  let messages: TestProcess | null = null;
  const setMessages = async (running: boolean) => {
    if (!running) {
      smtpPath.leadTo(null);
      smsPath.leadTo(null);
      await messages?.end("SIGKILL");
      messages = null;
    } else if (messages === null) {
      messages = startTypeScript("bench/chaos/messages.ts", [messagesFile]);
      const [, ports = "{}"] = await messages.waitFor(/^ready (.*)$/m, startLimitMs);
      const { smtpPort, smsPort } = z.object({ smtpPort: z.int(), smsPort: z.int() }).parse(JSON.parse(ports));
      smtpPath.leadTo(smtpPort);
      smsPath.leadTo(smsPort);
    }
  };
  await setMessages(true);
  opened.push(async () => setMessages(false));

  const payPal = await startPayPalCatcher("127.0.0.1", 0);
  opened.push(payPal.stop);

  const publicPath = await openHalfOpenProxy(null);
  opened.push(publicPath.close);
  const publicUrl = `http://127.0.0.1:${publicPath.port}`;

  const apiKey = `chaos_${"k".repeat(32)}`;
  const environment: Record<string, string> = {
    DATABASE_URL: throughProxy.href,
    REDIS_URL: redisPath === null ? "" : `redis://127.0.0.1:${redisPath.port}`,
    HANDOFF_SECRET: "the chaos trial's own secret, 32 characters or more",
    HANDOFF_API_KEY: apiKey,
    HANDOFF_ALLOW_HOSTS: `127.0.0.1:${receiverPort},127.0.0.1:${smtpPath.port},127.0.0.1:${smsPath.port},127.0.0.1:${publicPath.port}`,
    HOST: "127.0.0.1",
    DATA_DIR: folder,
    INTAKE_RATE_PER_MINUTE: "0",
    DATABASE_POOL_SIZE: "10",
    LOG_LEVEL: "warn",
    SMTP_HOST: "127.0.0.1",
    SMTP_PORT: String(smtpPath.port),
    SMTP_FROM: "Handoff <handoff@chaos.test>",
    TWILIO_ACCOUNT_SID: `AC${"0".repeat(32)}`,
    TWILIO_AUTH_TOKEN: "token",
    TWILIO_FROM: "+447700900000",
    PUBLIC_URL: publicUrl,
    PAYPAL_BASE_URL: payPal.url,
    TWILIO_BASE_URL: `http://127.0.0.1:${smsPath.port}`,
  };
  const processes: TestProcess[] = [];
  const handoff = (command: string, extra: Record<string, string> = {}, before: readonly string[] = []) => {
    const [program = "", ...words] = [...before, process.execPath, "dist/src/cli.js", ...command.split(" ")];
    const started = startProcess(program, words, { env: { ...environment, ...extra } });
    processes.push(started);
    return started;
  };
  const migrated = handoff("migrate");
  if ((await migrated.ended) !== 0) throw new Error(`handoff migrate failed:\n${migrated.output()}`);

  const startApi = () => handoff("api", { PORT: "0" });
  const startWorker = () => handoff("worker", { TMPDIR: temporaryFolder.path }, temporaryFolder.command);
  const running = {
    apis: Array.from({ length: apiCount }, startApi),
    workers: Array.from({ length: workerCount }, startWorker),
  };
  let isStopping = false;
  opened.push(async () => {
    isStopping = true;
    await Promise.all([...running.apis, ...running.workers].map(async (one) => one.end("SIGKILL")));
  });
  const addressOf = async (api: TestProcess) => {
    const [, port] = await api.waitFor(/API is ready at http:\/\/localhost:(\d+)/, startLimitMs);
    return `http://127.0.0.1:${port}`;
  };
  const apis = await Promise.all(running.apis.map(addressOf));
  const leadToFirst = () => publicPath.leadTo(Number(new URL(apis[0] ?? "").port));
  leadToFirst();
  await Promise.all(running.workers.map(async (worker) => worker.waitFor(/is ready/, startLimitMs)));

  return {
    backend,
    postgres,
    postgresPath,
    redisPath,
    payPal,
    receiverPort,
    recordFile,
    messagesFile,
    apiKey,
    apis,
    publicUrl,
    async createOrganisation(name) {
      const creating = handoff(`organisation create --name ${name}`);
      if ((await creating.ended) !== 0) throw new Error(`handoff organisation create failed:\n${creating.output()}`);
      const [, id = "", portalCode = "", key = ""] =
        /Organisation: (\S+)\s+Portal code: +(\S+)\s+API key: +(\S+)/.exec(creating.output()) ?? [];
      return { id, portalCode, apiKey: key };
    },
    fullDisk: temporaryFolder.how,
    async setDiskFull(isFull) {
      const pids = running.workers.map(({ pid }) => pid);
      return isFull ? temporaryFolder.fill(pids) : temporaryFolder.empty(pids);
    },
    log,
    async killWorker(wanted) {
      const order = running.workers.map((_, place) => (wanted + place) % workerCount);
      const index = order.find((place) => /is ready/.test(running.workers[place]?.output() ?? "")) ?? wanted;
      const ended = running.workers[index]?.end("SIGKILL");
      if (!isStopping) running.workers[index] = startWorker();
      await ended;
    },
    async killApi(index, downMs) {
      if (index === 0) publicPath.leadTo(null);
      await running.apis[index]?.end("SIGKILL");
      await sleep(downMs);
      if (isStopping) return;
      const api = startApi();
      running.apis[index] = api;
      // Where it dies again before it is ready, the trial goes on with the other.
      apis[index] = await addressOf(api).catch(() => apis[index] ?? "");
      leadToFirst();
    },
    async killRedis(downMs) {
      redisPath?.leadTo(null);
      await redis?.process.end("SIGKILL");
      await sleep(downMs);
      if (!isStopping) await startRedis();
    },
    async emptyRedis() {
      for (;;) {
        const client = new Redis(redis?.url ?? "", { retryStrategy: null, maxRetriesPerRequest: 0 });
        client.on("error", () => undefined);
        try {
          const keys = await client.dbsize();
          await client.flushall();
          return keys;
        } catch {
          // It is away just now.
          await sleep(500);
        } finally {
          client.disconnect();
        }
      }
    },
    postgresLog: async () => readFile(path.join(folder, "postgres", "server.log"), "utf8"),
    setMessages,
    async verifyLedger() {
      const verifying = handoff("ledger verify");
      const code = await verifying.ended;
      // Each rule is a row whose last column says how many are wrong.
      const rows = [...verifying.output().matchAll(/^\S.* (\d+) +(\d+)$/gm)];
      const wrong = rows.reduce((sum, [, , count = "0"]) => sum + Number(count), 0);
      if (code === 0 && wrong === 0 && rows.length > 0) return 0;
      log(verifying.output());
      return Math.max(1, wrong);
    },
    output: () => processes.map((one) => one.output()).join("\n"),
    stop,
  };
}

/** Somebody else may have been given the port that was free a moment before. */
async function startPostgres(folder: string, log: (text: string) => void): Promise<EmbeddedPostgres> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await startEmbeddedPostgres({ dataDirectory: folder, log });
    } catch (error) {
      if (tries === 3) throw error;
    }
  }
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
      async fill(pids) {
        await rm(folder, { recursive: true });
        return pids.length;
      },
      async empty() {
        await mkdir(folder, { recursive: true });
        return 0;
      },
    };
  }
  const inFolder = (pid: number, name: string) => `/proc/${pid}/root${folder}/${name}`;
  const eachFiller = async (pids: readonly number[], bytes: number) => {
    let refused = 0;
    for (const pid of pids) {
      await writeFile(inFolder(pid, "filler"), Buffer.alloc(bytes)).catch(() => undefined);
      const written = await writeFile(inFolder(pid, "page"), Buffer.alloc(4_096)).catch((error: unknown) => error);
      if (written instanceof Error && "code" in written && written.code === "ENOSPC") refused += 1;
      await rm(inFolder(pid, "page"), { force: true }).catch(() => undefined);
    }
    return refused;
  };
  return {
    how: "full (a tmpfs of 64 KiB)",
    path: folder,
    command: words,
    fill: async (pids) => eachFiller(pids, 2 ** 20),
    empty: async (pids) => eachFiller(pids, 0),
  };
}
