import { sql } from "kysely";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { storable } from "../delivery/record-exchange.ts";
import type { FieldError } from "../errors.ts";
import { parseFields } from "../http/validate.ts";
import { randomSecret } from "../kept-value.ts";
import { recordLeadEvent } from "../leads/lead-events.ts";
import { type StatusCallback, statusCallbackSchema } from "./protocol.ts";
import { isSignedStatus } from "./sign-status.ts";

export type StatusResult =
  | { readonly kind: "taken" | "not_signed" | "unreadable" }
  | { readonly kind: "invalid"; readonly fields: readonly FieldError[] };

interface Arrived {
  readonly referralId: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly rawBody: string;
}

const noOrganisation = "00000000-0000-0000-0000-000000000000";

/** Of an unknown referral as much is computed as of a known one, with a key that nobody has. */
const nobodysKey = randomSecret();

/**
 * Takes what the other side tells of a referral: its state there, and a note in the deal. Refuses whatever the referral's own
 * key did not sign within the last minutes; a referral that is not there is answered no differently. What is told again, or
 * comes after something later, changes nothing.
 */
export async function takeStatus(context: Context, { referralId, headers, rawBody }: Arrived): Promise<StatusResult> {
  const { rows } = await sql<{ organisationId: string }>`select * from find_referral(${referralId}::uuid)`.execute(
    context.database,
  );
  const organisationId = rows[0]?.organisationId ?? noOrganisation;
  const referral = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("referrals")
      .select(["leadId", "statusKeyEncrypted", "linkName", "remoteOrganisation"])
      .where("id", "=", referralId)
      .executeTakeFirst(),
  );
  const key = referral === undefined ? nobodysKey : context.vault.decrypt(referral.statusKeyEncrypted);
  const isSigned = isSignedStatus(key, headers, rawBody, context.clock());
  if (referral === undefined || !isSigned) return { kind: "not_signed" };
  const parsed = parseBody(rawBody);
  if (parsed === undefined) return { kind: "unreadable" };
  const callback = parseFields(statusCallbackSchema, parsed);
  if (!callback.ok) return { kind: "invalid", fields: callback.fields };
  if (callback.value.referralId !== referralId) {
    const message = "must be the referral that the address is about";
    return { kind: "invalid", fields: [{ field: "referralId", code: "not_allowed", message }] };
  }
  await inOrganisation(context.database, organisationId, async (transaction) =>
    storeStatus(transaction, organisationId, referral, callback.value, context.clock()),
  );
  return { kind: "taken" };
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Stores what the other side told of a referral, in a transaction of the organisation that sent it, unless it knew later news. */
export async function storeStatus(
  transaction: Database,
  organisationId: string,
  {
    leadId,
    linkName: link,
    remoteOrganisation: organisation,
  }: {
    readonly leadId: string;
    readonly linkName: string;
    readonly remoteOrganisation: string | null;
  },
  { referralId, status, reason, at, sequence }: StatusCallback,
  now: Date,
): Promise<void> {
  const lead = await transaction
    .selectFrom("leads")
    .select("state")
    .where("id", "=", leadId)
    .forNoKeyUpdate()
    .executeTakeFirstOrThrow();
  // What they write may be about the person, of whom nothing is to be left here.
  const kept = reason === null || lead.state === "erased" ? null : storable(reason);
  const { numUpdatedRows } = await transaction
    .updateTable("referrals")
    .set({ status, statusReason: kept, statusAt: new Date(at), statusSequence: sequence })
    .where("id", "=", referralId)
    .where((is) => is.or([is("statusSequence", "is", null), is("statusSequence", "<", sequence)]))
    .executeTakeFirst();
  if (numUpdatedRows === 0n) return;
  const detail = { referralId, link, organisation, status, reason: kept };
  const actor = organisation ?? link;
  await recordLeadEvent(transaction, { organisationId, leadId, kind: "deal_status", actor, detail }, now);
}
