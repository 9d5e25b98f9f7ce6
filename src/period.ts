import { z } from "zod";
import { dayAt, dayMs, instantOf } from "./partners/local-time.ts";

/** A date without a time, as a calendar shows it. */
export const dateSchema = z.iso
  .date("must be a date such as 2026-03-31")
  .refine((date) => /^20\d\d-/.test(date), "must lie between 2000 and 2099");

/** Whole days of a time zone, both ends included, and the instants between which they lie. */
export interface Period {
  readonly from: string;
  readonly to: string;
  readonly startsAt: Date;
  /** The first instant that is not in it. */
  readonly endsAt: Date;
}

/** The days from one date to another in a time zone; null where they are the wrong way round. */
export function periodOf(timeZone: string, from: string, to: string): Period | null {
  if (to < from) return null;
  return { from, to, startsAt: midnight(timeZone, dayOf(from)), endsAt: midnight(timeZone, dayOf(to) + 1) };
}

/** The date that a calendar in the zone shows at an instant. */
export function dateAt(timeZone: string, instant: Date): string {
  return dateOf(dayAt(timeZone, instant.getTime()));
}

export function addDays(date: string, days: number): string {
  return dateOf(dayOf(date) + days);
}

/** The dates that were asked for; where one is missing, from the first of the month on, or until today. */
export function datesAskedFor(
  asked: { readonly from?: string | undefined; readonly to?: string | undefined },
  timeZone: string,
  now: Date,
): { readonly from: string; readonly to: string } {
  const to = asked.to ?? dateAt(timeZone, now);
  return { from: asked.from ?? `${to.slice(0, 8)}01`, to };
}

function midnight(timeZone: string, day: number): Date {
  return new Date(instantOf(timeZone, day * dayMs, "first"));
}

function dayOf(date: string): number {
  return Date.parse(`${date}T00:00:00Z`) / dayMs;
}

function dateOf(day: number): string {
  return new Date(day * dayMs).toISOString().slice(0, 10);
}
