import { randomBytes } from "node:crypto";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { sha256, type Vault } from "../encrypt.ts";
import type { FieldError } from "../errors.ts";
import { applyPatch } from "../http/patch-schema.ts";
import { type Change, changedKeys, pickKeys, recordChange } from "../organisations/record-change.ts";
import { keepStage } from "../workflows/stages.ts";
import type { InboundDocument } from "./inbound.ts";

export type InboundPatch = { readonly [Key in keyof InboundDocument]?: InboundDocument[Key] | undefined };

/** Who uses an inbound that is about to be closed to them: only told where there are several. */
export interface InboundInUse {
  readonly kind: "in_use";
  readonly referrers: readonly string[];
}

export type StoreInboundResult =
  | { readonly kind: "stored"; readonly id: string }
  | { readonly kind: "not_found" }
  | { readonly kind: "invalid"; readonly fields: readonly FieldError[] }
  | InboundInUse;

/** Makes an inbound with its key. Refuses a stage that is not there, or is another workflow's. */
export async function createInbound(
  context: Context,
  change: Change,
  document: InboundDocument,
): Promise<StoreInboundResult> {
  const { organisationId, at } = change;
  return inOrganisation(context.database, organisationId, async (transaction): Promise<StoreInboundResult> => {
    const fields = await stageProblems(transaction, document);
    if (fields.length > 0) return { kind: "invalid", fields };
    const id = newId();
    const formToken = randomBytes(15).toString("base64url");
    await transaction
      .insertInto("inbounds")
      .values({
        id,
        organisationId,
        ...toColumns(document),
        ...makeKey(context.vault),
        formToken,
        createdAt: at,
        updatedAt: at,
      })
      .execute();
    await recordChange(transaction, change, { kind: "inbound", id }, null, document);
    return { kind: "stored", id };
  });
}

/** Changes what the patch names. Disabling one that several use takes `confirm`: it is told first who they are. */
export async function changeInbound(
  context: Context,
  change: Change,
  id: string,
  patch: InboundPatch,
  confirm: boolean,
): Promise<StoreInboundResult> {
  return inOrganisation(context.database, change.organisationId, async (transaction): Promise<StoreInboundResult> => {
    const before = await lockInbound(transaction, id);
    if (before === null) return { kind: "not_found" };
    const after = applyPatch<InboundDocument>(before, patch);
    const isMoved = after.stageId !== before.stageId || after.workflowId !== before.workflowId;
    const fields = after.enabled || isMoved ? await stageProblems(transaction, after) : [];
    if (fields.length > 0) return { kind: "invalid", fields };
    const referrers = before.enabled && !after.enabled && !confirm ? await readSeveral(transaction, id) : [];
    if (referrers.length > 0) return { kind: "in_use", referrers };
    const keys = changedKeys(before, after);
    if (keys.length === 0) return { kind: "stored", id };
    await transaction
      .updateTable("inbounds")
      .set({ ...toColumns(after), updatedAt: change.at })
      .where("id", "=", id)
      .execute();
    await recordChange(transaction, change, { kind: "inbound", id }, pickKeys(before, keys), pickKeys(after, keys));
    return { kind: "stored", id };
  });
}

/** Gives an inbound another key; the old one is good for nothing from now on. False where there is no such inbound. */
export async function renewInboundKey(context: Context, change: Change, id: string): Promise<boolean> {
  return inOrganisation(context.database, change.organisationId, async (transaction) => {
    const renewed = await transaction
      .updateTable("inbounds")
      .set({ ...makeKey(context.vault), updatedAt: change.at })
      .where("id", "=", id)
      .where("deletedAt", "is", null)
      .returning("name")
      .executeTakeFirst();
    if (renewed === undefined) return false;
    await recordChange(transaction, change, { kind: "inbound", id }, { key: "the old one" }, { key: "a new one" });
    return true;
  });
}

/**
 * Deletes an inbound for good: who still holds its key is told that it is gone. One that several use takes `confirm`. What
 * arrived over it stays.
 */
export async function deleteInbound(
  context: Context,
  change: Change,
  id: string,
  confirm: boolean,
): Promise<InboundInUse | { readonly kind: "deleted" } | { readonly kind: "not_found" }> {
  return inOrganisation(context.database, change.organisationId, async (transaction) => {
    const before = await lockInbound(transaction, id);
    if (before === null) return { kind: "not_found" } as const;
    const referrers = confirm ? [] : await readSeveral(transaction, id);
    if (referrers.length > 0) return { kind: "in_use", referrers } as const;
    await transaction
      .updateTable("inbounds")
      .set({ enabled: false, form: null, keyEncrypted: null, deletedAt: change.at, updatedAt: change.at })
      .where("id", "=", id)
      .execute();
    await recordChange(transaction, change, { kind: "inbound", id }, before, null);
    return { kind: "deleted" } as const;
  });
}

async function lockInbound(transaction: Database, id: string): Promise<InboundDocument | null> {
  const row = await transaction
    .selectFrom("inbounds")
    .select(["name", "workflowId", "stageId", "enabled", "reportsStatus", "form"])
    .where("id", "=", id)
    .where("deletedAt", "is", null)
    .forNoKeyUpdate()
    .executeTakeFirst();
  return row ?? null;
}

/** The names of those who use it, where they are more than one. */
async function readSeveral(transaction: Database, inboundId: string): Promise<readonly string[]> {
  const rows = await transaction
    .selectFrom("inboundReferrers")
    .select(["referrer", "installation"])
    .where("inboundId", "=", inboundId)
    .orderBy("lastAt", "desc")
    .limit(20)
    .execute();
  return rows.length < 2 ? [] : rows.map(({ referrer, installation }) => `${referrer} (${installation})`);
}

async function stageProblems(
  transaction: Database,
  { workflowId, stageId }: Pick<InboundDocument, "workflowId" | "stageId">,
): Promise<FieldError[]> {
  const stage = await keepStage(transaction, stageId);
  if (stage?.workflowId === workflowId) return [];
  const message = `there is no stage ${stageId} in workflow ${workflowId}`;
  return [{ field: "stageId", code: "unknown_stage", message }];
}

/** 192 bits, in letters that need no escaping anywhere. */
function makeKey(vault: Vault) {
  const key = `referral_${randomBytes(24).toString("base64url")}`;
  return { keyHash: sha256(key), keyEncrypted: vault.encrypt(key) };
}

function toColumns({ form, ...document }: InboundDocument) {
  return { ...document, form: form === null ? null : JSON.stringify(form) };
}
