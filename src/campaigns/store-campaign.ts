import { sql } from "kysely";
import { drainPartner } from "../../queues/drain-partner.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import type { FieldError } from "../errors.ts";
import { applyPatch } from "../http/patch-schema.ts";
import { type Change, changedKeys, pickKeys, recordChange } from "../organisations/record-change.ts";
import { recheckHoldsOf } from "../partners/resume-partner.ts";
import { ensureUsageRows } from "../partners/save-usage.ts";
import type { CampaignDocument, RoutingGroup } from "./campaign.ts";
import { campaignColumns, type StoredCampaign, toColumns, toDocument } from "./campaign-row.ts";
import { campaignProblems, type RoutedPartner } from "./check-campaign.ts";
import { createIntakeKey } from "./intake-keys.ts";

export type CampaignPatch = { readonly [Key in keyof CampaignDocument]?: CampaignDocument[Key] | undefined };

export type CreateResult =
  | { readonly kind: "stored"; readonly id: string; readonly intakeKey: string }
  | { readonly kind: "invalid"; readonly fields: readonly FieldError[] };

export type ChangeResult =
  | { readonly kind: "stored" }
  | { readonly kind: "not_found" }
  | { readonly kind: "invalid"; readonly fields: readonly FieldError[] };

/** Makes a campaign with its first intake key, in one transaction. Refuses, by field, what does not fit together. */
export async function createCampaign(
  context: Context,
  change: Change,
  document: CampaignDocument,
): Promise<CreateResult> {
  const { organisationId, at } = change;
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const fields = campaignProblems(document, await readRoutedPartners(transaction, document), new Set());
    if (fields.length > 0) return { kind: "invalid", fields };
    const id = newId();
    const stored = withGroupIds(document, []);
    await transaction
      .insertInto("campaigns")
      .values({ id, organisationId, ...toColumns(stored), createdAt: at, updatedAt: at })
      .execute();
    await transaction.insertInto("rotations").values({ campaignId: id, organisationId }).execute();
    await ensureUsageRows(transaction, organisationId, routedIds(stored), id);
    await recordChange(transaction, change, { kind: "campaign", id }, null, stored);
    const newKey = { campaignId: id, name: "First key", introducerId: null, leadCost: null };
    const { key } = await createIntakeKey(transaction, context.vault, change, newKey);
    return { kind: "stored", id, intakeKey: key };
  });
}

/** What may let a lead go that waits now, or change whom it waits for. */
const changesRouting: ReadonlySet<keyof CampaignDocument> = new Set([
  "saleLimit",
  "whenClosed",
  "whenCapped",
  "whenUnfunded",
  "leadValues",
  "routing",
]);

/**
 * Changes what the patch names. A group that comes back with its id, or without one in its old place, is the same group and
 * keeps its turns. Leads that wait for partners of the old routing or the new are looked at again.
 */
export async function changeCampaign(
  context: Context,
  change: Change,
  id: string,
  patch: CampaignPatch,
): Promise<ChangeResult> {
  const { organisationId, at } = change;
  let woken: readonly string[] = [];
  const result = await inOrganisation(context.database, organisationId, async (transaction): Promise<ChangeResult> => {
    const row = await transaction
      .selectFrom("campaigns")
      .select(campaignColumns)
      .where("id", "=", id)
      .forNoKeyUpdate()
      .executeTakeFirst();
    if (row === undefined) return { kind: "not_found" };
    const before = toDocument(row);
    const patched = applyPatch<CampaignDocument>(before, patch);
    const groupIds = before.routing.map((group) => group.id);
    const partners = await readRoutedPartners(transaction, patched);
    const fields = campaignProblems(patched, partners, new Set(groupIds));
    if (fields.length > 0) return { kind: "invalid", fields };
    const after = withGroupIds(patched, groupIds);
    const keys = changedKeys(before, after);
    if (keys.length === 0) return { kind: "stored" };
    await transaction
      .updateTable("campaigns")
      .set({ ...toColumns(after), version: sql`version + 1`, updatedAt: at })
      .where("id", "=", id)
      .execute();
    await ensureUsageRows(transaction, organisationId, routedIds(after), id);
    await forgetTurns(transaction, id, before, after);
    if (keys.some((key) => changesRouting.has(key))) {
      woken = [...new Set([...routedIds(before), ...routedIds(after)])];
      await recheckHoldsOf(transaction, woken, at);
    }
    await recordChange(transaction, change, { kind: "campaign", id }, pickKeys(before, keys), pickKeys(after, keys));
    return { kind: "stored" };
  });
  for (const partnerId of woken) context.waker.wake(drainPartner, { organisationId, partnerId });
  return result;
}

/** Gives each group without an id that of the group in its place before, where no other has it, or a new one. */
function withGroupIds(document: CampaignDocument, before: readonly string[]): StoredCampaign {
  const taken = new Set(document.routing.flatMap((group) => group.id ?? []));
  const routing = document.routing.map((group, index): RoutingGroup => {
    const inPlace = before[index];
    const kept = group.id ?? (inPlace !== undefined && !taken.has(inPlace) ? inPlace : newId());
    taken.add(kept);
    return { ...group, id: kept };
  });
  return { ...document, routing };
}

function routedIds({
  routing,
}: {
  readonly routing: readonly { readonly partners: readonly { readonly partnerId: string }[] }[];
}): string[] {
  return [...new Set(routing.flatMap((group) => group.partners.map(({ partnerId }) => partnerId)))];
}

async function readRoutedPartners(
  transaction: Database,
  document: CampaignDocument,
): Promise<ReadonlyMap<string, RoutedPartner>> {
  const ids = routedIds(document);
  if (ids.length === 0) return new Map();
  const rows = await transaction.selectFrom("partners").select(["id", "type"]).where("id", "in", ids).execute();
  return new Map(rows.map((row) => [row.id, row]));
}

async function forgetTurns(transaction: Database, campaignId: string, before: StoredCampaign, after: StoredCampaign) {
  const gone = before.routing.filter(({ id }) => !after.routing.some((group) => group.id === id)).map(({ id }) => id);
  if (gone.length === 0) return;
  await transaction
    .updateTable("rotations")
    .set({ turns: sql`turns - ${gone}::text[]` })
    .where("campaignId", "=", campaignId)
    .execute();
}
