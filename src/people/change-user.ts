import { z } from "zod";
import type { Database } from "../db/database.ts";
import { applyPatch, patchSchemaOf } from "../http/patch-schema.ts";
import { type Change, changedKeys, pickKeys, recordChange } from "../organisations/record-change.ts";
import { personSchema } from "./invite-user.ts";
import { type Permission, type Role, rolePermissions, roles } from "./permissions.ts";
import { endSessions } from "./sessions.ts";
import { endUserTokens } from "./user-tokens.ts";

export const roleSchema = z.enum(roles, `must be one of ${roles.join(", ")}`);

/** What of a user can be changed. The email is who they are: another one is another user. */
export const userPatchSchema = patchSchemaOf(
  z.strictObject({
    name: personSchema.shape.name,
    phone: personSchema.shape.phone,
    role: roleSchema,
    disabled: z.boolean().meta({ description: "true: signed out, and kept out" }),
  }),
);
export type UserPatch = z.infer<typeof userPatchSchema>;

/** Who makes or changes a user. */
export interface Manager {
  /** null: a key. */
  readonly userId: string | null;
  readonly permissions: ReadonlySet<Permission>;
}

export type ChangeUserResult =
  | { readonly kind: "changed" }
  | { readonly kind: "not_found" }
  | { readonly kind: "not_allowed"; readonly why: string }
  /** Nobody could make an owner any more. */
  | { readonly kind: "last_owner" };

/**
 * Changes what the patch names. Another role, and being disabled, sign the user out everywhere; who is disabled has no
 * links that were mailed either.
 */
export async function changeUser(
  transaction: Database,
  change: Change,
  manager: Manager,
  id: string,
  patch: UserPatch,
): Promise<ChangeUserResult> {
  // In one order, and all owners: two that go at the same time do not both leave the other as the last.
  const named = manager.userId === null ? [id] : [id, manager.userId];
  const locked = await transaction
    .selectFrom("users")
    .select(["id", "name", "phone", "role", "disabledAt", "passwordHash"])
    .where("partnerId", "is", null)
    .where((is) => is.or([is("id", "in", named), is("role", "=", "owner")]))
    .orderBy("id")
    .forNoKeyUpdate()
    .execute();
  const user = locked.find((one) => one.id === id);
  if (user === undefined || user.role === null) return { kind: "not_found" };
  const { name, phone, role, disabledAt } = user;
  const before: Changeable = { name, phone, role, disabled: disabledAt !== null };
  const after = applyPatch(before, patch);
  const managerRole = locked.find((one) => one.id === manager.userId)?.role ?? null;
  const why = whyNot(manager, managerRole, [before.role, after.role]);
  if (why !== null) return { kind: "not_allowed", why };
  const isOwnerLost = before.role === "owner" && !before.disabled && (after.role !== "owner" || after.disabled);
  const others = locked.filter((one) => one.id !== id && one.role === "owner" && one.disabledAt === null);
  // An owner who has not come yet is no reason to let the last one go who has.
  const counting = user.passwordHash === null ? others : others.filter((one) => one.passwordHash !== null);
  if (isOwnerLost && counting.length === 0) return { kind: "last_owner" };
  await store(transaction, change, id, before, after);
  return { kind: "changed" };
}

type Changeable = {
  readonly name: string;
  readonly phone: string | null;
  readonly role: Role;
  readonly disabled: boolean;
};

async function store(
  transaction: Database,
  change: Change,
  id: string,
  before: Changeable,
  after: Changeable,
): Promise<void> {
  const keys = changedKeys(before, after);
  if (keys.length === 0) return;
  const { at } = change;
  const { name, phone, role, disabled } = after;
  await transaction
    .updateTable("users")
    .set({
      name,
      phone,
      role,
      updatedAt: at,
      ...(keys.includes("disabled") ? { disabledAt: disabled ? at : null } : {}),
    })
    .where("id", "=", id)
    .execute();
  if (keys.includes("disabled") || keys.includes("role")) await endSessions(transaction, id, at);
  if (disabled) await endUserTokens(transaction, id, at);
  await recordChange(transaction, change, { kind: "user", id }, pickKeys(before, keys), pickKeys(after, keys));
}

/**
 * Why somebody may not have a user be of these roles; null where they may. Only an owner makes, changes and ends owners;
 * nobody gives what they have not.
 */
export function whyNot(manager: Manager, managerRole: Role | null, wanted: readonly Role[]): string | null {
  if (wanted.includes("owner") && managerRole !== "owner") return "Only an owner makes, changes and ends owners.";
  const missing = wanted.flatMap((role) => [...rolePermissions[role]].filter((one) => !manager.permissions.has(one)));
  return missing.length === 0 ? null : `You may not ${missing[0]} yourself, and so cannot give it.`;
}

/** The role of who manages users; null of a key. */
export async function roleOf(transaction: Database, userId: string | null): Promise<Role | null> {
  if (userId === null) return null;
  const row = await transaction.selectFrom("users").select("role").where("id", "=", userId).executeTakeFirst();
  return row?.role ?? null;
}
