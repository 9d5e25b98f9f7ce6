/**
 * What the trial sets up, in the trial's own words. The checker knows the system by this and by nothing else, so every rule
 * that it checks is written here as plain numbers and instants.
 */

/** How a partner may answer. `taken` says whether it has the lead then. */
export const behaviours = {
  good: { taken: true },
  rejected: { taken: false },
  error: { taken: false },
  busy: { taken: false },
  hang: { taken: false },
  late: { taken: true },
  cut: { taken: true },
  flood: { taken: true },
  redirect: { taken: false },
} as const;
export type Behaviour = keyof typeof behaviours;

export interface PartnerPlan {
  readonly name: string;
  readonly method: "json" | "email";
  readonly weight: number;
  readonly priceMinor: number;
  /** What is paid of the price up to each billing point, written out; absent: all of it when it accepts. */
  readonly paidAt?: PaidAt;
  readonly creditMinor: number;
  /** What it returns is offered to the next partner. */
  readonly returnsGoOn?: boolean;
  /** 0: no limit. */
  readonly dayLimit: number;
  /** How often it misbehaves: parts of one. The rest is good. */
  readonly mix: Partial<Record<Behaviour, number>>;
  readonly followRedirects?: boolean;
  /** How many leads it has to get, no more and no fewer, where that can be said. */
  readonly mustGet?: number;
  /** When requests may arrive, as instants in milliseconds; null: always. */
  open: readonly (readonly [fromMs: number, toMs: number])[] | null;
  readonly document: Readonly<Record<string, unknown>>;
}

export type PaidAt = Readonly<Record<BillingPoint, number>>;
export type BillingPoint = "accepted" | "qualified" | "converted";

export interface CampaignPlan {
  readonly name: string;
  readonly saleLimit: number;
  readonly share: number;
}

export const campaigns: readonly CampaignPlan[] = [
  { name: "exclusive", saleLimit: 1, share: 0.8 },
  { name: "shared", saleLimit: 2, share: 0.2 },
];

/**
 * Longest time from the decision to send to the partner's door on a machine that is very busy. Who ignores hours altogether sends
 * for much longer than that after a partner has closed.
 */
export const onTheWayMs = 10_000;

/** Partners that get leads only for what was paid in: it runs out, and comes back. */
export const prepaid = { byBank: "prepaid", byBankHolding: "prepaid-hold", byPayPal: "topped-up" } as const;

/** A partner that pays a part of the price at each billing point. */
export const inStages = "staged";

/**
 * Partners that give leads back: one whose returns are accepted at once, the lead going on to the next partner; one whose
 * returns staff decide, and the lead stays returned.
 */
export const returning = { atOnce: "returning", byStaff: "returning-slowly" } as const;

/** A made-up person for each number. */
export const emailOf = (number: number): string => `person.${number}@example.com`;

const minuteMs = 60_000;

/** Partners for `leads` leads that begin to flow at `startMs`: one for each kind of trouble, and some without. */
export function planPartners(leads: number, startMs: number): PartnerPlan[] {
  const plain = {
    method: "json",
    weight: 3,
    priceMinor: 1000,
    creditMinor: 100_000_000,
    dayLimit: 0,
    mix: {},
    open: null,
  } as const;
  const noon = noonZone(startMs);
  const closesAtMs = Math.ceil((startMs + 20_000) / minuteMs) * minuteMs;
  return [
    { ...plain, name: "plain", weight: 4, document: {} },
    {
      ...plain,
      name: "alerted",
      document: {
        contact: { email: "desk@alerted.test", phone: "+447700900123" },
        alerts: { leadReferredSms: true, leadReferredEmail: true },
      },
    },
    { ...plain, name: "capped", dayLimit: Math.ceil(leads / 40), document: { timeZone: noon.name } },
    {
      ...plain,
      name: "capped-hold",
      weight: 1,
      dayLimit: Math.ceil(leads / 100),
      document: { timeZone: noon.name, whenCapped: "hold", spreadSeconds: 0 },
    },
    { ...plain, name: "funded", creditMinor: 1000 * Math.ceil(leads / 40), document: {} },
    { ...plain, name: "rejecting", mix: { rejected: 0.5 }, document: {} },
    { ...plain, name: "failing", mix: { error: 0.25, busy: 0.15 }, document: {} },
    { ...plain, name: "hanging", mix: { hang: 0.15 }, document: {} },
    { ...plain, name: "late", mix: { late: 0.2 }, document: {} },
    { ...plain, name: "cutting", mix: { cut: 0.2 }, document: {} },
    { ...plain, name: "flooding", weight: 2, mix: { flood: 0.1 }, document: {} },
    { ...plain, name: "redirecting", weight: 2, followRedirects: true, mix: { redirect: 0.1 }, document: {} },
    {
      ...plain,
      name: "closing",
      open: [[0, closesAtMs]],
      document: { timeZone: noon.name, schedule: dayWindow("00:00", noon.clockOf(closesAtMs)), whenClosed: "next" },
    },
    {
      ...plain,
      name: "opening",
      weight: 1,
      open: [[closesAtMs, Number.POSITIVE_INFINITY]],
      document: {
        timeZone: noon.name,
        schedule: dayWindow(noon.clockOf(closesAtMs), "24:00"),
        whenClosed: "hold",
        spreadSeconds: 0,
      },
    },
    { ...plain, name: "mail", method: "email", weight: 1, document: {} },
    { ...plain, name: prepaid.byBank, priceMinor: 700, creditMinor: 0, document: {} },
    { ...plain, name: prepaid.byBankHolding, priceMinor: 650, creditMinor: 0, document: { whenUnfunded: "hold" } },
    { ...plain, name: prepaid.byPayPal, priceMinor: 900, creditMinor: 0, mix: { error: 0.1 }, document: {} },
    {
      ...plain,
      name: returning.atOnce,
      priceMinor: 1100,
      returnsGoOn: true,
      document: { returns: { decide: "auto", rerouteWithinHours: 24 } },
    },
    { ...plain, name: returning.byStaff, priceMinor: 1200, document: { returns: { decide: "staff" } } },
    {
      ...plain,
      name: inStages,
      priceMinor: 1001,
      paidAt: { accepted: 200, qualified: 467, converted: 1001 },
      document: {
        returns: { decide: "auto" },
        billing: { accepted: { percent: 20 }, qualified: { percent: 26.6667 }, converted: { percent: 53.3333 } },
      },
    },
  ];
}

/**
 * A zone whose clocks show noon or a little later, and never change: whenever the trial is run no day ends during it, and no hour
 * is skipped or doubled but where that is tried.
 */
function noonZone(startMs: number) {
  const hours = 12 - new Date(startMs).getUTCHours();
  return {
    // The names of these zones count hours behind, not ahead.
    name: hours === 0 ? "Etc/GMT" : `Etc/GMT${hours > 0 ? "-" : "+"}${Math.abs(hours)}`,
    clockOf: (atMs: number) => new Date(atMs + hours * 60 * minuteMs).toISOString().slice(11, 16),
  };
}

function dayWindow(from: string, to: string): Record<string, unknown> {
  return Object.fromEntries(["mon", "tue", "wed", "thu", "fri", "sat", "sun"].map((day) => [day, [{ from, to }]]));
}
