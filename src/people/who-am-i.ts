import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { instantSchema } from "../http/api.ts";
import {
  accessSchema,
  type Permission,
  portalPermissions,
  portalPermissionsOf,
  rolePermissions,
  roles,
  staffPermissions,
} from "./permissions.ts";

const permissionNames = [...Object.keys(staffPermissions), ...Object.keys(portalPermissions)] as [
  Permission,
  ...Permission[],
];

export const whoAmIAnswer = z
  .object({
    user: z.object({ id: z.uuid(), email: z.string(), name: z.string(), phone: z.string().nullable() }),
    organisation: z.object({ id: z.uuid(), name: z.string(), portalCode: z.string() }),
    role: z.enum(roles).nullable().meta({ description: "null: one of a partner's users" }),
    partner: z.object({ id: z.uuid(), name: z.string() }).nullable(),
    permissions: z.array(z.enum(permissionNames)),
    hasTotp: z.boolean().meta({ description: "signs in with a code of an authenticator app too" }),
    recoveryCodesLeft: z.int(),
    session: z.object({ id: z.uuid(), createdAt: instantSchema, endsAt: instantSchema }),
  })
  .meta({ id: "WhoAmI" });

/** Who is signed in, and what they may do. */
export async function readWhoAmI(
  context: Context,
  { organisationId, userId, sessionId }: { organisationId: string; userId: string; sessionId: string },
): Promise<z.infer<typeof whoAmIAnswer>> {
  const row = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("users as u")
      .innerJoin("organisations as o", "o.id", "u.organisationId")
      .innerJoin("sessions as s", "s.userId", "u.id")
      .leftJoin("partners as p", "p.id", "u.partnerId")
      .select(["u.id", "u.email", "u.name", "u.phone", "u.role", "u.access", "u.totpConfirmedAt", "u.partnerId"])
      .select(["o.name as organisationName", "o.portalCode", "p.name as partnerName", "s.createdAt", "s.endsAt"])
      .select((is) =>
        is
          .selectFrom("recoveryCodes as r")
          .select((of) => of.fn.countAll<number>().as("count"))
          .whereRef("r.userId", "=", "u.id")
          .where("r.usedAt", "is", null)
          .as("recoveryCodesLeft"),
      )
      .where("s.id", "=", sessionId)
      .where("u.id", "=", userId)
      .executeTakeFirstOrThrow(),
  );
  const permissions =
    row.role === null ? portalPermissionsOf(accessSchema.parse(row.access)) : rolePermissions[row.role];
  return {
    user: { id: row.id, email: row.email, name: row.name, phone: row.phone },
    organisation: { id: organisationId, name: row.organisationName, portalCode: row.portalCode },
    role: row.role,
    partner: row.partnerId === null ? null : { id: row.partnerId, name: row.partnerName ?? "" },
    permissions: [...permissions],
    hasTotp: row.totpConfirmedAt !== null,
    recoveryCodesLeft: row.recoveryCodesLeft ?? 0,
    session: { id: sessionId, createdAt: row.createdAt.toISOString(), endsAt: row.endsAt.toISOString() },
  };
}
