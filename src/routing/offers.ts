import { sql } from "kysely";
import type { Database } from "../db/database.ts";
import type { DeliveryState, OfferKind } from "../db/tables.ts";
import { offerDeadline } from "../partners/accept-first.ts";
import type { Buyer } from "./assess.ts";

/** A partner is asked before it gets a lead: its place and the money are reserved until it answers, or until it is too late. */
export interface Offer {
  readonly kind: OfferKind;
  readonly until: Date;
}

/** How long an agent has to hand a caller over, and to ask for the next partner where that came to nothing. */
export const transferMs = 120_000;

/** What a partner that is given a lead now is asked first; null: nothing, it is sent the lead. */
export function offerTo({ acceptFirst, schedule, timeZone }: Buyer, now: Date): Offer | null {
  return acceptFirst === null ? null : { kind: "accept", until: offerDeadline(acceptFirst, schedule, timeZone, now) };
}

/** While an agent hands the caller over to one partner, no other gets the lead. */
export function isOpenTransfer({ state, offer }: { state: DeliveryState; offer: OfferKind | null }): boolean {
  return state === "offered" && offer === "transfer";
}

/** Tells partners of deliveries that were just offered to them, in the same transaction. Gives how many messages that makes. */
export async function tellOfOffers(transaction: Database, deliveryIds: readonly string[], now: Date): Promise<number> {
  if (deliveryIds.length === 0) return 0;
  const { rows } = await sql<{ told: number }>`
    select tell_of_offers(${deliveryIds}::uuid[], ${now}::timestamptz) as told
  `.execute(transaction);
  return rows[0]?.told ?? 0;
}
