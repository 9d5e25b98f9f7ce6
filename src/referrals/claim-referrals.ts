import { sql } from "kysely";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import type { ReferralContent } from "./share-deal.ts";

/** Longer than any try takes with its settling. A worker that dies leaves its referrals to be tried again after this. */
const leaseMs = 120_000;

/** A referral in hand, with all that sending it takes. */
export interface ClaimedReferral {
  readonly id: string;
  readonly leadId: string;
  readonly outboundId: string | null;
  readonly connectionId: string | null;
  /** Whose permissions it was put together by. */
  readonly connectionVersion: number | null;
  readonly linkName: string;
  readonly url: string | null;
  /** Only its holder may settle it, but for the news that it was sent. */
  readonly claimToken: string;
  /** The number of the attempt that this claim is for, from 1. */
  readonly attemptCount: number;
  readonly tries: number;
  readonly retrySince: Date;
  readonly mayHaveArrived: boolean;
  readonly content: ReferralContent;
  readonly statusKeyEncrypted: string;
  readonly outbound: {
    readonly url: string;
    readonly keyEncrypted: string;
    readonly enabled: boolean;
    readonly isDeleted: boolean;
  } | null;
}

/**
 * Takes up to `limit` referrals over one link that are due, oldest first, that no other worker has in hand. What a worker that
 * died had in hand is recorded as interrupted: it may have arrived.
 */
export async function claimReferrals(
  database: Database,
  organisationId: string,
  linkId: string,
  limit: number,
  now: Date,
): Promise<readonly ClaimedReferral[]> {
  const { rows } = await inOrganisation(database, organisationId, async (transaction) =>
    sql<ClaimedReferral>`
      with due as (
        select id, sending_since, attempt_count as number from referrals
        where organisation_id = ${organisationId} and link_id = ${linkId} and state = 'due' and due_at <= ${now}
        order by due_at, id limit ${limit} for no key update skip locked
      ), interrupted as (
        insert into referral_attempts (referral_id, number, organisation_id, started_at, duration_ms, outcome, reason, may_have_arrived)
        select id, number, ${organisationId}, sending_since, 0, 'interrupted', 'The worker that tried it died.', true
        from due where sending_since is not null on conflict do nothing
      ), claimed as (
        update referrals r
        set attempt_count = r.attempt_count + 1, tries = r.tries + 1, claim_token = ${newId()}, sending_since = ${now},
            due_at = ${new Date(now.getTime() + leaseMs)},
            may_have_arrived = r.may_have_arrived or due.sending_since is not null
        from due where r.id = due.id
        returning r.*
      )
      select c.id, c.lead_id, c.outbound_id, c.connection_id, c.connection_version, c.link_name, c.url, c.claim_token, c.attempt_count, c.tries,
        c.retry_since, c.may_have_arrived, c.content, c.status_key_encrypted,
        case when o.id is not null then jsonb_build_object('url', o.url, 'keyEncrypted', o.key_encrypted,
          'enabled', o.enabled, 'isDeleted', o.deleted_at is not null) end as outbound
      from claimed c left join outbounds o on o.id = c.outbound_id
      order by c.id
    `.execute(transaction),
  );
  return rows;
}
