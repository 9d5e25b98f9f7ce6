import { sendReferrals } from "../../queues/send-referrals.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { recordLeadEvent } from "../leads/lead-events.ts";
import type { Change } from "../organisations/record-change.ts";

export type RetryResult =
  | { readonly kind: "retried" | "not_found" | "erased" }
  | { readonly kind: "state"; readonly state: string };

/** Tries a referral that was given up again, from now on for another three days: the same content under the same key. */
export async function retryReferral(context: Context, change: Change, id: string): Promise<RetryResult> {
  const { organisationId, by, at } = change;
  const outcome = await inOrganisation(context.database, organisationId, async (transaction) => {
    const row = await transaction
      .updateTable("referrals")
      .set({ state: "due", dueAt: at, tries: 0, retrySince: at, reason: null, finishedAt: null })
      .where("id", "=", id)
      .where("state", "=", "failed")
      .where("content", "is not", null)
      .returning(["leadId", "linkId", "linkName", "remoteOrganisation"])
      .executeTakeFirst();
    if (row !== undefined) {
      const { leadId, linkId, linkName: link, remoteOrganisation: organisation } = row;
      const detail = { referralId: id, link, organisation };
      await recordLeadEvent(transaction, { organisationId, leadId, kind: "deal_retried", actor: by, detail }, at);
      return { kind: "due", linkId } as const;
    }
    const found = await transaction
      .selectFrom("referrals")
      .select(["state", "content"])
      .where("id", "=", id)
      .executeTakeFirst();
    if (found === undefined) return { kind: "not_found" } as const;
    return found.content === null ? ({ kind: "erased" } as const) : ({ kind: "state", state: found.state } as const);
  });
  if (outcome.kind !== "due") return outcome;
  context.waker.wake(sendReferrals, { organisationId, linkId: outcome.linkId });
  return { kind: "retried" };
}
