#!/usr/bin/env node
import { parseArgs } from "node:util";
import { startWorkers } from "../workers/start-workers.ts";
import { closeOutbound } from "./channels/close-outbound.ts";
import { explainCommand, importCommand, sendLeadCommand } from "./commands/lead-commands.ts";
import { verifyLedgerCommand } from "./commands/ledger-commands.ts";
import { createOrganisationCommand } from "./commands/organisation-commands.ts";
import { inviteUserCommand } from "./commands/user-commands.ts";
import type { CommandResult } from "./commands/with-installation.ts";
import { type Config, readConfig } from "./config.ts";
import { type Context, checkSecret, closeContext, openContext } from "./context.ts";
import { migrate, pendingMigrations } from "./db/migrate.ts";
import { prepareInstallation } from "./installation.ts";

const usage = `handoff <command>

  start                                   everything in one process, with its own database if DATABASE_URL is not set
  api                                     the HTTP API (needs DATABASE_URL and HANDOFF_SECRET)
  worker                                  the workers (needs DATABASE_URL and HANDOFF_SECRET)
  migrate                                 brings the database at DATABASE_URL up to this version, and with
                                          HANDOFF_API_KEY makes the first organisation
  import FILE --campaign ID               takes in the leads of a CSV file
  lead send --campaign ID --field K=V ... takes in one lead
  explain --campaign ID --field K=V ...   who would get such a lead now, and why not the others
  organisation create --name NAME         one more organisation, with an API key, and with an owner where
                [--time-zone Z] [--currency C]  --owner-email EMAIL is given, who is invited
  user invite --email EMAIL --role ROLE   invites a user: an owner, admin, agent or viewer. Without a mail server
                [--name NAME]             it prints the link instead. Again for who has no password yet: another link
  ledger verify [--organisation ID]       proves that the books are right, on a database in use

Settings come from the environment; docs/operations.md lists them.`;

const print = (line: string) => void process.stdout.write(`${line}\n`);
const complain = (line: string) => void process.stderr.write(`${line}\n`);

const exitCodes = { fine: 0, failed: 1, misused: 2, interrupted: 130 };

const commandOptions = {
  campaign: { type: "string" },
  organisation: { type: "string" },
  field: { type: "string", multiple: true },
  name: { type: "string" },
  "time-zone": { type: "string" },
  "owner-email": { type: "string" },
  email: { type: "string" },
  role: { type: "string" },
  currency: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

async function main(words: readonly string[]): Promise<number> {
  const { positionals, values } = parseArgs({ args: [...words], allowPositionals: true, options: commandOptions });
  const [command = "start", second] = positionals;
  if (values.help === true || command === "help") {
    print(usage);
    return exitCodes.fine;
  }
  const read = readConfig(process.env);
  if (!read.ok) {
    complain("Handoff cannot start with these settings:");
    for (const problem of read.problems) complain(`  ${problem}`);
    return exitCodes.misused;
  }
  const { config } = read;
  switch (command) {
    // What only one command needs is loaded by that command: a worker is 20 MiB smaller without the API.
    case "start": {
      const { start } = await import("./start.ts");
      const told = watchSignals();
      const running = await start(config, print);
      return stopWhenTold(told, async () => running.stop());
    }
    case "api": {
      const { startServer } = await import("./server.ts");
      return serve(config, async (context) => {
        const server = await startServer(context);
        context.waker.followStandBys();
        print(`The Handoff API is ready at http://localhost:${server.port}`);
        return server.close;
      });
    }
    case "worker":
      return serve(config, async (context) => {
        startWorkers(context);
        print(`A Handoff worker is ready (${context.queues.kind} queue).`);
        return async () => undefined;
      });
    case "migrate":
      return runMigrate(config);
    case "import":
      return report(await importCommand(config, second, values, print));
    case "lead":
      if (second !== "send") break;
      return report(await sendLeadCommand(config, values, print));
    case "explain":
      return report(await explainCommand(config, values, print));
    case "organisation":
      if (second !== "create") break;
      return report(await createOrganisationCommand(config, values, print));
    case "user":
      if (second !== "invite") break;
      return report(await inviteUserCommand(config, values, print));
    case "ledger":
      if (second !== "verify") break;
      return report(await verifyLedgerCommand(config, values, print));
  }
  complain(`There is no command "${positionals.join(" ")}".\n\n${usage}`);
  return exitCodes.misused;
}

function report(result: CommandResult): number {
  if (result.ok) return exitCodes.fine;
  complain(result.problem);
  return exitCodes.failed;
}

async function runMigrate(config: Config): Promise<number> {
  const databaseUrl = requireDatabase(config, "migrate");
  const applied = await migrate(databaseUrl);
  print(applied.length === 0 ? "The database is up to date." : `Applied: ${applied.join(", ")}.`);
  if (config.apiKey === undefined) return exitCodes.fine;
  const { isNew } = await prepareInstallation(config, databaseUrl, new Date());
  if (isNew) print("Made the first organisation; its API key is HANDOFF_API_KEY.");
  return exitCodes.fine;
}

/** Runs one service of an installation whose database is elsewhere, until it is told to stop. */
async function serve(config: Config, open: (context: Context) => Promise<() => Promise<void>>): Promise<number> {
  const databaseUrl = requireDatabase(config, "api and worker");
  const told = watchSignals();
  const pending = await pendingMigrations(databaseUrl);
  if (pending.length > 0) {
    complain(`The database is behind this version (${pending.join(", ")}): run "handoff migrate" first.`);
    return exitCodes.failed;
  }
  const context = openContext({ config, databaseUrl, secret: requireSecret(config) });
  await checkSecret(context);
  const close = await open(context);
  return stopWhenTold(told, async () => {
    await close();
    await closeContext(context);
    await closeOutbound();
  });
}

function requireDatabase(config: Config, command: string): string {
  if (config.databaseUrl !== undefined) return config.databaseUrl;
  throw new Error(`DATABASE_URL is needed for ${command}; "handoff start" brings a database of its own.`);
}

/** Services on several machines must have one secret: none of them makes its own. */
function requireSecret(config: Config): string {
  if (config.secret !== undefined) return config.secret;
  throw new Error("HANDOFF_SECRET is needed for api and worker, the same for all: 32 characters or more.");
}

/** npm passes a terminal's Ctrl-C on, so that one may arrive twice; a second press comes later than this. */
const samePressMs = 1_000;

/**
 * Watches for Ctrl-C or a request to end, from now on. A request that comes while things are still being started is
 * followed when they are. A second one, later, ends the process at once.
 */
function watchSignals(): Promise<void> {
  return new Promise((resolve) => {
    let firstAt: number | null = null;
    const onSignal = () => {
      if (firstAt === null) {
        firstAt = performance.now();
        print("Stopping: what is in flight is finished first. Press Ctrl-C again to stop at once.");
        resolve();
      } else if (performance.now() - firstAt > samePressMs) {
        process.exit(exitCodes.interrupted);
      }
    };
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
    // Started by another program over a channel, it ends with that one.
    process.once("disconnect", resolve);
  });
}

/** Waits to be told to stop, then stops in order. */
async function stopWhenTold(told: Promise<void>, stop: () => Promise<void>): Promise<number> {
  await told;
  await stop();
  print("Stopped.");
  return exitCodes.fine;
}

/** What the system says in a code, in words that say what to do. */
function explainStartError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = "code" in error ? error.code : null;
  if (code === "EADDRINUSE") return `${error.message}: set PORT to a free one, or stop the program that has it.`;
  if (code === "ECONNREFUSED") return `Nothing answers at DATABASE_URL (${error.message || "connection refused"}).`;
  return error.message;
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    complain(explainStartError(error));
    process.exit(exitCodes.failed);
  },
);
