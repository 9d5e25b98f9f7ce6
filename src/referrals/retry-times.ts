const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

/** After the first, second, … try that did not go well; then as after the last of these. */
const delaysMs = [minuteMs, 5 * minuteMs, 30 * minuteMs, 2 * hourMs];

/** A referral is tried for this long. */
export const tryingForMs = 72 * hourMs;

/**
 * When a referral is tried again after its `tries`th try went wrong at `now`; null where that would be later than three days
 * after `since`, when it was made or was last retried by hand. A wait that the other side asked for is kept.
 */
export function nextTryAt(tries: number, since: Date, now: Date, retryAfterMs: number | null): Date | null {
  const usualMs = delaysMs[Math.min(tries, delaysMs.length) - 1] ?? minuteMs;
  const at = new Date(now.getTime() + Math.max(usualMs, retryAfterMs ?? 0));
  return at.getTime() - since.getTime() > tryingForMs ? null : at;
}
