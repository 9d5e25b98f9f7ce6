import { sendReferrals } from "../../queues/send-referrals.ts";
import type { Context } from "../context.ts";
import { describeError } from "../describe-error.ts";
import { type ClaimedReferral, claimReferrals } from "./claim-referrals.ts";
import { sendOverConnection } from "./send-over-connection.ts";
import { type Carried, sendOverOutbound } from "./send-over-outbound.ts";
import { settleReferral } from "./settle-referral.ts";

/** Referrals over one link that one job has under way at once. */
const concurrency = 5;

/** A job hands the worker back after this long; what is left goes to another. */
const sliceMs = 10_000;

/**
 * Sends the referrals over one link that are due, until none is left or the slice is over. Each link has jobs of its own, so
 * that one whose other side hangs holds up no other. Any number may run at once: each referral is claimed by one.
 */
export async function sendDueReferrals(context: Context, organisationId: string, linkId: string): Promise<void> {
  const endsAt = performance.now() + sliceMs;
  for (;;) {
    const claimed = await claimReferrals(context.database, organisationId, linkId, concurrency, context.clock());
    const sent = await Promise.allSettled(claimed.map(async (one) => sendReferral(context, organisationId, one)));
    for (const one of sent) if (one.status === "rejected") throw one.reason;
    if (claimed.length < concurrency || context.stopping.signal.aborted) return;
    if (performance.now() < endsAt) continue;
    context.waker.wake(sendReferrals, { organisationId, linkId });
    return;
  }
}

async function sendReferral(context: Context, organisationId: string, referral: ClaimedReferral): Promise<void> {
  const startedAt = context.clock();
  const startedMs = performance.now();
  const { outcome, status, response } = await carrySafely(context, organisationId, referral);
  const durationMs = Math.round(performance.now() - startedMs);
  const { id: referralId, leadId, attemptCount: attempt } = referral;
  context.log.info({ referralId, leadId, attempt, outcome: outcome.kind, status, durationMs }, "referral.attempted");
  await settleReferral(context, organisationId, { referral, outcome, status, response, startedAt, durationMs });
}

/** A fault of our own is trouble too: it may pass, and a referral is never tried for ever. */
async function carrySafely(context: Context, organisationId: string, referral: ClaimedReferral): Promise<Carried> {
  try {
    return await carry(context, organisationId, referral);
  } catch (error) {
    context.log.error({ referralId: referral.id, error: describeError(error) }, "referral.fault");
    const reason = "An error of Handoff's own; its log says which.";
    const outcome = { kind: "trouble", reason, mayHaveArrived: true, retryAfterMs: null } as const;
    return { outcome, status: null, response: null };
  }
}

/** Each kind of link has its own way to the other side. */
async function carry(context: Context, organisationId: string, referral: ClaimedReferral): Promise<Carried> {
  if (referral.connectionId !== null) return sendOverConnection(context, organisationId, referral);
  return sendOverOutbound(context, referral);
}
