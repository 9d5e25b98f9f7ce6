import type { LimitWindow } from "../partners/limit-windows.ts";

/**
 * Why a partner does not get a lead: the closed list. Stored as data with every decision and put into words when shown,
 * so that the words can get better and old decisions with them.
 */
export type Reason =
  | { readonly code: "partner_inactive" }
  | { readonly code: "not_a_buyer" }
  | { readonly code: "no_delivery_method" }
  | { readonly code: "introduced_it" }
  | { readonly code: "already_had"; readonly state: string }
  | { readonly code: "sale_limit_reached"; readonly limit: number }
  | { readonly code: "filter_not_matched"; readonly conditions: readonly string[] }
  | { readonly code: "closed"; readonly until: string | null }
  | { readonly code: "partner_paused"; readonly until: string | null }
  | {
      readonly code: "limit_reached";
      readonly scope: "partner" | "campaign";
      readonly window: LimitWindow;
      readonly limit: number;
      readonly used: number;
      readonly until: string | null;
    }
  | {
      readonly code: "spend_limit_reached";
      readonly scope: "partner" | "campaign";
      readonly window: "day" | "week" | "month";
      readonly limitMinor: number;
      readonly usedMinor: number;
      readonly priceMinor: number;
      readonly until: string | null;
    }
  | { readonly code: "no_funds"; readonly availableMinor: number; readonly priceMinor: number }
  | { readonly code: "endpoint_paused"; readonly until: string; readonly reason: string };

export type ReasonCode = Reason["code"];

/** What kind of block a reason is: one that the lead must not wait for, or one that may pass. */
export type Block = "excluded" | "closed" | "capped" | "unfunded" | "paused";

/** A partner without funds is looked at again at these marks of the clock; a payment brings it forward. */
const fundsRecheckMs = 15 * 60_000;

export function blockOf(reason: Reason): Block {
  switch (reason.code) {
    case "closed":
    case "partner_paused":
      return reason.until === null ? "excluded" : "closed";
    case "limit_reached":
    case "spend_limit_reached":
      return reason.until === null ? "excluded" : "capped";
    case "no_funds":
      return "unfunded";
    case "endpoint_paused":
      return "paused";
    default:
      return "excluded";
  }
}

/** When this reason may have passed. Takes the instant of the decision. Not for reasons that exclude. */
export function mayPassAt(reason: Reason, now: Date): Date {
  if ("until" in reason && reason.until !== null) return new Date(reason.until);
  return new Date((Math.floor(now.getTime() / fundsRecheckMs) + 1) * fundsRecheckMs);
}

/** The reason in plain words, for staff. */
export function explainReason(reason: Reason): string {
  switch (reason.code) {
    case "partner_inactive":
      return "The partner is switched off.";
    case "not_a_buyer":
      return "The partner only introduces leads; it does not take any.";
    case "no_delivery_method":
      return "No way of delivery is set up for the partner.";
    case "introduced_it":
      return "The partner introduced this lead itself.";
    case "already_had":
      return `The partner already had this lead (${reason.state}).`;
    case "sale_limit_reached":
      return reason.limit === 1
        ? "The lead is exclusive and somebody has it."
        : `The lead has gone to as many partners as the campaign lets (${reason.limit}).`;
    case "filter_not_matched":
      return `The lead does not match the partner's filter: ${reason.conditions.join("; ")}.`;
    case "closed":
      return reason.until === null
        ? "The partner is closed and no opening is planned."
        : `The partner is closed until ${reason.until}.`;
    case "partner_paused":
      return `The partner has paused itself${untilWords(reason.until)}.`;
    case "limit_reached":
      return `${limitName(reason)} of ${reason.limit} is used up (${reason.used} taken)${untilWords(reason.until)}.`;
    case "spend_limit_reached":
      return `The price of ${reason.priceMinor} would exceed the partner's spending limit per ${reason.window} of ${reason.limitMinor} (${reason.usedMinor} spent)${untilWords(reason.until)}.`;
    case "no_funds":
      return `The partner has ${reason.availableMinor} available and the lead costs ${reason.priceMinor}.`;
    case "endpoint_paused":
      return `Delivery to the partner is paused until ${reason.until}: ${reason.reason}.`;
  }
}

function limitName(reason: { scope: "partner" | "campaign"; window: LimitWindow }): string {
  const window = reason.window === "total" ? "total limit" : `limit per ${reason.window}`;
  return reason.scope === "partner" ? `The partner's ${window}` : `The partner's ${window} in this campaign`;
}

function untilWords(until: string | null): string {
  return until === null ? "" : `, until ${until}`;
}
