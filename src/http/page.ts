import { z } from "zod";

/** Lists come in pages, newest first: ids are made in the order of time, and each page begins after the last id of the one before. */
export const pageQuery = {
  limit: z.coerce.number().int().min(1).max(200).default(50).meta({ description: "how many at most, up to 200" }),
  cursor: z.uuid().optional().meta({ description: "the nextCursor of the page before" }),
};

export interface PageOf {
  readonly limit: number;
  readonly cursor?: string | undefined;
}

/** The answer of a list. `nextCursor` is null on the last page. */
export function pageSchema<T extends z.ZodType>(item: T) {
  return z.object({ data: z.array(item), nextCursor: z.uuid().nullable() });
}

/** What of a query a page asks for: rows before the cursor, newest first, and one more than fit to see if there is another page. */
interface Pageable<Q> {
  where(column: "id", operator: "<", value: string): Q;
  orderBy(column: "id", direction: "desc"): Q;
  limit(count: number): Q;
}

export function pageRows<Q extends Pageable<Q>>(query: Q, { limit, cursor }: PageOf): Q {
  const after = cursor === undefined ? query : query.where("id", "<", cursor);
  return after.orderBy("id", "desc").limit(limit + 1);
}

/** Cuts the one row too many off and gives the cursor of the next page. */
export function cutPage<Row extends { readonly id: string }>(
  rows: readonly Row[],
  { limit }: PageOf,
): { readonly rows: readonly Row[]; readonly nextCursor: string | null } {
  const kept = rows.slice(0, limit);
  return { rows: kept, nextCursor: rows.length > limit ? (kept.at(-1)?.id ?? null) : null };
}

/** A yes or no in a query: `true` or `false`. */
export const flagQuery = z.enum(["true", "false"]).transform((text) => text === "true");
