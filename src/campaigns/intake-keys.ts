import { randomBytes } from "node:crypto";
import type { Database } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { sha256, type Vault } from "../encrypt.ts";
import { applyPatch } from "../http/patch-schema.ts";
import { type Change, changedKeys, pickKeys, recordChange } from "../organisations/record-change.ts";
import type { LeadCost } from "../prices/lead-cost.ts";

export interface NewIntakeKey {
  readonly campaignId: string;
  readonly name: string;
  /** The partner whose leads come in over it; it never gets them back. */
  readonly introducerId: string | null;
  /** What the introducer is paid for leads that come in over this key; null: as with its other keys. */
  readonly leadCost: LeadCost | null;
}

export interface CreatedIntakeKey {
  readonly id: string;
  readonly key: string;
}

/** 144 bits, in letters that need no escaping in an address. */
const keyBytes = 18;

/** Makes a key over which leads come into a campaign. Found by its digest, and kept encrypted so that it can be shown again. */
export async function createIntakeKey(
  transaction: Database,
  vault: Vault,
  change: Change,
  { campaignId, name, introducerId, leadCost }: NewIntakeKey,
): Promise<CreatedIntakeKey> {
  const { organisationId, at } = change;
  const id = newId();
  const key = randomBytes(keyBytes).toString("base64url");
  await transaction
    .insertInto("intakeKeys")
    .values({
      id,
      organisationId,
      campaignId,
      introducerId,
      name,
      keyHash: sha256(key),
      keyEncrypted: vault.encrypt(key),
      leadCost: leadCost === null ? null : JSON.stringify(leadCost),
      createdAt: at,
      revokedAt: null,
    })
    .execute();
  await recordChange(transaction, change, { kind: "intake_key", id }, null, {
    campaignId,
    name,
    introducerId,
    leadCost,
  });
  return { id, key };
}

export type IntakeKeyPatch = { readonly name?: string | undefined; readonly leadCost?: LeadCost | null | undefined };

/**
 * Changes the name of an intake key, or what is paid for leads that come in over it from now on. Refuses a cost where
 * nobody is to be paid.
 */
export async function changeIntakeKey(
  transaction: Database,
  change: Change,
  campaignId: string,
  id: string,
  patch: IntakeKeyPatch,
): Promise<"changed" | "not_found" | "no_introducer"> {
  const before = await transaction
    .selectFrom("intakeKeys")
    .select(["name", "introducerId", "leadCost"])
    .where("id", "=", id)
    .where("campaignId", "=", campaignId)
    .forNoKeyUpdate()
    .executeTakeFirst();
  if (before === undefined) return "not_found";
  const { introducerId, ...document } = before;
  const after = applyPatch(document, patch);
  if (after.leadCost !== null && introducerId === null) return "no_introducer";
  const keys = changedKeys(document, after);
  if (keys.length === 0) return "changed";
  const { name, leadCost } = after;
  await transaction
    .updateTable("intakeKeys")
    .set({ name, leadCost: leadCost === null ? null : JSON.stringify(leadCost) })
    .where("id", "=", id)
    .execute();
  await recordChange(transaction, change, { kind: "intake_key", id }, pickKeys(document, keys), pickKeys(after, keys));
  return "changed";
}

/** Revokes an intake key from now on. Gives false where the campaign has none of that id that is good. */
export async function revokeIntakeKey(
  transaction: Database,
  change: Change,
  campaignId: string,
  id: string,
): Promise<boolean> {
  const revoked = await transaction
    .updateTable("intakeKeys")
    .set({ revokedAt: change.at })
    .where("id", "=", id)
    .where("campaignId", "=", campaignId)
    .where("revokedAt", "is", null)
    .returning(["name", "introducerId"])
    .executeTakeFirst();
  if (revoked === undefined) return false;
  await recordChange(transaction, change, { kind: "intake_key", id }, { campaignId, ...revoked }, null);
  return true;
}

/** The oldest good key of each campaign, decrypted. */
export async function readIntakeKeys(
  transaction: Database,
  vault: Vault,
  campaignIds: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  if (campaignIds.length === 0) return new Map();
  const rows = await transaction
    .selectFrom("intakeKeys")
    .distinctOn("campaignId")
    .select(["campaignId", "keyEncrypted"])
    .where("campaignId", "in", campaignIds)
    .where("revokedAt", "is", null)
    .orderBy("campaignId")
    .orderBy("id")
    .execute();
  return new Map(rows.map((row) => [row.campaignId, vault.decrypt(row.keyEncrypted)]));
}
