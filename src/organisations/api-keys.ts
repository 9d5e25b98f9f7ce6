import { randomBytes } from "node:crypto";
import type { Database } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { sha256 } from "../encrypt.ts";
import { allStaffPermissions, type StaffPermission } from "../people/permissions.ts";
import { type Change, recordChange } from "./record-change.ts";

export interface NewApiKey {
  readonly name: string;
  /** null: until it is revoked. */
  readonly expiresAt: Date | null;
  /** What it may do; null: all that staff may, but for what only an owner may. */
  readonly scopes?: readonly StaffPermission[] | null | undefined;
  /** The key itself, where the operator chose it; else one is made. At least 20 characters. */
  readonly key?: string | undefined;
}

export interface CreatedApiKey {
  readonly id: string;
  /** Shown now and never again: only its digest is kept. */
  readonly key: string;
}

/**
 * Makes an API key. Takes a transaction of the organisation or the owner's database. Refuses (null) a chosen key that
 * exists already, here or in another organisation.
 */
export async function createApiKey(
  transaction: Database,
  change: Change,
  { name, expiresAt, scopes = null, key = `handoff_${randomBytes(24).toString("base64url")}` }: NewApiKey,
): Promise<CreatedApiKey | null> {
  const { organisationId, at } = change;
  const id = newId();
  const keyHash = sha256(key);
  const inserted = await transaction
    .insertInto("apiKeys")
    .values({
      id,
      organisationId,
      name,
      keyLookup: keyHash.subarray(0, 8),
      keyHash,
      scopes: scopes === null ? null : JSON.stringify(scopes),
      createdAt: at,
      expiresAt,
      revokedAt: null,
    })
    .onConflict((conflict) => conflict.column("keyLookup").doNothing())
    .returning("id")
    .executeTakeFirst();
  if (inserted === undefined) return null;
  await recordChange(transaction, change, { kind: "api_key", id }, null, { name, expiresAt, scopes });
  return { id, key };
}

/** What a key may do, as it is stored: a permission that went with an older version gives nothing. null: all. */
export function readScopes(stored: readonly string[] | null): StaffPermission[] | null {
  return stored === null ? null : allStaffPermissions.filter((name) => stored.includes(name));
}

export type RevokeResult = "revoked" | "not_found" | "last";

/** Revokes an API key from now on. Refuses the last one that is good, lest everybody be locked out. */
export async function revokeApiKey(transaction: Database, change: Change, id: string): Promise<RevokeResult> {
  const keys = await transaction
    .selectFrom("apiKeys")
    .select(["id", "name", "expiresAt"])
    .where("revokedAt", "is", null)
    .forUpdate()
    .execute();
  const revoked = keys.find((key) => key.id === id);
  if (revoked === undefined) return "not_found";
  const isGood = (key: { expiresAt: Date | null }) => key.expiresAt === null || key.expiresAt > change.at;
  if (isGood(revoked) && keys.filter(isGood).length === 1) return "last";
  await transaction.updateTable("apiKeys").set({ revokedAt: change.at }).where("id", "=", id).execute();
  await recordChange(transaction, change, { kind: "api_key", id }, { name: revoked.name }, null);
  return "revoked";
}
