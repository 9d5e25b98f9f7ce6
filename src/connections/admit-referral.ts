import type { Database } from "../db/database.ts";

/** A connection as what is sent over it names it: the permissions of that version are what it was put together by. */
export interface ConnectionVersion {
  readonly connectionId: string;
  readonly version: number;
}

export interface NotAdmitted {
  readonly kind: "not_admitted";
  readonly reason: "pending" | "ended" | "changed";
}

export type Admission =
  | { readonly kind: "admitted"; readonly stageId: string; readonly organisation: string }
  | NotAdmitted;

/**
 * Whether a referral may come in over a connection, and into which stage; takes a transaction of the receiver. Until that ends
 * the connection stays as it is: who ends it, or asks for other permissions, waits, and then nothing comes any more.
 */
export async function admitReferral(
  transaction: Database,
  { connectionId, version }: ConnectionVersion,
): Promise<Admission> {
  const connection = await transaction
    .selectFrom("connections")
    .select(["state", "version", "stageId", "fromName"])
    .where("id", "=", connectionId)
    .forShare()
    .executeTakeFirstOrThrow();
  const { state, stageId } = connection;
  if (state === "pending") return { kind: "not_admitted", reason: "pending" };
  if (state !== "active" || stageId === null) return { kind: "not_admitted", reason: "ended" };
  if (connection.version !== version) return { kind: "not_admitted", reason: "changed" };
  return { kind: "admitted", stageId, organisation: connection.fromName };
}
