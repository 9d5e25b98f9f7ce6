import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  type CaptureFact,
  decideTopUp,
  type KnownTopUp,
  nextLook,
  type PayPalFacts,
  type RefundFact,
  type TopUpDecision,
} from "../../src/payments/decide-top-up.ts";

const createdAt = new Date("2026-11-20T10:00:00Z");

const begun: KnownTopUp = {
  id: "top-up",
  state: "open",
  amountMinor: 10_000,
  currency: "GBP",
  captureId: null,
  createdAt,
  refunds: [],
};

const pounds = (value: string) => ({ currency: "GBP", value });

/** Knowledge after a decision, as it is stored. */
function learn(topUp: KnownTopUp, decision: TopUpDecision): KnownTopUp {
  const refunds = decision.refunds.map(({ knownId, ...refund }) => {
    const known = topUp.refunds.find(({ id }) => id === knownId);
    return { ...refund, id: known?.id ?? `ours-${refund.paypalId}`, origin: known?.origin ?? ("paypal" as const) };
  });
  return { ...topUp, state: decision.state, captureId: decision.captureId ?? topUp.captureId, refunds };
}

/** Everything that happens to one order at PayPal: what it says after each step. */
function tell(review: "none" | "good" | "bad", refundShares: readonly number[], lastRefund: string): PayPalFacts[] {
  const capture = (status: string): CaptureFact => ({ id: "C1", status, amount: pounds("100.00") });
  const facts = (order: string, captures: readonly CaptureFact[], refunds: readonly RefundFact[] = []) => ({
    order,
    orderAmount: pounds("100.00"),
    captures,
    refunds,
  });
  const told = [facts("PAYER_ACTION_REQUIRED", []), facts("APPROVED", [])];
  if (review !== "none") told.push(facts("COMPLETED", [capture("PENDING")]));
  if (review === "bad") return [...told, facts("COMPLETED", [capture("DECLINED")])];
  told.push(facts("COMPLETED", [capture("COMPLETED")]));
  const refunds: RefundFact[] = [];
  let left = 100;
  for (const [index, share] of refundShares.entries()) {
    const value = index === refundShares.length - 1 ? left : Math.floor(left * share);
    if (value === 0) continue;
    const last = index === refundShares.length - 1;
    const refund = { id: `R${index}`, amount: pounds(`${value}.00`), ownId: null, isReversal: false };
    refunds.push({ ...refund, status: "PENDING" });
    told.push(facts("COMPLETED", [capture("PARTIALLY_REFUNDED")], [...refunds]));
    refunds[refunds.length - 1] = { ...refund, status: last ? lastRefund : "COMPLETED" };
    told.push(facts("COMPLETED", [capture("PARTIALLY_REFUNDED")], [...refunds]));
    left -= value;
  }
  return told;
}

describe("what a top-up is", () => {
  const histories = fc.record({
    review: fc.constantFrom("none" as const, "good" as const, "bad" as const),
    shares: fc.array(fc.double({ min: 0, max: 0.9, noNaN: true }), { maxLength: 4 }),
    last: fc.constantFrom("COMPLETED", "FAILED", "PENDING"),
    order: fc.array(fc.nat(), { minLength: 1, maxLength: 30 }),
  });

  test("does not depend on the order in which PayPal's words arrive, nor on how often", () => {
    fc.assert(
      fc.property(histories, ({ review, shares, last, order }) => {
        const told = tell(review, shares, last);
        const final = told.at(-1);
        if (final === undefined) throw new Error("PayPal says something.");
        const heard = order.map((number) => told[number % told.length] ?? final);
        // The last word comes somewhere among the others.
        heard.splice(order.length % (heard.length + 1), 0, final);
        let credits = 0;
        let topUp = begun;
        for (const facts of [...heard, ...heard]) {
          const decision = decideTopUp(topUp, facts, createdAt);
          if (decision.state === "credited" && topUp.state !== "credited") credits += 1;
          topUp = learn(topUp, decision);
        }
        const direct = learn(begun, decideTopUp(begun, final, createdAt));
        const sorted = ({ refunds, ...rest }: KnownTopUp) => ({
          ...rest,
          refunds: refunds.toSorted((one, other) => (one.id < other.id ? -1 : 1)),
        });
        expect(sorted(topUp)).toEqual(sorted(direct));
        expect(credits).toBe(direct.state === "credited" ? 1 : 0);
        const taken = topUp.refunds.filter(({ isTaken }) => isTaken);
        expect(taken.every(({ state }) => state === "completed")).toBe(true);
        expect(taken.reduce((sum, { amountMinor }) => sum + amountMinor, 0)).toBeLessThanOrEqual(10_000);
      }),
      { numRuns: 1_000 },
    );
  });

  test("a second capture of the same order is not credited, and is a problem", () => {
    const captures = ["C1", "C2"].map((id) => ({ id, status: "COMPLETED", amount: pounds("100.00") }));
    const facts = { order: "COMPLETED", orderAmount: null, captures, refunds: [] };
    const decision = decideTopUp({ ...begun, state: "credited", captureId: "C2" }, facts, createdAt);
    expect(decision).toMatchObject({ state: "credited", captureId: "C2" });
    expect(decision.problems).toMatchObject([{ kind: "second_capture", key: "second-capture-C1" }]);
  });

  test("a capture that failed does not hide one that took the money", () => {
    const captures = [
      { id: "C1", status: "DECLINED", amount: pounds("100.00") },
      { id: "C2", status: "COMPLETED", amount: pounds("100.00") },
    ];
    const facts = { order: "COMPLETED", orderAmount: null, captures, refunds: [] };
    for (const topUp of [begun, { ...begun, state: "declined" as const, captureId: "C1" }]) {
      expect(decideTopUp(topUp, facts, createdAt)).toMatchObject({ state: "credited", captureId: "C2", problems: [] });
    }
  });

  test("refunds beyond the payment, or in another currency, are not taken and are problems", () => {
    const credited: KnownTopUp = { ...begun, state: "credited", captureId: "C1" };
    const refund = { status: "COMPLETED", ownId: null, isReversal: false };
    const refunds = [
      { ...refund, id: "R1", amount: pounds("60.00") },
      { ...refund, id: "R2", amount: pounds("60.00") },
      { ...refund, id: "R3", amount: { currency: "EUR", value: "1.00" } },
      { ...refund, id: "R4", amount: pounds("0.001") },
    ];
    const decision = decideTopUp(credited, { order: "COMPLETED", orderAmount: null, captures: [], refunds }, createdAt);
    expect(decision.refunds.map(({ paypalId, isTaken }) => [paypalId, isTaken])).toEqual([
      ["R1", true],
      ["R2", false],
    ]);
    expect(decision.problems.map(({ key, kind }) => `${kind} ${key}`).sort()).toEqual([
      "refund_mismatch refund-R2",
      "refund_mismatch refund-R3",
      "refund_mismatch refund-R4",
    ]);
  });

  test("one that nobody approved for a week is expired, and is credited all the same if it is paid after that", () => {
    const facts = { order: "PAYER_ACTION_REQUIRED", orderAmount: pounds("100.00"), captures: [], refunds: [] };
    const weekLater = new Date(createdAt.getTime() + 8 * 24 * 3_600_000);
    expect(decideTopUp(begun, facts, weekLater).state).toBe("expired");
    const captures = [{ id: "C1", status: "COMPLETED", amount: pounds("100.00") }];
    const paid = decideTopUp({ ...begun, state: "expired" }, { ...facts, captures }, weekLater);
    expect(paid.state).toBe("credited");
  });
});

describe("when PayPal is asked again", () => {
  const msUntilNext = (state: KnownTopUp["state"], ageMs: number, refunds: KnownTopUp["refunds"] = []) => {
    const now = new Date(createdAt.getTime() + ageMs);
    const next = nextLook({ state, createdAt, refunds }, now);
    return next === null ? null : next.getTime() - now.getTime();
  };
  const minute = 60_000;
  const day = 24 * 60 * minute;

  test("soon while it is young, less often as it grows old, never once nothing can change", () => {
    expect(msUntilNext("open", 0)).toBe(minute / 2);
    expect(msUntilNext("open", 10 * minute)).toBe(5 * minute);
    expect(msUntilNext("pending", 3 * day)).toBe(day / 4);
    expect(msUntilNext("credited", minute)).toBe(10 * minute);
    expect(msUntilNext("credited", 8 * day)).toBe(2 * day);
    expect(msUntilNext("credited", 100 * day)).toBe(7 * day);
    expect(msUntilNext("credited", 201 * day)).toBeNull();
    for (const state of ["declined", "refused", "expired", "failed"] as const)
      expect(msUntilNext(state, minute)).toBeNull();
  });

  test("while a refund of ours is not done, however old the payment is", () => {
    const refund = {
      id: "r",
      paypalId: null,
      origin: "staff" as const,
      amountMinor: 1,
      isReversal: false,
      isTaken: true,
    };
    expect(msUntilNext("credited", 300 * day, [{ ...refund, state: "requested" }])).toBe(day / 4);
    expect(msUntilNext("credited", 300 * day, [{ ...refund, state: "completed" }])).toBeNull();
  });
});
