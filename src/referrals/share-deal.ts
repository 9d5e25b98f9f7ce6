import type { Field } from "../campaigns/fields.ts";
import type { FieldValue } from "../channels/contract.ts";
import { moneyDecimals } from "../channels/money-fields.ts";
import type { Database } from "../db/database.ts";
import type { LeadFields, LeadState } from "../db/tables.ts";
import { withDecimals } from "../money.ts";
import type { Referral, ReferredField } from "./protocol.ts";

/** A lead with where it stands and all that could be shared of it. */
export interface Deal {
  readonly id: string;
  readonly state: LeadState;
  readonly source: string | null;
  readonly receivedAt: Date;
  readonly stageId: string | null;
  readonly workflowId: string | null;
  readonly owner: Referral["owner"];
  readonly campaignFields: readonly Field[];
  readonly fields: LeadFields;
  readonly contacts: readonly LeadFields[];
  /** Those that are marked as shareable. */
  readonly notes: readonly { readonly text: string; readonly writtenBy: string; readonly writtenAt: Date }[];
}

/** What goes to the other organisation of a lead. */
export type SharedDeal = Pick<Referral["lead"], "fields" | "contacts" | "notes">;

/** A referral as it is kept until it is sent, and after: all of what goes but the key for its status. */
export type ReferralContent = Omit<Referral, "status"> & { readonly status: { readonly url: string } };

/** Reads a deal, and locks its lead where that is asked for; null where the organisation has none of that id. */
export async function readDeal(transaction: Database, leadId: string, lock: "lock" | "look"): Promise<Deal | null> {
  const query = transaction
    .selectFrom("leads as l")
    .innerJoin("campaigns as c", "c.id", "l.campaignId")
    .leftJoin("stages as s", "s.id", "l.stageId")
    .leftJoin("users as u", "u.id", "l.ownerId")
    .select(["l.id", "l.state", "l.source", "l.receivedAt", "l.fields", "l.stageId", "s.workflowId"])
    .select(["c.fields as campaignFields", "u.name as ownerName", "u.email as ownerEmail"])
    .where("l.id", "=", leadId);
  const row = await (lock === "lock" ? query.forNoKeyUpdate(["l"]) : query).executeTakeFirst();
  if (row === undefined) return null;
  const { ownerName, ownerEmail, ...lead } = row;
  const contacts = await transaction
    .selectFrom("contacts")
    .select("fields")
    .where("leadId", "=", leadId)
    .orderBy("position")
    .execute();
  const notes = await transaction
    .selectFrom("leadNotes")
    .select(["text", "writtenBy", "writtenAt"])
    .where("leadId", "=", leadId)
    .where("shareable", "=", true)
    .orderBy("id")
    .execute();
  return {
    ...lead,
    owner: ownerName === null || ownerEmail === null ? null : { name: ownerName, email: ownerEmail },
    contacts: contacts.map(({ fields }) => fields),
    notes,
  };
}

/** Exactly what may be shared: of the lead and of each contact the fields that `mayShare` lets through and that hold a value. */
export function shareDeal(deal: Deal, mayShare: (field: Field) => boolean): SharedDeal {
  const shareable = deal.campaignFields.filter(mayShare);
  const share = (values: LeadFields) => shareable.flatMap((field) => shareField(field, values[field.key] ?? null));
  return {
    fields: share(deal.fields),
    contacts: deal.contacts.map(share).filter((contact) => contact.length > 0),
    notes: deal.notes.map(({ text, writtenBy, writtenAt }) => ({
      text,
      writtenBy: nameOf(writtenBy),
      writtenAt: writtenAt.toISOString(),
    })),
  };
}

/** The protocol takes names of 200 characters; that of a key with a long name and what it is are longer. */
export function nameOf(by: string): string {
  return by.slice(0, 200).trim();
}

/** For links by key: what the campaign marks. */
export function isShareable(field: Field): boolean {
  return field.shareable === true;
}

export function isNothing({ fields, contacts, notes }: SharedDeal): boolean {
  return fields.length + contacts.length + notes.length === 0;
}

function shareField(field: Field, value: FieldValue): ReferredField[] {
  if (value === null || value === "") return [];
  const { key, type } = field;
  const told = { key, label: field.label ?? key, type, group: field.group ?? null };
  if (field.type !== "money" || typeof value !== "number") return [{ ...told, value }];
  // Minor units mean nothing to who does not know our decimals.
  return [{ ...told, value: withDecimals(value, moneyDecimals(field)), currency: field.currency ?? null }];
}
