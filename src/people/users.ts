import { type ExpressionBuilder, sql } from "kysely";
import { z } from "zod";
import type { Database } from "../db/database.ts";
import type { Tables } from "../db/tables.ts";
import { instantSchema } from "../http/api.ts";
import { cutPage, type PageOf, pageRows } from "../http/page.ts";
import { type Role, roles } from "./permissions.ts";

export const userStates = ["invited", "active", "disabled"] as const;
export type UserState = (typeof userStates)[number];

/** What is told of every user, of staff and of partners. */
export const personAnswer = {
  id: z.uuid(),
  email: z.string(),
  name: z.string(),
  phone: z.string().nullable(),
  state: z.enum(userStates).meta({ description: "invited: has no password yet" }),
  hasTotp: z.boolean().meta({ description: "signs in with a code of an authenticator app too" }),
  invitedUntil: instantSchema.nullable().meta({ description: "how long the invitation that was mailed is good" }),
  lastSeenAt: instantSchema.nullable(),
  createdAt: instantSchema,
};

export const userAnswer = z.object({ ...personAnswer, role: z.enum(roles) }).meta({ id: "User" });

export interface PersonRow {
  readonly id: string;
  readonly email: string;
  readonly name: string;
  readonly phone: string | null;
  readonly passwordHash: string | null;
  readonly totpConfirmedAt: Date | null;
  readonly disabledAt: Date | null;
  readonly createdAt: Date;
  readonly invitedUntil: Date | null;
  readonly lastSeenAt: Date | null;
}

/** What `presentPerson` is made of. */
export function personColumns(is: ExpressionBuilder<Tables, "users">) {
  return [
    "users.id",
    "users.email",
    "users.name",
    "users.phone",
    "users.passwordHash",
    "users.totpConfirmedAt",
    "users.disabledAt",
    "users.createdAt",
    is
      .selectFrom("userTokens as t")
      .select("t.expiresAt")
      .whereRef("t.userId", "=", "users.id")
      .where("t.purpose", "=", "invitation")
      .where("t.usedAt", "is", null)
      .orderBy("t.id", "desc")
      .limit(1)
      .as("invitedUntil"),
    is
      .selectFrom("sessions as s")
      .select(sql<Date | null>`max(s.last_seen_at)`.as("lastSeenAt"))
      .whereRef("s.userId", "=", "users.id")
      .as("lastSeenAt"),
  ] as const;
}

export function stateOf(row: Pick<PersonRow, "passwordHash" | "disabledAt">): UserState {
  if (row.disabledAt !== null) return "disabled";
  return row.passwordHash === null ? "invited" : "active";
}

export function presentPerson(row: PersonRow) {
  return {
    id: row.id,
    email: row.email,
    name: row.name,
    phone: row.phone,
    state: stateOf(row),
    hasTotp: row.totpConfirmedAt !== null,
    invitedUntil: row.invitedUntil?.toISOString() ?? null,
    lastSeenAt: row.lastSeenAt?.toISOString() ?? null,
    createdAt: row.createdAt.toISOString(),
  };
}

/** A page of the organisation's own users, newest first. */
export async function listUsers(
  transaction: Database,
  { role, ...page }: PageOf & { readonly role?: Role | undefined },
) {
  let query = transaction
    .selectFrom("users")
    .select(personColumns)
    .select("users.role")
    .where("users.partnerId", "is", null);
  if (role !== undefined) query = query.where("users.role", "=", role);
  const { rows, nextCursor } = cutPage(await pageRows(query, page).execute(), page);
  return { data: rows.map(presentUser), nextCursor };
}

/** One of the organisation's own users; null where there is none of this id. */
export async function readUser(transaction: Database, id: string): Promise<z.infer<typeof userAnswer> | null> {
  const row = await transaction
    .selectFrom("users")
    .select(personColumns)
    .select("users.role")
    .where("users.partnerId", "is", null)
    .where("users.id", "=", id)
    .executeTakeFirst();
  return row === undefined ? null : presentUser(row);
}

function presentUser({ role, ...row }: PersonRow & { readonly role: Role | null }): z.infer<typeof userAnswer> {
  if (role === null) throw new Error("One of a partner's users was read as one of staff.");
  return { ...presentPerson(row), role };
}
