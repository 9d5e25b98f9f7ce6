import { drainPartner } from "../../queues/drain-partner.ts";
import { routeLeads } from "../../queues/route-leads.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { fillPlaces } from "../delivery/recheck-holds.ts";
import { type LeadDelivery, type LockedLead, lockLead, readDeliveries, recordLeadEvent } from "../leads/lead-events.ts";
import { endOffers } from "./end-offers.ts";

export { presentOffer } from "./present-offer.ts";

export interface OfferAnswer {
  readonly deliveryId: string;
  /** Whose answer it is; null: it may be any partner's, as when staff answer for it or the link says which delivery it is. */
  readonly partnerId: string | null;
  readonly answer: "accept" | "decline";
  readonly reason: string | null;
  readonly by: "portal" | "link" | "api";
}

export type AnswerOfferResult =
  | { readonly kind: "accepted" | "declined" }
  /** It was answered, taken back or sold before: nothing was changed. */
  | { readonly kind: "already"; readonly state: string }
  /** The deadline has passed, whether or not that was noticed before. */
  | { readonly kind: "expired" }
  | { readonly kind: "not_found" };

/** An offer that this answer ended, and who has something to do now. */
interface EndedOffer {
  readonly kind: "accepted" | "declined" | "expired";
  readonly campaignId: string;
  readonly partnerId: string;
}

/**
 * Takes a partner's answer to a lead that is offered to it. Accepted, the whole lead is due to be delivered, in the
 * partner's hours, and charged as any other; declined, place and money go back and the lead goes to the next partner. Of
 * several answers, and of an answer and the deadline, one counts: whoever has the lead's lock first. What an agent hands
 * over by telephone is not answered here.
 */
export async function answerOffer(
  context: Context,
  organisationId: string,
  answer: OfferAnswer,
  actor: string,
): Promise<AnswerOfferResult> {
  const now = context.clock();
  const result = await inOrganisation(
    context.database,
    organisationId,
    async (transaction): Promise<AnswerOfferResult | EndedOffer> => {
      const found = await lockOffer(transaction, answer.deliveryId);
      if (found === null) return { kind: "not_found" };
      const { lead, delivery } = found;
      if (answer.partnerId !== null && answer.partnerId !== delivery.partnerId) return { kind: "not_found" };
      if (delivery.offer === "transfer") return { kind: "already", state: "offered by telephone" };
      if (delivery.state === "expired") return { kind: "expired" };
      if (delivery.state !== "offered") return { kind: "already", state: delivery.state };
      const kind = await settleAnswer(transaction, lead, delivery, answer, actor, now);
      return { kind, campaignId: lead.campaignId, partnerId: delivery.partnerId };
    },
  );
  if (!("campaignId" in result)) return result;
  await wakeAfter(context, organisationId, result);
  return { kind: result.kind };
}

/** The delivery of an offer, open or not, with its lead locked; null where there is none. */
export async function lockOffer(
  transaction: Database,
  deliveryId: string,
): Promise<{ readonly lead: LockedLead; readonly delivery: LeadDelivery } | null> {
  const found = await transaction
    .selectFrom("deliveries")
    .select("leadId")
    .where("id", "=", deliveryId)
    .where("offer", "is not", null)
    .executeTakeFirst();
  const lead = found === undefined ? null : await lockLead(transaction, found.leadId);
  const deliveries = lead === null ? [] : await readDeliveries(transaction, lead.id);
  const delivery = deliveries.find(({ id }) => id === deliveryId);
  return lead === null || delivery === undefined ? null : { lead, delivery };
}

async function settleAnswer(
  transaction: Database,
  lead: LockedLead,
  delivery: LeadDelivery,
  { answer, reason, by }: OfferAnswer,
  actor: string,
  now: Date,
): Promise<"accepted" | "declined" | "expired"> {
  const { id, partnerId, organisationId, timeZone, dueAt } = delivery;
  const partner = { id: partnerId, organisationId, timeZone };
  if (dueAt === null || dueAt <= now) {
    await endOffers(transaction, partner, [id], { state: "expired", reason: "There was no answer in time." }, now);
    return "expired";
  }
  const kind = answer === "accept" ? "offer_accepted" : "offer_declined";
  const detail = { deliveryId: id, partnerId, by, reason };
  await recordLeadEvent(transaction, { organisationId, leadId: lead.id, kind, actor, detail }, now);
  if (answer === "decline") {
    await endOffers(transaction, partner, [id], { state: "declined", reason }, now);
    return "declined";
  }
  await acceptOffer(transaction, delivery, now);
  return "accepted";
}

/** From here on it is a delivery like any other, but that the partner has said yes: it is not given to others meanwhile. */
export async function acceptOffer(
  transaction: Database,
  { id, leadId }: Pick<LeadDelivery, "id" | "leadId">,
  now: Date,
): Promise<void> {
  await transaction
    .updateTable("deliveries")
    .set({ state: "sending", dueAt: now, answeredAt: now })
    .where("id", "=", id)
    .where("state", "=", "offered")
    .execute();
  await transaction.updateTable("leads").set({ stateReason: null }).where("id", "=", leadId).execute();
}

/** Wakes who has something to do after an offer has ended one way or the other. */
export async function wakeAfter(
  context: Context,
  organisationId: string,
  { kind, campaignId, partnerId }: Omit<EndedOffer, "kind"> & { readonly kind: string },
): Promise<void> {
  if (kind === "accepted") {
    context.waker.wake(drainPartner, { organisationId, partnerId });
    return;
  }
  context.waker.wake(routeLeads, { organisationId, campaignId });
  await fillPlaces(context, { id: partnerId, organisationId }, 1);
}
