import { sql } from "kysely";

/**
 * The columns that say whose a row is: `organisation_id` in every table but these. A connection is two organisations', with a
 * policy for reading, one for making and one for changing it; what each side may write of it is in connection-sides.test.ts.
 */
const ownerColumns: Readonly<Record<string, readonly string[]>> = {
  organisations: ["id"],
  connections: ["from_organisation_id", "to_organisation_id"],
};

/** Whose the rows of a table are, for `… in (…)`. */
export function ownersOf(table: string) {
  return sql.join((ownerColumns[table] ?? ["organisation_id"]).map((name) => sql.ref(name)));
}

export function isOfTwo(table: string): boolean {
  return ownerColumns[table]?.length === 2;
}
