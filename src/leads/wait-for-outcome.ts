import { setTimeout } from "node:timers/promises";
import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";

/** What whoever sent a lead may know of it: not who got it. */
export interface LeadOutcome {
  readonly state: string;
  readonly sold: boolean;
  /** Why it is not sold, or what it waits for: a code. */
  readonly reason: string | null;
}

const firstPauseMs = 20;
const longestPauseMs = 250;

/** Each waiting request asks the database a few times a second: beyond this many at once, the answer is given without. */
const mostWaiting = 100;
const waiting = new WeakMap<Context, number>();

/** Waits until a lead is sold, held or finished otherwise, at most `waitMs`; null where it is not by then. */
export async function waitForOutcome(
  context: Context,
  organisationId: string,
  leadId: string,
  waitMs: number,
): Promise<LeadOutcome | null> {
  const others = waiting.get(context) ?? 0;
  if (waitMs === 0 || others >= mostWaiting) return null;
  waiting.set(context, others + 1);
  try {
    return await poll(context, organisationId, leadId, performance.now() + waitMs);
  } finally {
    waiting.set(context, (waiting.get(context) ?? 1) - 1);
  }
}

async function poll(
  context: Context,
  organisationId: string,
  leadId: string,
  endsAt: number,
): Promise<LeadOutcome | null> {
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    const leftMs = endsAt - performance.now();
    if (leftMs <= 0 || context.stopping.signal.aborted) return null;
    await setTimeout(Math.min(pauseMs, leftMs));
    const outcome = await readOutcome(context, organisationId, leadId);
    if (outcome !== null) return outcome;
  }
}

const codeSchema = z.object({ code: z.string() });

async function readOutcome(context: Context, organisationId: string, leadId: string): Promise<LeadOutcome | null> {
  const lead = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("leads")
      .select(["state", "stateReason", "soldCount"])
      .where("id", "=", leadId)
      .executeTakeFirstOrThrow(),
  );
  if (lead.state === "received" || lead.state === "routing") return null;
  const reason = codeSchema.safeParse(lead.stateReason).data?.code ?? null;
  return { state: lead.state, sold: lead.soldCount > 0, reason };
}
