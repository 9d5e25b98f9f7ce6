import { pino } from "pino";
import { expireOffers } from "../../queues/expire-offers.ts";
import { campaignSchema } from "../../src/campaigns/campaign.ts";
import { createCampaign } from "../../src/campaigns/store-campaign.ts";
import { type Config, readConfig } from "../../src/config.ts";
import { type Context, closeContext, openContext } from "../../src/context.ts";
import { createPool, type Database, inOrganisation, openDatabase } from "../../src/db/database.ts";
import { drainDueDeliveries } from "../../src/delivery/drain-partner.ts";
import { readIntakeCampaign } from "../../src/leads/intake-campaign.ts";
import { type Intake, receiveLead } from "../../src/leads/receive-lead.ts";
import { expireDueOffers } from "../../src/offers/expire-offers.ts";
import { createOrganisation } from "../../src/organisations/create-organisation.ts";
import { partnerSchema } from "../../src/partners/partner.ts";
import { createPartner } from "../../src/partners/store-partner.ts";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import { sweep } from "../../src/sweep.ts";
import { createTestDatabase, type TestDatabase } from "./database.ts";
import { quietWaker } from "./waker.ts";

/** An installation on a database of its own, with one organisation and a clock that the test sets. Nothing in it is fake but the time. */
export interface Installation {
  readonly context: Context;
  readonly organisationId: string;
  readonly databaseUrl: string;
  /** Log lines of errors: faults of ours, which no partner and no input may cause. */
  readonly errors: string[];
  /** Moves the clock; it stands still otherwise, unless `realTime` was asked for. */
  setTime(iso: string): void;
  addPartner(document: Record<string, unknown>): Promise<string>;
  addCampaign(document: Record<string, unknown>): Promise<string>;
  receive(campaignId: string, raw: Record<string, unknown>, idempotencyKey?: string): Promise<Intake>;
  /** Routes and delivers all that is due now, without queues, until nothing is. */
  settle(): Promise<void>;
  inOrganisation<T>(work: (transaction: Database) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

export const secretOfTests = "a secret of the tests, of 32 characters or more";

export interface InstallationOptions {
  readonly at?: string;
  readonly redisUrl?: string | undefined;
  readonly environment?: Readonly<Record<string, string>>;
  /** Migrated; a new one on the run's server where absent. */
  readonly database?: TestDatabase;
}

export async function openInstallation(options: InstallationOptions = {}): Promise<Installation> {
  const testDatabase = options.database ?? (await createTestDatabase());
  const { databaseUrl } = testDatabase;
  let time = options.at === undefined ? null : new Date(options.at);
  const { context, errors } = openTestContext(readTestConfig(options), databaseUrl, () => time ?? new Date());
  const organisationId = await addOrganisation(testDatabase, "Seller");
  return {
    ...actions(context, organisationId),
    errors,
    databaseUrl,
    setTime: (iso) => {
      time = new Date(iso);
    },
    async close() {
      await closeContext(context, 5_000);
      await testDatabase.drop();
    },
  };
}

/** The same installation as another process sees it, with memory and connections of its own. To be closed before it. */
export function openTwinInstallation(installation: Installation): Installation {
  const { config, clock } = installation.context;
  const { context, errors } = openTestContext(config, installation.databaseUrl, clock);
  const close = async () => closeContext(context, 5_000);
  return { ...installation, ...actions(context, installation.organisationId), errors, close };
}

/** What is logged as an error is kept; with TEST_LOG_LEVEL everything from that level on is shown instead. */
function openTestContext(config: Config, databaseUrl: string, clock: () => Date) {
  const errors: string[] = [];
  const level = process.env.TEST_LOG_LEVEL;
  const log = level === undefined ? pino({ level: "error" }, { write: (line) => errors.push(line) }) : pino({ level });
  return { context: openContext({ config, databaseUrl, secret: secretOfTests, clock, log }), errors };
}

function actions(context: Context, organisationId: string) {
  const change = () => ({ organisationId, by: "test", at: context.clock() });
  return {
    context,
    organisationId,
    async addPartner(document) {
      const parsed = partnerSchema.parse({ timeZone: "Europe/London", currency: "GBP", ...document });
      const created = await createPartner(context, change(), parsed);
      if (created.kind !== "stored") throw new Error(JSON.stringify(created));
      return created.id;
    },
    async addCampaign(document) {
      const parsed = campaignSchema.parse({ timeZone: "Europe/London", ...document });
      const created = await createCampaign(context, change(), parsed);
      if (created.kind !== "stored") throw new Error(JSON.stringify(created));
      return created.id;
    },
    async receive(campaignId, raw, idempotencyKey) {
      const campaign = await readIntakeCampaign(context, organisationId, campaignId);
      if (campaign === null) throw new Error("no such campaign");
      const entrance = { campaign, intakeKeyId: null, introducerId: null };
      return receiveLead(context, entrance, { raw, idempotencyKey: idempotencyKey ?? null, source: "test" });
    },
    settle: async () => settleAll(context, organisationId),
    inOrganisation: async (work) => inOrganisation(context.database, organisationId, work),
  } satisfies Partial<Installation>;
}

export function readTestConfig({ redisUrl, environment = {} }: InstallationOptions) {
  const read = readConfig({
    HANDOFF_ALLOW_HOSTS: "127.0.0.1:1",
    QUEUE_PREFIX: "test",
    ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }),
    ...environment,
  });
  if (!read.ok) throw new Error(read.problems.join("\n"));
  return read.config;
}

export async function addOrganisation(testDatabase: TestDatabase, name: string): Promise<string> {
  const owner = openDatabase(createPool(testDatabase.databaseUrl, "owner", 1));
  try {
    const document = { name, timeZone: "Europe/London", currency: "GBP", smsRate: 5, staffEmail: null };
    const { id } = await createOrganisation(owner, document, "test", new Date());
    return id;
  } finally {
    await owner.destroy();
  }
}

/** What the queue would do, one after the other. Wake-ups that are given meanwhile find nobody listening. */
async function settleAll(context: Context, organisationId: string): Promise<void> {
  for (let rounds = 0; rounds < 100; rounds += 1) {
    const due = await dueNow(context);
    if (due.campaignIds.length + due.partnerIds.length === 0 && !due.hasOffers) return;
    if (due.hasOffers) await expireDueOffers(context, organisationId);
    for (const campaignId of due.campaignIds) await routeDueLeads(context, organisationId, campaignId);
    for (const partnerId of due.partnerIds) await drainDueDeliveries(context, organisationId, partnerId);
  }
  throw new Error("It does not come to an end: something is due again and again at one instant.");
}

async function dueNow(context: Context): Promise<{ campaignIds: string[]; partnerIds: string[]; hasOffers: boolean }> {
  const campaignIds: string[] = [];
  const partnerIds: string[] = [];
  let hasOffers = false;
  const wake = ({ name }: { readonly name: string }, payload: object) => {
    if (name === expireOffers.name) hasOffers = true;
    if ("campaignId" in payload) campaignIds.push(String(payload.campaignId));
    if ("partnerId" in payload) partnerIds.push(String(payload.partnerId));
  };
  await sweep({ ...context, waker: { ...quietWaker, wake } });
  return { campaignIds, partnerIds, hasOffers };
}
