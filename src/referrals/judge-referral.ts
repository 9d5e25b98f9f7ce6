import type { Reply } from "../channels/contract.ts";
import {
  type LinkAnswer,
  linkAnswerSchema,
  type ReferralRefusal,
  referralAnswerSchema,
  referralRefusalSchema,
} from "./protocol.ts";

/** What one try to send a referral came to. A value, never an exception. */
export type ReferralOutcome =
  | { readonly kind: "sent"; readonly receivedAs: string; readonly organisation: string }
  /** The other side will not have it: to be told, and not tried again. */
  | { readonly kind: "refused"; readonly reason: string }
  /** It may go well another time. */
  | {
      readonly kind: "trouble";
      readonly reason: string;
      readonly mayHaveArrived: boolean;
      readonly retryAfterMs: number | null;
    }
  /** It must not be sent any more, for a reason on our side; nothing was sent. */
  | { readonly kind: "cancelled"; readonly reason: string };

/** The other side does not speak the version; it says which it does. */
export interface OtherVersion {
  readonly kind: "other_version";
  readonly supported: readonly number[];
}

/** What the answer to a referral means. Takes the id that was sent: an answer about another one is none. */
export function judgeReferral(reply: Reply, referralId: string): ReferralOutcome | OtherVersion {
  if (reply.kind === "failure") return judgeFailure(reply);
  const { status } = reply;
  if (status === 200 || status === 201) return readTaken(reply, referralId);
  const trouble = troubleOf(reply);
  if (trouble !== null) return trouble;
  const refusal = readRefusal(reply.body);
  if (status === 400 && refusal?.code === "referral_version") {
    return { kind: "other_version", supported: refusal.supported ?? [] };
  }
  return { kind: "refused", reason: wordsFor(status, refusal) };
}

export type LinkCheck =
  | { readonly kind: "works"; readonly link: LinkAnswer }
  | { readonly kind: "does_not"; readonly reason: string };

/** What the answer to a check of the link means. */
export function judgeLink(reply: Reply): LinkCheck {
  if (reply.kind === "failure") return { kind: "does_not", reason: judgeFailure(reply).reason };
  if (reply.status === 200) {
    const link = linkAnswerSchema.safeParse(parseJson(reply.body));
    return link.success ? { kind: "works", link: link.data } : { kind: "does_not", reason: noReferralAddress };
  }
  const trouble = troubleOf(reply);
  return { kind: "does_not", reason: trouble?.reason ?? wordsFor(reply.status, readRefusal(reply.body)) };
}

/**
 * The highest version that both sides speak, of those that were not refused yet; null where there is none. `spoken` are ours.
 */
export function agreeVersion(
  spoken: readonly number[],
  supported: readonly number[],
  refused: ReadonlySet<number>,
): number | null {
  const common = spoken.filter((version) => supported.includes(version) && !refused.has(version));
  return common.length === 0 ? null : Math.max(...common);
}

/** Why two sides cannot talk. */
export function noCommonVersion(spoken: readonly number[], supported: readonly number[]): string {
  const theirs = supported.length === 0 ? "another version of the referral protocol" : versionWords(supported);
  return `They speak ${theirs}, and we speak ${versionWords(spoken)}: one of the two systems has to be updated.`;
}

function versionWords(versions: readonly number[]): string {
  return `version${versions.length > 1 ? "s" : ""} ${[...versions].sort((a, b) => a - b).join(", ")}`;
}

type Answer = Extract<Reply, { kind: "answer" }>;
type Failure = Extract<Reply, { kind: "failure" }>;

const noReferralAddress = "What answers at this address does not speak the referral protocol: check the URL.";

function readTaken(reply: Answer, referralId: string): ReferralOutcome {
  if (reply.unreadable !== null) {
    const reason = `The answer could not be read: ${reply.unreadable}.`;
    return { kind: "trouble", reason, mayHaveArrived: true, retryAfterMs: null };
  }
  const answer = referralAnswerSchema.safeParse(parseJson(reply.body));
  if (!answer.success || answer.data.referralId !== referralId) return { kind: "refused", reason: noReferralAddress };
  const { receivedAs, organisation } = answer.data;
  return { kind: "sent", receivedAs, organisation };
}

/** Whatever went wrong on the way there. What will go wrong again whenever it is tried is a refusal. */
function judgeFailure({ code, detail, arrived }: Failure): Extract<ReferralOutcome, { kind: "refused" | "trouble" }> {
  const isForGood = code === "refused_address" || (code === "protocol" && arrived === "no");
  if (isForGood) return { kind: "refused", reason: detail };
  return { kind: "trouble", reason: detail, mayHaveArrived: arrived !== "no", retryAfterMs: null };
}

const waitStatuses: ReadonlySet<number> = new Set([408, 425, 429]);
/** These say that nothing was done. */
const untouchedStatuses: ReadonlySet<number> = new Set([408, 425, 429, 503]);

function troubleOf(reply: Answer): Extract<ReferralOutcome, { kind: "trouble" }> | null {
  const { status } = reply;
  if (status < 500 && !waitStatuses.has(status)) return null;
  const reason = status === 429 ? "They take no more at the moment (429)." : `They answered ${status}.`;
  const mayHaveArrived = !untouchedStatuses.has(status);
  return { kind: "trouble", reason, mayHaveArrived, retryAfterMs: readRetryAfter(reply.headers) };
}

/** A wait that somebody else asks for has an end. */
const longestWaitMs = 24 * 3_600_000;

/** RFC 9110, section 10.2.3: seconds, or a date, which is measured from their own Date. */
function readRetryAfter(headers: Answer["headers"]): number | null {
  const value = headers["retry-after"]?.trim() ?? "";
  const waitMs = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.parse(headers.date ?? "");
  return Number.isNaN(waitMs) ? null : Math.min(Math.max(waitMs, 0), longestWaitMs);
}

const refusalWords: Readonly<Record<string, string>> = {
  referral_key_wrong: "They do not know the key of this outbound: ask them for the present one.",
  inbound_disabled: "They have switched the inbound off.",
  inbound_gone: "They have deleted the inbound: this outbound leads nowhere any more.",
  stage_gone: "The stage that their inbound leads to is gone: they have to set another.",
  idempotency_conflict: "They have this referral already, with other content.",
  referral_too_large: "The deal is larger than they take.",
  invalid_referral: "They find the deal not right.",
};

const statusWords: Readonly<Record<number, string>> = {
  401: "They do not take the key of this outbound: ask them for the present one.",
  403: "They do not let the key of this outbound in.",
  404: noReferralAddress,
  405: noReferralAddress,
  410: "There is nothing at this address any more: this outbound leads nowhere.",
  413: "The deal is larger than they take.",
};

/** Why they refused: our words for what we know, and what they wrote themselves, cut short. */
function wordsFor(status: number, refusal: ReferralRefusal | null): string {
  if (status < 400) return `They answered ${status}, which is no answer to a referral: check the URL.`;
  const known = refusal === null ? undefined : refusalWords[refusal.code];
  const words = known ?? statusWords[status] ?? "They refused it.";
  const said = (refusal?.detail ?? refusal?.title ?? "").replace(/\s+/g, " ").trim().slice(0, 300);
  return said === "" ? `${words} (${status})` : `${words} They say (${status}): ${said}`;
}

function readRefusal(body: string): ReferralRefusal | null {
  const refusal = referralRefusalSchema.safeParse(parseJson(body));
  return refusal.success ? refusal.data : null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
