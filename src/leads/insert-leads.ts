import { sql } from "kysely";
import type { Database } from "../db/database.ts";
import { recordSet } from "../db/record-set.ts";
import type { Entrance, IntakeCampaign } from "./intake-campaign.ts";
import type { PreparedLead } from "./prepare-lead.ts";
import type { IntakeAnswer } from "./receive-lead.ts";

export interface AnsweredLead {
  readonly entrance: Entrance;
  readonly lead: PreparedLead;
  readonly answer: IntakeAnswer;
}

const hourMs = 3_600_000;

/** Stores leads with all that belongs to them, in one statement. Only a valid new lead makes others its duplicates. */
export async function insertLeads(
  transaction: Database,
  campaign: IntakeCampaign,
  answered: readonly AnsweredLead[],
): Promise<void> {
  const rows = answered.map((one) => toRow(campaign, one));
  await sql`
    with given as (
      select * from ${recordSet(
        rows,
        `
        id uuid, intake_key_id uuid, introducer_id uuid, source text, state text, state_reason jsonb, fields
        jsonb, extra jsonb, content_hash text, duplicate_of uuid, received_at timestamptz, due_at timestamptz,
        hold_ends_at timestamptz, finished_at timestamptz, contacts jsonb, match_hashes jsonb, idempotency_key
        text, status integer, answer jsonb`,
      )} as g
    ), stored as (
      insert into leads (id, organisation_id, campaign_id, intake_key_id, introducer_id, source, state, state_reason,
        fields, extra, content_hash, duplicate_of, received_at, due_at, hold_ends_at, finished_at)
      select id, ${campaign.organisationId}::uuid, ${campaign.id}::uuid, intake_key_id, introducer_id, source, state,
        state_reason, fields, extra, decode(content_hash, 'hex'), duplicate_of, received_at, due_at, hold_ends_at, finished_at
      from given
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
    due_at: isReceived ? lead.receivedAt : null,
    hold_ends_at: new Date(lead.receivedAt.getTime() + campaign.holdHours * hourMs),
    finished_at: isReceived ? null : lead.receivedAt,
    contacts: lead.contacts,
    match_hashes: isReceived ? lead.matchHashes.map((hash) => hash.toString("hex")) : [],
    idempotency_key: lead.idempotencyKey,
    status: answer.status === "invalid" ? 422 : 201,
    answer,
  };
}
