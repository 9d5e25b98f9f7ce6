import { type AlertedOwner, insertAlerts, type NewAlert, referralArrivedAlerts } from "../alerts/insert-alerts.ts";
import type { Database } from "../db/database.ts";
import { newId } from "../db/id.ts";
import type { LeadFields } from "../db/tables.ts";
import type { Vault } from "../encrypt.ts";
import { type LeadEventKind, recordLeadEvent } from "../leads/lead-events.ts";
import { leadKey } from "../leads/lead-key.ts";

/** A lead that comes into a stage of a workflow, not to be sold. */
export interface NewDeal {
  readonly organisationId: string;
  readonly target: {
    readonly stageId: string;
    readonly stageName: string;
    readonly workflowName: string;
    readonly workflowOwnerId: string;
    readonly alertSms: boolean;
    readonly campaignId: string;
    readonly holdHours: number;
  };
  readonly source: string | null;
  readonly fields: LeadFields;
  readonly contacts: readonly LeadFields[];
  readonly extra: Readonly<Record<string, unknown>>;
  /** What it can be found by, and makes later leads its duplicates. */
  readonly matchKeys: Readonly<Record<string, string>>;
  readonly ownerId: string;
  readonly notes: readonly { readonly text: string; readonly writtenBy: string; readonly writtenAt: Date }[];
  /** How it came in, for its history. */
  readonly event: { readonly kind: LeadEventKind; readonly detail: Readonly<Record<string, unknown>> };
  /** What the workflow's owner is told beside the lead itself. */
  readonly alert: NewAlert["detail"];
}

const hourMs = 3_600_000;

/** Stores a deal with all that belongs to it and the alerts of its workflow's owner, and gives the id of its lead. */
export async function storeDeal(transaction: Database, vault: Vault, deal: NewDeal, now: Date): Promise<string> {
  const { organisationId, target } = deal;
  const { campaignId } = target;
  const leadId = newId();
  await transaction
    .insertInto("leads")
    .values({
      id: leadId,
      organisationId,
      campaignId,
      intakeKeyId: null,
      introducerId: null,
      source: deal.source,
      state: "received",
      stateReason: null,
      fields: JSON.stringify(deal.fields),
      extra: JSON.stringify(deal.extra),
      duplicateOf: null,
      contentHash: null,
      receivedAt: now,
      // Nothing is to be decided about it.
      dueAt: null,
      holdEndsAt: new Date(now.getTime() + target.holdHours * hourMs),
      finishedAt: null,
      stageId: target.stageId,
      ownerId: deal.ownerId,
      byHand: true,
    })
    .execute();
  await insertParts(transaction, vault, deal, leadId, now);
  const { kind, detail } = deal.event;
  await recordLeadEvent(transaction, { organisationId, leadId, kind, actor: "system", detail }, now);
  const owner = await readAlertedOwner(transaction, target);
  const about = { ...deal.alert, workflow: target.workflowName, stage: target.stageName };
  await insertAlerts(transaction, organisationId, referralArrivedAlerts(owner, leadId, about), now);
  return leadId;
}

async function insertParts(
  transaction: Database,
  vault: Vault,
  { organisationId, target, contacts, notes, matchKeys }: NewDeal,
  leadId: string,
  now: Date,
): Promise<void> {
  const { campaignId } = target;
  const contactRows = contacts.map((fields, index) => ({
    leadId,
    position: index + 1,
    organisationId,
    fields: JSON.stringify(fields),
  }));
  if (contactRows.length > 0) await transaction.insertInto("contacts").values(contactRows).execute();
  const noteRows = notes.map((note) => ({ id: newId(), organisationId, leadId, ...note, shareable: false }));
  if (noteRows.length > 0) await transaction.insertInto("leadNotes").values(noteRows).execute();
  const keyRows = Object.entries(matchKeys).map(([field, value]) => ({
    organisationId,
    campaignId,
    keyHash: leadKey(vault, campaignId, field, value),
    leadId,
    receivedAt: now,
  }));
  if (keyRows.length > 0) await transaction.insertInto("leadKeys").values(keyRows).execute();
}

async function readAlertedOwner(transaction: Database, target: NewDeal["target"]): Promise<AlertedOwner> {
  const owner = await transaction
    .selectFrom("users")
    .select(["email", "phone", "disabledAt"])
    .where("id", "=", target.workflowOwnerId)
    .executeTakeFirstOrThrow();
  // One who is not let in any more hears nothing more either: staff do.
  if (owner.disabledAt !== null) return { email: null, phone: null };
  return { email: owner.email, phone: target.alertSms ? owner.phone : null };
}
