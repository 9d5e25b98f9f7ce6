import type { Config } from "../config.ts";
import { createPool, openDatabase } from "../db/database.ts";
import { pendingMigrations } from "../db/migrate.ts";
import { joinInstallationDatabase } from "../installation.ts";
import { type VerifiedRule, verifyLedger } from "../ledger/verify-ledger.ts";
import { printTable } from "../print-table.ts";
import { createProgress } from "../progress.ts";
import { type CommandOptions, type CommandResult, done, failed } from "./with-installation.ts";

/**
 * `handoff ledger verify [--organisation ID]`: proves the rules of the ledger on a database in use, of all organisations or
 * of one. Fails where one does not hold, and names what is wrong.
 */
export async function verifyLedgerCommand(
  config: Config,
  options: CommandOptions,
  print: (line: string) => void,
): Promise<CommandResult> {
  const database = await joinInstallationDatabase(config, () => undefined);
  try {
    const pending = await pendingMigrations(database.databaseUrl);
    if (pending.length > 0) return failed(`The database is behind this version (${pending.join(", ")}).`);
    const owner = openDatabase(createPool(database.databaseUrl, "owner", 1));
    try {
      const organisationId = options.organisation ?? null;
      if (organisationId !== null && !/^[0-9a-f-]{36}$/.test(organisationId)) {
        return failed("Name the organisation by its id: --organisation ID.");
      }
      const progress = createProgress("Booking again", print);
      let replayed = 0;
      const rules = await verifyLedger(owner, organisationId, (entries) => {
        replayed = entries;
        progress.to(entries);
      });
      progress.end(replayed);
      return report(rules, print);
    } finally {
      await owner.destroy();
    }
  } finally {
    await database.stop();
  }
}

function report(rules: readonly VerifiedRule[], print: (line: string) => void): CommandResult {
  printTable(
    ["rule", "looked at", "wrong"],
    rules.map(({ rule, looked, wrong }) => [rule, looked, wrong]),
    print,
  );
  const broken = rules.filter(({ wrong }) => wrong > 0);
  if (broken.length === 0) return done;
  const lines = broken.flatMap(({ rule, wrong, examples }) => {
    const more = wrong > examples.length ? [`  and ${wrong - examples.length} more`] : [];
    return [`This does not hold: ${rule}.`, ...examples.map((example) => `  ${example}`), ...more];
  });
  return failed(lines.join("\n"));
}
