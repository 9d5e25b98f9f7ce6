import { type RawBuilder, sql } from "kysely";
import { z } from "zod";
import type { Field } from "../campaigns/fields.ts";
import type { Database } from "../db/database.ts";
import type { LeadFields } from "../db/tables.ts";
import { type PartnerStatus, partnerStatuses } from "../delivery/partner-status.ts";
import type { FieldError } from "../errors.ts";
import { instantSchema } from "../http/api.ts";
import { pageQuery } from "../http/page.ts";
import { searchConditions } from "./search-conditions.ts";

export const ownLeadStates = ["delivered", "return_open", "returned"] as const;
export type OwnLeadState = (typeof ownLeadStates)[number];

/** What a partner's people find their leads by; all that is given must hold. */
export const ownLeadsQuery = z.strictObject({
  ...pageQuery,
  campaignId: z.uuid().optional(),
  state: z.enum(ownLeadStates).optional(),
  status: z.enum(partnerStatuses).optional(),
  from: instantSchema.optional().meta({ description: "leads that became yours at this instant or later" }),
  to: instantSchema.optional().meta({ description: "leads that became yours before this instant" }),
  name: z.string().trim().min(1).max(200).optional().meta({ description: "words that the name holds" }),
  email: z.string().trim().min(1).max(254).optional().meta({ description: "the whole address" }),
  phone: z.string().trim().min(1).max(50).optional().meta({ description: "the number, or how it ends" }),
  reference: z.string().min(1).max(500).optional().meta({ description: "what you call it, as you answered" }),
});
export type OwnLeadsQuery = z.infer<typeof ownLeadsQuery>;

/** A lead that was sold to the partner, as it may see it. */
export interface OwnLead {
  /** Of the delivery: what the partner's people know it by. */
  readonly id: string;
  readonly leadId: string;
  readonly campaignId: string;
  readonly campaignName: string;
  readonly campaignFields: readonly Field[];
  readonly state: OwnLeadState;
  readonly status: PartnerStatus;
  readonly reference: string | null;
  readonly priceMinor: number;
  readonly billedMinor: number;
  readonly currency: string;
  readonly soldAt: Date;
  readonly reversedAt: Date | null;
  readonly receivedAt: Date;
  readonly fields: LeadFields;
}

export type FoundOwnLeads =
  | { readonly ok: true; readonly rows: readonly OwnLead[]; readonly nextCursor: string | null }
  | { readonly ok: false; readonly fields: readonly FieldError[] };

/**
 * A search looks at this many leads, newest first, before it answers; the next page goes on behind them. So no search takes long,
 * however many leads a partner has, and taking leads in pays for no index of what is in them.
 */
export const mostLookedAt = 20_000;

/**
 * Finds a partner's leads, newest first. A page of a search may hold fewer than were asked for, and have a next one all the same.
 * Takes a transaction that is bound to the partner.
 */
export async function findOwnLeads(
  transaction: Database,
  partnerId: string,
  query: OwnLeadsQuery,
): Promise<FoundOwnLeads> {
  const { limit, cursor } = query;
  const after = cursor === undefined ? null : await readPlace(transaction, cursor);
  if (after === undefined)
    return { ok: false, fields: [{ field: "cursor", code: "invalid", message: "must be the nextCursor of a page" }] };
  const search = await searchConditions(transaction, query, ownState);
  if (!search.ok) return search;
  const { conditions } = search;
  const lookedAt = sql`
    select ${deliveryColumns} from deliveries d
    where d.partner_id = ${partnerId} and ${sql.join(boundsOf(query, after), sql` and `)}
    order by d.sold_at desc, d.id desc`;
  const { rows } = await sql<OwnLead>`
    select ${ownLeadColumns}
    from (${lookedAt} limit ${mostLookedAt}) d join leads l on l.id = d.lead_id join campaigns k on k.id = d.campaign_id
    where ${sql.join([sql`true`, ...conditions], sql` and `)}
    order by d.sold_at desc, d.id desc limit ${limit + 1}
  `.execute(transaction);
  const kept = rows.slice(0, limit);
  if (rows.length > limit) return { ok: true, rows: kept, nextCursor: kept.at(-1)?.id ?? null };
  if (conditions.length === 0) return { ok: true, rows: kept, nextCursor: null };
  // It came to the end of what it looks at: are there more?
  const last = await sql<{ id: string }>`
    select id from (${lookedAt} offset ${mostLookedAt - 1} limit 1) d
  `.execute(transaction);
  return { ok: true, rows: kept, nextCursor: last.rows[0]?.id ?? null };
}

/** One of a partner's leads; null where it has none of that id. Takes a transaction that is bound to the partner. */
export async function readOwnLead(transaction: Database, partnerId: string, id: string): Promise<OwnLead | null> {
  const { rows } = await sql<OwnLead>`
    select ${ownLeadColumns} from deliveries d join leads l on l.id = d.lead_id join campaigns k on k.id = d.campaign_id
    where d.id = ${id} and d.partner_id = ${partnerId} and d.sold_at is not null
  `.execute(transaction);
  return rows[0] ?? null;
}

const deliveryColumns = sql`d.id, d.lead_id, d.campaign_id, d.partner_id, d.state, d.partner_status, d.reference, d.price_minor,
  d.billed_minor, d.currency, d.sold_at, d.reversed_at`;

/** Of delivery d, as the partner sees it. One that is being sent again is its own as before. */
const ownState = sql`case when d.state = 'returned' then 'returned'
  when exists (select from returns r where r.delivery_id = d.id and r.state = 'open') then 'return_open' else 'delivered' end`;

/** Of delivery d, its lead l and campaign k. */
const ownLeadColumns = sql`d.id, d.lead_id, d.campaign_id, k.name as campaign_name, k.fields as campaign_fields, ${ownState} as state,
  coalesce(d.partner_status, 'new') as status, d.reference, d.price_minor, d.billed_minor, d.currency, d.sold_at, d.reversed_at,
  l.received_at, l.fields`;

interface Place {
  readonly id: string;
  readonly soldAt: Date;
}

/** Where a page ended; undefined for an id that is none of the partner's leads. */
async function readPlace(transaction: Database, id: string): Promise<Place | undefined> {
  const row = await transaction.selectFrom("deliveries").select("soldAt").where("id", "=", id).executeTakeFirst();
  return row?.soldAt == null ? undefined : { id, soldAt: row.soldAt };
}

/** What an index finds: deliveries of the partner by the time of their sale, or by the partner's reference. */
function boundsOf({ from, to, reference }: OwnLeadsQuery, after: Place | null): RawBuilder<unknown>[] {
  const bounds = [sql`d.sold_at is not null`];
  if (from !== undefined) bounds.push(sql`d.sold_at >= ${from}::timestamptz`);
  if (to !== undefined) bounds.push(sql`d.sold_at < ${to}::timestamptz`);
  if (after !== null) bounds.push(sql`(d.sold_at, d.id) < (${after.soldAt}::timestamptz, ${after.id}::uuid)`);
  if (reference !== undefined) bounds.push(sql`d.reference = ${reference}`);
  return bounds;
}
