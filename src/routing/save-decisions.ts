import { type RawBuilder, sql } from "kysely";
import type { Database } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { isInState } from "../db/in-state.ts";
import { recordSet } from "../db/record-set.ts";
import type { HoldReason } from "../db/tables.ts";
import { bookingClauses, type Movement, reserveMovement } from "../ledger/book.ts";
import { usageClauses } from "../partners/save-usage.ts";
import type { Candidate } from "./assess.ts";
import type { DecidedLead } from "./decide-lead.ts";
import type { LoadedMarket } from "./market.ts";

/**
 * Writes what was decided about a batch of leads, in one statement: deliveries, leads, explanations, what was used of the
 * limits, the money reserved, and whose turn it is next.
 */
export async function saveDecisions(
  transaction: Database,
  organisationId: string,
  campaignId: string,
  decided: readonly DecidedLead[],
  market: LoadedMarket,
  now: Date,
): Promise<void> {
  const takers = [...new Set(decided.flatMap((lead) => lead.sends.map((send) => send.partnerId)))];
  const usages = takers.flatMap((partnerId) => {
    const standing = market.standings.get(partnerId);
    return standing === undefined ? [] : [standing.usage, standing.campaignUsage];
  });
  await sql`
    with ${deliveryClauses(organisationId, campaignId, decided, market, now)},
      ${leadClauses(organisationId, decided, now)},
      ${usageClauses(usages)},
      ${bookingClauses(organisationId, reservations(decided, market), now)}
    update rotations set turns = ${JSON.stringify(Object.fromEntries(market.turns))}::jsonb where campaign_id = ${campaignId}
  `.execute(transaction);
}

function deliveryClauses(
  organisationId: string,
  campaignId: string,
  decided: readonly DecidedLead[],
  market: LoadedMarket,
  now: Date,
): RawBuilder<unknown> {
  const cancelledIds = decided.flatMap((lead) => lead.cancelledIds);
  return sql`
    placed as (
      select * from ${recordSet(
        deliveryRows(decided, market, now),
        `
        id uuid, is_new boolean, lead_id uuid, partner_id uuid, group_id uuid, price_minor bigint, currency
        text, terms jsonb, state text, due_at timestamptz, hold_until timestamptz, hold_reason jsonb, reserved_at
        timestamptz, offer text, offer_until timestamptz`,
      )} as g
    ), carried_on as (
      update deliveries d
      set state = g.state, due_at = g.due_at, hold_until = g.hold_until, hold_reason = g.hold_reason,
          reserved_at = g.reserved_at, price_minor = g.price_minor, terms = g.terms, group_id = g.group_id,
          offer = g.offer, offer_until = g.offer_until
      from placed g where not g.is_new and d.id = g.id and ${isInState("d", "held")}
    ), cancelled as (
      update deliveries d set state = 'cancelled', due_at = null, finished_at = ${now}::timestamptz
      where d.id = any(${cancelledIds}::uuid[]) and ${isInState("d", "held")}
    ), made as (
      insert into deliveries (id, organisation_id, lead_id, campaign_id, partner_id, group_id, state, due_at, hold_until,
        hold_reason, price_minor, currency, terms, reserved_at, offer, offer_until, created_at)
      select id, ${organisationId}::uuid, lead_id, ${campaignId}::uuid, partner_id, group_id, state, due_at, hold_until,
        hold_reason, price_minor, currency, terms, reserved_at, offer, offer_until, ${now}::timestamptz
      from placed where is_new
    )`;
}

function deliveryRows(decided: readonly DecidedLead[], market: LoadedMarket, now: Date) {
  const shared = (leadId: string, candidate: Candidate) => ({
    lead_id: leadId,
    partner_id: candidate.partnerId,
    group_id: candidate.groupId,
    price_minor: candidate.priceMinor,
    terms: candidate.terms,
    currency: market.buyers.get(candidate.partnerId)?.currency ?? "",
  });
  return decided.flatMap(({ lead, sends, holds }) => [
    ...sends.map(({ id, isNew, candidate, offer }) => ({
      id,
      is_new: isNew,
      ...shared(lead.id, candidate),
      state: offer === null ? "sending" : "offered",
      due_at: offer?.until ?? now,
      hold_until: null,
      hold_reason: null,
      reserved_at: now,
      offer: offer?.kind ?? null,
      offer_until: offer?.until ?? null,
    })),
    ...holds.map(({ id, isNew, hold, dueAt }) => ({
      id,
      is_new: isNew,
      ...shared(lead.id, hold.candidate),
      state: "held",
      due_at: dueAt,
      hold_until: hold.until,
      hold_reason: { reason: hold.reason, turnPassed: hold.turnPassed } satisfies HoldReason,
      reserved_at: null,
      offer: null,
      offer_until: null,
    })),
  ]);
}

function leadClauses(organisationId: string, decided: readonly DecidedLead[], now: Date): RawBuilder<unknown> {
  const rows = decided.map(({ lead, choice, state, stateReason, dueAt }) => ({
    lead_id: lead.id,
    state,
    state_reason: stateReason,
    due_at: dueAt,
    finished_at: state === "sold" || state === "unsold" ? now : null,
    decision_id: newId(),
    explanation: choice.considered,
  }));
  return sql`
    decided as (
      select * from ${recordSet(
        rows,
        `
        lead_id uuid, state text, state_reason jsonb, due_at timestamptz, finished_at timestamptz, decision_id
        uuid, explanation jsonb`,
      )} as g
    ), moved_on as (
      update leads l
      set state = g.state, state_reason = g.state_reason, due_at = g.due_at, finished_at = g.finished_at
      from decided g where l.id = g.lead_id
    ), explained as (
      insert into decisions (id, organisation_id, lead_id, decided_at, result, explanation)
      select decision_id, ${organisationId}::uuid, lead_id, ${now}::timestamptz, state, explanation from decided
    )`;
}

function reservations(decided: readonly DecidedLead[], market: LoadedMarket): Movement[] {
  return decided.flatMap(({ lead, sends }) =>
    sends.map(({ id, partnerId, candidate }) => {
      const funds = market.funds.get(partnerId);
      if (funds === undefined) throw new Error(`Partner ${partnerId} has no accounts.`);
      const { currency, accounts } = funds;
      return reserveMovement({ deliveryId: id, leadId: lead.id, partnerId, currency }, candidate.priceMinor, accounts);
    }),
  );
}
