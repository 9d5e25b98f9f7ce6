import { describe, expect, test } from "@jest/globals";
import type { Arrival, Outcome } from "../../src/channels/contract.ts";
import { type EndpointHealth, healthAfter } from "../../src/delivery/endpoint-health.ts";
import { maximumTries, nextState } from "../../src/delivery/next-state.ts";

const now = new Date("2026-03-04T10:00:00Z");
const first = { tries: 1, mayHaveArrived: false, redeliveryOf: null };
const retry = (arrived: Arrival = "no", retryAfterMs: number | null = null): Outcome => ({
  kind: "retry",
  reason: "it answered 503",
  arrived,
  retryAfterMs,
});
const accepted: Outcome = { kind: "accepted", reference: "A1", reason: null, price: null };
const broken: Outcome = { kind: "broken", reason: "it answered 404" };
const minutesLater = (date: Date | null) => ((date?.getTime() ?? 0) - now.getTime()) / 60_000;

describe("what an outcome makes of a delivery", () => {
  test("tries follow at 1, 5, 30 and 120 minutes, a tenth earlier or later, and then no more", () => {
    const waits = [1, 2, 3, 4].map((tries) => minutesLater(nextState({ ...first, tries }, retry(), now, 0.5).retryAt));
    expect(waits).toEqual([1, 5, 30, 120]);
    expect(minutesLater(nextState(first, retry(), now, 0).retryAt)).toBeCloseTo(0.9);
    expect(minutesLater(nextState(first, retry(), now, 1).retryAt)).toBeCloseTo(1.1);
    expect(nextState({ ...first, tries: maximumTries }, retry(), now, 0.5)).toMatchObject({
      state: "failed",
      retryAt: null,
    });
  });

  test("a partner's wish to wait longer is honoured", () => {
    expect(minutesLater(nextState(first, retry("no", 600_000), now, 0.5).retryAt)).toBe(10);
    expect(minutesLater(nextState(first, retry("no", 1_000), now, 0.5).retryAt)).toBe(1);
  });

  test("used up, and one may have arrived: uncertain, never quietly given to the next", () => {
    const last = { ...first, tries: maximumTries };
    expect(nextState(last, retry("unknown"), now, 0.5).state).toBe("uncertain");
    expect(nextState({ ...last, mayHaveArrived: true }, retry("no"), now, 0.5).state).toBe("uncertain");
    expect(nextState({ ...last, mayHaveArrived: true }, broken, now, 0.5).state).toBe("uncertain");
    expect(nextState(last, broken, now, 0.5).state).toBe("failed");
    expect(nextState(first, { ...broken, mayHaveArrived: true }, now, 0.5).state).toBe("uncertain");
  });

  test("a delivered lead that is sent again stays delivered whatever the partner says", () => {
    const again = { ...first, redeliveryOf: "delivered" as const };
    const outcomes: Outcome[] = [accepted, { kind: "rejected", reason: "duplicate" }, broken];
    expect(outcomes.map((outcome) => nextState(again, outcome, now, 0.5).state)).toEqual([
      "delivered",
      "delivered",
      "delivered",
    ]);
    expect(nextState({ ...again, tries: maximumTries }, retry(), now, 0.5).state).toBe("delivered");
  });

  test("an uncertain lead that is sent again is delivered when the partner accepts, else uncertain still", () => {
    const again = { ...first, redeliveryOf: "uncertain" as const, mayHaveArrived: true };
    expect(nextState(again, accepted, now, 0.5).state).toBe("delivered");
    expect(nextState(again, { kind: "rejected", reason: "duplicate" }, now, 0.5).state).toBe("uncertain");
  });
});

describe("when an endpoint is paused", () => {
  const healthy: EndpointHealth = { recent: "", pausedUntil: null, pauseReason: null, pauseCount: 0 };
  const healthAfterAll = (outcomes: readonly Outcome[]) =>
    outcomes.reduce<EndpointHealth>((health, outcome) => healthAfter(health, outcome, now), healthy);

  test("a broken answer pauses it at once", () => {
    expect(minutesLater(healthAfterAll([accepted, broken]).pausedUntil)).toBe(5);
  });

  test("seven failures in the last ten do not pause it, the eighth does", () => {
    const seven = Array.from({ length: 7 }, () => retry());
    expect(healthAfterAll([accepted, accepted, ...seven]).pausedUntil).toBeNull();
    expect(healthAfterAll([accepted, accepted, ...seven, retry()]).pausedUntil).not.toBeNull();
  });

  test("attempts that were under way when it was paused do not lengthen the pause", () => {
    expect(minutesLater(healthAfterAll([broken, retry(), broken, retry()]).pausedUntil)).toBe(5);
  });

  test("a refusal is the partner's right, not a failure", () => {
    const refusals = Array.from({ length: 10 }, (): Outcome => ({ kind: "rejected", reason: "full" }));
    expect(healthAfterAll(refusals)).toMatchObject({ pausedUntil: null, recent: "++++++++++" });
  });

  test("each probe that fails doubles the pause up to an hour; one that goes well ends it", () => {
    let paused = healthAfter(healthy, broken, now);
    const pauses: number[] = [];
    for (let probes = 0; probes < 5; probes += 1) {
      const probedAt = paused.pausedUntil ?? now;
      paused = healthAfter(paused, retry(), probedAt);
      pauses.push(((paused.pausedUntil ?? now).getTime() - probedAt.getTime()) / 60_000);
    }
    expect(pauses).toEqual([10, 20, 40, 60, 60]);
    expect(healthAfter(paused, accepted, now)).toMatchObject({ pausedUntil: null, pauseCount: 0 });
  });
});
