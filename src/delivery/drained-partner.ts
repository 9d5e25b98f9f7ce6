import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import type { PartnerAccounts } from "../ledger/book.ts";
import { type DeliverySettings, openDeliverySettings } from "../partners/delivery-settings.ts";
import type { PartnerAlerts, PartnerContact } from "../partners/partner.ts";
import type { Schedule } from "../partners/schedule.ts";
import type { EndpointHealth } from "./endpoint-health.ts";
import { type Lease, leaseMs } from "./lease.ts";

/** What a drain knows of its partner. `health` moves on with each attempt; only the holder of the lease writes it. */
export interface DrainedPartner {
  readonly id: string;
  readonly organisationId: string;
  readonly name: string;
  readonly active: boolean;
  readonly timeZone: string;
  readonly schedule: Schedule | null;
  readonly concurrency: number;
  readonly ratePerMinute: number;
  readonly contact: PartnerContact;
  readonly alerts: PartnerAlerts;
  readonly delivery: DeliverySettings;
  readonly accounts: PartnerAccounts;
  /** The partner's rate allows nothing before this. */
  readonly nextSendAt: Date | null;
  health: EndpointHealth;
}

/** A partner with the right to drain it, and what was due of it at once. */
export interface TakenPartner {
  readonly lease: Lease;
  readonly partner: DrainedPartner;
  /** Somebody asked that its held leads be looked at again. */
  readonly recheckHolds: boolean;
}

/**
 * Takes the lease on a partner and reads it, in one statement. null when somebody else has the lease: they look once more
 * before they stop, so nothing is missed.
 */
export async function takePartner(
  context: Context,
  organisationId: string,
  partnerId: string,
): Promise<TakenPartner | null> {
  const token = randomUUID();
  const now = context.clock();
  const row = await inOrganisation(context.database, organisationId, async (transaction, last) =>
    last(async () => leasePartner(transaction, partnerId, token, now)),
  );
  if (row === undefined) return null;
  const { recent, pausedUntil, pauseReason, pauseCount, internet, email, recheckHoldsAt, ...partner } = row;
  return {
    lease: { organisationId, partnerId, token },
    recheckHolds: recheckHoldsAt !== null && recheckHoldsAt <= now,
    partner: {
      ...partner,
      delivery: openDeliverySettings(context.vault, { internet, email }),
      health: { recent, pausedUntil, pauseReason, pauseCount },
    },
  };
}

async function leasePartner(transaction: Database, partnerId: string, token: string, now: Date) {
  return transaction
    .updateTable("endpoints as e")
    .from("partners as p")
    .set({ drainToken: token, drainLeasedUntil: new Date(now.getTime() + leaseMs) })
    .where("e.partnerId", "=", partnerId)
    .whereRef("p.id", "=", "e.partnerId")
    .where((is) => is.or([is("e.drainLeasedUntil", "is", null), is("e.drainLeasedUntil", "<=", now)]))
    .returning(["p.id", "p.organisationId", "p.name", "p.active", "p.timeZone", "p.schedule", "p.concurrency"])
    .returning(["p.ratePerMinute", "p.contact", "p.alerts", "p.internet", "p.email"])
    .returning(["e.recent", "e.pausedUntil", "e.pauseReason", "e.pauseCount", "e.nextSendAt", "e.recheckHoldsAt"])
    .returning(
      sql<PartnerAccounts>`(select jsonb_object_agg(kind, id) from accounts where partner_id = p.id)`.as("accounts"),
    )
    .executeTakeFirst();
}
