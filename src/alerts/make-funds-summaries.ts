import { sql } from "kysely";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { recordSet } from "../db/record-set.ts";
import { availableMinor, readPartnerFunds } from "../ledger/accounts.ts";
import type { PartnerAlerts, PartnerContact } from "../partners/partner.ts";
import { nextSummary, summaryUntil } from "../partners/summary-time.ts";
import { insertAlerts, type NewAlert } from "./insert-alerts.ts";

/** Summaries that one transaction makes. */
const batchSize = 100;

interface DueSummary {
  readonly id: string;
  readonly timeZone: string;
  readonly currency: string;
  readonly creditLimitMinor: number;
  readonly contact: PartnerContact;
  readonly alerts: PartnerAlerts;
  readonly since: Date;
}

/** What was booked for a partner in a period. */
interface Booked {
  readonly partnerId: string;
  readonly leads: number;
  readonly chargedMinor: number;
  readonly returned: number;
  readonly returnedMinor: number;
  readonly otherMinor: number;
}

/**
 * Makes the summaries of partners' funds that are due, as alerts. Each reaches from the end of the one before to the latest
 * time at which one was due: exactly one for each day on which a worker runs, and nothing untold if none ran for days. Any
 * number may run at once: each summary is made by one.
 */
export async function makeFundsSummaries(context: Context, organisationId: string): Promise<void> {
  for (let isMore = true; isMore && !context.stopping.signal.aborted; ) {
    const now = context.clock();
    const made = await inOrganisation(context.database, organisationId, async (transaction) =>
      makeBatch(transaction, organisationId, now),
    );
    isMore = made === batchSize;
  }
}

async function makeBatch(transaction: Database, organisationId: string, now: Date): Promise<number> {
  const due = await claimDue(transaction, now);
  if (due.length === 0) return 0;
  const periods = due.map(({ id, timeZone, alerts, since }) => {
    // It is due, so it has a time: the two are set together.
    const timeOfDay = alerts.fundsSummaryAt ?? "00:00";
    const until = new Date(Math.max(summaryUntil(timeZone, timeOfDay, now).getTime(), since.getTime()));
    return { id, since, until, next_at: nextSummary(timeZone, timeOfDay, now) };
  });
  const [booked, funds] = await Promise.all([
    readBooked(transaction, periods),
    readPartnerFunds(
      transaction,
      due.map(({ id }) => id),
      "read",
    ),
  ]);
  const alerts = due.flatMap((partner, index) => {
    const own = funds.get(partner.id);
    if (own === undefined) throw new Error(`Partner ${partner.id} has no accounts.`);
    const { leads, chargedMinor, returned, returnedMinor, otherMinor } =
      booked.find(({ partnerId }) => partnerId === partner.id) ?? nothing;
    return summaryAlerts(partner, {
      since: partner.since.toISOString(),
      until: (periods[index]?.until ?? now).toISOString(),
      currency: partner.currency,
      leads,
      charged_minor: chargedMinor,
      returned,
      returned_minor: returnedMinor,
      other_minor: otherMinor,
      balance_minor: own.balanceMinor,
      available_minor: availableMinor(own, partner.creditLimitMinor),
    });
  });
  await insertAlerts(transaction, organisationId, alerts, now);
  await sql`
    update partners p set summary_since = g.until, summary_due_at = g.next_at
    from ${recordSet(periods, "id uuid, until timestamptz, next_at timestamptz")} as g
    where p.id = g.id
  `.execute(transaction);
  return due.length;
}

const nothing = { leads: 0, chargedMinor: 0, returned: 0, returnedMinor: 0, otherMinor: 0 };

async function claimDue(transaction: Database, now: Date): Promise<readonly DueSummary[]> {
  const { rows } = await sql<DueSummary>`
    select id, time_zone, currency, credit_limit_minor, contact, alerts, summary_since as since
    from partners where organisation_id = current_organisation() and summary_due_at <= ${now}
    order by summary_due_at, id limit ${batchSize} for no key update skip locked
  `.execute(transaction);
  return rows;
}

/** Sums up the ledger: what is told of a day and of all others together is what the balance changed by. */
async function readBooked(
  transaction: Database,
  periods: readonly { readonly id: string; readonly since: Date; readonly until: Date }[],
): Promise<readonly Booked[]> {
  const { rows } = await sql<Booked>`
    select g.id as partner_id,
      count(distinct t.delivery_id) filter (where t.kind = 'post') as leads,
      coalesce(-sum(t.amount_minor) filter (where t.kind = 'post'), 0) as charged_minor,
      count(distinct t.delivery_id) filter (where t.kind = 'reverse') as returned,
      coalesce(sum(t.amount_minor) filter (where t.kind = 'reverse'), 0) as returned_minor,
      coalesce(sum(t.amount_minor) filter (where t.kind not in ('post', 'reverse')), 0) as other_minor
    from ${recordSet(periods, "id uuid, since timestamptz, until timestamptz")} as g
    cross join lateral (
      select t.kind, t.delivery_id, e.amount_minor
      from transactions t
      join entries e on e.transaction_id = t.id
      join accounts a on a.id = e.account_id and a.partner_id = g.id and a.kind in ('funds', 'reserved')
      where t.partner_id = g.id and t.occurred_at >= g.since and t.occurred_at < g.until
    ) t
    group by g.id
  `.execute(transaction);
  return rows;
}

function summaryAlerts({ id, contact, alerts }: DueSummary, detail: NewAlert["detail"]): NewAlert[] {
  const about = { kind: "funds_summary", partnerId: id, leadId: null, deliveryId: null, detail } as const;
  const key = `funds-summary-${id}-${String(detail.until)}`;
  const made: NewAlert[] = [];
  if (alerts.fundsSms && contact.phone !== null) {
    made.push({ key: `${key}-sms`, channel: "sms", recipient: contact.phone, ...about });
  }
  if (alerts.fundsEmail && contact.email !== null) {
    made.push({ key: `${key}-email`, channel: "email", recipient: contact.email, ...about });
  }
  return made;
}
