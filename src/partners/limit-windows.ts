import { z } from "zod";
import { clockChangeBetween, dayAt, dayMs, instantOf, offsetMsAt, weekdayOf } from "./local-time.ts";

/**
 * The calendar windows in which a partner's limits count, in the partner's time zone. Windows of one kind follow each
 * other without gap or overlap.
 *
 * Day, week (from Monday) and month begin at midnight: a doubled midnight is its first, a skipped one moves forward by
 * the gap, a date that the zone skipped has no window. An hour is an hour of the wall clock, and a clock change begins
 * a new one: the doubled hour is two windows, and none is longer than an hour.
 */

export const limitWindows = ["hour", "day", "week", "month", "total"] as const;
export type LimitWindow = (typeof limitWindows)[number];

const hourMs = 3_600_000;

interface Span {
  readonly startMs: number;
  /** Infinity for `total`. */
  readonly endMs: number;
}

/** The first instant of the window that holds an instant; for `total` it is 1970. */
export function windowStart(window: LimitWindow, timeZone: string, at: Date): Date {
  return new Date(windowAt(window, timeZone, at.getTime()).startMs);
}

/** The first instant after the window that holds an instant, where the next one begins; null for `total`. */
export function windowEnd(window: LimitWindow, timeZone: string, at: Date): Date | null {
  const { endMs } = windowAt(window, timeZone, at.getTime());
  return Number.isFinite(endMs) ? new Date(endMs) : null;
}

function windowAt(window: LimitWindow, timeZone: string, atMs: number): Span {
  if (window === "total") return { startMs: 0, endMs: Number.POSITIVE_INFINITY };
  return window === "hour" ? hourAt(timeZone, atMs) : periodAt(window, timeZone, atMs);
}

function hourAt(timeZone: string, atMs: number): Span {
  const offsetMs = offsetMsAt(timeZone, atMs);
  const startMs = Math.floor((atMs + offsetMs) / hourMs) * hourMs - offsetMs;
  const endMs = startMs + hourMs;
  const change = clockChangeBetween(timeZone, startMs, endMs);
  if (change === null) return { startMs, endMs };
  return atMs < change ? { startMs, endMs: change } : { startMs: change, endMs };
}

type Period = Exclude<LimitWindow, "hour" | "total">;

function periodAt(period: Period, timeZone: string, atMs: number): Span {
  let firstDay = firstDayOf(period, dayAt(timeZone, atMs));
  // Around a changed midnight the date on the clock may be one off from the window's.
  while (instantOf(timeZone, firstDay * dayMs, "first") > atMs) firstDay = firstDayOf(period, firstDay - 1);
  let nextDay = firstDayAfter(period, firstDay);
  while (instantOf(timeZone, nextDay * dayMs, "first") <= atMs) {
    firstDay = nextDay;
    nextDay = firstDayAfter(period, firstDay);
  }
  return {
    startMs: instantOf(timeZone, firstDay * dayMs, "first"),
    endMs: instantOf(timeZone, nextDay * dayMs, "first"),
  };
}

function firstDayOf(period: Period, day: number): number {
  if (period === "day") return day;
  if (period === "week") return day - weekdayOf(day);
  return day - new Date(day * dayMs).getUTCDate() + 1;
}

function firstDayAfter(period: Period, firstDay: number): number {
  if (period === "day") return firstDay + 1;
  if (period === "week") return firstDay + 7;
  const date = new Date(firstDay * dayMs);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1) / dayMs;
}

const limitSchema = z
  .int("must be a whole number")
  .min(0, "must not be negative; 0 means no limit")
  .default(0)
  .meta({ description: "0 means no limit" });

/** How many leads a partner takes, and for how much money (minor units), in each window. 0 means no limit. */
export const limitsSchema = z.strictObject({
  hour: limitSchema,
  day: limitSchema,
  week: limitSchema,
  month: limitSchema,
  total: limitSchema,
  spendDay: limitSchema,
  spendWeek: limitSchema,
  spendMonth: limitSchema,
});
export type Limits = z.infer<typeof limitsSchema>;

export interface LimitWarning {
  readonly field: keyof Limits;
  readonly message: string;
}

/** What fits into each window when only the limits of shorter windows count; Infinity where they set no bound. */
interface Reachable {
  readonly day: number;
  readonly week: number;
  readonly month: number;
}

function reachable(hourLimit: number, dayLimit: number, weekLimit: number): Reachable {
  const day = bound(hourLimit) * 24;
  const inDay = Math.min(bound(dayLimit), day);
  const inWeek = Math.min(bound(weekLimit), inDay * 7);
  return { day, week: inDay * 7, month: reachableInMonth(inDay, inWeek) };
}

const bound = (limit: number) => (limit === 0 ? Number.POSITIVE_INFINITY : limit);

/** The best month has 31 days; the weekday on which it begins decides how many weeks share it, five or six. */
function reachableInMonth(inDay: number, inWeek: number): number {
  let best = 0;
  for (let daysOfFirstWeek = 1; daysOfFirstWeek <= 7; daysOfFirstWeek++) {
    let sum = 0;
    for (let left = 31, days = daysOfFirstWeek; left > 0; left -= days, days = Math.min(7, left)) {
      sum += Math.min(inWeek, inDay * days);
    }
    best = Math.max(best, sum);
  }
  return best;
}

/** How many leads can be taken in a month under the limits per hour, day and week; Infinity where none of them is set. */
export function reachableMonth(limits: Pick<Limits, "hour" | "day" | "week">): number {
  return reachable(limits.hour, limits.day, limits.week).month;
}

/**
 * Names each limit that the others never let be reached, and the number that can be reached instead: a longer window's
 * which the shorter ones cannot fill, and a shorter one's which is above a longer one's. Such limits are kept as they
 * are. A day counts as 24 hours, a month as at most 31 days.
 */
export function limitWarnings(limits: Limits): LimitWarning[] {
  const leads = reachable(limits.hour, limits.day, limits.week);
  const spend = reachable(0, limits.spendDay, limits.spendWeek);
  return [
    ...fromShorter(limits, "day", leads.day),
    ...fromShorter(limits, "week", leads.week),
    ...fromShorter(limits, "month", leads.month),
    ...fromShorter(limits, "spendWeek", spend.week),
    ...fromShorter(limits, "spendMonth", spend.month),
    ...fromLonger(limits, ["hour", "day", "week", "month", "total"]),
    ...fromLonger(limits, ["spendDay", "spendWeek", "spendMonth"]),
  ];
}

function fromShorter(limits: Limits, field: keyof Limits, most: number): LimitWarning[] {
  return limits[field] > most ? [unreachable(limits, field, most, "the limits of shorter windows let")] : [];
}

function fromLonger(limits: Limits, fields: readonly (keyof Limits)[]): LimitWarning[] {
  return fields.flatMap((field, position) => {
    const smaller = fields.slice(position + 1).filter((other) => limits[other] > 0 && limits[other] < limits[field]);
    const [least] = smaller.sort((a, b) => limits[a] - limits[b]);
    return least === undefined ? [] : [unreachable(limits, field, limits[least], `the ${least} limit lets`)];
  });
}

function unreachable(limits: Limits, field: keyof Limits, most: number, because: string): LimitWarning {
  const unit = field.startsWith("spend") ? " minor units" : "";
  return { field, message: `${limits[field]}${unit} can never be reached: ${because} at most ${most}${unit} through.` };
}
