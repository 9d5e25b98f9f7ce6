import { z } from "zod";
import type { Database } from "../db/database.ts";
import { instantSchema } from "../http/api.ts";
import { referralStatuses } from "./protocol.ts";

export const arrivalAnswer = z
  .object({
    referralId: z.uuid().meta({ description: "what both sides call the referral" }),
    organisation: z.string().meta({ description: "who referred it, as they call themselves" }),
    installation: z.string(),
    referredBy: z.string(),
    referredAt: instantSchema,
    arrivedAt: instantSchema,
    inboundId: z.uuid().nullable(),
    connectionId: z.uuid().nullable(),
    keptAside: z
      .array(z.string())
      .meta({ description: "keys of fields that had no place here; their values are in `extra`" }),
    status: z.enum(referralStatuses).nullable().meta({ description: "what its sender was last told, or is to be" }),
    statusReason: z.string().nullable(),
    statusAt: instantSchema.nullable(),
    told: z
      .object({
        state: z.enum(["due", "sent", "failed"]),
        dueAt: instantSchema.nullable(),
        error: z.string().nullable(),
      })
      .nullable()
      .meta({ description: "whether the sender has heard of the status" }),
  })
  .meta({ id: "Arrival" });
export type ArrivalAnswer = z.infer<typeof arrivalAnswer>;

/** By whom a lead was referred here, and what they heard of it since; null where it came another way. */
export async function readArrival(transaction: Database, leadId: string): Promise<ArrivalAnswer | null> {
  const row = await transaction
    .selectFrom("arrivals")
    .select(["id", "referralId", "referrer", "installation", "referredBy", "referredAt", "arrivedAt", "inboundId"])
    .select(["connectionId", "keptAside", "status", "statusReason", "statusAt", "statusSequence"])
    .where("leadId", "=", leadId)
    .executeTakeFirst();
  if (row === undefined) return null;
  const { id, referrer, referredAt, arrivedAt, statusAt, statusSequence, ...rest } = row;
  const told = await transaction
    .selectFrom("statusCallbacks")
    .select(["state", "dueAt", "error"])
    .where("arrivalId", "=", id)
    .where("sequence", "=", statusSequence)
    .executeTakeFirst();
  return {
    ...rest,
    organisation: referrer,
    referredAt: referredAt.toISOString(),
    arrivedAt: arrivedAt.toISOString(),
    statusAt: statusAt?.toISOString() ?? null,
    told: told === undefined ? null : { ...told, dueAt: told.dueAt?.toISOString() ?? null },
  };
}
