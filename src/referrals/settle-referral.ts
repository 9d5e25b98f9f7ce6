import { sql } from "kysely";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { storable } from "../delivery/record-exchange.ts";
import { type LeadEventKind, recordLeadEvent } from "../leads/lead-events.ts";
import type { ClaimedReferral } from "./claim-referrals.ts";
import type { ReferralOutcome } from "./judge-referral.ts";
import { nextTryAt } from "./retry-times.ts";

/** One try that has ended, as it is to be stored. */
export interface FinishedTry {
  readonly referral: ClaimedReferral;
  readonly outcome: ReferralOutcome;
  readonly status: number | null;
  readonly response: Record<string, unknown> | null;
  readonly startedAt: Date;
  readonly durationMs: number;
}

/** What a referral comes to by a try. */
interface Settlement {
  readonly state: "due" | "sent" | "refused" | "failed" | "cancelled";
  readonly dueAt: Date | null;
  readonly reason: string | null;
  readonly mayHaveArrived: boolean;
  /** What is noted in the deal; null: nothing yet. */
  readonly event: LeadEventKind | null;
}

/**
 * Settles one try in one transaction: the record of it, the referral's state, and a note in the deal when it has come to an end.
 * A referral that was sent counts whoever sent it; any other result counts only as long as no later try has begun.
 */
export async function settleReferral(context: Context, organisationId: string, finished: FinishedTry): Promise<void> {
  const now = context.clock();
  const { referral, outcome } = finished;
  const settlement = decideSettlement(referral, outcome, now);
  await inOrganisation(context.database, organisationId, async (transaction) => {
    const isSettled = await updateReferral(transaction, referral, outcome, settlement, now);
    // Of what came too late nothing is kept that they wrote: the lead may have been erased since.
    const kept = isSettled ? finished : { ...finished, response: null };
    await insertAttempt(transaction, organisationId, kept, isSettled ? settlement : null);
    if (!isSettled || settlement.event === null) return;
    if (outcome.kind === "sent") await rememberName(transaction, referral, storable(outcome.organisation));
    const received = outcome.kind === "sent" ? receivedBy(outcome) : {};
    const detail = { referralId: referral.id, link: referral.linkName, reason: settlement.reason, ...received };
    const event = { organisationId, leadId: referral.leadId, kind: settlement.event, actor: "system", detail };
    await recordLeadEvent(transaction, event, now);
  });
}

/** The one place that decides what a try means for its referral. */
export function decideSettlement(
  { tries, retrySince, mayHaveArrived }: Pick<ClaimedReferral, "tries" | "retrySince" | "mayHaveArrived">,
  outcome: ReferralOutcome,
  now: Date,
): Settlement {
  const reasonOf = (reason: string, isDoubtful: boolean) => storable(isDoubtful ? `${reason} ${doubt}` : reason);
  switch (outcome.kind) {
    case "sent":
      return { state: "sent", dueAt: null, reason: null, mayHaveArrived: true, event: "deal_sent" };
    case "refused": {
      const reason = reasonOf(outcome.reason, mayHaveArrived);
      return { state: "refused", dueAt: null, reason, mayHaveArrived, event: "deal_refused" };
    }
    case "cancelled": {
      const reason = reasonOf(outcome.reason, mayHaveArrived);
      return { state: "cancelled", dueAt: null, reason, mayHaveArrived, event: "deal_cancelled" };
    }
    case "trouble": {
      const isDoubtful = mayHaveArrived || outcome.mayHaveArrived;
      const dueAt = nextTryAt(tries, retrySince, now, outcome.retryAfterMs);
      if (dueAt !== null) {
        const reason = storable(outcome.reason);
        return { state: "due", dueAt, reason, mayHaveArrived: isDoubtful, event: null };
      }
      const reason = reasonOf(`Given up after three days. ${outcome.reason}`, isDoubtful);
      return { state: "failed", dueAt: null, reason, mayHaveArrived: isDoubtful, event: "deal_failed" };
    }
  }
}

const doubt = "An earlier try may have arrived all the same: ask them before you refer it again.";

async function updateReferral(
  transaction: Database,
  { id, claimToken }: ClaimedReferral,
  outcome: ReferralOutcome,
  { state, dueAt, reason, mayHaveArrived }: Settlement,
  now: Date,
): Promise<boolean> {
  const sent = outcome.kind === "sent" ? receivedBy(outcome) : null;
  const { numUpdatedRows } = await transaction
    .updateTable("referrals")
    .set({ state, dueAt, reason, mayHaveArrived, claimToken: null, sendingSince: null })
    .set({ finishedAt: dueAt === null ? now : null })
    .$if(sent !== null, (update) =>
      update.set({ receivedAs: sent?.receivedAs ?? null, remoteOrganisation: sent?.organisation ?? null }),
    )
    .where("id", "=", id)
    .where("state", "=", "due")
    .$if(sent === null, (update) => update.where("claimToken", "=", claimToken))
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

function receivedBy({ receivedAs, organisation }: { readonly receivedAs: string; readonly organisation: string }) {
  return { receivedAs: storable(receivedAs), organisation: storable(organisation) };
}

/** A try that was taken for interrupted and comes back all the same says more than that. */
async function insertAttempt(
  transaction: Database,
  organisationId: string,
  { referral, outcome, status, response, startedAt, durationMs }: FinishedTry,
  settlement: Settlement | null,
): Promise<void> {
  const row = {
    startedAt,
    durationMs,
    outcome: outcome.kind,
    reason: outcome.kind === "sent" || settlement === null ? null : storable(outcome.reason),
    mayHaveArrived: outcome.kind === "sent" || (outcome.kind === "trouble" && outcome.mayHaveArrived),
    status,
    response: response === null ? null : JSON.stringify(response),
    retryAt: settlement?.dueAt ?? null,
  };
  await transaction
    .insertInto("referralAttempts")
    .values({ referralId: referral.id, number: referral.attemptCount, organisationId, ...row })
    .onConflict((conflict) => conflict.columns(["referralId", "number"]).doUpdateSet(row))
    .execute();
}

/** The next confirmation names the other side as it named itself. */
async function rememberName(transaction: Database, { outboundId, url }: ClaimedReferral, name: string): Promise<void> {
  if (outboundId === null || url === null) return;
  await transaction
    .updateTable("outbounds")
    .set({ remoteOrganisation: name })
    .where("id", "=", outboundId)
    .where("url", "=", url)
    .where(sql<boolean>`remote_organisation is distinct from ${name}`)
    .execute();
}
