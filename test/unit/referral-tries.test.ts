import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { ReferralOutcome } from "../../src/referrals/judge-referral.ts";
import { nextTryAt, tryingForMs } from "../../src/referrals/retry-times.ts";
import { decideSettlement } from "../../src/referrals/settle-referral.ts";

/** When a referral is tried again, and what each try makes of it. */

const since = new Date("2026-11-20T10:00:00Z");
const minuteMs = 60_000;

/** Every try of a referral whose other side never answers, in minutes after the first; each takes `tryMs`. */
function triesOf(retryAfterMs: number | null, tryMs = 0): number[] {
  const minutes = [0];
  let now = since;
  for (let tries = 1; ; tries += 1) {
    const at = nextTryAt(tries, since, new Date(now.getTime() + tryMs), retryAfterMs);
    if (at === null) return minutes;
    minutes.push((at.getTime() - since.getTime()) / minuteMs);
    now = at;
  }
}

describe("a referral that meets trouble", () => {
  test("is tried at once, after 1, 5 and 30 minutes, 2 hours, and then every 2 hours for three days", () => {
    const minutes = triesOf(null);
    expect(minutes.slice(0, 6)).toEqual([0, 1, 6, 36, 156, 276]);
    const gaps = minutes.slice(4).map((minute, index) => minute - (minutes[index + 3] ?? 0));
    expect(new Set(gaps)).toEqual(new Set([120]));
    expect(minutes.at(-1)).toBeGreaterThan(70 * 60);
    expect(minutes.at(-1)).toBeLessThanOrEqual(72 * 60);
  });

  test("waits longer where the other side asks for it, and no shorter", () => {
    expect(triesOf(10 * minuteMs).slice(0, 5)).toEqual([0, 10, 20, 50, 170]);
    expect(triesOf(0)).toEqual(triesOf(null));
  });

  test("always comes to an end, later than it began, whatever it is asked to wait and however long a try takes", () => {
    const wait = fc.option(fc.integer({ min: 0, max: 86_400_000 }), { nil: null });
    fc.assert(
      fc.property(wait, fc.integer({ min: 0, max: 60_000 }), (retryAfterMs, tryMs) => {
        const minutes = triesOf(retryAfterMs, tryMs);
        const isRising = minutes.every((minute, index) => index === 0 || minute > (minutes[index - 1] ?? 0));
        return isRising && minutes.every((minute) => minute * minuteMs <= tryingForMs) && minutes.length <= 50;
      }),
    );
  });
});

describe("a try", () => {
  const now = new Date(since.getTime() + minuteMs);
  const settle = (outcome: ReferralOutcome, mayHaveArrived = false, at = now) =>
    decideSettlement({ tries: 1, retrySince: since, mayHaveArrived }, outcome, at);
  const trouble = { kind: "trouble", reason: "They answered 503.", retryAfterMs: null } as const;

  test("that arrived ends it, with a note", () => {
    const sent = { kind: "sent", receivedAs: "x", organisation: "Receivers" } as const;
    expect(settle(sent)).toMatchObject({ state: "sent", dueAt: null, event: "deal_sent" });
  });

  test("that was refused ends it, with the reason in a note", () => {
    const settled = settle({ kind: "refused", reason: "Wrong key." });
    expect(settled).toMatchObject({ state: "refused", dueAt: null, event: "deal_refused", reason: "Wrong key." });
  });

  test("that met trouble leaves it due, without a note", () => {
    const settled = settle({ ...trouble, mayHaveArrived: false });
    expect(settled).toMatchObject({ state: "due", event: null, mayHaveArrived: false });
    expect(settled.dueAt).toEqual(new Date(now.getTime() + minuteMs));
  });

  test("that is the last of three days gives it up, with a note", () => {
    const late = new Date(since.getTime() + tryingForMs);
    const settled = settle({ ...trouble, mayHaveArrived: false }, false, late);
    expect(settled).toMatchObject({ state: "failed", dueAt: null, event: "deal_failed" });
    expect(settled.reason).toBe("Given up after three days. They answered 503.");
  });

  test("that ends it says that an earlier one may have arrived", () => {
    expect(settle({ ...trouble, mayHaveArrived: true }).mayHaveArrived).toBe(true);
    for (const outcome of [
      { kind: "refused", reason: "Gone." },
      { kind: "cancelled", reason: "Switched off." },
    ] as const) {
      expect(settle(outcome, true)).toMatchObject({
        mayHaveArrived: true,
        reason: expect.stringContaining("may have arrived all the same"),
      });
    }
  });

  test("that quotes what PostgreSQL cannot keep is kept all the same", () => {
    expect(settle({ kind: "refused", reason: "a\u0000b\ud800c" }).reason).toBe("a\ufffdb\ufffdc");
  });
});
