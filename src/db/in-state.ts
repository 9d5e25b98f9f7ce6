import { type RawBuilder, sql } from "kysely";
import type { DeliveryState } from "./tables.ts";

/**
 * `state = …` of deliveries that are named by their ids or leads. The partial indexes of a state do not serve this expression: a
 * plan that is made while few are in that state takes them for shorter than the primary key, and reads them from end to
 * end once a million are.
 */
export function isInState(table: "d" | "h", state: DeliveryState): RawBuilder<boolean> {
  return sql<boolean>`${sql.ref(table)}.state || '' = ${sql.lit(state)}`;
}
