import { exchange } from "../channels/http-exchange.ts";
import { userAgent } from "../channels/user-agent.ts";
import type { Context } from "../context.ts";
import { referralVersion, type StatusCallback } from "./protocol.ts";
import { signStatus } from "./sign-status.ts";
import { judgeStatusAnswer, type StatusOutcome } from "./status-outcome.ts";

/** A status on its way to whoever referred the lead. */
export interface DueStatus {
  readonly id: string;
  readonly leadId: string;
  readonly referralId: string;
  readonly referrer: string;
  readonly connectionId: string | null;
  readonly statusUrl: string | null;
  readonly statusKeyEncrypted: string | null;
  readonly sequence: number;
  readonly status: StatusCallback["status"];
  readonly reason: string | null;
  readonly reportedAt: Date;
  /** The number of this attempt, from 1. */
  readonly attemptCount: number;
}

const timeoutMs = 20_000;
const mostAnswerBytes = 4 * 1024;

/**
 * Tells a sender once what became of its lead: over HTTP, to the address that came with the referral, signed anew each time.
 * Never throws for what the other side or the network does.
 */
export async function deliverStatus(context: Context, due: DueStatus): Promise<StatusOutcome> {
  const { statusUrl, statusKeyEncrypted } = due;
  if (statusUrl === null || statusKeyEncrypted === null) {
    return { kind: "failed", reason: "They did not say where to report it." };
  }
  const body = JSON.stringify(callbackOf(due));
  const key = context.vault.decrypt(statusKeyEncrypted);
  const signed = signStatus(key, { id: due.id, sentAt: context.clock(), body });
  const headers = [
    ["user-agent", userAgent],
    ["content-type", "application/json"],
    ["accept", "application/json"],
    ...signed,
  ] as const;
  const request = { method: "POST", url: new URL(statusUrl), headers, body, timeoutMs, maxBodyBytes: mostAnswerBytes };
  return judgeStatusAnswer(await exchange(request, { allowHosts: context.config.allowHosts }));
}

/** What the sender is told, over whatever way. */
export function callbackOf({ referralId, status, reason, reportedAt, sequence }: DueStatus): StatusCallback {
  return { version: referralVersion, referralId, status, reason, at: reportedAt.toISOString(), sequence };
}
