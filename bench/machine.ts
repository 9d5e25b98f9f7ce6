import { execFileSync } from "node:child_process";
import { cpus, release, totalmem, type } from "node:os";
import type pg from "pg";
import { findRedisServer } from "../test/helpers/redis.ts";

/** On what the figures were taken, in a few lines; names no host. */
export async function describeMachine(admin: pg.Pool): Promise<readonly string[]> {
  const { rows } = await admin.query<{ version: string; settings: string }>(
    `select current_setting('server_version') as version,
       (select string_agg(name || ' ' || setting, ', ' order by name) from pg_settings
        where name in ('fsync', 'synchronous_commit', 'full_page_writes')) as settings`,
  );
  const redis = findRedisServer();
  const redisVersion =
    redis === null ? null : /v=([\d.]+)/.exec(execFileSync(redis, ["--version"], { encoding: "utf8" }))?.[1];
  const gib = (totalmem() / 1024 ** 3).toFixed(0);
  return [
    `Machine: ${cpus().length} cores (${cpus()[0]?.model ?? "unknown"}), ${gib} GiB, ${type()} ${release()}`,
    `Node ${process.versions.node}, PostgreSQL ${rows[0]?.version} (${rows[0]?.settings})` +
      (redisVersion === null ? "" : `, Redis ${redisVersion} (AOF everysec)`),
  ];
}
