import { mkdir } from "node:fs/promises";
import path from "node:path";
import pg from "pg";
import { z } from "zod";
import { freePort } from "../src/db/embedded-postgres-server.ts";
import { migrate } from "../src/db/migrate.ts";
import { projectRoot } from "../src/project-root.ts";
import { campaignDocument, type Mix, partnerDocument } from "./mixes.ts";
import { type Program, startProgram } from "./programs.ts";

/** What is measured: something that takes leads in and sends them to partners. */
export interface System {
  readonly name: string;
  readonly database: string;
  readonly port: number;
  readonly path: string;
  readonly programs: readonly Program[];
  /** Whether everything that was taken in is settled: nothing is to be routed or sent (a hanging partner's apart). */
  isSettled(): Promise<boolean>;
  /** How many leads it says were delivered. */
  delivered(): Promise<number>;
  /** Has PostgreSQL look at its tables, as it does by itself within a minute: else the first plans are for empty tables. */
  analyse(): Promise<void>;
  stop(): Promise<void>;
}

export interface Surroundings {
  /** The bench's PostgreSQL, as its superuser. */
  readonly databaseUrl: string;
  readonly redisUrl: string | undefined;
  readonly folder: string;
  /** host:port of the receiver. */
  readonly receiver: string;
}

/** Intake and work in one process, or in one each. */
export type Layout = "one" | "two";

let systems = 0;

async function createDatabase(
  { databaseUrl }: Surroundings,
  template: string | null,
): Promise<{ name: string; url: string }> {
  systems += 1;
  const name = `bench_${systems}`;
  const admin = new pg.Client({ connectionString: databaseUrl });
  await admin.connect();
  await admin.query(`create database ${name} ${template === null ? "" : `template ${template} strategy file_copy`}`);
  await admin.end();
  const url = new URL(databaseUrl);
  url.pathname = `/${name}`;
  return { name, url: url.href };
}

async function dropDatabase({ databaseUrl }: Surroundings, name: string): Promise<void> {
  const admin = new pg.Client({ connectionString: databaseUrl });
  await admin.connect();
  await admin.query(`drop database ${name} with (force)`);
  await admin.end();
}

/** Its one connection may still be closing when its database is dropped. */
function openAdmin(url: string): pg.Pool {
  return new pg.Pool({ connectionString: url, max: 1 }).on("error", () => undefined);
}

function environmentOf(surroundings: Surroundings, databaseUrl: string): Record<string, string> {
  const { redisUrl } = surroundings;
  return { DATABASE_URL: databaseUrl, ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }) };
}

/** Starts the bare pipeline on a database of its own. */
export async function startBare(surroundings: Surroundings, mix: Mix, layout: Layout): Promise<System> {
  const database = await createDatabase(surroundings, null);
  await migrate(database.url);
  const admin = openAdmin(database.url);
  await admin.query(
    `create table bare_leads (id uuid primary key, fields jsonb not null, state text not null default 'received',
       received_at timestamptz not null default now())`,
  );
  const port = await freePort();
  const env = {
    ...environmentOf(surroundings, database.url),
    PORT: String(port),
    RECEIVER: surroundings.receiver,
    MIX: mix.name,
  };
  const loader = path.join(projectRoot, "test", "helpers", "typescript.mjs");
  const words = ["--import", loader, path.join(projectRoot, "bench", "bare-pipeline.ts")];
  const start = async (kind: string, role: string) =>
    startProgram({ kind, words, env: { ...env, ROLE: role }, folder: surroundings.folder, readyWords: /ready/ });
  const programs =
    layout === "one" ? [await start("bare", "both")] : [await start("api", "intake"), await start("worker", "work")];
  const count = async (where: string) => {
    const { rows } = await admin.query<{ count: string }>(`select count(*) from bare_leads where ${where}`);
    return Number(rows[0]?.count);
  };
  return {
    name: "bare pipeline",
    database: database.name,
    port,
    path: "/leads",
    programs,
    isSettled: async () => (await count("state = 'received'")) === 0,
    delivered: async () => count("state = 'delivered'"),
    analyse: async () => void (await admin.query("vacuum analyze")),
    stop: async () => stopSystem(surroundings, programs, admin, database.name),
  };
}

async function stopSystem(
  surroundings: Surroundings,
  programs: readonly Program[],
  admin: pg.Pool,
  database: string,
): Promise<void> {
  await Promise.all(programs.map(async (program) => program.stop()));
  await admin.end();
  await dropDatabase(surroundings, database);
}

const apiKey = "bench-key-that-is-only-used-here";

const createdSchema = z.object({ id: z.string(), intakeKey: z.string().optional() });

/** Starts Handoff's real programs on a database of their own, and makes the mix's partners and campaign over the API. */
export async function startHandoff(
  surroundings: Surroundings,
  mix: Mix,
  layout: Layout,
  template: string | null = null,
): Promise<System> {
  const database = await createDatabase(surroundings, template);
  const port = await freePort();
  const env = {
    ...environmentOf(surroundings, database.url),
    PORT: String(port),
    HOST: "127.0.0.1",
    DATA_DIR: path.join(surroundings.folder, database.name),
    QUEUE_PREFIX: database.name,
    DEMO: "0",
    HANDOFF_API_KEY: apiKey,
    HANDOFF_SECRET: "bench-secret-that-is-only-used-here",
    HANDOFF_ALLOW_HOSTS: surroundings.receiver,
    INTAKE_RATE_PER_MINUTE: "0",
  };
  await mkdir(env.DATA_DIR);
  const start = async (kind: string, command: string, readyWords: RegExp) =>
    startProgram({
      kind,
      words: [...nodeOptions(kind), program, command],
      env,
      folder: surroundings.folder,
      readyWords,
    });
  const programs: Program[] = [];
  if (layout === "one") programs.push(await start("handoff", "start", /ready at/));
  else {
    await (await start("migrate", "migrate", /Made the first organisation|up to date/)).stop();
    programs.push(await start("api", "api", /ready at/), await start("worker", "worker", /worker is ready/));
  }
  const { intakeKey, hanging } = await makeMix(port, surroundings.receiver, mix);
  const admin = openAdmin(database.url);
  return {
    name: "Handoff",
    database: database.name,
    port,
    path: `/v1/intake/${intakeKey}`,
    programs,
    isSettled: async () => isSettled(admin, hanging),
    delivered: async () => {
      const { rows } = await admin.query<{ count: string }>(
        "select count(*) from deliveries where state = 'delivered'",
      );
      return Number(rows[0]?.count);
    },
    analyse: async () => void (await admin.query("vacuum analyze")),
    stop: async () => stopSystem(surroundings, programs, admin, database.name),
  };
}

const program = path.join(projectRoot, "dist", "src", "cli.js");

/** BENCH_NODE_OPTIONS is for profiling: `--cpu-prof --cpu-prof-dir=…`. */
function nodeOptions(kind: string): string[] {
  const given = process.env.BENCH_NODE_OPTIONS;
  return given === undefined || kind === "migrate" ? [] : given.split(" ");
}

async function makeMix(port: number, receiver: string, mix: Mix): Promise<{ intakeKey: string; hanging: string[] }> {
  const now = new Date();
  const ids: string[] = [];
  for (let place = 0; place < mix.partnerCount; place += 1) {
    ids.push((await post(port, "/partners", partnerDocument(mix, place, receiver, now))).id);
  }
  const { intakeKey } = await post(port, "/campaigns", campaignDocument(mix, ids));
  if (intakeKey === undefined) throw new Error("The campaign has no intake key.");
  return { intakeKey, hanging: ids.slice(0, mix.hanging) };
}

async function post(port: number, route: string, body: object) {
  const answer = await fetch(`http://127.0.0.1:${port}/v1${route}`, {
    method: "POST",
    headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`POST ${route} was answered ${answer.status}: ${text}`);
  return createdSchema.parse(JSON.parse(text));
}

async function isSettled(admin: pg.Pool, hanging: readonly string[]): Promise<boolean> {
  const { rows } = await admin.query<{ open: boolean }>(
    `select exists (select from leads where due_at is not null and state in ('received', 'routing'))
         or exists (select from deliveries where state = 'sending' and partner_id <> all($1::uuid[])) as open`,
    [hanging],
  );
  return rows[0]?.open === false;
}
