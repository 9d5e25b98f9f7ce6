import { sql } from "kysely";
import type { Field } from "../campaigns/fields.ts";
import type { EmailSettings } from "../channels/settings.ts";
import type { Database } from "../db/database.ts";
import type { DeliveryState, LeadFields, LeadState } from "../db/tables.ts";
import type { AlertKind } from "./insert-alerts.ts";

/** Longer than any attempt takes with its settling. A worker that dies leaves its alerts to be sent again after this. */
const leaseMs = 60_000;

/** An alert in hand, with all that rendering it takes. */
export interface ClaimedAlert {
  readonly id: string;
  readonly kind: AlertKind;
  readonly channel: "sms" | "email";
  readonly recipient: string;
  /** The number of the attempt that this claim is for, from 1. */
  readonly attemptCount: number;
  readonly detail: Readonly<Record<string, string | number | null>>;
  readonly createdAt: Date;
  readonly organisationName: string;
  readonly partnerId: string | null;
  readonly partnerName: string | null;
  readonly partnerTimeZone: string | null;
  /** As stored: secrets inside are encrypted. */
  readonly partnerEmail: EmailSettings | null;
  readonly deliveryId: string | null;
  readonly deliveryState: DeliveryState | null;
  /** Until when the partner may accept the lead. */
  readonly offerUntil: Date | null;
  readonly priceMinor: number | null;
  readonly currency: string | null;
  readonly leadId: string | null;
  readonly leadState: LeadState | null;
  readonly leadFields: LeadFields | null;
  readonly leadSource: string | null;
  readonly contacts: readonly LeadFields[];
  readonly receivedAt: Date | null;
  readonly campaignId: string | null;
  readonly campaignName: string | null;
  readonly campaignFields: readonly Field[] | null;
  /** The return that it is about. */
  readonly returned: Readonly<Record<"state" | "reason" | "comment" | "note", string | null>> | null;
}

/**
 * Takes up to `limit` alerts of one channel that are due, oldest first, that no other worker has in hand. They are due
 * again when the lease runs out.
 */
export async function claimAlerts(
  transaction: Database,
  channel: ClaimedAlert["channel"],
  limit: number,
  now: Date,
): Promise<readonly ClaimedAlert[]> {
  const { rows } = await sql<ClaimedAlert>`
    with due as (
      select id from alerts where state = 'due' and channel = ${channel} and due_at <= ${now}
      order by due_at, id limit ${limit} for no key update skip locked
    ), claimed as (
      update alerts a set attempt_count = a.attempt_count + 1, due_at = ${new Date(now.getTime() + leaseMs)}
      from due where a.id = due.id
      returning a.*
    )
    select c.id, c.kind, c.channel, c.recipient, c.attempt_count, c.detail, c.created_at, c.partner_id, c.delivery_id,
      c.lead_id, o.name as organisation_name, p.name as partner_name, p.time_zone as partner_time_zone,
      p.email as partner_email, d.state as delivery_state, d.offer_until, d.price_minor,
      d.currency, l.state as lead_state, l.fields as lead_fields, l.source as lead_source, l.received_at,
      k.id as campaign_id, k.name as campaign_name, k.fields as campaign_fields,
      coalesce((select jsonb_agg(x.fields order by x.position) from contacts x where x.lead_id = c.lead_id), '[]') as contacts,
      (select jsonb_build_object('state', r.state, 'reason', r.reason_text, 'comment', r.comment, 'note', r.note)
        from returns r where r.id = (c.detail ->> 'returnId')::uuid) as returned
    from claimed c
    join organisations o on o.id = c.organisation_id
    left join partners p on p.id = c.partner_id
    left join deliveries d on d.id = c.delivery_id
    left join leads l on l.id = c.lead_id
    left join campaigns k on k.id = l.campaign_id
    order by c.id
  `.execute(transaction);
  return rows;
}
