import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { startMailCatcher } from "../../demo/mail-catcher.ts";
import { demoPayPalAccount, type PayPalCatcher, startPayPalCatcher } from "../../demo/paypal-catcher.ts";
import { demoAccount, startSmsCatcher } from "../../demo/sms-catcher.ts";
import { startEmbeddedPostgres } from "../../src/db/embedded-postgres.ts";
import { freePort } from "../../src/db/embedded-postgres-server.ts";
import { projectRoot } from "../../src/project-root.ts";
import { startProcess, type TestProcess } from "../../test/helpers/process.ts";
import { reapProcess, releaseProcess } from "../../test/helpers/reaper.ts";
import { startRedisServer } from "../../test/helpers/redis.ts";
import { makeTemporaryFolder } from "../../test/helpers/temporary-folder.ts";
import { type Receiver, startCanary, startReceiver } from "./receivers.ts";

export type Backend = "postgres" | "redis";

/** A Handoff as an operator runs it, through its CLI: an API, a worker, and a `handoff start` beside them. */
export interface AttackedInstallation {
  /** `handoff api`, without limits of requests. */
  readonly api: string;
  /** `handoff start` on the same database, with a limit of `ratePerMinute` leads for a key, and as many wrong API keys for an address. */
  readonly limited: string;
  readonly ratePerMinute: number;
  readonly databaseUrl: string;
  readonly redisUrl: string | null;
  readonly ownerKey: string;
  readonly strangerKey: string;
  /** Of a third organisation, with which both are connected. */
  readonly neighbourKey: string;
  readonly processes: readonly { readonly name: string; readonly process: TestProcess }[];
  readonly receiver: Receiver;
  /** Another partner's server, which may be sent to as well. */
  readonly elsewhere: Receiver;
  readonly canary: Awaited<ReturnType<typeof startCanary>>;
  readonly mail: Awaited<ReturnType<typeof startMailCatcher>>;
  readonly payPal: PayPalCatcher;
  /** Ports of the installation's own that no partner's address may reach. */
  readonly innerPorts: readonly number[];
  /** Of the operator: in no answer, no log, and nowhere in the database. */
  readonly secrets: readonly (readonly [name: string, secret: string])[];
  /** Everything that was written to standard output, standard error, and log files. */
  readOutput(): readonly (readonly [name: string, text: string])[];
  /** Runs a command of the CLI to its end; gives its exit code and what it wrote. */
  run(words: readonly string[]): Promise<{ readonly code: number | null; readonly output: string }>;
  stop(): Promise<void>;
}

const ratePerMinute = 40;

export async function startInstallation(backend: Backend): Promise<AttackedInstallation> {
  const opened: (() => Promise<unknown>)[] = [];
  const stop = async () => {
    for (const close of opened.splice(0).reverse()) await close();
  };
  try {
    return await open(backend, opened, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

type Opened = (() => Promise<unknown>)[];

async function open(backend: Backend, opened: Opened, stop: () => Promise<void>): Promise<AttackedInstallation> {
  const folder = await makeTemporaryFolder();
  const log = (message: string) => void process.stderr.write(`${message}\n`);
  const postgres = await startEmbeddedPostgres({ dataDirectory: folder, settings: { fsync: "off" }, log });
  reapProcess(postgres.pid, "SIGINT");
  opened.push(async () => {
    await postgres.stop();
    releaseProcess(postgres.pid);
  });
  const redis = backend === "redis" ? await startRedisServer(folder) : null;
  if (redis !== null) opened.push(async () => redis.process.end("SIGTERM"));
  const receiver = await startReceiver();
  const elsewhere = await startReceiver();
  const canary = await startCanary();
  const mail = await startMailCatcher("127.0.0.1", 0);
  const sms = await startSmsCatcher("127.0.0.1", 0);
  const payPal = await startPayPalCatcher("127.0.0.1", 0);
  opened.push(receiver.stop, elsewhere.stop, canary.stop, mail.stop, sms.stop, payPal.stop);

  const [apiPort, limitedPort] = [await freePort(), await freePort()];
  const secret = `operator-secret-${randomBytes(24).toString("hex")}`;
  const ownerKey = `owner-key-${randomBytes(24).toString("hex")}`;
  const smtpPassword = `smtp-password-${randomBytes(12).toString("hex")}`;
  const environment = {
    HOST: "127.0.0.1",
    DATA_DIR: folder,
    DATABASE_URL: postgres.databaseUrl,
    HANDOFF_SECRET: secret,
    HANDOFF_API_KEY: ownerKey,
    HANDOFF_ALLOW_HOSTS: `${receiver.host},${elsewhere.host},127.0.0.1:${mail.port}`,
    // The most that an operator can have written: nothing personal may be in it.
    LOG_LEVEL: "trace",
    DEMO: "0",
    DATABASE_POOL_SIZE: "10",
    WORKER_CONCURRENCY: "20",
    INTAKE_RATE_PER_MINUTE: "0",
    WRONG_KEYS_PER_MINUTE: "0",
    SMTP_HOST: "127.0.0.1",
    SMTP_PORT: String(mail.port),
    SMTP_USERNAME: "handoff",
    SMTP_PASSWORD: smtpPassword,
    SMTP_FROM: "Handoff <handoff@example.com>",
    TWILIO_ACCOUNT_SID: demoAccount.accountSid,
    TWILIO_AUTH_TOKEN: demoAccount.authToken,
    TWILIO_FROM: "+447700900000",
    TWILIO_BASE_URL: sms.url,
    PAYPAL_BASE_URL: payPal.url,
    REDIS_URL: redis?.url ?? "",
  };
  const cli = (words: readonly string[], more: Readonly<Record<string, string>> = {}) =>
    startProcess(process.execPath, [path.join(projectRoot, "dist", "src", "cli.js"), ...words], {
      env: { ...environment, ...more },
    });
  await finish(cli(["migrate"]));
  const createOrganisation = async (name: string) => {
    const key = /API key: +(\S+)/.exec(await finish(cli(["organisation", "create", "--name", name])))?.[1];
    if (key === undefined) throw new Error(`The organisation ${name} was made without a key.`);
    return key;
  };
  const strangerKey = await createOrganisation("Strangers");
  const neighbourKey = await createOrganisation("Neighbours");
  const limits = {
    PORT: String(limitedPort),
    INTAKE_RATE_PER_MINUTE: String(ratePerMinute),
    WRONG_KEYS_PER_MINUTE: String(ratePerMinute),
  };
  const processes = [
    { name: "api", process: cli(["api"], { PORT: String(apiPort) }) },
    { name: "worker", process: cli(["worker"]) },
    { name: "start", process: cli(["start"], limits) },
  ];
  opened.push(async () => Promise.all(processes.map(async (one) => one.process.end("SIGTERM"))));
  await Promise.all(processes.map(async (one) => one.process.waitFor(/ is ready/, 60_000)));

  const logFiles = [path.join(folder, "handoff.log"), path.join(folder, "postgres", "server.log")];
  return {
    api: `http://127.0.0.1:${apiPort}`,
    limited: `http://127.0.0.1:${limitedPort}`,
    ratePerMinute,
    databaseUrl: postgres.databaseUrl,
    redisUrl: redis?.url ?? null,
    ownerKey,
    strangerKey,
    neighbourKey,
    processes,
    receiver,
    elsewhere,
    canary,
    mail,
    payPal,
    innerPorts: [postgres.port, apiPort, limitedPort, ...(redis ? [Number(new URL(redis.url).port)] : [])],
    secrets: [
      ["HANDOFF_SECRET", secret],
      ["HANDOFF_API_KEY", ownerKey],
      ["the stranger's API key", strangerKey],
      ["the neighbour's API key", neighbourKey],
      ["SMTP_PASSWORD", smtpPassword],
      ["TWILIO_AUTH_TOKEN", demoAccount.authToken],
      ["the secret of the account at PayPal", demoPayPalAccount.clientSecret],
      ["the password of the database", new URL(postgres.databaseUrl).password],
    ],
    readOutput: () => [
      ...processes.map((one) => [`output of ${one.name}`, one.process.output()] as const),
      ...logFiles
        .filter((file) => existsSync(file))
        .map((file) => [path.basename(file), readFileSync(file, "utf8")] as const),
    ],
    async run(words) {
      const started = cli(words);
      return { code: await started.ended, output: started.output() };
    },
    stop,
  };
}

async function finish(started: TestProcess): Promise<string> {
  const code = await started.ended;
  if (code !== 0) throw new Error(`A command of the CLI ended with ${code}:\n${started.output()}`);
  return started.output();
}
