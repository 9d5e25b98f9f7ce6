import { randomBytes } from "node:crypto";
import type { Context } from "../context.ts";
import { equalDigests } from "../encrypt.ts";

export const deviceCookie = "__Host-handoff-device";

/** A browser keeps it for two years from the last time that somebody signed in with it. */
export const deviceCookieSeconds = 2 * 365 * 86_400;

/**
 * What a browser keeps that signed in as this user: it has tries of its own from then on, so that strangers who guess at the
 * account cannot keep its owner out. It opens nothing, and needs no storing: nobody else can make the hash.
 */
export function makeDevice(context: Context, userId: string): string {
  const name = randomBytes(16).toString("base64url");
  return `${name}.${hashOf(context, userId, name)}`;
}

/** The name of a browser that signed in as this user before; null for one that we do not know as that. */
export function readDevice(context: Context, userId: string, cookie: string | null): string | null {
  const [, name = "", hash = ""] = /^([\w-]{22})\.([\w-]{22})$/.exec(cookie ?? "") ?? [];
  // As text: base64 has several spellings of the same bytes.
  return equalDigests(Buffer.from(hashOf(context, userId, name)), Buffer.from(hash)) ? name : null;
}

function hashOf({ vault }: Context, userId: string, name: string): string {
  return vault.fingerprint(`device of user ${userId} ${name}`).toString("base64url");
}
