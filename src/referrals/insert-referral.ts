import type { Context } from "../context.ts";
import type { Database } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { randomSecret } from "../kept-value.ts";
import { recordLeadEvent } from "../leads/lead-events.ts";
import type { Change } from "../organisations/record-change.ts";
import { type Referral, referralVersion } from "./protocol.ts";
import { type Deal, nameOf, type ReferralContent, type SharedDeal } from "./share-deal.ts";

export interface NewReferral {
  readonly deal: Deal;
  readonly shared: SharedDeal;
  /** The link as it is now; exactly one of the ids is set. */
  readonly link: {
    readonly outboundId: string | null;
    readonly connectionId: string | null;
    readonly name: string;
    readonly url: string | null;
    readonly remoteOrganisation: string | null;
  };
  /** The other side as it was named to who confirmed. */
  readonly party: string;
  /** The user who refers it; null for a program. */
  readonly userId: string | null;
}

/**
 * Makes a referral that is due, with what goes frozen as it is now, and notes it in the deal. Takes a deal whose lead the caller
 * has locked, and that was not referred over this link before. To be woken after the commit.
 *
 * Frozen, not read when it is sent: what leaves is what a person saw and confirmed, and a retry carries the same content under
 * the same key, without which the other side could not tell it from another deal. Erasing the lead takes it away.
 */
export async function insertReferral(
  transaction: Database,
  { config, vault }: Context,
  { organisationId, by, at }: Change,
  { deal, shared, link, party, userId }: NewReferral,
): Promise<string> {
  const id = newId();
  const organisation = await transaction.selectFrom("organisations").select("name").executeTakeFirstOrThrow();
  const baseUrl = config.publicUrl.replace(/\/+$/, "");
  const content: ReferralContent = {
    version: referralVersion,
    referralId: id,
    from: { organisation: organisation.name, installation: baseUrl },
    referredAt: at.toISOString(),
    referredBy: await readPerson(transaction, userId, by),
    owner: deal.owner,
    lead: { id: deal.id, receivedAt: deal.receivedAt.toISOString(), source: deal.source, ...shared },
    status: { url: `${baseUrl}/v1/referrals/status/${id}` },
  };
  const { outboundId, connectionId, name, url, remoteOrganisation } = link;
  await transaction
    .insertInto("referrals")
    .values({
      id,
      organisationId,
      leadId: deal.id,
      outboundId,
      connectionId,
      linkName: name,
      url,
      remoteOrganisation,
      state: "due",
      dueAt: at,
      retrySince: at,
      content: JSON.stringify(content),
      statusKeyEncrypted: vault.encrypt(randomSecret()),
      confirmedBy: by,
      createdAt: at,
    })
    .execute();
  const detail = { referralId: id, link: name, organisation: party };
  const event = { organisationId, leadId: deal.id, kind: "deal_referred", actor: by, detail } as const;
  await recordLeadEvent(transaction, event, at);
  return id;
}

async function readPerson(transaction: Database, userId: string | null, by: string): Promise<Referral["referredBy"]> {
  if (userId === null) return { name: nameOf(by), email: null };
  const user = await transaction
    .selectFrom("users")
    .select(["name", "email"])
    .where("id", "=", userId)
    .executeTakeFirstOrThrow();
  return user;
}
