import { sql } from "kysely";
import type { Context } from "../context.ts";

/** A try that may be looked at, or how long to wait before the next one. */
export type BegunTry = { readonly kind: "may" } | { readonly kind: "wait"; readonly seconds: number };

/**
 * Counts a try before it is looked at. `what` is what is tried, in words; kept is only its fingerprint, so that a try at an
 * account that does not exist is one like any other.
 */
export async function beginTry(context: Context, what: string): Promise<BegunTry> {
  const now = context.clock();
  const { rows } = await sql<{ waitUntil: Date }>`
    select * from begin_sign_in_try(${context.vault.fingerprint(what)}, ${now}::timestamptz)
  `.execute(context.database);
  const [row] = rows;
  if (row === undefined) return { kind: "may" };
  return { kind: "wait", seconds: Math.max(1, Math.ceil((row.waitUntil.getTime() - now.getTime()) / 1000)) };
}

/** Forgets the tries at what turned out right. */
export async function forgetTries(context: Context, what: string): Promise<void> {
  await sql`select end_sign_in_try(${context.vault.fingerprint(what)}, true)`.execute(context.database);
}

/** Takes back a try that was neither right nor wrong, such as one without the code that is needed too. */
export async function takeBackTry(context: Context, what: string): Promise<void> {
  await sql`select end_sign_in_try(${context.vault.fingerprint(what)}, false)`.execute(context.database);
}

/** What is tried by who signs in with an email, at one organisation or wherever it is known. */
export function accountTried(email: string, portalCode: string | null): string {
  return `sign-in ${portalCode ?? ""} ${email.toLowerCase()}`;
}
