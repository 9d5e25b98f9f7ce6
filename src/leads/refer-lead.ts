import { drainPartner } from "../../queues/drain-partner.ts";
import { sendAlerts } from "../../queues/send-alerts.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { book, type PartnerAccounts, reserveMovement } from "../ledger/book.ts";
import { takePlace } from "../partners/limit-usage.ts";
import { ensureUsageRows, saveUsage } from "../partners/save-usage.ts";
import { assess, type Buyer, type Candidate, pricedFor, type Standing } from "../routing/assess.ts";
import { loadMarket } from "../routing/market.ts";
import { isOpenTransfer, type Offer, offerTo, tellOfOffers } from "../routing/offers.ts";
import type { Reason } from "../routing/reasons.ts";
import { type LeadDelivery, type LockedLead, lockLead, readDeliveries, recordLeadEvent } from "./lead-events.ts";

export interface Referral {
  readonly leadId: string;
  readonly partnerId: string;
  /** Past limits, opening hours, funds, filter and sale limit, and without asking a partner that accepts first; recorded. */
  readonly override: boolean;
  readonly reason: string | null;
}

export type ReferResult =
  | {
      readonly kind: "referred";
      readonly deliveryId: string;
      /** Until when the partner may accept it; null: it is sent the lead at once. */
      readonly offeredUntil: Date | null;
      readonly overridden: readonly Reason[];
    }
  | { readonly kind: "lead_not_found" }
  | { readonly kind: "partner_not_found" }
  | { readonly kind: "lead_state"; readonly state: string }
  /** Its caller is being handed over to a partner. */
  | { readonly kind: "in_transfer" }
  | { readonly kind: "refused"; readonly reasons: readonly Reason[]; readonly mayOverride: boolean };

/** A delivery in one of these states is the partner's already; no override makes a second one of it. */
const heldByPartner: readonly string[] = ["offered", "sending", "delivered", "uncertain"];

/**
 * Sends a lead to a partner by hand, or offers it to one that accepts first. Obeys the same rules as routing, under the same
 * locks, unless told to override.
 */
export async function referLead(
  context: Context,
  organisationId: string,
  referral: Referral,
  actor: string,
): Promise<ReferResult> {
  const now = context.clock();
  const { leadId, partnerId } = referral;
  const result = await inOrganisation(context.database, organisationId, async (transaction): Promise<ReferResult> => {
    const lead = await lockLead(transaction, leadId);
    if (lead === null) return { kind: "lead_not_found" };
    if (lead.state === "erased" || lead.state === "invalid" || (lead.state === "duplicate" && !referral.override)) {
      return { kind: "lead_state", state: lead.state };
    }
    const partner = await transaction
      .selectFrom("partners")
      .select("id")
      .where("id", "=", partnerId)
      .executeTakeFirst();
    if (partner === undefined) return { kind: "partner_not_found" };
    const deliveries = await readDeliveries(transaction, leadId);
    if (deliveries.some(isOpenTransfer)) return { kind: "in_transfer" };
    await ensureUsageRows(transaction, organisationId, [partnerId], lead.campaignId);
    return place(transaction, organisationId, lead, deliveries, referral, actor, now);
  });
  if (result.kind === "referred" && result.offeredUntil === null) {
    context.waker.wake(drainPartner, { organisationId, partnerId });
  } else if (result.kind === "referred") context.waker.wake(sendAlerts, { organisationId });
  return result;
}

async function place(
  transaction: Database,
  organisationId: string,
  lead: LockedLead,
  deliveries: readonly LeadDelivery[],
  referral: Referral,
  actor: string,
  now: Date,
): Promise<ReferResult> {
  const { partnerId } = referral;
  const terms = await readTerms(transaction, lead, partnerId);
  const reasons = reasonsAgainst(lead, deliveries, terms, now);
  const mayOverride = reasons.every(isOverridable);
  if (reasons.length > 0 && !(referral.override && mayOverride)) return { kind: "refused", reasons, mayOverride };

  await cancelHolds(transaction, lead.id, now);
  const { candidate, buyer, standing, accounts } = terms;
  const offer = referral.override ? null : offerTo(buyer, now);
  const how = { override: reasons.length > 0, offer };
  const deliveryId = await insertDelivery(transaction, organisationId, lead, terms, how, now);
  const { priceMinor } = candidate;
  const usages = [standing.usage, standing.campaignUsage];
  await saveUsage(
    transaction,
    usages.map((usage) => takePlace(usage, buyer.timeZone, now, priceMinor)),
  );
  const sale = { deliveryId, leadId: lead.id, partnerId, currency: buyer.currency };
  await book(transaction, organisationId, [reserveMovement(sale, priceMinor, accounts)], now);
  await transaction
    .updateTable("leads")
    .set({ state: "routing", dueAt: null, finishedAt: null })
    .set({ stateReason: offer === null ? null : JSON.stringify({ code: "offered" }) })
    .where("id", "=", lead.id)
    .execute();
  if (offer !== null) await tellOfOffers(transaction, [deliveryId], now);
  const detail = { partnerId, deliveryId, reason: referral.reason, overridden: reasons };
  const kind = offer === null ? "referred" : "offered";
  await recordLeadEvent(transaction, { organisationId, leadId: lead.id, kind, actor, detail }, now);
  return { kind: "referred", deliveryId, offeredUntil: offer?.until ?? null, overridden: reasons };
}

/** What the partner would get the lead for, and what is left to it now; locked. */
interface Terms {
  readonly candidate: Candidate;
  readonly buyer: Buyer;
  readonly standing: Standing;
  readonly accounts: PartnerAccounts;
}

async function readTerms(transaction: Database, lead: LockedLead, partnerId: string): Promise<Terms> {
  const market = await loadMarket(transaction, onlyPartner(lead, partnerId), [partnerId], "lock");
  const unpriced = market.groups[0]?.candidates[0];
  const buyer = market.buyers.get(partnerId);
  const standing = market.standings.get(partnerId);
  const funds = market.funds.get(partnerId);
  if (unpriced === undefined || buyer === undefined || standing === undefined || funds === undefined) {
    throw new Error(`Partner ${partnerId} could not be loaded.`);
  }
  return { candidate: pricedFor(unpriced, lead), buyer, standing, accounts: funds.accounts };
}

function reasonsAgainst(
  lead: LockedLead,
  deliveries: readonly LeadDelivery[],
  { candidate, buyer, standing }: Terms,
  now: Date,
): readonly Reason[] {
  const had = deliveries.filter(({ state }) => !["held", "cancelled", "expired"].includes(state));
  const hadBy = new Map(had.map((row) => [row.partnerId, row.state]));
  const { fields, introducerId, saleLimit } = lead;
  const reasons = assess({ fields, introducerId, mayWait: false, hadBy }, candidate, buyer, standing, now);
  const placed = deliveries.filter(({ state }) => heldByPartner.includes(state)).length;
  if (saleLimit > 0 && placed >= saleLimit) reasons.push({ code: "sale_limit_reached", limit: saleLimit });
  return reasons;
}

async function insertDelivery(
  transaction: Database,
  organisationId: string,
  lead: LockedLead,
  { candidate, buyer }: Terms,
  { override, offer }: { readonly override: boolean; readonly offer: Offer | null },
  now: Date,
): Promise<string> {
  const id = newId();
  const { partnerId, groupId, priceMinor, terms } = candidate;
  await transaction
    .insertInto("deliveries")
    .values({
      id,
      organisationId,
      leadId: lead.id,
      campaignId: lead.campaignId,
      partnerId,
      groupId: groupId === partnerId ? null : groupId,
      state: offer === null ? "sending" : "offered",
      dueAt: offer?.until ?? now,
      offer: offer?.kind ?? null,
      offerUntil: offer?.until ?? null,
      priceMinor,
      currency: buyer.currency,
      terms: terms === null ? null : JSON.stringify(terms),
      reservedAt: now,
      manual: true,
      override,
      createdAt: now,
    })
    .execute();
  return id;
}

/** The campaign with this partner alone: its own line of the routing where it has one, else at the usual lead value. */
function onlyPartner(lead: LockedLead, partnerId: string) {
  const { saleLimit, whenClosed, whenCapped, whenUnfunded, leadValues } = lead;
  const group = lead.routing.find(({ partners }) => partners.some((row) => row.partnerId === partnerId));
  const row = group?.partners.find((candidate) => candidate.partnerId === partnerId);
  const partners = [
    row ?? { partnerId, priority: 0, weight: 1, price: null, billing: null, filter: null, limits: null },
  ];
  const routing = [{ id: group?.id ?? partnerId, method: "priority" as const, saleLimit: 0, partners }];
  return { id: lead.campaignId, saleLimit, whenClosed, whenCapped, whenUnfunded, leadValues, routing, turns: {} };
}

function isOverridable(reason: Reason): boolean {
  switch (reason.code) {
    case "no_delivery_method":
    case "not_a_buyer":
      return false;
    case "already_had":
      return !heldByPartner.includes(reason.state);
    default:
      return true;
  }
}

async function cancelHolds(transaction: Database, leadId: string, now: Date): Promise<void> {
  await transaction
    .updateTable("deliveries")
    .set({ state: "cancelled", dueAt: null, finishedAt: now })
    .where("leadId", "=", leadId)
    .where("state", "=", "held")
    .execute();
}
