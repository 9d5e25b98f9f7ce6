import { takePlace } from "../partners/limit-usage.ts";
import { expectedMinor } from "../prices/sale-terms.ts";
import {
  assess,
  type Buyer,
  type Candidate,
  judgeReasons,
  pricedFor,
  type RoutableLead,
  type Standing,
  type Verdict,
} from "./assess.ts";
import type { Reason } from "./reasons.ts";

/**
 * Who gets a lead: the one function that decides. Pure but for `standings` and `turns`, which move on with each place
 * taken, so that a batch of leads is decided one after the other under one lock.
 */

export type RoutingMethod = "priority" | "round_robin" | "weighted" | "highest_price";

export interface Group {
  readonly id: string;
  readonly method: RoutingMethod;
  /** At most this many partners of this group get one lead; 0: as many as the campaign lets. */
  readonly saleLimit: number;
  readonly candidates: readonly Candidate[];
}

/** Whose turn it is in a group. `given` counts up with each lead given; `credit` belongs to the weighted method. */
export type Turns = Record<string, { given: number; credit: number }>;

export interface Market {
  readonly groups: readonly Group[];
  /** How many partners may get one lead: 1 is exclusive, 0 is no limit. */
  readonly saleLimit: number;
  readonly buyers: ReadonlyMap<string, Buyer>;
  readonly standings: Map<string, Standing>;
  readonly turns: Map<string, Turns>;
}

/** Places that this lead has already: delivered, under way or uncertain. Held deliveries are decided anew. */
export interface Placed {
  readonly partnerId: string;
  readonly groupId: string | null;
}

/**
 * `offered`: it gets the lead once it has accepted it. `not_needed`: it could have had the lead, but enough others have it
 * or come first.
 */
export const choiceResults = ["sent", "offered", "held", "not_needed", "blocked", "excluded"] as const;
export type ChoiceResult = (typeof choiceResults)[number];

/** Partners that this lead waits for since an earlier decision, and whether they gave up their turn for it then. */
export type HeldFor = ReadonlyMap<string, { readonly turnPassed: boolean }>;

/** One line of the explanation: a partner in a group, what was decided, and every reason. */
export interface ConsideredPartner {
  readonly groupId: string;
  readonly partnerId: string;
  readonly priceMinor: number;
  readonly result: ChoiceResult;
  readonly reasons: readonly Reason[];
}

export interface Hold {
  readonly candidate: Candidate;
  readonly until: Date;
  readonly reason: Reason;
  /** The partner wants to be waited for, and this was its turn; else the lead waits because nobody can take it now. */
  readonly turnPassed: boolean;
}

/** A partner that did not get the lead, or has to wait with it, for want of money alone. */
export interface OutOfFunds {
  readonly partnerId: string;
  readonly priceMinor: number;
  readonly availableMinor: number;
}

export interface Choice {
  readonly sends: readonly Candidate[];
  readonly holds: readonly Hold[];
  readonly considered: readonly ConsideredPartner[];
  readonly outOfFunds: readonly OutOfFunds[];
}

/**
 * Takes a lead, the places it has already, whom it waits for, and the market; gives whom it is sent to, whom it is held
 * for, and every partner considered with every reason. Reserves in `market.standings` and `market.turns` as it goes.
 */
export function choosePartners(
  lead: RoutableLead,
  placed: readonly Placed[],
  heldFor: HeldFor,
  market: Market,
  now: Date,
): Choice {
  const sends: Candidate[] = [];
  const holds: Hold[] = [];
  const considered: ConsideredPartner[] = [];
  const outOfFunds: OutOfFunds[] = [];
  const places = placesLeft(market.saleLimit, placed.length);
  const deciding = {
    lead,
    heldFor,
    market,
    now,
    sends,
    holds,
    considered,
    outOfFunds,
    waitable: [],
    taken: new Map(lead.hadBy),
    places,
  };
  for (const group of market.groups) {
    chooseInGroup(deciding, group, placed.filter(({ groupId }) => groupId === group.id).length);
  }
  if (sends.length === 0 && holds.length === 0 && placed.length === 0) {
    const first = soonest(deciding.waitable);
    if (first !== null) {
      return { sends, holds: [first], considered: considered.map((entry) => markHeld(entry, first)), outOfFunds };
    }
  }
  return { sends, holds, considered, outOfFunds };
}

/** A decision in the making. */
interface Deciding {
  readonly lead: RoutableLead;
  readonly heldFor: HeldFor;
  readonly market: Market;
  readonly now: Date;
  readonly sends: Candidate[];
  readonly holds: Hold[];
  readonly considered: ConsideredPartner[];
  readonly outOfFunds: OutOfFunds[];
  /** Who could take the lead later, should nobody take it now. */
  readonly waitable: Hold[];
  /** Who had the lead before, or gets it by this decision. */
  readonly taken: Map<string, string>;
  places: number;
}

interface Assessed {
  readonly candidate: Candidate;
  readonly buyer: Buyer;
  readonly standing: Standing;
  readonly reasons: readonly Reason[];
  readonly verdict: Verdict;
}

function chooseInGroup(deciding: Deciding, group: Group, placedInGroup: number): void {
  const { lead, heldFor, market, now } = deciding;
  const turns = turnsOf(market, group.id);
  const assessed = group.candidates.map((candidate) => assessCandidate(deciding, candidate));
  const possible = assessed.filter(({ verdict }) => verdict.kind !== "excluded");
  const inTurn = orderCandidates(group.method, possible, turns, heldFor);
  const isWorthWaiting = ({ verdict }: Assessed) =>
    lead.mayWait && verdict.kind === "blocked" && verdict.policy === "hold";
  const couldHaveIt = inTurn.filter((entry) => entry.verdict.kind === "eligible" || isWorthWaiting(entry));
  let groupPlaces = placesLeft(group.saleLimit, placedInGroup);
  const take = ({ candidate }: Assessed, state: "sending" | "held") => {
    deciding.taken.set(candidate.partnerId, state);
    deciding.places -= 1;
    groupPlaces -= 1;
    const hadItsTurn = heldFor.get(candidate.partnerId)?.turnPassed === true;
    if (!hadItsTurn) passTurn(group.method, turns, candidate, couldHaveIt);
  };

  for (const entry of inTurn) {
    const { candidate, verdict, buyer, standing } = entry;
    const hasPlace = deciding.places > 0 && groupPlaces > 0;
    if (verdict.kind === "eligible" && hasPlace) {
      deciding.sends.push(candidate);
      takeStanding(standing, candidate, buyer, now);
      take(entry, "sending");
      note(deciding, entry, buyer.acceptFirst === null ? "sent" : "offered");
    } else if (verdict.kind === "eligible") {
      note(deciding, entry, "not_needed");
    } else if (verdict.kind === "blocked") {
      if (hasPlace) noteFunds(deciding, entry);
      const waits = isWorthWaiting(entry) && hasPlace;
      const hold = { candidate, until: verdict.until, reason: verdict.reason, turnPassed: waits };
      if (waits) {
        take(entry, "held");
        deciding.holds.push(hold);
      } else if (hasPlace && lead.mayWait) {
        deciding.waitable.push(hold);
      }
      note(deciding, entry, waits ? "held" : "blocked");
    }
  }
  for (const entry of assessed) if (entry.verdict.kind === "excluded") note(deciding, entry, "excluded");
}

function assessCandidate({ lead, taken, market, now }: Deciding, unpriced: Candidate): Assessed {
  const candidate = pricedFor(unpriced, lead);
  const buyer = found(market.buyers, candidate.partnerId);
  const standing = found(market.standings, candidate.partnerId);
  const reasons = assess({ ...lead, hadBy: taken }, candidate, buyer, standing, now);
  return { candidate, buyer, standing, reasons, verdict: judgeReasons(reasons, buyer, now) };
}

function note({ considered }: Deciding, { candidate, reasons }: Assessed, result: ChoiceResult): void {
  const { groupId, partnerId, priceMinor } = candidate;
  considered.push({ groupId, partnerId, priceMinor, result, reasons });
}

/** It was this partner's to have, and only money was missing. */
function noteFunds({ outOfFunds }: Deciding, { candidate, standing, reasons }: Assessed): void {
  const { partnerId, priceMinor } = candidate;
  const { availableMinor } = standing;
  if (reasons.every(({ code }) => code === "no_funds")) outOfFunds.push({ partnerId, priceMinor, availableMinor });
}

/** How many more may have it; a limit of 0 is none. */
function placesLeft(limit: number, placed: number): number {
  return limit === 0 ? Number.POSITIVE_INFINITY : limit - placed;
}

type Ordered = { readonly candidate: Candidate };

/** The order in which a group's partners are asked. Where they take turns, the one that the lead waited for has its turn. */
export function orderCandidates<T extends Ordered>(
  method: RoutingMethod,
  entries: readonly T[],
  turns: Turns,
  heldFor: HeldFor,
): T[] {
  const given = (entry: T) => turns[entry.candidate.partnerId]?.given ?? 0;
  const leastRecent = (a: T, b: T) => given(a) - given(b);
  const waitedFor = (entry: T) => (heldFor.has(entry.candidate.partnerId) ? 0 : 1);
  const waitedForFirst = (a: T, b: T) => waitedFor(a) - waitedFor(b);
  switch (method) {
    case "priority":
      return entries.toSorted((a, b) => a.candidate.priority - b.candidate.priority || leastRecent(a, b));
    case "highest_price":
      return entries.toSorted(
        (a, b) =>
          expectedMinor(b.candidate) - expectedMinor(a.candidate) ||
          a.candidate.priority - b.candidate.priority ||
          leastRecent(a, b),
      );
    case "round_robin":
      return entries.toSorted((a, b) => waitedForFirst(a, b) || leastRecent(a, b));
    case "weighted": {
      const credit = (entry: T) => (turns[entry.candidate.partnerId]?.credit ?? 0) + entry.candidate.weight;
      return entries.toSorted((a, b) => waitedForFirst(a, b) || credit(b) - credit(a) || leastRecent(a, b));
    }
  }
}

/**
 * Notes that `chosen` had its turn. Weighted: each that could have had the lead gains its weight and the chosen one pays
 * for all (smooth weighted round robin), so that after any number of leads each has its share, give or take a lead.
 */
export function passTurn(
  method: RoutingMethod,
  turns: Turns,
  chosen: Candidate,
  couldHaveIt: readonly Ordered[],
): void {
  const latest = Math.max(0, ...Object.values(turns).map((turn) => turn.given));
  const turnOf = (partnerId: string) => {
    const turn = turns[partnerId] ?? { given: 0, credit: 0 };
    turns[partnerId] = turn;
    return turn;
  };
  if (method === "weighted") {
    let total = 0;
    for (const { candidate } of couldHaveIt) {
      turnOf(candidate.partnerId).credit += candidate.weight;
      total += candidate.weight;
    }
    turnOf(chosen.partnerId).credit -= total;
  }
  turnOf(chosen.partnerId).given = latest + 1;
}

function takeStanding(standing: Standing, candidate: Candidate, buyer: Buyer, now: Date): void {
  standing.usage = takePlace(standing.usage, buyer.timeZone, now, candidate.priceMinor);
  standing.campaignUsage = takePlace(standing.campaignUsage, buyer.timeZone, now, candidate.priceMinor);
  standing.availableMinor -= candidate.priceMinor;
}

function turnsOf(market: Market, groupId: string): Turns {
  const turns = market.turns.get(groupId) ?? {};
  market.turns.set(groupId, turns);
  return turns;
}

function soonest(holds: readonly Hold[]): Hold | null {
  return holds.reduce<Hold | null>((best, hold) => (best === null || hold.until < best.until ? hold : best), null);
}

function markHeld(entry: ConsideredPartner, hold: Hold): ConsideredPartner {
  const { candidate } = hold;
  const isHeld = entry.groupId === candidate.groupId && entry.partnerId === candidate.partnerId;
  return isHeld ? { ...entry, result: "held" } : entry;
}

function found<T>(map: ReadonlyMap<string, T>, id: string): T {
  const value = map.get(id);
  if (value === undefined) throw new Error(`Partner ${id} is in the routing but was not loaded.`);
  return value;
}
