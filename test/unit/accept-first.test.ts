import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { acceptFirstSchema, offerDeadline } from "../../src/partners/accept-first.ts";
import { isOpen, type Schedule, weekdays } from "../../src/partners/schedule.ts";
import { clockChanges, dayMs, minuteMs } from "./read-clock.ts";

/** Until when a partner may accept a lead: in hours of the clock, or in hours in which it is open. */

const hourMs = 60 * minuteMs;
const openHours = (deadlineHours: number) => ({ deadlineHours, countOpenHours: true });
const deadline = (hours: number, schedule: Schedule | null, zone: string, from: string) =>
  offerDeadline(openHours(hours), schedule, zone, new Date(from)).toISOString();

const office: Schedule = Object.fromEntries(
  ["mon", "tue", "wed", "thu", "fri"].map((weekday) => [weekday, [{ from: "09:00", to: "17:00" }]]),
);

describe("the deadline of an offer", () => {
  test("is 24 hours on unless set otherwise, whatever the hours of the partner", () => {
    const usual = acceptFirstSchema.parse({});
    expect(usual).toEqual({ deadlineHours: 24, countOpenHours: false });
    const at = offerDeadline(usual, office, "Europe/London", new Date("2026-03-06T16:00:00Z"));
    expect(at.toISOString()).toBe("2026-03-07T16:00:00.000Z");
  });

  test.each([0, 721, 1.5, "24", null])("is from 1 to 720 whole hours: not %j", (deadlineHours) => {
    expect(acceptFirstSchema.safeParse({ deadlineHours }).success).toBe(false);
  });

  test.each([
    ["on the same day", 2, "2026-03-04T10:00:00Z", "2026-03-04T12:00:00.000Z"],
    ["at the end of an opening, not at the next start", 7, "2026-03-04T10:00:00Z", "2026-03-04T17:00:00.000Z"],
    ["on the next day", 8, "2026-03-04T10:00:00Z", "2026-03-05T10:00:00.000Z"],
    ["over a weekend", 3, "2026-03-06T15:00:00Z", "2026-03-09T10:00:00.000Z"],
    ["counted from the next opening where it is closed", 1, "2026-03-07T03:00:00Z", "2026-03-09T10:00:00.000Z"],
  ])("in open hours lies %s", (_, hours, from, expected) => {
    expect(deadline(hours, office, "Europe/London", from)).toBe(expected);
  });

  test("in open hours passes over closed dates", () => {
    const closed = { ...office, closedDates: ["2026-03-05", "2026-03-06"] };
    expect(deadline(8, closed, "Europe/London", "2026-03-04T10:00:00Z")).toBe("2026-03-09T10:00:00.000Z");
  });

  test("in open hours counts the hour that a clock change adds, and not the one that it skips", () => {
    const nights: Schedule = { sat: [{ from: "22:00", to: "06:00" }] };
    // Eight hours on the clock: seven that pass in spring, nine in autumn.
    expect(deadline(7, nights, "Europe/London", "2026-03-28T22:00:00Z")).toBe("2026-03-29T05:00:00.000Z");
    expect(deadline(9, nights, "Europe/London", "2026-10-24T21:00:00Z")).toBe("2026-10-25T06:00:00.000Z");
  });

  test("in open hours of a partner that is always open, or has no schedule, is that of the clock", () => {
    for (const schedule of [null, {}, { mon: [] }]) {
      expect(deadline(30, schedule, "Asia/Kathmandu", "2026-03-04T10:00:00Z")).toBe("2026-03-05T16:00:00.000Z");
    }
  });

  test("is 400 days on where the open hours do not come before", () => {
    const rare: Schedule = { mon: [{ from: "09:00", to: "09:01" }] };
    expect(deadline(2, rare, "UTC", "2026-03-04T10:00:00Z")).toBe("2027-04-08T10:00:00.000Z");
    const minutes: Schedule = { mon: [{ from: "09:00", to: "09:02" }] };
    expect(deadline(1, minutes, "UTC", "2026-03-04T10:00:00Z")).toBe("2026-09-28T09:02:00.000Z");
  });

  test("is found at once, however the windows lie", () => {
    const windows = Array.from({ length: 48 }, (_, half) => ({ from: clock(half * 30), to: clock(half * 30 + 1) }));
    const shreds: Schedule = Object.fromEntries(weekdays.map((weekday) => [weekday, windows]));
    const startedAt = performance.now();
    for (let count = 0; count < 5; count += 1) deadline(720, shreds, "Europe/London", "2026-03-04T10:00:00Z");
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });

  test.each(clockChanges)("around the clock change in %s of %s leaves exactly its hours open", (zone, date) => {
    const around = Date.parse(date);
    fc.assert(
      fc.property(anySchedule, fc.integer({ min: 1, max: 12 }), fc.nat(3 * 1440), (schedule, hours, minute) => {
        const from = around - dayMs + minute * minuteMs;
        const until = offerDeadline(openHours(hours), schedule, zone, new Date(from)).getTime();
        let openMs = 0;
        for (let at = from; at < until; at += minuteMs) if (isOpen(schedule, zone, new Date(at))) openMs += minuteMs;
        expect(openMs).toBe(hours * hourMs);
        // Not a minute later than needed: the last one counted.
        expect(isOpen(schedule, zone, new Date(until - minuteMs))).toBe(true);
      }),
      { numRuns: 12 },
    );
  });
});

function clock(minute: number): string {
  return `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;
}

/** Open for an hour or more on each weekday: what is counted to comes within days. */
const anyWindow = fc
  .tuple(fc.nat(1439), fc.integer({ min: 60, max: 1439 }))
  .map(([from, length]) => ({ from: clock(from), to: clock((from + length) % 1440) }));
const anyWindows = fc.array(anyWindow, { minLength: 1, maxLength: 3 });
const anySchedule: fc.Arbitrary<Schedule> = fc.record({
  ...Object.fromEntries(weekdays.map((weekday) => [weekday, anyWindows])),
  closedDates: fc.array(fc.constantFrom("2026-03-29", "2026-03-30", "2026-10-26", "2011-12-31"), { maxLength: 2 }),
});
