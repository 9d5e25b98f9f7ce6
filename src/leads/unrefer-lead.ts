import { routeLeads } from "../../queues/route-leads.ts";
import { sendAlerts } from "../../queues/send-alerts.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { fillPlaces } from "../delivery/recheck-holds.ts";
import { type LeadDelivery, lockLead, readDeliveries, recordLeadEvent } from "./lead-events.ts";
import { takeBack, wasSold, withdrawable } from "./take-back.ts";

export interface Unreferral {
  readonly leadId: string;
  readonly partnerId: string;
  readonly reason: string | null;
  /** Whether the lead goes on to other partners. */
  readonly reroute: boolean;
}

export type UnreferResult =
  | { readonly kind: "unreferred"; readonly deliveryId: string }
  | { readonly kind: "lead_not_found" }
  | { readonly kind: "delivery_not_found" }
  /** A request is under way: ask again when it has ended. */
  | { readonly kind: "under_way" };

/**
 * Takes a lead back from a partner, delivered or not: the place in the limits and the money go back, and the partner is
 * not given this lead again by routing. What the introducer is owed follows what was agreed with it. What the partner was
 * sent, it has: telling it is for people.
 */
export async function unreferLead(
  context: Context,
  organisationId: string,
  unreferral: Unreferral,
  actor: string,
): Promise<UnreferResult> {
  const isMeant = ({ state }: LeadDelivery) => withdrawable.includes(state);
  return takeLeadBack(context, organisationId, unreferral, { kind: "unreferred", cost: "as_agreed", isMeant }, actor);
}

/** The same of a lead that was sold, and what the introducer is owed is taken back too, whatever was agreed. */
export async function reverseReferral(
  context: Context,
  organisationId: string,
  unreferral: Unreferral,
  actor: string,
): Promise<UnreferResult> {
  const verb = { kind: "referral_reversed", cost: "reverse", isMeant: wasSold } as const;
  return takeLeadBack(context, organisationId, unreferral, verb, actor);
}

interface Verb {
  readonly kind: "unreferred" | "referral_reversed";
  readonly cost: "as_agreed" | "reverse";
  /** Which of the partner's deliveries it is about. */
  readonly isMeant: (delivery: LeadDelivery) => boolean;
}

async function takeLeadBack(
  context: Context,
  organisationId: string,
  { leadId, partnerId, reason, reroute }: Unreferral,
  { kind, cost, isMeant }: Verb,
  actor: string,
): Promise<UnreferResult> {
  const now = context.clock();
  const result = await inOrganisation(context.database, organisationId, async (transaction) => {
    const lead = await lockLead(transaction, leadId);
    if (lead === null) return { kind: "lead_not_found" } as const;
    const deliveries = await readDeliveries(transaction, leadId);
    const delivery = deliveries.find((row) => row.partnerId === partnerId && isMeant(row));
    if (delivery === undefined) return { kind: "delivery_not_found" } as const;
    const reversal = { reason: reason ?? "unreferred", by: actor, note: reason, place: "give_back", cost } as const;
    const isTaken = await takeBack(transaction, lead, deliveries, delivery, { ...reversal, reroute }, now);
    if (!isTaken) return { kind: "under_way" } as const;
    const detail = { deliveryId: delivery.id, partnerId, from: delivery.state, reason, reroute };
    await recordLeadEvent(transaction, { organisationId, leadId, kind, actor, detail }, now);
    return { kind: "unreferred", deliveryId: delivery.id, campaignId: lead.campaignId } as const;
  });
  if (result.kind !== "unreferred") return result;
  context.waker.wake(sendAlerts, { organisationId });
  await fillPlaces(context, { id: partnerId, organisationId }, 1);
  if (reroute) context.waker.wake(routeLeads, { organisationId, campaignId: result.campaignId });
  return { kind: "unreferred", deliveryId: result.deliveryId };
}
