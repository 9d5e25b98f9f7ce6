import { z } from "zod";
import { percentOf, percentToRate } from "../money.ts";
import { minorUnitsSchema, percentSchema } from "../schemas.ts";

/**
 * When a partner pays for a lead: parts of its value when it is accepted, qualified and converted. Without any of this
 * the whole value is paid when the partner accepts.
 */

export const billingPoints = ["accepted", "qualified", "converted"] as const;
export type BillingPoint = (typeof billingPoints)[number];

/** A share of something: above zero, and not more than all of it. */
export const sharePercentSchema = percentSchema.gt(0, "must be above zero");

const shareSchema = z
  .strictObject({
    amount: minorUnitsSchema.optional().meta({ description: "in minor units of the partner's currency" }),
    percent: sharePercentSchema.optional().meta({ description: "of the lead's value" }),
  })
  .refine(
    ({ amount, percent }) => (amount === undefined) !== (percent === undefined),
    "must have an amount or a percent, one of them",
  );

export const billingSchema = z
  .strictObject({
    accepted: shareSchema.nullable().default(null),
    qualified: shareSchema.nullable().default(null),
    converted: shareSchema.nullable().default(null),
    closeAfterDays: z.int().min(1).max(730).nullable().default(null).meta({
      description: "a sale that is not through by then is closed and the rest given back; null: by hand only",
    }),
  })
  .superRefine((billing, context) => {
    if (billingPoints.every((point) => billing[point] === null)) {
      context.addIssue({ code: "custom", message: "must have a share at one billing point at least" });
    }
    const rates = billingPoints.map((point) => rateOf(billing[point]?.percent));
    const sum = rates.reduce((total, rate) => total + rate, 0);
    const last = billingPoints.findLast((point) => billing[point]?.percent !== undefined);
    if (last !== undefined && sum > wholeRate && rates.every((rate) => rate <= wholeRate)) {
      const message = "makes the percentages of all billing points more than 100";
      context.addIssue({ code: "custom", path: [last, "percent"], message });
    }
  });
export type Billing = z.infer<typeof billingSchema>;

/** What is paid at each billing point, in minor units. */
export type Parts = Readonly<Record<BillingPoint, number>>;

const wholeRate = percentToRate(100) ?? 0;

function rateOf(percent: number | undefined): number {
  return percent === undefined ? 0 : (percentToRate(percent) ?? 0);
}

/**
 * What a value comes to at each billing point. A percentage is rounded half to even on what is paid up to its point, so
 * that the parts of 100 % sum to the value itself: what rounding leaves over falls to the later point. Pure.
 */
export function partsOf(valueMinor: number, billing: Billing | null): Parts {
  if (billing === null) return { accepted: valueMinor, qualified: 0, converted: 0 };
  let rate = 0;
  let before = 0;
  const partAt = (point: BillingPoint): number => {
    const share = billing[point];
    if (share?.amount !== undefined) return share.amount;
    rate += rateOf(share?.percent);
    const upToHere = percentOf(valueMinor, rate);
    const part = upToHere - before;
    before = upToHere;
    return part;
  };
  return { accepted: partAt("accepted"), qualified: partAt("qualified"), converted: partAt("converted") };
}

export function sumOf(parts: Parts): number {
  return parts.accepted + parts.qualified + parts.converted;
}

/** Whether `to` comes after `from`; null is before all of them. */
export function isAfter(to: BillingPoint, from: BillingPoint | null): boolean {
  return from === null || billingPoints.indexOf(to) > billingPoints.indexOf(from);
}

/** The points after `from`, up to and including `to`. */
export function pointsBetween(from: BillingPoint | null, to: BillingPoint): readonly BillingPoint[] {
  return billingPoints.filter((point) => isAfter(point, from) && !isAfter(point, to));
}
