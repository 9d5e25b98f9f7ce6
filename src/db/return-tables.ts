import type { ReturnPolicy, ReturnRefusal } from "../returns/return-policy.ts";
import type { Json } from "./tables.ts";

/** The rows of src/db/migrations/0006-returns.sql, column by column. */

interface ReturnRow {
  id: string;
  organisationId: string;
  deliveryId: string;
  leadId: string;
  partnerId: string;
  soldAt: Date;
  state: "open" | "accepted" | "declined";
  reasonCode: string | null;
  reasonText: string | null;
  comment: string | null;
  overridden: Json<ReturnRefusal[]>;
  place: ReturnPolicy["place"];
  cost: ReturnPolicy["cost"];
  rerouteHours: number | null;
  askedAt: Date;
  askedBy: string;
  decidedAt: Date | null;
  decidedBy: string | null;
  note: string | null;
}

export interface ReturnTables {
  returns: ReturnRow;
}
