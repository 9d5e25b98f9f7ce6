import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import type { PartnerStatus } from "../delivery/partner-status.ts";
import { lockLead, recordLeadEvent } from "../leads/lead-events.ts";
import type { Change } from "../organisations/record-change.ts";

export interface StatusChange {
  readonly deliveryId: string;
  readonly status: PartnerStatus;
  readonly note: string | null;
}

export type SetStatusResult = "set" | "not_found" | "returned" | "erased";

/**
 * Keeps what a partner says that became of its lead, with all that it said before; staff see it in the lead's history. It moves no
 * billing point: what a lead costs is not the buyer's alone to say. A lead that was taken back has no status any more. To say
 * again what is said already, without a note, changes nothing.
 */
export async function setLeadStatus(
  context: Context,
  { organisationId, by, at }: Change,
  partnerId: string,
  { deliveryId, status, note }: StatusChange,
): Promise<SetStatusResult> {
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const own = transaction
      .selectFrom("deliveries")
      .select(["leadId", "state", "partnerStatus"])
      .where("id", "=", deliveryId)
      .where("partnerId", "=", partnerId)
      .where("soldAt", "is not", null);
    const found = await own.executeTakeFirst();
    const lead = found === undefined ? null : await lockLead(transaction, found.leadId);
    // Again, now that nobody else changes it.
    const delivery = lead === null ? undefined : await own.executeTakeFirst();
    if (lead === null || delivery === undefined) return "not_found";
    if (lead.state === "erased") return "erased";
    if (delivery.state === "returned") return "returned";
    if (note === null && status === (delivery.partnerStatus ?? "new")) return "set";
    await transaction.updateTable("deliveries").set({ partnerStatus: status }).where("id", "=", deliveryId).execute();
    await transaction
      .insertInto("deliveryStatuses")
      .values({ id: newId(), organisationId, deliveryId, partnerId, status, note, setAt: at, setBy: by })
      .execute();
    const detail = { deliveryId, partnerId, status, reason: note === null ? status : `${status}, ${note}` };
    const event = { organisationId, leadId: lead.id, kind: "partner_status", actor: by, detail } as const;
    await recordLeadEvent(transaction, event, at);
    return "set";
  });
}
