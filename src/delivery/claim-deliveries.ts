import { sql } from "kysely";
import type { Field } from "../campaigns/fields.ts";
import type { Database } from "../db/database.ts";
import type { LeadFields } from "../db/tables.ts";
import type { IntroducerAccounts } from "../ledger/book.ts";
import type { BillingPoint } from "../prices/billing.ts";
import type { AgreedCost } from "../prices/lead-cost.ts";
import type { SaleTerms } from "../prices/sale-terms.ts";
import type { Lease } from "./lease.ts";

/** A delivery in hand, with all that rendering its request takes. */
export interface ClaimedDelivery {
  readonly id: string;
  /**
   * What tells the partner that requests are one and the same: this delivery's id, or that of the first which the partner was asked
   * about and which was taken back before it answered for good.
   */
  readonly idempotencyKey: string;
  readonly leadId: string;
  readonly campaignId: string;
  readonly campaignName: string;
  readonly moneyFields: readonly Field[];
  readonly priceMinor: number;
  readonly terms: SaleTerms | null;
  readonly billedMinor: number;
  readonly billingPoint: BillingPoint | null;
  readonly currency: string;
  readonly reservedAt: Date | null;
  readonly redeliveryOf: "delivered" | "uncertain" | null;
  /** Staff sent it past the partner's hours, limits or pause. */
  readonly override: boolean;
  /** The number of the attempt that this claim is for, from 1. */
  readonly attemptCount: number;
  readonly tries: number;
  readonly mayHaveArrived: boolean;
  readonly fields: LeadFields;
  readonly contacts: readonly LeadFields[];
  readonly receivedAt: Date;
  readonly source: string | null;
  readonly introducerId: string | null;
  readonly leadCost: AgreedCost | null;
  /** Of the introducer, where it is owed anything for sales. */
  readonly costAccounts: IntroducerAccounts | null;
}

/**
 * Takes up to `limit` deliveries of a partner that are due, oldest first. Each bears the lease's token from now on: only
 * its holder may settle it. They stay due, for whoever has the lease next should this one die. One that is found with an attempt under way was left by a worker that died: the attempt is
 * recorded as interrupted, and the lead may have arrived.
 */
export async function claimDeliveries(
  transaction: Database,
  lease: Lease,
  limit: number,
  now: Date,
): Promise<readonly ClaimedDelivery[]> {
  const { rows } = await sql<ClaimedDelivery>`
    with due as (
      select id, sending_since, attempt_count from deliveries
      where partner_id = ${lease.partnerId} and state = 'sending' and due_at <= ${now}
        and claim_token is distinct from ${lease.token}::uuid
      order by due_at, id limit ${limit} for no key update skip locked
    ), interrupted as (
      insert into attempts (delivery_id, number, organisation_id, channel, started_at, duration_ms, outcome, reason, arrived)
      select id, attempt_count, ${lease.organisationId}::uuid, 'unknown', sending_since, 0, 'interrupted',
        'The worker stopped during this attempt; whether the request arrived is not known.', 'unknown'
      from due where sending_since is not null
      on conflict do nothing
    ), claimed as (
      update deliveries d
      set claim_token = ${lease.token}::uuid, sending_since = ${now},
          attempt_count = d.attempt_count + 1, tries = d.tries + 1,
          may_have_arrived = d.may_have_arrived or due.sending_since is not null
      from due where d.id = due.id
      returning d.*
    )
    select c.id, ${idempotencyKey} as idempotency_key, c.lead_id, c.campaign_id, k.name as campaign_name, k.money_fields,
      c.price_minor, c.terms, c.billed_minor, c.billing_point, c.currency, c.reserved_at, l.introducer_id, l.lead_cost,
      case when l.lead_cost is not null then (
        select jsonb_object_agg(a.kind, a.id) from accounts a
        where a.partner_id = l.introducer_id and a.kind in ('lead_cost', 'payable')
          and a.currency = case when l.lead_cost ? 'percent' then c.currency else l.lead_cost ->> 'currency' end
      ) end as cost_accounts,
      c.redelivery_of, c.override, c.attempt_count, c.tries, c.may_have_arrived, l.fields, l.received_at, l.source,
      coalesce((select jsonb_agg(x.fields order by x.position) from contacts x where x.lead_id = c.lead_id), '[]') as contacts
    from claimed c join leads l on l.id = c.lead_id join campaigns k on k.id = c.campaign_id
    order by c.id
  `.execute(transaction);
  return rows;
}

/** Of claimed delivery c. A delivery that ended otherwise in between, and was returned perhaps, begins anew. */
const idempotencyKey = sql`coalesce((
  select before.id from deliveries before
  where before.lead_id = c.lead_id and before.partner_id = c.partner_id and before.state = 'cancelled' and before.attempt_count > 0
    and before.id > all (
      select ended.id from deliveries ended
      where ended.lead_id = c.lead_id and ended.partner_id = c.partner_id and ended.state not in ('cancelled', 'sending'))
  order by before.id limit 1), c.id)`;
