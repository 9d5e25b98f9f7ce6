import { IANAZone } from "luxon";

/**
 * Wall-clock times of a time zone and the instants they stand for, by the design's rule: luxon answers otherwise at
 * doubled and skipped times.
 *
 * A wall time is what the clock in the zone shows, as the milliseconds since 1970-01-01 00:00 on that same clock; a day
 * is the number of whole days in it.
 */

export const dayMs = 86_400_000;
export const minuteMs = 60_000;

/** The offset of a zone during one day of UTC. No zone has changed its offset twice within four days since 1970. */
interface OffsetOfDay {
  readonly before: number;
  readonly after: number;
  /** The instant from which `after` holds; Infinity where the offset stays. */
  readonly changesAt: number;
}

/** About two years of days for each zone in use: 100 KB a zone. */
const rememberedDays = 800;
const rememberedZones = 1_000;
const zones = new Map<string, { readonly zone: IANAZone; readonly days: Map<number, OffsetOfDay> }>();

function rememberedZone(timeZone: string) {
  let known = zones.get(timeZone);
  if (known === undefined) {
    const zone = new IANAZone(timeZone);
    if (!zone.isValid) {
      throw new Error(`"${timeZone}" is not a time zone: only store IANA names that were checked when they came in.`);
    }
    if (zones.size >= rememberedZones) zones.clear();
    known = { zone, days: new Map() };
    zones.set(timeZone, known);
  }
  return known;
}

/** Asking Intl for an offset takes several microseconds, which is too long for every lead: hence the memory. */
function offsetOfDay(timeZone: string, day: number): OffsetOfDay {
  const { zone, days } = rememberedZone(timeZone);
  let offset = days.get(day);
  if (offset === undefined) {
    if (days.size >= rememberedDays) days.clear();
    offset = readOffsetOfDay(zone, day);
    days.set(day, offset);
  }
  return offset;
}

function readOffsetOfDay(zone: IANAZone, day: number): OffsetOfDay {
  const offsetAt = (instantMs: number) => Math.round(zone.offset(instantMs) * minuteMs);
  let from = day * dayMs;
  let to = from + dayMs;
  const before = offsetAt(from);
  const after = offsetAt(to);
  if (before === after) return { before, after, changesAt: Number.POSITIVE_INFINITY };
  while (to - from > 1) {
    const middle = Math.floor((from + to) / 2);
    if (offsetAt(middle) === before) from = middle;
    else to = middle;
  }
  return { before, after, changesAt: to };
}

/** How far the clocks of a zone are ahead of UTC at an instant, in milliseconds. */
export function offsetMsAt(timeZone: string, instantMs: number): number {
  const offset = offsetOfDay(timeZone, Math.floor(instantMs / dayMs));
  return instantMs < offset.changesAt ? offset.before : offset.after;
}

/** The clock change later than one instant and earlier than another, which are at most a day apart; null if none. */
export function clockChangeBetween(timeZone: string, afterMs: number, beforeMs: number): number | null {
  for (const instantMs of [afterMs, beforeMs]) {
    const { changesAt } = offsetOfDay(timeZone, Math.floor(instantMs / dayMs));
    if (changesAt > afterMs && changesAt < beforeMs) return changesAt;
  }
  return null;
}

/**
 * The instant at which the clocks of a zone show a wall time: of a doubled one the first or the second, as asked. One
 * that is skipped moves forward by the gap.
 */
export function instantOf(timeZone: string, wallMs: number, ofDoubled: "first" | "second"): number {
  const before = offsetMsAt(timeZone, wallMs - dayMs);
  const after = offsetMsAt(timeZone, wallMs + dayMs);
  const earlier = wallMs - before;
  if (before === after) return earlier;
  const later = wallMs - after;
  const showsEarlier = offsetMsAt(timeZone, earlier) === before;
  const showsLater = offsetMsAt(timeZone, later) === after;
  if (showsLater && (ofDoubled === "second" || !showsEarlier)) return later;
  return earlier;
}

/** Monday is 0. */
export function weekdayOf(day: number): number {
  const thursday = 3; // 1970-01-01
  return (((day + thursday) % 7) + 7) % 7;
}

/** The date on the clock at an instant. */
export function dayAt(timeZone: string, instantMs: number): number {
  return Math.floor((instantMs + offsetMsAt(timeZone, instantMs)) / dayMs);
}
