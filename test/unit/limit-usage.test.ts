import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  givePlaceBack,
  giveSpendBack,
  type LimitUsage,
  reachedLimits,
  takePlace,
  unusedUsage,
} from "../../src/partners/limit-usage.ts";
import { type Limits, limitWindows, windowStart } from "../../src/partners/limit-windows.ts";

const zones = [
  "Europe/London",
  "America/New_York",
  "Asia/Kathmandu",
  "Australia/Lord_Howe",
  "America/Sao_Paulo",
  "Etc/UTC",
];
const noLimits: Limits = { hour: 0, day: 0, week: 0, month: 0, total: 0, spendDay: 0, spendWeek: 0, spendMonth: 0 };

interface Taken {
  readonly at: Date;
  readonly priceMinor: number;
}

/** The rule, said simply: count what lies in the window that holds `now`. */
function recount(taken: readonly Taken[], limits: Limits, zone: string, now: Date, priceMinor: number): string[] {
  const inWindow = (window: (typeof limitWindows)[number]) => {
    const start = windowStart(window, zone, now).getTime();
    return taken.filter(({ at }) => windowStart(window, zone, at).getTime() === start);
  };
  const leads = limitWindows.filter((window) => limits[window] > 0 && inWindow(window).length >= limits[window]);
  const spends = (["day", "week", "month"] as const).filter((window) => {
    const limitMinor = limits[({ day: "spendDay", week: "spendWeek", month: "spendMonth" } as const)[window]];
    const spentMinor = inWindow(window).reduce((sum, one) => sum + one.priceMinor, 0);
    return limitMinor > 0 && spentMinor + priceMinor > limitMinor;
  });
  return [...leads.map((window) => `leads ${window}`), ...spends.map((window) => `spend ${window}`)].sort();
}

const someLimit = fc.integer({ min: 0, max: 6 });
const someSpend = fc.integer({ min: 0, max: 6 }).map((leads) => leads * 1000);
const someLimits = fc.record({
  hour: someLimit,
  day: someLimit,
  week: someLimit,
  month: someLimit,
  total: someLimit,
  spendDay: someSpend,
  spendWeek: someSpend,
  spendMonth: someSpend,
});
const someStep = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("take" as const), priceMinor: fc.integer({ min: 0, max: 2500 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("give back" as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("costs less" as const), which: fc.nat() }) },
  {
    weight: 3,
    // Minutes, hours, days, and to the next month.
    arbitrary: fc.record({
      kind: fc.constant("later" as const),
      ms: fc.constantFrom(60_000, 3_600_000, 86_400_000, 31 * 86_400_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("limits" as const), limits: someLimits }) },
);

describe("what has been used of a limit", () => {
  test("property: through any takings, givings back, moves of time and changes of limits, as counting a list would say", () => {
    const start = fc.date({ min: new Date("2026-03-20"), max: new Date("2026-11-10"), noInvalidDate: true });
    fc.assert(
      fc.property(
        start,
        fc.constantFrom(...zones),
        someLimits,
        fc.array(someStep, { maxLength: 60 }),
        (from, zone, first, steps) => {
          let now = from;
          let limits = first;
          let usage: LimitUsage = unusedUsage("o", "p", null);
          let taken: Taken[] = [];
          for (const step of steps) {
            if (step.kind === "later") now = new Date(now.getTime() + step.ms);
            else if (step.kind === "limits") limits = step.limits;
            else if (step.kind === "give back") {
              const given = taken[step.which % Math.max(1, taken.length)];
              if (given === undefined) continue;
              taken = taken.filter((one) => one !== given);
              usage = givePlaceBack(usage, zone, given.at, given.priceMinor);
            } else if (step.kind === "costs less") {
              const given = taken[step.which % Math.max(1, taken.length)];
              if (given === undefined) continue;
              const lessMinor = Math.floor(given.priceMinor / 3);
              const cheaper = { ...given, priceMinor: given.priceMinor - lessMinor };
              taken = taken.map((one) => (one === given ? cheaper : one));
              usage = giveSpendBack(usage, zone, given.at, lessMinor);
            } else {
              const reached = reachedLimits(usage, limits, zone, now, step.priceMinor);
              const told = reached.map(({ kind, window }) => `${kind} ${window}`).sort();
              expect(told).toEqual(recount(taken, limits, zone, now, step.priceMinor));
              if (told.length > 0) continue;
              taken.push({ at: now, priceMinor: step.priceMinor });
              usage = takePlace(usage, zone, now, step.priceMinor);
            }
            expect(usage.totalLeads).toBe(taken.length);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test("a machine whose clock is behind counts in the window that was begun, and exceeds nothing", () => {
    const ahead = new Date("2026-03-05T00:00:01Z");
    const behind = new Date("2026-03-04T23:59:59Z");
    const limits = { ...noLimits, day: 2 };
    const once = takePlace(unusedUsage("o", "p", null), "Etc/UTC", ahead, 0);
    const twice = takePlace(once, "Etc/UTC", behind, 0);
    expect(reachedLimits(twice, limits, "Etc/UTC", ahead, 0)).toMatchObject([{ window: "day", used: 2 }]);
    expect(reachedLimits(twice, limits, "Etc/UTC", behind, 0)).toMatchObject([{ window: "day", used: 2 }]);
  });

  test("a limit says when it may pass; one on the total never does, nor a price above the limit itself", () => {
    const now = new Date("2026-03-04T10:00:00Z");
    const used = takePlace(unusedUsage("o", "p", null), "Europe/London", now, 1000);
    const limits = { ...noLimits, hour: 1, total: 1, spendDay: 1500, spendWeek: 500 };
    expect(reachedLimits(used, limits, "Europe/London", now, 1000)).toEqual([
      { kind: "leads", window: "hour", limit: 1, used: 1, until: new Date("2026-03-04T11:00:00Z") },
      { kind: "leads", window: "total", limit: 1, used: 1, until: null },
      { kind: "spend", window: "day", limitMinor: 1500, usedMinor: 1000, until: new Date("2026-03-05T00:00:00Z") },
      { kind: "spend", window: "week", limitMinor: 500, usedMinor: 1000, until: null },
    ]);
  });
});
