import type { Database } from "../db/database.ts";
import type { Buyer } from "./assess.ts";
import type { Hold } from "./choose.ts";

/**
 * Gives each held lead the instant at which it is released: those that wait for the same instant follow each other in
 * order of arrival, the partner's spread apart. The partner's usage row is locked meanwhile, so that no two get one slot.
 */
export class HoldSlots {
  readonly #transaction: Database;
  readonly #buyers: ReadonlyMap<string, Buyer>;
  readonly #latest = new Map<string, Date | null>();

  constructor(transaction: Database, buyers: ReadonlyMap<string, Buyer>) {
    this.#transaction = transaction;
    this.#buyers = buyers;
  }

  /** The next free slot for a hold; asks the database once for each partner and instant. */
  async next({ candidate: { partnerId }, until }: Hold): Promise<Date> {
    const key = `${partnerId} ${until.getTime()}`;
    const latest = this.#latest.has(key) ? this.#latest.get(key) : await this.#readLatest(partnerId, until);
    const spreadMs = this.#buyers.get(partnerId)?.spreadMs ?? 0;
    const slot = latest == null ? until : new Date(Math.max(until.getTime(), latest.getTime() + spreadMs));
    this.#latest.set(key, slot);
    return slot;
  }

  async #readLatest(partnerId: string, until: Date): Promise<Date | null> {
    const row = await this.#transaction
      .selectFrom("deliveries")
      .select("dueAt")
      .where("partnerId", "=", partnerId)
      .where("holdUntil", "=", until)
      .where("state", "=", "held")
      .orderBy("dueAt", "desc")
      .limit(1)
      .executeTakeFirst();
    return row?.dueAt ?? null;
  }
}
