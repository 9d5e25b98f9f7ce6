import { secretMask } from "../channels/http-settings.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import type { FieldError } from "../errors.ts";
import { applyPatch } from "../http/patch-schema.ts";
import { type Change, changedKeys, pickKeys, recordChange } from "../organisations/record-change.ts";
import { type OutboundDocument, urlProblem } from "./outbound.ts";

export type StoredOutbound =
  | { readonly kind: "stored"; readonly id: string }
  | { readonly kind: "not_found" }
  | { readonly kind: "invalid"; readonly fields: readonly FieldError[] };

export type OutboundPatch = { readonly [Key in keyof OutboundDocument]?: OutboundDocument[Key] | undefined };

/** Makes an outbound. Refuses an address that is not https, a masked key, and a workflow or stage that is not there. */
export async function createOutbound(
  context: Context,
  change: Change,
  document: OutboundDocument,
): Promise<StoredOutbound> {
  const { organisationId, at } = change;
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const fields = await problemsOf(transaction, context, document);
    if (document.key === secretMask)
      fields.push({ field: "key", code: "required", message: "must be given: none is stored yet" });
    if (fields.length > 0) return { kind: "invalid", fields };
    const { key, ...rest } = document;
    const id = newId();
    await transaction
      .insertInto("outbounds")
      .values({
        ...rest,
        id,
        organisationId,
        keyEncrypted: context.vault.encrypt(key),
        remoteOrganisation: null,
        createdAt: at,
        updatedAt: at,
        deletedAt: null,
      })
      .execute();
    await recordChange(transaction, change, { kind: "outbound", id }, null, { ...document, key: secretMask });
    return { kind: "stored", id };
  });
}

/**
 * Changes an outbound. With another address it leads to another organisation: the name of the one before is forgotten, and
 * what was confirmed for the former address does not go to the new one (see send-over-outbound.ts).
 */
export async function changeOutbound(
  context: Context,
  change: Change,
  id: string,
  patch: OutboundPatch,
): Promise<StoredOutbound> {
  const { organisationId, at } = change;
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const row = await transaction
      .selectFrom("outbounds")
      .select(["name", "url", "workflowId", "stageId", "enabled"])
      .where("id", "=", id)
      .where("deletedAt", "is", null)
      .forNoKeyUpdate()
      .executeTakeFirst();
    if (row === undefined) return { kind: "not_found" };
    const before = { ...row, key: secretMask };
    const after = applyPatch<OutboundDocument>(before, patch);
    const fields = await problemsOf(transaction, context, after);
    if (fields.length > 0) return { kind: "invalid", fields };
    const keys = changedKeys(before, after);
    if (keys.length === 0) return { kind: "stored", id };
    const { key, ...rest } = after;
    await transaction
      .updateTable("outbounds")
      .set({ ...rest, updatedAt: at })
      .$if(keys.includes("url"), (update) => update.set({ remoteOrganisation: null }))
      .$if(key !== secretMask, (update) => update.set({ keyEncrypted: context.vault.encrypt(key) }))
      .where("id", "=", id)
      .execute();
    // A new key shows as a change, though of neither anything is seen.
    const shown = { ...after, key: secretMask };
    await recordChange(transaction, change, { kind: "outbound", id }, pickKeys(before, keys), pickKeys(shown, keys));
    return { kind: "stored", id };
  });
}

/** Deletes an outbound for good, with its key. What went over it stays; what has not gone yet is cancelled by the worker. */
export async function deleteOutbound(context: Context, change: Change, id: string): Promise<"deleted" | "not_found"> {
  return inOrganisation(context.database, change.organisationId, async (transaction) => {
    const row = await transaction
      .updateTable("outbounds")
      .set({ deletedAt: change.at, enabled: false, keyEncrypted: context.vault.encrypt("") })
      .where("id", "=", id)
      .where("deletedAt", "is", null)
      .returning(["name", "url", "workflowId", "stageId"])
      .executeTakeFirst();
    if (row === undefined) return "not_found";
    await recordChange(transaction, change, { kind: "outbound", id }, row, null);
    return "deleted";
  });
}

async function problemsOf(
  transaction: Database,
  { config }: Context,
  { url, workflowId, stageId }: OutboundDocument,
): Promise<FieldError[]> {
  const problem = urlProblem(url, config.allowHosts);
  const problems: FieldError[] = problem === null ? [] : [{ field: "url", code: "not_allowed", message: problem }];
  const workflow = await transaction
    .selectFrom("workflows")
    .select("id")
    .where("id", "=", workflowId)
    .executeTakeFirst();
  if (workflow === undefined) {
    const message = `there is no workflow ${workflowId}`;
    return [...problems, { field: "workflowId", code: "unknown_workflow", message }];
  }
  const stage = await transaction
    .selectFrom("stages")
    .select("id")
    .where("id", "=", stageId)
    .where("workflowId", "=", workflowId)
    .where("removedAt", "is", null)
    .executeTakeFirst();
  if (stage !== undefined) return problems;
  const message = `the workflow has no stage ${stageId}`;
  return [...problems, { field: "stageId", code: "unknown_stage", message }];
}
