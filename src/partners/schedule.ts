import { z } from "zod";
import { dayAt, dayMs, instantOf, minuteMs, weekdayOf } from "./local-time.ts";

/** When a partner may be reached: windows of wall-clock time in the partner's zone (design, "The schedule is kept"). */

export const weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

export const timeOfDay = /^([01]\d|2[0-3]):[0-5]\d$/;
const endTime = /^(([01]\d|2[0-3]):[0-5]\d|24:00)$/;

const windowSchema = z
  .strictObject({
    from: z.string().regex(timeOfDay, "must be a time of day from 00:00 to 23:59, such as 09:00"),
    to: z.string().regex(endTime, "must be a time of day from 00:00 to 24:00, such as 17:30"),
  })
  .refine((window) => window.from !== window.to, {
    path: ["to"],
    error: "must differ from the start; the whole day is 00:00 to 24:00",
  });

const windowsSchema = z.array(windowSchema).max(48, "must hold at most 48 windows").optional();

const closedDateSchema = z
  .string()
  .refine(
    (text) => /^\d{4}-\d{2}-\d{2}$/.test(text) && dayOfDate(text) !== null,
    "must be a date that exists, as in 2026-12-25",
  );

/**
 * A schedule as the API takes it: windows for each weekday, and dates on which none begins. A window may end on the
 * next date; windows may touch and overlap. A schedule without a window on any weekday is open always, save on its
 * closed dates.
 */
export const scheduleSchema = z.strictObject(
  {
    mon: windowsSchema,
    tue: windowsSchema,
    wed: windowsSchema,
    thu: windowsSchema,
    fri: windowsSchema,
    sat: windowsSchema,
    sun: windowsSchema,
    closedDates: z.array(closedDateSchema).max(1_000, "must hold at most 1000 dates").optional(),
  },
  {
    error: (issue) =>
      issue.code === "unrecognized_keys"
        ? `has no ${issue.keys.join(", ")}: the names are ${weekdays.join(", ")} and closedDates`
        : undefined,
  },
);
export type Schedule = z.infer<typeof scheduleSchema>;

interface Window {
  readonly fromMs: number;
  /** Beyond 24 hours where the window ends on the next date. */
  readonly toMs: number;
}

interface CompiledSchedule {
  readonly windows: readonly (readonly Window[])[];
  readonly closedDays: ReadonlySet<number>;
  readonly alwaysOpen: boolean;
}

interface Opening {
  readonly startMs: number;
  readonly endMs: number;
}

const compiledSchedules = new WeakMap<Schedule, CompiledSchedule>();

function compile(schedule: Schedule): CompiledSchedule {
  let compiled = compiledSchedules.get(schedule);
  if (compiled === undefined) {
    const written = weekdays.map((weekday) => (schedule[weekday] ?? []).map(readWindow));
    const wholeDay = [{ fromMs: 0, toMs: dayMs }];
    const windows = written.some((ofWeekday) => ofWeekday.length > 0) ? written : weekdays.map(() => wholeDay);
    const closedDays = new Set((schedule.closedDates ?? []).map((text) => dayOfDate(text) ?? Number.NaN));
    compiled = { windows, closedDays, alwaysOpen: closedDays.size === 0 && coversTheWeek(windows) };
    compiledSchedules.set(schedule, compiled);
  }
  return compiled;
}

function readWindow(window: { readonly from: string; readonly to: string }): Window {
  const fromMs = timeOfDayMs(window.from);
  const toMs = timeOfDayMs(window.to);
  return { fromMs, toMs: toMs <= fromMs ? toMs + dayMs : toMs };
}

function timeOfDayMs(text: string): number {
  return (Number(text.slice(0, 2)) * 60 + Number(text.slice(3, 5))) * minuteMs;
}

/** The day that a date `YYYY-MM-DD` names; null where the calendar has no such date. */
function dayOfDate(text: string): number | null {
  const instantMs = Date.parse(`${text}T00:00:00Z`);
  if (Number.isNaN(instantMs) || new Date(instantMs).toISOString().slice(0, 10) !== text) return null;
  return instantMs / dayMs;
}

function coversTheWeek(windows: readonly (readonly Window[])[]): boolean {
  const inOrder = windows
    .flatMap((ofWeekday, weekday) =>
      ofWeekday.map((window) => ({ startMs: weekday * dayMs + window.fromMs, endMs: weekday * dayMs + window.toMs })),
    )
    .sort((a, b) => a.startMs - b.startMs);
  // What Sunday leaves over falls on Monday.
  let coveredMs = Math.max(0, ...inOrder.map((window) => window.endMs - 7 * dayMs));
  for (const window of inOrder) {
    if (window.startMs > coveredMs) return false;
    coveredMs = Math.max(coveredMs, window.endMs);
  }
  return coveredMs >= 7 * dayMs;
}

function openingsOfDay(schedule: CompiledSchedule, timeZone: string, day: number): Opening[] {
  const windows = schedule.windows[weekdayOf(day)] ?? [];
  if (windows.length === 0 || schedule.closedDays.has(day) || isSkipped(timeZone, day)) return [];
  return windows.map((window) => ({
    startMs: instantOf(timeZone, day * dayMs + window.fromMs, "first"),
    endMs: instantOf(timeZone, day * dayMs + window.toMs, "second"),
  }));
}

/** A zone that moves across the date line has no 30 December 2011 (Apia) or no 21 August 1993 (Kwajalein). */
function isSkipped(timeZone: string, day: number): boolean {
  return instantOf(timeZone, day * dayMs, "first") === instantOf(timeZone, (day + 1) * dayMs, "first");
}

/** The openings that begin on a run of days, in order, those that touch or overlap made one. */
function openingsOfDays(schedule: CompiledSchedule, timeZone: string, firstDay: number, lastDay: number): Opening[] {
  const openings: Opening[] = [];
  for (let day = firstDay; day <= lastDay; day++) openings.push(...openingsOfDay(schedule, timeZone, day));
  // Skipped times can leave a start behind its end (such a window is empty) or behind the start of a later window.
  const inOrder = openings.filter((opening) => opening.startMs < opening.endMs).sort((a, b) => a.startMs - b.startMs);
  const merged: Opening[] = [];
  for (const opening of inOrder) {
    const last = merged.at(-1);
    if (last === undefined || opening.startMs > last.endMs) merged.push(opening);
    else merged[merged.length - 1] = { startMs: last.startMs, endMs: Math.max(last.endMs, opening.endMs) };
  }
  return merged;
}

/**
 * Windows that may hold an instant begin at most two days before its date (the night before, and a date may be skipped
 * in between) or on the date after (whose midnight came twice).
 */
const daysBack = 2;
const daysAhead = 1;

/** Whether a partner with this schedule may be reached at this instant. No schedule (null) is always open. */
export function isOpen(schedule: Schedule | null | undefined, timeZone: string, at: Date): boolean {
  if (schedule === null || schedule === undefined) return true;
  const compiled = compile(schedule);
  if (compiled.alwaysOpen) return true;
  const atMs = at.getTime();
  const today = dayAt(timeZone, atMs);
  for (let day = today - daysBack; day <= today + daysAhead; day++) {
    const openings = openingsOfDay(compiled, timeZone, day);
    if (openings.some((opening) => opening.startMs <= atMs && atMs < opening.endMs)) return true;
  }
  return false;
}

export type OpeningAt =
  | { readonly open: true; readonly until: Date | null }
  | { readonly open: false; readonly opensAt: Date | null };

/** A week holds most answers; 400 days hold a year's closed dates. */
const horizonsDays = [8, 400] as const;
const farthestDays = 400;

/**
 * Where an instant lies in a schedule: in an opening, and when that ends (null: not within 400 days), or outside, and
 * when the next begins (null: not within 400 days).
 */
export function openingAt(schedule: Schedule | null | undefined, timeZone: string, at: Date): OpeningAt {
  if (schedule === null || schedule === undefined) return { open: true, until: null };
  const compiled = compile(schedule);
  if (compiled.alwaysOpen) return { open: true, until: null };
  const atMs = at.getTime();
  const today = dayAt(timeZone, atMs);
  let open = false;
  for (const horizonDays of horizonsDays) {
    const lastDay = today + horizonDays;
    const openings = openingsOfDays(compiled, timeZone, today - daysBack, lastDay);
    const opening = openings.find((candidate) => candidate.endMs > atMs);
    open = opening !== undefined && opening.startMs <= atMs;
    // What ends or begins before the last midnight that was looked at cannot be changed by a later day.
    const known = instantOf(timeZone, (lastDay + 1) * dayMs, "first");
    if (opening === undefined) continue;
    if (!open && opening.startMs < known) return { open: false, opensAt: new Date(opening.startMs) };
    if (open && opening.endMs < known) return { open: true, until: new Date(opening.endMs) };
  }
  return open ? { open: true, until: null } : { open: false, opensAt: null };
}

/**
 * The instant by which a partner has been open for so long, counted from `from`. Hours that do not come within 400 days
 * are not waited for: then it is 400 days later.
 */
export function afterOpenTime(schedule: Schedule | null, timeZone: string, from: Date, openMs: number): Date {
  const compiled = schedule === null ? null : compile(schedule);
  if (compiled === null || compiled.alwaysOpen) return new Date(from.getTime() + openMs);
  const fromMs = from.getTime();
  const farthestMs = fromMs + farthestDays * dayMs;
  const today = dayAt(timeZone, fromMs);
  for (const horizonDays of horizonsDays) {
    const lastDay = today + horizonDays;
    const reachedMs = reachOpenTime(openingsOfDays(compiled, timeZone, today - daysBack, lastDay), fromMs, openMs);
    // As in openingAt: what lies before the last midnight that was looked at cannot be changed by a later day.
    const known = instantOf(timeZone, (lastDay + 1) * dayMs, "first");
    if (reachedMs !== null && reachedMs <= known) return new Date(Math.min(reachedMs, farthestMs));
  }
  return new Date(farthestMs);
}

/** When openings in order, from an instant on, add up to so long; null where they do not. */
function reachOpenTime(openings: readonly Opening[], fromMs: number, openMs: number): number | null {
  let leftMs = openMs;
  for (const { startMs, endMs } of openings) {
    const beginsMs = Math.max(startMs, fromMs);
    if (endMs - beginsMs >= leftMs) return beginsMs + leftMs;
    leftMs -= Math.max(0, endMs - beginsMs);
  }
  return null;
}
