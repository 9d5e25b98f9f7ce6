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
  readonly creditMinor: number;
  /** 0: no limit. */
  readonly dayLimit: number;
  /** How often it misbehaves: parts of one. The rest is good. */
  readonly mix: Partial<Record<Behaviour, number>>;
  readonly followRedirects?: boolean;
  /** When requests may arrive, as instants in milliseconds; null: always. */
  open: readonly (readonly [fromMs: number, toMs: number])[] | null;
  readonly document: Readonly<Record<string, unknown>>;
}

export interface CampaignPlan {
  readonly name: string;
  readonly saleLimit: number;
  readonly share: number;
}

export const campaigns: readonly CampaignPlan[] = [
  { name: "exclusive", saleLimit: 1, share: 0.8 },
  { name: "shared", saleLimit: 2, share: 0.2 },
];

/** Longest time a request needs from the decision to send it to the partner's door, on a busy machine. */
export const onTheWayMs = 2_000;

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
  // A zone whose clock is near noon, so that no day ends during the trial.
  const hours = 12 - new Date(startMs).getUTCHours();
  const noonZone = hours === 0 ? "Etc/GMT" : `Etc/GMT${hours > 0 ? "-" : "+"}${Math.abs(hours)}`;
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
    { ...plain, name: "capped", dayLimit: Math.ceil(leads / 40), document: { timeZone: noonZone } },
    {
      ...plain,
      name: "capped-hold",
      weight: 1,
      dayLimit: Math.ceil(leads / 100),
      document: { timeZone: noonZone, whenCapped: "hold", spreadSeconds: 0 },
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
      document: { timeZone: "Asia/Kolkata", schedule: dayWindow("00:00", clockOf(closesAtMs)), whenClosed: "next" },
    },
    {
      ...plain,
      name: "opening",
      weight: 1,
      open: [[closesAtMs, Number.POSITIVE_INFINITY]],
      document: {
        timeZone: "Asia/Kolkata",
        schedule: dayWindow(clockOf(closesAtMs), "24:00"),
        whenClosed: "hold",
        spreadSeconds: 0,
      },
    },
    { ...plain, name: "mail", method: "email", weight: 1, document: {} },
  ];
}

/** Kolkata is five and a half hours ahead of UTC all year round. */
const kolkataAheadMs = 330 * minuteMs;

/**
 * The trial must not run across midnight in Kolkata (18:30 UTC): windows that are written as times of a day would then mean
 * another day's.
 */
export function mustWait(startMs: number): number {
  const dayMs = 1440 * minuteMs;
  const sinceMidnightMs = (startMs + kolkataAheadMs) % dayMs;
  if (sinceMidnightMs < 2 * minuteMs) return 2 * minuteMs - sinceMidnightMs;
  const leftMs = dayMs - sinceMidnightMs;
  return leftMs < 12 * minuteMs ? leftMs + 2 * minuteMs : 0;
}

function clockOf(atMs: number): string {
  return new Date(atMs + kolkataAheadMs).toISOString().slice(11, 16);
}

function dayWindow(from: string, to: string): Record<string, unknown> {
  return Object.fromEntries(["mon", "tue", "wed", "thu", "fri", "sat", "sun"].map((day) => [day, [{ from, to }]]));
}
