import { sql } from "kysely";
import type { CampaignValue, RoutingGroup } from "../campaigns/campaign.ts";
import type { Database } from "../db/database.ts";
import type { WhenBlocked } from "../db/tables.ts";
import { availableMinor, type PartnerFunds, readPartnerFunds } from "../ledger/accounts.ts";
import { type LimitUsage, unusedUsage } from "../partners/limit-usage.ts";
import { leadValueOf } from "../partners/partner-row.ts";
import type { Billing } from "../prices/billing.ts";
import { isSameForAll, leadPrice, type Price } from "../prices/price.ts";
import { agreeSale } from "../prices/sale-terms.ts";
import type { Buyer, Standing } from "./assess.ts";
import type { Group, Market, Turns } from "./choose.ts";

/** What of a campaign routing needs. */
export interface RoutedCampaign {
  readonly id: string;
  readonly saleLimit: number;
  readonly whenClosed: WhenBlocked;
  readonly whenCapped: WhenBlocked;
  readonly whenUnfunded: WhenBlocked;
  readonly leadValues: readonly CampaignValue[];
  readonly routing: readonly RoutingGroup[];
  readonly turns: Readonly<Record<string, Turns>>;
}

/** The market and the ledger accounts behind it, as they are now. */
export interface LoadedMarket extends Market {
  readonly funds: ReadonlyMap<string, PartnerFunds>;
}

/**
 * Loads everything that decides who gets a campaign's leads. With `lock`, nobody else takes or gives back places or money
 * of these partners until the transaction ends: a decision made on it is exact. Locks are taken in the same order
 * everywhere: leads, the campaign's rotation, usage rows (by partner and campaign), accounts (by id). Routing alone has the rotation
 * before its leads; it waits for no lead, but passes over those that somebody has.
 */
export async function loadMarket(
  transaction: Database,
  campaign: RoutedCampaign,
  partnerIds: readonly string[],
  lock: "lock" | "read",
): Promise<LoadedMarket> {
  // In this order, in one round trip: a partner whose zone or limits are being changed is read after the lock.
  const [usage, partners, funds] = await Promise.all([
    readUsage(transaction, partnerIds, campaign.id, lock),
    readBuyers(transaction, partnerIds, campaign),
    readPartnerFunds(transaction, partnerIds, lock),
  ]);
  const standings = new Map<string, Standing>();
  for (const [id, { creditLimitMinor }] of partners) {
    const own = funds.get(id);
    if (own === undefined) throw new Error(`Partner ${id} has no accounts.`);
    standings.set(id, {
      ...usageOf(usage, id, campaign.id, lock),
      availableMinor: availableMinor(own, creditLimitMinor),
    });
  }
  const buyers = new Map([...partners].map(([id, { buyer }]) => [id, buyer]));
  return {
    groups: groupsOf(campaign, partners),
    saleLimit: campaign.saleLimit,
    buyers,
    standings,
    turns: new Map(Object.entries(campaign.turns)),
    funds,
  };
}

/** Reads a campaign for routing; with `lock`, its leads are decided by nobody else until the transaction ends. */
export async function readRoutedCampaign(transaction: Database, campaignId: string, lock: "lock" | "read") {
  const query = transaction
    .selectFrom("campaigns as c")
    .innerJoin("rotations as r", "r.campaignId", "c.id")
    .select([
      "c.id",
      "c.saleLimit",
      "c.whenClosed",
      "c.whenCapped",
      "c.whenUnfunded",
      "c.whenUncertain",
      "c.leadValues",
      "c.routing",
      "r.turns",
    ])
    .where("c.id", "=", campaignId);
  return (lock === "lock" ? query.forNoKeyUpdate("r") : query).executeTakeFirstOrThrow();
}

/** Every partner named in a campaign's routing, once. */
export function routedPartnerIds(campaign: RoutedCampaign): readonly string[] {
  return [...new Set(campaign.routing.flatMap((group) => group.partners.map((row) => row.partnerId)))];
}

interface LoadedPartner {
  readonly buyer: Buyer;
  readonly leadValue: Price;
  readonly billing: Billing | null;
  readonly creditLimitMinor: number;
}

async function readBuyers(
  transaction: Database,
  partnerIds: readonly string[],
  campaign: RoutedCampaign,
): Promise<ReadonlyMap<string, LoadedPartner>> {
  if (partnerIds.length === 0) return new Map();
  const rows = await transaction
    .selectFrom("partners as p")
    .innerJoin("endpoints as e", "e.partnerId", "p.id")
    .select(["p.id", "p.active", "p.type", "p.timeZone", "p.currency", "p.limits", "p.schedule", "p.whenClosed"])
    .select(["p.whenCapped", "p.whenUnfunded", "p.spreadSeconds", "p.leadValueMinor", "p.creditLimitMinor"])
    .select(["p.leadPrices", "p.billing", "p.ownPause", "p.acceptFirst"])
    .select(["e.pausedUntil", "e.pauseReason"])
    .select(sql<boolean>`p.internet is not null or p.email is not null`.as("hasDelivery"))
    .select(sql<string | null>`p.contact ->> 'transferPhone'`.as("transferPhone"))
    .where("p.id", "in", partnerIds)
    .execute();
  return new Map(
    rows.map((row) => {
      const { leadValueMinor: _value, leadPrices: _prices, billing, creditLimitMinor, spreadSeconds, ...rest } = row;
      const buyer: Buyer = {
        ...rest,
        whenClosed: row.whenClosed ?? campaign.whenClosed,
        whenCapped: row.whenCapped ?? campaign.whenCapped,
        whenUnfunded: row.whenUnfunded ?? campaign.whenUnfunded,
        spreadMs: spreadSeconds * 1000,
      };
      return [row.id, { buyer, leadValue: leadValueOf(row), billing, creditLimitMinor }];
    }),
  );
}

async function readUsage(
  transaction: Database,
  partnerIds: readonly string[],
  campaignId: string,
  lock: "lock" | "read",
): Promise<readonly LimitUsage[]> {
  if (partnerIds.length === 0) return [];
  const query = transaction
    .selectFrom("limitUsage")
    .selectAll()
    .where("partnerId", "in", partnerIds)
    .where((is) => is.or([is("campaignId", "is", null), is("campaignId", "=", campaignId)]))
    .orderBy("partnerId")
    .orderBy("campaignId");
  return (lock === "lock" ? query.forNoKeyUpdate() : query).execute();
}

function usageOf(rows: readonly LimitUsage[], partnerId: string, campaignId: string, lock: "lock" | "read") {
  const usage = rows.find((row) => row.partnerId === partnerId && row.campaignId === null);
  if (usage === undefined) throw new Error(`Partner ${partnerId} has no usage row.`);
  const inCampaign = rows.find((row) => row.partnerId === partnerId && row.campaignId === campaignId);
  if (inCampaign === undefined && lock === "lock") {
    // A row that is not there cannot be locked, and two routers would each count from nothing.
    throw new Error(
      `Partner ${partnerId} has no usage row in campaign ${campaignId}: run ensureUsageRows when it joins.`,
    );
  }
  return { usage, campaignUsage: inCampaign ?? unusedUsage(usage.organisationId, partnerId, campaignId) };
}

function groupsOf(campaign: RoutedCampaign, partners: ReadonlyMap<string, LoadedPartner>): Group[] {
  return campaign.routing.map((group) => ({
    id: group.id,
    method: group.method,
    saleLimit: group.saleLimit,
    candidates: group.partners.flatMap((row) => {
      const partner = partners.get(row.partnerId);
      if (partner === undefined) return [];
      const { partnerId, priority, weight, filter, limits } = row;
      const price = row.price ?? campaignPrice(campaign, partner.buyer.currency) ?? partner.leadValue;
      const billing = row.billing ?? partner.billing;
      return {
        groupId: group.id,
        partnerId,
        priority,
        weight,
        ...agreeSale(leadPrice(price, {}), billing),
        pricing: isSameForAll(price) ? null : { price, billing },
        filter,
        limits,
      };
    }),
  }));
}

/** What the campaign's leads cost in a currency; null where it does not say. */
function campaignPrice({ leadValues }: RoutedCampaign, currency: string): Price | null {
  return leadValues.find((value) => value.currency === currency)?.price ?? null;
}
