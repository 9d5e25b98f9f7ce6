import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import type { DrainedPartner } from "./drained-partner.ts";
import { endSales } from "./end-sales.ts";

const mostAtOnce = 500;

/**
 * Takes leads back from a partner that is paused or switched off: those that no attempt was made for go on to the next
 * partner at once; those that the partner may have, or that staff sent there, wait for the end of the pause. Gives the campaigns that have leads to
 * route again.
 */
export async function returnBacklog(
  context: Context,
  partner: DrainedPartner,
  now: Date,
): Promise<ReadonlySet<string>> {
  return inOrganisation(context.database, partner.organisationId, async (transaction) => {
    const due = await transaction
      .selectFrom("deliveries")
      .select(["id", "leadId", "campaignId", "priceMinor", "currency", "reservedAt", "attemptCount", "override"])
      .where("partnerId", "=", partner.id)
      .where("state", "=", "sending")
      .where("dueAt", "<=", now)
      .orderBy("dueAt")
      .limit(mostAtOnce)
      .execute();
    const mayGoOn = (delivery: (typeof due)[number]) => delivery.attemptCount === 0 && !delivery.override;
    const untried = due.filter(mayGoOn);
    const waiting = due.filter((delivery) => !mayGoOn(delivery)).map((delivery) => delivery.id);
    if (waiting.length > 0) {
      const probeAt = partner.health.pausedUntil ?? new Date(now.getTime() + 3_600_000);
      await transaction.updateTable("deliveries").set({ dueAt: probeAt }).where("id", "in", waiting).execute();
    }
    if (untried.length === 0) return new Set<string>();
    const leadIds = untried.map((delivery) => delivery.leadId);
    await transaction
      .selectFrom("leads")
      .select("id")
      .where("id", "in", leadIds)
      .orderBy("id")
      .forNoKeyUpdate()
      .execute();
    const taken = await transaction
      .updateTable("deliveries")
      .set({ state: "cancelled", reason: "The endpoint is paused.", dueAt: null, reservedAt: null, finishedAt: now })
      .where(
        "id",
        "in",
        untried.map((delivery) => delivery.id),
      )
      .where("state", "=", "sending")
      .where("attemptCount", "=", 0)
      .returning("id")
      .execute();
    const ids = new Set(taken.map((row) => row.id));
    const returned = untried.filter((delivery) => ids.has(delivery.id));
    if (returned.length === 0) return new Set<string>();
    await transaction
      .updateTable("leads")
      .set({ dueAt: now })
      .where(
        "id",
        "in",
        returned.map((delivery) => delivery.leadId),
      )
      .execute();
    const sales = returned.map((sale) => ({ sale, end: { kind: "void" } as const }));
    await endSales(transaction, partner, sales, now);
    return new Set(returned.map((delivery) => delivery.campaignId));
  });
}
