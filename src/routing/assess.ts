import { evaluateFilter, type Filter } from "../campaigns/filter.ts";
import type { FieldValue } from "../channels/contract.ts";
import type { WhenBlocked } from "../db/tables.ts";
import type { AcceptFirst } from "../partners/accept-first.ts";
import { type LimitUsage, type ReachedLimit, reachedLimits } from "../partners/limit-usage.ts";
import type { Limits } from "../partners/limit-windows.ts";
import { isPaused, type OwnPause } from "../partners/own-pause.ts";
import { openingAt, type Schedule } from "../partners/schedule.ts";
import type { Billing } from "../prices/billing.ts";
import { leadPrice, type Price } from "../prices/price.ts";
import { type AgreedSale, agreeSale } from "../prices/sale-terms.ts";
import { blockOf, mayPassAt, type Reason } from "./reasons.ts";

/** One line of a routing group: what a campaign agreed with a partner. */
export interface Candidate extends AgreedSale {
  readonly groupId: string;
  readonly partnerId: string;
  readonly priority: number;
  readonly weight: number;
  /** Where a lead's fields decide what it costs: by what; price and terms are then those of a lead that no rule names. */
  readonly pricing: { readonly price: Price; readonly billing: Billing | null } | null;
  readonly filter: Filter | null;
  /** Limits that bind in this campaign, beside the partner's own. */
  readonly limits: Limits | null;
}

/** What routing has to know of a partner. */
export interface Buyer {
  readonly id: string;
  readonly active: boolean;
  readonly type: "introducer" | "partner" | "both";
  readonly hasDelivery: boolean;
  readonly timeZone: string;
  readonly currency: string;
  readonly limits: Limits;
  readonly schedule: Schedule | null;
  readonly whenClosed: WhenBlocked;
  readonly whenCapped: WhenBlocked;
  readonly whenUnfunded: WhenBlocked;
  readonly spreadMs: number;
  /** By its own wish; over once `until` is. */
  readonly ownPause: OwnPause | null;
  /** It is asked before it gets a lead; null: it is not. */
  readonly acceptFirst: AcceptFirst | null;
  /** Where an agent hands callers over to. */
  readonly transferPhone: string | null;
  readonly pausedUntil: Date | null;
  readonly pauseReason: string | null;
}

/** What is left to a partner now; changes with each place taken. */
export interface Standing {
  usage: LimitUsage;
  campaignUsage: LimitUsage;
  /** balance + credit limit − reserved, in minor units. */
  availableMinor: number;
}

export interface RoutableLead {
  readonly fields: Readonly<Record<string, FieldValue>>;
  readonly introducerId: string | null;
  /** Its hold is not over: it may wait for a partner. */
  readonly mayWait: boolean;
  /** Partners that had this lead before, with what became of it. */
  readonly hadBy: ReadonlyMap<string, string>;
}

/** The candidate with the price of this lead. */
export function pricedFor(candidate: Candidate, { fields }: Pick<RoutableLead, "fields">): Candidate {
  const { pricing } = candidate;
  return pricing === null
    ? candidate
    : { ...candidate, ...agreeSale(leadPrice(pricing.price, fields), pricing.billing) };
}

/** Every reason, all at once, why this partner does not get this lead now. None: it may have it. */
export function assess(
  lead: RoutableLead,
  candidate: Candidate,
  buyer: Buyer,
  standing: Standing,
  now: Date,
): Reason[] {
  const reasons: Reason[] = [];
  if (!buyer.active) reasons.push({ code: "partner_inactive" });
  if (buyer.type === "introducer") reasons.push({ code: "not_a_buyer" });
  if (!buyer.hasDelivery) reasons.push({ code: "no_delivery_method" });
  if (lead.introducerId === buyer.id) reasons.push({ code: "introduced_it" });
  const had = lead.hadBy.get(buyer.id);
  if (had !== undefined) reasons.push({ code: "already_had", state: had });
  const filter = evaluateFilter(candidate.filter, lead.fields);
  if (!filter.matches) reasons.push({ code: "filter_not_matched", conditions: filter.failed });
  reasons.push(...blockedNow(candidate, buyer, standing, now));
  return reasons;
}

/** The reasons that have to do with the partner and the hour, not with the lead. */
export function blockedNow(candidate: Candidate, buyer: Buyer, standing: Standing, now: Date): Reason[] {
  const reasons: Reason[] = [];
  const opening = openingAt(buyer.schedule, buyer.timeZone, now);
  if (!opening.open) reasons.push({ code: "closed", until: opening.opensAt?.toISOString() ?? null });
  if (isPaused(buyer.ownPause, now)) reasons.push({ code: "partner_paused", until: buyer.ownPause.until });
  const price = candidate.priceMinor;
  for (const limit of reachedLimits(standing.usage, buyer.limits, buyer.timeZone, now, price)) {
    reasons.push(limitReason("partner", limit, price));
  }
  if (candidate.limits !== null) {
    for (const limit of reachedLimits(standing.campaignUsage, candidate.limits, buyer.timeZone, now, price)) {
      reasons.push(limitReason("campaign", limit, price));
    }
  }
  if (price > 0 && standing.availableMinor < price) {
    reasons.push({ code: "no_funds", availableMinor: standing.availableMinor, priceMinor: price });
  }
  if (buyer.pausedUntil !== null && buyer.pausedUntil > now) {
    const until = buyer.pausedUntil.toISOString();
    reasons.push({ code: "endpoint_paused", until, reason: buyer.pauseReason ?? "it did not answer as it should" });
  }
  return reasons;
}

export type Verdict =
  | { readonly kind: "eligible" }
  /** Blocked now, and worth waiting for: whether to wait before asking others is the partner's setting. */
  | { readonly kind: "blocked"; readonly policy: WhenBlocked; readonly until: Date; readonly reason: Reason }
  | { readonly kind: "excluded" };

/** What the reasons come to. A partner is waited for only when every block that it has says so. */
export function judgeReasons(reasons: readonly Reason[], buyer: Buyer, now: Date): Verdict {
  if (reasons.length === 0) return { kind: "eligible" };
  const policies: WhenBlocked[] = [];
  let last: { until: Date; reason: Reason } | null = null;
  for (const reason of reasons) {
    const block = blockOf(reason);
    if (block === "excluded") return { kind: "excluded" };
    policies.push(policyFor(block, buyer));
    const until = mayPassAt(reason, now);
    if (last === null || until > last.until) last = { until, reason };
  }
  if (last === null) throw new Error("Reasons without one that passes last: the list changed while it was read.");
  return { kind: "blocked", policy: policies.every((policy) => policy === "hold") ? "hold" : "next", ...last };
}

function policyFor(block: "closed" | "capped" | "unfunded" | "paused", buyer: Buyer): WhenBlocked {
  switch (block) {
    case "closed":
      return buyer.whenClosed;
    case "capped":
      return buyer.whenCapped;
    case "unfunded":
      return buyer.whenUnfunded;
    case "paused":
      // Trouble at an endpoint has no known end: others are asked first, whatever the partner would like.
      return "next";
  }
}

function limitReason(scope: "partner" | "campaign", limit: ReachedLimit, priceMinor: number): Reason {
  const until = limit.until?.toISOString() ?? null;
  if (limit.kind === "leads") {
    return { code: "limit_reached", scope, window: limit.window, limit: limit.limit, used: limit.used, until };
  }
  const { window, limitMinor, usedMinor } = limit;
  return { code: "spend_limit_reached", scope, window, limitMinor, usedMinor, priceMinor, until };
}
