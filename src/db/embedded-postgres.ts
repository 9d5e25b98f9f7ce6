import { existsSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { z } from "zod";
import { EmbeddedPostgresError, hasCode, messageOf, prepareInstallation } from "./embedded-postgres-installation.ts";
import {
  type Cluster,
  defaultSettings,
  findServer,
  freePort,
  hasOurSettings,
  launch,
  type RunningServer,
  stopServer,
} from "./embedded-postgres-server.ts";

export interface EmbeddedPostgresOptions {
  /** Handoff's data folder; made if absent. The server keeps everything in its `postgres` folder. */
  readonly dataDirectory: string;
  /** A port on 127.0.0.1; a free one is chosen when absent. */
  readonly port?: number | undefined;
  /** Server settings that differ from `defaultSettings`. */
  readonly settings?: Readonly<Record<string, string>> | undefined;
  readonly log: (message: string) => void;
}

export interface EmbeddedPostgres {
  /** Connects to the database `handoff` as the server's superuser, who owns it. */
  readonly databaseUrl: string;
  readonly port: number;
  /** The server's process; another one after the server had to be started again. */
  readonly pid: number;
  /** The server was already running: a Handoff before this one was killed. */
  readonly adopted: boolean;
  /** Fast shutdown: ends open sessions, writes everything to disk, and waits until the process is gone. */
  stop(): Promise<void>;
}

/** The lock that says "this data folder has an owner"; its number is only unlike others in the database `postgres`. */
const ownerLock = 4_801_946;
const launchAttempts = 10;
const ownerPollMs = 50;
const ownerLimitMs = 5_000;

/**
 * Starts the PostgreSQL that npm installed on the database in `dataDirectory`, making that database on first use, or takes
 * over the server that a killed Handoff left running there. The server is not our child in the terminal's eyes: Ctrl-C
 * does not reach it. Should it die, it is started again on the same port. Refuses with EmbeddedPostgresError: a folder
 * that another Handoff uses, that cannot be written or that holds another major version, a full disk, an unsupported platform.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const installation = await prepareInstallation(options.dataDirectory, options.log);
  const cluster: Cluster = { ...options, installation, settings: { ...defaultSettings, ...options.settings } };
  return supervise(cluster, await takeServer(cluster, options.port));
}

/** The address of the database that a Handoff runs on this data folder now; null when none does. */
export async function findEmbeddedDatabase(options: EmbeddedPostgresOptions): Promise<string | null> {
  if (!existsSync(path.join(options.dataDirectory, "postgres"))) return null;
  const installation = await prepareInstallation(options.dataDirectory, options.log);
  const cluster: Cluster = { ...options, installation, settings: defaultSettings };
  const server = await findServer(cluster);
  return server === null ? null : urlOf(cluster, server.port, "handoff");
}

/** A server whose owner we are for as long as `session` lives: it holds the lock. */
interface OwnedServer extends RunningServer {
  readonly session: pg.Client;
  readonly adopted: boolean;
}

function supervise(cluster: Cluster, first: OwnedServer): EmbeddedPostgres {
  let server = first;
  let stopping: Promise<void> | null = null;
  let recovering: Promise<void> = Promise.resolve();

  const watch = (): void => {
    server.session.once("end", () => {
      if (!stopping) {
        cluster.log("The embedded PostgreSQL has gone away; it is being brought back.");
        recovering = recover();
      }
    });
  };

  const recover = async (): Promise<void> => {
    for (let waitMs = 100; !stopping; waitMs = Math.min(waitMs * 2, 10_000)) {
      try {
        server = await takeServer(cluster, first.port);
        cluster.log(`The embedded PostgreSQL is back (process ${server.pid}).`);
        watch();
        return;
      } catch (error) {
        cluster.log(`The embedded PostgreSQL could not be brought back, trying again: ${messageOf(error)}`);
        await sleep(waitMs);
      }
    }
  };

  const shutDown = async (): Promise<void> => {
    await recovering;
    await stopServer(cluster, server.pid);
    await server.session.end().catch(() => undefined);
  };

  watch();
  return {
    databaseUrl: urlOf(cluster, first.port, "handoff"),
    port: first.port,
    adopted: first.adopted,
    get pid() {
      return server.pid;
    },
    stop() {
      stopping ??= shutDown();
      return stopping;
    },
  };
}

/** Finds the server on this folder or starts it, and becomes its owner. */
async function takeServer(cluster: Cluster, port: number | undefined): Promise<OwnedServer> {
  let reason = "";
  for (let attempt = 1; attempt <= launchAttempts; attempt += 1) {
    const running = await findServer(cluster);
    const server = running ?? (await launch(cluster, port ?? (await freePort())));
    if ("reason" in server) {
      reason = server.reason;
      await sleep(200);
      continue;
    }
    const session = await becomeOwner(cluster, server);
    if (!session) {
      reason = "it shut down while it was being taken over";
      continue;
    }
    if (!running || (hasOurSettings(cluster, running) && (port ?? running.port) === running.port)) {
      return { ...server, session, adopted: running !== null };
    }
    cluster.log(`A PostgreSQL with other settings runs on ${cluster.dataDirectory}; it is restarted.`);
    await stopServer(cluster, running.pid);
    await session.end().catch(() => undefined);
  }
  throw new EmbeddedPostgresError("start_failed", `The embedded PostgreSQL could not be started: ${reason}.`);
}

/** Takes the owner's lock, which ends with our process whatever becomes of it. Null when the server shuts down meanwhile. */
async function becomeOwner(cluster: Cluster, server: RunningServer): Promise<pg.Client | null> {
  const session = new pg.Client({
    connectionString: urlOf(cluster, server.port, "postgres"),
    application_name: `handoff ${process.pid}`,
    keepAlive: true,
  });
  session.on("error", () => undefined);
  try {
    await session.connect();
    if (await tryLock(session, cluster)) {
      await createHandoffDatabase(session);
      return session;
    }
  } catch (error) {
    await session.end().catch(() => undefined);
    if (isShutdown(error)) {
      return null;
    }
    throw error;
  }
  const owner = await findOwner(session);
  await session.end();
  throw new EmbeddedPostgresError(
    "in_use",
    `The data folder ${cluster.dataDirectory} is in use by another Handoff (process ${owner}): ` +
      "stop that one first, or set DATA_DIR to another folder.",
  );
}

/** An owner who was told to stop finishes what is in flight; one who was killed lets go a moment later. */
async function tryLock(session: pg.Client, cluster: Cluster): Promise<boolean> {
  for (let polls = 0; polls * ownerPollMs < ownerLimitMs; polls += 1) {
    const { rows } = await session.query("select pg_try_advisory_lock($1) as taken", [ownerLock]);
    if (rows[0].taken) {
      return true;
    }
    if (polls * ownerPollMs === 500) {
      cluster.log(
        `The data folder is in use by another Handoff (process ${await findOwner(session)}); waiting for it to stop.`,
      );
    }
    await sleep(ownerPollMs);
  }
  return false;
}

async function findOwner(session: pg.Client): Promise<string> {
  const { rows } = await session.query(
    `select application_name from pg_locks join pg_stat_activity using (pid)
     where locktype = 'advisory' and granted and classid = 0 and objid = $1 and objsubid = 1`,
    [ownerLock],
  );
  return (
    z
      .array(z.object({ application_name: z.string() }))
      .parse(rows)[0]
      ?.application_name.replace("handoff ", "") ?? "unknown"
  );
}

async function createHandoffDatabase(session: pg.Client): Promise<void> {
  const { rowCount } = await session.query("select from pg_database where datname = 'handoff'");
  if (rowCount === 0) {
    await session.query("create database handoff");
  }
}

/** Refused, cut off, `cannot_connect_now` or `admin_shutdown`: the server is on its way down. */
function isShutdown(error: unknown): boolean {
  return (
    ["ECONNREFUSED", "ECONNRESET", "57P01", "57P02", "57P03"].some((code) => hasCode(error, code)) ||
    /Connection terminated/.test(messageOf(error))
  );
}

function urlOf(cluster: Cluster, port: number, database: string): string {
  return `postgres://postgres:${cluster.installation.password}@127.0.0.1:${port}/${database}`;
}
