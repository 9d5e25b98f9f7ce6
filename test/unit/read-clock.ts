/**
 * What the rules of the calendar are checked against: the clock of a zone read minute by minute from Intl, and the
 * design's rule for doubled and skipped times applied to what was read. Shares nothing with the code under test.
 */

export const minuteMs = 60_000;
export const dayMs = 86_400_000;

/** Clock changes of every kind, by the UTC date on or near which they happen. */
export const clockChanges = [
  ["Europe/London", "2026-03-29"],
  ["Europe/London", "2026-10-25"],
  ["America/New_York", "2026-03-08"],
  ["America/New_York", "2026-11-01"],
  ["Australia/Lord_Howe", "2026-10-03"], // half an hour forward
  ["Australia/Lord_Howe", "2026-04-04"], // half an hour back
  ["America/Sao_Paulo", "2018-11-04"], // midnight is skipped
  ["America/Sao_Paulo", "2018-02-18"], // the hour before midnight is doubled
  ["America/Havana", "2026-11-01"], // midnight is doubled
  ["America/St_Johns", "2009-11-01"], // 00:01 goes back to 23:01 on the date before
  ["Africa/Casablanca", "2026-02-15"],
  ["Pacific/Apia", "2011-12-30"], // this date is skipped
  ["Pacific/Kwajalein", "1993-08-21"], // and this
  ["Asia/Kathmandu", "2026-06-01"], // +05:45, no change
] as const;

export interface Clock {
  readonly minutes: readonly number[];
  /** What the clock shows in each of those minutes, as if it were UTC. */
  readonly shown: readonly number[];
  readonly when: ReadonlyMap<number, readonly number[]>;
  readonly dates: readonly number[];
  /** The minutes around the change, whose answer depends on nothing outside. */
  readonly middle: readonly number[];
}

const clocks = new Map<string, Clock>();

/** Nine days of a clock, of which the change is in the fifth. */
export function readClock(zone: string, date: string): Clock {
  const key = `${zone} ${date}`;
  const clock = clocks.get(key) ?? readNineDays(zone, Date.parse(date));
  clocks.set(key, clock);
  return clock;
}

function readNineDays(zone: string, aroundMs: number): Clock {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    calendar: "gregory",
    hourCycle: "h23",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
  });
  const minutesOfDay = 24 * 60;
  const minutes = Array.from({ length: 9 * minutesOfDay }, (_, index) => aroundMs - 4 * dayMs + index * minuteMs);
  const shown = minutes.map((minute) => {
    const [month, day, year, hour, ofHour] = format.format(minute).split(/\D+/).map(Number);
    return Date.UTC(year ?? 0, (month ?? 0) - 1, day, hour, ofHour);
  });
  const when = new Map<number, number[]>();
  shown.forEach((wall, index) => {
    const instants = when.get(wall) ?? [];
    instants.push(minutes[index] ?? 0);
    when.set(wall, instants);
  });
  const dates = [...new Set(shown.map((wall) => Math.floor(wall / dayMs)))].sort((a, b) => a - b);
  return { minutes, shown, when, dates, middle: minutes.slice(3 * minutesOfDay, 6 * minutesOfDay) };
}

export function instantByTheRule(clock: Clock, wall: number, ofDoubled: "first" | "second"): number {
  const instants = clock.when.get(wall);
  if (instants !== undefined) return (ofDoubled === "first" ? instants.at(0) : instants.at(-1)) ?? 0;
  const afterGap = clock.shown.findIndex((later, index) => later > wall && (clock.shown[index - 1] ?? later) < wall);
  const gap = (clock.shown[afterGap] ?? 0) - (clock.shown[afterGap - 1] ?? 0) - minuteMs;
  return clock.when.get(wall + gap)?.at(0) ?? 0;
}
