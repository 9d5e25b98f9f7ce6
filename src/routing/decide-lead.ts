import { newId } from "../db/id.ts";
import type { DeliveryState, HoldReason, LeadFields, LeadState, OfferKind } from "../db/tables.ts";
import type { Candidate } from "./assess.ts";
import { type Choice, choosePartners, type HeldFor, type Hold, type Market, type Placed } from "./choose.ts";
import type { HoldSlots } from "./hold-slots.ts";
import { type Offer, offerTo } from "./offers.ts";

export interface ClaimedLead {
  readonly id: string;
  readonly fields: LeadFields;
  readonly introducerId: string | null;
  readonly state: LeadState;
  readonly soldCount: number;
  readonly receivedAt: Date;
  readonly holdEndsAt: Date;
  /** Goes to whom staff send it, and to nobody else. */
  readonly byHand: boolean;
}

export interface EarlierDelivery {
  readonly id: string;
  readonly leadId: string;
  readonly partnerId: string;
  readonly groupId: string | null;
  readonly state: DeliveryState;
  readonly offer: OfferKind | null;
  readonly holdUntil: Date | null;
  readonly holdReason: HoldReason | null;
  readonly dueAt: Date | null;
  readonly withdrawn: boolean;
}

/** Deliveries in these states have a place; `uncertain` has one too unless the campaign says that the lead goes on. */
const placedStates: readonly DeliveryState[] = ["offered", "sending", "delivered"];

/** A partner that had the lead in one of these ways may get it again: it never saw it. */
const notHadStates: readonly DeliveryState[] = ["held", "cancelled"];

type Had = Pick<EarlierDelivery, "partnerId" | "state" | "offer" | "withdrawn">;

/** Partners that do not get this lead again, each with what became of it. */
export function hadByOf(deliveries: readonly Had[]): ReadonlyMap<string, string> {
  return new Map(deliveries.filter(wasHad).map(({ partnerId, state }) => [partnerId, state]));
}

/** Who declined a lead, or did not accept it in time, is not asked again. A telephone that nobody answered says nothing. */
function wasHad({ state, offer, withdrawn }: Had): boolean {
  if (withdrawn) return true;
  if (offer === "transfer" && (state === "declined" || state === "expired")) return false;
  return !notHadStates.includes(state);
}

/**
 * Decides leads, one after the other: whom each is sent to, whom it is held for and until when, and what state that leaves it
 * in. Takes places in `market` and slots in `slots` as it goes; writes nothing.
 */
export async function decideLeads(
  leads: readonly ClaimedLead[],
  earlier: ReadonlyMap<string, readonly EarlierDelivery[]>,
  whenUncertain: "staff" | "next",
  market: Market,
  slots: HoldSlots,
  now: Date,
): Promise<readonly DecidedLead[]> {
  const decisions = leads.map((lead) => decide(lead, earlier.get(lead.id) ?? [], whenUncertain, market, now));
  await slots.read(
    decisions.flatMap((decision) => decision.choice.holds.filter((hold) => keptSlot(decision, hold, now) === null)),
  );
  return decisions.map((decision) => toRows(decision, market, slots, now));
}

interface Decision {
  readonly lead: ClaimedLead;
  readonly held: readonly EarlierDelivery[];
  readonly choice: Choice;
  readonly underWay: boolean;
  /** A partner has it before it to accept. */
  readonly isOffered: boolean;
  readonly isUncertain: boolean;
}

function decide(
  lead: ClaimedLead,
  deliveries: readonly EarlierDelivery[],
  whenUncertain: "staff" | "next",
  market: Market,
  now: Date,
): Decision {
  const isUncertain = deliveries.some((delivery) => delivery.state === "uncertain");
  const placed: Placed[] = deliveries.filter(
    ({ state }) => placedStates.includes(state) || (state === "uncertain" && whenUncertain === "staff"),
  );
  const held = deliveries.filter((delivery) => delivery.state === "held");
  const heldFor: HeldFor = new Map(
    held.map((delivery) => [delivery.partnerId, { turnPassed: delivery.holdReason?.turnPassed ?? false }]),
  );
  const hadBy = hadByOf(deliveries);
  const mayWait = now < lead.holdEndsAt;
  const routable = { fields: lead.fields, introducerId: lead.introducerId, mayWait, hadBy };
  return {
    lead,
    held,
    choice: choosePartners(routable, placed, heldFor, lead.byHand ? { ...market, groups: [] } : market, now),
    underWay: deliveries.some(({ state }) => state === "offered" || state === "sending"),
    isOffered: deliveries.some(({ state }) => state === "offered"),
    isUncertain,
  };
}

export interface SendRow {
  readonly id: string;
  readonly isNew: boolean;
  readonly partnerId: string;
  readonly candidate: Candidate;
  /** null: it is sent the lead at once. */
  readonly offer: Offer | null;
}

export interface HoldRow {
  readonly id: string;
  readonly isNew: boolean;
  readonly hold: Hold;
  readonly dueAt: Date;
}

export interface DecidedLead {
  readonly lead: ClaimedLead;
  readonly choice: Choice;
  readonly sends: readonly SendRow[];
  readonly holds: readonly HoldRow[];
  readonly cancelledIds: readonly string[];
  readonly state: LeadState;
  readonly stateReason: { code: string } | null;
  readonly dueAt: Date | null;
}

/** What a decision comes to as rows: held deliveries are carried on, turned into sends, or cancelled. */
function toRows(decision: Decision, market: Market, slots: HoldSlots, now: Date): DecidedLead {
  const { lead, held, choice } = decision;
  const sends = choice.sends.map((candidate): SendRow => {
    const { partnerId } = candidate;
    const [earlier, buyer] = [earlierHold(decision, partnerId), market.buyers.get(partnerId)];
    const offer = buyer === undefined ? null : offerTo(buyer, now);
    return { id: earlier?.id ?? newId(), isNew: earlier === undefined, partnerId, candidate, offer };
  });
  const holds: HoldRow[] = [];
  for (const hold of choice.holds) {
    const earlier = earlierHold(decision, hold.candidate.partnerId);
    const slot = keptSlot(decision, hold, now) ?? slots.next(hold);
    const dueAt = new Date(Math.min(slot.getTime(), lead.holdEndsAt.getTime()));
    holds.push({ id: earlier?.id ?? newId(), isNew: earlier === undefined, hold, dueAt });
  }
  const kept = new Set([...sends, ...holds].map((row) => row.id));
  const cancelledIds = held.filter((delivery) => !kept.has(delivery.id)).map((delivery) => delivery.id);
  return { lead, choice, sends, holds, cancelledIds, ...stateAfter(decision, sends, holds, now) };
}

function earlierHold({ held }: Decision, partnerId: string): EarlierDelivery | undefined {
  return held.find((delivery) => delivery.partnerId === partnerId);
}

/** What waits for the same instant as before keeps its slot. */
function keptSlot(decision: Decision, { candidate, until }: Hold, now: Date): Date | null {
  const earlier = earlierHold(decision, candidate.partnerId);
  if (earlier === undefined || earlier.dueAt === null || earlier.dueAt <= now) return null;
  return earlier.holdUntil?.getTime() === until.getTime() ? earlier.dueAt : null;
}

/** The lead's state after the decision, why, and when routing has to look at it again. */
function stateAfter(
  { lead, choice, underWay, isOffered, isUncertain }: Decision,
  sends: readonly SendRow[],
  holds: readonly HoldRow[],
  now: Date,
): Pick<DecidedLead, "state" | "stateReason" | "dueAt"> {
  const dueAt = holds.reduce<Date | null>(
    (soonest, hold) => (soonest === null || hold.dueAt < soonest ? hold.dueAt : soonest),
    null,
  );
  if (sends.length > 0 || underWay) {
    const waitsForAnswer = isOffered || sends.some(({ offer }) => offer !== null);
    return { state: "routing", stateReason: waitsForAnswer ? { code: "offered" } : null, dueAt };
  }
  const [hold] = holds;
  if (hold !== undefined) return { state: "held", stateReason: hold.hold.reason, dueAt };
  if (lead.soldCount > 0) return { state: "sold", stateReason: null, dueAt: null };
  return {
    state: "unsold",
    stateReason: { code: unsoldCode(lead, choice, isUncertain, now) },
    dueAt: null,
  };
}

function unsoldCode(lead: ClaimedLead, { considered }: Choice, isUncertain: boolean, now: Date): string {
  if (isUncertain) return "delivery_uncertain";
  if (lead.byHand) return "by_hand";
  if (considered.length === 0) return "no_partners";
  if (now >= lead.holdEndsAt && considered.some((partner) => partner.result === "blocked")) return "hold_expired";
  if (considered.some((partner) => partner.reasons.some((reason) => reason.code === "already_had")))
    return "all_refused";
  return "no_partner_eligible";
}
