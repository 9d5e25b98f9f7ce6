import type { Arrival, Outcome } from "../channels/contract.ts";
import type { DeliveryState } from "../db/tables.ts";

/**
 * What an attempt's outcome makes of its delivery (design, section 4). Pure.
 *
 *   try   1      2      3      4      5
 *   at    0   +1 min +5 min +30 min +2 h, each a tenth earlier or later
 */
export const retryDelaysMs = [60_000, 300_000, 1_800_000, 7_200_000] as const;
export const maximumTries = retryDelaysMs.length + 1;

export interface AttemptedDelivery {
  /** Tries so far, this one included. */
  readonly tries: number;
  /** An earlier attempt may have reached the partner. */
  readonly mayHaveArrived: boolean;
  readonly redeliveryOf: "delivered" | "uncertain" | null;
}

export interface NextState {
  readonly state: DeliveryState;
  /** The next attempt; null when there is none. */
  readonly retryAt: Date | null;
  readonly mayHaveArrived: boolean;
  readonly reason: string | null;
}

/** Takes a delivery, what its attempt came to, the time, and a number from 0 to 1 that spreads retries. */
export function nextState(delivery: AttemptedDelivery, outcome: Outcome, now: Date, spread: number): NextState {
  switch (outcome.kind) {
    case "accepted":
      return { state: "delivered", retryAt: null, mayHaveArrived: true, reason: outcome.reason };
    case "rejected":
      return ended(delivery, "rejected", delivery.mayHaveArrived, outcome.reason);
    case "broken": {
      const mayHaveArrived = delivery.mayHaveArrived || outcome.mayHaveArrived === true;
      return ended(delivery, givenUp(mayHaveArrived), mayHaveArrived, outcome.reason);
    }
    case "retry": {
      // A readable answer that took nothing is no doubt; only silence after sending is.
      const mayHaveArrived = delivery.mayHaveArrived || outcome.arrived === "unknown";
      const delayMs = retryDelaysMs[delivery.tries - 1];
      if (delayMs === undefined) return ended(delivery, givenUp(mayHaveArrived), mayHaveArrived, outcome.reason);
      const waitMs = Math.max(Math.round(delayMs * (0.9 + 0.2 * spread)), outcome.retryAfterMs ?? 0);
      const retryAt = new Date(now.getTime() + waitMs);
      return { state: "sending", retryAt, mayHaveArrived, reason: outcome.reason };
    }
  }
}

/** A lead that may be with the partner is never quietly given to the next one. */
function givenUp(mayHaveArrived: boolean): "uncertain" | "failed" {
  return mayHaveArrived ? "uncertain" : "failed";
}

function ended(
  { redeliveryOf }: AttemptedDelivery,
  state: DeliveryState,
  mayHaveArrived: boolean,
  reason: string | null,
): NextState {
  return { state: redeliveryOf ?? state, retryAt: null, mayHaveArrived, reason };
}

/** A 5xx says that the partner had the request; whether it took the lead is another matter. */
export function arrivalOf(outcome: Outcome): Arrival {
  switch (outcome.kind) {
    case "retry":
      return outcome.arrived;
    case "broken":
      return "unknown";
    default:
      return "yes";
  }
}
