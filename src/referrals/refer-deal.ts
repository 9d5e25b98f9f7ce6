import { sendReferrals } from "../../queues/send-referrals.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import type { ReferralState } from "../db/referral-tables.ts";
import type { ErrorCode } from "../errors.ts";
import type { Change } from "../organisations/record-change.ts";
import { confirmationText } from "./confirmation.ts";
import { insertReferral } from "./insert-referral.ts";
import { partyOf } from "./outbound.ts";
import { type Deal, isNothing, isShareable, readDeal, type SharedDeal, shareDeal } from "./share-deal.ts";

export interface DealReferral {
  readonly leadId: string;
  readonly outboundId: string;
  /** The person was told what it means (`confirmationText`) and said yes. */
  readonly confirmed: boolean;
  /** The user who refers it; null for a program. */
  readonly userId: string | null;
}

export type ReferDealResult =
  | { readonly kind: "referred" | "already"; readonly referralId: string }
  | { readonly kind: "lead_not_found" | "outbound_not_found" }
  | { readonly kind: "refused"; readonly code: ErrorCode; readonly detail: string };

/**
 * Refers a deal to another organisation over an outbound: freezes what goes, as it was confirmed, and has it sent. Once
 * referred over an outbound, the same is answered again, unless it was refused or never sent. Refuses a deal that is not in
 * the outbound's stage, one of which nothing may be shared, and one without the confirmation.
 */
export async function referDeal(context: Context, change: Change, referral: DealReferral): Promise<ReferDealResult> {
  const { organisationId } = change;
  const { leadId, outboundId, confirmed, userId } = referral;
  const result = await inOrganisation(
    context.database,
    organisationId,
    async (transaction): Promise<ReferDealResult> => {
      const deal = await readDeal(transaction, leadId, "lock");
      if (deal === null) return { kind: "lead_not_found" };
      const outbound = await findOutbound(transaction, outboundId);
      if (outbound === null) return { kind: "outbound_not_found" };
      const earlier = await findEarlier(transaction, leadId, outboundId);
      if (earlier !== null && confirmed) return { kind: "already", referralId: earlier };
      const shared = shareDeal(deal, isShareable);
      const refusal = whyNotReferred(deal, shared, outbound);
      if (refusal !== null) return { kind: "refused", ...refusal };
      const party = partyOf(outbound);
      if (!confirmed) {
        const detail = confirmationText(party, `the outbound “${outbound.name}”`);
        return { kind: "refused", code: "confirmation_needed", detail };
      }
      const link = {
        outboundId,
        connectionId: null,
        name: outbound.name,
        url: outbound.url,
        remoteOrganisation: outbound.remoteOrganisation,
      };
      const referralId = await insertReferral(transaction, context, change, { deal, shared, link, party, userId });
      return { kind: "referred", referralId };
    },
  );
  if (result.kind === "referred") context.waker.wake(sendReferrals, { organisationId, linkId: outboundId });
  return result;
}

interface OfferedOutbound {
  readonly name: string;
  readonly url: string;
  readonly stageId: string;
  readonly enabled: boolean;
  readonly remoteOrganisation: string | null;
}

async function findOutbound(transaction: Database, id: string): Promise<OfferedOutbound | null> {
  const outbound = await transaction
    .selectFrom("outbounds")
    .select(["name", "url", "stageId", "enabled", "remoteOrganisation"])
    .where("id", "=", id)
    .where("deletedAt", "is", null)
    .executeTakeFirst();
  return outbound ?? null;
}

/** The referral of a lead over a link that another of the same would double. Under the lead's lock nobody makes one meanwhile. */
export async function findEarlier(transaction: Database, leadId: string, linkId: string): Promise<string | null> {
  const row = await transaction
    .selectFrom("referrals")
    .select("id")
    .where("leadId", "=", leadId)
    .where("linkId", "=", linkId)
    .where("state", "in", ["due", "sent", "failed"])
    .executeTakeFirst();
  return row?.id ?? null;
}

/** What stands against referring a deal over any link, in a code and in words; null: nothing. */
export function whyNotShared(deal: Deal, shared: SharedDeal): { code: ErrorCode; detail: string } | null {
  if (deal.state === "erased") return { code: "lead_erased", detail: "Nothing personal is left of it." };
  if (deal.state === "invalid") {
    return { code: "lead_state", detail: "Some of its fields are not right: it cannot be referred." };
  }
  if (isNothing(shared)) {
    const detail =
      "The lead has no value in a field that its campaign marks as shareable, and no note that is marked so: nothing would go.";
    return { code: "nothing_shareable", detail };
  }
  return null;
}

function whyNotReferred(
  deal: Deal,
  shared: SharedDeal,
  outbound: OfferedOutbound,
): { code: ErrorCode; detail: string } | null {
  const general = whyNotShared(deal, shared);
  if (general !== null) return general;
  if (!outbound.enabled) return { code: "outbound_disabled", detail: `Switch “${outbound.name}” on to refer over it.` };
  if (deal.stageId === outbound.stageId) return null;
  const where = deal.stageId === null ? "The lead stands in no workflow" : "The lead stands in another stage";
  return { code: "not_offered", detail: `${where}: “${outbound.name}” is for one stage of one workflow.` };
}

/** What may be referred of a lead, and over which of the outbounds for where it stands. */
export interface DealOffer {
  readonly shared: SharedDeal;
  /** Why nothing of it goes, over whatever outbound; null where something may. */
  readonly refusal: string | null;
  readonly outbounds: {
    readonly id: string;
    readonly name: string;
    readonly organisation: string | null;
    /** The text to confirm. */
    readonly confirmation: string;
    /** What it was referred over this outbound as, and how that stands. */
    readonly referral: { readonly id: string; readonly state: ReferralState } | null;
  }[];
}

/** Gives null where the organisation has no such lead. */
export async function offerOutbounds(transaction: Database, leadId: string): Promise<DealOffer | null> {
  const deal = await readDeal(transaction, leadId, "look");
  if (deal === null) return null;
  const shared = shareDeal(deal, isShareable);
  const refusal = whyNotShared(deal, shared)?.detail ?? null;
  if (deal.stageId === null || deal.state === "erased") return { shared, refusal, outbounds: [] };
  const outbounds = await transaction
    .selectFrom("outbounds")
    .select(["id", "name", "url", "remoteOrganisation"])
    .where("stageId", "=", deal.stageId)
    .where("deletedAt", "is", null)
    .where("enabled", "=", true)
    .orderBy("id")
    .execute();
  const referrals = await transaction
    .selectFrom("referrals")
    .select(["id", "state", "linkId"])
    .where("leadId", "=", leadId)
    .orderBy("id")
    .execute();
  // The latest over each.
  const byLink = new Map(referrals.map(({ id, state, linkId }) => [linkId, { id, state }]));
  return {
    shared,
    refusal,
    outbounds: outbounds.map((outbound) => ({
      id: outbound.id,
      name: outbound.name,
      organisation: outbound.remoteOrganisation,
      confirmation: confirmationText(partyOf(outbound), `the outbound “${outbound.name}”`),
      referral: byLink.get(outbound.id) ?? null,
    })),
  };
}
