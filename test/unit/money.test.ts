import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  currencyDecimals,
  formatAmount,
  formatMoney,
  isCurrency,
  parseAmount,
  percentOf,
  percentToRate,
  rateToPercent,
  splitAmount,
} from "../../src/money.ts";

/** Nothing here is fake: amounts are computed, and held against arithmetic on whole numbers of any size. */

const currency = fc.constantFrom("GBP", "EUR", "HUF", "JPY", "ISK", "KWD", "IQD");
const amount = fc.maxSafeInteger();
const rate = fc.integer({ min: 0, max: 2_000_000 });

describe("currencies", () => {
  test.each([
    ["GBP", 2],
    ["JPY", 0],
    ["KWD", 3],
    // Shops print none of these decimals, and books have them.
    ["HUF", 2],
    ["IQD", 3],
  ])("%s has %i decimals", (code, decimals) => {
    expect(currencyDecimals(code)).toBe(decimals);
  });

  test.each(["", "gbp", "GB", "GBPS", "ABC", "XXX", "XAU", "DEM", " "])("%j is no currency", (code) => {
    expect(isCurrency(code)).toBe(false);
    expect(() => currencyDecimals(code)).toThrow("no currency");
  });
});

describe("amounts for people", () => {
  test.each([
    [1250, "GBP", "12.50 GBP"],
    [1250, "JPY", "1250 JPY"],
    [1250, "KWD", "1.250 KWD"],
    [-5, "GBP", "-0.05 GBP"],
    [0, "KWD", "0.000 KWD"],
    [-1, "JPY", "-1 JPY"],
    [Number.MAX_SAFE_INTEGER, "GBP", "90071992547409.91 GBP"],
  ])("%i of %s is %s", (minor, code, text) => {
    expect(formatMoney(minor, code)).toBe(text);
  });

  test("what is written is read as the same amount", () => {
    fc.assert(
      fc.property(amount, currency, (minor, code) => {
        expect(parseAmount(formatAmount(minor, code), code)).toEqual({ ok: true, amountMinor: minor });
      }),
    );
  });

  test("an amount that is no whole number of minor units is never written", () => {
    expect(() => formatAmount(12.5, "GBP")).toThrow();
    expect(() => formatAmount(2 ** 53, "GBP")).toThrow();
  });
});

describe("amounts that are typed", () => {
  test.each([
    ["12.5", "GBP", 1250],
    ["12", "GBP", 1200],
    ["007", "JPY", 7],
    ["-0.01", "GBP", -1],
    ["-0", "GBP", 0],
    // 1.1 × 1000 is not 1100 in binary fractions.
    ["1.1", "KWD", 1100],
    ["4.35", "GBP", 435],
  ])("%s of %s is %i", (text, code, minor) => {
    expect(parseAmount(text, code)).toEqual({ ok: true, amountMinor: minor });
  });

  test.each([
    ["12.345", "GBP", "too_many_decimals"],
    ["12.500", "GBP", "too_many_decimals"],
    ["12.0", "JPY", "too_many_decimals"],
    ["1.2345", "KWD", "too_many_decimals"],
    ["1,250", "GBP", "not_an_amount"],
    ["1e3", "GBP", "not_an_amount"],
    ["", "GBP", "not_an_amount"],
    ["12.", "GBP", "not_an_amount"],
    [".5", "GBP", "not_an_amount"],
    ["--1", "GBP", "not_an_amount"],
    ["١٢", "GBP", "not_an_amount"],
    ["12\n", "GBP", "not_an_amount"],
    ["90071992547409.92", "GBP", "too_large"],
    ["9".repeat(400), "GBP", "too_large"],
  ])("%j of %s is refused: %s", (text, code, problem) => {
    expect(parseAmount(text, code)).toMatchObject({ ok: false, code: problem });
  });
});

describe("percentages", () => {
  test.each([
    [20, 200_000],
    [17.5, 175_000],
    [0.0001, 1],
    [0, 0],
    [8.875, 88_750],
    [100, 1_000_000],
  ])("%d % is the rate %i, and back", (percent, expected) => {
    expect(percentToRate(percent)).toBe(expected);
    expect(rateToPercent(expected)).toBe(percent);
  });

  test.each([0.00001, 17.12345, Number.NaN, Number.POSITIVE_INFINITY, 1e21, 1e-7])("%d % is refused", (percent) => {
    expect(percentToRate(percent)).toBeNull();
  });

  test.each([
    [25, 100_000, 2],
    [35, 100_000, 4],
    [-25, 100_000, -2],
    [-35, 100_000, -4],
    [26, 100_000, 3],
    [24, 100_000, 2],
    [0, 200_000, 0],
    [-4, 100_000, 0],
    [Number.MAX_SAFE_INTEGER, 1_000_000, Number.MAX_SAFE_INTEGER],
  ])("of %i at the rate %i it is %i: half to even", (minor, given, expected) => {
    expect(percentOf(minor, given)).toBe(expected);
  });

  test("a percentage is never more than half a minor unit from the exact one, and a tie is even", () => {
    fc.assert(
      fc.property(fc.integer({ min: -(10 ** 12), max: 10 ** 12 }), rate, (minor, given) => {
        const exact = BigInt(minor) * BigInt(given);
        const off = BigInt(percentOf(minor, given)) * 1_000_000n - exact;
        const distance = off < 0n ? -off : off;
        expect(distance <= 500_000n).toBe(true);
        if (distance === 500_000n) expect(percentOf(minor, given) % 2 === 0).toBe(true);
      }),
    );
  });

  test("the percentage of an amount and of its opposite cancel out", () => {
    fc.assert(
      fc.property(fc.integer({ min: -(10 ** 12), max: 10 ** 12 }), rate, (minor, given) => {
        expect(percentOf(minor, given) + percentOf(-minor, given)).toBe(0);
      }),
    );
  });
});

describe("splitting", () => {
  test.each([
    [100, [1, 1, 1], [34, 33, 33]],
    [-100, [1, 1, 1], [-34, -33, -33]],
    [100, [2, 1], [67, 33]],
    [1, [1, 1], [1, 0]],
    [5, [0, 1, 0], [0, 5, 0]],
    [0, [1, 2], [0, 0]],
    [1000, [333, 333, 334], [333, 333, 334]],
  ])("%i by %j is %j", (minor, weights, parts) => {
    expect(splitAmount(minor, weights)).toEqual(parts);
  });

  const someWeights = fc
    .array(fc.nat(1_000_000), { minLength: 1, maxLength: 20 })
    .filter((weights) => weights.some((weight) => weight > 0));

  test("the parts sum to the amount, whatever it is: the remainder is somebody's", () => {
    fc.assert(
      fc.property(amount, someWeights, (minor, weights) => {
        const parts = splitAmount(minor, weights);
        expect(parts.reduce((sum, part) => sum + BigInt(part), 0n)).toBe(BigInt(minor));
      }),
    );
  });

  test("no part is a whole minor unit from its exact share, and no weight of zero gets anything", () => {
    fc.assert(
      fc.property(amount, someWeights, (minor, weights) => {
        const total = weights.reduce((sum, weight) => sum + BigInt(weight), 0n);
        splitAmount(minor, weights).forEach((part, index) => {
          const weight = BigInt(weights[index] ?? 0);
          const off = BigInt(part) * total - BigInt(minor) * weight;
          expect((off < 0n ? -off : off) < total).toBe(true);
          if (weight === 0n) expect(part).toBe(0);
        });
      }),
    );
  });

  test("there is nothing to split by where no weight is above zero", () => {
    expect(() => splitAmount(100, [])).toThrow();
    expect(() => splitAmount(100, [0, 0])).toThrow();
    expect(() => splitAmount(100, [2, -1])).toThrow();
  });
});
