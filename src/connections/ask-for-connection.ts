import { isDeepStrictEqual } from "node:util";
import { sql } from "kysely";
import { sendAlerts } from "../../queues/send-alerts.ts";
import type { Context } from "../context.ts";
import type { ConnectionState } from "../db/connection-tables.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { type Change, recordChange } from "../organisations/record-change.ts";
import { type KnownGroup, lockConnection, readKnownGroups, withAlways } from "./connection.ts";

export type UnknownGroups = {
  readonly kind: "unknown_groups";
  readonly unknown: readonly string[];
  readonly known: readonly KnownGroup[];
};

export type RequestResult =
  | { readonly kind: "requested"; readonly id: string }
  | { readonly kind: "unknown_code" }
  | { readonly kind: "own_code" }
  | { readonly kind: "exists"; readonly id: string; readonly state: ConnectionState }
  | UnknownGroups;

/**
 * Asks the organisation of a portal code to take referrals of the caller's, with these groups of fields. It is told by the
 * database, in the same transaction. Refuses groups that no campaign of the caller's has, a code that is nobody's or the
 * caller's own, and a second request for the same pair while one is pending or active.
 */
export async function requestConnection(
  context: Context,
  change: Change,
  request: { readonly portalCode: string; readonly permissions: readonly string[] },
): Promise<RequestResult> {
  const { organisationId, by, at } = change;
  const permissions = withAlways(request.permissions);
  const result = await inOrganisation(context.database, organisationId, async (transaction) => {
    const unknown = await findUnknown(transaction, permissions);
    if (unknown !== null) return unknown;
    const toOrganisationId = await findPortal(transaction, request.portalCode);
    if (toOrganisationId === null) return { kind: "unknown_code" } as const;
    if (toOrganisationId === organisationId) return { kind: "own_code" } as const;
    const row = { id: newId(), fromOrganisationId: organisationId, toOrganisationId, permissions };
    const inserted = await transaction
      .insertInto("connections")
      .values({ ...row, createdAt: at, createdBy: by, requestedAt: at, requestedBy: by })
      // Of two requests at once the other one won.
      .onConflict((conflict) => conflict.doNothing())
      .returning("toName")
      .executeTakeFirst();
    if (inserted === undefined) return { kind: "exists", ...(await findOpen(transaction, row)) } as const;
    const after = { organisation: inserted.toName, permissions, state: "pending" };
    await recordChange(transaction, change, { kind: "connection", id: row.id }, null, after);
    return { kind: "requested", id: row.id, toOrganisationId } as const;
  });
  if (result.kind === "requested") context.waker.wake(sendAlerts, { organisationId: result.toOrganisationId });
  return result;
}

export type ChangePermissionsResult =
  | { readonly kind: "requested" | "unchanged" | "not_found" }
  | { readonly kind: "state"; readonly state: ConnectionState }
  | UnknownGroups;

/**
 * Asks for other permissions. Nothing is carried from then on until the receiver approves anew: neither by the old
 * permissions, which the sender wants no more, nor by the new ones. The same permissions again change nothing.
 */
export async function changePermissions(
  context: Context,
  change: Change,
  id: string,
  groups: readonly string[],
): Promise<ChangePermissionsResult> {
  const { organisationId, by, at } = change;
  const permissions = withAlways(groups);
  const result = await inOrganisation(context.database, organisationId, async (transaction) => {
    const connection = await lockConnection(transaction, "from", organisationId, id);
    if (connection === null) return { kind: "not_found" } as const;
    const { state, version, toOrganisationId } = connection;
    if (state !== "pending" && state !== "active") return { kind: "state", state } as const;
    if (isDeepStrictEqual(connection.permissions, permissions)) return { kind: "unchanged" } as const;
    const unknown = await findUnknown(transaction, permissions);
    if (unknown !== null) return unknown;
    const asked = { permissions, version: version + 1, requestedAt: at, requestedBy: by };
    await transaction
      .updateTable("connections")
      .set({ ...asked, state: "pending", decidedAt: null, decidedBy: null })
      .where("id", "=", id)
      .where("state", "=", state)
      .execute();
    const before = { permissions: connection.permissions, state };
    const object = { kind: "connection", id } as const;
    await recordChange(transaction, change, object, before, { permissions, state: "pending" });
    return { kind: "requested", toOrganisationId } as const;
  });
  if (result.kind === "requested") context.waker.wake(sendAlerts, { organisationId: result.toOrganisationId });
  return result;
}

async function findUnknown(transaction: Database, permissions: readonly string[]): Promise<UnknownGroups | null> {
  const known = await readKnownGroups(transaction);
  const unknown = permissions.filter((group) => !known.some((one) => one.group === group));
  return unknown.length === 0 ? null : { kind: "unknown_groups", unknown, known };
}

async function findPortal(transaction: Database, code: string): Promise<string | null> {
  const { rows } = await sql<{ organisationId: string }>`select * from find_portal(${code})`.execute(transaction);
  return rows[0]?.organisationId ?? null;
}

async function findOpen(
  transaction: Database,
  { fromOrganisationId, toOrganisationId }: { readonly fromOrganisationId: string; readonly toOrganisationId: string },
) {
  return transaction
    .selectFrom("connections")
    .select(["id", "state"])
    .where("fromOrganisationId", "=", fromOrganisationId)
    .where("toOrganisationId", "=", toOrganisationId)
    .where("state", "in", ["pending", "active"])
    .executeTakeFirstOrThrow();
}
