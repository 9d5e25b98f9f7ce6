import type { Database } from "../db/database.ts";
import { newId } from "../db/id.ts";

export type LeadEventKind =
  | "referred"
  | "offered"
  | "offer_accepted"
  | "offer_declined"
  | "transfer_opened"
  | "transfer_made"
  | "transfer_failed"
  | "transfer_called"
  | "transfer_dialled"
  | "redelivered"
  | "unreferred"
  | "resolved"
  | "billed"
  | "closed"
  | "reversed"
  | "introducer_reversed"
  | "referral_reversed"
  | "return_asked"
  | "return_refused"
  | "return_accepted"
  | "return_declined"
  | "moved"
  | "owner_changed"
  | "arrived"
  | "came_by_form"
  | "status_reported"
  | "status_not_told"
  | "deal_referred"
  | "deal_sent"
  | "deal_refused"
  | "deal_failed"
  | "deal_cancelled"
  | "deal_retried"
  | "deal_status"
  | "partner_status"
  | "erased";

/** Records what was done to a lead by hand, and what became of its referrals: who, when, and with what reason. */
export async function recordLeadEvent(
  transaction: Database,
  event: {
    readonly organisationId: string;
    readonly leadId: string;
    readonly kind: LeadEventKind;
    readonly actor: string;
    readonly detail: Readonly<Record<string, unknown>>;
  },
  now: Date,
): Promise<void> {
  const { detail, ...rest } = event;
  await transaction
    .insertInto("leadEvents")
    .values({ id: newId(), happenedAt: now, detail: JSON.stringify(detail), ...rest })
    .execute();
}

/** Locks a lead and gives it with its campaign's sale limit; null where the organisation has none of that id. */
export async function lockLead(transaction: Database, leadId: string) {
  const lead = await transaction
    .selectFrom("leads as l")
    .innerJoin("campaigns as c", "c.id", "l.campaignId")
    .select(["l.id", "l.campaignId", "l.state", "l.fields", "l.introducerId", "l.soldCount", "l.dueAt", "c.saleLimit"])
    .select(["l.leadCost", "l.costMinor", "l.receivedAt", "l.holdEndsAt", "l.byHand"])
    .select(["c.whenClosed", "c.whenCapped", "c.whenUnfunded", "c.leadValues", "c.routing"])
    .where("l.id", "=", leadId)
    .forNoKeyUpdate(["l"])
    .executeTakeFirst();
  return lead ?? null;
}

/** The deliveries of a locked lead, oldest first, with what settling them by hand takes. */
export async function readDeliveries(transaction: Database, leadId: string) {
  return transaction
    .selectFrom("deliveries as d")
    .innerJoin("partners as p", "p.id", "d.partnerId")
    .select(["d.id", "d.leadId", "d.campaignId", "d.partnerId", "d.groupId", "d.state", "d.priceMinor", "d.currency"])
    .select(["d.terms", "d.billedMinor", "d.billingPoint", "d.billingClosedAt", "d.costMinor"])
    .select(["d.soldAt", "d.reversedAt"])
    .select(["d.reservedAt", "d.redeliveryOf", "d.sendingSince", "d.dueAt", "d.withdrawn", "d.offer", "d.calledAt"])
    .select(["p.timeZone", "p.name as partnerName", "p.organisationId"])
    .where("d.leadId", "=", leadId)
    .orderBy("d.id")
    .execute();
}

export type LockedLead = NonNullable<Awaited<ReturnType<typeof lockLead>>>;
export type LeadDelivery = Awaited<ReturnType<typeof readDeliveries>>[number];
