import { sql } from "kysely";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { recordSet } from "../db/record-set.ts";
import type { FieldError } from "../errors.ts";
import { applyPatch } from "../http/patch-schema.ts";
import { type Change, changedKeys, pickKeys, recordChange } from "../organisations/record-change.ts";
import { readStageUses, type StageUse } from "./stages.ts";
import type { WorkflowDocument } from "./workflow.ts";

export type WorkflowPatch = { readonly [Key in keyof WorkflowDocument]?: WorkflowDocument[Key] | undefined };

interface StoredWorkflow extends Omit<WorkflowDocument, "stages"> {
  readonly stages: readonly { readonly id: string; readonly name: string }[];
}

export type StoreWorkflowResult =
  | { readonly kind: "stored"; readonly id: string }
  | { readonly kind: "not_found" }
  | { readonly kind: "invalid"; readonly fields: readonly FieldError[] }
  | { readonly kind: "in_use"; readonly uses: readonly StageUse[] };

/** Makes a workflow with its stages. Refuses, by field, a campaign or an owner that the organisation does not have. */
export async function createWorkflow(
  context: Context,
  change: Change,
  document: WorkflowDocument,
): Promise<StoreWorkflowResult> {
  const { organisationId, at } = change;
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const fields = [...(await referenceProblems(transaction, document)), ...stageProblems(document.stages, [])];
    if (fields.length > 0) return { kind: "invalid", fields };
    const id = newId();
    const stored = withStageIds(document);
    const { stages, ...columns } = stored;
    await transaction
      .insertInto("workflows")
      .values({ id, organisationId, ...columns, createdAt: at, updatedAt: at })
      .execute();
    await insertStages(transaction, organisationId, id, stages, []);
    await recordChange(transaction, change, { kind: "workflow", id }, null, stored);
    return { kind: "stored", id };
  });
}

/**
 * Changes what the patch names. A stage that comes back with its id is the same stage; one that does not come back is taken
 * away, unless leads stand in it, or enabled links name it: those lead nowhere then, which takes `confirm`.
 */
export async function changeWorkflow(
  context: Context,
  change: Change,
  id: string,
  patch: WorkflowPatch,
  confirm: boolean,
): Promise<StoreWorkflowResult> {
  const { organisationId, at } = change;
  return inOrganisation(context.database, organisationId, async (transaction): Promise<StoreWorkflowResult> => {
    const before = await lockWorkflow(transaction, id);
    if (before === null) return { kind: "not_found" };
    const patched = applyPatch<WorkflowDocument>({ ...before, stages: [...before.stages] }, patch);
    const fields = [
      ...(await referenceProblems(transaction, patched)),
      ...stageProblems(
        patched.stages,
        before.stages.map((stage) => stage.id),
      ),
    ];
    if (fields.length > 0) return { kind: "invalid", fields };
    const after = withStageIds(patched);
    const removed = before.stages.filter((stage) => !after.stages.some((kept) => kept.id === stage.id));
    const uses = await readStageUses(transaction, removed);
    if (uses.some(({ hasLeads }) => hasLeads || !confirm)) return { kind: "in_use", uses };
    const keys = changedKeys(before, after);
    if (keys.length === 0) return { kind: "stored", id };
    const { stages, ...columns } = after;
    await transaction
      .updateTable("workflows")
      .set({ ...columns, updatedAt: at })
      .where("id", "=", id)
      .execute();
    await saveStages(transaction, before, after, at);
    await insertStages(transaction, organisationId, id, stages, before.stages);
    await recordChange(transaction, change, { kind: "workflow", id }, pickKeys(before, keys), pickKeys(after, keys));
    return { kind: "stored", id };
  });
}

/** The workflow and its stages, which nobody can put anything in until the transaction ends. */
async function lockWorkflow(transaction: Database, id: string): Promise<StoredWorkflow | null> {
  const row = await transaction
    .selectFrom("workflows")
    .select(["name", "campaignId", "ownerId", "alertSms"])
    .where("id", "=", id)
    .forNoKeyUpdate()
    .executeTakeFirst();
  if (row === undefined) return null;
  const stages = await transaction
    .selectFrom("stages")
    .select(["id", "name"])
    .where("workflowId", "=", id)
    .where("removedAt", "is", null)
    .orderBy("position")
    .forUpdate()
    .execute();
  return { ...row, stages };
}

async function referenceProblems(
  transaction: Database,
  { campaignId, ownerId }: Pick<WorkflowDocument, "campaignId" | "ownerId">,
): Promise<FieldError[]> {
  const [campaign, owner] = await Promise.all([
    transaction.selectFrom("campaigns").select("id").where("id", "=", campaignId).executeTakeFirst(),
    transaction.selectFrom("users").select(["partnerId", "disabledAt"]).where("id", "=", ownerId).executeTakeFirst(),
  ]);
  const problems: FieldError[] = [];
  if (campaign === undefined) {
    problems.push({ field: "campaignId", code: "unknown_campaign", message: `there is no campaign ${campaignId}` });
  }
  if (owner === undefined || owner.partnerId !== null || owner.disabledAt !== null) {
    problems.push({ field: "ownerId", code: "unknown_user", message: `there is no user ${ownerId} who is let in` });
  }
  return problems;
}

function stageProblems(stages: WorkflowDocument["stages"], known: readonly string[]): FieldError[] {
  return stages.flatMap(({ id, name }, index) => {
    const place = `stages.${index}`;
    const problems: FieldError[] = [];
    if (id !== undefined && !known.includes(id)) {
      const message = "is not a stage of this workflow; leave it out for a new one";
      problems.push({ field: `${place}.id`, code: "unknown_stage", message });
    } else if (id !== undefined && stages.findIndex((other) => other.id === id) < index) {
      problems.push({ field: `${place}.id`, code: "repeated", message: "is the id of an earlier stage already" });
    }
    if (stages.findIndex((other) => other.name === name) < index) {
      problems.push({ field: `${place}.name`, code: "repeated", message: "is the name of an earlier stage already" });
    }
    return problems;
  });
}

function withStageIds({ stages, ...document }: WorkflowDocument): StoredWorkflow {
  return { ...document, stages: stages.map(({ id, name }) => ({ id: id ?? newId(), name })) };
}

async function saveStages(transaction: Database, before: StoredWorkflow, after: StoredWorkflow, at: Date) {
  const ids = after.stages.map(({ id }) => id);
  const removed = before.stages.filter(({ id }) => !ids.includes(id)).map(({ id }) => id);
  if (removed.length > 0) {
    await transaction.updateTable("stages").set({ removedAt: at }).where("id", "in", removed).execute();
  }
  const rows = after.stages.map(({ id, name }, position) => ({ id, name, position }));
  await sql`
    update stages s set name = g.name, position = g.position
    from ${recordSet(rows, "id uuid, name text, position integer")} as g where s.id = g.id
  `.execute(transaction);
}

async function insertStages(
  transaction: Database,
  organisationId: string,
  workflowId: string,
  stages: StoredWorkflow["stages"],
  before: StoredWorkflow["stages"],
): Promise<void> {
  const rows = stages
    .map((stage, position) => ({ ...stage, organisationId, workflowId, position }))
    .filter(({ id }) => !before.some((stage) => stage.id === id));
  if (rows.length > 0) await transaction.insertInto("stages").values(rows).execute();
}
