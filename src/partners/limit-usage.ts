import type { Selectable } from "kysely";
import type { LimitUsageRow } from "../db/tables.ts";
import { type Limits, type LimitWindow, windowEnd, windowStart } from "./limit-windows.ts";

/**
 * What has been used of a partner's limits, and the arithmetic on it. Every window is counted whether it is limited or
 * not, so that a limit set later counts what was already used. Pure: the caller holds the row's lock.
 */
export type LimitUsage = Selectable<LimitUsageRow>;

/** The usage of a partner that has been given nothing yet, partner-wide or in one campaign. */
export function unusedUsage(organisationId: string, partnerId: string, campaignId: string | null): LimitUsage {
  const start = new Date(0);
  return {
    organisationId,
    partnerId,
    campaignId,
    hourStart: start,
    hourLeads: 0,
    dayStart: start,
    dayLeads: 0,
    daySpendMinor: 0,
    weekStart: start,
    weekLeads: 0,
    weekSpendMinor: 0,
    monthStart: start,
    monthLeads: 0,
    monthSpendMinor: 0,
    totalLeads: 0,
  };
}

const countedWindows = ["hour", "day", "week", "month"] as const;
type CountedWindow = (typeof countedWindows)[number];
const spendWindows = ["day", "week", "month"] as const;

const spendLimitOf = { day: "spendDay", week: "spendWeek", month: "spendMonth" } as const;

export type ReachedLimit =
  | {
      readonly kind: "leads";
      readonly window: LimitWindow;
      readonly limit: number;
      readonly used: number;
      readonly until: Date | null;
    }
  | {
      readonly kind: "spend";
      readonly window: "day" | "week" | "month";
      readonly limitMinor: number;
      readonly usedMinor: number;
      readonly until: Date | null;
    };

/** Every limit that one more lead at this price would exceed, with the end of its window: null where none ends it. */
export function reachedLimits(
  usage: LimitUsage,
  limits: Limits,
  timeZone: string,
  now: Date,
  priceMinor: number,
): readonly ReachedLimit[] {
  const reached: ReachedLimit[] = [];
  for (const window of countedWindows) {
    const used = current(usage, window, timeZone, now).leads;
    if (limits[window] > 0 && used >= limits[window]) {
      reached.push({ kind: "leads", window, limit: limits[window], used, until: windowEnd(window, timeZone, now) });
    }
  }
  if (limits.total > 0 && usage.totalLeads >= limits.total) {
    reached.push({ kind: "leads", window: "total", limit: limits.total, used: usage.totalLeads, until: null });
  }
  for (const window of spendWindows) {
    const limitMinor = limits[spendLimitOf[window]];
    const usedMinor = current(usage, window, timeZone, now).spendMinor;
    if (limitMinor > 0 && usedMinor + priceMinor > limitMinor) {
      // A price above the limit itself can never be paid within it: waiting is no use.
      const until = priceMinor > limitMinor ? null : windowEnd(window, timeZone, now);
      reached.push({ kind: "spend", window, limitMinor, usedMinor, until });
    }
  }
  return reached;
}

/** The usage after one more lead at this price, taken at `now`. */
export function takePlace(usage: LimitUsage, timeZone: string, now: Date, priceMinor: number): LimitUsage {
  const next = { ...usage, totalLeads: usage.totalLeads + 1 };
  for (const window of countedWindows) {
    const { start, leads, spendMinor } = current(usage, window, timeZone, now);
    write(next, window, start, leads + 1, spendMinor + priceMinor);
  }
  return next;
}

/** The usage after a lead gave its place back: to the windows it was taken from, where they are still the current ones. */
export function givePlaceBack(usage: LimitUsage, timeZone: string, reservedAt: Date, priceMinor: number): LimitUsage {
  return giveBack(usage, timeZone, reservedAt, 1, priceMinor);
}

/** The same of money alone: the lead keeps its place, and costs less than was reserved. */
export function giveSpendBack(usage: LimitUsage, timeZone: string, reservedAt: Date, spendMinor: number): LimitUsage {
  return giveBack(usage, timeZone, reservedAt, 0, spendMinor);
}

function giveBack(usage: LimitUsage, timeZone: string, reservedAt: Date, leads: 0 | 1, spendMinor: number): LimitUsage {
  const next = { ...usage, totalLeads: Math.max(0, usage.totalLeads - leads) };
  for (const window of countedWindows) {
    const stored = read(usage, window);
    if (windowStart(window, timeZone, reservedAt).getTime() !== stored.start.getTime()) continue;
    write(next, window, stored.start, Math.max(0, stored.leads - leads), Math.max(0, stored.spendMinor - spendMinor));
  }
  return next;
}

interface Counted {
  readonly start: Date;
  readonly leads: number;
  readonly spendMinor: number;
}

/**
 * The count of the window that `now` is in. A stored window that begins later than that was written by a machine whose
 * clock is ahead: it stays the current one, or its count would be lost and the limit exceeded.
 */
function current(usage: LimitUsage, window: CountedWindow, timeZone: string, now: Date): Counted {
  const start = windowStart(window, timeZone, now);
  const stored = read(usage, window);
  return stored.start.getTime() >= start.getTime() ? stored : { start, leads: 0, spendMinor: 0 };
}

function read(usage: LimitUsage, window: CountedWindow): Counted {
  switch (window) {
    case "hour":
      return { start: usage.hourStart, leads: usage.hourLeads, spendMinor: 0 };
    case "day":
      return { start: usage.dayStart, leads: usage.dayLeads, spendMinor: usage.daySpendMinor };
    case "week":
      return { start: usage.weekStart, leads: usage.weekLeads, spendMinor: usage.weekSpendMinor };
    case "month":
      return { start: usage.monthStart, leads: usage.monthLeads, spendMinor: usage.monthSpendMinor };
  }
}

function write(usage: LimitUsage, window: CountedWindow, start: Date, leads: number, spendMinor: number): void {
  switch (window) {
    case "hour":
      Object.assign(usage, { hourStart: start, hourLeads: leads });
      break;
    case "day":
      Object.assign(usage, { dayStart: start, dayLeads: leads, daySpendMinor: spendMinor });
      break;
    case "week":
      Object.assign(usage, { weekStart: start, weekLeads: leads, weekSpendMinor: spendMinor });
      break;
    case "month":
      Object.assign(usage, { monthStart: start, monthLeads: leads, monthSpendMinor: spendMinor });
      break;
  }
}
