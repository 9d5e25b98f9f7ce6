import { z } from "zod";
import { instantSchema } from "../http/api.ts";
import { availableMinor, type PartnerFunds } from "./accounts.ts";

/** What a partner has, as the API shows it. */
export const fundsAnswer = z
  .object({
    balance: z.int(),
    reserved: z.int(),
    available: z.int(),
    lowSince: instantSchema
      .nullable()
      .meta({ description: "when they fell below lowFundsThreshold and this was told; null: it will be told" }),
    outSince: instantSchema
      .nullable()
      .meta({ description: "when a lead was missed for want of money and this was told; null: it will be told" }),
  })
  .meta({ description: "in minor units; available = balance + creditLimit - reserved" });
export type FundsAnswer = z.infer<typeof fundsAnswer>;

export function presentFunds(funds: PartnerFunds, creditLimitMinor: number): FundsAnswer {
  return {
    balance: funds.balanceMinor,
    reserved: funds.reservedMinor,
    available: availableMinor(funds, creditLimitMinor),
    lowSince: funds.lowSince?.toISOString() ?? null,
    outSince: funds.outSince?.toISOString() ?? null,
  };
}
