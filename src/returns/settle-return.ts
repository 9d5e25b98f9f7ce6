import type { Updateable } from "kysely";
import { insertAlerts, type NewAlert } from "../alerts/insert-alerts.ts";
import type { Database } from "../db/database.ts";
import type { Tables } from "../db/tables.ts";

export interface ReturnDecision {
  readonly by: string;
  readonly note: string | null;
}

/**
 * A sale that is taken back, in whatever way, accepts the return of it that is open; the partner is told. For the
 * transaction that takes it back, with the lead locked.
 */
export async function acceptOpenReturn(
  transaction: Database,
  deliveryId: string,
  { by, note }: ReturnDecision,
  now: Date,
): Promise<void> {
  await decide(transaction, deliveryId, { state: "accepted", decidedBy: by, decidedAt: now, note }, now);
}

/** Ends the open return of a delivery without anything else; the partner is told. With the lead locked. */
export async function declineOpenReturn(
  transaction: Database,
  deliveryId: string,
  { by, note }: ReturnDecision,
  now: Date,
): Promise<void> {
  await decide(transaction, deliveryId, { state: "declined", decidedBy: by, decidedAt: now, note }, now);
}

async function decide(
  transaction: Database,
  deliveryId: string,
  decision: Updateable<Tables["returns"]>,
  now: Date,
): Promise<void> {
  const decided = await transaction
    .updateTable("returns")
    .set(decision)
    .where("deliveryId", "=", deliveryId)
    .where("state", "=", "open")
    .returning("id")
    .executeTakeFirst();
  if (decided === undefined) return;
  const about = await readAlerted(transaction, decided.id);
  if (about.contact.email === null) return;
  const alert = returnAlert("return_decided", about, about.contact.email);
  await insertAlerts(transaction, about.organisationId, [alert], now);
}

/** Tells staff that a return waits for their decision. */
export async function alertOpenReturn(transaction: Database, returnId: string, now: Date): Promise<void> {
  const about = await readAlerted(transaction, returnId);
  await insertAlerts(transaction, about.organisationId, [returnAlert("return_open", about, null)], now);
}

type AlertedReturn = Awaited<ReturnType<typeof readAlerted>>;

async function readAlerted(transaction: Database, returnId: string) {
  return transaction
    .selectFrom("returns as r")
    .innerJoin("leads as l", "l.id", "r.leadId")
    .innerJoin("campaigns as c", "c.id", "l.campaignId")
    .innerJoin("partners as p", "p.id", "r.partnerId")
    .select(["r.id", "r.organisationId", "r.deliveryId", "r.leadId", "r.partnerId", "l.state as leadState"])
    .select(["c.name as campaignName", "p.contact"])
    .where("r.id", "=", returnId)
    .executeTakeFirstOrThrow();
}

/** What was written for it stays with the return, where erasing the lead finds it. */
function returnAlert(
  kind: "return_open" | "return_decided",
  { id, deliveryId, leadId, partnerId, leadState, campaignName }: AlertedReturn,
  recipient: string | null,
): NewAlert {
  return {
    key: `${kind.replace("_", "-")}-${id}`,
    kind,
    channel: "email",
    recipient,
    partnerId,
    // Of an erased lead nothing is sent; that its money came back is.
    leadId: leadState === "erased" ? null : leadId,
    deliveryId,
    detail: { returnId: id, lead: leadId, campaign: campaignName },
  };
}
