import {
  acceptedReturns,
  billing,
  findBalanceWrong,
  findCreditedTwice,
  findOverdrawn,
  findPaidLost,
  findUnanswered,
  type MoneyEvidence,
  type TakenLead,
} from "./check-money.ts";
import { findReferralsDoubled, findReferralsLost, findStatusesLost, type ReferralEvidence } from "./check-referrals.ts";
import { type CampaignPlan, emailOf, onTheWayMs } from "./configuration.ts";
import type { AnsweredLead } from "./generator.ts";
import type { ReceivedRequest } from "./record.ts";

/**
 * Finds what must not be, from the configuration, the leads that were answered, the receiver's record, and how everything ended.
 * Shares no code with the product.
 */
export interface Evidence extends MoneyEvidence {
  readonly referrals: ReferralEvidence;
  readonly campaigns: readonly CampaignPlan[];
  readonly answered: readonly AnsweredLead[];
  readonly requests: readonly ReceivedRequest[];
  /** Requests that came to an address where nobody may be sent. */
  readonly forbidden: number;
  /** Leads delivered by mail: one for each message. */
  readonly mails: readonly { readonly key: string; readonly leadId: string }[];
  readonly final: FinalState;
}

export interface FinalState {
  readonly leads: readonly {
    readonly id: string;
    readonly campaign: string;
    readonly state: string;
    readonly email: string;
  }[];
  readonly deliveries: readonly {
    readonly id: string;
    readonly leadId: string;
    readonly partner: string;
    readonly state: string;
  }[];
  /** What partners paid for deliveries, and what was taken back: kind post and reverse. */
  readonly charges: readonly { readonly deliveryId: string; readonly kind: string; readonly amountMinor: number }[];
  /** What each partner has paid for leads, and what is promised for leads whose end is not known. */
  readonly accounts: readonly {
    readonly partner: string;
    readonly paidMinor: number;
    readonly reservedMinor: number;
  }[];
  /** Everything in the ledger, added up. */
  readonly entriesSum: number;
  readonly balancesWrong: number;
  readonly alertsOpen: number;
  /** What `handoff ledger verify` finds wrong. */
  readonly verifyFinds: number;
}

export interface Verdict {
  readonly figures: {
    readonly lost: number;
    readonly sold_twice: number;
    readonly charged_twice: number;
    readonly cap_overshoot: number;
    readonly outside_schedule: number;
    readonly ledger_sum: number;
    /** Of the same kind: each must be 0 as well. */
    readonly stored_twice: number;
    readonly changed_key: number;
    readonly reached_forbidden: number;
    readonly not_ended: number;
    readonly credited_twice: number;
    readonly paid_lost: number;
    readonly balance_wrong: number;
    readonly overdrawn: number;
    readonly returned_and_charged: number;
    readonly returned_to_the_same_partner: number;
    readonly ledger_verify: number;
    readonly referrals_lost: number;
    readonly referrals_doubled: number;
    readonly statuses_lost: number;
  };
  readonly duplicateRequests: number;
  /** Why partners saw requests twice. */
  readonly duplicatesBy: Readonly<Record<string, number>>;
  /** Leads by the state they ended in. */
  readonly final: Readonly<Record<string, number>>;
  readonly examples: readonly string[];
}

/** No lead of the generator is invalid, nor another's duplicate. */
export const finalStates: ReadonlySet<string> = new Set(["sold", "unsold", "returned"]);

export function check(evidence: Evidence): Verdict {
  const examples: string[] = [];
  const find = (what: string, found: readonly string[]) => {
    for (const one of found.slice(0, 5)) examples.push(`${what}: ${one}`);
    return found.length;
  };
  const duplicates = findDuplicates(evidence.requests);
  const taken = listTaken(evidence);
  const { referrals } = evidence;
  const emails = new Map(evidence.final.leads.map(({ id, email }) => [id, email]));
  const figures = {
    lost: find("lost", findLost(evidence)),
    sold_twice: find("sold twice", findSoldTwice(evidence)),
    charged_twice: find("charged wrongly", findChargedWrongly(evidence)),
    cap_overshoot: find("beyond a limit", findOvershoot(evidence)),
    outside_schedule: find("outside the schedule", findOutsideSchedule(evidence)),
    ledger_sum: Math.abs(evidence.final.entriesSum) + evidence.final.balancesWrong,
    stored_twice: find("stored twice", findStoredTwice(evidence)),
    changed_key: find("another key or body", findChangedKeys(evidence.requests)),
    reached_forbidden: evidence.forbidden,
    not_ended: find("not ended", [...findOpen(evidence), ...findUnanswered(evidence)]),
    credited_twice: find("credited twice", findCreditedTwice(evidence)),
    paid_lost: find("paid and lost", findPaidLost(evidence)),
    balance_wrong: find("a wrong balance", findBalanceWrong(evidence, taken)),
    overdrawn: find("overdrawn", findOverdrawn(evidence, taken)),
    returned_and_charged: find("returned and charged", findReturnedAndCharged(evidence)),
    returned_to_the_same_partner: find("returned to the same partner", findReturnedToTheSame(evidence)),
    ledger_verify: evidence.final.verifyFinds,
    referrals_lost: find("a referral lost", findReferralsLost(referrals, emails)),
    referrals_doubled: find("a referral doubled", findReferralsDoubled(referrals)),
    statuses_lost: find("a status lost", findStatusesLost(referrals)),
  };
  return { figures, ...duplicates, final: countBy(evidence.final.leads, ({ state }) => state), examples };
}

/**
 * Answered, and not there, or with another's content, or without an end; said to be sold to a partner who knows nothing of it, or to
 * nobody at all; unsold although somebody bought it, or although nobody was asked who may have it; and what a partner had to get and
 * did not.
 */
function findLost({ answered, final, requests, mails, partners, returned }: Evidence): string[] {
  const leads = new Map(final.leads.map((lead) => [lead.id, lead]));
  const missing = answered.flatMap(({ leadId, number }) => {
    if (leadId === null) return [];
    const email = leads.get(leadId)?.email;
    return email === emailOf(number) ? [] : [`${leadId} was answered for ${emailOf(number)} and is ${email}`];
  });
  const states = new Map<string, Set<string>>();
  for (const { leadId, state } of final.deliveries) {
    const ofLead = states.get(leadId) ?? new Set<string>();
    states.set(leadId, ofLead.add(state));
  }
  const goOn = new Set(partners.flatMap(({ name, returnsGoOn }) => (returnsGoOn === true ? [name] : [])));
  // What its partner gave back for the next one may not end so.
  const stayReturned = new Set(
    returned.flatMap(({ leadId, partner, told }) => (told === "accepted" && !goOn.has(partner) ? [leadId] : [])),
  );
  const badlyEnded = final.leads.flatMap(({ id, state }) => {
    const has = (one: string) => states.get(id)?.has(one) ?? false;
    if (!finalStates.has(state)) return [`${id} ends as ${state}`];
    if ((state === "sold") !== has("delivered"))
      return [`${id} ends as ${state}, its deliveries as ${[...(states.get(id) ?? [])]}`];
    if (state === "returned" && !stayReturned.has(id)) return [`${id} is returned, and nobody said so`];
    // There is always a partner who takes whatever it gets.
    return state === "unsold" && !has("uncertain") ? [`${id} is unsold although partners would take it`] : [];
  });
  const has = takers(requests, mails);
  const unknown = final.deliveries
    .filter(({ state, leadId, partner }) => state === "delivered" && has.get(leadId)?.has(partner) !== true)
    .map(({ id, partner }) => `${partner} never took delivery ${id}`);
  const short = partners.flatMap(({ name, mustGet }) => {
    const got = new Set(requests.filter(({ partner }) => partner === name).map(({ leadId }) => leadId)).size;
    return mustGet === undefined || got === mustGet ? [] : [`${name} got ${got} leads of ${mustGet}`];
  });
  return [...missing, ...badlyEnded, ...unknown, ...short];
}

/** Who has a lead: by lead, the partners, and the keys under which they took it. */
function takers(
  requests: readonly ReceivedRequest[],
  mails: Evidence["mails"],
): ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<string>>> {
  const byLead = new Map<string, Map<string, Set<string>>>();
  const add = (leadId: string, partner: string, key: string) => {
    const partners = byLead.get(leadId) ?? new Map<string, Set<string>>();
    byLead.set(leadId, partners);
    const keys = partners.get(partner) ?? new Set<string>();
    partners.set(partner, keys);
    keys.add(key);
  };
  for (const { leadId, partner, key, taken } of requests) if (taken) add(leadId, partner, key);
  for (const { leadId, key } of mails) add(leadId, "mail", key);
  return byLead;
}

/**
 * Every lead that a partner has, once, with what the product says of it; and those of which nobody can say whether it has them:
 * they are promised for.
 */
function listTaken({ requests, mails, final }: Evidence): readonly TakenLead[] {
  const place = (partner: string, leadId: string) => `${partner} ${leadId}`;
  const deliveries = new Map(
    final.deliveries.map((delivery) => [place(delivery.partner, delivery.leadId), delivery] as const),
  );
  const first = new Map<string, TakenLead>();
  const add = (partner: string, leadId: string, atMs: number | null) => {
    const key = place(partner, leadId);
    if (!first.has(key)) first.set(key, { partner, leadId, atMs, delivery: deliveries.get(key) ?? null });
  };
  for (const { partner, leadId, atMs, taken } of requests) if (taken) add(partner, leadId, atMs);
  for (const { leadId } of mails) add("mail", leadId, null);
  for (const { partner, leadId, state } of final.deliveries) if (state === "uncertain") add(partner, leadId, null);
  return [...first.values()];
}

/** What was given back is with the partner no more. */
function findSoldTwice({ requests, mails, final, campaigns, returned }: Evidence): string[] {
  const limits = new Map(campaigns.map(({ name, saleLimit }) => [name, saleLimit]));
  const has = takers(requests, mails);
  const givenBack = countBy([...acceptedReturns(returned).values()], ({ leadId }) => leadId);
  return final.leads.flatMap(({ id, campaign }) => {
    const partners = has.get(id);
    if (partners === undefined) return [];
    const tooMany = partners.size - (givenBack[id] ?? 0) > (limits.get(campaign) ?? 0);
    const again = [...partners.values()].some((keys) => keys.size > 1);
    return tooMany || again
      ? [`${id} (${campaign}) is with ${[...partners].map(([name, keys]) => `${name} ×${keys.size}`)}`]
      : [];
  });
}

/**
 * Each delivery that ended as delivered has brought what it must at its billing point, and any other nothing; and what partners
 * have paid and promised is what they have bought and may have bought.
 */
function findChargedWrongly(evidence: Evidence): string[] {
  const { final } = evidence;
  const moneyOf = billing(evidence);
  const nothing = { billedMinor: 0, reservedMinor: 0 };
  const charged = new Map<string, number>();
  for (const { deliveryId, kind, amountMinor } of final.charges) {
    charged.set(deliveryId, (charged.get(deliveryId) ?? 0) + (kind === "post" ? amountMinor : -amountMinor));
  }
  const due = final.deliveries.map((delivery) => ({
    ...delivery,
    ...(["delivered", "uncertain"].includes(delivery.state) ? moneyOf(delivery.partner, delivery) : nothing),
  }));
  const byDelivery = due.flatMap(({ id, state, partner, billedMinor }) => {
    const minor = charged.get(id) ?? 0;
    return minor === billedMinor ? [] : [`delivery ${id} to ${partner} is ${state} and was charged ${minor}`];
  });
  const byPartner = final.accounts.flatMap(({ partner, paidMinor, reservedMinor }) => {
    const own = due.filter((delivery) => delivery.partner === partner);
    const bought = own.reduce((sum, { billedMinor }) => sum + billedMinor, 0);
    const promised = own.reduce((sum, delivery) => sum + delivery.reservedMinor, 0);
    return bought === paidMinor && promised === reservedMinor
      ? []
      : [`${partner} has paid ${paidMinor} and promised ${reservedMinor} instead of ${bought} and ${promised}`];
  });
  return [...byDelivery, ...byPartner];
}

/** Of a sale that was given back nothing is charged, nor promised. */
function findReturnedAndCharged({ returned, final }: Evidence): string[] {
  const back = acceptedReturns(returned);
  const charged = new Map<string, number>();
  for (const { deliveryId, kind, amountMinor } of final.charges) {
    if (!back.has(deliveryId)) continue;
    charged.set(deliveryId, (charged.get(deliveryId) ?? 0) + (kind === "post" ? amountMinor : -amountMinor));
  }
  const states = new Map(final.deliveries.map(({ id, state }) => [id, state]));
  return [...back].flatMap(([id, { partner }]) => {
    const [minor, state] = [charged.get(id) ?? 0, states.get(id)];
    return minor === 0 && state === "returned" ? [] : [`${id} to ${partner} is ${state} and was charged ${minor}`];
  });
}

/** By the partners' record: a lead that came to one after that partner's return of it had been accepted. */
function findReturnedToTheSame({ returned, requests }: Evidence): string[] {
  const back = new Map<string, number>();
  for (const one of acceptedReturns(returned).values()) back.set(`${one.partner} ${one.leadId}`, one.answeredAtMs);
  return requests.flatMap(({ partner, leadId, atMs, number }) => {
    const place = `${partner} ${leadId}`;
    return atMs > (back.get(place) ?? Number.POSITIVE_INFINITY) ? [`request ${number}: ${place}`] : [];
  });
}

/** By the receiver's record: how many leads a partner took beyond its limit. */
function findOvershoot({ partners, requests, final }: Evidence): string[] {
  return partners.flatMap(({ name, dayLimit }) => {
    if (dayLimit === 0) return [];
    const taken = new Set(
      requests.filter(({ partner, taken }) => partner === name && taken).map(({ leadId }) => leadId),
    );
    const delivered = final.deliveries.filter(({ partner, state }) => partner === name && state === "delivered").length;
    const over = Math.max(taken.size, delivered) - dayLimit;
    return Array.from({ length: Math.max(0, over) }, () => `${name} took ${taken.size}, may take ${dayLimit}`);
  });
}

function findOutsideSchedule({ partners, requests }: Evidence): string[] {
  const open = new Map(partners.map((partner) => [partner.name, partner.open]));
  return requests.flatMap(({ partner, atMs, clock, number }) => {
    const intervals = open.get(partner) ?? null;
    const at = clock === undefined ? atMs : Date.parse(clock);
    const grace = clock === undefined ? onTheWayMs : 0;
    if (intervals === null || intervals.some(([from, to]) => at >= from && at < to + grace)) return [];
    return [`request ${number} reached ${partner} at ${new Date(at).toISOString()}`];
  });
}

/** The generator sends one lead for each address, whatever it has to repeat. */
function findStoredTwice({ final, answered }: Evidence): string[] {
  const byEmail = countBy(final.leads, ({ email }) => email);
  const twice = Object.entries(byEmail)
    .filter(([, count]) => count > 1)
    .map(([email, count]) => `${email} is stored ${count} times`);
  const contradicted = answered
    .filter((lead) => lead.contradicted)
    .map(({ number }) => `lead ${number} got two answers`);
  return [...twice, ...contradicted];
}

function findChangedKeys(requests: readonly ReceivedRequest[]): string[] {
  const first = new Map<string, ReceivedRequest>();
  const changed: string[] = [];
  for (const request of requests) {
    const place = `${request.partner} ${request.leadId}`;
    const before = first.get(place);
    if (before === undefined) first.set(place, request);
    else if (before.key !== request.key || before.body !== request.body) {
      changed.push(`${place}: key ${before.key} (${before.answered}), then ${request.key}`);
    }
  }
  return changed;
}

function findOpen({ final, answered }: Evidence): string[] {
  const open = final.deliveries
    .filter(({ state }) => ["held", "offered", "sending"].includes(state))
    .map(({ id, state, partner }) => `delivery ${id} to ${partner} is ${state}`);
  const unanswered = answered
    .filter(({ leadId }) => leadId === null)
    .map(({ number }) => `lead ${number} was never answered`);
  const alerts = final.alertsOpen > 0 ? [`${final.alertsOpen} alerts are due`] : [];
  return [...open, ...unanswered, ...alerts];
}

/** A request that was seen before is there because of what became of the one before it. */
function findDuplicates(requests: readonly ReceivedRequest[]) {
  const last = new Map<string, ReceivedRequest>();
  const repeated: string[] = [];
  for (const request of requests) {
    const before = last.get(request.key);
    if (before !== undefined) repeated.push(reasons[before.answered]);
    last.set(request.key, request);
  }
  return { duplicateRequests: repeated.length, duplicatesBy: countBy(repeated, (reason) => reason) };
}

const readable = "answered in full: the worker or the database went away before the answer was recorded";
const reasons: Readonly<Record<ReceivedRequest["answered"], string>> = {
  good: readable,
  rejected: readable,
  error: "answered 500",
  busy: "answered 429",
  hang: "never answered",
  late: "answered after the time-out",
  cut: "reset in the middle of the answer",
  flood: "answered with 10 MB",
  redirect: "redirected to a private address",
};

function countBy<T>(items: readonly T[], keyOf: (item: T) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[keyOf(item)] = (counts[keyOf(item)] ?? 0) + 1;
  return counts;
}
