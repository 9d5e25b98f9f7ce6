import { z } from "zod";
import { percentOf, percentToRate } from "../money.ts";
import { minorUnitsSchema } from "../schemas.ts";
import { sharePercentSchema } from "./billing.ts";

/** What an introducer is paid for a lead. Agreed when the lead comes in, and kept with it. */
export const leadCostSchema = z
  .strictObject({
    amount: minorUnitsSchema
      .optional()
      .meta({ description: "for a lead, however often it is sold; in minor units of the introducer's currency" }),
    percent: sharePercentSchema.optional().meta({ description: "of what partners pay for the lead, whenever they do" }),
    due: z
      .enum(["sold", "received"], "must be sold or received")
      .default("sold")
      .meta({ description: "when an amount is owed: when the lead is first sold, or for every good lead at once" }),
    whenReversed: z
      .enum(["reverse", "keep"], "must be reverse or keep")
      .default("reverse")
      .meta({ description: "what becomes of the cost when a sale is taken back" }),
  })
  .superRefine(({ amount, percent, due }, context) => {
    if ((amount === undefined) === (percent === undefined)) {
      context.addIssue({ code: "custom", message: "must have an amount or a percent, one of them" });
    } else if (percent !== undefined && due === "received") {
      const message = "must be sold: there is nothing to take a percentage of before";
      context.addIssue({ code: "custom", path: ["due"], message });
    }
  });
export type LeadCost = z.infer<typeof leadCostSchema>;

/** What an introducer is owed for a lead that is sold: for this sale, and for the lead itself, once. */
export interface OwedCost {
  readonly ofSaleMinor: number;
  readonly ofLeadMinor: number;
}

/** What becomes owed when a partner accepts and pays `billedMinor`, where `ofLeadMinor` is owed for the lead already. Pure. */
export function costOfAcceptance(cost: LeadCost | null, billedMinor: number, ofLeadMinor: number): OwedCost {
  if (cost === null) return { ofSaleMinor: 0, ofLeadMinor: 0 };
  const isFirst = cost.due === "sold" && ofLeadMinor === 0;
  return { ofSaleMinor: costOfPayment(cost, 0, billedMinor), ofLeadMinor: isFirst ? (cost.amount ?? 0) : 0 };
}

/**
 * What becomes owed when a sale of which `beforeMinor` was paid has `afterMinor` paid. The percentage is rounded on the
 * whole, so that what is owed in steps is what would be owed at once. Pure.
 */
export function costOfPayment(cost: LeadCost, beforeMinor: number, afterMinor: number): number {
  if (cost.percent === undefined) return 0;
  const rate = percentToRate(cost.percent);
  if (rate === null) throw new Error(`${cost.percent} is stored as a percentage and is none.`);
  return percentOf(afterMinor, rate) - percentOf(beforeMinor, rate);
}

/** What was agreed for a lead when it came in: the introducer's currency then goes with it. */
export type AgreedCost = LeadCost & { readonly currency: string };

/** A percentage is owed in the currency of the sale, an amount in the introducer's own. */
export function costCurrency(cost: AgreedCost, saleCurrency: string): string {
  return cost.percent === undefined ? cost.currency : saleCurrency;
}
