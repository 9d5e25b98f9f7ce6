import type { Exchanged } from "../channels/http-exchange.ts";

/** What an attempt to tell a sender of a status came to. */
export type StatusOutcome =
  | { readonly kind: "told" }
  | { readonly kind: "retry"; readonly reason: string; readonly retryAfterMs: number | null }
  | { readonly kind: "failed"; readonly reason: string };

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

/** After the first, second, … attempt: two and a half days in all, so that a system that is down for a day hears of it. */
const retryDelaysMs = [
  minuteMs,
  5 * minuteMs,
  30 * minuteMs,
  2 * hourMs,
  6 * hourMs,
  12 * hourMs,
  18 * hourMs,
  24 * hourMs,
];
export const maximumStatusAttempts = retryDelaysMs.length + 1;

/** A wait that is asked for is kept up to this. */
const longestWaitMs = hourMs;

/** When the next attempt is made after `attempts` that did not go well; null: that was the last. */
export function nextStatusAttempt(attempts: number, retryAfterMs: number | null, now: Date): Date | null {
  const delayMs = retryDelaysMs[attempts - 1];
  return delayMs === undefined ? null : new Date(now.getTime() + Math.max(delayMs, retryAfterMs ?? 0));
}

/** Answers that another attempt may get better. */
const passing: ReadonlySet<number> = new Set([408, 425, 429]);

/** What an answer to a status callback means. Nothing but a 2xx says that it was heard. */
export function judgeStatusAnswer(exchanged: Exchanged): StatusOutcome {
  if (exchanged.kind === "failure") return { kind: "retry", reason: exchanged.detail, retryAfterMs: null };
  const { status, headers } = exchanged;
  if (status >= 200 && status < 300) return { kind: "told" };
  const reason = `They answered ${status}.`;
  if (status < 500 && !passing.has(status)) return { kind: "failed", reason };
  const seconds = /^\d{1,6}$/.exec(headers["retry-after"]?.trim() ?? "")?.[0];
  const retryAfterMs = seconds === undefined ? null : Math.min(Number(seconds) * 1000, longestWaitMs);
  return { kind: "retry", reason, retryAfterMs };
}
