import type { Context } from "../context.ts";
import { equalDigests } from "../encrypt.ts";

/** Where PayPal sends its webhooks for this account. */
export function webhookUrlOf(context: Context, accountId: string): string {
  return `${baseOf(context)}/v1/paypal-webhooks/${accountId}`;
}

/**
 * Where PayPal sends the payer back. The address holds the payment's id, and a keyed hash of it that nobody can guess. So it
 * needs no storing, and an order that is made twice is the same.
 */
export function returnUrlOf(context: Context, topUpId: string): string {
  return `${baseOf(context)}/v1/top-ups/return/${topUpId}.${hashOf(context, topUpId).toString("base64url")}`;
}

/** The payment that a token is for; null for a token that we did not make. */
export function readReturnToken(context: Context, token: string): string | null {
  const [, id = "", hash = ""] = /^([0-9a-f-]{36})\.([\w-]{22})$/.exec(token) ?? [];
  if (id === "") return null;
  // As text: base64 has several spellings of the same bytes.
  const expected = hashOf(context, id).toString("base64url");
  return equalDigests(Buffer.from(expected), Buffer.from(hash)) ? id : null;
}

function hashOf({ vault }: Context, topUpId: string): Buffer {
  return vault.fingerprint(`return of top-up ${topUpId}`);
}

function baseOf({ config }: Context): string {
  return config.publicUrl.replace(/\/+$/, "");
}
