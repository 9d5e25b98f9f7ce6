import { routeLeads } from "../../queues/route-leads.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { endSales } from "../delivery/end-sales.ts";
import { fillPlaces } from "../delivery/recheck-holds.ts";
import { lockLead, readDeliveries, recordLeadEvent } from "./lead-events.ts";

export interface Resolution {
  readonly deliveryId: string;
  /** What staff found out: the partner has the lead, or it has not. */
  readonly outcome: "delivered" | "not_delivered";
  readonly reference: string | null;
  readonly reason: string | null;
}

export type ResolveResult =
  | { readonly kind: "resolved" }
  | { readonly kind: "delivery_not_found" }
  | { readonly kind: "delivery_state"; readonly state: string };

/** Ends an uncertain delivery by what staff found out: it is sold and charged, or place and money go back and the lead goes on. */
export async function resolveDelivery(
  context: Context,
  organisationId: string,
  { deliveryId, outcome, reference, reason }: Resolution,
  actor: string,
): Promise<ResolveResult> {
  const now = context.clock();
  const result = await inOrganisation(context.database, organisationId, async (transaction) => {
    const found = await transaction
      .selectFrom("deliveries")
      .select("leadId")
      .where("id", "=", deliveryId)
      .executeTakeFirst();
    const lead = found === undefined ? null : await lockLead(transaction, found.leadId);
    if (lead === null) return { kind: "delivery_not_found" } as const;
    const delivery = (await readDeliveries(transaction, lead.id)).find(({ id }) => id === deliveryId);
    if (delivery?.state !== "uncertain") return { kind: "delivery_state", state: delivery?.state ?? "gone" } as const;
    const isDelivered = outcome === "delivered";
    await transaction
      .updateTable("deliveries")
      .set(
        isDelivered
          ? { state: "delivered", reference, finishedAt: now }
          : { state: "failed", reservedAt: null, finishedAt: now },
      )
      .where("id", "=", deliveryId)
      .where("state", "=", "uncertain")
      .execute();
    await transaction
      .updateTable("leads")
      .set({
        soldCount: lead.soldCount + (isDelivered ? 1 : 0),
        ...(lead.state === "erased" ? {} : { state: "routing", stateReason: null, dueAt: now, finishedAt: null }),
      })
      .where("id", "=", lead.id)
      .execute();
    const partner = { id: delivery.partnerId, organisationId, timeZone: delivery.timeZone };
    await endSales(transaction, partner, [{ sale: delivery, end: { kind: isDelivered ? "post" : "void" } }], now);
    const detail = { deliveryId, partnerId: delivery.partnerId, outcome, reference, reason };
    await recordLeadEvent(transaction, { organisationId, leadId: lead.id, kind: "resolved", actor, detail }, now);
    return { kind: "resolved", campaignId: lead.campaignId, partnerId: delivery.partnerId } as const;
  });
  if (result.kind !== "resolved") return result;
  if (outcome === "not_delivered") await fillPlaces(context, { id: result.partnerId, organisationId }, 1);
  context.waker.wake(routeLeads, { organisationId, campaignId: result.campaignId });
  return { kind: "resolved" };
}
