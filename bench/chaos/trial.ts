import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { check, type Evidence, type FinalState, type Verdict } from "./checker.ts";
import { tryClockChanges } from "./clock-change.ts";
import { behaviours, campaigns, type PartnerPlan, planPartners } from "./configuration.ts";
import { breakThings, type Recovery } from "./faults.ts";
import { type AnsweredLead, generate } from "./generator.ts";
import { type Observer, openObserver } from "./observer.ts";
import { seeded } from "./random.ts";
import type { ReceivedRequest } from "./record.ts";
import { ask, type SetUp, setUp } from "./set-up.ts";
import type { Stage } from "./stage.ts";

export interface TrialSize {
  readonly leads: number;
  readonly perSecond: number;
  readonly workerKills: number;
  readonly runOutMs: number;
}

export interface TrialResult {
  readonly accepted: number;
  readonly verdict: Verdict;
  readonly recovery: Recovery;
  readonly outcomes: Readonly<Record<string, number>>;
}

/** Lets leads flow through the stage while things break, lets everything run out, and has it checked. */
export async function runTrial(
  stage: Stage,
  { leads, perSecond, workerKills, runOutMs }: TrialSize,
  seed: number,
): Promise<TrialResult> {
  const observer = openObserver(stage.postgres.databaseUrl);
  try {
    const api = { base: stage.apis[1] ?? "", apiKey: stage.apiKey };
    const plans = planPartners(leads, Date.now());
    const made = await setUp(api, plans, stage.receiverPort);
    const durationMs = (leads * 1000) / perSecond;
    stage.log(`${leads} leads flow for ${Math.round(durationMs / 1000)} s; meanwhile:`);
    const clock = passTimeUntilStopped(observer, 2_000);
    const [answered, faults] = await Promise.all([
      generate(stage.apis, made, leads, perSecond, seeded(seed)),
      breakThings(stage, observer, durationMs, workerKills, seeded(seed + 1)),
    ]);
    await clock.stop();
    stage.log("Everything is let run out.");
    await openForGood(api, made, plans);
    const outcomes = await runOut(observer, runOutMs);
    stage.log("The hours of a clock change, in a process whose clock is set.");
    const clockPlans = await tryClockChanges(stage);
    const evidence = await collect(stage, observer, plans, clockPlans, made, answered);
    return {
      accepted: answered.filter(({ leadId }) => leadId !== null).length,
      verdict: check(evidence),
      recovery: faults.recovery,
      outcomes,
    };
  } finally {
    await observer.close();
  }
}

function passTimeUntilStopped(observer: Observer, everyMs: number) {
  let isStopped = false;
  const passing = (async () => {
    while (!isStopped) {
      await observer.passTime({ endHolds: false }).catch(() => undefined);
      await sleep(everyMs);
    }
  })();
  return {
    async stop() {
      isStopped = true;
      await passing;
    },
  };
}

/** The partner that closed is opened by its staff: what had to wait for tomorrow goes now. */
async function openForGood(
  api: { base: string; apiKey: string },
  { partners }: SetUp,
  plans: readonly PartnerPlan[],
): Promise<void> {
  const plan = plans.find(({ name }) => name === "closing");
  const [id] = [...partners].find(([, name]) => name === "closing") ?? [];
  if (plan === undefined || id === undefined) throw new Error("There is no partner that closes.");
  plan.open = [...(plan.open ?? []), [Date.now(), Number.POSITIVE_INFINITY]];
  await ask(api, "PATCH", `/v1/partners/${id}`, { schedule: null });
}

/** Until nothing is under way any more, but no longer than `limitMs`; holds end half-way. */
async function runOut(observer: Observer, limitMs: number): Promise<Readonly<Record<string, number>>> {
  const startedAt = performance.now();
  for (;;) {
    const spentMs = performance.now() - startedAt;
    await observer.passTime({ endHolds: spentMs > 12_000 }).catch(() => undefined);
    const [row] = await observer
      .query<{ open: number }>(
        `select ((select count(*) from leads where state in ('received', 'routing', 'held'))
          + (select count(*) from deliveries where state in ('held', 'offered', 'sending'))
          + (select count(*) from alerts where state = 'due'))::integer as open`,
      )
      .catch(() => [{ open: 1 }]);
    if (row?.open === 0 || spentMs > limitMs) break;
    await sleep(500);
  }
  const rows = await observer.query<{ state: string; count: number }>(
    "select state, count(*)::integer as count from deliveries group by state",
  );
  return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
}

const behaviourNames = Object.keys(behaviours) as [keyof typeof behaviours, ...(keyof typeof behaviours)[]];
const requestSchema = z.object({
  number: z.int(),
  atMs: z.number(),
  partner: z.string(),
  key: z.string(),
  leadId: z.string(),
  body: z.string(),
  answered: z.enum(behaviourNames),
  taken: z.boolean(),
  clock: z.string().optional(),
});
const forbiddenSchema = z.object({ forbidden: z.string() });
const messageSchema = z.object({ message: z.string(), key: z.string(), leadId: z.string().optional() });

async function collect(
  stage: Stage,
  observer: Observer,
  plans: readonly PartnerPlan[],
  clockPlans: readonly PartnerPlan[],
  made: SetUp,
  answered: readonly AnsweredLead[],
): Promise<Evidence> {
  const lines = (await readLines(stage.recordFile)).map((line) =>
    z.union([requestSchema, forbiddenSchema]).parse(line),
  );
  const messages = (await readLines(stage.messagesFile)).map((line) => messageSchema.parse(line));
  const requests = lines.filter((line): line is z.infer<typeof requestSchema> => "number" in line) as ReceivedRequest[];
  return {
    partners: [...plans, ...clockPlans],
    campaigns,
    answered,
    requests,
    forbidden: lines.length - requests.length,
    mails: messages.flatMap(({ message, key, leadId }) => (message === "mail" && leadId ? [{ key, leadId }] : [])),
    final: await readFinal(observer, made),
  };
}

async function readLines(file: string): Promise<readonly unknown[]> {
  const text = await readFile(file, "utf8");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line): unknown => JSON.parse(line));
}

async function readFinal(observer: Observer, { partners, campaigns: made }: SetUp): Promise<FinalState> {
  const campaignName = new Map(made.map(({ id, plan }) => [id, plan.name]));
  const leads = await observer.query<{ id: string; campaign: string; state: string; email: string }>(
    "select id, campaign_id as campaign, state, fields ->> 'email' as email from leads",
  );
  const deliveries = await observer.query<{ id: string; leadId: string; partner: string; state: string }>(
    'select id, lead_id as "leadId", partner_id as partner, state from deliveries',
  );
  const charges = await observer.query<{ deliveryId: string; leadId: string; kind: string }>(
    `select delivery_id as "deliveryId", lead_id as "leadId", kind from transactions where kind in ('post', 'reverse')`,
  );
  const [sums] = await observer.query<{
    entriesSum: number;
    balancesWrong: number;
    reservedMinor: number;
    alertsOpen: number;
  }>(
    `select (select coalesce(sum(amount_minor), 0) from entries)::integer as "entriesSum",
      (select count(*) from accounts a where balance_minor <>
        (select coalesce(sum(amount_minor), 0) from entries e where e.account_id = a.id))::integer as "balancesWrong",
      (select coalesce(sum(balance_minor), 0) from accounts where kind = 'reserved')::integer as "reservedMinor",
      (select count(*) from alerts where state = 'due')::integer as "alertsOpen"`,
  );
  if (sums === undefined) throw new Error("The database gave no sums.");
  return {
    leads: leads.map((lead) => ({ ...lead, campaign: campaignName.get(lead.campaign) ?? "" })),
    deliveries: deliveries.map((delivery) => ({ ...delivery, partner: partners.get(delivery.partner) ?? "" })),
    charges,
    ...sums,
  };
}
