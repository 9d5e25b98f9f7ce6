import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { offsetMsAt } from "../../src/partners/local-time.ts";
import { lastTime, nextSummary, nextTime, summaryUntil } from "../../src/partners/summary-time.ts";

const at = (text: string) => new Date(`${text.replace(" ", "T")}:00Z`);

describe("The time of a daily summary", () => {
  test.each([
    ["on an ordinary day", "Europe/London", "18:00", "2026-01-10 12:00", "2026-01-10 18:00"],
    ["is the next day's from that very time on", "Europe/London", "18:00", "2026-01-10 18:00", "2026-01-11 18:00"],
    ["follows summer time", "Europe/London", "18:00", "2026-06-10 12:00", "2026-06-10 17:00"],
    ["that is skipped moves forward by the gap", "Europe/London", "01:30", "2026-03-28 12:00", "2026-03-29 01:30"],
    ["that comes twice counts the first time", "Europe/London", "01:30", "2026-10-24 12:00", "2026-10-25 00:30"],
    ["that comes twice does not count again", "Europe/London", "01:30", "2026-10-25 00:30", "2026-10-26 01:30"],
    ["of a zone far ahead", "Pacific/Auckland", "00:00", "2026-01-10 12:00", "2026-01-11 11:00"],
  ])("%s", (_, zone, time, after, expected) => {
    expect(nextTime(zone, time, at(after))).toEqual(at(expected));
  });

  test("comes once on every date, and days follow each other without gap or overlap", () => {
    const zones = fc.constantFrom(
      "Europe/London",
      "America/New_York",
      "Pacific/Auckland",
      "Africa/Cairo",
      "Asia/Kolkata",
    );
    const times = fc.constantFrom("00:00", "00:30", "01:30", "02:00", "02:30", "12:00", "23:59");
    fc.assert(
      fc.property(zones, times, fc.integer({ min: 0, max: 3 * 365 * 24 * 60 }), (zone, time, minute) => {
        const instant = new Date(Date.UTC(2025, 0, 1) + minute * 60_000);
        const [before, after] = [lastTime(zone, time, instant), nextTime(zone, time, instant)];
        expect(before <= instant && instant < after).toBe(true);
        expect(nextTime(zone, time, before)).toEqual(after);
        expect(lastTime(zone, time, new Date(after.getTime() - 1))).toEqual(before);
        const dateOf = (one: Date) => Math.floor((one.getTime() + offsetMsAt(zone, one.getTime())) / 86_400_000);
        expect(dateOf(after) - dateOf(before)).toBe(1);
      }),
    );
  });

  test("is waited for until all is settled that was booked before", () => {
    const zone = "Europe/London";
    expect(nextSummary(zone, "18:00", at("2026-01-10 12:00"))).toEqual(new Date("2026-01-10T18:00:30Z"));
    expect(summaryUntil(zone, "18:00", new Date("2026-01-10T18:00:29Z"))).toEqual(at("2026-01-09 18:00"));
    expect(nextSummary(zone, "18:00", new Date("2026-01-10T18:00:29Z"))).toEqual(new Date("2026-01-10T18:00:30Z"));
    expect(summaryUntil(zone, "18:00", new Date("2026-01-10T18:00:30Z"))).toEqual(at("2026-01-10 18:00"));
    expect(nextSummary(zone, "18:00", new Date("2026-01-10T18:00:30Z"))).toEqual(new Date("2026-01-11T18:00:30Z"));
  });
});
