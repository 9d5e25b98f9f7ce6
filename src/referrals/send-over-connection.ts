import type { NotAdmitted } from "../connections/admit-referral.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import type { ClaimedReferral } from "./claim-referrals.ts";
import type { ReferralOutcome } from "./judge-referral.ts";
import type { Referral } from "./protocol.ts";
import { type ReceiveReferralResult, receiveReferral } from "./receive-referral.ts";
import type { Carried } from "./send-over-outbound.ts";

/**
 * Brings a referral to the receiver of its connection, in a transaction of that organisation. Whether it may come in is decided
 * there, under the connection's lock, by the permissions as they are now. One that came in before and was not settled here, as
 * the worker died in between, gets the first answer, whatever became of the connection since.
 */
export async function sendOverConnection(
  context: Context,
  organisationId: string,
  { content, connectionId, connectionVersion }: ClaimedReferral,
): Promise<Carried> {
  if (connectionId === null || connectionVersion === null) throw new Error("The referral names no connection.");
  const connection = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("connections")
      .select("toOrganisationId")
      .where("id", "=", connectionId)
      .executeTakeFirstOrThrow(),
  );
  // What becomes of it comes back without an address: see tell-over-connection.ts.
  const referral: Referral = { ...content, referredBy: { ...content.referredBy, email: null }, status: null };
  const result = await receiveReferral(context, {
    organisationId: connection.toOrganisationId,
    via: { kind: "connection", connectionId, version: connectionVersion },
    referral,
  });
  return { outcome: outcomeOf(result), status: null, response: null };
}

function outcomeOf(result: ReceiveReferralResult): ReferralOutcome {
  switch (result.kind) {
    case "received":
      return { kind: "sent", receivedAs: result.answer.receivedAs, organisation: result.answer.organisation };
    case "not_admitted":
      return { kind: "cancelled", reason: obstacles[result.reason] };
    case "refused":
      return { kind: "refused", reason: refusals[result.reason] };
  }
}

const obstacles: Readonly<Record<NotAdmitted["reason"], string>> = {
  pending: "The connection waits for approval: refer the lead again when it is active.",
  ended: "The connection was ended before it was sent.",
  changed: "The permissions were changed before it was sent: refer the lead again.",
};

const refusals: Readonly<Record<Extract<ReceiveReferralResult, { kind: "refused" }>["reason"], string>> = {
  stage_gone: "The stage that they chose for what comes over the connection is gone: they have to choose another.",
  idempotency_conflict: "They have this referral already, with other content.",
  inbound_gone: "They have deleted the inbound.",
  inbound_disabled: "They have switched the inbound off.",
};
