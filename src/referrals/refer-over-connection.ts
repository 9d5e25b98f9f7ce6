import { sendReferrals } from "../../queues/send-referrals.ts";
import { notesPermission, stateWords } from "../connections/connection.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import type { ErrorCode } from "../errors.ts";
import type { Change } from "../organisations/record-change.ts";
import { insertReferral } from "./insert-referral.ts";
import { findEarlier } from "./refer-deal.ts";
import { type Deal, isNothing, readDeal, type SharedDeal, shareDeal } from "./share-deal.ts";

export interface ConnectionReferral {
  readonly leadId: string;
  readonly connectionId: string;
  /** The user who refers it; null for a program. */
  readonly userId: string | null;
}

export type ReferOverConnectionResult =
  | { readonly kind: "referred" | "already"; readonly referralId: string }
  | { readonly kind: "lead_not_found" | "connection_not_found" }
  | { readonly kind: "refused"; readonly code: ErrorCode; readonly detail: string };

/**
 * Refers a client over a connection: freezes exactly what its permissions let through now, and has it sent. Once referred over
 * a connection, the same is answered again, unless it was refused or never sent. Refuses a connection that is not active, and a
 * lead of which nothing is permitted.
 */
export async function referOverConnection(
  context: Context,
  change: Change,
  { leadId, connectionId, userId }: ConnectionReferral,
): Promise<ReferOverConnectionResult> {
  const { organisationId } = change;
  const result = await inOrganisation(
    context.database,
    organisationId,
    async (transaction): Promise<ReferOverConnectionResult> => {
      const deal = await readDeal(transaction, leadId, "lock");
      if (deal === null) return { kind: "lead_not_found" };
      const connection = await transaction
        .selectFrom("connections")
        .select(["state", "version", "permissions", "toName"])
        .where("id", "=", connectionId)
        .where("fromOrganisationId", "=", organisationId)
        .forShare()
        .executeTakeFirst();
      if (connection === undefined) return { kind: "connection_not_found" };
      const earlier = await findEarlier(transaction, leadId, connectionId);
      if (earlier !== null) return { kind: "already", referralId: earlier };
      const { state, version, permissions, toName } = connection;
      if (state !== "active") return { kind: "refused", code: "connection_state", detail: stateWords[state] };
      const shared = shareByGroups(deal, permissions);
      const refusal = whyNotShared(deal, shared, permissions);
      if (refusal !== null) return { kind: "refused", ...refusal };
      // Of staff, and of where the lead came from, the other side learns nothing.
      const told = { ...deal, owner: null, source: null };
      const link = { outboundId: null, connectionId, name: toName, url: null, remoteOrganisation: toName };
      const referral = { deal: told, shared, link, party: toName, userId };
      const referralId = await insertReferral(transaction, context, change, referral);
      await transaction
        .updateTable("referrals")
        .set({ connectionVersion: version })
        .where("id", "=", referralId)
        .execute();
      return { kind: "referred", referralId };
    },
  );
  if (result.kind === "referred") context.waker.wake(sendReferrals, { organisationId, linkId: connectionId });
  return result;
}

/** Exactly what a connection carries: fields of its groups, of the lead and of each contact, and the notes if they are permitted. */
export function shareByGroups(deal: Deal, permissions: readonly string[]): SharedDeal {
  const shared = shareDeal(deal, ({ group }) => group !== undefined && permissions.includes(group));
  return permissions.includes(notesPermission) ? shared : { ...shared, notes: [] };
}

function whyNotShared(
  { state }: Deal,
  shared: SharedDeal,
  permissions: readonly string[],
): { readonly code: ErrorCode; readonly detail: string } | null {
  if (state === "erased") return { code: "lead_erased", detail: "Nothing personal is left of it." };
  if (state === "invalid") {
    return { code: "lead_state", detail: "Some of its fields are not right: it cannot be referred." };
  }
  if (!isNothing(shared)) return null;
  const detail = `The lead has no value in a field of the groups ${permissions.join(", ")}: nothing would go.`;
  return { code: "nothing_shareable", detail };
}
