import type { Config } from "../config.ts";
import { createPool, openDatabase } from "../db/database.ts";
import { migrate } from "../db/migrate.ts";
import { joinInstallationDatabase } from "../installation.ts";
import { createApiKey } from "../organisations/api-keys.ts";
import { createOrganisation } from "../organisations/create-organisation.ts";
import { type OrganisationDocument, organisationSchema } from "../organisations/organisation.ts";
import { personSchema } from "../people/invite-user.ts";
import { inviteUserCommand } from "./user-commands.ts";
import { type CommandResult, done, failed } from "./with-installation.ts";

export interface OrganisationOptions {
  readonly name?: string | undefined;
  readonly "time-zone"?: string | undefined;
  readonly currency?: string | undefined;
  readonly "owner-email"?: string | undefined;
}

/** `handoff organisation create`: makes an organisation, shows its first API key, once, and invites its owner where one is named. */
export async function createOrganisationCommand(
  config: Config,
  options: OrganisationOptions,
  print: (line: string) => void,
): Promise<CommandResult> {
  const parsed = organisationSchema.safeParse({
    name: options.name,
    timeZone: options["time-zone"] ?? "Europe/London",
    currency: options.currency ?? "GBP",
  });
  if (!parsed.success) {
    return failed(parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("\n"));
  }
  const email = options["owner-email"];
  if (email !== undefined && !personSchema.shape.email.safeParse(email).success) {
    return failed(`--owner-email must be an email address (was ${email}).`);
  }
  const organisation = await makeOrganisation(config, parsed.data, print);
  return email === undefined ? done : inviteUserCommand(config, { organisation, email, role: "owner" }, print);
}

async function makeOrganisation(
  config: Config,
  document: OrganisationDocument,
  print: (line: string) => void,
): Promise<string> {
  const database = await joinInstallationDatabase(config, () => undefined);
  try {
    await migrate(database.databaseUrl);
    const owner = openDatabase(createPool(database.databaseUrl, "owner", 1));
    try {
      const at = new Date();
      const { id, portalCode } = await createOrganisation(owner, document, "handoff organisation create", at);
      const change = { organisationId: id, by: "handoff organisation create", at };
      const key = await createApiKey(owner, change, { name: "First key", expiresAt: null });
      print(`Organisation: ${id}`);
      print(`Portal code:  ${portalCode}`);
      print(`API key:      ${key?.key ?? ""}`);
      return id;
    } finally {
      await owner.destroy();
    }
  } finally {
    await database.stop();
  }
}
