import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { z } from "zod";
import { type OtherInstallation, startOtherInstallation } from "../demo/other-installation.ts";
import { type DemoReceivers, startDemoReceivers } from "../demo/receivers.ts";
import { type NeighbourOrganisation, type ReferredDeal, referDemoDeals } from "../demo/refer-deals.ts";
import { sampleLeadsFile, seedDemo } from "../demo/seed-demo.ts";
import { connectDemoPayPal } from "../demo/seed-demo-payments.ts";
import { type DemoOwner, seedDemoOwner } from "../demo/seed-demo-people.ts";
import { demoAccount } from "../demo/sms-catcher.ts";
import { startWorkers } from "../workers/start-workers.ts";
import { closeOutbound } from "./channels/close-outbound.ts";
import type { Config } from "./config.ts";
import { type Context, checkSecret, closeContext, createLogger, openContext } from "./context.ts";
import { createPool, inOrganisation, openDatabase } from "./db/database.ts";
import { freePort } from "./db/embedded-postgres-server.ts";
import { type FirstOrganisation, openInstallationDatabase, prepareInstallation, readSecret } from "./installation.ts";
import { importLeads } from "./leads/import-leads.ts";
import { readIntakeCampaign } from "./leads/intake-campaign.ts";
import { createApiKey } from "./organisations/api-keys.ts";
import { createOrganisation } from "./organisations/create-organisation.ts";
import { organisationSchema } from "./organisations/organisation.ts";
import { printTable } from "./print-table.ts";
import { createProgress } from "./progress.ts";
import { isAnythingUnderWay, summariseDeliveries } from "./reports/delivery-summary.ts";
import { startServer } from "./server.ts";

export interface Running {
  readonly port: number;
  /** Finishes what is in flight and stops all that was started, in reverse order. */
  stop(): Promise<void>;
}

/** The demo's sample leads are delivered in a few seconds; a machine that needs longer goes on by itself. */
const demoWaitMs = 60_000;

/**
 * Everything in one process: the database, the API, the workers and, unless DEMO=0, receivers to send to and sample leads
 * on the first start. Prints what it does to `print`.
 */
export async function start(config: Config, print: (line: string) => void): Promise<Running> {
  const opened: (() => Promise<unknown>)[] = [];
  const stop = async () => {
    for (const close of opened.splice(0).reverse()) await close();
  };
  try {
    const database = await openInstallationDatabase(config, print);
    opened.push(database.stop);
    const demo = config.demo ? await startDemo(config) : null;
    if (demo !== null) opened.push(demo.stop);
    const organisation = await prepareInstallation(config, database.databaseUrl, new Date());
    // A database of its own takes a while: meanwhile the sample leads are sold.
    const other = demo === null ? null : await startOther(config, demo, organisation.isNew, print);
    if (other !== null) opened.push(other.stop);
    const context = openContext({
      config: demo === null ? config : withDemo(config, demo),
      databaseUrl: database.databaseUrl,
      secret: await readSecret(config),
      log: createLogger(config.logLevel, await openLogFile(config)),
    });
    opened.push(closeOutbound, async () => closeContext(context));
    await checkSecret(context);
    const server = await startServer(context);
    opened.push(server.close);
    startWorkers(context);
    if (demo !== null) await connectDemoPayPal(context, organisation.id, demo.payPal);
    const isFirst = demo !== null && organisation.isNew;
    if (isFirst) {
      const campaignId = await runDemo(context, organisation, demo, print);
      const own = { url: `http://127.0.0.1:${server.port}`, apiKey: organisation.apiKey };
      const neighbour = await makeNeighbour(database.databaseUrl, own.url);
      printReferrals(await referDemoDeals(own, neighbour, (await other?.ready) ?? null, campaignId), print);
    }
    const owner = isFirst ? await seedDemoOwner(context, organisation.id) : null;
    await printReady(context, organisation, server.port, { receivers: demo, owner }, print);
    return { port: server.port, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A log file that has grown beyond this is put aside at the next start; the one before it goes. */
const largestLogBytes = 100_000_000;

/** What a person wants to see is printed; the log goes to a file in the data folder. */
async function openLogFile(config: Config): Promise<string> {
  await mkdir(config.dataDirectory, { recursive: true });
  const file = join(config.dataDirectory, "handoff.log");
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  if (size > largestLogBytes) await rename(file, `${file}.1`);
  return file;
}

const portsSchema = z.object({
  httpPort: z.int(),
  smtpPort: z.int(),
  smsPort: z.int(),
  payPalPort: z.int(),
  otherPort: z.int(),
});
// An older installation's has no port of the demo's PayPal, nor of the other installation.
const keptPortsSchema = portsSchema.partial({ payPalPort: true, otherPort: true });

interface Demo extends DemoReceivers {
  readonly otherPort: number;
}

/** The receivers keep their ports from one start to the next: the demo partners' addresses name them. */
async function startDemo(config: Config): Promise<Demo> {
  const file = join(config.dataDirectory, "demo-ports.json");
  const kept = await readFile(file, "utf8").then(
    (text) => keptPortsSchema.parse(JSON.parse(text)),
    () => null,
  );
  const fresh = kept ?? { httpPort: await freePort(), smtpPort: await freePort(), smsPort: await freePort() };
  const ports = portsSchema.parse({ payPalPort: await freePort(), otherPort: await freePort(), ...fresh });
  const receivers = await startDemoReceivers(ports);
  if (kept?.payPalPort === undefined || kept.otherPort === undefined) await writeFile(file, JSON.stringify(ports));
  return { ...receivers, otherPort: ports.otherPort };
}

/** The installation that the demo refers to. */
async function startOther(
  config: Config,
  { otherPort, mail }: Demo,
  isFirstStart: boolean,
  print: (line: string) => void,
): Promise<OtherInstallation | null> {
  const dataDirectory = join(config.dataDirectory, "other-installation");
  const isThere = await stat(dataDirectory).then(
    () => true,
    () => false,
  );
  // The demo of an older version has none.
  if (!isThere && !isFirstStart) return null;
  const allowHosts = [new URL(config.publicUrl).host];
  return startOtherInstallation({ dataDirectory, port: otherPort, allowHosts, mail }, print);
}

/** A second organisation in the same installation. */
async function makeNeighbour(databaseUrl: string, url: string): Promise<NeighbourOrganisation> {
  const owner = openDatabase(createPool(databaseUrl, "owner", 1));
  try {
    const [by, at] = ["demo", new Date()];
    const document = { name: "Harbour Mortgages", timeZone: "Europe/London", currency: "GBP" };
    const { id, portalCode } = await createOrganisation(owner, organisationSchema.parse(document), by, at);
    const created = await createApiKey(owner, { organisationId: id, by, at }, { name: "First key", expiresAt: null });
    if (created === null) throw new Error("A key that was made at random exists already.");
    return { url, portalCode, apiKey: created.key };
  } finally {
    await owner.destroy();
  }
}

function printReferrals(deals: readonly ReferredDeal[], print: (line: string) => void): void {
  print("Deals that were referred to other organisations, and what came back:");
  print("");
  printTable(
    ["Over", "To", "State", "Became"],
    deals.map(({ over, to, state, status }) => [over, to, state, status ?? ""]),
    print,
  );
  print("");
}

/** The operator's own mail server, SMS account and PayPal stay in use where they are set. */
function withDemo(config: Config, { mail, sms, payPal, allowHosts, otherPort }: Demo): Config {
  const { host, port } = mail;
  return {
    ...config,
    // Its own address too: the demo refers to a neighbour in the same installation.
    allowHosts: [...config.allowHosts, ...allowHosts, `127.0.0.1:${otherPort}`, new URL(config.publicUrl).host],
    smtp: config.smtp ?? {
      host,
      port,
      secure: false,
      username: null,
      password: null,
      from: "Handoff <handoff@demo.test>",
    },
    payPalBaseUrl: config.payPalBaseUrl ?? payPal.url,
    twilio: config.twilio ?? {
      ...demoAccount,
      from: "+447700900000",
      callerNumber: "+447700900000",
      baseUrl: sms.url,
    },
  };
}

async function runDemo(
  context: Context,
  { id }: FirstOrganisation,
  receivers: DemoReceivers,
  print: (line: string) => void,
): Promise<string> {
  print("First start: making a demo campaign with seven partners, and importing samples/leads.csv.");
  const campaign = await readIntakeCampaign(context, id, await seedDemo(context, id, receivers));
  if (campaign === null) throw new Error("The demo campaign was made and cannot be read.");
  const progress = createProgress("Importing", print);
  const report = await importLeads(context, campaign, sampleLeadsFile, ({ rows }) => progress.to(rows));
  progress.end(report.rows);
  const endsAt = performance.now() + demoWaitMs;
  while ((await isAnythingUnderWay(context, id)) && performance.now() < endsAt) await setTimeout(100);
  const { received, duplicates, bad } = report;
  print(`${received} leads taken in, ${duplicates} duplicates, ${bad.length} bad rows:`);
  for (const { line, reason } of bad) print(`  line ${line}: ${reason}`);
  print("");
  await printSummary(context, id, print);
  return campaign.id;
}

async function printSummary(context: Context, organisationId: string, print: (line: string) => void): Promise<void> {
  const rows = await summariseDeliveries(context, organisationId);
  printTable(
    ["Partner", "Method", "Delivered", "Rejected", "Held", "Why held", "p50"],
    rows.map((row) => [
      row.partner,
      row.method,
      row.delivered,
      row.rejected,
      row.held,
      row.heldWhy ?? "",
      row.medianMs === null ? "" : `${row.medianMs} ms`,
    ]),
    print,
  );
  print("");
}

async function printReady(
  context: Context,
  organisation: FirstOrganisation,
  port: number,
  demo: { readonly receivers: DemoReceivers | null; readonly owner: DemoOwner | null },
  print: (line: string) => void,
): Promise<void> {
  const base = `http://localhost:${port}`;
  print(`Handoff is ready at ${base}`);
  print(`API key:    ${organisation.apiKey}`);
  if (demo.owner !== null) print(`Sign in as: ${demo.owner.email} ${demo.owner.password} (shown this once)`);
  print(`API docs:   ${base}/docs`);
  print(`Log:        ${join(context.config.dataDirectory, "handoff.log")}`);
  const { receivers } = demo;
  if (receivers !== null) print(`Demo inbox: ${receivers.partners.url} (what the partners got)`);
  const intakeKey = await readFirstIntakeKey(context, organisation.id);
  if (intakeKey === null) return;
  print("Send one more lead:");
  print(
    `  curl -s '${base}/v1/intake/${intakeKey}?wait=5000' -H 'Content-Type: application/json' ` +
      `-d '{"first_name":"Grace","last_name":"Example","email":"grace.'$RANDOM'@example.com","phone":"+447700900'$((RANDOM % 800 + 200))'","postcode":"SW1A 1AA"}'`,
  );
}

async function readFirstIntakeKey(context: Context, organisationId: string): Promise<string | null> {
  const row = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("intakeKeys")
      .select("keyEncrypted")
      .where("revokedAt", "is", null)
      .orderBy("id")
      .limit(1)
      .executeTakeFirst(),
  );
  return row === undefined ? null : context.vault.decrypt(row.keyEncrypted);
}
