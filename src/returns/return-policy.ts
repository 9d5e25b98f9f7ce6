import { z } from "zod";
import { percentToRate } from "../money.ts";
import { windowEnd } from "../partners/limit-windows.ts";
import { sharePercentSchema } from "../prices/billing.ts";
import { returnReasonCodeSchema } from "./return-reasons.ts";

/** What was agreed with a partner about returns, and what stands against one. Pure. */

const mostHours = 8760;

export const returnPolicySchema = z.strictObject({
  within: z
    .strictObject({
      hours: z.int().min(1).max(mostHours).optional(),
      days: z.int().min(1).max(365).optional().meta({ description: "to the end of that day in the partner's zone" }),
    })
    .refine(({ hours, days }) => (hours === undefined) !== (days === undefined), "must have hours or days, one of them")
    .nullable()
    .default(null)
    .meta({ description: "how long after the sale a lead is returned; null: at any time" }),
  perMonth: z
    .strictObject({
      leads: z.int().min(1).max(1_000_000).optional(),
      percent: sharePercentSchema.optional().meta({ description: "of the leads sold to it in the month" }),
    })
    .refine(({ leads, percent }) => leads !== undefined || percent !== undefined, "must have leads or a percent")
    .nullable()
    .default(null)
    .meta({ description: "of the leads sold in one calendar month in the partner's zone; null: any number" }),
  neverFor: z.array(returnReasonCodeSchema).max(50).default([]).meta({ description: "reasons that never count" }),
  decide: z.enum(["staff", "auto"], "must be staff or auto").default("staff").meta({
    description: "auto: accepted at once, where the reason is from the list; else staff decide",
  }),
  place: z
    .enum(["give_back", "keep"], "must be give_back or keep")
    .default("give_back")
    .meta({ description: "whether an accepted return gives the lead's place in the limits back" }),
  cost: z
    .enum(["as_agreed", "reverse", "keep"], "must be as_agreed, reverse or keep")
    .default("as_agreed")
    .meta({ description: "what becomes of what the introducer is owed: as its leadCost says, or what is said here" }),
  rerouteWithinHours: z.int().min(1).max(mostHours).nullable().default(null).meta({
    description: "an accepted return goes on to others if the lead came in no longer ago; null: never",
  }),
});
export type ReturnPolicy = z.infer<typeof returnPolicySchema>;

/** What stands against a return: the closed list. */
export type ReturnRefusal =
  | { readonly code: "not_theirs" }
  | { readonly code: "already_reversed" }
  | { readonly code: "already_returned"; readonly state: "open" | "accepted" }
  | { readonly code: "declined_before" }
  | { readonly code: "not_agreed" }
  | { readonly code: "out_of_time"; readonly until: string }
  | { readonly code: "too_many"; readonly used: number; readonly limit: number }
  | { readonly code: "above_share"; readonly used: number; readonly sold: number; readonly percent: number }
  | { readonly code: "reason_not_taken"; readonly reason: string };

export type ReturnRefusalCode = ReturnRefusal["code"];

/** Of the leads that were sold to the partner in the month of the sale in question. */
export interface MonthOfReturns {
  /** Needed where the policy limits the share. */
  readonly sold: number;
  /** Open and accepted ones. */
  readonly returned: number;
}

export interface ReturnCase {
  readonly policy: ReturnPolicy | null;
  readonly timeZone: string;
  readonly soldAt: Date;
  readonly reasonCode: string | null;
  /** Needed where the policy limits the number. */
  readonly month: MonthOfReturns;
}

/** Everything that the policy has against a return, all at once; none: it may be asked for. */
export function policyRefusals(
  { policy, timeZone, soldAt, reasonCode, month }: ReturnCase,
  now: Date,
): ReturnRefusal[] {
  if (policy === null) return [{ code: "not_agreed" }];
  const refusals: ReturnRefusal[] = [];
  const until = returnableUntil(policy, soldAt, timeZone);
  if (until !== null && now >= until) refusals.push({ code: "out_of_time", until: until.toISOString() });
  const { leads, percent } = policy.perMonth ?? {};
  const { sold, returned: used } = month;
  if (leads !== undefined && used >= leads) refusals.push({ code: "too_many", used, limit: leads });
  if (percent !== undefined && exceedsShare(used + 1, sold, percent)) {
    refusals.push({ code: "above_share", used, sold, percent });
  }
  if (reasonCode !== null && policy.neverFor.includes(reasonCode)) {
    refusals.push({ code: "reason_not_taken", reason: reasonCode });
  }
  return refusals;
}

/** The first instant at which a lead that was sold then is no longer returned; null: there is none. */
export function returnableUntil({ within }: ReturnPolicy, soldAt: Date, timeZone: string): Date | null {
  if (within === null) return null;
  if (within.hours !== undefined) return new Date(soldAt.getTime() + within.hours * 3_600_000);
  let end = soldAt;
  for (let day = 0; day <= (within.days ?? 0); day++) end = windowEnd("day", timeZone, end) ?? end;
  return end;
}

const wholeRate = BigInt(percentToRate(100) ?? 0);

/** In whole numbers: 10 % of 29 leads are 2. */
function exceedsShare(count: number, sold: number, percent: number): boolean {
  return BigInt(count) * wholeRate > BigInt(sold) * BigInt(percentToRate(percent) ?? 0);
}

/** Whether staff may let the return be all the same. What is not there to be returned stays so. */
export function isOverridable({ code }: ReturnRefusal): boolean {
  return code !== "not_theirs" && code !== "already_reversed" && code !== "already_returned";
}

/** The refusal in plain words. */
export function explainRefusal(refusal: ReturnRefusal): string {
  switch (refusal.code) {
    case "not_theirs":
      return "The lead was not sold to this partner.";
    case "already_reversed":
      return "The sale was taken back already.";
    case "already_returned":
      return refusal.state === "open" ? "A return of it is open already." : "It was returned already.";
    case "declined_before":
      return "A return of it was declined.";
    case "not_agreed":
      return "No returns are agreed with this partner.";
    case "out_of_time":
      return `It could be returned until ${refusal.until}.`;
    case "too_many":
      return `Of the leads sold in that month ${refusal.used} are returned, of ${refusal.limit} that may be.`;
    case "above_share":
      return `Of the ${refusal.sold} leads sold in that month ${refusal.used} are returned; ${refusal.percent} % may be.`;
    case "reason_not_taken":
      return `Nothing is returned to us for the reason ${refusal.reason}.`;
  }
}
