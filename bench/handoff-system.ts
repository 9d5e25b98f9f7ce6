import { mkdir } from "node:fs/promises";
import path from "node:path";
import type pg from "pg";
import { z } from "zod";
import { freePort } from "../src/db/embedded-postgres-server.ts";
import { projectRoot } from "../src/project-root.ts";
import { type BenchDatabase, createDatabase } from "./databases.ts";
import type { Outcomes } from "./judge-run.ts";
import { campaignDocument, type Mix, type MixName, partnerDocument } from "./mixes.ts";
import { type Program, startProgram } from "./programs.ts";
import { environmentOf, type LeadNumbers, outcomesOf, type Surroundings, type System } from "./systems.ts";

/** Intake and work in one process, or in one each. */
export type Layout = "one" | "two";

/** The campaign of a mix with its partners. */
export interface Campaign {
  readonly id: string;
  readonly intakeKey: string;
  readonly partnerIds: readonly string[];
}

export interface HandoffSystem extends System {
  readonly apiKey: string;
  campaignOf(mix: Mix): Campaign;
  /** Two processes only: stops the worker, or starts another. */
  stopWorker(): Promise<void>;
  startWorker(): Promise<Program>;
}

const apiKey = "bench-key-that-is-only-used-here";
const command = path.join(projectRoot, "dist", "src", "cli.js");

/** Starts Handoff's real programs on a database of their own, and makes the mixes' partners and campaigns over the API. */
export async function startHandoff(
  surroundings: Surroundings,
  mixes: readonly Mix[],
  layout: Layout,
): Promise<HandoffSystem> {
  const database = await createDatabase(surroundings.serverUrl);
  const { name, admin } = database;
  const port = await freePort();
  const env = handoffEnvironment(surroundings, database, port);
  await mkdir(env.DATA_DIR);
  const start = async (kind: string, word: string, readyWords: RegExp) => {
    const words = [...nodeOptions(kind), command, word];
    return startProgram({ kind, words, env, folder: surroundings.folder, readyWords });
  };
  const programs: Program[] = [];
  const startWorker = async () => {
    const worker = await start("worker", "worker", /worker is ready/);
    programs.push(worker);
    return worker;
  };
  if (layout === "one") programs.push(await start("handoff", "start", /ready at/));
  else {
    await (await start("migrate", "migrate", /Made the first organisation|up to date/)).stop();
    programs.push(await start("api", "api", /ready at/));
    await startWorker();
  }
  const partnersPath = `/${name}`;
  const campaigns = new Map<MixName, Campaign>();
  for (const mix of mixes)
    campaigns.set(mix.name, await makeCampaign(port, `http://${surroundings.receiver}${partnersPath}`, mix));
  const campaignOf = (mix: Mix) => {
    const campaign = campaigns.get(mix.name);
    if (campaign === undefined) throw new Error(`This system was started without the mix ${mix.name}.`);
    return campaign;
  };
  return {
    name: "Handoff",
    database: name,
    admin,
    port,
    programs,
    partnersPath,
    apiKey,
    campaignOf,
    startWorker,
    stopWorker: async () => {
      const place = programs.findIndex(({ kind }) => kind === "worker");
      await Promise.all(programs.splice(place, 1).map(async (worker) => worker.stop()));
    },
    intakePathOf: (mix) => `/v1/intake/${campaignOf(mix).intakeKey}`,
    isSettled: async (mix) => isSettled(admin, mix, campaignOf(mix)),
    outcomes: async (mix, leads, since) => readOutcomes(admin, mix, campaignOf(mix), leads, since),
    stop: async () => {
      await Promise.all(programs.map(async (program) => program.stop()));
      await database.drop();
    },
  };
}

function handoffEnvironment(surroundings: Surroundings, { name, url }: BenchDatabase, port: number) {
  return {
    ...environmentOf(surroundings, url),
    PORT: String(port),
    HOST: "127.0.0.1",
    DATA_DIR: path.join(surroundings.folder, name),
    QUEUE_PREFIX: name,
    DEMO: "0",
    HANDOFF_API_KEY: apiKey,
    HANDOFF_SECRET: "bench-secret-that-is-only-used-here",
    HANDOFF_ALLOW_HOSTS: surroundings.receiver,
    INTAKE_RATE_PER_MINUTE: "0",
  };
}

/** BENCH_NODE_OPTIONS is for profiling: `--cpu-prof --cpu-prof-dir=…`. */
function nodeOptions(kind: string): string[] {
  const given = process.env.BENCH_NODE_OPTIONS;
  return given === undefined || kind === "migrate" ? [] : given.split(" ");
}

async function makeCampaign(port: number, partners: string, mix: Mix): Promise<Campaign> {
  const now = new Date();
  const partnerIds: string[] = [];
  for (let place = 0; place < mix.partnerCount; place += 1) {
    partnerIds.push((await post(port, "/partners", partnerDocument(mix, place, partners, now))).id);
  }
  const { id, intakeKey } = await post(port, "/campaigns", campaignDocument(mix, partnerIds));
  if (intakeKey === undefined) throw new Error("The campaign has no intake key.");
  return { id, intakeKey, partnerIds };
}

const createdSchema = z.object({ id: z.string(), intakeKey: z.string().optional() });

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

/** Leads held for later do not count. Looks through the same indexes as the product, so that looking costs little. */
async function isSettled(admin: pg.Pool, { hanging }: Mix, { id, partnerIds }: Campaign): Promise<boolean> {
  const { rows } = await admin.query<{ open: boolean }>(
    `select exists (select from leads where campaign_id = $1 and due_at <= now())
         or exists (select from unnest($2::uuid[]) p (id) join deliveries d on d.partner_id = p.id and d.state = 'sending')
       as open`,
    [id, partnerIds.slice(hanging)],
  );
  return rows[0]?.open === false;
}

async function readOutcomes(
  admin: pg.Pool,
  { hanging }: Mix,
  { id }: Campaign,
  { from, count }: LeadNumbers,
  since: Date,
): Promise<Outcomes> {
  const { rows } = await admin.query<{ number: string; outcome: string | null }>(
    `select l.fields ->> 'n' as number,
       case when bool_or(d.state = 'delivered') then 'delivered'
            when $5 and l.state in ('received', 'routing', 'held') then 'waiting' end as outcome
     from leads l left join deliveries d on d.lead_id = l.id
     where l.campaign_id = $1 and l.id >= (select uuidv7($4::timestamptz - now()))
       and (l.fields ->> 'n')::bigint between $2 and $3
     group by l.id`,
    [id, from, from + count - 1, since, hanging > 0],
  );
  return outcomesOf(rows);
}
