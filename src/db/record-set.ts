import { type RawBuilder, sql } from "kysely";

/**
 * Rows of ours as a table in a statement: `from ${recordSet(rows, "id uuid, due_at timestamptz")} as g`. The limit tells the
 * planner how many there are; without it a hundred are assumed, and young tables are read from end to end.
 */
export function recordSet(rows: readonly object[], columns: string): RawBuilder<unknown> {
  const json = JSON.stringify(rows);
  return sql`(select * from jsonb_to_recordset(${json}::jsonb) as r (${sql.raw(columns)}) limit ${rows.length})`;
}
