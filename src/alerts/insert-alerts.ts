import { sql } from "kysely";
import type { Database } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { recordSet } from "../db/record-set.ts";
import type { DeliverySettings } from "../partners/delivery-settings.ts";
import type { PartnerAlerts, PartnerContact } from "../partners/partner.ts";

/** What alerts have to know of a partner. */
export interface AlertedPartner {
  readonly id: string;
  readonly organisationId: string;
  readonly name: string;
  readonly contact: Pick<PartnerContact, "phone" | "email">;
  readonly alerts: PartnerAlerts;
  readonly delivery: DeliverySettings;
}

export interface NewAlert {
  /** One alert of a kind about a thing; a second one of the same key is not made. */
  readonly key: string;
  readonly kind: AlertKind;
  readonly channel: "sms" | "email";
  /**
   * A number, or mail addresses with `recipientSeparator` between them. null: the organisation's staff address; where there
   * is none, no alert is made.
   */
  readonly recipient: string | null;
  readonly partnerId: string | null;
  readonly leadId: string | null;
  readonly deliveryId: string | null;
  readonly detail: Readonly<Record<string, string | number | null>>;
}

export const recipientSeparator = ", ";

export const alertKinds = [
  // Made by the database, in the transaction that offers the lead: tell_of_offers.
  "lead_offered",
  "lead_referred",
  "lead_copy",
  "endpoint_paused",
  "delivery_uncertain",
  "payment_problem",
  "invoice",
  "return_open",
  "return_decided",
  "settings_change_open",
  "settings_change_decided",
  "referral_arrived",
  // The next two are made by the database, where funds change: tell_of_funds.
  "low_funds",
  "out_of_funds",
  "funds_summary",
  // These two bring a link to set a password: src/people/token-alert.ts.
  "invitation",
  "password_reset",
  // Made by the database: tell_of_request. Who asks does not see the organisation that is told.
  "connection_requested",
] as const;
export type AlertKind = (typeof alertKinds)[number];

/** Stores alerts in the transaction of what they tell about; they are sent after the commit. Gives how many were new. */
export async function insertAlerts(
  transaction: Database,
  organisationId: string,
  alerts: readonly NewAlert[],
  now: Date,
): Promise<number> {
  if (alerts.length === 0) return 0;
  const rows = alerts.map(({ partnerId, leadId, deliveryId, ...alert }) => ({
    id: newId(),
    ...alert,
    partner_id: partnerId,
    lead_id: leadId,
    delivery_id: deliveryId,
  }));
  const { rows: inserted } = await sql`
    insert into alerts (id, organisation_id, key, kind, channel, recipient, partner_id, lead_id, delivery_id, detail, state, due_at, created_at)
    select g.id, o.id, g.key, g.kind, g.channel, coalesce(g.recipient, o.staff_email), g.partner_id, g.lead_id, g.delivery_id,
      g.detail, 'due', ${now}::timestamptz, ${now}::timestamptz
    from ${recordSet(
      rows,
      `
      id uuid, key text, kind text, channel text, recipient text, partner_id uuid, lead_id uuid, delivery_id
      uuid, detail jsonb`,
    )} as g
    join organisations o on o.id = ${organisationId}
    where coalesce(g.recipient, o.staff_email) is not null
    on conflict (organisation_id, key) do nothing
    returning id
  `.execute(transaction);
  return inserted.length;
}

/**
 * The alerts that tell a partner of a lead it just got, as its settings say. Where it has settings for the internet and
 * for email, the lead itself went over the internet, and a copy goes by email.
 */
export function leadReferredAlerts(partner: AlertedPartner, delivery: { id: string; leadId: string }): NewAlert[] {
  const { contact, alerts } = partner;
  const about = { partnerId: partner.id, leadId: delivery.leadId, deliveryId: delivery.id, detail: {} };
  const made: NewAlert[] = [];
  if (alerts.leadReferredSms && contact.phone !== null) {
    const key = `lead-referred-sms-${delivery.id}`;
    made.push({ key, kind: "lead_referred", channel: "sms", recipient: contact.phone, ...about });
  }
  if (alerts.leadReferredEmail && contact.email !== null) {
    const key = `lead-referred-email-${delivery.id}`;
    made.push({ key, kind: "lead_referred", channel: "email", recipient: contact.email, ...about });
  }
  const { internet, email } = partner.delivery;
  if (internet !== null && email !== null) {
    const recipient = email.to.join(recipientSeparator);
    made.push({ key: `lead-copy-${delivery.id}`, kind: "lead_copy", channel: "email", recipient, ...about });
  }
  return made;
}

/** Tells staff that an endpoint is paused and why: once for each pause. */
export function endpointPausedAlert(partner: AlertedPartner, pausedUntil: Date, reason: string): NewAlert {
  return {
    key: `endpoint-paused-${partner.id}-${pausedUntil.getTime()}`,
    kind: "endpoint_paused",
    channel: "email",
    recipient: null,
    partnerId: partner.id,
    leadId: null,
    deliveryId: null,
    detail: { partner: partner.name, until: pausedUntil.toISOString(), reason },
  };
}

/** Tells staff that a lead may or may not be with a partner, and that they have to decide. */
export function deliveryUncertainAlert(
  partner: AlertedPartner,
  delivery: { id: string; leadId: string; tries: number },
  reason: string | null,
): NewAlert {
  return {
    key: `delivery-uncertain-${delivery.id}-${delivery.tries}`,
    kind: "delivery_uncertain",
    channel: "email",
    recipient: null,
    partnerId: partner.id,
    leadId: delivery.leadId,
    deliveryId: delivery.id,
    detail: { partner: partner.name, reason },
  };
}

/** Tells staff of a payment that does not come out as it should: once for each problem. */
export function paymentProblemAlert(partnerId: string | null, problemKey: string, what: string): NewAlert {
  return {
    key: `payment-problem-${problemKey}`,
    kind: "payment_problem",
    channel: "email",
    recipient: null,
    partnerId,
    leadId: null,
    deliveryId: null,
    detail: { what },
  };
}

/** Who is told of what arrives in a workflow: by email, and by SMS where there is a number. Without an email, staff are. */
export interface AlertedOwner {
  readonly email: string | null;
  readonly phone: string | null;
}

/** Tells the owner of a workflow of a lead that arrived in it from another organisation or over a form. */
export function referralArrivedAlerts(
  { email, phone }: AlertedOwner,
  leadId: string,
  detail: NewAlert["detail"],
): NewAlert[] {
  const about = { kind: "referral_arrived", partnerId: null, leadId, deliveryId: null, detail } as const;
  const key = `referral-arrived-${leadId}`;
  const mail: NewAlert = { key: `${key}-email`, channel: "email", recipient: email, ...about };
  return phone === null ? [mail] : [mail, { key: `${key}-sms`, channel: "sms", recipient: phone, ...about }];
}
