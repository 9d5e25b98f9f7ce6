import { type RawBuilder, sql } from "kysely";
import type { Field } from "../campaigns/fields.ts";
import type { Database } from "../db/database.ts";
import type { FieldError } from "../errors.ts";
import type { OwnLeadsQuery } from "./find-own-leads.ts";

export type SearchConditions =
  | { readonly ok: true; readonly conditions: readonly RawBuilder<unknown>[] }
  | { readonly ok: false; readonly fields: readonly FieldError[] };

/** Fewer digits are the end of too many numbers. */
const leastDigits = 5;

/**
 * What a search asks of delivery d and its lead l, beyond what an index finds. `state` is how the partner sees the delivery.
 * Refuses a search for what no campaign of the partner asks its leads for.
 */
export async function searchConditions(
  transaction: Database,
  query: OwnLeadsQuery,
  state: RawBuilder<unknown>,
): Promise<SearchConditions> {
  const conditions: RawBuilder<unknown>[] = [];
  if (query.campaignId !== undefined) conditions.push(sql`d.campaign_id = ${query.campaignId}`);
  if (query.status !== undefined) conditions.push(sql`coalesce(d.partner_status, 'new') = ${query.status}`);
  if (query.state !== undefined) conditions.push(sql`${state} = ${query.state}`);
  if (query.name === undefined && query.email === undefined && query.phone === undefined) {
    return { ok: true, conditions };
  }
  const campaigns = await transaction.selectFrom("campaigns").select("fields").execute();
  const fields = campaigns.flatMap((campaign) => campaign.fields);
  const problems: FieldError[] = [];
  for (const { name, isOf, conditionOf } of searched) {
    const wanted = query[name];
    if (wanted === undefined) continue;
    const keys = [...new Set(fields.filter(isOf).map(({ key }) => key))];
    const condition = keys.length === 0 ? "no field of your leads holds one" : conditionOf(keys, wanted);
    if (typeof condition === "string") problems.push({ field: name, code: "not_allowed", message: condition });
    else conditions.push(condition);
  }
  return problems.length > 0 ? { ok: false, fields: problems } : { ok: true, conditions };
}

interface Searched {
  readonly name: "name" | "email" | "phone";
  isOf(field: Field): boolean;
  /** The condition, or why what is wanted cannot be searched for. */
  conditionOf(keys: readonly string[], wanted: string): RawBuilder<unknown> | string;
}

const nameKey = /(^|_)(name|firstname|lastname|surname|fullname)$/;

const searched: readonly Searched[] = [
  {
    name: "name",
    isOf: ({ type, group, key }) => type === "text" && (group === "contact" || nameKey.test(key)),
    conditionOf(keys, wanted) {
      const whole = sql`lower(concat_ws(' ', ${sql.join(valuesOf(keys))}))`;
      const words = wanted
        .toLowerCase()
        .split(/\s+/)
        .map((word) => sql`${whole} like ${`%${escaped(word)}%`}`);
      return sql`(${sql.join(words, sql` and `)})`;
    },
  },
  {
    name: "email",
    isOf: ({ type }) => type === "email",
    conditionOf: (keys, wanted) =>
      sql`lower(${wanted}) in (${sql.join(valuesOf(keys).map((value) => sql`lower(${value})`))})`,
  },
  {
    name: "phone",
    isOf: ({ type }) => type === "phone",
    conditionOf(keys, wanted) {
      // Numbers are kept with their country code; people write them with a 0 in its place.
      const digits = wanted.replace(/\D/g, "").replace(/^0+/, "");
      if (digits.length < leastDigits) return `must have at least ${leastDigits} digits`;
      return sql`(${sql.join(
        valuesOf(keys).map((value) => sql`${value} like ${`%${digits}`}`),
        sql` or `,
      )})`;
    },
  },
];

function valuesOf(keys: readonly string[]): RawBuilder<unknown>[] {
  return keys.map((key) => sql`(l.fields ->> ${key}::text)`);
}

function escaped(text: string): string {
  return text.replace(/[\\%_]/g, "\\$&");
}
