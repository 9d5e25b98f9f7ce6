import { randomBytes } from "node:crypto";
import type { Database } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { sha256 } from "../encrypt.ts";
import { type Change, recordChange } from "./record-change.ts";

export interface NewApiKey {
  readonly name: string;
  /** null: until it is revoked. */
  readonly expiresAt: Date | null;
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
  { name, expiresAt, key = `handoff_${randomBytes(24).toString("base64url")}` }: NewApiKey,
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
      createdAt: at,
      expiresAt,
      revokedAt: null,
    })
    .onConflict((conflict) => conflict.column("keyLookup").doNothing())
    .returning("id")
    .executeTakeFirst();
  if (inserted === undefined) return null;
  await recordChange(transaction, change, { kind: "api_key", id }, null, { name, expiresAt });
  return { id, key };
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
