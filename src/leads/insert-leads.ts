import { type RawBuilder, sql } from "kysely";
import type { Database } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { recordSet } from "../db/record-set.ts";
import type { Entrance, IntakeCampaign } from "./intake-campaign.ts";
import type { PreparedLead } from "./prepare-lead.ts";
import type { IntakeAnswer } from "./receive-lead.ts";

export interface AnsweredLead {
  readonly entrance: Entrance;
  readonly lead: PreparedLead;
  readonly answer: IntakeAnswer;
}

const minuteMs = 60_000;
const hourMs = 3_600_000;

/** Stores leads with all that belongs to them, in one statement. Only a valid new lead makes others its duplicates. */
export async function insertLeads(
  transaction: Database,
  campaign: IntakeCampaign,
  answered: readonly AnsweredLead[],
): Promise<void> {
  const rows = answered.map((one) => toRow(campaign, one));
  const isIntroduced = rows.some(({ introducer_id }) => introducer_id !== null);
  const noCosts = sql`introduced as (select null::uuid as id, null::jsonb as lead_cost, null::bigint as owed_minor where false)`;
  await sql`
    with given as (
      select * from ${recordSet(
        rows,
        `
        id uuid, intake_key_id uuid, introducer_id uuid, source text, state text, state_reason jsonb, fields
        jsonb, extra jsonb, content_hash text, duplicate_of uuid, received_at timestamptz, due_at timestamptz,
        hold_ends_at timestamptz, finished_at timestamptz, contacts jsonb, match_hashes jsonb, idempotency_key
        text, status integer, answer jsonb, cost_transaction_id uuid`,
      )} as g
    ), ${isIntroduced ? costClauses(campaign.organisationId) : noCosts}, stored as (
      insert into leads (id, organisation_id, campaign_id, intake_key_id, introducer_id, source, state, state_reason,
        fields, extra, content_hash, duplicate_of, received_at, due_at, hold_ends_at, finished_at, lead_cost, cost_minor)
      select g.id, ${campaign.organisationId}::uuid, ${campaign.id}::uuid, g.intake_key_id, g.introducer_id, g.source, g.state,
        g.state_reason, g.fields, g.extra, decode(g.content_hash, 'hex'), g.duplicate_of, g.received_at, g.due_at,
        g.hold_ends_at, g.finished_at, i.lead_cost, coalesce(i.owed_minor, 0)
      from given g left join introduced i on i.id = g.id
    ), with_contacts as (
      insert into contacts (lead_id, position, organisation_id, fields)
      select g.id, c.position, ${campaign.organisationId}::uuid, c.fields
      from given g, jsonb_array_elements(g.contacts) with ordinality as c (fields, position)
    ), with_keys as (
      insert into idempotency_keys (organisation_id, campaign_id, key, content_hash, lead_id, status, answer, created_at)
      select ${campaign.organisationId}::uuid, ${campaign.id}::uuid, idempotency_key, decode(content_hash, 'hex'), id, status,
        answer, received_at
      from given where idempotency_key is not null
    )
    insert into lead_keys (organisation_id, campaign_id, key_hash, lead_id, received_at)
    select ${campaign.organisationId}::uuid, ${campaign.id}::uuid, decode(hash, 'hex'), g.id, g.received_at
    from given g, jsonb_array_elements_text(g.match_hashes) hash
  `.execute(transaction);
}

/**
 * What introducers are owed for these leads: as agreed with the intake key, else with the introducer, and kept with the
 * lead. What is owed for a lead that has come in, sold or not, is booked at once.
 */
function costClauses(organisationId: string): RawBuilder<unknown> {
  return sql`
    introduced as (
      select g.id, g.introducer_id, g.received_at, g.cost_transaction_id, p.currency,
        coalesce(k.lead_cost, p.lead_cost) || jsonb_build_object('currency', p.currency) as lead_cost,
        case coalesce(k.lead_cost, p.lead_cost) ->> 'due' when 'received'
          then (coalesce(k.lead_cost, p.lead_cost) ->> 'amount')::bigint end as owed_minor
      from given g join partners p on p.id = g.introducer_id left join intake_keys k on k.id = g.intake_key_id
      where g.state = 'received'
    ), booked as (
      insert into transactions
        (id, organisation_id, key, kind, currency, occurred_at, partner_id, lead_id, created_by)
      select cost_transaction_id, ${organisationId}::uuid, 'cost-' || id, 'cost', currency, received_at, introducer_id, id,
        'system'
      from introduced where owed_minor > 0
    ), entered as (
      insert into entries (transaction_id, account_id, organisation_id, amount_minor, currency)
      select cost_transaction_id, a.id, ${organisationId}::uuid,
        case a.kind when 'payable' then owed_minor else -owed_minor end, i.currency
      from introduced i join accounts a
        on a.partner_id = i.introducer_id and a.currency = i.currency and a.kind in ('lead_cost', 'payable')
      where owed_minor > 0
    )`;
}

function toRow(campaign: IntakeCampaign, { entrance, lead, answer }: AnsweredLead) {
  const isReceived = answer.status === "received";
  return {
    id: lead.id,
    intake_key_id: entrance.intakeKeyId,
    introducer_id: entrance.introducerId,
    source: lead.source,
    state: answer.status,
    state_reason: answer.status === "invalid" ? { code: "invalid", problems: answer.fields } : null,
    fields: lead.fields,
    extra: lead.extra,
    content_hash: lead.contentHash.toString("hex"),
    duplicate_of: answer.status === "duplicate" ? answer.duplicateOf : null,
    received_at: lead.receivedAt,
    due_at: isReceived ? new Date(lead.receivedAt.getTime() + campaign.routeAfterMinutes * minuteMs) : null,
    hold_ends_at: new Date(lead.receivedAt.getTime() + campaign.holdHours * hourMs),
    finished_at: isReceived ? null : lead.receivedAt,
    contacts: lead.contacts,
    match_hashes: isReceived ? lead.matchHashes.map((hash) => hash.toString("hex")) : [],
    idempotency_key: lead.idempotencyKey,
    status: answer.status === "invalid" ? 422 : 201,
    answer,
    cost_transaction_id: entrance.introducerId === null ? null : newId(),
  };
}
