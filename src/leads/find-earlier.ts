import { sql } from "kysely";
import type { Database } from "../db/database.ts";
import { recordSet } from "../db/record-set.ts";
import type { IntakeCampaign } from "./intake-campaign.ts";
import type { PreparedLead } from "./prepare-lead.ts";
import type { IntakeAnswer } from "./receive-lead.ts";

/** The same content again within this time is the same lead sent twice, even where the campaign matches no fields. */
const sameContentMs = 60_000;

const dayMs = 86_400_000;

/** What the database knows of a lead that comes in. */
export interface Earlier {
  /** The request was answered before, to this content. */
  readonly answered: { readonly contentHash: Buffer; readonly answer: IntakeAnswer } | null;
  readonly duplicateOf: string | null;
}

/** Mode `all`: one earlier lead must match in every field that is matched, and this lead must have a value for each. */
export function matchesNeeded({ duplicates }: IntakeCampaign): number {
  return duplicates?.mode === "all" ? duplicates.match.length : 1;
}

/** Whether each of these requests was answered before, and of which earlier lead each is a duplicate. One statement. */
export async function findEarlier(
  transaction: Database,
  campaign: IntakeCampaign,
  leads: readonly PreparedLead[],
  now: Date,
): Promise<readonly Earlier[]> {
  const asked = leads.map((lead, place) => ({
    place,
    content: lead.contentHash.toString("hex"),
    matches: lead.matchHashes.map((hash) => hash.toString("hex")),
    key: lead.idempotencyKey,
  }));
  const sinceContent = new Date(now.getTime() - sameContentMs);
  const sinceMatch = new Date(now.getTime() - (campaign.duplicates?.days ?? 0) * dayMs);
  const { rows } = await sql<{
    place: number;
    contentHash: Buffer | null;
    answer: IntakeAnswer | null;
    duplicateOf: string | null;
  }>`
    select a.place, i.content_hash, i.answer, coalesce(
      (select id from leads where campaign_id = ${campaign.id} and content_hash = decode(a.content, 'hex')
         and received_at > ${sinceContent} and state not in ('duplicate', 'invalid') order by received_at limit 1),
      (select lead_id from lead_keys
       where campaign_id = ${campaign.id} and received_at > ${sinceMatch}
         and key_hash = any(array(select decode(hash, 'hex') from jsonb_array_elements_text(a.matches) hash))
       group by lead_id having count(*) >= ${matchesNeeded(campaign)} order by min(received_at) limit 1)
    ) as duplicate_of
    from ${recordSet(asked, "place integer, content text, matches jsonb, key text")} as a
    left join idempotency_keys i on i.campaign_id = ${campaign.id} and i.key = a.key
    order by a.place
  `.execute(transaction);
  return rows.map(({ contentHash, answer, duplicateOf }) => ({
    answered: contentHash === null || answer === null ? null : { contentHash, answer },
    duplicateOf,
  }));
}
