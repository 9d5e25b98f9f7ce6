import pg from "pg";
import { campaignSchema } from "../../src/campaigns/campaign.ts";
import { createCampaign } from "../../src/campaigns/store-campaign.ts";
import { readConfig } from "../../src/config.ts";
import { type Context, closeContext, openContext } from "../../src/context.ts";
import { drainDueDeliveries } from "../../src/delivery/drain-partner.ts";
import { prepareInstallation } from "../../src/installation.ts";
import { readIntakeCampaign } from "../../src/leads/intake-campaign.ts";
import { receiveLead } from "../../src/leads/receive-lead.ts";
import { partnerSchema } from "../../src/partners/partner.ts";
import { createPartner } from "../../src/partners/store-partner.ts";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import type { PartnerPlan } from "./configuration.ts";
import type { Stage } from "./stage.ts";

/**
 * Leads through the nights on which London's clocks change. No process can be made to live in another night without a knob in
 * the product, so this part runs the product's own functions here, with a clock that the trial sets, on a database of its own.
 * The receiver is told the time that is set and notes it with each request.
 *
 * When partners are open is written as instants, by hand, from the rule: a local time that the change skips moves forward by the
 * gap; of a doubled one, a start takes the first and an end the second.
 */
const nights = [
  // At 01:00 UTC 01:00 becomes 02:00.
  { night: "2026-03-29", window: ["00:30", "01:30"], open: ["00:30", "01:30"] },
  { night: "2026-03-29", window: ["01:15", "01:45"], open: ["01:15", "01:45"] },
  { night: "2026-03-29", window: ["02:10", "02:40"], open: ["01:10", "01:40"] },
  // At 01:00 UTC 02:00 becomes 01:00: an hour comes twice.
  { night: "2026-10-25", window: ["01:15", "01:45"], open: ["00:15", "01:45"] },
  { night: "2026-10-25", window: ["02:00", "02:30"], open: ["02:00", "02:30"] },
] as const;

const stepMinutes = 5;
const stepsPerNight = 36;

/** Gives the partners with the instants at which they are open, and how many leads each had to get. */
export async function tryClockChanges(stage: Stage): Promise<readonly PartnerPlan[]> {
  const databaseUrl = await createDatabase(stage.postgres.databaseUrl);
  const read = readConfig({
    HANDOFF_ALLOW_HOSTS: `127.0.0.1:${stage.receiverPort}`,
    HANDOFF_API_KEY: stage.apiKey,
    LOG_LEVEL: "silent",
  });
  if (!read.ok) throw new Error(read.problems.join("\n"));
  let now = new Date(`${nights[0].night}T00:00:00Z`);
  const { id: organisationId } = await prepareInstallation(read.config, databaseUrl, now);
  const context = openContext({ config: read.config, databaseUrl, secret: "s".repeat(32), clock: () => now });
  try {
    const plans: PartnerPlan[] = [];
    for (const night of new Set(nights.map((one) => one.night))) {
      now = new Date(`${night}T00:00:00Z`);
      const places = [];
      for (const [place, one] of nights.entries()) {
        if (one.night !== night) continue;
        const { plan, campaignId } = await addPartner(context, organisationId, stage.receiverPort, place);
        plans.push(plan);
        places.push(campaignId);
      }
      for (let step = 0; step < stepsPerNight; step += 1) {
        now = new Date(Date.parse(`${night}T00:00:00Z`) + step * stepMinutes * 60_000);
        await fetch(`http://127.0.0.1:${stage.receiverPort}/clock`, { method: "POST", body: now.toISOString() });
        for (const campaignId of places) await takeIn(context, organisationId, campaignId, step);
        await doWhatIsDue(context, databaseUrl, organisationId, now);
      }
      // Four days later all holds have ended: nothing is left for another Sunday.
      now = new Date(now.getTime() + 4 * 86_400_000);
      await doWhatIsDue(context, databaseUrl, organisationId, now);
    }
    return plans;
  } finally {
    await closeContext(context, 2_000);
  }
}

async function createDatabase(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query("create database clock_change");
  await client.end();
  const created = new URL(url);
  created.pathname = "/clock_change";
  return created.href;
}

async function addPartner(context: Context, organisationId: string, receiverPort: number, place: number) {
  const one = nights[place];
  if (one === undefined) throw new Error("No such night.");
  const name = `clock-${place}`;
  const change = { organisationId, by: "chaos", at: context.clock() };
  const [from, to] = one.window;
  const partner = await createPartner(
    context,
    change,
    partnerSchema.parse({
      name,
      timeZone: "Europe/London",
      currency: "GBP",
      creditLimit: 100_000_000,
      leadValue: 1000,
      whenClosed: "hold",
      spreadSeconds: 0,
      schedule: { sun: [{ from, to }] },
      internet: {
        method: "json",
        url: `http://127.0.0.1:${receiverPort}/${name}`,
        body: '{"lead": {{ lead.id }}}',
        success: { path: "$.outcome", equals: "success" },
      },
    }),
  );
  if (partner.kind !== "stored") throw new Error(JSON.stringify(partner));
  const campaign = await createCampaign(
    context,
    change,
    campaignSchema.parse({
      name,
      timeZone: "Europe/London",
      fields: [{ key: "first_name", type: "text" }],
      routing: [{ partners: [{ partnerId: partner.id }] }],
    }),
  );
  if (campaign.kind !== "stored") throw new Error(JSON.stringify(campaign));
  const [opens, closes] = one.open.map((time) => Date.parse(`${one.night}T${time}:00Z`));
  const plan: PartnerPlan = {
    name,
    method: "json",
    weight: 1,
    priceMinor: 1000,
    creditMinor: 100_000_000,
    dayLimit: 0,
    mix: {},
    open: [[opens ?? 0, closes ?? 0]],
    // Those that came before it closed; the first of them waited for the opening.
    mustGet: Math.ceil(((closes ?? 0) - Date.parse(`${one.night}T00:00:00Z`)) / (stepMinutes * 60_000)),
    document: {},
  };
  return { plan, campaignId: campaign.id };
}

async function takeIn(context: Context, organisationId: string, campaignId: string, step: number): Promise<void> {
  const campaign = await readIntakeCampaign(context, organisationId, campaignId);
  if (campaign === null) throw new Error("No such campaign.");
  const entrance = { campaign, intakeKeyId: null, introducerId: null };
  await receiveLead(context, entrance, { raw: { first_name: `Night ${step}` }, idempotencyKey: null, source: null });
}

/** What the sweep and the queue would see to. */
async function doWhatIsDue(context: Context, databaseUrl: string, organisationId: string, now: Date): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    for (let rounds = 0; rounds < 20; rounds += 1) {
      const leads = await client.query("select campaign_id as id from due_campaigns($1)", [now]);
      const deliveries = await client.query("select partner_id as id from due_partners($1)", [now]);
      if (leads.rows.length + deliveries.rows.length === 0) return;
      for (const { id } of leads.rows) await routeDueLeads(context, organisationId, String(id));
      for (const { id } of deliveries.rows) await drainDueDeliveries(context, organisationId, String(id));
    }
  } finally {
    await client.end();
  }
}
