import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import type { Change } from "../organisations/record-change.ts";
import { keepStage, readStages, type Stage } from "../workflows/stages.ts";
import { recordLeadEvent } from "./lead-events.ts";

export type PlaceResult = "placed" | "lead_not_found" | "lead_erased" | "stage_not_found" | "user_not_found";

/**
 * Puts a lead into a stage of a workflow, or with null takes it out of its workflow. Where it stood and stands is kept in its
 * history. Routing goes its own way: a lead that is being sold can stand in a stage.
 */
export async function moveLead(
  context: Context,
  change: Change,
  leadId: string,
  stageId: string | null,
): Promise<PlaceResult> {
  const { organisationId, by: actor, at } = change;
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const lead = await lockPlace(transaction, leadId);
    if (lead === null) return "lead_not_found";
    if (lead.state === "erased") return "lead_erased";
    const stage = stageId === null ? null : await keepStage(transaction, stageId);
    if (stageId !== null && stage === null) return "stage_not_found";
    if (lead.stageId === stageId) return "placed";
    await transaction.updateTable("leads").set({ stageId }).where("id", "=", leadId).execute();
    const from = (await readStages(transaction, [lead.stageId])).get(lead.stageId ?? "");
    const nameOf = ({ name, workflowName }: Stage) => `${workflowName}, ${name}`;
    const detail = { from: from === undefined ? null : nameOf(from), to: stage === null ? null : nameOf(stage) };
    await recordLeadEvent(transaction, { organisationId, leadId, kind: "moved", actor, detail }, at);
    return "placed";
  });
}

/** Gives a lead to one of the organisation's users, or with null to nobody. */
export async function giveLead(
  context: Context,
  change: Change,
  leadId: string,
  ownerId: string | null,
): Promise<PlaceResult> {
  const { organisationId, by: actor, at } = change;
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const lead = await lockPlace(transaction, leadId);
    if (lead === null) return "lead_not_found";
    if (lead.state === "erased") return "lead_erased";
    const owner = ownerId === null ? null : await findStaff(transaction, ownerId);
    if (ownerId !== null && owner === null) return "user_not_found";
    if (lead.ownerId === ownerId) return "placed";
    await transaction.updateTable("leads").set({ ownerId }).where("id", "=", leadId).execute();
    const detail = { owner: owner?.name ?? null };
    await recordLeadEvent(transaction, { organisationId, leadId, kind: "owner_changed", actor, detail }, at);
    return "placed";
  });
}

async function lockPlace(transaction: Database, leadId: string) {
  const lead = await transaction
    .selectFrom("leads")
    .select(["state", "stageId", "ownerId"])
    .where("id", "=", leadId)
    .forNoKeyUpdate()
    .executeTakeFirst();
  return lead ?? null;
}

async function findStaff(transaction: Database, id: string) {
  const user = await transaction
    .selectFrom("users")
    .select(["id", "name"])
    .where("id", "=", id)
    .where("partnerId", "is", null)
    .where("disabledAt", "is", null)
    .executeTakeFirst();
  return user ?? null;
}
