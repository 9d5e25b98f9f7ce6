import { drainPartner } from "../../queues/drain-partner.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { book, type PartnerAccounts, reserveMovement } from "../ledger/book.ts";
import { takePlace } from "../partners/limit-usage.ts";
import { ensureUsageRows, saveUsage } from "../partners/save-usage.ts";
import { assess, type Buyer, type Candidate, pricedFor, type Standing } from "../routing/assess.ts";
import { loadMarket } from "../routing/market.ts";
import type { Reason } from "../routing/reasons.ts";
import { type LeadDelivery, type LockedLead, lockLead, readDeliveries, recordLeadEvent } from "./lead-events.ts";

export interface Referral {
  readonly leadId: string;
  readonly partnerId: string;
  /** Past limits, opening hours, funds, filter and sale limit; recorded. */
  readonly override: boolean;
  readonly reason: string | null;
}

export type ReferResult =
  | { readonly kind: "referred"; readonly deliveryId: string; readonly overridden: readonly Reason[] }
  | { readonly kind: "lead_not_found" }
  | { readonly kind: "partner_not_found" }
  | { readonly kind: "lead_state"; readonly state: string }
  | { readonly kind: "refused"; readonly reasons: readonly Reason[]; readonly mayOverride: boolean };

/** A delivery in one of these states is the partner's already; no override makes a second one of it. */
const heldByPartner: readonly string[] = ["offered", "sending", "delivered", "uncertain"];

/** Sends a lead to a partner by hand. Obeys the same rules as routing, under the same locks, unless told to override. */
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
    await ensureUsageRows(transaction, organisationId, [partnerId], lead.campaignId);
    return place(transaction, organisationId, lead, deliveries, referral, actor, now);
  });
  if (result.kind === "referred") context.waker.wake(drainPartner, { organisationId, partnerId });
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
  const offer = await readOffer(transaction, lead, partnerId);
  const reasons = reasonsAgainst(lead, deliveries, offer, now);
  const mayOverride = reasons.every(isOverridable);
  if (reasons.length > 0 && !(referral.override && mayOverride)) return { kind: "refused", reasons, mayOverride };

  await cancelHolds(transaction, lead.id, now);
  const deliveryId = await insertDelivery(transaction, organisationId, lead, offer, reasons.length > 0, now);
  const { candidate, buyer, standing, accounts } = offer;
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
    .set({ state: "routing", stateReason: null, dueAt: null, finishedAt: null })
    .where("id", "=", lead.id)
    .execute();
  const detail = { partnerId, deliveryId, reason: referral.reason, overridden: reasons };
  await recordLeadEvent(transaction, { organisationId, leadId: lead.id, kind: "referred", actor, detail }, now);
  return { kind: "referred", deliveryId, overridden: reasons };
}

/** What the partner would get the lead for, and what is left to it now; locked. */
interface Offer {
  readonly candidate: Candidate;
  readonly buyer: Buyer;
  readonly standing: Standing;
  readonly accounts: PartnerAccounts;
}

async function readOffer(transaction: Database, lead: LockedLead, partnerId: string): Promise<Offer> {
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
  { candidate, buyer, standing }: Offer,
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
  { candidate, buyer }: Offer,
  override: boolean,
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
      state: "sending",
      dueAt: now,
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
