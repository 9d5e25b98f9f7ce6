import type { ColumnType, Generated } from "kysely";

/** The rows of src/db/migrations/0014-connections.sql, column by column. */

export type ConnectionState = "pending" | "active" | "rejected" | "ended";
/** Of a connection: who refers, and to whom. */
export type ConnectionSide = "from" | "to";

/** Set by the database when the row is made, or changed later. */
type NotInserted<T> = ColumnType<T, undefined, T>;

interface ConnectionRow {
  id: string;
  fromOrganisationId: string;
  toOrganisationId: string;
  fromName: ColumnType<string, undefined, never>;
  toName: ColumnType<string, undefined, never>;
  permissions: string[];
  version: Generated<number>;
  state: Generated<ConnectionState>;
  createdAt: Date;
  createdBy: string;
  requestedAt: Date;
  requestedBy: string;
  decidedAt: NotInserted<Date | null>;
  decidedBy: NotInserted<string | null>;
  stageId: NotInserted<string | null>;
  reportsStatus: Generated<boolean>;
  endedAt: NotInserted<Date | null>;
  endedBy: NotInserted<string | null>;
  endedSide: NotInserted<ConnectionSide | null>;
}

export interface ConnectionTables {
  connections: ConnectionRow;
}
