import type { Config } from "../config.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import type { Change } from "../organisations/record-change.ts";
import { roleSchema } from "../people/change-user.ts";
import { inviteUser, makeInvitation, personSchema } from "../people/invite-user.ts";
import { linkOf } from "../people/links.ts";
import type { NewUserToken } from "../people/user-tokens.ts";
import { type CommandOptions, type CommandResult, done, failed, withInstallation } from "./with-installation.ts";

export interface UserOptions extends CommandOptions {
  readonly email?: string | undefined;
  readonly name?: string | undefined;
  readonly role?: string | undefined;
}

/**
 * `handoff user invite --email E --role R`: invites a user, an owner too, since who runs this has the database. Where no mail
 * server is set up the link is printed instead. For who was invited and has no password yet it makes another link.
 */
export async function inviteUserCommand(
  config: Config,
  options: UserOptions,
  print: (line: string) => void,
): Promise<CommandResult> {
  const role = roleSchema.safeParse(options.role);
  if (!role.success) return failed("Say which role with --role: owner, admin, agent or viewer.");
  const person = personSchema.safeParse({ email: options.email, name: options.name ?? options.email?.split("@")[0] });
  if (!person.success) return failed("Say whom to invite with --email, and with --name if you like.");
  return withInstallation(config, options, async (context, organisationId) => {
    const change = { organisationId, by: "handoff user invite", at: context.clock() };
    const isMailed = config.smtp !== null;
    const made = await inviteUser(context, change, { ...person.data, role: role.data }, isMailed);
    if (made.kind === "password_refused") throw new Error("A user without a password had it refused.");
    const invitation =
      made.kind === "made" ? made.invitation : await inviteAgain(context, change, person.data, isMailed);
    if (invitation === null) return failed("There is a user of this email already: see GET /v1/users.");
    if (isMailed) {
      print(`Invited ${person.data.email}: a mail with a link is on its way.`);
    } else {
      print(`Invited ${person.data.email}. No mail server is set up (SMTP_HOST), so give them this link yourself.`);
      print(`It is good once, until ${invitation.expiresAt.toISOString()}:`);
      print(linkOf(config.publicUrl, "invitation", invitation.token));
    }
    return done;
  });
}

/** null: the user has a password, is disabled, or is a partner's. */
async function inviteAgain(
  context: Context,
  change: Change,
  { email }: { readonly email: string },
  isMailed: boolean,
): Promise<NewUserToken | null> {
  return inOrganisation(context.database, change.organisationId, async (transaction) => {
    const user = await transaction
      .selectFrom("users")
      .select(["id", "email", "name"])
      .where((is) => is(is.fn<string>("lower", ["email"]), "=", email.toLowerCase()))
      .where("partnerId", "is", null)
      .where("passwordHash", "is", null)
      .where("disabledAt", "is", null)
      .forNoKeyUpdate()
      .executeTakeFirst();
    return user === undefined ? null : makeInvitation(context, transaction, change, user, isMailed);
  });
}
