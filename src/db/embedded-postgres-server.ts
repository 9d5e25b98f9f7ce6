import { execFileSync, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { closeSync, openSync, readFileSync, rmSync, statSync, truncateSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  EmbeddedPostgresError,
  explainFailure,
  hasCode,
  type Installation,
  messageOf,
  serverEnvironment,
} from "./embedded-postgres-installation.ts";

/** Every durability setting keeps its default (on). */
export const defaultSettings: Readonly<Record<string, string>> = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  cluster_name: "handoff",
  max_connections: "200",
  shared_buffers: "256MB",
  max_wal_size: "2GB",
  min_wal_size: "256MB",
  checkpoint_timeout: "10min",
  wal_buffers: "16MB",
  random_page_cost: "1.1",
  // Short statements only: compiling them costs more than it saves.
  jit: "off",
  // Queue tables turn over many times a minute; the default of a minute lets them bloat.
  autovacuum_naptime: "10s",
  // A killed worker's statement must not go on waiting for a lock, and then take it.
  client_connection_check_interval: "1s",
  timezone: "UTC",
  log_timezone: "UTC",
  log_checkpoints: "off",
  // Messages of failed statements quote values, and personal data never enters a log.
  log_min_messages: "log",
  log_error_verbosity: "terse",
};

const maximumLogBytes = 5_000_000;
const shutdownLimitMs = 60_000;

export interface Cluster {
  readonly dataDirectory: string;
  readonly installation: Installation;
  readonly settings: Readonly<Record<string, string>>;
  readonly log: (message: string) => void;
}

export interface RunningServer {
  readonly pid: number;
  readonly port: number;
}

/** The server that runs on this folder, once it is ready; null when there is none. Removes what would block a new one. */
export async function findServer(cluster: Cluster): Promise<RunningServer | null> {
  for (let polls = 1; ; polls += 1) {
    const found = readPidFile(cluster);
    if (!found) {
      return null;
    }
    if (!isServer(cluster, found.pid)) {
      releasePidFile(cluster, found.pid);
      return null;
    }
    if (found.status === "ready") {
      return found;
    }
    // After a crash it replays its log, however long that takes: as long as it lives it is waited for.
    if (polls % 500 === 0) {
      cluster.log(`Waiting for PostgreSQL (process ${found.pid}), which is ${found.status || "starting"}.`);
    }
    await sleep(20);
  }
}

interface PidFile extends RunningServer {
  readonly status: string;
}

function pidFileOf(cluster: Cluster): string {
  return path.join(cluster.installation.data, "postmaster.pid");
}

/** See "postmaster.pid" in PostgreSQL's miscadmin.h: line 1 process, 4 port, 8 status. */
function readPidFile(cluster: Cluster): PidFile | null {
  try {
    const lines = readFileSync(pidFileOf(cluster), "utf8").split("\n");
    return { pid: Number(lines[0] || 0), port: Number(lines[3] || 0), status: lines[7]?.trim() ?? "" };
  } catch (error) {
    if (hasCode(error, "ENOENT")) {
      return null;
    }
    throw explainFailure(messageOf(error), cluster.dataDirectory) ?? error;
  }
}

/** Is this process a PostgreSQL on this very folder? Ids are used again, after a restart of a container at once. */
function isServer(cluster: Cluster, pid: number): boolean {
  const { data } = cluster.installation;
  try {
    if (process.platform !== "linux") {
      const command = execFileSync("ps", ["-ww", "-o", "command=", "-p", String(pid)], { encoding: "utf8" });
      return command.includes("postgres") && command.includes(data);
    }
    // The server's working folder is its data folder. A zombie has none.
    const [theirs, ours] = [statSync(`/proc/${pid}/cwd`), statSync(data)];
    return (
      theirs.ino === ours.ino && theirs.dev === ours.dev && /^postgres/.test(readFileSync(`/proc/${pid}/comm`, "utf8"))
    );
  } catch {
    return false;
  }
}

/** Removes a file whose process is gone or is another program. Two servers at once stay impossible: PostgreSQL also looks
 * for shared memory that belongs to this folder and is still in use. */
function releasePidFile(cluster: Cluster, pid: number): void {
  if (readPidFile(cluster)?.pid === pid) {
    rmSync(pidFileOf(cluster), { force: true });
  }
}

export type Launched = RunningServer | { readonly reason: string };

/** Starts a server in a session of its own; a reason when trying again may help. */
export async function launch(cluster: Cluster, port: number): Promise<Launched> {
  const { installation } = cluster;
  const output = openLog(installation);
  const child = spawn(installation.postgres, argumentsOf(cluster, port), {
    ...installation.user,
    cwd: installation.home,
    env: serverEnvironment,
    detached: true,
    stdio: ["ignore", output.descriptor, output.descriptor],
  });
  closeSync(output.descriptor);
  let ended: string | null = null;
  child.once("error", (error) => {
    ended = error.message;
  });
  child.once("exit", (code, signal) => {
    ended ??= `it ended with ${signal ?? `code ${code}`}`;
  });
  child.unref();
  while (ended === null) {
    const found = readPidFile(cluster);
    if (found?.pid === child.pid && found?.status === "ready") {
      return found;
    }
    await sleep(10);
  }
  const words = readFileSync(installation.logFile).subarray(output.startBytes).toString("utf8");
  return explainExit(cluster, words || ended, port);
}

function explainExit(cluster: Cluster, words: string, port: number): Launched {
  if (/lock file .* already exists|pre-existing shared memory|could not bind/.test(words)) {
    return {
      reason: /could not bind/.test(words) ? `port ${port} is taken` : "another server is leaving its data folder",
    };
  }
  throw (
    explainFailure(words, cluster.dataDirectory) ??
    new EmbeddedPostgresError(
      "start_failed",
      `The embedded PostgreSQL did not start. Its log, ${cluster.installation.logFile}, ends with:\n${words.trim().slice(-2000)}`,
    )
  );
}

/** A file, not a pipe: a server that outlives us must be able to go on writing. */
function openLog({ logFile }: Installation): { descriptor: number; startBytes: number } {
  const descriptor = openSync(logFile, "a", 0o600);
  let startBytes = statSync(logFile).size;
  if (startBytes > maximumLogBytes) {
    truncateSync(logFile);
    startBytes = 0;
  }
  return { descriptor, startBytes };
}

function argumentsOf(cluster: Cluster, port: number): string[] {
  const settings = Object.entries(cluster.settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  return ["-D", cluster.installation.data, "-p", String(port), ...settings];
}

/** PostgreSQL notes in postmaster.opts the program and arguments that the running server was started with. */
export function hasOurSettings(cluster: Cluster, server: RunningServer): boolean {
  const words = argumentsOf(cluster, server.port).map((argument) => ` "${argument}"`);
  const noted = readFileSync(path.join(cluster.installation.data, "postmaster.opts"), "utf8");
  return noted.trim() === cluster.installation.postgres + words.join("");
}

export async function stopServer(cluster: Cluster, pid: number): Promise<void> {
  for (const signal of ["SIGINT", "SIGQUIT"] as const) {
    if (isServer(cluster, pid)) {
      process.kill(pid, signal);
    }
    const deadline = Date.now() + shutdownLimitMs;
    while (Date.now() < deadline) {
      if (!isServer(cluster, pid)) {
        return;
      }
      await sleep(10);
    }
    cluster.log(`PostgreSQL (process ${pid}) has not ended ${shutdownLimitMs / 1000} s after ${signal}.`);
  }
}

/**
 * Below the range from which systems pick ports for outgoing connections: otherwise a client that tries to reach a server
 * while it is away can be given the server's own port.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 30_000);
    const free = await new Promise<boolean>((resolve) => {
      const probe = createServer();
      probe.once("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (free) {
      return port;
    }
  }
}
