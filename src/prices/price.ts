import { z } from "zod";
import { evaluateFilter, filterSchema } from "../campaigns/filter.ts";
import type { FieldValue } from "../channels/contract.ts";
import { minorUnitsSchema } from "../schemas.ts";

/**
 * What a lead costs a partner, in minor units of the partner's currency: one amount, or a list of amounts by the lead's
 * fields, with bounds where the partner's answer names the price. A price may stand with the partner, the campaign and
 * the partner's line in the routing; the one that is closest to the lead counts as a whole.
 */

const maxRules = 50;

export const priceListSchema = z
  .strictObject({
    default: minorUnitsSchema.meta({ description: "what a lead costs that no rule names" }),
    rules: z
      .array(z.strictObject({ when: filterSchema, price: minorUnitsSchema }))
      .max(maxRules)
      .default([])
      .meta({ description: "the first whose filter the lead passes names the price" }),
    answer: z
      .strictObject({ min: minorUnitsSchema, max: minorUnitsSchema })
      .nullable()
      .default(null)
      .meta({ description: "the partner's answer names the price, within these bounds" }),
  })
  .superRefine(({ default: usual, rules, answer }, context) => {
    if (answer === null) return;
    const { min, max } = answer;
    const problem = (path: PropertyKey[], message: string) => context.addIssue({ code: "custom", path, message });
    if (min > max) problem(["answer", "min"], "must not be above max");
    // They are charged where the answer names none, and nothing is charged outside the bounds.
    const within = `must be within the bounds of the answer, ${min} to ${max}`;
    const isWithin = (amount: number) => amount >= min && amount <= max;
    if (!isWithin(usual)) problem(["default"], within);
    rules.forEach(({ price }, index) => {
      if (!isWithin(price)) problem(["rules", index, "price"], within);
    });
  });
export type PriceList = z.infer<typeof priceListSchema>;

export const priceSchema = z
  .union([minorUnitsSchema, priceListSchema])
  .meta({ description: "in minor units: one amount, or a list of them by rules" });
export type Price = z.infer<typeof priceSchema>;

/** What one lead costs by a price. */
export interface LeadPrice {
  readonly valueMinor: number;
  /** Where the answer names the price: what it may be. `valueMinor` is charged if it names none. */
  readonly answer: { readonly min: number; readonly max: number } | null;
}

/** Whether a price is the same for all leads. */
export function isSameForAll(price: Price): boolean {
  return typeof price === "number" || price.rules.length === 0;
}

/** What a lead with these fields costs. Pure. */
export function leadPrice(price: Price, fields: Readonly<Record<string, FieldValue>>): LeadPrice {
  if (typeof price === "number") return { valueMinor: price, answer: null };
  const rule = price.rules.find(({ when }) => evaluateFilter(when, fields).matches);
  return { valueMinor: rule?.price ?? price.default, answer: price.answer };
}
