import { routeLeads } from "../../queues/route-leads.ts";
import { sendAlerts } from "../../queues/send-alerts.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { fillPlaces } from "../delivery/recheck-holds.ts";
import { windowEnd, windowStart } from "../partners/limit-windows.ts";
import { lockUsage } from "../partners/save-usage.ts";
import {
  explainRefusal,
  isOverridable,
  type MonthOfReturns,
  policyRefusals,
  type ReturnPolicy,
  type ReturnRefusal,
} from "../returns/return-policy.ts";
import { alertOpenReturn, declineOpenReturn } from "../returns/settle-return.ts";
import { type LeadDelivery, type LockedLead, lockLead, readDeliveries, recordLeadEvent } from "./lead-events.ts";
import { takeBack, wasSold } from "./take-back.ts";

export interface ReturnRequest {
  readonly leadId: string;
  readonly partnerId: string;
  /** A code of the organisation's list, or null: then there is a comment. */
  readonly reason: string | null;
  readonly comment: string | null;
  /** By staff: past time, number, reasons, and one that was declined before. Recorded. */
  readonly override: boolean;
}

export type ReturnResult =
  | { readonly kind: "asked"; readonly returnId: string }
  | { readonly kind: "lead_not_found" }
  | { readonly kind: "unknown_reason"; readonly known: readonly string[] }
  | { readonly kind: "refused"; readonly refusals: readonly ReturnRefusal[]; readonly mayOverride: boolean };

/**
 * A partner returns a lead that was sold to it, or staff do so for it. As the partner's policy says it is accepted at once,
 * or open until staff decide. What stands against it is told all at once; where the lead was sold to the partner, the
 * refusal is recorded. Returns of one partner are counted one after the other, so that no limit is exceeded.
 */
export async function returnLead(
  context: Context,
  organisationId: string,
  request: ReturnRequest,
  actor: string,
): Promise<ReturnResult> {
  const now = context.clock();
  const { leadId, partnerId } = request;
  const result = await inOrganisation(context.database, organisationId, async (transaction) => {
    const lead = await lockLead(transaction, leadId);
    if (lead === null) return { kind: "lead_not_found" } as const;
    const reason = await readReason(transaction, request.reason);
    if (reason.kind === "unknown_reason") return reason;
    const deliveries = await readDeliveries(transaction, leadId);
    const sold = deliveries.filter((row) => row.partnerId === partnerId && row.soldAt !== null);
    const sale = sold.find(wasSold) ?? sold.at(-1);
    const policy = await readPolicy(transaction, partnerId);
    const refusals = await refusalsOf(transaction, sale, policy, request, now);
    const mayOverride = refusals.every(isOverridable);
    if (sale === undefined || (refusals.length > 0 && !(request.override && mayOverride))) {
      if (sale !== undefined) await recordRefusal(transaction, lead, sale, refusals, actor, now);
      return { kind: "refused", refusals, mayOverride } as const;
    }
    const returnId = await insertReturn(transaction, sale, policy, { ...request, ...reason, refusals }, actor, now);
    const words = [reason.text, request.comment].filter((part) => part !== null).join("; ");
    const detail = { returnId, deliveryId: sale.id, partnerId, reason: words, overridden: refusals };
    await recordLeadEvent(transaction, { organisationId, leadId, kind: "return_asked", actor, detail }, now);
    const accepted =
      policy?.decide === "auto" && request.reason !== null
        ? await accept(transaction, lead, deliveries, sale, { returnId, by: "return policy", note: null }, now)
        : null;
    // Also where an attempt to send it again is under way.
    if (accepted === null) await alertOpenReturn(transaction, returnId, now);
    return { kind: "asked", returnId, accepted } as const;
  });
  if (result.kind !== "asked") return result;
  await wake(context, organisationId, partnerId, result.accepted);
  return { kind: "asked", returnId: result.returnId };
}

export interface ReturnDecisionRequest {
  readonly returnId: string;
  readonly decision: "accepted" | "declined";
  /** For the partner. */
  readonly note: string | null;
}

export type DecideResult =
  | { readonly kind: "decided" }
  | { readonly kind: "return_not_found" }
  | { readonly kind: "decided_before"; readonly state: string; readonly by: string | null }
  /** The lead is being sent to the partner again: ask again when that has ended. */
  | { readonly kind: "under_way" };

/** Accepts or declines an open return, once: of two who decide at the same time the second is told what the first did. */
export async function decideReturn(
  context: Context,
  organisationId: string,
  { returnId, decision, note }: ReturnDecisionRequest,
  actor: string,
): Promise<DecideResult> {
  const now = context.clock();
  const result = await inOrganisation(context.database, organisationId, async (transaction) => {
    const found = await readReturn(transaction, returnId);
    const lead = found === null ? null : await lockLead(transaction, found.leadId);
    // Again, now that nobody else can decide it.
    const asked = lead === null ? null : await readReturn(transaction, returnId);
    if (lead === null || asked === null) return { kind: "return_not_found" } as const;
    const { state, decidedBy, deliveryId, partnerId } = asked;
    if (state !== "open") return { kind: "decided_before", state, by: decidedBy } as const;
    const deliveries = await readDeliveries(transaction, lead.id);
    const sale = deliveries.find(({ id }) => id === deliveryId);
    if (sale === undefined) throw new Error(`The delivery of return ${returnId} is gone.`);
    if (decision === "accepted") {
      const accepted = await accept(transaction, lead, deliveries, sale, { returnId, by: actor, note }, now);
      return accepted === null ? ({ kind: "under_way" } as const) : ({ kind: "decided", partnerId, accepted } as const);
    }
    await declineOpenReturn(transaction, deliveryId, { by: actor, note }, now);
    const detail = { returnId, deliveryId, partnerId, reason: note };
    const event = { organisationId, leadId: lead.id, kind: "return_declined", actor, detail } as const;
    await recordLeadEvent(transaction, event, now);
    return { kind: "decided", partnerId, accepted: null } as const;
  });
  if (result.kind !== "decided") return result;
  await wake(context, organisationId, result.partnerId, result.accepted);
  return { kind: "decided" };
}

interface Accepted {
  readonly campaignId: string;
  readonly isRerouted: boolean;
}

/** Takes the lead back as was agreed when its return was asked for; that settles the return. null: an attempt is under way. */
async function accept(
  transaction: Database,
  lead: LockedLead,
  deliveries: readonly LeadDelivery[],
  sale: LeadDelivery,
  { returnId, by, note }: { readonly returnId: string; readonly by: string; readonly note: string | null },
  now: Date,
): Promise<Accepted | null> {
  const asked = await readReturn(transaction, returnId);
  if (asked === null) throw new Error(`Return ${returnId} is gone.`);
  const { place, cost, rerouteHours, partnerId, reasonText } = asked;
  const ageHours = (now.getTime() - lead.receivedAt.getTime()) / 3_600_000;
  const reroute = lead.state !== "erased" && rerouteHours !== null && ageHours < rerouteHours;
  // The ledger never forgets: what somebody wrote, perhaps about a person, is no reason in it.
  const reason = reasonText === null ? "returned" : `returned: ${reasonText}`;
  const reversal = { reason, by, note, place, cost, reroute };
  if (!(await takeBack(transaction, lead, deliveries, sale, reversal, now))) return null;
  const { organisationId, id: deliveryId } = sale;
  const detail = { returnId, deliveryId, partnerId, reason: note, reroute };
  const event = { organisationId, leadId: lead.id, kind: "return_accepted", actor: by, detail } as const;
  await recordLeadEvent(transaction, event, now);
  return { campaignId: lead.campaignId, isRerouted: reroute };
}

async function wake(
  context: Context,
  organisationId: string,
  partnerId: string,
  accepted: Accepted | null,
): Promise<void> {
  context.waker.wake(sendAlerts, { organisationId });
  if (accepted === null) return;
  await fillPlaces(context, { id: partnerId, organisationId }, 1);
  if (accepted.isRerouted) context.waker.wake(routeLeads, { organisationId, campaignId: accepted.campaignId });
}

async function readReason(transaction: Database, code: string | null) {
  if (code === null) return { kind: "reason", text: null } as const;
  const { returnReasons } = await transaction
    .selectFrom("organisations")
    .select("returnReasons")
    .executeTakeFirstOrThrow();
  const reason = returnReasons.find((listed) => listed.code === code);
  if (reason === undefined) return { kind: "unknown_reason", known: returnReasons.map((one) => one.code) } as const;
  return { kind: "reason", text: reason.text } as const;
}

async function readPolicy(transaction: Database, partnerId: string): Promise<ReturnPolicy | null> {
  const partner = await transaction
    .selectFrom("partners")
    .select("returnPolicy")
    .where("id", "=", partnerId)
    .executeTakeFirst();
  return partner?.returnPolicy ?? null;
}

async function readReturn(transaction: Database, id: string) {
  const row = await transaction
    .selectFrom("returns")
    .select(["id", "leadId", "deliveryId", "partnerId", "state", "decidedBy", "reasonText"])
    .select(["place", "cost", "rerouteHours"])
    .where("id", "=", id)
    .executeTakeFirst();
  return row ?? null;
}

async function refusalsOf(
  transaction: Database,
  sale: LeadDelivery | undefined,
  policy: ReturnPolicy | null,
  { reason }: ReturnRequest,
  now: Date,
): Promise<readonly ReturnRefusal[]> {
  if (sale === undefined || sale.soldAt === null) return [{ code: "not_theirs" }];
  const earlier = await transaction
    .selectFrom("returns")
    .select("state")
    .where("leadId", "=", sale.leadId)
    .where("deliveryId", "=", sale.id)
    .execute();
  for (const { state } of earlier) if (state !== "declined") return [{ code: "already_returned", state }];
  if (!wasSold(sale) || sale.reversedAt !== null) return [{ code: "already_reversed" }];
  const declined: ReturnRefusal[] = earlier.length > 0 ? [{ code: "declined_before" }] : [];
  const { soldAt, timeZone } = sale;
  const month =
    policy?.perMonth == null ? { sold: 0, returned: 0 } : await countMonth(transaction, sale, soldAt, policy.perMonth);
  return [...declined, ...policyRefusals({ policy, timeZone, soldAt, reasonCode: reason, month }, now)];
}

/**
 * What was sold to the partner in the month of a sale, and what of that is returned. From here on nobody else's return of
 * this partner is counted until the transaction ends. What is sold only grows, so it may be counted before.
 */
async function countMonth(
  transaction: Database,
  { partnerId, campaignId, timeZone }: LeadDelivery,
  soldAt: Date,
  { percent }: NonNullable<ReturnPolicy["perMonth"]>,
): Promise<MonthOfReturns> {
  const start = windowStart("month", timeZone, soldAt);
  const end = windowEnd("month", timeZone, soldAt);
  const sold =
    percent === undefined
      ? null
      : await transaction
          .selectFrom("deliveries")
          .select((is) => is.fn.countAll<number>().as("count"))
          .where("partnerId", "=", partnerId)
          .where("soldAt", ">=", start)
          .where("soldAt", "<", end)
          .executeTakeFirstOrThrow();
  await lockUsage(transaction, partnerId, [campaignId]);
  const returned = await transaction
    .selectFrom("returns")
    .select((is) => is.fn.countAll<number>().as("count"))
    .where("partnerId", "=", partnerId)
    .where("soldAt", ">=", start)
    .where("soldAt", "<", end)
    .where("state", "<>", "declined")
    .executeTakeFirstOrThrow();
  return { sold: sold?.count ?? 0, returned: returned.count };
}

async function recordRefusal(
  transaction: Database,
  lead: LockedLead,
  { id: deliveryId, partnerId, organisationId }: LeadDelivery,
  refusals: readonly ReturnRefusal[],
  actor: string,
  now: Date,
): Promise<void> {
  const detail = { deliveryId, partnerId, refusals, reason: refusals.map(explainRefusal).join(" ") };
  const event = { organisationId, leadId: lead.id, kind: "return_refused", actor, detail } as const;
  await recordLeadEvent(transaction, event, now);
}

async function insertReturn(
  transaction: Database,
  { id: deliveryId, leadId, partnerId, organisationId, soldAt }: LeadDelivery,
  policy: ReturnPolicy | null,
  {
    reason,
    text,
    comment,
    refusals,
  }: ReturnRequest & { readonly text: string | null; readonly refusals: readonly ReturnRefusal[] },
  actor: string,
  now: Date,
): Promise<string> {
  if (soldAt === null) throw new Error(`Delivery ${deliveryId} was not sold.`);
  const id = newId();
  await transaction
    .insertInto("returns")
    .values({
      id,
      organisationId,
      deliveryId,
      leadId,
      partnerId,
      soldAt,
      state: "open",
      reasonCode: reason,
      reasonText: text,
      comment,
      overridden: JSON.stringify(refusals),
      place: policy?.place ?? "give_back",
      cost: policy?.cost ?? "as_agreed",
      rerouteHours: policy?.rerouteWithinHours ?? null,
      askedAt: now,
      askedBy: actor,
      decidedAt: null,
      decidedBy: null,
      note: null,
    })
    .execute();
  return id;
}
