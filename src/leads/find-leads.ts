import type { SelectQueryBuilder } from "kysely";
import { z } from "zod";
import { matchKeys, normaliseFields } from "../campaigns/normalise-fields.ts";
import type { Database } from "../db/database.ts";
import type { Tables } from "../db/tables.ts";
import type { Vault } from "../encrypt.ts";
import type { FieldError } from "../errors.ts";
import { instantSchema } from "../http/api.ts";
import { pageQuery, pageRows } from "../http/page.ts";
import { leadKey } from "./lead-key.ts";

export const leadStates = [
  "received",
  "routing",
  "held",
  "sold",
  "unsold",
  "duplicate",
  "invalid",
  "returned",
  "erased",
] as const;

/** What leads can be found by; all that is given must hold. */
export const leadsQuery = z.strictObject({
  ...pageQuery,
  campaignId: z.uuid().optional(),
  state: z.enum(leadStates).optional(),
  partnerId: z.uuid().optional().meta({ description: "leads that this partner had, has or is waited for" }),
  source: z.string().min(1).max(200).optional(),
  stageId: z.uuid().optional().meta({ description: "leads that stand in this stage of a workflow" }),
  ownerId: z.uuid().optional().meta({ description: "leads that this user has" }),
  receivedFrom: instantSchema.optional(),
  receivedTo: instantSchema.optional().meta({ description: "leads received before this instant" }),
  field: z
    .string()
    .min(1)
    .max(63)
    .optional()
    .meta({ description: "with `value`: the key of a field that the campaign matches duplicates on, such as email" }),
  value: z.string().min(1).max(5_000).optional().meta({
    description: "what the field holds, in any spelling that intake takes. Finds the first lead, not its duplicates",
  }),
});
export type LeadsQuery = z.infer<typeof leadsQuery>;

export const leadColumns = [
  "id",
  "campaignId",
  "introducerId",
  "source",
  "state",
  "stateReason",
  "fields",
  "duplicateOf",
  "soldCount",
  "receivedAt",
  "dueAt",
  "finishedAt",
  "stageId",
  "ownerId",
  "byHand",
] as const;

export type FoundLeads =
  | { readonly ok: true; readonly rows: Awaited<ReturnType<typeof runQuery>> }
  | { readonly ok: false; readonly fields: readonly FieldError[] };

/** Finds leads, newest first, one more than the page has. Every filter goes through an index. */
export async function findLeads(transaction: Database, vault: Vault, query: LeadsQuery): Promise<FoundLeads> {
  const { field, value } = query;
  if ((field === undefined) !== (value === undefined)) {
    const missing = field === undefined ? "field" : "value";
    return { ok: false, fields: [{ field: missing, code: "required", message: "field and value go together" }] };
  }
  if (field === undefined || value === undefined) return { ok: true, rows: await runQuery(transaction, query, null) };
  const lookUp = await readLookUp(transaction, vault, query.campaignId, field, value);
  return lookUp.ok ? { ok: true, rows: await runQuery(transaction, query, lookUp.keys) } : lookUp;
}

interface Keys {
  readonly campaignIds: readonly string[];
  readonly hashes: readonly Buffer[];
}

async function runQuery(transaction: Database, query: LeadsQuery, keys: Keys | null) {
  const { campaignId, state, partnerId, source, stageId, ownerId } = query;
  let found = withinTime(transaction.selectFrom("leads").select(leadColumns), query);
  if (campaignId !== undefined) found = found.where("campaignId", "=", campaignId);
  if (state !== undefined) found = found.where("state", "=", state);
  if (source !== undefined) found = found.where("source", "=", source);
  if (stageId !== undefined) found = found.where("stageId", "=", stageId);
  if (ownerId !== undefined) found = found.where("ownerId", "=", ownerId);
  if (partnerId !== undefined) {
    found = found.where("id", "in", (is) =>
      is.selectFrom("deliveries").select("leadId").where("partnerId", "=", partnerId),
    );
  }
  if (keys !== null) {
    found = found.where("id", "in", (is) =>
      is
        .selectFrom("leadKeys")
        .select("leadId")
        .where("campaignId", "in", keys.campaignIds)
        .where("keyHash", "in", keys.hashes),
    );
  }
  return pageRows(found, query).execute();
}

/** Clocks of several machines differ, and one that is set back leaves ids ahead of it. */
const idSlackMs = 3_600_000;

/** Ids hold the time they were made, so the index that leads are listed by also bounds the time. */
function withinTime<Row>(
  query: SelectQueryBuilder<Tables, "leads", Row>,
  { receivedFrom, receivedTo }: LeadsQuery,
): SelectQueryBuilder<Tables, "leads", Row> {
  let bounded = query;
  if (receivedFrom !== undefined) {
    const from = new Date(receivedFrom);
    bounded = bounded.where("receivedAt", ">=", from).where("id", ">=", firstIdAt(from.getTime() - idSlackMs));
  }
  if (receivedTo !== undefined) {
    const to = new Date(receivedTo);
    bounded = bounded.where("receivedAt", "<", to).where("id", "<", firstIdAt(to.getTime() + idSlackMs));
  }
  return bounded;
}

/** RFC 9562, section 5.7: the first 48 bits are milliseconds since 1970. */
function firstIdAt(instantMs: number): string {
  const hex = Math.max(0, instantMs).toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

type LookUp =
  | { readonly ok: true; readonly keys: Keys }
  | { readonly ok: false; readonly fields: readonly FieldError[] };

/** The keys under which a value stands, in each campaign that matches this field. */
async function readLookUp(
  transaction: Database,
  vault: Vault,
  campaignId: string | undefined,
  key: string,
  value: string,
): Promise<LookUp> {
  const all = transaction.selectFrom("campaigns").select(["id", "fields", "duplicates"]);
  const campaigns = await (campaignId === undefined ? all : all.where("id", "=", campaignId)).execute();
  const matching = campaigns.filter(({ duplicates }) => duplicates?.match.includes(key));
  if (matching.length === 0) {
    const known = [...new Set(campaigns.flatMap(({ duplicates }) => duplicates?.match ?? []))];
    const message = `must be a field that duplicates are matched on${known.length > 0 ? `: ${known.join(", ")}` : ""}`;
    return { ok: false, fields: [{ field: "field", code: "not_allowed", message }] };
  }
  const problems: FieldError[] = [];
  const found = matching.flatMap(({ id, fields }) => {
    const own = fields.filter((field) => field.key === key);
    const normalised = normaliseFields(own, { [key]: value });
    if (!normalised.ok) problems.push(...normalised.problems.map((problem) => ({ ...problem, field: "value" })));
    const folded = matchKeys(own, normalised.values, [key])[key];
    return folded === undefined ? [] : [{ id, hash: leadKey(vault, id, key, folded) }];
  });
  const nothing = { field: "value", code: "required", message: "must not be empty" };
  if (found.length === 0) return { ok: false, fields: [problems[0] ?? nothing] };
  return { ok: true, keys: { campaignIds: found.map(({ id }) => id), hashes: found.map(({ hash }) => hash) } };
}
