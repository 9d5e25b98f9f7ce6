import { sql } from "kysely";
import { routeLeads } from "../../queues/route-leads.ts";
import { type FieldProblem, matchKeys, normaliseFields } from "../campaigns/normalise-fields.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import type { LeadFields } from "../db/tables.ts";
import { canonicalJson } from "./canonical-json.ts";
import { readContacts } from "./contacts.ts";
import type { Entrance, IntakeCampaign } from "./intake-campaign.ts";

/** The same content again within this time is the same lead sent twice, even where the campaign matches no fields. */
const sameContentMs = 60_000;

export interface ReceivedLead {
  /** The lead's fields by their keys; `contacts` holds more people, `source` says whence it came. */
  readonly raw: Readonly<Record<string, unknown>>;
  readonly idempotencyKey: string | null;
  readonly source: string | null;
}

/** What the sender is told. Given again, word for word, for the same Idempotency-Key. */
export type IntakeAnswer =
  | { readonly status: "received"; readonly leadId: string }
  | { readonly status: "duplicate"; readonly leadId: string; readonly duplicateOf: string }
  | { readonly status: "invalid"; readonly leadId: string; readonly fields: readonly FieldProblem[] };

export type Intake =
  | { readonly kind: "answered"; readonly answer: IntakeAnswer; readonly isReplay: boolean }
  | { readonly kind: "refused"; readonly reason: "idempotency_conflict" | "campaign_inactive" };

/**
 * Takes a lead in: checks its fields, finds whether it is a duplicate, stores it, and wakes routing. When this resolves
 * with an answer, the lead is in Postgres. An invalid lead is kept as such, so that nothing that was sent is lost.
 */
export async function receiveLead(context: Context, entrance: Entrance, received: ReceivedLead): Promise<Intake> {
  const { campaign } = entrance;
  if (!campaign.active) return { kind: "refused", reason: "campaign_inactive" };
  const lead = prepareLead(context, campaign, received);
  const intake = await inOrganisation(context.database, campaign.organisationId, async (transaction) => {
    await lockKeys(transaction, lead);
    const earlier = await findEarlier(transaction, campaign, lead);
    if (earlier.answered !== null) return replay(earlier.answered, lead);
    const answer = toAnswer(lead, earlier.duplicateOf);
    await insertLead(transaction, entrance, lead, answer);
    return { kind: "answered", answer, isReplay: false } as const;
  });
  if (intake.kind === "answered" && intake.answer.status === "received" && !intake.isReplay) {
    context.waker.wake(routeLeads, { organisationId: campaign.organisationId, campaignId: campaign.id });
  }
  return intake;
}

export interface PreparedLead {
  readonly id: string;
  readonly receivedAt: Date;
  readonly source: string | null;
  readonly fields: LeadFields;
  readonly extra: Record<string, unknown>;
  readonly contacts: readonly LeadFields[];
  readonly problems: readonly FieldProblem[];
  readonly contentHash: Buffer;
  readonly matchHashes: readonly Buffer[];
  readonly idempotencyKey: string | null;
  readonly idempotencyHash: Buffer | null;
}

/** Checks and regularises what was sent. Reads nothing from the database. */
export function prepareLead(context: Context, campaign: IntakeCampaign, received: ReceivedLead): PreparedLead {
  const { contacts: rawContacts, source, ...raw } = received.raw;
  const normalised = normaliseFields(campaign.fields, raw);
  const contacts = readContacts(campaign.fields, rawContacts);
  const keys = matchKeys(campaign.fields, normalised.values, campaign.duplicates?.match ?? []);
  const hash = (kind: string, value: string) => context.vault.fingerprint(`${campaign.id} ${kind} ${value}`);
  return {
    id: newId(),
    receivedAt: context.clock(),
    source: received.source ?? (typeof source === "string" ? source.slice(0, 200) : null),
    fields: normalised.values,
    extra: normalised.ok ? normalised.extra : { ...normalised.extra, ...refusedValues(normalised.problems, raw) },
    contacts: contacts.contacts,
    problems: [...(normalised.ok ? [] : normalised.problems), ...contacts.problems],
    contentHash: hash("content", canonicalJson(received.raw)),
    matchHashes: Object.entries(keys).map(([field, value]) => hash(`field ${field}`, value)),
    idempotencyKey: received.idempotencyKey,
    idempotencyHash: received.idempotencyKey === null ? null : hash("idempotency", received.idempotencyKey),
  };
}

/** What was given for fields that could not be read, kept aside as it came. */
function refusedValues(
  problems: readonly FieldProblem[],
  raw: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const refused = problems.filter(({ field }) => Object.hasOwn(raw, field));
  return Object.fromEntries(refused.map(({ field }) => [field, raw[field]]));
}

/**
 * Serialises leads that could be each other's duplicates: the later one waits until the earlier one is committed, and
 * then sees it. Locks are taken in numerical order, so that no two wait in a ring.
 */
async function lockKeys(transaction: Database, lead: PreparedLead): Promise<void> {
  const hashes = [
    lead.contentHash,
    ...lead.matchHashes,
    ...(lead.idempotencyHash === null ? [] : [lead.idempotencyHash]),
  ];
  const keys = [...new Set(hashes.map((hash) => hash.readBigInt64BE(0)))].sort((a, b) => (a < b ? -1 : 1)).map(String);
  await sql`select pg_advisory_xact_lock(key) from unnest(${keys}::bigint[]) as key`.execute(transaction);
}

interface Answered {
  readonly contentHash: Buffer;
  readonly answer: IntakeAnswer;
}

interface Earlier {
  readonly answered: Answered | null;
  readonly duplicateOf: string | null;
}

/** Whether this request was answered before, and of which earlier lead it is a duplicate. */
export async function findEarlier(
  transaction: Database,
  campaign: IntakeCampaign,
  lead: PreparedLead,
): Promise<Earlier> {
  const { duplicates } = campaign;
  const sinceContent = new Date(lead.receivedAt.getTime() - sameContentMs);
  const sinceMatch = new Date(lead.receivedAt.getTime() - (duplicates?.days ?? 0) * 86_400_000);
  // Mode `all`: one earlier lead must match in every field that this lead has a value for, and this lead must have all.
  const needed = duplicates?.mode === "all" ? duplicates.match.length : 1;
  const { rows } = await sql<{ contentHash: Buffer | null; answer: IntakeAnswer | null; duplicateOf: string | null }>`
    select i.content_hash, i.answer, coalesce(
      (select id from leads where campaign_id = ${campaign.id} and content_hash = ${lead.contentHash}
         and received_at > ${sinceContent} and state not in ('duplicate', 'invalid') order by received_at limit 1),
      (select lead_id from lead_keys where campaign_id = ${campaign.id} and key_hash = any(${lead.matchHashes}::bytea[])
         and received_at > ${sinceMatch} group by lead_id having count(*) >= ${needed} order by min(received_at) limit 1)
    ) as duplicate_of
    from (select 1) one
    left join idempotency_keys i on i.campaign_id = ${campaign.id} and i.key = ${lead.idempotencyKey}
  `.execute(transaction);
  const row = rows[0];
  const answered = row?.contentHash && row.answer ? { contentHash: row.contentHash, answer: row.answer } : null;
  return { answered, duplicateOf: row?.duplicateOf ?? null };
}

function replay(answered: Answered, lead: PreparedLead): Intake {
  if (!answered.contentHash.equals(lead.contentHash)) return { kind: "refused", reason: "idempotency_conflict" };
  return { kind: "answered", answer: answered.answer, isReplay: true };
}

function toAnswer(lead: PreparedLead, duplicateOf: string | null): IntakeAnswer {
  if (lead.problems.length > 0) return { status: "invalid", leadId: lead.id, fields: lead.problems };
  if (duplicateOf !== null) return { status: "duplicate", leadId: lead.id, duplicateOf };
  return { status: "received", leadId: lead.id };
}

/** Stores the lead with all that belongs to it, in one statement. Only a valid new lead makes others its duplicates. */
async function insertLead(
  transaction: Database,
  { campaign, intakeKeyId, introducerId }: Entrance,
  lead: PreparedLead,
  answer: IntakeAnswer,
): Promise<void> {
  const { organisationId } = campaign;
  const isReceived = answer.status === "received";
  const holdEndsAt = new Date(lead.receivedAt.getTime() + campaign.holdHours * 3_600_000);
  const reason = answer.status === "invalid" ? { code: "invalid", problems: answer.fields } : null;
  const keyHashes = isReceived ? lead.matchHashes : [];
  await sql`
    with stored as (
      insert into leads (id, organisation_id, campaign_id, intake_key_id, introducer_id, source, state, state_reason,
        fields, extra, content_hash, duplicate_of, received_at, due_at, hold_ends_at, finished_at)
      values (${lead.id}, ${organisationId}, ${campaign.id}, ${intakeKeyId}, ${introducerId}, ${lead.source}, ${answer.status},
        ${reason === null ? null : JSON.stringify(reason)}::jsonb, ${JSON.stringify(lead.fields)}::jsonb,
        ${JSON.stringify(lead.extra)}::jsonb, ${lead.contentHash}, ${answer.status === "duplicate" ? answer.duplicateOf : null}, ${lead.receivedAt},
        ${isReceived ? lead.receivedAt : null}, ${holdEndsAt}, ${isReceived ? null : lead.receivedAt})
    ), with_contacts as (
      insert into contacts (lead_id, position, organisation_id, fields)
      select ${lead.id}::uuid, position, ${organisationId}::uuid, fields
      from jsonb_array_elements(${JSON.stringify(lead.contacts)}::jsonb) with ordinality as c (fields, position)
    ), with_key as (
      insert into idempotency_keys (organisation_id, campaign_id, key, content_hash, lead_id, status, answer, created_at)
      select ${organisationId}::uuid, ${campaign.id}::uuid, ${lead.idempotencyKey}::text, ${lead.contentHash}::bytea, ${lead.id}::uuid,
        ${answer.status === "invalid" ? 422 : 201}::integer, ${JSON.stringify(answer)}::jsonb, ${lead.receivedAt}::timestamptz
      where ${lead.idempotencyKey}::text is not null
    )
    insert into lead_keys (organisation_id, campaign_id, key_hash, lead_id, received_at)
    select ${organisationId}::uuid, ${campaign.id}::uuid, key_hash, ${lead.id}::uuid, ${lead.receivedAt}::timestamptz
    from unnest(${keyHashes}::bytea[]) as key_hash
  `.execute(transaction);
}
