import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { recordLeadEvent } from "../leads/lead-events.ts";
import { acceptOffer, lockOffer, wakeAfter } from "./answer-offer.ts";
import { endOffers } from "./end-offers.ts";

export interface TransferOutcome {
  readonly transferId: string;
  readonly transferred: boolean;
  readonly reason: string | null;
}

export type MarkTransferResult =
  | { readonly kind: "accepted" | "declined" }
  /** It was marked before, or its two minutes are over. */
  | { readonly kind: "over"; readonly state: string }
  | { readonly kind: "not_found" };

/**
 * Notes whether an agent handed the caller over. If so the lead is delivered over the partner's channel and charged; if not,
 * place and money go back, and the agent may ask for the next partner. Of several marks, and of a mark and the end of the
 * time, one counts.
 */
export async function markTransfer(
  context: Context,
  organisationId: string,
  { transferId, transferred, reason }: TransferOutcome,
  actor: string,
): Promise<MarkTransferResult> {
  const now = context.clock();
  const result = await inOrganisation(context.database, organisationId, async (transaction) => {
    const found = await lockOffer(transaction, transferId);
    if (found === null || found.delivery.offer !== "transfer") return { kind: "not_found" } as const;
    const { lead, delivery } = found;
    const { id, partnerId, timeZone, state, dueAt } = delivery;
    const partner = { id: partnerId, organisationId, timeZone };
    const about = { campaignId: lead.campaignId, partnerId };
    if (state !== "offered") return { kind: "over", state } as const;
    if (dueAt === null || dueAt <= now) {
      await endOffers(transaction, partner, [id], { state: "expired", reason: "There was no answer in time." }, now);
      return { kind: "over", state: "expired", ...about } as const;
    }
    const kind = transferred ? "transfer_made" : "transfer_failed";
    const detail = { deliveryId: id, partnerId, reason };
    await recordLeadEvent(transaction, { organisationId, leadId: lead.id, kind, actor, detail }, now);
    if (!transferred) {
      await endOffers(transaction, partner, [id], { state: "declined", reason }, now);
      return { kind: "declined", ...about } as const;
    }
    // What it waited for is not waited for any more.
    await transaction
      .updateTable("deliveries")
      .set({ state: "cancelled", dueAt: null, finishedAt: now })
      .where("leadId", "=", lead.id)
      .where("state", "=", "held")
      .execute();
    await acceptOffer(transaction, delivery, now);
    return { kind: "accepted", ...about } as const;
  });
  if ("campaignId" in result) await wakeAfter(context, organisationId, result);
  return result;
}
