import type { RefundState, TopUpState } from "../db/payment-tables.ts";
import { formatMoney } from "../money.ts";
import { fromPayPalMoney, type PayPalMoney } from "./paypal-money.ts";

/** A top-up as we know it, with what went back of it. */
export interface KnownTopUp {
  readonly id: string;
  readonly state: TopUpState;
  readonly amountMinor: number;
  readonly currency: string;
  readonly captureId: string | null;
  readonly createdAt: Date;
  readonly refunds: readonly KnownRefund[];
}

export interface KnownRefund {
  readonly id: string;
  readonly paypalId: string | null;
  readonly origin: "staff" | "paypal";
  readonly state: RefundState;
  readonly amountMinor: number;
  readonly isReversal: boolean;
  /** Taken from the partner's account, and not given back since. */
  readonly isTaken: boolean;
}

/** What PayPal says. It may be old, come twice, or in any order. */
export interface PayPalFacts {
  /** The order's status; "gone" where PayPal does not know the order any more. */
  readonly order: string;
  /** What the payer approved. */
  readonly orderAmount: PayPalMoney | null;
  readonly captures: readonly CaptureFact[];
  readonly refunds: readonly RefundFact[];
}

export interface CaptureFact {
  readonly id: string;
  readonly status: string;
  readonly amount: PayPalMoney;
}

export interface RefundFact {
  /** null: PayPal did not make it. */
  readonly id: string | null;
  readonly status: string;
  readonly amount: PayPalMoney;
  /** The refund of ours that it is, where it is one. */
  readonly ownId: string | null;
  readonly isReversal: boolean;
}

export const problemKinds = [
  "amount_mismatch",
  "currency_mismatch",
  "second_capture",
  "refund_mismatch",
  "refund_unlisted",
  "reversed",
  "webhook_not_verified",
] as const;
export type ProblemKind = (typeof problemKinds)[number];

export interface Problem {
  /** One problem of a kind about a thing: told once, however often it is met. */
  readonly key: string;
  readonly kind: ProblemKind;
  /** In plain words, for staff. */
  readonly what: string;
}

export interface TopUpDecision {
  readonly state: TopUpState;
  readonly captureId: string | null;
  /** The payer approved what was asked for: the money is to be taken now. */
  readonly mayCapture: boolean;
  readonly refunds: readonly RefundDecision[];
  readonly problems: readonly Problem[];
}

export interface RefundDecision {
  /** null: one that was not known. */
  readonly knownId: string | null;
  readonly paypalId: string | null;
  readonly isReversal: boolean;
  readonly state: RefundState;
  readonly amountMinor: number;
  readonly isTaken: boolean;
}

/** An order that nobody approved for this long will not be any more; PayPal itself forgets it within hours. */
const abandonedMs = 7 * 24 * 3_600_000;

/**
 * Decides what a top-up is, given what PayPal says now and what it said before. Knowledge only grows: a later word of PayPal
 * (completed) is not undone by an earlier one (pending) that arrives after it. So whatever tells us first, and however often,
 * it comes to the same.
 */
export function decideTopUp(topUp: KnownTopUp, facts: PayPalFacts, now: Date): TopUpDecision {
  const { capture, others } = chooseCapture(topUp, facts.captures);
  const paid = decidePayment(topUp, facts, capture, now);
  const returned = decideRefunds(topUp, facts, paid.state);
  const second = others.map(({ id, amount }) => ({
    key: `second-capture-${id}`,
    kind: "second_capture" as const,
    what: `PayPal took ${inWords(amount)} a second time (capture ${id}). Only the first was credited: refund it at PayPal, or enter it as a payment.`,
  }));
  return { ...paid, refunds: returned.refunds, problems: [...paid.problems, ...second, ...returned.problems] };
}

type Standing = "pending" | "declined" | "completed";

/** What a capture's status means for us. One that was refunded was completed before. */
const standings: ReadonlyMap<string, Standing> = new Map([
  ["PENDING", "pending"],
  ["DECLINED", "declined"],
  ["FAILED", "declined"],
  ["COMPLETED", "completed"],
  ["PARTIALLY_REFUNDED", "completed"],
  ["REFUNDED", "completed"],
]);

/** Of one and the same capture, the later word counts. */
const later: Readonly<Record<Standing, number>> = { pending: 0, declined: 1, completed: 2 };

interface Capture {
  readonly id: string;
  readonly standing: Standing;
  /** null: known from before. */
  readonly amount: PayPalMoney | null;
}

interface Chosen {
  readonly capture: Capture | null;
  readonly others: readonly CaptureFact[];
}

const standingOf: ReadonlyMap<TopUpState, Standing> = new Map([
  ["pending", "pending"],
  ["declined", "declined"],
  ["credited", "completed"],
  ["refused", "completed"],
]);

/** The capture that the top-up stands or falls with: one that took money, else one that may yet, else one that failed. */
function chooseCapture({ captureId, state }: KnownTopUp, facts: readonly CaptureFact[]): Chosen {
  const captures = new Map<string, Capture>();
  const knownStanding = standingOf.get(state);
  if (captureId !== null && knownStanding !== undefined) {
    captures.set(captureId, { id: captureId, standing: knownStanding, amount: null });
  }
  for (const { id, status, amount } of facts) {
    const standing = standings.get(status);
    const earlier = captures.get(id);
    if (standing === undefined) continue;
    if (earlier === undefined || later[standing] > later[earlier.standing]) captures.set(id, { id, standing, amount });
  }
  const all = [...captures.values()].sort((a, b) => Number(b.id === captureId) - Number(a.id === captureId));
  const of = (wanted: Standing) => all.find(({ standing }) => standing === wanted);
  const capture = of("completed") ?? of("pending") ?? of("declined") ?? null;
  const completed = all.filter(({ id, standing }) => standing === "completed" && id !== capture?.id);
  return { capture, others: facts.filter(({ id }) => completed.some((other) => other.id === id)) };
}

type Paid = Pick<TopUpDecision, "state" | "captureId" | "mayCapture" | "problems">;

function decidePayment(topUp: KnownTopUp, facts: PayPalFacts, capture: Capture | null, now: Date): Paid {
  const stays = { captureId: capture?.id ?? null, mayCapture: false, problems: [] };
  if (capture === null) return decideOrder(topUp, facts, now);
  if (capture.standing === "pending") return { ...stays, state: "pending" };
  if (capture.standing === "declined") return { ...stays, state: "declined" };
  const isSettled = topUp.state === "credited" || topUp.state === "refused";
  if (capture.amount === null || (isSettled && capture.id === topUp.captureId)) return { ...stays, state: topUp.state };
  const problem = compare(topUp, capture.amount, `capture-${capture.id}`, "PayPal took");
  if (problem === null) return { ...stays, state: "credited" };
  return { ...stays, state: "refused", problems: [problem] };
}

/** Nothing has been taken yet. */
function decideOrder(topUp: KnownTopUp, { order, orderAmount }: PayPalFacts, now: Date): Paid {
  const stays = { captureId: null, mayCapture: false, problems: [] };
  if (topUp.state === "refused") return { ...stays, state: "refused" };
  if (order === "gone" || order === "VOIDED") return { ...stays, state: "expired" };
  if (order === "APPROVED" && orderAmount !== null) {
    const problem = compare(topUp, orderAmount, `order-${topUp.id}`, "The order at PayPal is for");
    if (problem !== null) return { ...stays, state: "refused", problems: [problem] };
    return { ...stays, state: "open", mayCapture: true };
  }
  const isAbandoned = now.getTime() - topUp.createdAt.getTime() > abandonedMs;
  return { ...stays, state: isAbandoned ? "expired" : "open" };
}

function compare(topUp: KnownTopUp, amount: PayPalMoney, key: string, verb: string): Problem | null {
  const { amountMinor, currency } = topUp;
  const asked = formatMoney(amountMinor, currency);
  const next = "Nothing was credited: refund it at PayPal, or enter what is right as a payment.";
  const what = `${verb} ${inWords(amount)}, and ${asked} was asked for. ${next}`;
  if (amount.currency !== currency) return { key, kind: "currency_mismatch", what };
  return fromPayPalMoney(amount) === amountMinor ? null : { key, kind: "amount_mismatch", what };
}

function inWords({ value, currency }: PayPalMoney): string {
  return `${value} ${currency}`;
}

const refundStates: ReadonlyMap<string, RefundState> = new Map([
  ["PENDING", "pending"],
  ["FAILED", "failed"],
  ["CANCELLED", "failed"],
  ["COMPLETED", "completed"],
]);

const laterRefund: Readonly<Record<RefundState, number>> = { requested: 0, pending: 1, failed: 2, completed: 3 };

interface Refund extends RefundDecision {
  readonly origin: "staff" | "paypal";
}

interface Returned {
  readonly refunds: readonly RefundDecision[];
  readonly problems: readonly Problem[];
}

/**
 * A refund that staff asked for is taken from the partner at once, and given back where PayPal does not do it; one that was
 * made at PayPal is taken when it is done. Together never more is taken than was credited.
 */
function decideRefunds(topUp: KnownTopUp, facts: PayPalFacts, state: TopUpState): Returned {
  const { merged, problems } = mergeRefunds(topUp, facts.refunds);
  let leftMinor = state === "credited" ? topUp.amountMinor : 0;
  const refunds: RefundDecision[] = [];
  for (const { origin, ...refund } of merged.toSorted(takenFirst)) {
    const isWanted = refund.state === "completed" || (origin === "staff" && refund.state !== "failed");
    const isTaken = isWanted && refund.amountMinor <= leftMinor;
    if (isTaken) leftMinor -= refund.amountMinor;
    else if (isWanted && state === "credited") problems.push(beyondCredit(topUp, refund));
    if (isTaken && refund.isReversal) problems.push(reversed(topUp, refund));
    refunds.push({ ...refund, isTaken });
  }
  const listedMinor = refunds.reduce((sum, one) => sum + (one.state === "failed" ? 0 : one.amountMinor), 0);
  const whole = facts.captures.find(({ status }) => status === "REFUNDED");
  if (whole !== undefined && state === "credited" && listedMinor < topUp.amountMinor) {
    problems.push(unlisted(topUp, whole.id, topUp.amountMinor - listedMinor));
  }
  return { refunds, problems };
}

/** What was taken stays taken before anything else is; the rest in an order that does not depend on who told of it first. */
function takenFirst(one: Refund, other: Refund): number {
  return Number(other.isTaken) - Number(one.isTaken) || ((one.paypalId ?? "") < (other.paypalId ?? "") ? -1 : 1);
}

function mergeRefunds(topUp: KnownTopUp, facts: readonly RefundFact[]): { merged: Refund[]; problems: Problem[] } {
  const merged: Refund[] = topUp.refunds.map(({ id, ...refund }) => ({ knownId: id, ...refund }));
  const problems: Problem[] = [];
  for (const { id, status, amount, ownId, isReversal } of facts) {
    const state = refundStates.get(status);
    if (state === undefined) continue;
    const index = merged.findIndex(
      (one) => (id !== null && one.paypalId === id) || (ownId !== null && one.knownId === ownId),
    );
    const known = merged[index];
    if (known !== undefined) {
      const now = laterRefund[state] > laterRefund[known.state] ? state : known.state;
      const paypalId = id ?? known.paypalId;
      merged[index] = { ...known, paypalId, state: now, isReversal: known.isReversal || isReversal };
    }
    if (known !== undefined || id === null) continue;
    const amountMinor = amount.currency === topUp.currency ? fromPayPalMoney(amount) : null;
    if (amountMinor === null || amountMinor === 0) {
      problems.push(unreadable(topUp, id, amount));
      continue;
    }
    // It may be the one of ours of which PayPal's answer was lost; that is asked for again before anything else.
    const mayBeOurs = merged.some((one) => one.state === "requested" && one.amountMinor === amountMinor);
    if (mayBeOurs && !isReversal) continue;
    const refund = { knownId: null, paypalId: id, isReversal, state, amountMinor, isTaken: false };
    merged.push({ ...refund, origin: "paypal" });
  }
  return { merged, problems };
}

function unreadable(topUp: KnownTopUp, id: string, amount: PayPalMoney): Problem {
  const paid = formatMoney(topUp.amountMinor, topUp.currency);
  const what = `PayPal gave back ${inWords(amount)} (refund ${id}) of a payment of ${paid}. Nothing was taken from the partner's account: enter what is right as a refund.`;
  return { key: `refund-${id}`, kind: "refund_mismatch", what };
}

function beyondCredit(topUp: KnownTopUp, { paypalId, amountMinor }: RefundDecision): Problem {
  const [back, paid] = [amountMinor, topUp.amountMinor].map((minor) => formatMoney(minor, topUp.currency));
  const what = `PayPal gave back ${back} (refund ${paypalId}), which together with what went back before is more than the payment of ${paid}. It was not taken from the partner's account.`;
  return { key: `refund-${paypalId}`, kind: "refund_mismatch", what };
}

function reversed(topUp: KnownTopUp, { paypalId, amountMinor }: RefundDecision): Problem {
  const [back, paid] = [amountMinor, topUp.amountMinor].map((minor) => formatMoney(minor, topUp.currency));
  const what = `PayPal reversed ${back} of a payment of ${paid}, as after a dispute or a chargeback. It was taken from the partner's account.`;
  return { key: `reversed-${paypalId}`, kind: "reversed", what };
}

function unlisted(topUp: KnownTopUp, captureId: string, leftMinor: number): Problem {
  const left = formatMoney(leftMinor, topUp.currency);
  const what = `PayPal says that the whole payment went back (capture ${captureId}), and does not say how ${left} of it did. That was not taken from the partner's account: look at it at PayPal.`;
  return { key: `unlisted-${captureId}`, kind: "refund_unlisted", what };
}

/** Between looks while the payer may still approve, or PayPal has the money under review. */
const soonestMs = 30_000;
const latestMs = 6 * 3_600_000;

/** While a payment can be refunded or disputed at PayPal (180 days) with a margin. */
const watchedMs = 200 * 24 * 3_600_000;
const soonestRefundMs = 10 * 60_000;
const latestRefundMs = 7 * 24 * 3_600_000;

/**
 * When to look at a top-up again although nobody tells us to: soon while it is young, ever less often as it grows old, and
 * never (null) once nothing can change. Webhooks are faster; this finds what they did not bring.
 */
export function nextLook(
  {
    state,
    createdAt,
    refunds,
  }: Pick<KnownTopUp, "state" | "createdAt"> & { readonly refunds: readonly { readonly state: RefundState }[] },
  now: Date,
): Date | null {
  const ageMs = now.getTime() - createdAt.getTime();
  const within = (shareOfAge: number, leastMs: number, mostMs: number) =>
    new Date(now.getTime() + Math.min(Math.max(ageMs * shareOfAge, leastMs), mostMs));
  const isUnderWay = refunds.some((refund) => refund.state === "requested" || refund.state === "pending");
  if (state === "requested" || state === "open" || state === "pending" || isUnderWay) {
    return within(0.5, soonestMs, latestMs);
  }
  return state === "credited" && ageMs < watchedMs ? within(0.25, soonestRefundMs, latestRefundMs) : null;
}
