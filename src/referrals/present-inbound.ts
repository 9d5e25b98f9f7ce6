import { sql } from "kysely";
import type { Context } from "../context.ts";
import type { Database } from "../db/database.ts";
import type { InboundAnswer, InboundDocument } from "./inbound.ts";
import { formUrlOf, referralUrlOf } from "./public-addresses.ts";

export const inboundColumns = [
  "id",
  "name",
  "workflowId",
  "stageId",
  "enabled",
  "reportsStatus",
  "form",
  "formToken",
  "keyEncrypted",
  "createdAt",
  "updatedAt",
] as const;

interface InboundRow extends InboundDocument {
  readonly id: string;
  readonly formToken: string;
  readonly keyEncrypted: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

const mostReferrers = 100;

/** Inbounds as the API gives them, with who has used each; with their keys only where `showsKey`. */
export async function presentInbounds(
  transaction: Database,
  { config, vault }: Context,
  rows: readonly InboundRow[],
  showsKey: boolean,
): Promise<InboundAnswer[]> {
  const referrers = await readReferrers(
    transaction,
    rows.map(({ id }) => id),
  );
  return rows.map(({ formToken, keyEncrypted, createdAt, updatedAt, ...row }) => ({
    ...row,
    referralUrl: referralUrlOf(config, row.id),
    key: showsKey && keyEncrypted !== null ? vault.decrypt(keyEncrypted) : null,
    formUrl: row.form === null ? null : formUrlOf(config, formToken),
    referrers: referrers.filter(({ inboundId }) => inboundId === row.id).map(presentReferrer),
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
  }));
}

interface ReferrerRow {
  readonly inboundId: string;
  readonly referrer: string;
  readonly installation: string;
  readonly firstAt: Date;
  readonly lastAt: Date;
  readonly referralCount: number;
}

function presentReferrer({ referrer, installation, firstAt, lastAt, referralCount }: ReferrerRow) {
  const dates = { firstAt: firstAt.toISOString(), lastAt: lastAt.toISOString() };
  return { organisation: referrer, installation, ...dates, count: referralCount };
}

async function readReferrers(transaction: Database, inboundIds: readonly string[]): Promise<readonly ReferrerRow[]> {
  if (inboundIds.length === 0) return [];
  const { rows } = await sql<ReferrerRow>`
    select r.* from unnest(${inboundIds}::uuid[]) as named (id)
    cross join lateral (
      select inbound_id, referrer, installation, first_at, last_at, referral_count from inbound_referrers
      where inbound_id = named.id order by last_at desc limit ${mostReferrers}
    ) r
  `.execute(transaction);
  return rows;
}
