import { sql } from "kysely";
import type { Database } from "../db/database.ts";
import { endSales, type SellingPartner, type SettledSale } from "../delivery/end-sales.ts";
import { transferMs } from "../routing/offers.ts";

export interface OfferEnd {
  readonly state: "declined" | "expired" | "cancelled";
  readonly reason: string | null;
}

/**
 * Ends offers of one partner that are still open: places and money go back to where they came from, and the leads go on to
 * routing; after a transfer when an agent has had time to ask for the next partner. `expired` ends only those whose time is
 * over. The leads are locked by the caller. Gives the deliveries that were ended: another's answer may have come first.
 */
export async function endOffers(
  transaction: Database,
  partner: SellingPartner,
  deliveryIds: readonly string[],
  { state, reason }: OfferEnd,
  now: Date,
): Promise<readonly SettledSale[]> {
  const { rows: ended } = await sql<SettledSale>`
    with given as (
      select id, reserved_at from deliveries
      where id = any(${deliveryIds}::uuid[]) and partner_id = ${partner.id} and state = 'offered'
        and (${state} <> 'expired' or due_at <= ${now}::timestamptz)
    ), ended as (
      update deliveries d
      set state = ${state}, reason = ${reason}, due_at = null, reserved_at = null, finished_at = ${now}::timestamptz,
        answered_at = case when ${state} = 'declined' then ${now}::timestamptz end
      from given g where d.id = g.id
      returning d.id, d.lead_id, d.campaign_id, d.price_minor, d.terms, d.billed_minor, d.billing_point, d.currency,
        g.reserved_at, d.offer
    ), moved_on as (
      update leads l
      set state = 'routing', state_reason = null, finished_at = null,
        due_at = ${now}::timestamptz + case when e.offer = 'transfer' then make_interval(secs => ${transferMs / 1000}) else interval '0' end
      from ended e where l.id = e.lead_id and l.state not in ('erased', 'returned')
    )
    select * from ended
  `.execute(transaction);
  const sales = ended.map((sale) => ({ sale, end: { kind: "void" } as const, cost: null }));
  await endSales(transaction, partner, sales, now);
  return ended;
}
