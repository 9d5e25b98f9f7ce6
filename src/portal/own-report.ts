import { type RawBuilder, sql } from "kysely";
import type { Database } from "../db/database.ts";
import type { Period } from "../period.ts";

/** What a partner's report has a row for. */
export const ownReportKeys = ["day", "month", "campaign", "status"] as const;
export type OwnReportKey = (typeof ownReportKeys)[number];

export interface OwnReportRow {
  /** A date, a month, the id of a campaign, or a status. */
  readonly key: string;
  readonly name: string | null;
  /** That became the partner's in the period. */
  readonly leads: number;
  /** Of those: taken back since, by a return or else. */
  readonly returned: number;
  /** What was paid for them so far, less what went back. */
  readonly spendMinor: number;
}

/** Counts a partner's leads by the time at which they became its own. Takes a transaction that is bound to the partner. */
export async function readOwnReport(
  transaction: Database,
  partnerId: string,
  by: OwnReportKey,
  timeZone: string,
  { startsAt, endsAt }: Period,
): Promise<readonly OwnReportRow[]> {
  const name = by === "campaign" ? sql`(select k.name from campaigns k where k.id = n.key)` : sql`null`;
  const { rows } = await sql<OwnReportRow>`
    select n.key::text as key, ${name} as name, n.leads, n.returned, n.spend_minor
    from (
      select ${keyOf(by, timeZone)} as key, count(*) as leads, count(*) filter (where d.state = 'returned') as returned,
        coalesce(sum(d.billed_minor), 0) as spend_minor
      from deliveries d
      where d.partner_id = ${partnerId} and d.sold_at is not null and d.sold_at >= ${startsAt} and d.sold_at < ${endsAt}
      group by 1
    ) n
    order by n.key
  `.execute(transaction);
  return by === "month" ? rows.map((row) => ({ ...row, key: row.key.slice(0, "2026-11".length) })) : rows;
}

function keyOf(by: OwnReportKey, timeZone: string): RawBuilder<unknown> {
  switch (by) {
    case "day":
      return sql`(d.sold_at at time zone ${timeZone})::date`;
    case "month":
      return sql`date_trunc('month', d.sold_at at time zone ${timeZone})::date`;
    case "campaign":
      return sql`d.campaign_id`;
    case "status":
      return sql`coalesce(d.partner_status, 'new')`;
  }
}
