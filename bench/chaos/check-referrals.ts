import type { ReferredDeal, ToldStatus } from "./record.ts";

/** What must hold of referrals between organisations, whatever broke. Shares no code with the product. */
export interface ReferralEvidence {
  readonly referred: readonly ReferredDeal[];
  readonly told: readonly ToldStatus[];
  /** As the sender's organisation holds them. */
  readonly sent: readonly {
    readonly id: string;
    readonly leadId: string;
    readonly state: string;
    readonly arrivedAs: string | null;
    readonly status: string | null;
  }[];
  /** All leads of the receiver's organisation; they come from nowhere else. */
  readonly arrived: readonly { readonly id: string; readonly email: string; readonly referralId: string | null }[];
}

/** Answered as referred, and not there, or there with another content, or not known to the sender to be there. */
export function findReferralsLost(
  { referred, sent, arrived }: ReferralEvidence,
  emails: ReadonlyMap<string, string>,
): string[] {
  const sentById = new Map(sent.map((referral) => [referral.id, referral]));
  const arrivedById = new Map(arrived.map((lead) => [lead.id, lead]));
  return referred.flatMap(({ leadId, link, referralIds, failed }) => {
    const [id] = referralIds;
    if (id === undefined) return [`${leadId} could not be referred by ${link}: ${failed.join(", ") || "no answer"}`];
    const referral = sentById.get(id);
    const lead = arrivedById.get(referral?.arrivedAs ?? "");
    const isThere = lead?.referralId === id && lead.email === emails.get(leadId);
    if (referral?.state === "sent" && referral.leadId === leadId && isThere) return [];
    return [`${id} of ${leadId} by ${link} is ${referral?.state} and arrived as ${lead?.id} (${lead?.email})`];
  });
}

/** One referral of a lead over a link, one arrival of a referral, and nothing that nobody referred. */
export function findReferralsDoubled({ referred, arrived }: ReferralEvidence): string[] {
  const contradicted = referred.flatMap(({ leadId, link, referralIds }) =>
    referralIds.length > 1 ? [`${leadId} by ${link} was answered as ${referralIds.join(" and ")}`] : [],
  );
  const known = new Set(referred.flatMap(({ referralIds }) => referralIds));
  const seen = new Set<string>();
  const arrivedTwice = arrived.flatMap(({ id, referralId }) => {
    const isFirst = referralId !== null && known.has(referralId) && !seen.has(referralId);
    if (referralId !== null) seen.add(referralId);
    return isFirst ? [] : [`${id} arrived as ${referralId}`];
  });
  return [...contradicted, ...arrivedTwice];
}

/** What the receiver said of a lead at last is what the sender knows of it. */
export function findStatusesLost({ told, sent }: ReferralEvidence): string[] {
  const known = new Map(sent.map(({ arrivedAs, status }) => [arrivedAs, status]));
  return told.flatMap(({ arrivedAs, status, failed }) => {
    if (failed.length > 0) return [`${arrivedAs}: ${failed.join(", ")}`];
    return known.get(arrivedAs) === status
      ? []
      : [`${arrivedAs} is ${status}, and the sender knows ${known.get(arrivedAs)}`];
  });
}
