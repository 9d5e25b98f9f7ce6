import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type DeliverySettings, openDeliverySettings } from "../partners/delivery-settings.ts";
import type { PartnerAlerts, PartnerContact } from "../partners/partner.ts";
import type { Schedule } from "../partners/schedule.ts";
import type { EndpointHealth } from "./endpoint-health.ts";

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
  /** The partner's rate allows nothing before this. */
  readonly nextSendAt: Date | null;
  health: EndpointHealth;
}

export async function readDrainedPartner(
  context: Context,
  organisationId: string,
  partnerId: string,
): Promise<DrainedPartner> {
  const row = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("partners as p")
      .innerJoin("endpoints as e", "e.partnerId", "p.id")
      .select(["p.id", "p.organisationId", "p.name", "p.active", "p.timeZone", "p.schedule", "p.concurrency"])
      .select(["p.ratePerMinute", "p.contact", "p.alerts", "p.internet", "p.email"])
      .select(["e.recent", "e.pausedUntil", "e.pauseReason", "e.pauseCount", "e.nextSendAt"])
      .where("p.id", "=", partnerId)
      .executeTakeFirstOrThrow(),
  );
  const { recent, pausedUntil, pauseReason, pauseCount, internet, email, ...partner } = row;
  return {
    ...partner,
    delivery: openDeliverySettings(context.vault, { internet, email }),
    health: { recent, pausedUntil, pauseReason, pauseCount },
  };
}
