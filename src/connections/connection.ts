import { z } from "zod";
import { groupSchema } from "../campaigns/fields.ts";
import type { ConnectionSide, ConnectionState } from "../db/connection-tables.ts";
import type { Database } from "../db/database.ts";

export const connectionStates = ["pending", "active", "rejected", "ended"] as const;

export const stateWords: Readonly<Record<ConnectionState, string>> = {
  pending: "It waits for approval.",
  active: "It is active.",
  rejected: "It was rejected.",
  ended: "It has been ended.",
};

/** The group that every connection carries: who the client is. */
export const alwaysPermitted = "contact";

/** Stands for the notes of a lead, besides fields of a group so named. */
export const notesPermission = "notes";

export const permissionsSchema = z
  .array(groupSchema)
  .max(50, "must hold at most 50 groups")
  .meta({ description: `groups of fields that the receiver may see; ${alwaysPermitted} always, named or not` });

/** Each group once, the one that is always carried first. */
export function withAlways(groups: readonly string[]): string[] {
  const others = groups.filter((group) => group !== alwaysPermitted);
  return [alwaysPermitted, ...[...new Set(others)].sort()];
}

/** A group of fields that can be permitted, with what its fields are called. */
export interface KnownGroup {
  readonly group: string;
  readonly labels: readonly string[];
}

/** The groups that fields of the organisation's campaigns have, and that of the notes, by name. */
export async function readKnownGroups(transaction: Database): Promise<readonly KnownGroup[]> {
  const campaigns = await transaction.selectFrom("campaigns").select("fields").orderBy("id").execute();
  const groups = new Map<string, Set<string>>([
    [alwaysPermitted, new Set()],
    [notesPermission, new Set(["Notes that are marked as shareable"])],
  ]);
  for (const { group, label, key } of campaigns.flatMap(({ fields }) => fields)) {
    if (group === undefined) continue;
    const labels = groups.get(group) ?? new Set();
    groups.set(group, labels.add(label ?? key));
  }
  return [...groups]
    .map(([group, labels]) => ({ group, labels: [...labels].sort() }))
    .sort((one, other) => (one.group < other.group ? -1 : 1));
}

/** The column that names the organisation of a side. */
export const organisationOf = { from: "fromOrganisationId", to: "toOrganisationId" } as const satisfies Record<
  ConnectionSide,
  string
>;

/** Locks a connection of which the organisation is that side; null where there is none of that id. */
export async function lockConnection(transaction: Database, side: ConnectionSide, organisationId: string, id: string) {
  const found = await transaction
    .selectFrom("connections")
    .selectAll()
    .where("id", "=", id)
    .where(organisationOf[side], "=", organisationId)
    .forNoKeyUpdate()
    .executeTakeFirst();
  return found ?? null;
}

export type Connection = NonNullable<Awaited<ReturnType<typeof lockConnection>>>;
