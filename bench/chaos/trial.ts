import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { PartnerStatement } from "./check-money.ts";
import { check, type Evidence, type FinalState, type Verdict } from "./checker.ts";
import { tryClockChanges } from "./clock-change.ts";
import { behaviours, campaigns, type PartnerPlan, planPartners } from "./configuration.ts";
import { breakThings, type Injection, type Recovery } from "./faults.ts";
import { type AnsweredLead, generate, type Intake } from "./generator.ts";
import { type Observer, openObserver } from "./observer.ts";
import { openPayers, type Payers } from "./payers.ts";
import { seeded } from "./random.ts";
import type { EnteredMoney, MovedSale, ReceivedRequest, ReturnedLead } from "./record.ts";
import { readReferrals, referDeals, setUpLinks, tellStatuses } from "./referrers.ts";
import { returnLeads } from "./returners.ts";
import { ask, read, type SetUp, setUp } from "./set-up.ts";
import { type Desk, enterMoney, moveSales } from "./staff.ts";
import type { Stage } from "./stage.ts";

export interface TrialSize {
  readonly leads: number;
  readonly perSecond: number;
  readonly workerKills: number;
}

export interface TrialResult {
  readonly accepted: number;
  readonly verdict: Verdict;
  readonly recovery: Recovery;
  readonly outcomes: Readonly<Record<string, number>>;
  /** What was broken, how often, and what shows it. */
  readonly injected: readonly (readonly [what: string, times: number, evidence: string])[];
  readonly seconds: number;
}

/** Lets leads flow through the stage while things break, lets everything run out, and has it checked. */
export async function runTrial(
  stage: Stage,
  { leads, perSecond, workerKills }: TrialSize,
  seed: number,
): Promise<TrialResult> {
  const startedAt = performance.now();
  const observer = openObserver(stage.postgres.databaseUrl);
  try {
    const api = { base: stage.apis[1] ?? "", apiKey: stage.apiKey };
    const plans = planPartners(leads, Date.now());
    const made = await setUp(api, plans, stage.receiverPort);
    const durationMs = (leads * 1000) / perSecond;
    const intake: Intake = { sent: 0, answered: 0, underWay: [] };
    stage.log(`${leads} leads flow for ${Math.round(durationMs / 1000)} s; meanwhile:`);
    const desk: Desk = {
      apis: stage.apis,
      apiKey: stage.apiKey,
      random: seeded(seed + 2),
      partnerIds: new Map([...made.partners].map(([id, name]) => [name, id])),
    };
    const payers = await openPayers(desk, stage.payPal, stage.publicUrl);
    const receiver = await stage.createOrganisation("Receivers");
    const links = await setUpLinks(desk, { organisation: receiver, referralBase: stage.publicUrl }, made);
    const clock = repeat(2_000, async () => observer.passTime({ endHolds: false }));
    const progress = repeat(10_000, async () => stage.log(await describeProgress(observer, intake, leads)));
    const closing = new AbortController();
    const afterwards = Promise.all([
      moveSales(desk, closing.signal),
      returnLeads(desk, closing.signal),
      referDeals(desk, links, closing.signal),
      tellStatuses(links, closing.signal),
    ]);
    const [answered, faults, entered] = await Promise.all([
      generate(stage.apis, made, leads, perSecond, seeded(seed), intake),
      breakThings(stage, observer, intake, payers, durationMs, workerKills, seeded(seed + 1)),
      enterMoney(desk, durationMs, perSecond),
      payers.pay(durationMs, perSecond),
    ]);
    await clock.stop();
    stage.log("Everything is let run out.");
    await openForGood(api, made, plans);
    await runOut(observer, payers);
    closing.abort();
    const [moved, returned, referred, told] = await afterwards;
    // What was given back in the end has gone on to the next partner.
    const outcomes = await runOut(observer, payers);
    await progress.stop();
    await payers.stop();
    stage.log("The hours of a clock change, in a process whose clock is set.");
    const clockPlans = await tryClockChanges(stage);
    const money = { entered, moved, returned, captures: payers.captures() };
    const referrals = { referred, told, ...(await readReferrals(observer, receiver.id)) };
    const evidence = await collect(stage, observer, [...plans, ...clockPlans], made, answered, money, referrals);
    return {
      accepted: answered.filter(({ leadId }) => leadId !== null).length,
      verdict: check(evidence),
      recovery: faults.recovery,
      outcomes,
      injected: await listInjected(observer, workerKills, faults.injections, evidence, payers),
      seconds: Math.round((performance.now() - startedAt) / 1000),
    };
  } finally {
    await observer.close();
  }
}

/** Does `work` again and again, `everyMs` after it ended, whether it went well or not. */
function repeat(everyMs: number, work: () => Promise<unknown>) {
  const stopping = new AbortController();
  const { signal } = stopping;
  const running = (async () => {
    while (!signal.aborted) {
      await work().catch(() => undefined);
      await sleep(everyMs, undefined, { signal }).catch(() => undefined);
    }
  })();
  return {
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

/** What was referred to the other organisation is a lead there, and has no end of its own. */
const ownLeads = "organisation_id = (select id from organisations order by id limit 1)";

async function describeProgress(observer: Observer, intake: Intake, leads: number): Promise<string> {
  const [row] = await observer.query<{ ended: number; waiting: number }>(
    `select count(*) filter (where state in ('sold', 'unsold', 'returned'))::integer as ended,
      count(*) filter (where state in ('received', 'routing') and due_at <= now())::integer as waiting
      from leads where ${ownLeads}`,
  );
  return `          ${intake.sent} of ${leads} leads sent, ${intake.answered} answered, ${row?.ended} ended, ${row?.waiting} wait for routing`;
}

/** Each kind of fault, how often it came, and what shows that it did: what the faults say, the receiver's record, the database. */
async function listInjected(
  observer: Observer,
  workerKills: number,
  injections: readonly Injection[],
  { requests, answered, partners, entered, moved, returned, referrals }: Evidence,
  payers: Payers,
): Promise<TrialResult["injected"]> {
  const [row] = await observer.query<{ interrupted: number; alerts: number; mails: number }>(
    `select (select count(*) from attempts where outcome = 'interrupted')::integer as interrupted,
      (select count(*) from alerts where attempt_count > 1)::integer as alerts,
      (select count(*) from deliveries d join attempts a on a.delivery_id = d.id
        where a.channel = 'email' and a.outcome = 'retry')::integer as mails`,
  );
  const again = answered.filter(({ tries }) => tries > 1).length;
  const answers = Object.keys(behaviours).filter((name) => name !== "good");
  const ofPartners = answers.map((name) => {
    const found = requests.filter((request) => request.answered === name);
    const leads = new Set(found.map(({ leadId }) => leadId)).size;
    return [`a partner ${answerWords[name] ?? name}`, found.length, `${leads} leads`] as const;
  });
  const clocks = partners.filter(({ mustGet }) => mustGet !== undefined).length;
  const clockRequests = requests.filter(({ clock }) => clock !== undefined).length;
  return [
    ["a worker is killed -9", workerKills, `${row?.interrupted} attempts were interrupted`],
    ...injections.map(({ what, evidence }) => [what, 1, evidence] as const),
    ["an answer to the sender is lost", again, "leads sent again with the same key"],
    [
      "mail or SMS is tried again",
      (row?.alerts ?? 0) + (row?.mails ?? 0),
      `${row?.alerts} alerts, ${row?.mails} leads by mail`,
    ],
    ...ofPartners,
    ...describeMoney(entered, moved, returned),
    ...describeReferrals(referrals),
    ["a partner pays through PayPal", payers.approvedOrders.length, payers.describe()],
    ["clocks change", 2, `${clocks} partners, ${clockRequests} requests`],
  ];
}

function describeMoney(
  entered: readonly EnteredMoney[],
  moved: readonly MovedSale[],
  returned: readonly ReturnedLead[],
) {
  const accepted = returned.filter(({ told }) => told === "accepted").length;
  const refused = entered.filter(({ told }) => told === "refused").length;
  const again = entered.filter(({ tries, transactions }) => tries > 1 || transactions.length > 1).length;
  const [paid, further] = [({ point }: MovedSale) => point !== "accepted", ({ isClosed }: MovedSale) => isClosed].map(
    (is) => moved.filter(is).length,
  );
  return [
    ["staff enter money", entered.length, `${again} more than once with the same key; ${refused} were refused`],
    ["staff move a sale on", paid ?? 0, `of ${moved.length} sales; ${further} were closed`],
    ["a partner returns a lead", returned.length, `${accepted} were accepted`],
  ] as const;
}

function describeReferrals({ referred, told, arrived }: Evidence["referrals"]) {
  const again = referred.filter(({ tries }) => tries > 1).length;
  const known = told.filter(({ status }) => status !== null).length;
  return [
    ["a deal is referred", referred.length, `${arrived.length} arrived; ${again} were asked for more than once`],
    ["a receiver tells what became of it", known, `of ${told.length} deals`],
  ] as const;
}

const answerWords: Readonly<Record<string, string>> = {
  rejected: "says no",
  error: "answers 500",
  busy: "answers 429 with Retry-After",
  hang: "never answers",
  late: "answers after the time-out, has taken the lead",
  cut: "resets in the middle of the answer",
  flood: "sends 10 MB",
  redirect: "redirects to a private address",
};

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

/** As long as something happens a slow machine has its time; this long without anything, and nothing will. */
const standstillMs = 90_000;

/** Until nothing is under way any more, or nothing happens any more. Holds end after some seconds. */
async function runOut(observer: Observer, payers: Payers): Promise<Readonly<Record<string, number>>> {
  const startedAt = performance.now();
  let seen = "";
  let seenAt = startedAt;
  for (;;) {
    await observer.passTime({ endHolds: performance.now() - startedAt > 6_000 }).catch(() => undefined);
    const [row] = await observer
      .query<{ open: number; attempts: number }>(
        `select ((select count(*) from leads where state in ('received', 'routing', 'held') and ${ownLeads})
          + (select count(*) from referrals where state = 'due') + (select count(*) from status_callbacks where state = 'due')
          + (select count(*) from deliveries where state in ('held', 'offered', 'sending'))
          + (select count(*) from alerts where state = 'due')
          + (select count(*) from top_ups where state in ('requested', 'open', 'pending') and order_id = any($1::text[]))
          + (select count(*) from top_up_refunds where state in ('requested', 'pending'))
          + greatest(0, $2::integer - (select count(*) from top_up_refunds where state = 'completed')))::integer as open,
          (select count(*) from attempts)::integer as attempts`,
        [payers.approvedOrders, payers.refundCount()],
      )
      .catch(() => []);
    if (row?.open === 0 || performance.now() - seenAt > standstillMs) break;
    const now = `${row?.open} ${row?.attempts}`;
    if (row !== undefined && now !== seen) [seen, seenAt] = [now, performance.now()];
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
  partners: readonly PartnerPlan[],
  made: SetUp,
  answered: readonly AnsweredLead[],
  money: Pick<Evidence, "entered" | "moved" | "returned" | "captures">,
  referrals: Evidence["referrals"],
): Promise<Evidence> {
  const lines = (await readLines(stage.recordFile)).map((line) =>
    z.union([requestSchema, forbiddenSchema]).parse(line),
  );
  const messages = (await readLines(stage.messagesFile)).map((line) => messageSchema.parse(line));
  const requests = lines.filter((line): line is z.infer<typeof requestSchema> => "number" in line) as ReceivedRequest[];
  return {
    ...money,
    referrals,
    partners,
    statements: await readStatements(stage, made),
    campaigns,
    answered,
    requests,
    forbidden: lines.length - requests.length,
    mails: messages.flatMap(({ message, key, leadId }) => (message === "mail" && leadId ? [{ key, leadId }] : [])),
    final: { ...(await readFinal(observer, made)), verifyFinds: await stage.verifyLedger() },
  };
}

const fundsSchema = z.looseObject({ funds: z.looseObject({ balance: z.int(), reserved: z.int() }) });
const statementSchema = z.looseObject({
  opening: z.int(),
  closing: z.int(),
  entries: z.array(z.looseObject({ kind: z.string(), reason: z.string().nullable(), amount: z.int() })),
});

/** What the API tells each partner of its money. */
async function readStatements({ apis, apiKey }: Stage, { partners }: SetUp): Promise<readonly PartnerStatement[]> {
  // The other one was killed, and may have died again when it came back.
  const api = { base: apis[1] ?? "", apiKey };
  return Promise.all(
    [...partners].map(async ([id, partner]) => {
      const { funds } = fundsSchema.parse(await read(api, `/v1/partners/${id}`));
      const statement = statementSchema.parse(await read(api, `/v1/partners/${id}/statement?from=2020-01-01`));
      return {
        partner,
        balanceMinor: funds.balance,
        reservedMinor: funds.reserved,
        openingMinor: statement.opening,
        closingMinor: statement.closing,
        entries: statement.entries.map(({ kind, reason, amount }) => ({ kind, reason, amountMinor: amount })),
      };
    }),
  );
}

async function readLines(file: string): Promise<readonly unknown[]> {
  const text = await readFile(file, "utf8");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line): unknown => JSON.parse(line));
}

async function readFinal(
  observer: Observer,
  { partners, campaigns: made }: SetUp,
): Promise<Omit<FinalState, "verifyFinds">> {
  const campaignName = new Map(made.map(({ id, plan }) => [id, plan.name]));
  const leads = await observer.query<{ id: string; campaign: string; state: string; email: string }>(
    `select id, campaign_id as campaign, state, fields ->> 'email' as email from leads where ${ownLeads}`,
  );
  const deliveries = await observer.query<{ id: string; leadId: string; partner: string; state: string }>(
    'select id, lead_id as "leadId", partner_id as partner, state from deliveries',
  );
  const charges = await observer.query<{ deliveryId: string; kind: string; amountMinor: number }>(
    `select t.delivery_id as "deliveryId", t.kind, coalesce(sum(e.amount_minor) filter (where e.amount_minor > 0), 0)::integer as "amountMinor"
      from transactions t join entries e on e.transaction_id = t.id
      where t.kind in ('post', 'reverse') group by t.id, t.delivery_id, t.kind`,
  );
  const accounts = await observer.query<{ partner: string; paidMinor: number; reservedMinor: number }>(
    `select partner_id as partner, coalesce(sum(balance_minor) filter (where kind = 'revenue'), 0)::integer as "paidMinor",
      coalesce(sum(balance_minor) filter (where kind = 'reserved'), 0)::integer as "reservedMinor"
      from accounts where partner_id is not null group by partner_id`,
  );
  const [sums] = await observer.query<{ entriesSum: number; balancesWrong: number; alertsOpen: number }>(
    `select (select coalesce(sum(amount_minor), 0) from entries)::integer as "entriesSum",
      (select count(*) from accounts a where balance_minor <>
        (select coalesce(sum(amount_minor), 0) from entries e where e.account_id = a.id))::integer as "balancesWrong",
      (select count(*) from alerts where state = 'due')::integer as "alertsOpen"`,
  );
  if (sums === undefined) throw new Error("The database gave no sums.");
  return {
    leads: leads.map((lead) => ({ ...lead, campaign: campaignName.get(lead.campaign) ?? "" })),
    deliveries: deliveries.map((delivery) => ({ ...delivery, partner: partners.get(delivery.partner) ?? "" })),
    charges,
    accounts: accounts.map((account) => ({ ...account, partner: partners.get(account.partner) ?? "" })),
    ...sums,
  };
}
