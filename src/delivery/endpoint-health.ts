import type { Outcome } from "../channels/contract.ts";

/**
 * When an endpoint is paused and when it is tried again. Pure. A broken answer pauses at once; so do eight failures in
 * the last ten attempts. After the pause one delivery goes alone, as a probe: if it fails the pause is longer. What was
 * under way when the pause began and fails too is no probe, and changes nothing.
 */
export interface EndpointHealth {
  /** The last ten attempts, newest first: + went well, - did not. */
  readonly recent: string;
  readonly pausedUntil: Date | null;
  readonly pauseReason: string | null;
  readonly pauseCount: number;
}

const remembered = 10;
const failuresToPause = 8;
const firstPauseMs = 5 * 60_000;
const longestPauseMs = 60 * 60_000;

export function healthAfter(health: EndpointHealth, outcome: Outcome, now: Date): EndpointHealth {
  const failed = outcome.kind === "broken" || outcome.kind === "retry";
  const recent = ((failed ? "-" : "+") + health.recent).slice(0, remembered);
  if (!failed) return { recent, pausedUntil: null, pauseReason: null, pauseCount: 0 };
  if (health.pausedUntil !== null && health.pausedUntil > now) return { ...health, recent };
  const failures = recent.replaceAll("+", "").length;
  const wasProbe = health.pauseCount > 0;
  if (outcome.kind === "retry" && failures < failuresToPause && !wasProbe) return { ...health, recent };
  const pauseMs = Math.min(firstPauseMs * 2 ** health.pauseCount, longestPauseMs);
  return {
    recent,
    pausedUntil: new Date(now.getTime() + pauseMs),
    pauseReason: outcome.reason,
    pauseCount: health.pauseCount + 1,
  };
}
