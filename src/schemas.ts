import { IANAZone } from "luxon";
import { z } from "zod";
import { isCurrency, percentToRate } from "./money.ts";

/** Pieces that the documents of several parts share. */

export const timeZoneSchema = z.string().refine((zone) => IANAZone.isValidZone(zone), {
  message: "must be a time zone of the IANA database, such as Europe/London",
});

/** No amount is larger, so that sums of thousands of amounts are still counted exactly (2^53). */
export const mostMinorUnits = 1_000_000_000_000;

export const minorUnitsSchema = z
  .int("must be a whole number of minor units (1250 is 12.50)")
  .min(0, "must not be negative")
  .max(mostMinorUnits, `must be at most ${mostMinorUnits}`);

export const whenBlockedSchema = z.enum(["next", "hold"], "must be next or hold");

export const currencySchema = z
  .string()
  .refine(isCurrency, "must be a currency of ISO 4217 in three capital letters, such as GBP");

export const percentSchema = z
  .number()
  .min(0, "must not be negative")
  .max(100, "must be at most 100")
  .refine((percent) => percentToRate(percent) !== null, "must have at most four decimals");
