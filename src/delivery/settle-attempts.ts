import { sql } from "kysely";
import {
  deliveryUncertainAlert,
  endpointPausedAlert,
  insertAlerts,
  leadReferredAlerts,
  type NewAlert,
} from "../alerts/insert-alerts.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import type { DeliveryState } from "../db/tables.ts";
import type { FinishedAttempt } from "./attempt-delivery.ts";
import type { DrainedPartner } from "./drained-partner.ts";
import { endSales, type SaleEnd } from "./end-sales.ts";
import { type EndpointHealth, healthAfter } from "./endpoint-health.ts";
import type { Lease } from "./lease.ts";
import { arrivalOf, type NextState, nextState } from "./next-state.ts";

interface SettledAttempt extends FinishedAttempt {
  readonly next: NextState;
}

/** What the caller has to wake after the commit. */
export interface Settled {
  /** Campaigns with leads that go on to routing. */
  readonly campaignIds: ReadonlySet<string>;
  readonly hasAlerts: boolean;
}

/**
 * Settles a group of finished attempts of one partner in one transaction: attempts, states of deliveries and leads,
 * places, money and alerts. A delivery that this lease no longer holds is left alone: whoever took it over settles it.
 */
export async function settleAttempts(
  context: Context,
  lease: Lease,
  partner: DrainedPartner,
  attempts: readonly FinishedAttempt[],
): Promise<Settled> {
  const now = context.clock();
  const group = attempts.map((attempt) => ({
    ...attempt,
    next: nextState(attempt.delivery, attempt.outcome, now, Math.random()),
  }));
  const settled = await inOrganisation(context.database, lease.organisationId, async (transaction) => {
    await lockLeads(transaction, group);
    const won = await saveDeliveries(transaction, lease, group, now);
    await saveAttempts(transaction, lease.organisationId, won);
    await saveLeads(transaction, won, now);
    await endSales(transaction, partner, salesOf(won), now);
    const health = won
      .filter(({ channel }) => channel !== "none")
      .reduce((before, { outcome }) => healthAfter(before, outcome, now), partner.health);
    const alerts = await insertAlerts(transaction, lease.organisationId, alertsOf(partner, won, health), now);
    await transaction.updateTable("endpoints").set(health).where("partnerId", "=", partner.id).execute();
    return { won, alerts, health };
  });
  partner.health = settled.health;
  const goingOn = settled.won.filter(({ next }) => goesToRouting(next.state));
  return { campaignIds: new Set(goingOn.map(({ delivery }) => delivery.campaignId)), hasAlerts: settled.alerts > 0 };
}

/** Leads are locked before anything else, in the order of their ids, as everywhere. */
async function lockLeads(transaction: Database, group: readonly SettledAttempt[]): Promise<void> {
  await transaction
    .selectFrom("leads")
    .select("id")
    .where(
      "id",
      "in",
      group.map(({ delivery }) => delivery.leadId),
    )
    .orderBy("id")
    .forNoKeyUpdate()
    .execute();
}

/** Changes the deliveries that are still ours, and gives the attempts that did. */
async function saveDeliveries(
  transaction: Database,
  lease: Lease,
  group: readonly SettledAttempt[],
  now: Date,
): Promise<readonly SettledAttempt[]> {
  const rows = group.map(({ delivery, outcome, next }) => ({
    id: delivery.id,
    state: next.state,
    due_at: next.retryAt,
    may_have_arrived: next.mayHaveArrived,
    reference: outcome.kind === "accepted" ? outcome.reference : null,
    reason: next.reason,
    finished_at: next.state === "sending" ? null : now,
    gives_place_back: givesPlaceBack(next.state),
  }));
  const { rows: changed } = await sql<{ id: string }>`
    update deliveries d
    set state = g.state, due_at = g.due_at, may_have_arrived = g.may_have_arrived, finished_at = g.finished_at,
        reference = coalesce(g.reference, d.reference), reason = g.reason, claim_token = null, sending_since = null,
        redelivery_of = case when g.state = 'sending' then d.redelivery_of end,
        reserved_at = case when g.gives_place_back then null else d.reserved_at end
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as g (
      id uuid, state text, due_at timestamptz, may_have_arrived boolean, reference text, reason text,
      finished_at timestamptz, gives_place_back boolean)
    where d.id = g.id and d.state = 'sending' and d.claim_token = ${lease.token}
    returning d.id
  `.execute(transaction);
  const ours = new Set(changed.map((row) => row.id));
  return group.filter(({ delivery }) => ours.has(delivery.id));
}

async function saveAttempts(
  transaction: Database,
  organisationId: string,
  won: readonly SettledAttempt[],
): Promise<void> {
  if (won.length === 0) return;
  const rows = won.map(({ delivery, channel, startedAt, durationMs, outcome, status, request, response, next }) => ({
    deliveryId: delivery.id,
    number: delivery.attemptCount,
    organisationId,
    channel,
    startedAt,
    durationMs: Math.round(durationMs),
    outcome: outcome.kind,
    reason: outcome.reason,
    arrived: arrivalOf(outcome),
    status,
    request: request === null ? null : JSON.stringify(request),
    response: response === null ? null : JSON.stringify(response),
    retryAt: next.retryAt,
  }));
  await transaction.insertInto("attempts").values(rows).execute();
}

/**
 * A sale of an exclusive lead is its end. Every other final state goes to routing, which has the whole picture: the next
 * partner, more partners of a shared lead, or the end.
 */
async function saveLeads(transaction: Database, won: readonly SettledAttempt[], now: Date): Promise<void> {
  const rows = won
    .filter(({ next, delivery }) => next.state !== "sending" && next.state !== delivery.redeliveryOf)
    .map(({ delivery, next }) => ({ id: delivery.leadId, is_sold: next.state === "delivered" }));
  if (rows.length === 0) return;
  await sql`
    update leads l
    set sold_count = l.sold_count + case when g.is_sold then 1 else 0 end,
        state = case when g.is_sold and k.sale_limit = 1 then 'sold' when l.state in ('sold', 'unsold') then 'routing' else l.state end,
        state_reason = null,
        finished_at = case when g.is_sold and k.sale_limit = 1 then ${now}::timestamptz end,
        due_at = case when g.is_sold and k.sale_limit = 1 then null else ${now}::timestamptz end
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as g (id uuid, is_sold boolean), campaigns k
    where l.id = g.id and k.id = l.campaign_id and l.state not in ('erased', 'returned')
  `.execute(transaction);
}

function salesOf(won: readonly SettledAttempt[]) {
  return won.flatMap(({ delivery, next }): { sale: FinishedAttempt["delivery"]; end: SaleEnd }[] => {
    if (delivery.redeliveryOf === "delivered" || next.state === delivery.redeliveryOf) return [];
    if (next.state === "delivered") return [{ sale: delivery, end: { kind: "post" } }];
    if (givesPlaceBack(next.state)) return [{ sale: delivery, end: { kind: "void" } }];
    return [];
  });
}

function givesPlaceBack(state: DeliveryState): boolean {
  return state === "rejected" || state === "failed";
}

function goesToRouting(state: DeliveryState): boolean {
  return state !== "sending";
}

function alertsOf(partner: DrainedPartner, won: readonly SettledAttempt[], health: EndpointHealth): NewAlert[] {
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
