import type { BillingPoint, PartnerPlan } from "./configuration.ts";
import type { EnteredMoney, MovedSale, PayPalCapture, ReturnedLead } from "./record.ts";

/**
 * What each partner's balance must be to the minor unit, from what staff were told, PayPal's own books and what the partners took, held
 * against what the API says. Shares no code with the product.
 */
export interface MoneyEvidence {
  readonly partners: readonly PartnerPlan[];
  readonly entered: readonly EnteredMoney[];
  readonly captures: readonly PayPalCapture[];
  readonly moved: readonly MovedSale[];
  readonly returned: readonly ReturnedLead[];
  readonly statements: readonly PartnerStatement[];
}

/** What the API says of a partner's money, from its first day. */
export interface PartnerStatement {
  readonly partner: string;
  readonly balanceMinor: number;
  readonly reservedMinor: number;
  readonly openingMinor: number;
  readonly closingMinor: number;
  readonly entries: readonly StatementEntry[];
}

export interface StatementEntry {
  readonly kind: string;
  readonly reason: string | null;
  readonly amountMinor: number;
}

/** A lead that a partner has, by its own record, or may have. */
export interface TakenLead {
  readonly partner: string;
  readonly leadId: string;
  /** When it came first; null: nobody says. */
  readonly atMs: number | null;
  /** What the product says of it; null: nothing at all. */
  readonly delivery: { readonly id: string; readonly state: string } | null;
}

/** What was paid for a sale, and what is promised for it still. */
export interface SaleMoney {
  readonly billedMinor: number;
  readonly reservedMinor: number;
}

/** By delivery: what each must have brought that was sold to these partners, at the points that staff moved them to. */
export function billing({ partners, moved, returned }: Pick<MoneyEvidence, "partners" | "moved" | "returned">) {
  const plans = new Map(partners.map((plan) => [plan.name, plan]));
  const moves = new Map(moved.map((move) => [move.deliveryId, move]));
  const back = acceptedReturns(returned);
  return (partner: string, delivery: TakenLead["delivery"]): SaleMoney => {
    if (delivery !== null && back.has(delivery.id)) return { billedMinor: 0, reservedMinor: 0 };
    const { priceMinor = 0, paidAt } = plans.get(partner) ?? {};
    if (delivery?.state === "uncertain") return { billedMinor: 0, reservedMinor: priceMinor };
    const move = delivery === null ? undefined : moves.get(delivery.id);
    const point: BillingPoint = move?.point ?? "accepted";
    const billedMinor = paidAt?.[point] ?? priceMinor;
    return { billedMinor, reservedMinor: move?.isClosed === true ? 0 : priceMinor - billedMinor };
  };
}

/** Those that were accepted, by delivery. */
export function acceptedReturns(returned: readonly ReturnedLead[]): ReadonlyMap<string, ReturnedLead> {
  return new Map(returned.flatMap((one) => (one.told === "accepted" ? [[one.deliveryId, one]] : [])));
}

/** Entered once and there twice, under one key as two; refused and there; a capture of PayPal's credited twice, or one that it never made. */
export function findCreditedTwice({ entered, captures, statements }: MoneyEvidence): string[] {
  const entries = entriesBy(statements);
  const byStaff = entered.flatMap(({ partner, mark, told, transactions }) => {
    const there = entries.by(partner, mark).length;
    if (new Set(transactions).size > 1) return [`${mark} was answered as ${[...new Set(transactions)]}`];
    return there > (told === "refused" ? 0 : 1)
      ? [`${mark} for ${partner} was told ${told} and is there × ${there}`]
      : [];
  });
  const names = new Set(captures.map(({ captureId }) => toCredit(captureId)));
  const byPayPal = captures.flatMap(({ partner, captureId }) => {
    const there = statements
      .flatMap((one) => one.entries)
      .filter(({ reason }) => reason === toCredit(captureId)).length;
    return there > 1 ? [`capture ${captureId} of ${partner} is credited × ${there}`] : [];
  });
  const madeUp = statements.flatMap(({ partner, entries: all }) =>
    all
      .filter(({ kind, reason }) => kind === "payment" && reason?.startsWith("PayPal ") && !names.has(reason))
      .map(({ reason }) => `${partner} was credited for ${reason}, which PayPal does not know`),
  );
  return [...byStaff, ...byPayPal, ...madeUp];
}

/** What was answered as booked, or what PayPal took, and is not on the partner's statement with its amount. */
export function findPaidLost({ entered, captures, statements }: MoneyEvidence): string[] {
  const entries = entriesBy(statements);
  const isThere = (partner: string, mark: string, amountMinor: number) =>
    entries.by(partner, mark).some((entry) => entry.amountMinor === amountMinor);
  const byStaff = entered
    .filter(({ told, partner, mark, amountMinor }) => told === "booked" && !isThere(partner, mark, amountMinor))
    .map(({ mark, partner, amountMinor }) => `${mark} of ${amountMinor} for ${partner} is not there`);
  const byPayPal = captures
    .filter(({ partner, captureId, amountMinor }) => !isThere(partner, toCredit(captureId), amountMinor))
    .map(({ partner, captureId, amountMinor }) => `capture ${captureId} of ${amountMinor} for ${partner} is not there`);
  return [...byStaff, ...byPayPal];
}

/** How the product says what a credit is for. */
const toCredit = (captureId: string): string => `PayPal ${captureId}`;

function entriesBy(statements: readonly PartnerStatement[]) {
  const byPartner = new Map(statements.map(({ partner, entries }) => [partner, entries]));
  return {
    by: (partner: string, mark: string): readonly StatementEntry[] =>
      (byPartner.get(partner) ?? []).filter(({ reason }) => reason?.startsWith(mark) === true),
  };
}

/**
 * Balance and reserved of each partner are what was paid in and given back, less what the leads that it took cost; and the
 * statement says the same, entry by entry.
 */
export function findBalanceWrong(evidence: MoneyEvidence, taken: readonly TakenLead[]): string[] {
  const { entered, captures, statements } = evidence;
  const moneyOf = billing(evidence);
  return statements.flatMap((statement) => {
    const { partner, balanceMinor, reservedMinor, openingMinor, closingMinor, entries } = statement;
    const sum = <T>(of: readonly T[], amountOf: (one: T) => number) =>
      of.reduce((total, one) => total + amountOf(one), 0);
    const own = <T extends { readonly partner: string }>(of: readonly T[]) =>
      of.filter((one) => one.partner === partner);
    const sales = own(taken).map(({ delivery }) => moneyOf(partner, delivery));
    const paidMinor =
      sum(own(entered), ({ told, amountMinor }) => (told === "booked" ? amountMinor : 0)) +
      sum(own(captures), ({ amountMinor, refundedMinor }) => amountMinor - refundedMinor);
    const dueMinor = paidMinor - sum(sales, ({ billedMinor }) => billedMinor);
    const promisedMinor = sum(sales, (sale) => sale.reservedMinor);
    const says = (what: string, given: number, due: number) =>
      given === due ? [] : [`${what} is ${given} instead of ${due}`];
    const wrong = [
      ...says("the balance", balanceMinor, dueMinor),
      ...says("what is reserved", reservedMinor, promisedMinor),
      ...says("the opening balance of its first day", openingMinor, 0),
      ...says("the closing balance of its statement", closingMinor, dueMinor),
      ...says(
        "the sum of its statement",
        sum(entries, ({ amountMinor }) => amountMinor),
        dueMinor,
      ),
    ];
    return wrong.length === 0 ? [] : [`${partner}: ${wrong.join(", ")}`];
  });
}

/**
 * Leads that a partner got although its money did not pay for them at that moment, by the partners' own record: whatever was
 * sent in by then counts as there, and of what was taken out only what had been answered by then.
 */
export function findOverdrawn({ partners, entered, captures }: MoneyEvidence, taken: readonly TakenLead[]): string[] {
  return partners.flatMap(({ name, creditMinor, priceMinor }) => {
    const inAndOut = [
      ...entered.flatMap(({ partner, told, amountMinor, sentAtMs, answeredAtMs }) =>
        partner === name && told !== "refused"
          ? [{ atMs: amountMinor > 0 ? sentAtMs : answeredAtMs, amountMinor }]
          : [],
      ),
      ...captures.flatMap(({ partner, amountMinor, approvedAtMs }) =>
        partner === name ? [{ atMs: approvedAtMs, amountMinor }] : [],
      ),
    ];
    const leads = taken.flatMap(({ partner, leadId, atMs }) =>
      partner === name ? [{ atMs: atMs ?? Number.POSITIVE_INFINITY, amountMinor: -priceMinor, leadId }] : [],
    );
    let leftMinor = creditMinor;
    const over: string[] = [];
    const steps: readonly { readonly atMs: number; readonly amountMinor: number; readonly leadId?: string }[] = [
      ...inAndOut,
      ...leads,
    ];
    // At the same millisecond what comes in counts first.
    for (const { amountMinor, leadId } of [...steps].sort((a, b) => a.atMs - b.atMs || b.amountMinor - a.amountMinor)) {
      leftMinor += amountMinor;
      if (leadId !== undefined && leftMinor < 0) {
        over.push(`${name} got ${leadId} and lacks ${-leftMinor} for it`);
        // Counted once, and not held against the leads after it.
        leftMinor += priceMinor;
      }
    }
    return over;
  });
}

/** What staff asked for and were never told, or were refused though nothing stood against it. */
export function findUnanswered({ entered, moved, returned }: MoneyEvidence): string[] {
  const entries = entered.filter(({ told }) => told === "nothing").map(({ mark }) => `${mark} was never answered`);
  const returns = returned.flatMap(({ deliveryId, told, failed }) => [
    ...(told === "nothing" ? [`the return of ${deliveryId} was never answered`] : []),
    ...failed.map((answer) => `the return of ${deliveryId} was answered ${answer}`),
  ]);
  return [
    ...entries,
    ...returns,
    ...moved.flatMap(({ deliveryId, failed }) => failed.map((what) => `sale ${deliveryId}, ${what}`)),
  ];
}
