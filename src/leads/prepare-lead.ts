import { type FieldProblem, matchKeys, normaliseFields } from "../campaigns/normalise-fields.ts";
import type { Context } from "../context.ts";
import { newId } from "../db/id.ts";
import type { LeadFields } from "../db/tables.ts";
import { canonicalJson } from "./canonical-json.ts";
import { readContacts } from "./contacts.ts";
import type { IntakeCampaign } from "./intake-campaign.ts";
import { leadKey } from "./lead-key.ts";

export interface ReceivedLead {
  /** The lead's fields by their keys; `contacts` holds more people, `source` says whence it came. */
  readonly raw: Readonly<Record<string, unknown>>;
  readonly idempotencyKey: string | null;
  readonly source: string | null;
}

/** A lead as it is to be stored, with what tells whether it is a duplicate. */
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
  const { vault } = context;
  const normalised = normaliseFields(campaign.fields, raw);
  const contacts = readContacts(campaign.fields, rawContacts);
  const keys = matchKeys(campaign.fields, normalised.values, campaign.duplicates?.match ?? []);
  const { idempotencyKey } = received;
  return {
    id: newId(),
    receivedAt: context.clock(),
    source: received.source ?? (typeof source === "string" ? source.slice(0, 200) : null),
    fields: normalised.values,
    extra: normalised.ok ? normalised.extra : { ...normalised.extra, ...refusedValues(normalised.problems, raw) },
    contacts: contacts.contacts,
    problems: [...(normalised.ok ? [] : normalised.problems), ...contacts.problems],
    contentHash: vault.fingerprint(`${campaign.id} content ${canonicalJson(received.raw)}`),
    matchHashes: Object.entries(keys).map(([field, value]) => leadKey(vault, campaign.id, field, value)),
    idempotencyKey,
    idempotencyHash: idempotencyKey === null ? null : vault.fingerprint(`${campaign.id} idempotency ${idempotencyKey}`),
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
