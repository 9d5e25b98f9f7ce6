import type { Context } from "../context.ts";
import type { ConnectionSide, ConnectionState } from "../db/connection-tables.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { type Change, recordChange } from "../organisations/record-change.ts";
import { keepStage } from "../workflows/stages.ts";
import { type Connection, lockConnection } from "./connection.ts";

/** Where the receiver wants leads to arrive, and whether it tells what becomes of them. */
export interface Arrival {
  readonly stageId: string;
  readonly reportsStatus: boolean;
}

export type Decision =
  | ({
      readonly kind: "approve";
      /** Of the connection, as it was seen: other permissions may have been asked for since. */
      readonly version: number;
    } & Arrival)
  | { readonly kind: "reject" };

export type DecideResult =
  | { readonly kind: "done" | "not_found" | "stage_not_found" }
  | { readonly kind: "state"; readonly state: ConnectionState }
  | { readonly kind: "other_version"; readonly version: number };

/** Approves or rejects, as the receiver, a request that is pending. Refuses a stage that the receiver does not have. */
export async function decideConnection(
  context: Context,
  change: Change,
  id: string,
  decision: Decision,
): Promise<DecideResult> {
  return changeAs(context, change, "to", id, async (transaction, connection) => {
    const { state, version } = connection;
    if (state !== "pending") return { kind: "state", state };
    const decided = { decidedAt: change.at, decidedBy: change.by };
    if (decision.kind === "reject") return { kind: "set", set: { state: "rejected", ...decided } };
    if (decision.version !== version) return { kind: "other_version", version };
    const { stageId, reportsStatus } = decision;
    if ((await keepStage(transaction, stageId)) === null) return { kind: "stage_not_found" };
    return { kind: "set", set: { state: "active", ...decided, stageId, reportsStatus } };
  });
}

/** Chooses anew, as the receiver of an active connection, where leads arrive and what is told of them. */
export async function changeArrival(
  context: Context,
  change: Change,
  id: string,
  patch: { readonly [Key in keyof Arrival]?: Arrival[Key] | undefined },
): Promise<DecideResult> {
  return changeAs(context, change, "to", id, async (transaction, { state, stageId, reportsStatus }) => {
    if (state !== "active" || stageId === null) return { kind: "state", state };
    const set = { stageId: patch.stageId ?? stageId, reportsStatus: patch.reportsStatus ?? reportsStatus };
    return (await keepStage(transaction, set.stageId)) === null ? { kind: "stage_not_found" } : { kind: "set", set };
  });
}

/**
 * Ends a connection: the sender removes it, pending or active; the receiver stops an active one, and rejects what is
 * pending. What was sent stays where it is; nothing goes any more.
 */
export async function endConnection(
  context: Context,
  change: Change,
  side: ConnectionSide,
  id: string,
): Promise<DecideResult> {
  return changeAs(context, change, side, id, async (_transaction, { state }) => {
    const mayEnd = state === "active" || (state === "pending" && side === "from");
    if (!mayEnd) return { kind: "state", state };
    return { kind: "set", set: { state: "ended", endedAt: change.at, endedBy: change.by, endedSide: side } };
  });
}

type Set = Partial<Pick<Connection, "state" | "decidedAt" | "decidedBy" | "stageId" | "reportsStatus">> &
  Partial<Pick<Connection, "endedAt" | "endedBy" | "endedSide">>;

/** Changes one side's part of a locked connection as `decide` says, and records it among the changes of that side. */
async function changeAs(
  context: Context,
  change: Change,
  side: ConnectionSide,
  id: string,
  decide: (
    transaction: Database,
    connection: Connection,
  ) => Promise<{ readonly kind: "set"; readonly set: Set } | DecideResult>,
): Promise<DecideResult> {
  const { organisationId } = change;
  return inOrganisation(context.database, organisationId, async (transaction): Promise<DecideResult> => {
    const connection = await lockConnection(transaction, side, organisationId, id);
    if (connection === null) return { kind: "not_found" };
    const decided = await decide(transaction, connection);
    if (decided.kind !== "set") return decided;
    await transaction
      .updateTable("connections")
      .set(decided.set)
      .where("id", "=", id)
      .where("state", "=", connection.state)
      .execute();
    const [before, after] = [recorded(side, connection), recorded(side, { ...connection, ...decided.set })];
    await recordChange(transaction, change, { kind: "connection", id }, before, after);
    return { kind: "done" };
  });
}

/** What the record of changes tells of a connection. Permissions are part of it: they are what was approved. */
function recorded(side: ConnectionSide, { fromName, toName, permissions, state, stageId, reportsStatus }: Connection) {
  const shared = { organisation: side === "from" ? toName : fromName, permissions, state };
  return side === "from" ? shared : { ...shared, stageId, reportsStatus };
}
