import type { Behaviour } from "./configuration.ts";

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
