import path from "node:path";
import type pg from "pg";
import { freePort } from "../src/db/embedded-postgres-server.ts";
import { migrate } from "../src/db/migrate.ts";
import { projectRoot } from "../src/project-root.ts";
import { createDatabase } from "./databases.ts";
import type { Outcomes } from "./judge-run.ts";
import type { Mix } from "./mixes.ts";
import { type Program, startProgram } from "./programs.ts";

/** What is measured: something that takes leads in and sends them to partners. */
export interface System {
  readonly name: "bare pipeline" | "Handoff";
  readonly database: string;
  readonly admin: pg.Pool;
  readonly port: number;
  readonly programs: readonly Program[];
  /** Where the addresses of its partners begin, without the host. */
  readonly partnersPath: string;
  /** Where leads of this mix are sent to. */
  intakePathOf(mix: Mix): string;
  /** Whether everything that was taken in is settled: nothing is to be routed or sent (a hanging partner's apart). */
  isSettled(mix: Mix): Promise<boolean>;
  /** What became of the leads of these numbers, taken in since an instant. */
  outcomes(mix: Mix, leads: LeadNumbers, since: Date): Promise<Outcomes>;
  stop(): Promise<void>;
}

export interface LeadNumbers {
  readonly from: number;
  readonly count: number;
}

export interface Surroundings {
  /** The bench's PostgreSQL, as its superuser. */
  readonly serverUrl: string;
  readonly redisUrl: string | undefined;
  readonly folder: string;
  /** host:port of the receiver. */
  readonly receiver: string;
}

export function environmentOf({ redisUrl }: Surroundings, databaseUrl: string): Record<string, string> {
  return { DATABASE_URL: databaseUrl, ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }) };
}

export function outcomesOf(rows: readonly { number: string; outcome: string | null }[]): Outcomes {
  const those = (outcome: string) =>
    new Set(rows.filter((row) => row.outcome === outcome).map(({ number }) => Number(number)));
  return { delivered: those("delivered"), waiting: those("waiting") };
}

/** Has PostgreSQL look at its tables, as it does by itself within a minute: else the first plans are for empty tables. */
export async function analyse({ admin }: System): Promise<void> {
  await admin.query("vacuum analyze");
}

/** Starts the bare pipeline on a database of its own. */
export async function startBare(surroundings: Surroundings): Promise<System> {
  const database = await createDatabase(surroundings.serverUrl);
  const { admin } = database;
  // For the queue's tables.
  await migrate(database.url);
  await admin.query(
    `create table bare_leads (id uuid primary key, mix text not null, fields jsonb not null,
       state text not null default 'received', received_at timestamptz not null default now())`,
  );
  const port = await freePort();
  const partnersPath = `/${database.name}`;
  const env = {
    ...environmentOf(surroundings, database.url),
    PORT: String(port),
    PARTNERS: `http://${surroundings.receiver}${partnersPath}`,
  };
  const loader = path.join(projectRoot, "test", "helpers", "typescript.mjs");
  const words = ["--import", loader, path.join(projectRoot, "bench", "bare-pipeline.ts")];
  const start = async (kind: string, role: string) =>
    startProgram({ kind, words, env: { ...env, ROLE: role }, folder: surroundings.folder, readyWords: /ready/ });
  const programs = await Promise.all([start("api", "intake"), start("worker", "work")]);
  return {
    name: "bare pipeline",
    database: database.name,
    admin,
    port,
    programs,
    partnersPath,
    intakePathOf: (mix) => `/leads/${mix.name}`,
    isSettled: async () => {
      const { rowCount } = await admin.query("select from bare_leads where state = 'received' limit 1");
      return rowCount === 0;
    },
    outcomes: async (mix, { from, count }) => {
      // Where a partner hangs the bare pipeline gives its leads up.
      const { rows } = await admin.query<{ number: string; outcome: string | null }>(
        `select fields ->> 'n' as number,
           case when state = 'delivered' then 'delivered' when $4 then 'waiting' end as outcome
         from bare_leads where mix = $1 and (fields ->> 'n')::bigint between $2 and $3`,
        [mix.name, from, from + count - 1, mix.hanging > 0],
      );
      return outcomesOf(rows);
    },
    stop: async () => {
      await Promise.all(programs.map(async (program) => program.stop()));
      await database.drop();
    },
  };
}
