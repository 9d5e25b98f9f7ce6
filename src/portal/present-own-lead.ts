import { z } from "zod";
import { leadContact } from "../alerts/lead-contact.ts";
import type { Database } from "../db/database.ts";
import { partnerStatuses } from "../delivery/partner-status.ts";
import { instantSchema } from "../http/api.ts";
import { type OwnLead, ownLeadStates, readOwnLead } from "./find-own-leads.ts";
import { type OwnReturn, ownReturnAnswer, presentOwnReturn, readReturnsOf } from "./own-returns.ts";

const fieldsAnswer = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]).nullable());

export const ownLeadAnswer = z
  .object({
    id: z.uuid(),
    leadId: z.uuid().meta({ description: "as `lead.id` in what was sent to you" }),
    campaignId: z.uuid(),
    campaign: z.string(),
    state: z.enum(ownLeadStates),
    status: z.enum(partnerStatuses).meta({ description: "what became of it, as you said" }),
    reference: z.string().nullable().meta({ description: "what you call it" }),
    contact: z.object({ name: z.string().nullable(), phone: z.string().nullable(), email: z.string().nullable() }),
    price: z.int().meta({ description: "in minor units" }),
    paid: z.int().meta({ description: "what of the price was paid so far, less what went back" }),
    currency: z.string(),
    soldAt: instantSchema.meta({ description: "when it became yours" }),
    receivedAt: instantSchema.meta({ description: "when it came in" }),
  })
  .meta({ id: "OwnLead" });
export type OwnLeadAnswer = z.infer<typeof ownLeadAnswer>;

const statusAnswer = z.object({
  status: z.enum(partnerStatuses),
  note: z.string().nullable(),
  at: instantSchema,
  by: z.string(),
});

export const ownLeadDetail = ownLeadAnswer
  .extend({
    fields: fieldsAnswer,
    contacts: z.array(fieldsAnswer).meta({ description: "beyond the main contact" }),
    statuses: z.array(statusAnswer).meta({ description: "what you said became of it, oldest first" }),
    returns: z.array(ownReturnAnswer),
    timeline: z
      .array(z.object({ at: instantSchema, text: z.string() }))
      .meta({ description: "what happened between you and us, oldest first" }),
  })
  .meta({ id: "OwnLeadDetail" });
export type OwnLeadDetail = z.infer<typeof ownLeadDetail>;

export function presentOwnLead(row: OwnLead): OwnLeadAnswer {
  const { campaignName, campaignFields, priceMinor, billedMinor, soldAt, receivedAt, fields } = row;
  const { id, leadId, campaignId, state, status, reference, currency } = row;
  return {
    ...{ id, leadId, campaignId, campaign: campaignName, state, status, reference },
    contact: leadContact(campaignFields, fields),
    ...{ price: priceMinor, paid: billedMinor, currency },
    soldAt: soldAt.toISOString(),
    receivedAt: receivedAt.toISOString(),
  };
}

/** A lead of the partner with all that it may see of it; null where it has none of that id. Takes a transaction bound to it. */
export async function readOwnLeadDetail(
  transaction: Database,
  partnerId: string,
  id: string,
): Promise<OwnLeadDetail | null> {
  const lead = await readOwnLead(transaction, partnerId, id);
  if (lead === null) return null;
  const [contacts, statuses, returns] = await Promise.all([
    transaction.selectFrom("contacts").select("fields").where("leadId", "=", lead.leadId).orderBy("position").execute(),
    readStatuses(transaction, id),
    readReturnsOf(transaction, id),
  ]);
  return {
    ...presentOwnLead(lead),
    fields: lead.fields,
    contacts: contacts.map((contact) => contact.fields),
    statuses: statuses.map(({ status, note, setAt, setBy }) => ({ status, note, at: setAt.toISOString(), by: setBy })),
    returns: returns.map(presentOwnReturn),
    timeline: tellLead(lead, statuses, returns),
  };
}

/** As many are told of, the latest. */
const mostStatuses = 200;

async function readStatuses(transaction: Database, deliveryId: string) {
  const rows = await transaction
    .selectFrom("deliveryStatuses")
    .select(["status", "note", "setAt", "setBy"])
    .where("deliveryId", "=", deliveryId)
    .orderBy("id", "desc")
    .limit(mostStatuses)
    .execute();
  return rows.reverse();
}

type Status = Awaited<ReturnType<typeof readStatuses>>[number];

/** What happened between the partner and us, in its terms. */
function tellLead(
  lead: OwnLead,
  statuses: readonly Status[],
  returns: readonly OwnReturn[],
): OwnLeadDetail["timeline"] {
  const told: { at: Date; text: string }[] = [{ at: lead.soldAt, text: "The lead became yours." }];
  for (const { status, note, setAt, setBy } of statuses) {
    told.push({ at: setAt, text: `You said that it is ${status}${because(note)} (${setBy}).` });
  }
  for (const { reasonText, comment, askedAt, decidedAt, state, note } of returns) {
    const why = [reasonText, comment].filter((words) => words !== null).join("; ");
    told.push({ at: askedAt, text: `Its return was asked for${because(why)}.` });
    if (decidedAt !== null) told.push({ at: decidedAt, text: `Its return was ${state}${because(note)}.` });
  }
  const wasReturned = returns.some(({ state }) => state === "accepted");
  if (lead.reversedAt !== null && !wasReturned) {
    const text = lead.state === "returned" ? "The lead was taken back." : "What you paid for it went back to you.";
    told.push({ at: lead.reversedAt, text });
  }
  return told
    .sort((one, other) => one.at.getTime() - other.at.getTime())
    .map(({ at, text }) => ({ at: at.toISOString(), text }));
}

function because(words: string | null): string {
  return words === null || words === "" ? "" : `: ${words.replace(/\.$/, "")}`;
}
