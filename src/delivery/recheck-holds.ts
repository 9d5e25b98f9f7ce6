import { sql } from "kysely";
import { routeLeads } from "../../queues/route-leads.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";

/** As many held leads are brought forward at once; the others keep their time, which is no later than before. */
const mostAtOnce = 5_000;

/**
 * Brings a partner's held leads forward, in order of arrival and spread out, when something changed that may let it take
 * them: a payment, a raised limit, other hours, a resumed endpoint. Routing then checks each as ever; where it has to go on
 * waiting for the same instant, its delivery still has its slot.
 */
export async function recheckHolds(context: Context, partner: { id: string; organisationId: string }): Promise<void> {
  const now = context.clock();
  const campaignIds = await inOrganisation(context.database, partner.organisationId, async (transaction) => {
    const asked = await transaction
      .updateTable("endpoints")
      .set({ recheckHoldsAt: null })
      .where("partnerId", "=", partner.id)
      .where("recheckHoldsAt", "<=", now)
      .returning("partnerId")
      .executeTakeFirst();
    if (asked === undefined) return [];
    const { rows } = await sql<{ campaignId: string }>`
      with held as materialized (
        select lead_id from deliveries where partner_id = ${partner.id} and state = 'held'
        order by hold_until, due_at limit ${mostAtOnce}
      ), waiting as (
        select h.lead_id, p.spread_seconds * (row_number() over (order by h.lead_id) - 1) as after_seconds
        from held h join partners p on p.id = ${partner.id}
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
    return rows.map((row) => row.campaignId);
  });
  for (const campaignId of campaignIds) {
    context.waker.wake(routeLeads, { organisationId: partner.organisationId, campaignId });
  }
}
