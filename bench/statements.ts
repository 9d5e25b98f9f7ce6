import type pg from "pg";

/** Statements that PostgreSQL has run, as its extension pg_stat_statements counts them, from whom. */
export interface Statements {
  /** Of the product or the bare pipeline. */
  readonly own: number;
  /** Of BullMQ's PostgreSQL backend. */
  readonly queue: number;
}

/** The server setting that brings the extension in; whether it counts is told with `countStatements`. */
export const statementSettings = { shared_preload_libraries: "pg_stat_statements" };

/** From now on (or no longer) statements of new and old sessions are counted, from zero. */
export async function countStatements(admin: pg.Pool, isOn: boolean): Promise<void> {
  await admin.query("create extension if not exists pg_stat_statements");
  await admin.query(`alter system set pg_stat_statements.track = ${isOn ? "top" : "none"}`);
  await admin.query("select pg_reload_conf(), pg_stat_statements_reset()");
}

/** How many were run in a database since counting began. A statement that is prepared and run counts once. */
export async function readStatements(admin: pg.Pool, database: string): Promise<Statements> {
  const { rows } = await admin.query<{ is_queue: boolean; calls: string }>(
    `select not (r.rolname = 'handoff_app' or s.query like '%bare_leads%') as is_queue, sum(s.calls) as calls
     from pg_stat_statements s join pg_database d on d.oid = s.dbid join pg_roles r on r.oid = s.userid
     where d.datname = $1 group by 1`,
    [database],
  );
  const of = (isQueue: boolean) => Number(rows.find((row) => row.is_queue === isQueue)?.calls ?? 0);
  return { own: of(false), queue: of(true) };
}

export interface CostlyStatement {
  readonly query: string;
  readonly calls: number;
  readonly totalMs: number;
  readonly meanMs: number;
}

export async function costliestStatements(admin: pg.Pool, database: string, most: number): Promise<CostlyStatement[]> {
  const { rows } = await admin.query<{ query: string; calls: string; total: number; mean: number }>(
    `select regexp_replace(s.query, '\\s+', ' ', 'g') as query, s.calls, s.total_exec_time as total, s.mean_exec_time as mean
     from pg_stat_statements s join pg_database d on d.oid = s.dbid
     where d.datname = $1 order by s.total_exec_time desc limit $2`,
    [database, most],
  );
  return rows.map(({ query, calls, total, mean }) => ({ query, calls: Number(calls), totalMs: total, meanMs: mean }));
}
