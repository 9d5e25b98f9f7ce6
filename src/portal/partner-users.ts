import { z } from "zod";
import { sendAlerts } from "../../queues/send-alerts.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { applyPatch, patchSchemaOf } from "../http/patch-schema.ts";
import { type Change, changedKeys, pickKeys, recordChange } from "../organisations/record-change.ts";
import { type InviteResult, inviteUser, makeInvitation, personSchema } from "../people/invite-user.ts";
import { newPasswordSchema, passwordProblem } from "../people/password-rules.ts";
import { hashPassword } from "../people/passwords.ts";
import { accessSchema, type PartnerAccess } from "../people/permissions.ts";
import { endSessions } from "../people/sessions.ts";
import { endUserTokens } from "../people/user-tokens.ts";
import { personAnswer, personColumns, presentPerson } from "../people/users.ts";

/** Those who sign in for a partner: made and changed by staff. */

export const newPartnerUserSchema = z.strictObject({
  ...personSchema.shape,
  access: accessSchema,
  password: newPasswordSchema.optional().meta({ description: "absent: an invitation to set one goes out by email" }),
});

export const partnerUserPatch = patchSchemaOf(
  z.strictObject({
    name: personSchema.shape.name,
    phone: personSchema.shape.phone,
    access: accessSchema,
    disabled: z.boolean().meta({ description: "true: signed out, and kept out" }),
  }),
);

export const partnerUserAnswer = z
  .object({ ...personAnswer, partnerId: z.uuid(), access: accessSchema })
  .meta({ id: "PartnerUser" });

/** Makes a user of a partner; null where there is no such partner. */
export async function createPartnerUser(
  context: Context,
  change: Change,
  partnerId: string,
  user: z.infer<typeof newPartnerUserSchema>,
): Promise<InviteResult | null> {
  const partner = await inOrganisation(context.database, change.organisationId, async (transaction) =>
    transaction.selectFrom("partners").select("id").where("id", "=", partnerId).executeTakeFirst(),
  );
  return partner === undefined ? null : inviteUser(context, change, { ...user, partnerId });
}

interface Changeable {
  readonly name: string;
  readonly phone: string | null;
  readonly access: PartnerAccess;
  readonly disabled: boolean;
}

/**
 * Changes what the patch names. Being disabled ends sessions and links that were mailed; other access counts from the user's next
 * request on. Gives false where there is no such user of a partner.
 */
export async function changePartnerUser(
  context: Context,
  change: Change,
  id: string,
  patch: z.infer<typeof partnerUserPatch>,
): Promise<boolean> {
  const { organisationId, at } = change;
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const user = await lockPartnerUser(transaction, id);
    if (user === null) return false;
    const { name, phone, access, disabledAt } = user;
    const before: Changeable = { name, phone, access, disabled: disabledAt !== null };
    const after = applyPatch(before, patch);
    const keys = changedKeys(before, after);
    if (keys.length === 0) return true;
    await transaction
      .updateTable("users")
      .set({ name: after.name, phone: after.phone, access: JSON.stringify(after.access), updatedAt: at })
      .set(keys.includes("disabled") ? { disabledAt: after.disabled ? at : null } : {})
      .where("id", "=", id)
      .execute();
    if (keys.includes("disabled")) {
      await endSessions(transaction, id, at);
      await endUserTokens(transaction, id, at);
    }
    await recordChange(transaction, change, { kind: "user", id }, pickKeys(before, keys), pickKeys(after, keys));
    return true;
  });
}

export type ResendResult = "sent" | "not_found" | "has_password" | "disabled";

/** Mails a new invitation in place of the one before, to who has set no password yet. */
export async function resendInvitation(context: Context, change: Change, id: string): Promise<ResendResult> {
  const result = await inOrganisation(context.database, change.organisationId, async (transaction) => {
    const user = await lockPartnerUser(transaction, id);
    if (user === null) return "not_found";
    if (user.disabledAt !== null) return "disabled";
    if (user.passwordHash !== null) return "has_password";
    await makeInvitation(context, transaction, change, user, true);
    return "sent";
  });
  if (result === "sent") context.waker.wake(sendAlerts, { organisationId: change.organisationId });
  return result;
}

export type SetPasswordResult =
  | { readonly kind: "set" }
  | { readonly kind: "not_found" }
  | { readonly kind: "refused"; readonly problem: string };

/** Sets the password of a partner's user: that ends its sessions and the links that were mailed to it. */
export async function setPartnerUserPassword(
  context: Context,
  change: Change,
  id: string,
  password: string,
): Promise<SetPasswordResult> {
  const { organisationId, at } = change;
  const known = await inOrganisation(context.database, organisationId, async (transaction) =>
    lockPartnerUser(transaction, id),
  );
  if (known === null) return { kind: "not_found" };
  const problem = passwordProblem(password, known);
  if (problem !== null) return { kind: "refused", problem };
  // Takes its time: not with a row locked.
  const passwordHash = await hashPassword(password);
  await inOrganisation(context.database, organisationId, async (transaction) => {
    await transaction.updateTable("users").set({ passwordHash, updatedAt: at }).where("id", "=", id).execute();
    await endSessions(transaction, id, at);
    await endUserTokens(transaction, id, at);
    await recordChange(transaction, change, { kind: "user", id }, {}, { password: "set" });
  });
  return { kind: "set" };
}

async function lockPartnerUser(transaction: Database, id: string) {
  const row = await transaction
    .selectFrom("users")
    .select(["id", "email", "name", "phone", "partnerId", "access", "disabledAt", "passwordHash"])
    .where("id", "=", id)
    .where("partnerId", "is not", null)
    .forNoKeyUpdate()
    .executeTakeFirst();
  return row === undefined ? null : { ...row, access: accessSchema.parse(row.access) };
}

/** Users of partners, to be filtered further. */
export function selectPartnerUsers(transaction: Database) {
  return transaction
    .selectFrom("users")
    .select(personColumns)
    .select(["users.partnerId", "users.access"])
    .where("users.partnerId", "is not", null);
}

export type PartnerUserRow = Awaited<ReturnType<ReturnType<typeof selectPartnerUsers>["execute"]>>[number];

export function presentPartnerUser({ partnerId, access, ...row }: PartnerUserRow): z.infer<typeof partnerUserAnswer> {
  if (partnerId === null) throw new Error("One of staff was read as a partner's user.");
  return { ...presentPerson(row), partnerId, access: accessSchema.parse(access) };
}
