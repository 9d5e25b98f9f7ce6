import { type RawBuilder, sql } from "kysely";
import {
  deliveryUncertainAlert,
  endpointPausedAlert,
  insertAlerts,
  leadReferredAlerts,
  type NewAlert,
} from "../alerts/insert-alerts.ts";
import type { Outcome } from "../channels/contract.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { isInState } from "../db/in-state.ts";
import { recordSet } from "../db/record-set.ts";
import type { DeliveryState } from "../db/tables.ts";
import { costOfAcceptance, type OwedCost } from "../prices/lead-cost.ts";
import { type AcceptedSale, acceptSale } from "../prices/sale-terms.ts";
import type { FinishedAttempt } from "./attempt-delivery.ts";
import type { ClaimedDelivery } from "./claim-deliveries.ts";
import type { DrainedPartner } from "./drained-partner.ts";
import { type EndingSale, endingClauses } from "./end-sales.ts";
import { type EndpointHealth, healthAfter } from "./endpoint-health.ts";
import { changeCost } from "./introducer-cost.ts";
import { type Lease, lockLease } from "./lease.ts";
import { arrivalOf, type NextState, nextState } from "./next-state.ts";

interface SettledAttempt extends FinishedAttempt {
  readonly next: NextState;
  /** What the sale comes to, where this attempt makes it one. */
  readonly accepted: AcceptedSale | null;
}

/** An attempt whose delivery was still ours, with what is owed already for its lead whatever it brings. */
interface WonAttempt extends SettledAttempt {
  readonly leadCostMinor: number;
}

/** What the caller has to wake after the commit. */
export interface Settled {
  /** Campaigns with leads that go on to routing. */
  readonly campaignIds: ReadonlySet<string>;
  readonly hasAlerts: boolean;
  /** How many gave a place in the partner's limits back, or money that was reserved too much. */
  readonly placesBack: number;
  /** Whether the lease was given up with it, and something is due all the same. */
  readonly released: { readonly isMoreDue: boolean } | null;
}

/** That the lease is to be given up with these attempts: nothing else was in hand. The rate allows nothing before `nextSendAt`. */
export interface Release {
  readonly nextSendAt: Date | null;
}

/**
 * Settles a group of finished attempts of one partner in one transaction: attempts, states of deliveries and leads,
 * places, money and alerts. A delivery that this lease no longer holds is left alone: whoever took it over settles it.
 *
 * With `release` the lease is given up in the same transaction, unless places came back, which others are to fill first.
 */
export async function settleAttempts(
  context: Context,
  lease: Lease,
  partner: DrainedPartner,
  attempts: readonly FinishedAttempt[],
  release: Release | null,
): Promise<Settled> {
  const now = context.clock();
  const group = attempts.map((attempt) => {
    const next = nextState(attempt.delivery, attempt.outcome, now, Math.random());
    return { ...attempt, next, accepted: acceptedSale(attempt, next, now) };
  });
  const settled = await inOrganisation(
    context.database,
    lease.organisationId,
    async (transaction, last) => {
      const [won] = await Promise.all([
        saveDeliveries(transaction, lease, group, now),
        ...(release === null ? [] : [lockLease(transaction, lease)]),
      ]);
      const health = won
        .filter(({ channel }) => channel !== "none")
        .reduce((before, { outcome }) => healthAfter(before, outcome, now), partner.health);
      if (won.length === 0) return { campaignIds: [], alerts: 0, health, placesBack: 0, released: null };
      const ending = await endingClauses(transaction, partner, await salesOf(transaction, partner, won), now);
      const placesBack = won.filter(
        ({ next, accepted }) => givesPlaceBack(next.state) || (accepted?.excessMinor ?? 0) > 0,
      ).length;
      const releasing = placesBack > 0 || health === partner.health ? null : release;
      const lookedAt = context.clock();
      const [alerts, { campaignIds, isMoreDue }] = await Promise.all([
        insertAlerts(transaction, lease.organisationId, alertsOf(partner, won, health), now),
        last(async () => {
          const clauses = sql`
            ${attemptClauses(partner, won)}, ${leadClauses(won, now)}, ${ending},
            ${endpointClauses(lease, partner, health, releasing)}`;
          return saveConsequences(transaction, lease, clauses, lookedAt);
        }),
      ]);
      const isWaiting = (releasing?.nextSendAt ?? lookedAt) > lookedAt;
      const released = releasing === null ? null : { isMoreDue: isMoreDue && !isWaiting };
      return { campaignIds, alerts, health, placesBack, released };
    },
    { keepsPlans: true },
  );
  const { campaignIds, alerts, health, placesBack, released } = settled;
  partner.health = health;
  return { campaignIds: new Set(campaignIds), hasAlerts: alerts > 0, placesBack, released };
}

/** A lead that is sent again to a partner that has it is no new sale. */
function acceptedSale({ delivery, outcome }: FinishedAttempt, next: NextState, now: Date): AcceptedSale | null {
  if (outcome.kind !== "accepted" || next.state !== "delivered" || delivery.redeliveryOf === "delivered") return null;
  return acceptSale(delivery, delivery.currency, outcome.price, now);
}

/**
 * Changes the deliveries that are still ours, and gives the attempts that did. Their leads are locked before anything else,
 * in the order of their ids, as everywhere.
 */
async function saveDeliveries(
  transaction: Database,
  lease: Lease,
  group: readonly SettledAttempt[],
  now: Date,
): Promise<readonly WonAttempt[]> {
  const rows = group.map(({ delivery, outcome, next, accepted }) => ({
    id: delivery.id,
    lead_id: delivery.leadId,
    state: next.state,
    due_at: next.retryAt,
    may_have_arrived: next.mayHaveArrived,
    reference: outcome.kind === "accepted" ? outcome.reference : null,
    reason: next.reason,
    finished_at: next.state === "sending" ? null : now,
    gives_place_back: givesPlaceBack(next.state),
    ...saleColumns(delivery, outcome, accepted, now),
  }));
  const leadIds = group.map(({ delivery }) => delivery.leadId);
  const { rows: changed } = await sql<{ id: string; leadCostMinor: number }>`
    with locked as materialized (
      select id, cost_minor from leads where id = any(${leadIds}::uuid[]) order by id for no key update
    )
    update deliveries d
    set state = g.state, due_at = g.due_at, may_have_arrived = g.may_have_arrived, finished_at = g.finished_at,
        reference = coalesce(g.reference, d.reference), reason = g.reason, claim_token = null, sending_since = null,
        redelivery_of = case when g.state = 'sending' then d.redelivery_of end,
        reserved_at = case when g.gives_place_back then null else d.reserved_at end,
        price_minor = coalesce(g.price_minor, d.price_minor), terms = coalesce(g.terms, d.terms),
        billed_minor = coalesce(g.billed_minor, d.billed_minor), billing_point = coalesce(g.billing_point, d.billing_point),
        billing_closes_at = coalesce(g.billing_closes_at, d.billing_closes_at), cost_minor = coalesce(g.cost_minor, d.cost_minor),
        answered_price = coalesce(g.answered_price, d.answered_price), price_note = coalesce(g.price_note, d.price_note),
        sold_at = coalesce(g.sold_at, d.sold_at)
    from locked
    join ${recordSet(
      rows,
      `
      id uuid, lead_id uuid, state text, due_at timestamptz, may_have_arrived boolean, reference text, reason
      text, finished_at timestamptz, gives_place_back boolean, price_minor bigint, terms jsonb, billed_minor bigint,
      billing_point text, billing_closes_at timestamptz, cost_minor bigint, answered_price text, price_note text,
      sold_at timestamptz`,
    )} as g on g.lead_id = locked.id
    where d.id = g.id and ${isInState("d", "sending")} and d.claim_token = ${lease.token}
    returning d.id, locked.cost_minor as lead_cost_minor
  `.execute(transaction);
  const ours = new Map(changed.map(({ id, leadCostMinor }) => [id, leadCostMinor]));
  return group.flatMap((attempt) => {
    const leadCostMinor = ours.get(attempt.delivery.id);
    return leadCostMinor === undefined ? [] : [{ ...attempt, leadCostMinor }];
  });
}

/** What a delivery bears of the sale that it becomes. */
function saleColumns({ leadCost }: ClaimedDelivery, outcome: Outcome, accepted: AcceptedSale | null, now: Date) {
  if (accepted === null) return {};
  return {
    price_minor: accepted.priceMinor,
    terms: accepted.terms,
    billed_minor: accepted.billedMinor,
    billing_point: "accepted",
    billing_closes_at: accepted.closesAt,
    cost_minor: costOfAcceptance(leadCost, accepted.billedMinor, 0).ofSaleMinor,
    answered_price: outcome.kind === "accepted" ? outcome.price : null,
    price_note: accepted.priceNote,
    sold_at: now,
  };
}

/**
 * Writes what follows from attempts, in one statement: the attempts themselves, the leads, places and money, and how the
 * endpoint is doing. Gives the campaigns that have leads to route, and whether more is due to the partner.
 */
async function saveConsequences(
  transaction: Database,
  { partnerId }: Lease,
  clauses: RawBuilder<unknown>,
  now: Date,
): Promise<{ readonly campaignIds: readonly string[]; readonly isMoreDue: boolean }> {
  const { rows } = await sql<{ campaignIds: readonly string[]; isMoreDue: boolean }>`
    with ${clauses}
    select array(select distinct campaign_id from moved_on where due_at is not null) as campaign_ids,
      exists (select from deliveries where partner_id = ${partnerId} and state = 'sending' and due_at <= ${now}) as is_more_due
  `.execute(transaction);
  return rows[0] ?? { campaignIds: [], isMoreDue: false };
}

function attemptClauses({ organisationId }: DrainedPartner, won: readonly WonAttempt[]): RawBuilder<unknown> {
  const rows = won.map(({ delivery, channel, startedAt, durationMs, outcome, status, request, response, next }) => ({
    delivery_id: delivery.id,
    number: delivery.attemptCount,
    channel,
    started_at: startedAt,
    duration_ms: Math.round(durationMs),
    outcome: outcome.kind,
    reason: outcome.reason,
    arrived: arrivalOf(outcome),
    status,
    request,
    response,
    retry_at: next.retryAt,
  }));
  return sql`
    attempted as (
      insert into attempts (delivery_id, number, organisation_id, channel, started_at, duration_ms, outcome, reason, arrived,
        status, request, response, retry_at)
      select delivery_id, number, ${organisationId}::uuid, channel, started_at, duration_ms, outcome, reason, arrived, status,
        request, response, retry_at
      from ${recordSet(
        rows,
        `
        delivery_id uuid, number integer, channel text, started_at timestamptz, duration_ms integer, outcome
        text, reason text, arrived text, status integer, request jsonb, response jsonb, retry_at timestamptz`,
      )} as g
    )`;
}

/** How the endpoint is doing, where that has changed; with `release` the lease is given up, if it is still ours. */
function endpointClauses(
  { token }: Lease,
  partner: DrainedPartner,
  health: EndpointHealth,
  release: Release | null,
): RawBuilder<unknown> {
  const { recent, pausedUntil, pauseReason, pauseCount } = health;
  const isReleased = sql`${release !== null}::boolean and drain_token = ${token}::uuid`;
  return sql`
    endpoint as (
      update endpoints
      set recent = ${recent}, paused_until = ${pausedUntil}, pause_reason = ${pauseReason}, pause_count = ${pauseCount},
          drain_token = case when ${isReleased} then null else drain_token end,
          drain_leased_until = case when ${isReleased} then null else drain_leased_until end,
          next_send_at = case when ${isReleased} then ${release?.nextSendAt ?? null}::timestamptz else next_send_at end
      where partner_id = ${partner.id} and ${health !== partner.health}::boolean
    )`;
}

/**
 * A sale of an exclusive lead is its end. Every other final state goes to routing, which has the whole picture: the next
 * partner, more partners of a shared lead, or the end. A lead that was sent again and is as it was stays as it is, unless routing
 * found it on its way and waits for that.
 */
function leadClauses(won: readonly WonAttempt[], now: Date): RawBuilder<unknown> {
  const rows = won
    .filter(({ next }) => next.state !== "sending")
    .map((attempt) => {
      const { delivery, next } = attempt;
      const isAsBefore = next.state === delivery.redeliveryOf;
      return {
        id: delivery.leadId,
        is_as_before: isAsBefore,
        is_sold: next.state === "delivered" && !isAsBefore,
        cost_minor: isAsBefore ? 0 : owedFor(attempt).ofLeadMinor,
      };
    });
  return sql`
    moved_on as (
      update leads l
      set sold_count = l.sold_count + case when g.is_sold then 1 else 0 end, cost_minor = l.cost_minor + g.cost_minor,
          state = case when e.ends then 'sold' when l.state in ('sold', 'unsold') then 'routing' else l.state end,
          state_reason = null,
          finished_at = case when e.ends then ${now}::timestamptz end,
          due_at = case when e.ends then null else ${now}::timestamptz end
      from ${recordSet(rows, "id uuid, is_as_before boolean, is_sold boolean, cost_minor bigint")} as g
      join leads own on own.id = g.id
      join campaigns k on k.id = own.campaign_id
      -- Held for others it may be where it was not exclusive before.
      cross join lateral (select g.is_sold and k.sale_limit = 1 and not exists (
        select from deliveries h where h.lead_id = g.id and ${isInState("h", "held")}) as ends) e
      where l.id = g.id and l.state not in ('erased', 'returned') and (not g.is_as_before or l.state = 'routing')
      returning l.campaign_id, l.due_at
    )`;
}

function owedFor({ delivery, accepted, leadCostMinor }: WonAttempt): OwedCost {
  return costOfAcceptance(accepted === null ? null : delivery.leadCost, accepted?.billedMinor ?? 0, leadCostMinor);
}

async function salesOf(
  transaction: Database,
  { organisationId }: DrainedPartner,
  won: readonly WonAttempt[],
): Promise<readonly EndingSale[]> {
  const sales: EndingSale[] = [];
  for (const attempt of won) {
    const { delivery, next, accepted } = attempt;
    if (accepted !== null) {
      const { ofSaleMinor, ofLeadMinor } = owedFor(attempt);
      const because = { key: `cost-${delivery.id}`, reason: null, createdBy: "system" };
      const owedMinor = ofSaleMinor + ofLeadMinor;
      const cost = await changeCost(transaction, organisationId, delivery, delivery, owedMinor, because);
      sales.push({ sale: delivery, end: { kind: "accept", accepted }, cost });
    } else if (givesPlaceBack(next.state)) sales.push({ sale: delivery, end: { kind: "void" }, cost: null });
  }
  return sales;
}

function givesPlaceBack(state: DeliveryState): boolean {
  return state === "rejected" || state === "failed";
}

function alertsOf(partner: DrainedPartner, won: readonly WonAttempt[], health: EndpointHealth): NewAlert[] {
  const alerts = won.flatMap(({ delivery, next }) => {
    if (next.state === "delivered" && delivery.redeliveryOf !== "delivered")
      return leadReferredAlerts(partner, delivery);
    if (next.state === "uncertain" && delivery.redeliveryOf === null) {
      return [deliveryUncertainAlert(partner, delivery, next.reason)];
    }
    return [];
  });
  const { pausedUntil, pauseReason } = health;
  const isNewPause = pausedUntil !== null && pausedUntil.getTime() !== partner.health.pausedUntil?.getTime();
  return isNewPause ? [...alerts, endpointPausedAlert(partner, pausedUntil, pauseReason ?? "")] : alerts;
}
