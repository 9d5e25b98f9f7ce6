import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { policyRefusals, returnableUntil, returnPolicySchema } from "../../src/returns/return-policy.ts";

/** What was agreed about returns, by the instant and by the number. */

const untilOf = (within: unknown, soldAt: string, timeZone: string) =>
  returnableUntil(returnPolicySchema.parse({ within }), new Date(soldAt), timeZone)?.toISOString() ?? null;

describe("a lead can be returned", () => {
  test.each([
    // So many hours are so many hours, whatever the clocks do.
    [{ hours: 24 }, "2026-03-28T12:00:00Z", "Europe/London", "2026-03-29T12:00:00.000Z"],
    // To the end of the day, which is an hour shorter or longer.
    [{ days: 1 }, "2026-03-28T12:00:00Z", "Europe/London", "2026-03-29T23:00:00.000Z"],
    [{ days: 1 }, "2026-10-24T12:00:00Z", "Europe/London", "2026-10-26T00:00:00.000Z"],
    [{ days: 14 }, "2026-02-20T23:59:59.999Z", "UTC", "2026-03-07T00:00:00.000Z"],
    // It is the next day there.
    [{ days: 1 }, "2026-03-04T20:00:00Z", "Asia/Tokyo", "2026-03-06T15:00:00.000Z"],
    [null, "2026-03-04T20:00:00Z", "UTC", null],
  ])("within %j of %s in %s until %s", (within, soldAt, timeZone, until) => {
    expect(untilOf(within, soldAt, timeZone)).toBe(until);
  });
});

describe("the share of a month", () => {
  const refused = (percent: number, sold: number, returned: number) => {
    const policy = returnPolicySchema.parse({ perMonth: { percent } });
    const asked = { policy, timeZone: "UTC", soldAt: new Date(0), reasonCode: null, month: { sold, returned } };
    return policyRefusals(asked, new Date(0)).map(({ code }) => code);
  };
  const over = ["above_share"];

  test.each([
    [10, 9, 0, over],
    [10, 10, 0, []],
    [10, 19, 1, over],
    [10, 20, 1, []],
    [33.3333, 3, 0, over],
    [33.3334, 3, 0, []],
    [100, 1, 0, []],
    [100, 1, 1, over],
    [0.0001, 1_000_000, 0, []],
    [0.0001, 999_999, 0, over],
  ])("of %d %% of %i sold, %i returned before: %j", (percent, sold, returned, expected) => {
    expect(refused(percent, sold, returned)).toEqual(expected);
  });

  test("property: is never exceeded, and never refused while there is room", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), fc.nat(1_000_000), fc.nat(1_000), (rate, sold, returned) => {
        const most = (BigInt(sold) * BigInt(rate)) / 1_000_000n;
        expect(refused(rate / 10_000, sold, returned).length === 0).toBe(BigInt(returned) + 1n <= most);
      }),
    );
  });
});
