import { z } from "zod";
import { afterOpenTime, type Schedule } from "./schedule.ts";

/** A partner that accepts a lead before it gets it, and how long it has for that. */
export const acceptFirstSchema = z.strictObject({
  deadlineHours: z.int().min(1).max(720).default(24),
  countOpenHours: z
    .boolean()
    .default(false)
    .meta({ description: "whether only hours count in which the partner is open" }),
});
export type AcceptFirst = z.infer<typeof acceptFirstSchema>;

const hourMs = 3_600_000;

/** Until when a partner may accept a lead that is offered to it now: at most 400 days on, however seldom it is open. */
export function offerDeadline(
  { deadlineHours, countOpenHours }: AcceptFirst,
  schedule: Schedule | null,
  timeZone: string,
  now: Date,
): Date {
  return afterOpenTime(countOpenHours ? schedule : null, timeZone, now, deadlineHours * hourMs);
}
