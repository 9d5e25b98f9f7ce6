import { z } from "zod";
import type { ConnectionSide } from "../db/connection-tables.ts";
import type { Database } from "../db/database.ts";
import { instantSchema } from "../http/api.ts";
import { pageQuery } from "../http/page.ts";
import { type Connection, connectionStates, organisationOf } from "./connection.ts";

/** What each side sees of its connections. */

export const connectionQuery = z.strictObject({ ...pageQuery, state: z.enum(connectionStates).optional() });

const shared = {
  id: z.uuid(),
  organisation: z.string().meta({ description: "the other side" }),
  state: z.enum(connectionStates),
  createdBy: z.string(),
  createdAt: instantSchema,
};
const permissions = z.array(z.string()).meta({ description: "the groups of fields that are carried" });
const nullableInstant = instantSchema.nullable();

/** A line of the list of organisations that we refer to. */
export const outgoingAnswer = z
  .object({ ...shared, permissions, decidedBy: z.string().nullable(), decidedAt: nullableInstant })
  .meta({ id: "OutgoingConnection" });

/** A line of the list of organisations that refer to us. */
export const incomingAnswer = z
  .object({ ...shared, approvedBy: z.string().nullable(), approvedAt: nullableInstant })
  .meta({ id: "IncomingConnection" });

const details = {
  ...shared,
  permissions,
  version: z.int().meta({ description: "counts up with each change of the permissions" }),
  requestedBy: z.string().meta({ description: "of these permissions" }),
  requestedAt: instantSchema,
  decidedBy: z.string().nullable(),
  decidedAt: nullableInstant,
  reportsStatus: z.boolean().meta({ description: "whether the receiver tells what becomes of the leads" }),
  endedBy: z.string().nullable(),
  endedAt: nullableInstant,
  endedSide: z.enum(["sender", "receiver"]).nullable(),
};

export const outgoingDetailAnswer = z.object(details).meta({ id: "OutgoingConnectionDetail" });
export const incomingDetailAnswer = z
  .object({ ...details, stageId: z.uuid().nullable().meta({ description: "where leads arrive" }) })
  .meta({ id: "IncomingConnectionDetail" });

/** One page of a side's connections, newest first, and one row more if there are more. */
export async function findConnections(
  transaction: Database,
  side: ConnectionSide,
  organisationId: string,
  { state, cursor, limit }: z.infer<typeof connectionQuery>,
): Promise<Connection[]> {
  let found = transaction.selectFrom("connections").selectAll().where(organisationOf[side], "=", organisationId);
  if (state !== undefined) found = found.where("state", "=", state);
  if (cursor !== undefined) found = found.where("id", "<", cursor);
  return found
    .orderBy("id", "desc")
    .limit(limit + 1)
    .execute();
}

/** A connection of which the organisation is that side; null where there is none of that id. */
export async function findConnection(
  transaction: Database,
  side: ConnectionSide,
  organisationId: string,
  id: string,
): Promise<Connection | null> {
  const found = await transaction
    .selectFrom("connections")
    .selectAll()
    .where("id", "=", id)
    .where(organisationOf[side], "=", organisationId)
    .executeTakeFirst();
  return found ?? null;
}

export function presentOutgoing(row: Connection): z.infer<typeof outgoingAnswer> {
  const { permissions, decidedBy } = row;
  return { ...presentShared("from", row), permissions, decidedBy, decidedAt: row.decidedAt?.toISOString() ?? null };
}

export function presentIncoming(row: Connection): z.infer<typeof incomingAnswer> {
  // What was rejected was decided, and not approved.
  const isApproved = row.state === "active" || row.state === "ended";
  return {
    ...presentShared("to", row),
    approvedBy: isApproved ? row.decidedBy : null,
    approvedAt: isApproved ? (row.decidedAt?.toISOString() ?? null) : null,
  };
}

export function presentOutgoingDetail(row: Connection): z.infer<typeof outgoingDetailAnswer> {
  return presentDetails("from", row);
}

export function presentIncomingDetail(row: Connection): z.infer<typeof incomingDetailAnswer> {
  return { ...presentDetails("to", row), stageId: row.stageId };
}

function presentShared(side: ConnectionSide, row: Connection) {
  const { id, state, createdBy } = row;
  const organisation = side === "from" ? row.toName : row.fromName;
  return { id, organisation, state, createdBy, createdAt: row.createdAt.toISOString() };
}

function presentDetails(side: ConnectionSide, row: Connection) {
  const { permissions, version, requestedBy, decidedBy, reportsStatus, endedBy, endedSide } = row;
  const sideNames = { from: "sender", to: "receiver" } as const;
  return {
    ...presentShared(side, row),
    ...{ permissions, version, requestedBy, decidedBy, reportsStatus, endedBy },
    requestedAt: row.requestedAt.toISOString(),
    decidedAt: row.decidedAt?.toISOString() ?? null,
    endedAt: row.endedAt?.toISOString() ?? null,
    endedSide: endedSide === null ? null : sideNames[endedSide],
  };
}
