import { sql } from "kysely";
import type { Database } from "../db/database.ts";
import { recordSet } from "../db/record-set.ts";
import type { Buyer } from "./assess.ts";
import type { Hold } from "./choose.ts";

/**
 * Gives each held lead the instant at which it is released: those that wait for the same instant follow each other in
 * order of arrival, the partner's spread apart. The partner's usage row is locked meanwhile, so that no two get one slot.
 */
export class HoldSlots {
  readonly #transaction: Database;
  readonly #buyers: ReadonlyMap<string, Buyer>;
  readonly #latest = new Map<string, Date>();

  constructor(transaction: Database, buyers: ReadonlyMap<string, Buyer>) {
    this.#transaction = transaction;
    this.#buyers = buyers;
  }

  /** Reads which slots are taken, for all holds that are to have one. One statement. */
  async read(holds: readonly Hold[]): Promise<void> {
    const waits = new Map(
      holds.map((hold) => [keyOf(hold), { partner_id: hold.candidate.partnerId, until: hold.until }]),
    );
    if (waits.size === 0) return;
    const rows = [...waits].map(([key, wait]) => ({ key, ...wait }));
    const { rows: latest } = await sql<{ key: string; dueAt: Date }>`
      select w.key, d.due_at
      from ${recordSet(rows, "key text, partner_id uuid, until timestamptz")} as w
      cross join lateral (
        select due_at from deliveries
        where partner_id = w.partner_id and hold_until = w.until and state = 'held'
        order by due_at desc limit 1) d
    `.execute(this.#transaction);
    for (const { key, dueAt } of latest) this.#latest.set(key, dueAt);
  }

  /** The next free slot for a hold that was read. */
  next(hold: Hold): Date {
    const { candidate, until } = hold;
    const { partnerId } = candidate;
    const key = keyOf(hold);
    const latest = this.#latest.get(key);
    const spreadMs = this.#buyers.get(partnerId)?.spreadMs ?? 0;
    const slot = latest === undefined ? until : new Date(Math.max(until.getTime(), latest.getTime() + spreadMs));
    this.#latest.set(key, slot);
    return slot;
  }
}

const keyOf = ({ candidate, until }: Hold): string => `${candidate.partnerId} ${until.getTime()}`;
