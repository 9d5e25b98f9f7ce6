import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import type { PartnerAccounts } from "../ledger/book.ts";
import { type DeliverySettings, openDeliverySettings } from "../partners/delivery-settings.ts";
import type { PartnerAlerts, PartnerContact } from "../partners/partner.ts";
import { openingAt, type Schedule } from "../partners/schedule.ts";
import { type ClaimedDelivery, claimDeliveries } from "./claim-deliveries.ts";
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
  /** The first deliveries, already in hand; null where something has to be done before any is. */
  readonly first: Claim | null;
}

/** Deliveries in hand, and whether there may be more that could go now. */
export interface Claim {
  readonly deliveries: readonly ClaimedDelivery[];
  readonly isMore: boolean;
}

/**
 * Takes the lease on a partner, reads it and claims its first deliveries, in one transaction. null when somebody else has the
 * lease: they look once more before they stop, so nothing is missed.
 */
export async function takePartner(
  context: Context,
  organisationId: string,
  partnerId: string,
): Promise<TakenPartner | null> {
  const token = randomUUID();
  const now = context.clock();
  return inOrganisation(
    context.database,
    organisationId,
    async (transaction, last) => {
      const row = await leasePartner(transaction, partnerId, token, now);
      if (row === undefined) return null;
      const { recent, pausedUntil, pauseReason, pauseCount, internet, email, recheckHoldsAt, ...settings } = row;
      const partner: DrainedPartner = {
        ...settings,
        delivery: openDeliverySettings(context.vault, { internet, email }),
        health: { recent, pausedUntil, pauseReason, pauseCount },
      };
      const lease = { organisationId, partnerId, token };
      const recheckHolds = recheckHoldsAt !== null && recheckHoldsAt <= now;
      const limit = placesFree(partner, 0, partner.nextSendAt, now);
      if (recheckHolds || limit === 0 || obstacleAt(partner, now) !== null) {
        return { lease, partner, recheckHolds, first: null };
      }
      const deliveries = await last(async () => claimDeliveries(transaction, lease, limit, now));
      return { lease, partner, recheckHolds, first: { deliveries, isMore: deliveries.length === limit } };
    },
    { keepsPlans: true },
  );
}

/** Why a partner is sent nothing now, save what staff sent past all rules. */
export interface Obstacle {
  readonly reason: string;
  /** When it passes; null: never, as far as is known. */
  readonly until: Date | null;
  /** It may not pass then either: nothing waits for it beyond the lead's hold. */
  readonly isTrouble: boolean;
}

export function obstacleAt(partner: DrainedPartner, now: Date): Obstacle | null {
  if (!partner.active) return { reason: "The partner is switched off.", until: null, isTrouble: false };
  const { pausedUntil } = partner.health;
  if (pausedUntil !== null && pausedUntil > now) {
    return { reason: "The endpoint is paused.", until: pausedUntil, isTrouble: true };
  }
  const opening = openingAt(partner.schedule, partner.timeZone, now);
  return opening.open ? null : { reason: "The partner is closed.", until: opening.opensAt, isTrouble: false };
}

/** How many more deliveries may begin beside those under way. A probe goes alone; a rate lets one begin at a time. */
export function placesFree(partner: DrainedPartner, underWay: number, nextSendAt: Date | null, now: Date): number {
  if (nextSendAt !== null && nextSendAt > now) return 0;
  const most = partner.health.pauseCount > 0 ? 1 : partner.concurrency;
  const free = Math.max(0, most - underWay);
  return partner.ratePerMinute > 0 ? Math.min(1, free) : free;
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
