import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { isOpen, openingAt, type Schedule, scheduleSchema, weekdays } from "../../src/partners/schedule.ts";
import { type Clock, clockChanges, dayMs, instantByTheRule, minuteMs, readClock } from "./read-clock.ts";

describe("the schedule is kept", () => {
  const office: Schedule = { mon: [{ from: "09:00", to: "17:00" }] };
  const open = (schedule: Schedule | null, zone: string, at: string) => isOpen(schedule, zone, new Date(at));

  test("a window holds its start and not its end, on the partner's clock", () => {
    expect(open(office, "Europe/London", "2026-06-01T07:59:59.999Z")).toBe(false);
    expect(open(office, "Europe/London", "2026-06-01T08:00:00Z")).toBe(true);
    expect(open(office, "Europe/London", "2026-06-01T15:59:59.999Z")).toBe(true);
    expect(open(office, "Europe/London", "2026-06-01T16:00:00Z")).toBe(false);
    expect(open(office, "America/New_York", "2026-06-01T08:00:00Z")).toBe(false);
  });

  test("a window whose end is before its start ends on the next date and belongs to the weekday it starts on", () => {
    const night: Schedule = { fri: [{ from: "22:00", to: "06:00" }] };
    expect(open(night, "Asia/Kathmandu", "2026-06-05T16:15:00Z")).toBe(true); // Friday 22:00
    expect(open(night, "Asia/Kathmandu", "2026-06-06T00:14:59Z")).toBe(true); // Saturday 05:59:59
    expect(open(night, "Asia/Kathmandu", "2026-06-06T00:15:00Z")).toBe(false);
    expect(open(night, "Asia/Kathmandu", "2026-06-05T00:00:00Z")).toBe(false); // Friday 05:45
  });

  test("24:00 is the end of the date", () => {
    const whole: Schedule = { mon: [{ from: "00:00", to: "24:00" }] };
    expect(openingAt(whole, "UTC", new Date("2026-06-01T12:00:00Z"))).toEqual({
      open: true,
      until: new Date("2026-06-02T00:00:00Z"),
    });
    expect(openingAt(whole, "UTC", new Date("2026-05-31T12:00:00Z"))).toEqual({
      open: false,
      opensAt: new Date("2026-06-01T00:00:00Z"),
    });
  });

  test("windows that touch or overlap are one opening", () => {
    const split: Schedule = {
      mon: [
        { from: "12:00", to: "18:00" },
        { from: "09:00", to: "12:00" },
        { from: "17:00", to: "24:00" },
      ],
      tue: [{ from: "00:00", to: "02:00" }],
    };
    expect(openingAt(split, "UTC", new Date("2026-06-01T09:00:00Z"))).toEqual({
      open: true,
      until: new Date("2026-06-02T02:00:00Z"),
    });
  });

  test("no schedule, and a schedule without windows, are always open", () => {
    for (const schedule of [null, undefined, {}, { mon: [], sun: [] }]) {
      expect(isOpen(schedule, "UTC", new Date())).toBe(true);
      expect(openingAt(schedule, "UTC", new Date())).toEqual({ open: true, until: null });
    }
  });

  test("a schedule whose windows leave no gap in the week is always open", () => {
    const everyDay = (windows: { from: string; to: string }[]) =>
      Object.fromEntries(weekdays.map((weekday) => [weekday, windows]));
    const at = new Date("2026-10-25T00:30:00Z");
    const fromSixToSix = everyDay([
      { from: "18:00", to: "06:00" },
      { from: "06:00", to: "18:00" },
    ]);
    expect(openingAt(fromSixToSix, "Europe/London", at)).toEqual({ open: true, until: null });
    const shortSunday = { ...everyDay([{ from: "00:00", to: "24:00" }]), sun: [{ from: "00:00", to: "23:59" }] };
    expect(openingAt(shortSunday, "UTC", at)).toEqual({ open: true, until: new Date("2026-10-25T23:59:00Z") });
    const lateTuesday = { ...everyDay([{ from: "00:00", to: "24:00" }]), tue: [{ from: "00:01", to: "24:00" }] };
    expect(openingAt(lateTuesday, "UTC", at)).toEqual({ open: true, until: new Date("2026-10-27T00:00:00Z") });
  });

  test("a closed date has no windows; the night that began before it ends as it would", () => {
    const nights: Schedule = { thu: [{ from: "20:00", to: "04:00" }], fri: [{ from: "20:00", to: "04:00" }] };
    const closed = { ...nights, closedDates: ["2026-12-25"] }; // a Friday
    expect(open(closed, "UTC", "2026-12-25T03:00:00Z")).toBe(true);
    expect(open(closed, "UTC", "2026-12-25T21:00:00Z")).toBe(false);
    expect(open(closed, "UTC", "2026-12-26T03:00:00Z")).toBe(false);
    expect(open(nights, "UTC", "2026-12-26T03:00:00Z")).toBe(true);
  });

  test("closed dates alone close those dates only", () => {
    const holiday: Schedule = { closedDates: ["2026-12-25"] };
    expect(openingAt(holiday, "Europe/London", new Date("2026-12-24T10:00:00Z"))).toEqual({
      open: true,
      until: new Date("2026-12-25T00:00:00Z"),
    });
    expect(openingAt(holiday, "Europe/London", new Date("2026-12-25T10:00:00Z"))).toEqual({
      open: false,
      opensAt: new Date("2026-12-26T00:00:00Z"),
    });
    expect(openingAt(holiday, "Europe/London", new Date("2026-12-26T00:00:00Z"))).toEqual({ open: true, until: null });
  });

  test("the next opening is found up to 400 days ahead, and null stands for later or never", () => {
    const mondays = Array.from({ length: 60 }, (_, week) => new Date(Date.UTC(2026, 0, 5) + week * 7 * dayMs));
    const closedDates = mondays.map((monday) => monday.toISOString().slice(0, 10));
    const at = new Date("2026-01-01T00:00:00Z");
    expect(openingAt({ ...office, closedDates: closedDates.slice(0, 50) }, "UTC", at)).toEqual({
      open: false,
      opensAt: new Date("2026-12-21T09:00:00Z"),
    });
    expect(openingAt({ ...office, closedDates }, "UTC", at)).toEqual({ open: false, opensAt: null });
  });

  test("a start that a clock change skips moves forward by the gap", () => {
    const early: Schedule = { sun: [{ from: "01:30", to: "05:00" }] };
    const opening = openingAt(early, "Europe/London", new Date("2026-03-29T00:00:00Z"));
    expect(opening).toEqual({ open: false, opensAt: new Date("2026-03-29T01:30:00Z") }); // 02:30 on the clock
  });

  test("an end that a clock change skips moves forward by the gap", () => {
    const early: Schedule = { sun: [{ from: "00:30", to: "01:30" }] };
    const opening = openingAt(early, "Europe/London", new Date("2026-03-29T00:40:00Z"));
    expect(opening).toEqual({ open: true, until: new Date("2026-03-29T01:30:00Z") });
  });

  test("of a doubled time a start takes the first and an end the second", () => {
    const doubled: Schedule = { sun: [{ from: "01:15", to: "01:45" }] };
    expect(openingAt(doubled, "Europe/London", new Date("2026-10-25T00:00:00Z"))).toEqual({
      open: false,
      opensAt: new Date("2026-10-25T00:15:00Z"),
    });
    expect(openingAt(doubled, "Europe/London", new Date("2026-10-25T00:50:00Z"))).toEqual({
      open: true,
      until: new Date("2026-10-25T01:45:00Z"),
    });
  });

  test("a date whose midnight comes twice is open from the first, although the clock goes back to the date before", () => {
    const sunday: Schedule = { sun: [{ from: "00:00", to: "06:00" }] }; // 1 November 2009 in St. John's
    expect(open(sunday, "America/St_Johns", "2009-11-01T02:29:00Z")).toBe(false);
    expect(open(sunday, "America/St_Johns", "2009-11-01T02:30:00Z")).toBe(true);
    expect(open(sunday, "America/St_Johns", "2009-11-01T02:31:00Z")).toBe(true); // Saturday 23:01 again
  });

  test("a skipped midnight begins its date an hour later", () => {
    const whole: Schedule = { sun: [{ from: "00:00", to: "24:00" }] };
    expect(openingAt(whole, "America/Sao_Paulo", new Date("2018-11-04T02:59:00Z"))).toEqual({
      open: false,
      opensAt: new Date("2018-11-04T03:00:00Z"),
    });
  });

  test("a date that the zone skipped has no windows, and an end that falls on it moves a day on", () => {
    const friday: Schedule = { fri: [{ from: "09:00", to: "17:00" }] }; // 30 December 2011 never came in Apia
    expect(openingAt(friday, "Pacific/Apia", new Date("2011-12-30T00:00:00Z"))).toEqual({
      open: false,
      opensAt: new Date("2012-01-05T19:00:00Z"),
    });
    const thursday: Schedule = { thu: [{ from: "22:00", to: "02:00" }] };
    expect(openingAt(thursday, "Pacific/Apia", new Date("2011-12-30T09:00:00Z"))).toEqual({
      open: true,
      until: new Date("2011-12-30T12:00:00Z"),
    });
  });

  test.each(clockChanges)("every minute around the clock change in %s of %s is as the rule says", (zone, date) => {
    const clock = readClock(zone, date);
    fc.assert(
      fc.property(anySchedule(clock), (schedule) => {
        const openMinutes = openMinutesByTheRule(clock, schedule);
        for (const minute of clock.middle) {
          const at = new Date(minute + (minute % 7) * 1_000);
          if (isOpen(schedule, zone, at) !== openMinutes.has(minute)) return false;
        }
        return true;
      }),
      { numRuns: 8 },
    );
  });

  test.each(clockChanges)("the next change of state in %s around %s is the first minute that differs", (zone, date) => {
    const clock = readClock(zone, date);
    fc.assert(
      fc.property(anySchedule(clock), fc.nat(clock.middle.length - 1), (schedule, position) => {
        const openMinutes = openMinutesByTheRule(clock, schedule);
        const at = clock.middle[position] ?? 0;
        const open = openMinutes.has(at);
        const answer = openingAt(schedule, zone, new Date(at));
        const changeAt = answer.open ? answer.until : answer.opensAt;
        const differs = clock.middle.find((minute) => minute > at && openMinutes.has(minute) !== open);
        expect(answer.open).toBe(open);
        if (differs !== undefined) expect(changeAt).toEqual(new Date(differs));
        else if (changeAt !== null) expect(changeAt.getTime()).toBeGreaterThan(clock.middle.at(-1) ?? 0);
      }),
      { numRuns: 40 },
    );
  });
});

describe("a schedule as the API takes it", () => {
  const problems = (schedule: unknown) => {
    const result = scheduleSchema.safeParse(schedule);
    return result.success ? [] : result.error.issues.map((issue) => `${issue.path.join(".")} ${issue.message}`);
  };

  test("the document in the API's example is taken as it is", () => {
    const schedule = { mon: [{ from: "09:00", to: "17:00" }], sun: [], closedDates: ["2026-12-25", "2028-02-29"] };
    expect(scheduleSchema.parse(schedule)).toEqual(schedule);
  });

  test("an end equal to the start is refused, and the message says how to write a whole day", () => {
    expect(problems({ mon: [{ from: "09:00", to: "09:00" }] })).toEqual([
      "mon.0.to must differ from the start; the whole day is 00:00 to 24:00",
    ]);
  });

  test("24:00 is an end only", () => {
    expect(problems({ mon: [{ from: "24:00", to: "09:00" }] })).toHaveLength(1);
    expect(problems({ mon: [{ from: "00:00", to: "24:00" }] })).toEqual([]);
  });

  test.each(["9:00", "09:60", "25:00", "09:00:00", "0900", "", "٠٩:٠٠", "09:00\n", 900, null])(
    "%j is not a time of day",
    (time) => {
      expect(problems({ tue: [{ from: time, to: "23:00" }] })).toHaveLength(1);
    },
  );

  test.each(["2026-02-29", "2026-13-01", "25.12.2026", "2026-1-1", "2026-12-25T00:00:00Z", ""])(
    "%j is not a date that can be closed",
    (date) => {
      expect(problems({ closedDates: [date] })).toEqual(["closedDates.0 must be a date that exists, as in 2026-12-25"]);
    },
  );

  test("a misspelt weekday is named", () => {
    expect(problems({ monday: [] })).toEqual([
      " has no monday: the names are mon, tue, wed, thu, fri, sat, sun and closedDates",
    ]);
  });
});

function openMinutesByTheRule(clock: Clock, schedule: Schedule): Set<number> {
  const open = new Set<number>();
  const hasWindows = weekdays.some((weekday) => (schedule[weekday] ?? []).length > 0);
  for (const date of clock.dates.slice(1, -1)) {
    const isoDate = new Date(date * dayMs).toISOString().slice(0, 10);
    if (schedule.closedDates?.includes(isoDate)) continue;
    const weekday = weekdays[(new Date(date * dayMs).getUTCDay() + 6) % 7] ?? "mon";
    for (const { from, to } of hasWindows ? (schedule[weekday] ?? []) : [{ from: "00:00", to: "24:00" }]) {
      const end = to <= from ? date + 1 : date;
      const startsAt = instantByTheRule(clock, date * dayMs + wallOf(from), "first");
      const endsAt = instantByTheRule(clock, end * dayMs + wallOf(to), "second");
      for (let minute = startsAt; minute < endsAt; minute += minuteMs) open.add(minute);
    }
  }
  return open;
}

function wallOf(time: string): number {
  const [hours, minutes] = time.split(":").map(Number);
  return ((hours ?? 0) * 60 + (minutes ?? 0)) * minuteMs;
}

function anySchedule(clock: Clock): fc.Arbitrary<Schedule> {
  // Half of the times lie where clocks change, and on whole and half hours, so that boundaries meet.
  const minuteOfDay = fc.oneof(
    fc.nat(1439),
    fc.nat(47).map((half) => half * 30),
    fc.integer({ min: -75, max: 195 }).map((minute) => (minute + 1440) % 1440),
  );
  const time = (minute: number) =>
    `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;
  const window = fc
    .tuple(minuteOfDay, fc.oneof(minuteOfDay, fc.constant(1440)))
    .filter(([from, to]) => from !== to)
    .map(([from, to]) => ({ from: time(from), to: time(to) }));
  const windows = fc.array(window, { maxLength: 3 });
  const dates = clock.dates.map((date) => new Date(date * dayMs).toISOString().slice(0, 10));
  return fc.record(
    {
      ...Object.fromEntries(weekdays.map((weekday) => [weekday, windows])),
      closedDates: fc.array(fc.constantFrom(...dates), { maxLength: 2 }),
    },
    { requiredKeys: [] },
  );
}
