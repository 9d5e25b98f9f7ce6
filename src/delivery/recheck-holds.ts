import { type RawBuilder, sql } from "kysely";
import { routeLeads } from "../../queues/route-leads.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";

interface HeldFor {
  readonly id: string;
  readonly organisationId: string;
}

/** As many held leads are brought forward at once; the others keep their time, which is no later than before. */
const mostAtOnce = 5_000;

/** Brings a partner's held leads forward where that was asked for: a payment, other settings, a resumed endpoint. */
export async function recheckHolds(context: Context, partner: HeldFor): Promise<void> {
  const now = context.clock();
  const campaignIds = await inOrganisation(context.database, partner.organisationId, async (transaction) => {
    const asked = await transaction
      .updateTable("endpoints")
      .set({ recheckHoldsAt: null })
      .where("partnerId", "=", partner.id)
      .where("recheckHoldsAt", "<=", now)
      .returning("partnerId")
      .executeTakeFirst();
    return asked === undefined ? [] : bringForward(transaction, partner.id, sql`true`, mostAtOnce, now);
  });
  wakeRouting(context, partner, campaignIds);
}

/** Brings forward as many leads as places came back, of those that wait for a limit or for funds. */
export async function fillPlaces(context: Context, partner: HeldFor, places: number): Promise<void> {
  const now = context.clock();
  // Those whose wait is over already are being released one after the other.
  const waitsForPlace = sql`hold_until > ${now}
    and hold_reason->'reason'->>'code' in ('limit_reached', 'spend_limit_reached', 'no_funds')`;
  const campaignIds = await inOrganisation(context.database, partner.organisationId, async (transaction) =>
    bringForward(transaction, partner.id, waitsForPlace, Math.min(places, mostAtOnce), now),
  );
  wakeRouting(context, partner, campaignIds);
}

/**
 * Has held leads looked at, in order of arrival and spread out. Routing checks each as ever; where it has to go on waiting
 * for the same instant, its delivery still has its slot. Gives the campaigns concerned.
 */
async function bringForward(
  transaction: Database,
  partnerId: string,
  which: RawBuilder<unknown>,
  most: number,
  now: Date,
): Promise<readonly string[]> {
  const { rows } = await sql<{ campaignId: string }>`
    with held as materialized (
      select lead_id from deliveries where partner_id = ${partnerId} and state = 'held' and ${which}
      order by hold_until, due_at limit ${most}
    ), waiting as (
      select h.lead_id, p.spread_seconds * (row_number() over (order by h.lead_id) - 1) as after_seconds
      from held h join partners p on p.id = ${partnerId}
    ), locked as materialized (
      select id from leads where id in (select lead_id from waiting) and state in ('held', 'routing')
      order by id for no key update
    ), brought_forward as (
      update leads l set due_at = least(l.due_at, ${now}::timestamptz + make_interval(secs => w.after_seconds))
      from locked join waiting w on w.lead_id = locked.id where l.id = locked.id
      returning l.campaign_id
    )
    select distinct campaign_id from brought_forward
  `.execute(transaction);
  return rows.map(({ campaignId }) => campaignId);
}

function wakeRouting(context: Context, { organisationId }: HeldFor, campaignIds: readonly string[]): void {
  for (const campaignId of campaignIds) context.waker.wake(routeLeads, { organisationId, campaignId });
}
