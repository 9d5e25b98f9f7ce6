/**
 * Every way in which the API refuses, with its HTTP status and its title. The title says what kind of thing went wrong and
 * never changes with the request; what exactly is wrong goes into the detail and the fields.
 */
export const errors = {
  malformed_body: { status: 400, title: "The body cannot be read" },
  referral_version: { status: 400, title: "The version of the referral protocol is not spoken here" },
  invalid_query: { status: 400, title: "A query parameter or header is not right" },
  unauthorised: { status: 401, title: "A valid API key is needed" },
  referral_key_wrong: { status: 401, title: "The key of the inbound is needed" },
  sign_in_failed: { status: 401, title: "Nobody could be signed in with this" },
  code_needed: { status: 401, title: "A code of the authenticator app is needed too" },
  not_allowed: { status: 403, title: "You may not do this" },
  cross_site: { status: 403, title: "The request did not come from our own pages" },
  not_proven: { status: 403, title: "The password or the code is not right" },
  not_signed: { status: 403, title: "The request does not carry the signature that it must" },
  not_found: { status: 404, title: "There is no such thing" },
  route_not_found: { status: 404, title: "There is no such address" },
  intake_key_unknown: { status: 404, title: "There is no such intake key" },
  portal_code_unknown: { status: 404, title: "There is no organisation with this portal code" },
  method_not_allowed: { status: 405, title: "This address does not take this method" },
  idempotency_conflict: { status: 409, title: "The Idempotency-Key was used before with other content" },
  campaign_inactive: { status: 409, title: "The campaign is switched off" },
  currency_in_use: { status: 409, title: "The currency cannot change once money is booked in it" },
  nothing_to_invoice: { status: 409, title: "Nothing was booked that is on no invoice yet" },
  invoice_state: { status: 409, title: "The invoice is in a state that does not allow this" },
  insufficient_funds: { status: 409, title: "The partner does not have that much to give back" },
  payments_not_set_up: { status: 409, title: "Payments like this are not set up" },
  top_up_state: { status: 409, title: "The payment is in a state that does not allow this" },
  refund_beyond_payment: { status: 409, title: "No more can go back than was paid" },
  delivery_under_way: { status: 409, title: "A delivery of this lead is under way" },
  lead_state: { status: 409, title: "The lead is in a state that does not allow this" },
  delivery_state: { status: 409, title: "The delivery is in a state that does not allow this" },
  billing_point: { status: 409, title: "The billing point of the sale does not allow this" },
  sale_reversed: { status: 409, title: "The sale was taken back already" },
  nothing_owed: { status: 409, title: "The introducer of the lead is owed nothing for it" },
  return_refused: { status: 409, title: "The lead cannot be returned" },
  return_decided: { status: 409, title: "The return is decided already" },
  settings_change_decided: { status: 409, title: "The change of settings is decided already" },
  settings_changed_since: { status: 409, title: "The settings were changed since this was asked for" },
  several_deliveries: { status: 409, title: "The lead has several deliveries: say which" },
  referral_refused: { status: 409, title: "The partner cannot take this lead now" },
  offer_expired: { status: 409, title: "The time to accept the lead is over" },
  transfer_open: { status: 409, title: "The lead's caller is being handed over" },
  nobody_to_transfer_to: { status: 409, title: "Nobody can take this lead by telephone now" },
  transfer_over: { status: 409, title: "The transfer is over" },
  calls_not_set_up: { status: 409, title: "Calls are not set up" },
  stage_in_use: { status: 409, title: "The stage is in use" },
  inbound_in_use: { status: 409, title: "Several organisations use this inbound" },
  inbound_disabled: { status: 409, title: "The inbound is switched off" },
  stage_gone: { status: 409, title: "The stage that the inbound leads to is gone" },
  status_not_wanted: { status: 409, title: "Nobody is told of this lead's status" },
  confirmation_needed: { status: 409, title: "This takes a confirmation" },
  not_offered: { status: 409, title: "The outbound is not for where the lead stands" },
  outbound_disabled: { status: 409, title: "The outbound is switched off" },
  nothing_shareable: { status: 409, title: "Nothing of the lead may be shared" },
  referral_state: { status: 409, title: "The referral is in a state that does not allow this" },
  own_portal_code: { status: 409, title: "The portal code is your own" },
  connection_exists: { status: 409, title: "There is a connection to this organisation already" },
  connection_state: { status: 409, title: "The connection is in a state that does not allow this" },
  connection_changed: { status: 409, title: "The connection is not as you saw it" },
  lead_erased: { status: 409, title: "The lead has been erased" },
  last_api_key: { status: 409, title: "The last API key cannot be revoked" },
  email_taken: { status: 409, title: "There is a user of this email already" },
  last_owner: { status: 409, title: "The last owner stays" },
  user_state: { status: 409, title: "The user is in a state that does not allow this" },
  totp_state: { status: 409, title: "The authenticator app is in a state that does not allow this" },
  link_gone: { status: 410, title: "The link was used, is too old, or never was one" },
  inbound_gone: { status: 410, title: "The inbound was deleted" },
  body_too_large: { status: 413, title: "The body is too large" },
  referral_too_large: { status: 413, title: "The referral is too large" },
  unsupported_media_type: { status: 415, title: "The body is of a kind that is not taken here" },
  invalid_body: { status: 422, title: "Some fields are not right" },
  invalid_lead: { status: 422, title: "Some fields of the lead are not right" },
  invalid_referral: { status: 422, title: "Some fields of the referral are not right" },
  rate_limited: { status: 429, title: "Too many requests" },
  internal: { status: 500, title: "Something went wrong on our side" },
  call_service_trouble: { status: 502, title: "The telephone service did not do this" },
  payment_service_trouble: { status: 502, title: "The payment service did not do this" },
  unavailable: { status: 503, title: "Not available at the moment" },
} as const satisfies Record<string, { readonly status: number; readonly title: string }>;

export type ErrorCode = keyof typeof errors;

/** One field that is not right: its place (`contact.email`), a code for programs, and words that say what is allowed. */
export interface FieldError {
  readonly field: string;
  readonly code: string;
  readonly message: string;
  /** What was given, where that is told. */
  readonly given?: string | number | boolean | null | undefined;
}

/** The body of a refusal (RFC 9457), with a code for programs and each bad field. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly detail?: string | undefined;
  readonly fields?: readonly FieldError[] | undefined;
  /** Of an invalid lead, which is kept all the same. */
  readonly leadId?: string | undefined;
  /** Of a version that is not spoken: those that are. */
  readonly supported?: readonly number[] | undefined;
  /** Of an unexpected error: the same id is in the log. */
  readonly requestId?: string | undefined;
}

export type ProblemDetails = Pick<Problem, "detail" | "fields" | "leadId" | "supported" | "requestId">;

export function toProblem(code: ErrorCode, details: ProblemDetails = {}): Problem {
  const { status, title } = errors[code];
  return { type: `urn:handoff:error:${code}`, title, status, code, ...details };
}
