import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { moveBillingPoint } from "./move-billing-point.ts";

const batchSize = 100;

/**
 * Closes an organisation's sales whose time to reach a later billing point is over: what is still reserved goes back. Each
 * sale in a transaction of its own, as by hand; one that is closed or moved meanwhile is left as it is.
 */
export async function closeDueSales(context: Context, organisationId: string): Promise<void> {
  for (let isMore = true; isMore && !context.stopping.signal.aborted; ) {
    const due = await inOrganisation(context.database, organisationId, async (transaction) =>
      transaction
        .selectFrom("deliveries")
        .select("id")
        .where("billingClosesAt", "<=", context.clock())
        .orderBy("billingClosesAt")
        .limit(batchSize)
        .execute(),
    );
    let closed = 0;
    for (const { id } of due) {
      const move = { deliveryId: id, to: "closed", reason: "its time was over" } as const;
      const result = await moveBillingPoint(context, organisationId, move, "system");
      if (result.kind === "moved") closed += 1;
    }
    isMore = due.length === batchSize && closed > 0;
  }
}
