import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { readAnsweredPrice } from "../../src/prices/answered-price.ts";
import { type Billing, billingPoints, billingSchema, partsOf, sumOf } from "../../src/prices/billing.ts";
import { costOfAcceptance, costOfPayment, leadCostSchema } from "../../src/prices/lead-cost.ts";
import { leadPrice, priceSchema } from "../../src/prices/price.ts";
import { acceptSale, agreeSale, partsAfter, partsOfSale, partsUpTo } from "../../src/prices/sale-terms.ts";

const now = new Date("2026-03-04T10:00:00Z");
const billing = (document: object): Billing => billingSchema.parse(document);
const thirds = billing({
  accepted: { percent: 33.3333 },
  qualified: { percent: 33.3333 },
  converted: { percent: 33.3334 },
});

const somePercents = fc
  .tuple(fc.integer({ min: 0, max: 1_000_000 }), fc.integer({ min: 0, max: 1_000_000 }))
  .map(([a, b]) => [Math.min(a, b), Math.abs(a - b), 1_000_000 - Math.max(a, b)].map((rate) => rate / 10_000));
const someBilling = somePercents.map(([a = 0, b = 0, c = 0]) => {
  const share = (percent: number) => (percent === 0 ? null : { percent });
  return billing({ accepted: share(a), qualified: share(b), converted: share(c) });
});
const someValue = fc.integer({ min: 0, max: 1_000_000_000_000 });

describe("billing points", () => {
  test("property: the parts of 100 % sum to the value, and none is below zero", () => {
    fc.assert(
      fc.property(someValue, someBilling, (value, points) => {
        const parts = partsOf(value, points);
        expect(sumOf(parts)).toBe(value);
        for (const point of billingPoints) expect(parts[point]).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  test.each([
    [100, thirds, { accepted: 33, qualified: 34, converted: 33 }],
    [
      5,
      billing({ accepted: { percent: 50 }, converted: { percent: 50 } }),
      { accepted: 2, qualified: 0, converted: 3 },
    ],
    [
      7,
      billing({ accepted: { percent: 50 }, converted: { percent: 50 } }),
      { accepted: 4, qualified: 0, converted: 3 },
    ],
    [1, billing({ converted: { percent: 50 } }), { accepted: 0, qualified: 0, converted: 0 }],
    [3, billing({ converted: { percent: 50 } }), { accepted: 0, qualified: 0, converted: 2 }],
    [
      1000,
      billing({ accepted: { amount: 250 }, converted: { percent: 10 } }),
      { accepted: 250, qualified: 0, converted: 100 },
    ],
    [1250, null, { accepted: 1250, qualified: 0, converted: 0 }],
  ])("%s minor units by %j are %j", (value, points, parts) => {
    expect(partsOf(value, points)).toEqual(parts);
  });

  test.each([
    [{}, ""],
    [{ accepted: {} }, "accepted"],
    [{ accepted: { amount: 5, percent: 5 } }, "accepted"],
    [{ accepted: { amount: -1 } }, "accepted.amount"],
    [{ accepted: { amount: 12.5 } }, "accepted.amount"],
    [{ accepted: { percent: 0 } }, "accepted.percent"],
    [{ accepted: { percent: 101 } }, "accepted.percent"],
    [{ accepted: { percent: 1.00001 } }, "accepted.percent"],
    [{ accepted: { percent: 60 }, converted: { percent: 40.0001 } }, "converted.percent"],
    [{ accepted: { percent: 60 }, closeAfterDays: 0 }, "closeAfterDays"],
  ])("%j is refused at %s", (document, place) => {
    expect(billingSchema.safeParse(document).error?.issues.map(({ path }) => path.join("."))).toEqual([place]);
  });
});

describe("a price", () => {
  const list = priceSchema.parse({
    default: 1000,
    rules: [
      { when: { field: "kind", op: "equals", value: "House" }, price: 2000 },
      { when: { field: "cover", op: "range", value: { min: 100 } }, price: 1500 },
    ],
    answer: { min: 500, max: 3000 },
  });

  test.each([
    [{}, 1000],
    [{ kind: "house" }, 2000],
    [{ kind: "house", cover: 200 }, 2000],
    [{ kind: "flat", cover: 200 }, 1500],
    [{ kind: null, cover: 99 }, 1000],
  ])("of a lead with %j is that of the first rule that it meets, else the default", (fields, valueMinor) => {
    expect(leadPrice(list, fields).valueMinor).toBe(valueMinor);
  });

  test.each([
    [-5, ""],
    [12.5, ""],
    [1_000_000_000_001, ""],
    [{ default: -5 }, "default"],
    [{ default: 5, rules: [{ when: { field: "a", op: "exists" }, price: 0.5 }] }, "rules.0.price"],
    [{ default: 5, answer: { min: 10, max: 20 } }, "default"],
    [{ default: 15, answer: { min: 20, max: 10 } }, "answer.min"],
    [
      { default: 15, rules: [{ when: { field: "a", op: "exists" }, price: 25 }], answer: { min: 10, max: 20 } },
      "rules.0.price",
    ],
  ])("%j is refused at %j", (document, place) => {
    const issues = priceSchema.safeParse(document).error?.issues ?? [];
    const paths = issues.flatMap((issue) =>
      issue.code === "invalid_union" ? issue.errors.flat().map(({ path }) => path.join(".")) : [issue.path.join(".")],
    );
    expect(paths).toContain(place);
  });
});

describe("the price that an answer names", () => {
  test.each([
    ["12.5", "GBP", 1250],
    ["12.50", "GBP", 1250],
    ["12.5000", "GBP", 1250],
    ["£12.50", "GBP", 1250],
    ["12.50 GBP", "GBP", 1250],
    ["gbp 12", "GBP", 1200],
    ["1,250.00", "GBP", 125_000],
    ["$3", "CAD", 300],
    ["1250", "JPY", 1250],
    ["1250.0", "JPY", 1250],
    ["1.250", "KWD", 1250],
    ["0", "GBP", 0],
  ])("%j in %s is %s", (text, currency, amountMinor) => {
    expect(readAnsweredPrice(text, currency)).toEqual({ kind: "named", amountMinor });
  });

  test.each([
    [null, "missing"],
    [" ", "missing"],
    ["12.50 EUR", "other_currency"],
    ["€12.50", "other_currency"],
    ["12.505", "unreadable"],
    ["12,50", "unreadable"],
    ["1,250", "unreadable"],
    ["-5", "unreadable"],
    ["1e3", "unreadable"],
    ["12 apples", "unreadable"],
    ["12.50; 13.00", "unreadable"],
    ["cheap", "unreadable"],
    ["99999999999999999999", "unreadable"],
  ])("%j in GBP is %s", (text, kind) => {
    expect(readAnsweredPrice(text, "GBP")).toEqual({ kind });
  });

  test("in what is no currency cannot be read", () => {
    expect(readAnsweredPrice("12.50", "XQX")).toEqual({ kind: "unreadable" });
  });

  const price = leadPrice(priceSchema.parse({ default: 1000, answer: { min: 500, max: 3000 } }), {});

  test.each([
    ["20.00", 2000, null],
    ["5.00", 500, null],
    ["30", 3000, null],
    ["4.99", 500, "below_minimum"],
    ["30.01", 3000, "above_maximum"],
    [null, 1000, "missing"],
    ["a lot", 1000, "unreadable"],
    ["20 USD", 1000, "other_currency"],
  ])(
    "%j is charged as %s, with the note %s; the rest of what was reserved goes back",
    (named, priceMinor, priceNote) => {
      const agreed = agreeSale(price, null);
      expect(agreed.priceMinor).toBe(3000);
      const accepted = acceptSale(agreed, "GBP", named, now);
      expect(accepted).toMatchObject({
        priceMinor,
        billedMinor: priceMinor,
        excessMinor: 3000 - priceMinor,
        priceNote,
      });
    },
  );
});

test("property: every minor unit that was reserved is paid or given back once, whatever way a sale takes", () => {
  const somePrice = fc.record({
    valueMinor: fc.integer({ min: 0, max: 1_000_000 }),
    answer: fc.option(fc.tuple(fc.nat(1_000_000), fc.nat(1_000_000)), { nil: null }),
  });
  const someNamed = fc.option(
    fc.nat(200_000_000).map((minor) => `${minor / 100}`),
    { nil: null },
  );
  const someWay = fc.subarray(["qualified", "converted"] as const);
  fc.assert(
    fc.property(somePrice, fc.option(someBilling, { nil: null }), someNamed, someWay, (priced, points, named, way) => {
      const bounds =
        priced.answer === null ? null : { min: Math.min(...priced.answer), max: Math.max(...priced.answer) };
      const valueMinor = bounds === null ? priced.valueMinor : bounds.min;
      const agreed = agreeSale({ valueMinor, answer: bounds }, points);
      expect(sumOf(partsOfSale(agreed))).toBe(agreed.priceMinor);
      const accepted = acceptSale(agreed, "GBP", named, now);
      expect(accepted.excessMinor).toBeGreaterThanOrEqual(0);
      if (bounds !== null && points === null) {
        expect(accepted.priceMinor).toBeGreaterThanOrEqual(bounds.min);
        expect(accepted.priceMinor).toBeLessThanOrEqual(bounds.max);
      }
      let endedMinor = accepted.billedMinor + accepted.excessMinor;
      let reached: "accepted" | "qualified" | "converted" = "accepted";
      for (const to of way) {
        for (const { amountMinor } of partsUpTo(accepted, reached, to)) endedMinor += amountMinor;
        reached = to;
      }
      for (const { amountMinor } of partsAfter(accepted, reached)) endedMinor += amountMinor;
      expect(endedMinor).toBe(agreed.priceMinor);
    }),
  );
});

describe("what an introducer is owed", () => {
  const cost = (document: object) => leadCostSchema.parse(document);

  test("property: a percentage that is owed in steps comes to what it would be at once", () => {
    const someSteps = fc.array(fc.nat(1_000_000), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), someSteps, (rate, steps) => {
        const share = cost({ percent: rate / 10_000 });
        let paidMinor = 0;
        let owedMinor = 0;
        for (const step of steps) {
          const stepMinor = costOfPayment(share, paidMinor, paidMinor + step);
          expect(stepMinor).toBeGreaterThanOrEqual(0);
          owedMinor += stepMinor;
          paidMinor += step;
        }
        expect(owedMinor).toBe(costOfPayment(share, 0, paidMinor));
      }),
    );
  });

  test.each([
    [{ amount: 500 }, 1000, 0, { ofSaleMinor: 0, ofLeadMinor: 500 }],
    [{ amount: 500 }, 1000, 500, { ofSaleMinor: 0, ofLeadMinor: 0 }],
    [{ amount: 500, due: "received" }, 1000, 0, { ofSaleMinor: 0, ofLeadMinor: 0 }],
    [{ percent: 12.5 }, 1000, 0, { ofSaleMinor: 125, ofLeadMinor: 0 }],
    [{ percent: 12.5 }, 20, 0, { ofSaleMinor: 2, ofLeadMinor: 0 }],
    [{ percent: 12.5 }, 28, 0, { ofSaleMinor: 4, ofLeadMinor: 0 }],
  ])("by %j, of a sale of which %s is paid, with %s owed for the lead before", (document, paid, before, owed) => {
    expect(costOfAcceptance(cost(document), paid, before)).toEqual(owed);
  });

  test.each([
    [{}, ""],
    [{ amount: 5, percent: 5 }, ""],
    [{ amount: -5 }, "amount"],
    [{ amount: 0.5 }, "amount"],
    [{ percent: 100.1 }, "percent"],
    [{ percent: 12.12345 }, "percent"],
    [{ percent: 10, due: "received" }, "due"],
    [{ amount: 5, due: "never" }, "due"],
  ])("%j is refused at %j", (document, place) => {
    expect(leadCostSchema.safeParse(document).error?.issues.map(({ path }) => path.join("."))).toEqual([place]);
  });
});
