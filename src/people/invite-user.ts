import { z } from "zod";
import { sendAlerts } from "../../queues/send-alerts.ts";
import { insertAlerts } from "../alerts/insert-alerts.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { type Change, recordChange } from "../organisations/record-change.ts";
import { phoneSchema } from "../partners/partner.ts";
import { passwordProblem } from "./password-rules.ts";
import { hashPassword } from "./passwords.ts";
import type { PartnerAccess, Role } from "./permissions.ts";
import { tokenAlert } from "./token-alert.ts";
import { createUserToken, type NewUserToken } from "./user-tokens.ts";

/** What every user has, of the organisation's own and of a partner's. */
export const personSchema = z.strictObject({
  email: z.email("must be an email address").max(254),
  name: z.string().trim().min(1).max(200),
  phone: phoneSchema.nullable().default(null),
});

interface Person {
  readonly email: string;
  readonly name: string;
  readonly phone: string | null;
  /** Set by whoever makes the user: then no invitation goes out. */
  readonly password?: string | undefined;
}

/** One of the organisation's own people, or one of a partner's. */
export type NewUser = Person &
  (
    | { readonly role: Role; readonly partnerId?: undefined }
    | { readonly partnerId: string; readonly access: PartnerAccess }
  );

export type InviteResult =
  | { readonly kind: "made"; readonly id: string; readonly invitation: NewUserToken | null }
  /** There is a user of this email in the organisation, or with the partner of it, already. */
  | { readonly kind: "email_taken" }
  | { readonly kind: "password_refused"; readonly problem: string };

/**
 * Makes a user and mails the invitation to set a password; with a password given none is sent. `isMailed` false leaves the
 * invitation to the caller, who gets it either way. Whether the caller may make such a user, and whether the partner is the
 * organisation's, is the caller's to know.
 */
export async function inviteUser(
  context: Context,
  change: Change,
  user: NewUser,
  isMailed = true,
): Promise<InviteResult> {
  const { password } = user;
  const problem = password === undefined ? null : passwordProblem(password, user);
  if (problem !== null) return { kind: "password_refused", problem };
  const passwordHash = password === undefined ? null : await hashPassword(password);
  const result = await inOrganisation(context.database, change.organisationId, async (transaction) => {
    const id = await insertUser(transaction, change, user, passwordHash);
    if (id === null) return { kind: "email_taken" } as const;
    const invitation =
      passwordHash === null ? await makeInvitation(context, transaction, change, { id, ...user }, isMailed) : null;
    return { kind: "made", id, invitation } as const;
  });
  context.waker.wake(sendAlerts, { organisationId: change.organisationId });
  return result;
}

/** null: the email is taken. */
async function insertUser(
  transaction: Database,
  change: Change,
  user: NewUser,
  passwordHash: string | null,
): Promise<string | null> {
  const { email, name, phone } = user;
  const { organisationId, at } = change;
  const isStaff = user.partnerId === undefined;
  const kind = isStaff ? { role: user.role, partnerId: null } : { role: null, partnerId: user.partnerId };
  const access = isStaff ? null : user.access;
  const id = newId();
  const inserted = await transaction
    .insertInto("users")
    .values({
      ...{ id, organisationId, email, name, phone, ...kind, passwordHash, createdAt: at, updatedAt: at },
      access: access === null ? null : JSON.stringify(access),
    })
    .onConflict((conflict) => conflict.doNothing())
    .returning("id")
    .executeTakeFirst();
  if (inserted === undefined) return null;
  await recordChange(transaction, change, { kind: "user", id }, null, { email, name, phone, ...kind, access });
  return id;
}

/** Gives a user a new invitation in place of any before, and has it mailed with the commit, where that is asked for. */
export async function makeInvitation(
  context: Context,
  transaction: Database,
  { organisationId, at }: Change,
  user: {
    readonly id: string;
    readonly email: string;
    readonly name: string;
    readonly partnerId?: string | null | undefined;
  },
  isMailed: boolean,
): Promise<NewUserToken> {
  const token = await createUserToken(transaction, { id: user.id, organisationId }, "invitation", at);
  const { email, name, partnerId = null } = user;
  const alert = tokenAlert(context.vault, { email, name, partnerId }, "invitation", token);
  if (isMailed) await insertAlerts(transaction, organisationId, [alert], at);
  return token;
}
