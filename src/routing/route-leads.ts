import { sql } from "kysely";
import { drainPartner } from "../../queues/drain-partner.ts";
import { routeLeads } from "../../queues/route-leads.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import type { DeliveryState, HoldReason, LeadFields, LeadState } from "../db/tables.ts";
import { book, type Movement, reserveMovement } from "../ledger/book.ts";
import { saveUsage } from "../partners/save-usage.ts";
import type { Candidate } from "./assess.ts";
import { type Choice, choosePartners, type HeldFor, type Hold, type Placed } from "./choose.ts";
import { HoldSlots } from "./hold-slots.ts";
import { type LoadedMarket, loadMarket, routedPartnerIds } from "./market.ts";

/** Leads that one transaction decides. Large enough that its statements cost each lead little, small enough to be short. */
const batchSize = 50;

/** A job hands the worker back after this long, so that one busy campaign does not keep a place for ever. */
const sliceMs = 2_000;

/**
 * Routes the leads of one campaign that are due, batch by batch, until none is left or the slice is over; then the rest
 * is left to another job. Any number may run at once for one campaign: each lead is claimed by one.
 */
export async function routeDueLeads(context: Context, organisationId: string, campaignId: string): Promise<void> {
  const endsAt = performance.now() + sliceMs;
  for (;;) {
    const batch = await routeBatch(context, organisationId, campaignId);
    for (const partnerId of batch.partnerIds) context.waker.wake(drainPartner, { organisationId, partnerId });
    if (batch.leads < batchSize) return;
    if (performance.now() > endsAt) {
      context.waker.wake(routeLeads, { organisationId, campaignId });
      return;
    }
  }
}

interface ClaimedLead {
  readonly id: string;
  readonly fields: LeadFields;
  readonly introducerId: string | null;
  readonly state: LeadState;
  readonly soldCount: number;
  readonly receivedAt: Date;
  readonly holdEndsAt: Date;
}

interface EarlierDelivery {
  readonly id: string;
  readonly leadId: string;
  readonly partnerId: string;
  readonly groupId: string | null;
  readonly state: DeliveryState;
  readonly holdUntil: Date | null;
  readonly holdReason: HoldReason | null;
  readonly dueAt: Date | null;
  readonly withdrawn: boolean;
}

/** Decides up to `batchSize` due leads in one transaction: claims them, takes places and money, writes what was decided. */
async function routeBatch(context: Context, organisationId: string, campaignId: string) {
  const now = context.clock();
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const leads = await claimLeads(transaction, campaignId, now);
    if (leads.length === 0) return { leads: 0, partnerIds: new Set<string>() };
    const campaign = await transaction
      .selectFrom("campaigns")
      .select(["id", "saleLimit", "whenClosed", "whenCapped", "whenUnfunded", "whenUncertain", "routing"])
      .where("id", "=", campaignId)
      .executeTakeFirstOrThrow();
    const earlier = await readEarlierDeliveries(transaction, leads);
    const market = await loadMarket(transaction, campaign, routedPartnerIds(campaign), "lock");
    const slots = new HoldSlots(transaction, market.buyers);

    const decided: DecidedLead[] = [];
    for (const lead of leads) {
      const deliveries = earlier.get(lead.id) ?? [];
      const decision = decide(lead, deliveries, campaign.whenUncertain, market, now);
      decided.push(await toRows(decision, slots, now));
    }
    await save(transaction, organisationId, campaignId, decided, market, now);
    return {
      leads: leads.length,
      partnerIds: new Set(decided.flatMap((lead) => lead.sends.map((send) => send.partnerId))),
    };
  });
}

/** Leads whose time has come, oldest first, that no other worker has in hand. */
async function claimLeads(transaction: Database, campaignId: string, now: Date): Promise<readonly ClaimedLead[]> {
  return transaction
    .selectFrom("leads")
    .select(["id", "fields", "introducerId", "state", "soldCount", "receivedAt", "holdEndsAt"])
    .where("campaignId", "=", campaignId)
    .where("dueAt", "<=", now)
    .orderBy("dueAt")
    .limit(batchSize)
    .forNoKeyUpdate()
    .skipLocked()
    .execute();
}

async function readEarlierDeliveries(
  transaction: Database,
  leads: readonly ClaimedLead[],
): Promise<ReadonlyMap<string, EarlierDelivery[]>> {
  const ids = leads.filter((lead) => lead.state !== "received").map((lead) => lead.id);
  const byLead = new Map<string, EarlierDelivery[]>();
  if (ids.length === 0) return byLead;
  const rows = await transaction
    .selectFrom("deliveries")
    .select(["id", "leadId", "partnerId", "groupId", "state", "holdUntil", "holdReason", "dueAt", "withdrawn"])
    .where("leadId", "in", ids)
    .orderBy("id")
    .execute();
  for (const row of rows) {
    const deliveries = byLead.get(row.leadId) ?? [];
    deliveries.push(row);
    byLead.set(row.leadId, deliveries);
  }
  return byLead;
}

/** Deliveries in these states have a place; `uncertain` has one too unless the campaign says that the lead goes on. */
const placedStates: readonly DeliveryState[] = ["offered", "sending", "delivered"];

/** A partner that had the lead in one of these ways may get it again: it never saw it. */
const notHadStates: readonly DeliveryState[] = ["held", "cancelled", "expired"];

interface Decision {
  readonly lead: ClaimedLead;
  readonly held: readonly EarlierDelivery[];
  readonly choice: Choice;
  readonly underWay: boolean;
  readonly isUncertain: boolean;
}

function decide(
  lead: ClaimedLead,
  deliveries: readonly EarlierDelivery[],
  whenUncertain: "staff" | "next",
  market: LoadedMarket,
  now: Date,
): Decision {
  const isUncertain = deliveries.some((delivery) => delivery.state === "uncertain");
  const placed: Placed[] = deliveries.filter(
    ({ state }) => placedStates.includes(state) || (state === "uncertain" && whenUncertain === "staff"),
  );
  const held = deliveries.filter((delivery) => delivery.state === "held");
  const heldFor: HeldFor = new Map(
    held.map((delivery) => [delivery.partnerId, { turnPassed: delivery.holdReason?.turnPassed ?? false }]),
  );
  const had = deliveries.filter(({ state, withdrawn }) => withdrawn || !notHadStates.includes(state));
  const hadBy = new Map(had.map((delivery) => [delivery.partnerId, delivery.state]));
  const routable = { fields: lead.fields, introducerId: lead.introducerId, hadBy };
  const choice = choosePartners(routable, placed, heldFor, market, now);
  const holdsAreOver = now >= lead.holdEndsAt;
  return {
    lead,
    held,
    choice: holdsAreOver ? { ...choice, holds: [] } : choice,
    underWay: deliveries.some(({ state }) => state === "offered" || state === "sending"),
    isUncertain,
  };
}

interface SendRow {
  readonly id: string;
  readonly isNew: boolean;
  readonly partnerId: string;
  readonly candidate: Candidate;
}

interface HoldRow {
  readonly id: string;
  readonly isNew: boolean;
  readonly hold: Hold;
  readonly dueAt: Date;
}

interface DecidedLead {
  readonly lead: ClaimedLead;
  readonly choice: Choice;
  readonly sends: readonly SendRow[];
  readonly holds: readonly HoldRow[];
  readonly cancelledIds: readonly string[];
  readonly state: LeadState;
  readonly stateReason: { code: string } | null;
  readonly dueAt: Date | null;
}

/** What a decision comes to as rows: held deliveries are carried on, turned into sends, or cancelled. */
async function toRows(decision: Decision, slots: HoldSlots, now: Date): Promise<DecidedLead> {
  const { lead, held, choice } = decision;
  const earlierHold = (partnerId: string) => held.find((delivery) => delivery.partnerId === partnerId);
  const sends = choice.sends.map((candidate) => {
    const earlier = earlierHold(candidate.partnerId);
    return { id: earlier?.id ?? newId(), isNew: earlier === undefined, partnerId: candidate.partnerId, candidate };
  });
  const holds: HoldRow[] = [];
  for (const hold of choice.holds) {
    const earlier = earlierHold(hold.candidate.partnerId);
    const isSameWait =
      earlier?.holdUntil?.getTime() === hold.until.getTime() && earlier.dueAt !== null && earlier.dueAt > now;
    const slot = isSameWait && earlier.dueAt !== null ? earlier.dueAt : await slots.next(hold);
    const dueAt = new Date(Math.min(slot.getTime(), lead.holdEndsAt.getTime()));
    holds.push({ id: earlier?.id ?? newId(), isNew: earlier === undefined, hold, dueAt });
  }
  const kept = new Set([...sends, ...holds].map((row) => row.id));
  const cancelledIds = held.filter((delivery) => !kept.has(delivery.id)).map((delivery) => delivery.id);
  return { lead, choice, sends, holds, cancelledIds, ...stateAfter(decision, sends.length, holds, now) };
}

/** The lead's state after the decision, why, and when routing has to look at it again. */
function stateAfter(
  { lead, choice, underWay, isUncertain }: Decision,
  sends: number,
  holds: readonly HoldRow[],
  now: Date,
): Pick<DecidedLead, "state" | "stateReason" | "dueAt"> {
  const dueAt = holds.reduce<Date | null>(
    (soonest, hold) => (soonest === null || hold.dueAt < soonest ? hold.dueAt : soonest),
    null,
  );
  if (sends > 0 || underWay) return { state: "routing", stateReason: null, dueAt };
  const [hold] = holds;
  if (hold !== undefined) return { state: "held", stateReason: hold.hold.reason, dueAt };
  if (lead.soldCount > 0) return { state: "sold", stateReason: null, dueAt: null };
  return {
    state: "unsold",
    stateReason: { code: unsoldCode(choice, isUncertain, now >= lead.holdEndsAt) },
    dueAt: null,
  };
}

function unsoldCode({ considered }: Choice, isUncertain: boolean, holdsAreOver: boolean): string {
  if (isUncertain) return "delivery_uncertain";
  if (considered.length === 0) return "no_partners";
  if (holdsAreOver && considered.some((partner) => partner.result === "blocked" || partner.result === "held"))
    return "hold_expired";
  if (considered.some((partner) => partner.reasons.some((reason) => reason.code === "already_had")))
    return "all_refused";
  return "no_partner_eligible";
}

async function save(
  transaction: Database,
  organisationId: string,
  campaignId: string,
  decided: readonly DecidedLead[],
  market: LoadedMarket,
  now: Date,
): Promise<void> {
  await saveDeliveries(transaction, organisationId, campaignId, decided, market, now);
  await saveLeads(transaction, organisationId, decided, now);
  const takers = [...new Set(decided.flatMap((lead) => lead.sends.map((send) => send.partnerId)))];
  const usages = takers.flatMap((partnerId) => {
    const standing = market.standings.get(partnerId);
    return standing === undefined ? [] : [standing.usage, standing.campaignUsage];
  });
  await saveUsage(transaction, usages);
  await book(transaction, organisationId, reservations(decided, market), now);
  if (decided.some((lead) => lead.sends.length + lead.holds.length > 0)) {
    await saveTurns(transaction, organisationId, campaignId, market);
  }
}

async function saveDeliveries(
  transaction: Database,
  organisationId: string,
  campaignId: string,
  decided: readonly DecidedLead[],
  market: LoadedMarket,
  now: Date,
): Promise<void> {
  const cancelledIds = decided.flatMap((lead) => lead.cancelledIds);
  if (cancelledIds.length > 0) {
    await transaction
      .updateTable("deliveries")
      .set({ state: "cancelled", dueAt: null, finishedAt: now })
      .where("id", "in", cancelledIds)
      .where("state", "=", "held")
      .execute();
  }
  const currencyOf = (partnerId: string) => market.buyers.get(partnerId)?.currency ?? "";
  const shared = (lead: ClaimedLead, candidate: Candidate) => ({
    lead_id: lead.id,
    partner_id: candidate.partnerId,
    group_id: candidate.groupId,
    price_minor: candidate.priceMinor,
    currency: currencyOf(candidate.partnerId),
  });
  const rows = decided.flatMap((lead) => [
    ...lead.sends.map((send) => ({
      id: send.id,
      is_new: send.isNew,
      ...shared(lead.lead, send.candidate),
      state: "sending",
      due_at: now,
      hold_until: null,
      hold_reason: null,
      reserved_at: now,
    })),
    ...lead.holds.map(({ id, isNew, hold, dueAt }) => ({
      id,
      is_new: isNew,
      ...shared(lead.lead, hold.candidate),
      state: "held",
      due_at: dueAt,
      hold_until: hold.until,
      hold_reason: { reason: hold.reason, turnPassed: hold.turnPassed } satisfies HoldReason,
      reserved_at: null,
    })),
  ]);
  if (rows.length === 0) return;
  await sql`
    with given as (
      select * from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as g (
        id uuid, is_new boolean, lead_id uuid, partner_id uuid, group_id uuid, price_minor bigint, currency text, state text,
        due_at timestamptz, hold_until timestamptz, hold_reason jsonb, reserved_at timestamptz)
    ), changed as (
      update deliveries d
      set state = g.state, due_at = g.due_at, hold_until = g.hold_until, hold_reason = g.hold_reason,
          reserved_at = g.reserved_at, price_minor = g.price_minor, group_id = g.group_id
      from given g where not g.is_new and d.id = g.id and d.state = 'held'
    )
    insert into deliveries (id, organisation_id, lead_id, campaign_id, partner_id, group_id, state, due_at, hold_until,
      hold_reason, price_minor, currency, reserved_at, created_at)
    select id, ${organisationId}::uuid, lead_id, ${campaignId}::uuid, partner_id, group_id, state, due_at, hold_until,
      hold_reason, price_minor, currency, reserved_at, ${now}::timestamptz
    from given where is_new
  `.execute(transaction);
}

async function saveLeads(
  transaction: Database,
  organisationId: string,
  decided: readonly DecidedLead[],
  now: Date,
): Promise<void> {
  const rows = decided.map(({ lead, choice, state, stateReason, dueAt }) => ({
    lead_id: lead.id,
    state,
    state_reason: stateReason,
    due_at: dueAt,
    finished_at: state === "sold" || state === "unsold" ? now : null,
    decision_id: newId(),
    explanation: choice.considered,
  }));
  await sql`
    with given as (
      select * from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as g (
        lead_id uuid, state text, state_reason jsonb, due_at timestamptz, finished_at timestamptz, decision_id uuid, explanation jsonb)
    ), changed as (
      update leads l
      set state = g.state, state_reason = g.state_reason, due_at = g.due_at, finished_at = g.finished_at
      from given g where l.id = g.lead_id
    )
    insert into decisions (id, organisation_id, lead_id, decided_at, result, explanation)
    select decision_id, ${organisationId}::uuid, lead_id, ${now}::timestamptz, state, explanation from given
  `.execute(transaction);
}

function reservations(decided: readonly DecidedLead[], market: LoadedMarket): Movement[] {
  return decided.flatMap(({ lead, sends }) =>
    sends.flatMap(({ id, partnerId, candidate }) => {
      const funds = market.funds.get(partnerId);
      if (funds === undefined) throw new Error(`Partner ${partnerId} has no accounts.`);
      const sale = {
        deliveryId: id,
        leadId: lead.id,
        partnerId,
        currency: funds.currency,
        priceMinor: candidate.priceMinor,
      };
      return reserveMovement(sale, funds.accounts);
    }),
  );
}

async function saveTurns(
  transaction: Database,
  organisationId: string,
  campaignId: string,
  { turns }: LoadedMarket,
): Promise<void> {
  const rows = [...turns].map(([groupId, groupTurns]) => ({
    groupId,
    organisationId,
    campaignId,
    turns: JSON.stringify(groupTurns),
  }));
  if (rows.length === 0) return;
  await transaction
    .insertInto("rotations")
    .values(rows)
    .onConflict((conflict) => conflict.column("groupId").doUpdateSet({ turns: sql`excluded.turns` }))
    .execute();
}
