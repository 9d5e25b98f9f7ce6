import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  type Limits,
  type LimitWindow,
  limitsSchema,
  limitWarnings,
  limitWindows,
  reachableMonth,
  windowEnd,
  windowStart,
} from "../../src/partners/limit-windows.ts";
import { clockChanges, dayMs, instantByTheRule, readClock } from "./read-clock.ts";

const hourMs = 3_600_000;

describe("limits count in calendar windows of the partner's zone", () => {
  const window = (kind: LimitWindow, zone: string, at: string) => [
    windowStart(kind, zone, new Date(at)).toISOString(),
    windowEnd(kind, zone, new Date(at))?.toISOString() ?? null,
  ];

  test("an hour is an hour of the wall clock, also where zones are off by 30 or 45 minutes", () => {
    expect(window("hour", "Asia/Kathmandu", "2026-06-01T12:20:00Z")).toEqual([
      "2026-06-01T12:15:00.000Z",
      "2026-06-01T13:15:00.000Z",
    ]);
    expect(window("hour", "Asia/Kolkata", "2026-06-01T12:20:00Z")).toEqual([
      "2026-06-01T11:30:00.000Z",
      "2026-06-01T12:30:00.000Z",
    ]);
  });

  test("a day goes from midnight to midnight, 23 or 25 hours where the clock changes", () => {
    expect(window("day", "Europe/London", "2026-06-01T12:00:00Z")).toEqual([
      "2026-05-31T23:00:00.000Z",
      "2026-06-01T23:00:00.000Z",
    ]);
    expect(window("day", "Europe/London", "2026-03-29T12:00:00Z")).toEqual([
      "2026-03-29T00:00:00.000Z",
      "2026-03-29T23:00:00.000Z",
    ]);
    expect(window("day", "Europe/London", "2026-10-25T12:00:00Z")).toEqual([
      "2026-10-24T23:00:00.000Z",
      "2026-10-26T00:00:00.000Z",
    ]);
  });

  test("a week begins on Monday", () => {
    expect(window("week", "America/New_York", "2026-03-08T23:00:00Z")).toEqual([
      "2026-03-02T05:00:00.000Z",
      "2026-03-09T04:00:00.000Z",
    ]);
    expect(window("week", "America/New_York", "2026-03-09T04:00:00Z")[0]).toBe("2026-03-09T04:00:00.000Z");
  });

  test("a month begins on its first, in leap years and over the turn of the year", () => {
    expect(window("month", "UTC", "2028-02-29T23:59:59.999Z")).toEqual([
      "2028-02-01T00:00:00.000Z",
      "2028-03-01T00:00:00.000Z",
    ]);
    expect(window("month", "Asia/Tokyo", "2026-12-31T15:00:00Z")).toEqual([
      "2026-12-31T15:00:00.000Z",
      "2027-01-31T15:00:00.000Z",
    ]);
  });

  test("the total never ends", () => {
    expect(window("total", "Asia/Tokyo", "2026-12-31T15:00:00Z")).toEqual(["1970-01-01T00:00:00.000Z", null]);
  });

  test("the hour that comes twice is two windows", () => {
    expect(window("hour", "Europe/London", "2026-10-25T00:30:00Z")).toEqual([
      "2026-10-25T00:00:00.000Z",
      "2026-10-25T01:00:00.000Z",
    ]);
    expect(window("hour", "Europe/London", "2026-10-25T01:30:00Z")).toEqual([
      "2026-10-25T01:00:00.000Z",
      "2026-10-25T02:00:00.000Z",
    ]);
  });

  test("a clock change of half an hour begins a new hour", () => {
    expect(window("hour", "Australia/Lord_Howe", "2026-10-03T15:45:00Z")).toEqual([
      "2026-10-03T15:30:00.000Z", // 02:30, where 02:00 would have been
      "2026-10-03T16:00:00.000Z",
    ]);
  });

  test("a skipped midnight moves forward by the gap", () => {
    expect(window("day", "America/Sao_Paulo", "2018-11-04T12:00:00Z")[0]).toBe("2018-11-04T03:00:00.000Z");
  });

  test("a midnight inside a gap moves forward by the gap, and the minutes before it belong to the day before", () => {
    // Toronto, 1919: from 23:30 on 30 March to 00:30 on 31 March, which begins at 01:00.
    expect(window("day", "America/Toronto", "1919-03-31T04:45:00Z")[1]).toBe("1919-03-31T05:00:00.000Z");
    expect(window("day", "America/Toronto", "1919-03-31T05:00:00Z")[0]).toBe("1919-03-31T05:00:00.000Z");
  });

  test("a doubled midnight is its first", () => {
    expect(window("day", "America/Havana", "2026-11-01T12:00:00Z")[0]).toBe("2026-11-01T04:00:00.000Z");
    // The clock of St. John's shows 23:30 of 31 October again while 1 November has begun.
    expect(window("day", "America/St_Johns", "2009-11-01T03:00:00Z")[0]).toBe("2009-11-01T02:30:00.000Z");
    expect(window("month", "America/St_Johns", "2009-11-01T03:00:00Z")[0]).toBe("2009-11-01T02:30:00.000Z");
  });

  test("a date that the zone skipped has no window", () => {
    expect(window("day", "Pacific/Apia", "2011-12-30T09:00:00Z")).toEqual([
      "2011-12-29T10:00:00.000Z",
      "2011-12-30T10:00:00.000Z",
    ]);
    expect(window("day", "Pacific/Apia", "2011-12-30T10:00:00Z")[1]).toBe("2011-12-31T10:00:00.000Z");
  });

  test.each(clockChanges)("days around the clock change in %s of %s are as the rule says", (zone, date) => {
    const clock = readClock(zone, date);
    const starts = clock.dates.slice(1).map((day) => instantByTheRule(clock, day * dayMs, "first"));
    for (const minute of clock.middle) {
      const expected = [starts.findLast((start) => start <= minute), starts.find((start) => start > minute)];
      const found = [windowStart("day", zone, new Date(minute)), windowEnd("day", zone, new Date(minute))];
      if (found[0]?.getTime() !== expected[0] || found[1]?.getTime() !== expected[1]) {
        expect({ minute, found }).toEqual({ minute, found: expected.map((instant) => new Date(instant ?? 0)) });
      }
    }
  });

  test("every instant in every zone is in exactly one window of each kind", () => {
    const zones = Intl.supportedValuesOf("timeZone");
    const instant = fc.integer({ min: Date.UTC(1972, 0, 2), max: Date.UTC(2039, 0, 1) });
    fc.assert(
      fc.property(fc.constantFrom(...zones), instant, (zone, at) => expectTiling(zone, at)),
      { numRuns: 150 },
    );
  });

  test.each(clockChanges)(
    "around the clock change in %s of %s every instant is in exactly one window",
    (zone, date) => {
      const { middle } = readClock(zone, date);
      fc.assert(
        fc.property(fc.constantFrom(...middle), fc.nat(59_999), (minute, ms) => expectTiling(zone, minute + ms)),
        { numRuns: 60 },
      );
    },
  );

  function expectTiling(zone: string, atMs: number) {
    for (const kind of limitWindows.filter((limitWindow) => limitWindow !== "total")) {
      const start = windowStart(kind, zone, new Date(atMs)).getTime();
      const end = windowEnd(kind, zone, new Date(atMs))?.getTime() ?? 0;
      expect(start).toBeLessThanOrEqual(atMs);
      expect(end).toBeGreaterThan(atMs);
      // Every instant of the window says the same, and the neighbours meet it.
      expect(windowStart(kind, zone, new Date(start)).getTime()).toBe(start);
      expect(windowEnd(kind, zone, new Date(start))?.getTime()).toBe(end);
      expect(windowStart(kind, zone, new Date(end - 1)).getTime()).toBe(start);
      expect(windowStart(kind, zone, new Date(end)).getTime()).toBe(end);
      expect(windowEnd(kind, zone, new Date(start - 1))?.getTime()).toBe(start);
      if (kind === "hour") expect(end - start).toBeLessThanOrEqual(hourMs);
    }
  }

  test("a time zone that does not exist is our own mistake", () => {
    expect(() => windowStart("day", "Fantasia/Castle", new Date())).toThrow(/"Fantasia\/Castle" is not a time zone/);
  });
});

describe("limits as the API takes them", () => {
  test("what is left out is 0, no limit", () => {
    expect(limitsSchema.parse({ day: 10, month: 200 })).toEqual(limits({ day: 10, month: 200 }));
  });

  test.each([-1, 1.5, 2 ** 53, Number.NaN, "10", null])("%p is not a limit", (value) => {
    const result = limitsSchema.safeParse({ day: value });
    expect(result.error?.issues.map((issue) => issue.path)).toEqual([["day"]]);
  });

  test("an unknown limit is refused", () => {
    expect(limitsSchema.safeParse({ daily: 10 }).success).toBe(false);
  });
});

describe("a limit that can never be reached is saved with a warning", () => {
  const warnings = (given: Partial<Limits>) =>
    limitWarnings(limits(given)).map((warning) => `${warning.field}: ${warning.message}`);

  test("a monthly limit that the daily one never reaches: the warning says the number that can be reached", () => {
    expect(warnings({ day: 10, month: 400 })).toEqual([
      "month: 400 can never be reached: the limits of shorter windows let at most 310 through.",
    ]);
    expect(warnings({ day: 10, month: 310 })).toEqual([]);
  });

  test("a daily, weekly or monthly limit above what the hours let through", () => {
    expect(warnings({ hour: 1, day: 25, week: 169, month: 745 })).toEqual([
      "day: 25 can never be reached: the limits of shorter windows let at most 24 through.",
      "week: 169 can never be reached: the limits of shorter windows let at most 168 through.",
      "month: 745 can never be reached: the limits of shorter windows let at most 744 through.",
    ]);
    expect(warnings({ hour: 1, day: 24, week: 168, month: 744 })).toEqual([]);
  });

  test("a limit above that of a longer window", () => {
    expect(warnings({ day: 10, month: 5, total: 7 })).toEqual([
      "day: 10 can never be reached: the month limit lets at most 5 through.",
    ]);
    expect(warnings({ month: 10, total: 7 })).toEqual([
      "month: 10 can never be reached: the total limit lets at most 7 through.",
    ]);
  });

  test("a total far above the monthly limit is reached in time: no warning", () => {
    expect(warnings({ day: 1, month: 10, total: 100_000 })).toEqual([]);
  });

  test("money has its own warnings, apart from the leads", () => {
    expect(warnings({ day: 1, spendDay: 1_000, spendWeek: 7_001, spendMonth: 31_001 })).toEqual([
      "spendWeek: 7001 minor units can never be reached: the limits of shorter windows let at most 7000 minor units through.",
      "spendMonth: 31001 minor units can never be reached: the limits of shorter windows let at most 31000 minor units through.",
    ]);
  });

  test("no limits, no warnings; the largest limits do no harm", () => {
    expect(warnings({})).toEqual([]);
    const largest = Number.MAX_SAFE_INTEGER;
    expect(warnings({ hour: largest, day: largest, week: largest, month: largest, total: largest })).toEqual([]);
  });

  test("a month touches up to six weeks", () => {
    expect(reachableMonth({ hour: 0, day: 0, week: 100 })).toBe(600);
    // One day of the first week and two of the last, each as much as a day allows, and four whole weeks.
    expect(reachableMonth({ hour: 0, day: 20, week: 50 })).toBe(20 + 4 * 50 + 40);
    expect(reachableMonth({ hour: 0, day: 0, week: 0 })).toBe(Number.POSITIVE_INFINITY);
  });

  test("the number that can be reached is what the best month gives when it is counted day by day", () => {
    const small = fc.nat(30);
    fc.assert(
      fc.property(small, small, small, (hour, day, week) => {
        const inDay = Math.min(hour === 0 ? Infinity : hour * 24, day === 0 ? Infinity : day);
        fc.pre(Number.isFinite(inDay));
        let best = 0;
        for (let month = 0; month < 28 * 12; month++) {
          const first = Date.UTC(2000, month, 1);
          const usedInWeek = new Map<string, number>();
          for (let at = first; new Date(at).getUTCMonth() === new Date(first).getUTCMonth(); at += dayMs) {
            const key = windowStart("week", "UTC", new Date(at)).toISOString();
            const used = usedInWeek.get(key) ?? 0;
            usedInWeek.set(key, Math.min(week === 0 ? Infinity : week, used + inDay));
          }
          best = Math.max(
            best,
            [...usedInWeek.values()].reduce((sum, used) => sum + used, 0),
          );
        }
        expect(reachableMonth({ hour, day, week })).toBe(best);
      }),
      { numRuns: 20 },
    );
  });
});

function limits(given: Partial<Limits>): Limits {
  return { hour: 0, day: 0, week: 0, month: 0, total: 0, spendDay: 0, spendWeek: 0, spendMonth: 0, ...given };
}
