import { sql } from "kysely";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";

export interface DeliverySummaryRow {
  readonly partner: string;
  readonly method: string;
  readonly delivered: number;
  readonly rejected: number;
  readonly held: number;
  /** Why leads are held for it, in the words of the reasons' codes. */
  readonly heldWhy: string | null;
  /** Half of the partner's answers came within this time; null where there was none. */
  readonly medianMs: number | null;
}

/** What became of the leads of each partner: a line for each, in the order in which they were added. */
export async function summariseDeliveries(
  context: Context,
  organisationId: string,
): Promise<readonly DeliverySummaryRow[]> {
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const { rows } = await sql<DeliverySummaryRow>`
      select p.name as partner, coalesce(p.internet ->> 'method', 'email') as method,
        count(*) filter (where d.state = 'delivered') as delivered,
        count(*) filter (where d.state = 'rejected') as rejected,
        count(*) filter (where d.state = 'held') as held,
        string_agg(distinct d.hold_reason -> 'reason' ->> 'code', ', ') filter (where d.state = 'held') as held_why,
        round(percentile_cont(0.5) within group (order by a.duration_ms) filter (where a.duration_ms is not null)) as median_ms
      from partners p
      left join deliveries d on d.partner_id = p.id
      left join lateral (select duration_ms from attempts where delivery_id = d.id order by number desc limit 1) a on true
      group by p.id order by p.id
    `.execute(transaction);
    return rows;
  });
}

/**
 * Whether any lead is still to be routed or under way; held leads wait for their time, offered ones for a partner's answer,
 * and those of a workflow for staff.
 */
export async function isAnythingUnderWay(context: Context, organisationId: string): Promise<boolean> {
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const row = await transaction
      .selectFrom("leads")
      .select("id")
      .where("organisationId", "=", organisationId)
      .where((is) =>
        is.or([is("state", "=", "routing"), is.and([is("state", "=", "received"), is("dueAt", "is not", null)])]),
      )
      .where((is) =>
        is.not(
          is.exists(
            is
              .selectFrom("deliveries as d")
              .select("d.id")
              .whereRef("d.leadId", "=", "leads.id")
              .where("d.state", "=", "offered"),
          ),
        ),
      )
      .limit(1)
      .executeTakeFirst();
    return row !== undefined;
  });
}
