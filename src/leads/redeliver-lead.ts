import { drainPartner } from "../../queues/drain-partner.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { lockLead, readDeliveries, recordLeadEvent } from "./lead-events.ts";

export interface Redelivery {
  readonly leadId: string;
  /** null: the lead's one delivery that can be sent again. */
  readonly deliveryId: string | null;
  readonly reason: string | null;
}

export type RedeliverResult =
  | { readonly kind: "redelivering"; readonly deliveryId: string }
  | { readonly kind: "lead_not_found" }
  | { readonly kind: "delivery_not_found" }
  | { readonly kind: "several"; readonly deliveryIds: readonly string[] }
  | { readonly kind: "delivery_state"; readonly state: string };

/**
 * Sends a lead again to a partner that has it, or may have it: in the partner's hours, under the same idempotency key,
 * and never charged again. Whatever the partner says to a second copy, a delivered lead stays delivered.
 */
export async function redeliverLead(
  context: Context,
  organisationId: string,
  redelivery: Redelivery,
  actor: string,
): Promise<RedeliverResult> {
  const now = context.clock();
  const { leadId, reason } = redelivery;
  const result = await inOrganisation(context.database, organisationId, async (transaction) => {
    const lead = await lockLead(transaction, leadId);
    if (lead === null) return { kind: "lead_not_found" } as const;
    // There is nothing left of it to send.
    if (lead.state === "erased") return { kind: "delivery_state", state: "erased" } as const;
    const deliveries = await readDeliveries(transaction, leadId);
    const repeatable = deliveries.filter(({ state }) => state === "delivered" || state === "uncertain");
    const named =
      redelivery.deliveryId === null ? repeatable : deliveries.filter(({ id }) => id === redelivery.deliveryId);
    const [delivery, another] = named;
    if (delivery === undefined) return { kind: "delivery_not_found" } as const;
    if (another !== undefined) return { kind: "several", deliveryIds: named.map(({ id }) => id) } as const;
    const { id, state, partnerId } = delivery;
    if (state !== "delivered" && state !== "uncertain") return { kind: "delivery_state", state } as const;
    await transaction
      .updateTable("deliveries")
      .set({ state: "sending", redeliveryOf: state, dueAt: now, tries: 0, finishedAt: null })
      .where("id", "=", id)
      .where("state", "=", state)
      .execute();
    const detail = { deliveryId: id, partnerId, reason };
    await recordLeadEvent(transaction, { organisationId, leadId, kind: "redelivered", actor, detail }, now);
    return { kind: "redelivering", deliveryId: id, partnerId } as const;
  });
  if (result.kind !== "redelivering") return result;
  context.waker.wake(drainPartner, { organisationId, partnerId: result.partnerId });
  return { kind: "redelivering", deliveryId: result.deliveryId };
}
