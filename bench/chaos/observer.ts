import pg from "pg";

/**
 * Looks at the database from outside with plain SQL, and lets time pass where nobody wants to wait for it: what is put off to
 * a later instant becomes due now. Nothing else is changed, and nothing that a worker has in hand is touched.
 */
export interface Observer {
  query<Row extends object>(text: string, values?: readonly unknown[]): Promise<readonly Row[]>;
  /** Retries, pauses, holds and alerts that wait for their time get it. */
  passTime(options: { readonly endHolds: boolean }): Promise<void>;
  close(): Promise<void>;
}

export function openObserver(databaseUrl: string): Observer {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: 3,
    connectionTimeoutMillis: 5_000,
    query_timeout: 10_000,
  });
  pool.on("error", () => undefined);
  const query = async <Row extends object>(text: string, values: readonly unknown[] = []) =>
    (await pool.query<Row>(text, [...values])).rows;
  const seenBefore = new Map<string, { readonly state: string; readonly sinceMs: number }>();

  /** What a worker has in hand looks like what waits there: only what has not stirred for long is moved. */
  async function passTimeOf(table: "alerts" | "status_callbacks" | "referrals"): Promise<void> {
    const rows = await query<{ id: string; seen: string }>(
      `select id, attempt_count || ' ' || due_at as seen from ${table} where state = 'due' and due_at > now()`,
    );
    const now = performance.now();
    const old: string[] = [];
    for (const { id, seen } of rows) {
      const before = seenBefore.get(id);
      if (before?.state !== seen) seenBefore.set(id, { state: seen, sinceMs: now });
      else if (now - before.sinceMs > 15_000) old.push(id);
    }
    if (old.length > 0) {
      await query(`update ${table} set due_at = now() where id = any($1::uuid[]) and state = 'due'`, [old]);
    }
  }

  return {
    query,
    async passTime({ endHolds }) {
      // One table at a time, skipping what is locked: the observer never makes anybody wait, and never deadlocks.
      await query(`update endpoints set paused_until = now() where partner_id in (
        select partner_id from endpoints where paused_until > now() for update skip locked)`);
      await query(`update deliveries set due_at = now() where id in (
        select id from deliveries where state in ('sending', 'held') and due_at > now()
          and (sending_since is null or due_at > now() + interval '12 s') for update skip locked)`);
      await query(`update leads set due_at = now() where id in (
        select id from leads where due_at > now() for update skip locked)`);
      // A young payment has its chance to be told of by PayPal; one that a worker has in hand is put off by two minutes.
      await query(`update top_ups set due_at = now() where id in (
        select id from top_ups where due_at > now() and created_at < now() - interval '6 s'
          and due_at not between now() + interval '100 s' and now() + interval '120 s' for update skip locked)`);
      if (endHolds) {
        await query(`update leads set hold_ends_at = now() where id in (
          select id from leads where state = 'held' and hold_ends_at > now() for update skip locked)`);
      }
      for (const table of ["alerts", "status_callbacks", "referrals"] as const) await passTimeOf(table);
    },
    close: async () => pool.end(),
  };
}
