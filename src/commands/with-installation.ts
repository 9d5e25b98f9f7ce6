import { closeOutbound } from "../channels/close-outbound.ts";
import type { Config } from "../config.ts";
import { type Context, checkSecret, closeContext, openContext } from "../context.ts";
import { createPool, openDatabase } from "../db/database.ts";
import { joinInstallationDatabase, readSecret } from "../installation.ts";

export type CommandResult = { readonly ok: true } | { readonly ok: false; readonly problem: string };

export const done: CommandResult = { ok: true };
export const failed = (problem: string): CommandResult => ({ ok: false, problem });

/** What every command may be given. */
export interface CommandOptions {
  readonly organisation?: string | undefined;
}

/** Runs a command on the installation's database, beside `handoff start` or without it, for one organisation. */
export async function withInstallation(
  config: Config,
  options: CommandOptions,
  work: (context: Context, organisationId: string) => Promise<CommandResult>,
): Promise<CommandResult> {
  const database = await joinInstallationDatabase(config, () => undefined);
  try {
    const organisation = await chooseOrganisation(database.databaseUrl, options.organisation);
    if (!organisation.ok) return failed(organisation.problem);
    const quiet = { ...config, logLevel: "silent" as const };
    const context = openContext({ config: quiet, databaseUrl: database.databaseUrl, secret: await readSecret(config) });
    try {
      await checkSecret(context);
      return await work(context, organisation.id);
    } finally {
      await closeContext(context);
      await closeOutbound();
    }
  } finally {
    await database.stop();
  }
}

/** The organisation that was named, or the only one there is. */
async function chooseOrganisation(
  databaseUrl: string,
  named: string | undefined,
): Promise<{ ok: true; id: string } | { ok: false; problem: string }> {
  const owner = openDatabase(createPool(databaseUrl, "owner", 1));
  try {
    const all = await owner.selectFrom("organisations").select(["id", "name"]).orderBy("id").execute();
    const chosen = named === undefined ? all : all.filter(({ id, name }) => id === named || name === named);
    const [only, another] = chosen;
    if (only !== undefined && another === undefined) return { ok: true, id: only.id };
    const list = all.map(({ id, name }) => `  ${id}  ${name}`).join("\n");
    if (all.length === 0)
      return {
        ok: false,
        problem: 'There is no organisation yet: run "handoff start" or "handoff organisation create".',
      };
    return { ok: false, problem: `Say which organisation with --organisation ID; there are:\n${list}` };
  } finally {
    await owner.destroy();
  }
}
