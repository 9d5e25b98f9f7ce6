import { dayAt, dayMs, instantOf, minuteMs } from "./local-time.ts";

/**
 * When the clock of a time zone shows a time of day, such as 18:00. A time that a clock change skips moves forward by the gap;
 * one that comes twice counts once, the first time.
 */

/**
 * What is booked just before the time of a summary may be committed just after: so much later is it made, that it misses
 * nothing.
 */
const settledAfterMs = 30_000;

/** When the summary of a day at that time is due: the first that is yet to come. */
export function nextSummary(timeZone: string, timeOfDay: string, now: Date): Date {
  const settled = new Date(now.getTime() - settledAfterMs);
  return new Date(nextTime(timeZone, timeOfDay, settled).getTime() + settledAfterMs);
}

/** Until when a summary tells that is made now: the last time for which all is settled. */
export function summaryUntil(timeZone: string, timeOfDay: string, now: Date): Date {
  return lastTime(timeZone, timeOfDay, new Date(now.getTime() - settledAfterMs));
}

/** The first time after an instant. */
export function nextTime(timeZone: string, timeOfDay: string, after: Date): Date {
  return found(timesAround(timeZone, timeOfDay, after).find((time) => time > after));
}

/** The last time until an instant, that instant included. */
export function lastTime(timeZone: string, timeOfDay: string, until: Date): Date {
  return found(timesAround(timeZone, timeOfDay, until).findLast((time) => time <= until));
}

/** Those of some days before and after, in order: around a clock change the date on the clock may be one off. */
function timesAround(timeZone: string, timeOfDay: string, instant: Date): Date[] {
  const [hours = 0, minutes = 0] = timeOfDay.split(":").map(Number);
  const today = dayAt(timeZone, instant.getTime());
  return [-2, -1, 0, 1, 2].map((days) => {
    const wallMs = (today + days) * dayMs + (hours * 60 + minutes) * minuteMs;
    return new Date(instantOf(timeZone, wallMs, "first"));
  });
}

function found(time: Date | undefined): Date {
  if (time === undefined) throw new Error("Within two days every clock shows every time of day.");
  return time;
}
