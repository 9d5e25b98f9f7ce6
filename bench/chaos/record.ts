import type { Behaviour, BillingPoint } from "./configuration.ts";

/** One line of the receiver's record: a request as it arrived, and how it was answered. */
export interface ReceivedRequest {
  readonly number: number;
  readonly atMs: number;
  readonly partner: string;
  readonly key: string;
  readonly leadId: string;
  /** SHA-256 of the body. */
  readonly body: string;
  readonly answered: Behaviour;
  /** The partner has the lead, now or since an earlier request with this key. */
  readonly taken: boolean;
  /** The time that the trial had set when this arrived, where it sets the time. */
  readonly clock?: string;
}

/** A request to an address that nobody may be sent to. */
export interface ForbiddenRequest {
  readonly forbidden: string;
}

export interface ReceivedMessage {
  readonly message: "sms" | "mail";
  readonly key: string;
}

/** What the trial entered for a partner as staff, and what it was told at last. */
export interface EnteredMoney {
  readonly partner: string;
  /** Begins the reason, and no other's. */
  readonly mark: string;
  /** What it does to the balance. */
  readonly amountMinor: number;
  /** Nothing: no answer, though asked again and again. */
  readonly told: "booked" | "refused" | "nothing";
  /** The transactions that the answers named; each of them names the same, or it was booked twice. */
  readonly transactions: readonly string[];
  readonly sentAtMs: number;
  readonly answeredAtMs: number;
  readonly tries: number;
}

/** Money that PayPal has taken from a payer, by PayPal's own books. */
export interface PayPalCapture {
  readonly partner: string;
  readonly captureId: string;
  readonly amountMinor: number;
  /** What went back of it. */
  readonly refundedMinor: number;
  /** No money had come before. */
  readonly approvedAtMs: number;
}

/** A lead that a partner gave back, and what it was told at last. */
export interface ReturnedLead {
  readonly partner: string;
  readonly deliveryId: string;
  readonly leadId: string;
  readonly told: "accepted" | "declined" | "nothing";
  readonly askedAtMs: number;
  /** From here on the partner may not get it again. */
  readonly answeredAtMs: number;
  readonly tries: number;
  /** Answers that should not have come. */
  readonly failed: readonly string[];
}

/** A sale that staff have moved to a later billing point, as far as they were told. */
export interface MovedSale {
  readonly deliveryId: string;
  readonly point: BillingPoint;
  readonly isClosed: boolean;
  /** Moves that were refused, or never answered, though nothing stood against them. */
  readonly failed: readonly string[];
}

/** A deal that was referred to another organisation, by key or over a connected portal, and what was told of it. */
export interface ReferredDeal {
  readonly leadId: string;
  readonly link: "key" | "connection";
  /** What the answers called the referral; each of them names the same, or it was made twice. */
  readonly referralIds: readonly string[];
  readonly tries: number;
  /** Answers that should not have come. */
  readonly failed: readonly string[];
}

/** What the receiver's staff said of a lead that arrived, at last; null: nothing. */
export interface ToldStatus {
  readonly arrivedAs: string;
  readonly status: string | null;
  readonly failed: readonly string[];
}
