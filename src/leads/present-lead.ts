import { z } from "zod";
import type { Database } from "../db/database.ts";
import type { LeadFields, LeadState } from "../db/tables.ts";
import {
  type DeliveryWithAttempts,
  deliveryWithAttempts,
  presentDelivery,
  readAttempts,
  reasonAnswer,
  selectDeliveries,
} from "../delivery/present-delivery.ts";
import { instantSchema } from "../http/api.ts";
import { arrivalAnswer, readArrival } from "../referrals/present-arrival.ts";
import { choiceResults } from "../routing/choose.ts";
import { explainReason } from "../routing/reasons.ts";
import { readStages, type Stage } from "../workflows/stages.ts";
import { explainState } from "./explain-state.ts";
import { leadColumns, leadStates } from "./find-leads.ts";
import { type NoteAnswer, noteAnswer, noteColumns, presentNote } from "./lead-notes.ts";
import { composeTimeline, timelineEntry } from "./lead-timeline.ts";

const fieldsAnswer = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]).nullable());

export const leadAnswer = z
  .object({
    id: z.uuid(),
    campaignId: z.uuid(),
    introducerId: z.uuid().nullable(),
    source: z.string().nullable(),
    state: z.enum(leadStates),
    reason: z
      .object({ code: z.string(), text: z.string() })
      .nullable()
      .meta({ description: "why it is in this state, where that needs saying" }),
    fields: fieldsAnswer,
    stage: z
      .object({ id: z.uuid(), name: z.string(), workflowId: z.uuid(), workflowName: z.string() })
      .nullable()
      .meta({ description: "where it stands in a workflow" }),
    ownerId: z.uuid().nullable().meta({ description: "the user who has it" }),
    byHand: z.boolean().meta({ description: "goes to partners by hand only" }),
    duplicateOf: z.uuid().nullable(),
    soldCount: z.int(),
    receivedAt: instantSchema,
    dueAt: instantSchema.nullable().meta({ description: "when routing looks at it again" }),
    finishedAt: instantSchema.nullable(),
  })
  .meta({ id: "Lead" });
export type LeadAnswer = z.infer<typeof leadAnswer>;

const explanationAnswer = z.object({
  decidedAt: instantSchema,
  result: z.string(),
  partners: z.array(
    z.object({
      groupId: z.uuid(),
      partnerId: z.uuid(),
      name: z.string(),
      price: z.int(),
      result: z.string().meta({ description: choiceResults.join(", ") }),
      reasons: z.array(reasonAnswer).meta({ description: "every reason against it, all at once" }),
    }),
  ),
});

export const leadWithHistory = leadAnswer
  .extend({
    extra: z.record(z.string(), z.unknown()).meta({ description: "what was sent and is no field of the campaign" }),
    contacts: z.array(fieldsAnswer).meta({ description: "beyond the main contact" }),
    money: z
      .array(z.object({ currency: z.string(), revenue: z.int(), cost: z.int(), margin: z.int() }))
      .meta({ description: "what partners paid for it, what its introducer is owed, and what remains; by currency" }),
    owner: z.object({ id: z.uuid(), name: z.string(), email: z.string() }).nullable(),
    notes: z.array(noteAnswer).meta({ description: "the latest, oldest first" }),
    arrival: arrivalAnswer.nullable().meta({ description: "by whom it was referred here" }),
    deliveries: z.array(deliveryWithAttempts),
    explanation: explanationAnswer.nullable().meta({ description: "the latest decision of routing" }),
    timeline: z.array(timelineEntry).meta({ description: "what happened, oldest first" }),
  })
  .meta({ id: "LeadDetail" });
export type LeadWithHistory = z.infer<typeof leadWithHistory>;

interface LeadRow {
  readonly id: string;
  readonly campaignId: string;
  readonly introducerId: string | null;
  readonly source: string | null;
  readonly state: LeadState;
  readonly stateReason: Record<string, unknown> | null;
  readonly fields: LeadFields;
  readonly duplicateOf: string | null;
  readonly soldCount: number;
  readonly receivedAt: Date;
  readonly dueAt: Date | null;
  readonly finishedAt: Date | null;
  readonly stageId: string | null;
  readonly ownerId: string | null;
  readonly byHand: boolean;
}

/** Leads as lists give them, with the names of the stages that they stand in. */
export async function presentLeads(transaction: Database, rows: readonly LeadRow[]): Promise<LeadAnswer[]> {
  const stages = await readStages(
    transaction,
    rows.map(({ stageId }) => stageId),
  );
  return rows.map((row) => presentLead(row, stages.get(row.stageId ?? "") ?? null));
}

function presentLead(row: LeadRow, stage: Stage | null): LeadAnswer {
  const { stateReason, receivedAt, dueAt, finishedAt, stageId: _stageId, ...rest } = row;
  return {
    ...rest,
    stage,
    reason: explainState(row.state, stateReason, { byHand: row.byHand, stage }),
    receivedAt: receivedAt.toISOString(),
    dueAt: dueAt?.toISOString() ?? null,
    finishedAt: finishedAt?.toISOString() ?? null,
  };
}

/** As many decisions and events are told of, the latest: a lead that waits for days is decided anew many times. */
const mostTold = 100;

/** A lead with everything that happened to it and why; null where the organisation has none of that id. */
export async function readLead(transaction: Database, id: string): Promise<LeadWithHistory | null> {
  const row = await transaction
    .selectFrom("leads")
    .select([...leadColumns, "extra", "leadCost", "costMinor"])
    .where("id", "=", id)
    .executeTakeFirst();
  if (row === undefined) return null;
  const { extra, leadCost, costMinor, ...lead } = row;
  const [presented] = await presentLeads(transaction, [lead]);
  if (presented === undefined) throw new Error("One lead is presented as one.");
  const contacts = await transaction
    .selectFrom("contacts")
    .select("fields")
    .where("leadId", "=", id)
    .orderBy("position")
    .execute();
  const deliveries = await readDeliveries(transaction, id);
  const decisions = await transaction
    .selectFrom("decisions")
    .select(["decidedAt", "result"])
    .where("leadId", "=", id)
    .orderBy("id", "desc")
    .limit(mostTold)
    .execute();
  const events = await transaction
    .selectFrom("leadEvents")
    .select(["happenedAt", "kind", "actor", "detail"])
    .where("leadId", "=", id)
    .orderBy("id", "desc")
    .limit(mostTold)
    .execute();
  const [owner, notes, arrival] = await Promise.all([
    readOwner(transaction, lead.ownerId),
    readNotes(transaction, id),
    readArrival(transaction, id),
  ]);
  return {
    ...presented,
    owner,
    notes,
    arrival,
    extra,
    contacts: contacts.map((contact) => contact.fields),
    money: addUp(deliveries, leadCost === null ? null : { currency: leadCost.currency, costMinor }),
    deliveries,
    explanation: await readExplanation(transaction, id),
    timeline: composeTimeline({ lead, decisions, deliveries, events: events.toReversed(), notes }),
  };
}

async function readOwner(transaction: Database, id: string | null): Promise<LeadWithHistory["owner"]> {
  if (id === null) return null;
  const owner = await transaction
    .selectFrom("users")
    .select(["id", "name", "email"])
    .where("id", "=", id)
    .executeTakeFirst();
  return owner ?? null;
}

async function readNotes(transaction: Database, leadId: string): Promise<NoteAnswer[]> {
  const rows = await transaction
    .selectFrom("leadNotes")
    .select(noteColumns)
    .where("leadId", "=", leadId)
    .orderBy("id", "desc")
    .limit(mostTold)
    .execute();
  return rows.reverse().map(presentNote);
}

/** What a lead brought and cost, by currency: of its sales that stand, and for itself. */
function addUp(
  deliveries: readonly DeliveryWithAttempts[],
  own: { readonly currency: string; readonly costMinor: number } | null,
): LeadWithHistory["money"] {
  const lines = deliveries.map(({ currency, billing, cost }) => ({ currency, revenue: billing.billed, cost }));
  if (own !== null) lines.push({ currency: own.currency, revenue: 0, cost: own.costMinor });
  const currencies = [...new Set(lines.filter(({ revenue, cost }) => revenue + cost > 0).map((line) => line.currency))];
  return currencies.sort().map((currency) => {
    const ofCurrency = lines.filter((line) => line.currency === currency);
    const revenue = ofCurrency.reduce((sum, line) => sum + line.revenue, 0);
    const cost = ofCurrency.reduce((sum, line) => sum + line.cost, 0);
    return { currency, revenue, cost, margin: revenue - cost };
  });
}

async function readDeliveries(transaction: Database, leadId: string): Promise<DeliveryWithAttempts[]> {
  const rows = await selectDeliveries(transaction).where("d.leadId", "=", leadId).orderBy("d.id").execute();
  const attempts = await readAttempts(
    transaction,
    rows.map((row) => row.id),
  );
  return rows.map((row) => ({ ...presentDelivery(row), attempts: attempts.get(row.id) ?? [] }));
}

async function readExplanation(transaction: Database, leadId: string): Promise<LeadWithHistory["explanation"]> {
  const decision = await transaction
    .selectFrom("decisions")
    .select(["decidedAt", "result", "explanation"])
    .where("leadId", "=", leadId)
    .orderBy("id", "desc")
    .limit(1)
    .executeTakeFirst();
  if (decision === undefined) return null;
  const ids = [...new Set(decision.explanation.map(({ partnerId }) => partnerId))];
  const partners =
    ids.length === 0
      ? []
      : await transaction.selectFrom("partners").select(["id", "name"]).where("id", "in", ids).execute();
  const names = new Map(partners.map((partner) => [partner.id, partner.name]));
  return {
    decidedAt: decision.decidedAt.toISOString(),
    result: decision.result,
    partners: decision.explanation.map(({ groupId, partnerId, priceMinor, result, reasons }) => ({
      groupId,
      partnerId,
      name: names.get(partnerId) ?? "",
      price: priceMinor,
      result,
      reasons: reasons.map((reason) => ({ ...reason, text: explainReason(reason) })),
    })),
  };
}
