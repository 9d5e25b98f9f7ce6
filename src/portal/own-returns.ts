import { z } from "zod";
import type { Database } from "../db/database.ts";
import { instantSchema } from "../http/api.ts";

/** Returns as the partner that asked for them sees them: without who of staff decided, and what was overridden. */

export const ownReturnStates = ["open", "accepted", "declined"] as const;

export const ownReturnAnswer = z
  .object({
    id: z.uuid(),
    leadId: z.uuid().meta({ description: "your lead's id, as in the list of leads" }),
    state: z.enum(ownReturnStates),
    reason: z.object({ code: z.string(), text: z.string() }).nullable(),
    comment: z.string().nullable(),
    soldAt: instantSchema.meta({ description: "it counts in this month" }),
    askedAt: instantSchema,
    decidedAt: instantSchema.nullable(),
    note: z.string().nullable().meta({ description: "what we say to it" }),
  })
  .meta({ id: "OwnReturn" });

/** Returns, to be filtered further. For a transaction that is bound to the partner. */
export function selectOwnReturns(transaction: Database) {
  return transaction
    .selectFrom("returns")
    .select(["id", "deliveryId", "state", "reasonCode", "reasonText", "comment", "soldAt", "askedAt", "decidedAt"])
    .select("note");
}

export type OwnReturn = Awaited<ReturnType<ReturnType<typeof selectOwnReturns>["execute"]>>[number];

/** The returns of a delivery, oldest first. */
export async function readReturnsOf(transaction: Database, deliveryId: string): Promise<readonly OwnReturn[]> {
  const leads = transaction.selectFrom("deliveries").select("leadId").where("id", "=", deliveryId);
  return selectOwnReturns(transaction)
    .where("leadId", "in", leads)
    .where("deliveryId", "=", deliveryId)
    .orderBy("id")
    .execute();
}

export function presentOwnReturn(row: OwnReturn): z.infer<typeof ownReturnAnswer> {
  const { id, deliveryId, state, reasonCode, reasonText, comment, soldAt, askedAt, decidedAt, note } = row;
  return {
    ...{ id, leadId: deliveryId, state, comment, note },
    reason: reasonCode === null ? null : { code: reasonCode, text: reasonText ?? "" },
    soldAt: soldAt.toISOString(),
    askedAt: askedAt.toISOString(),
    decidedAt: decidedAt?.toISOString() ?? null,
  };
}
