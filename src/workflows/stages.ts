import type { Database } from "../db/database.ts";

/** A stage with the workflow that it belongs to. */
export interface Stage {
  readonly id: string;
  readonly name: string;
  readonly workflowId: string;
  readonly workflowName: string;
}

const selectStages = (transaction: Database) =>
  transaction
    .selectFrom("stages as s")
    .innerJoin("workflows as w", "w.id", "s.workflowId")
    .select(["s.id", "s.name", "s.workflowId", "w.name as workflowName"]);

/**
 * A stage that something is about to be put in: it cannot be taken away before the transaction ends. Null where it is gone, or
 * the organisation has none of that id.
 */
export async function keepStage(transaction: Database, id: string): Promise<Stage | null> {
  const stage = await selectStages(transaction)
    .where("s.id", "=", id)
    .where("s.removedAt", "is", null)
    .forShare("s")
    .executeTakeFirst();
  return stage ?? null;
}

/** Names of stages by their ids, gone ones too. */
export async function readStages(
  transaction: Database,
  ids: readonly (string | null)[],
): Promise<ReadonlyMap<string, Stage>> {
  const named = [...new Set(ids.filter((id) => id !== null))];
  if (named.length === 0) return new Map();
  const rows = await selectStages(transaction).where("s.id", "in", named).execute();
  return new Map(rows.map((row) => [row.id, row]));
}

/** What keeps a stage from being taken away. */
export interface StageUse {
  readonly stageId: string;
  readonly stageName: string;
  /** Leads stand in it: they have to be moved first. */
  readonly hasLeads: boolean;
  /** Links that name it, in words: inbounds and outbounds that are enabled, connections that are active or asked for anew. */
  readonly links: readonly string[];
}

/** Who uses these stages, to be asked when they are locked: what is put in one meanwhile waits. */
export async function readStageUses(
  transaction: Database,
  stages: readonly { readonly id: string; readonly name: string }[],
): Promise<readonly StageUse[]> {
  if (stages.length === 0) return [];
  const ids = stages.map(({ id }) => id);
  const [inbounds, outbounds, connections, filled] = await Promise.all([
    readLinks(transaction, "inbounds", ids),
    readLinks(transaction, "outbounds", ids),
    transaction
      .selectFrom("connections")
      .select(["stageId", "fromName"])
      .where("stageId", "in", ids)
      .where("state", "in", ["pending", "active"])
      .orderBy("id")
      .execute(),
    transaction
      .selectFrom("stages as s")
      .select("s.id")
      .where("s.id", "in", ids)
      .where((is) =>
        is.exists(
          is
            .selectFrom("leads as l")
            .select("l.id")
            .whereRef("l.stageId", "=", "s.id")
            .whereRef("l.organisationId", "=", "s.organisationId"),
        ),
      )
      .execute(),
  ]);
  return stages
    .map(({ id, name }) => ({
      stageId: id,
      stageName: name,
      hasLeads: filled.some((row) => row.id === id),
      links: [
        ...inbounds.filter((row) => row.stageId === id).map((row) => `the inbound ${row.name}`),
        ...outbounds.filter((row) => row.stageId === id).map((row) => `the outbound ${row.name}`),
        ...connections.filter((row) => row.stageId === id).map((row) => `the connection from ${row.fromName}`),
      ],
    }))
    .filter(({ hasLeads, links }) => hasLeads || links.length > 0);
}

async function readLinks(transaction: Database, table: "inbounds" | "outbounds", stageIds: readonly string[]) {
  return transaction
    .selectFrom(table)
    .select(["stageId", "name"])
    .where("stageId", "in", stageIds)
    .where("enabled", "=", true)
    .where("deletedAt", "is", null)
    .orderBy("id")
    .execute();
}
