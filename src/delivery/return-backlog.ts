import { sql } from "kysely";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import type { DrainedPartner, Obstacle } from "./drained-partner.ts";
import { endSales, type SettledSale } from "./end-sales.ts";

const mostAtOnce = 500;

/**
 * Takes leads back from a partner that cannot be sent any now: those that it surely never saw go on to routing at once,
 * which asks the next partner or holds them; those that it may have, those that it has accepted, and those that staff sent
 * there, wait until the obstacle passes. What is due and cannot wait is left due. Gives the campaigns that have leads to route.
 */
export async function returnBacklog(
  context: Context,
  partner: DrainedPartner,
  obstacle: Obstacle,
  now: Date,
): Promise<ReadonlySet<string>> {
  const campaignIds = new Set<string>();
  for (let isMore = true; isMore; ) {
    const { found, returned } = await returnSome(context, partner, obstacle.reason, now);
    for (const { campaignId } of returned) campaignIds.add(campaignId);
    isMore = found === mostAtOnce;
  }
  if (obstacle.until !== null) await putOff(context, partner, obstacle.until, obstacle.isTrouble, now);
  return campaignIds;
}

/** Leads are locked first, in the order of their ids, as everywhere. */
async function returnSome(
  context: Context,
  partner: DrainedPartner,
  reason: string,
  now: Date,
): Promise<{ readonly found: number; readonly returned: readonly SettledSale[] }> {
  const unseen = sql`state = 'sending' and due_at <= ${now} and not manual and offer is null and not may_have_arrived
    and sending_since is null and redelivery_of is null`;
  return inOrganisation(context.database, partner.organisationId, async (transaction) => {
    const { rows: due } = await sql<{ id: string; leadId: string }>`
      select id, lead_id from deliveries where partner_id = ${partner.id} and ${unseen} order by due_at limit ${mostAtOnce}
    `.execute(transaction);
    if (due.length === 0) return { found: 0, returned: [] };
    const leadIds = due.map(({ leadId }) => leadId);
    await sql`select from leads where id = any(${leadIds}::uuid[]) order by id for no key update`.execute(transaction);
    const { rows: returned } = await sql<SettledSale>`
      with given as (
        select id, reserved_at from deliveries where id = any(${due.map(({ id }) => id)}::uuid[]) and ${unseen}
      ), cancelled as (
        update deliveries d
        set state = 'cancelled', reason = ${reason}, due_at = null, reserved_at = null, finished_at = ${now}
        from given g where d.id = g.id
        returning d.id, d.lead_id, d.campaign_id, d.price_minor, d.terms, d.billed_minor, d.billing_point, d.currency,
          g.reserved_at
      ), moved_on as (
        update leads l set due_at = ${now} from cancelled c where l.id = c.lead_id
      )
      select * from cancelled
    `.execute(transaction);
    const sales = returned.map((sale) => ({ sale, end: { kind: "void" } as const, cost: null }));
    await endSales(transaction, partner, sales, now);
    return { found: due.length, returned };
  });
}

async function putOff(
  context: Context,
  partner: DrainedPartner,
  until: Date,
  isTrouble: boolean,
  now: Date,
): Promise<void> {
  await inOrganisation(context.database, partner.organisationId, async (transaction) =>
    sql`
      update deliveries d set due_at = ${until} from leads l
      where d.partner_id = ${partner.id} and d.state = 'sending' and d.due_at <= ${now} and not d.override
        and l.id = d.lead_id and (not ${isTrouble}::boolean or l.hold_ends_at > ${now})
    `.execute(transaction),
  );
}
