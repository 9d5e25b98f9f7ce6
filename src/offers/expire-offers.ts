import { sql } from "kysely";
import { routeLeads } from "../../queues/route-leads.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { fillPlaces } from "../delivery/recheck-holds.ts";
import { endOffers } from "./end-offers.ts";

/** Offers that one look finds, and one transaction of a partner ends. */
const batchSize = 500;

/**
 * Ends an organisation's offers that nobody answered in time, partner by partner, oldest first. An answer that comes
 * meanwhile and another worker do the same under the lead's lock: each offer is ended once.
 */
export async function expireDueOffers(context: Context, organisationId: string): Promise<void> {
  for (let isMore = true; isMore && !context.stopping.signal.aborted; ) {
    const due = await readDue(context, organisationId);
    let ended = 0;
    for (const batch of due) ended += await expireOfPartner(context, organisationId, batch);
    isMore = due.reduce((sum, { deliveryIds }) => sum + deliveryIds.length, 0) === batchSize && ended > 0;
  }
}

interface DueOffers {
  readonly partnerId: string;
  readonly timeZone: string;
  readonly deliveryIds: readonly string[];
  readonly leadIds: readonly string[];
}

async function readDue(context: Context, organisationId: string): Promise<readonly DueOffers[]> {
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const { rows } = await sql<DueOffers>`
      with due as (
        select id, lead_id, partner_id from deliveries
        where organisation_id = ${organisationId} and state = 'offered' and due_at <= ${context.clock()}
        order by due_at limit ${batchSize}
      )
      select p.id as partner_id, p.time_zone, array_agg(d.id) as delivery_ids, array_agg(d.lead_id) as lead_ids
      from due d join partners p on p.id = d.partner_id group by p.id
    `.execute(transaction);
    return rows;
  });
}

/** Leads are locked first, in the order of their ids, as everywhere. Gives how many offers were ended. */
async function expireOfPartner(
  context: Context,
  organisationId: string,
  { partnerId, timeZone, deliveryIds, leadIds }: DueOffers,
): Promise<number> {
  const partner = { id: partnerId, organisationId, timeZone };
  const now = context.clock();
  const ended = await inOrganisation(context.database, organisationId, async (transaction) => {
    await sql`select from leads where id = any(${leadIds}::uuid[]) order by id for no key update`.execute(transaction);
    const end = { state: "expired", reason: "There was no answer in time." } as const;
    return endOffers(transaction, partner, deliveryIds, end, now);
  });
  for (const campaignId of new Set(ended.map((sale) => sale.campaignId))) {
    context.waker.wake(routeLeads, { organisationId, campaignId });
  }
  if (ended.length > 0) await fillPlaces(context, partner, ended.length);
  return ended.length;
}
