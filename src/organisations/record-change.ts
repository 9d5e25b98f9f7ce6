import { isDeepStrictEqual } from "node:util";
import type { Database } from "../db/database.ts";
import { newId } from "../db/id.ts";

/** Who changes something, for whom, and when. */
export interface Change {
  readonly organisationId: string;
  readonly by: string;
  readonly at: Date;
}

export type ChangedKind =
  | "organisation"
  | "api_key"
  | "user"
  | "partner"
  | "campaign"
  | "connection"
  | "intake_key"
  | "paypal_account"
  | "workflow"
  | "inbound"
  | "outbound";

/** Records a change of settings in the transaction that makes it. Takes documents whose secrets are masked already. */
export async function recordChange(
  transaction: Database,
  { organisationId, by, at }: Change,
  object: { readonly kind: ChangedKind; readonly id: string },
  before: object | null,
  after: object | null,
): Promise<void> {
  await transaction
    .insertInto("changes")
    .values({
      id: newId(),
      organisationId,
      changedAt: at,
      changedBy: by,
      objectKind: object.kind,
      objectId: object.id,
      before: before === null ? null : JSON.stringify(before),
      after: after === null ? null : JSON.stringify(after),
    })
    .execute();
}

/** The top-level keys in which two versions of a document differ. */
export function changedKeys<Document extends object>(before: Document, after: Document): (keyof Document)[] {
  const keys = Object.keys({ ...before, ...after }) as (keyof Document)[];
  return keys.filter((key) => !isDeepStrictEqual(before[key], after[key]));
}

/** The part of a document that holds these keys. */
export function pickKeys<Document extends object>(
  document: Document,
  keys: readonly (keyof Document)[],
): Partial<Document> {
  return Object.fromEntries(keys.map((key) => [key, document[key]])) as Partial<Document>;
}
