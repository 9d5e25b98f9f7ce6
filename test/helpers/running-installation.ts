import { createPool, type Database, openDatabase } from "../../src/db/database.ts";
import { createApiKey } from "../../src/organisations/api-keys.ts";
import { createOrganisation } from "../../src/organisations/create-organisation.ts";
import { createTestDatabase } from "./database.ts";
import { startTypeScript, type TestProcess } from "./process.ts";

/** An installation as an operator runs it: a database of its own, the API and a worker in processes of their own. */
export interface RunningInstallation {
  readonly url: string;
  readonly organisationId: string;
  readonly databaseUrl: string;
  /** As the superuser: sees every row. */
  readonly owner: Database;
  /** The answer, which has to have one of these statuses; by default any of 2xx. */
  call(method: string, path: string, body?: unknown, statuses?: readonly number[]): Promise<unknown>;
  startApi(): Promise<void>;
  startWorker(): Promise<TestProcess>;
  api(): TestProcess;
  /** Everything that its processes wrote. */
  output(): string;
  close(): Promise<void>;
}

export interface RunningOptions {
  readonly name: string;
  readonly port: number;
  /** `host:port` that may be reached although it is private, separated by commas. */
  readonly allowHosts: string;
  /** The queue is in PostgreSQL where absent. */
  readonly redisUrl?: string | undefined;
}

export async function openRunningInstallation({
  name,
  port,
  allowHosts,
  redisUrl,
}: RunningOptions): Promise<RunningInstallation> {
  const { databaseUrl, drop } = await createTestDatabase();
  const owner = openDatabase(createPool(databaseUrl, "owner", 2));
  const at = new Date();
  const document = { name, timeZone: "Europe/London", currency: "GBP", smsRate: 5, staffEmail: null };
  const { id: organisationId } = await createOrganisation(owner, document, "test", at);
  const change = { organisationId, by: "test", at };
  const created = await createApiKey(owner, change, { name: "test", expiresAt: null });
  if (created === null) throw new Error("The API key exists already.");
  const url = `http://127.0.0.1:${port}`;
  const env = {
    DATABASE_URL: databaseUrl,
    HANDOFF_SECRET: `the secret of ${name}, of 32 characters or more`,
    HOST: "127.0.0.1",
    PORT: String(port),
    PUBLIC_URL: url,
    HANDOFF_ALLOW_HOSTS: allowHosts,
    LOG_LEVEL: "info",
    ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }),
  };
  const processes: TestProcess[] = [];
  let api: TestProcess | null = null;
  const start = async (command: string) => {
    const started = startTypeScript("src/cli.ts", [command], { env });
    processes.push(started);
    await started.waitFor(/is ready/);
    return started;
  };
  return {
    url,
    organisationId,
    databaseUrl,
    owner,
    async call(method, path, body, statuses) {
      const answer = await fetch(url + path, {
        method,
        headers: { authorization: `Bearer ${created.key}`, ...(body === undefined ? {} : jsonType) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await answer.text();
      const isExpected = statuses?.includes(answer.status) ?? answer.ok;
      if (!isExpected) throw new Error(`${method} ${path} answered ${answer.status} ${text}`);
      return text === "" ? null : JSON.parse(text);
    },
    async startApi() {
      api = await start("api");
    },
    startWorker: async () => start("worker"),
    api() {
      if (api === null) throw new Error("The API was not started.");
      return api;
    },
    output: () => processes.map((one) => one.output()).join("\n"),
    async close() {
      await Promise.all(processes.map(async (one) => one.end("SIGTERM")));
      await owner.destroy();
      await drop();
    },
  };
}

const jsonType = { "content-type": "application/json" };
