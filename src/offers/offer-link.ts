import type { Context } from "../context.ts";
import { equalDigests } from "../encrypt.ts";

/**
 * Where a partner looks at a lead that is offered to it, and answers. The address holds the delivery's id, and a keyed hash
 * of it that nobody can guess. So it needs no storing: what it is good for is decided by the state of the delivery alone.
 */
export function offerUrlOf(context: Context, deliveryId: string): string {
  const base = context.config.publicUrl.replace(/\/+$/, "");
  return `${base}/offers/${deliveryId}.${hashOf(context, deliveryId).toString("base64url")}`;
}

/** The delivery that a token is for; null for a token that we did not make. */
export function readOfferToken(context: Context, token: string): string | null {
  const [, id = "", hash = ""] = /^([0-9a-f-]{36})\.([\w-]{22})$/.exec(token) ?? [];
  if (id === "") return null;
  // As text: base64 has several spellings of the same bytes.
  const expected = hashOf(context, id).toString("base64url");
  return equalDigests(Buffer.from(expected), Buffer.from(hash)) ? id : null;
}

function hashOf({ vault }: Context, deliveryId: string): Buffer {
  return vault.fingerprint(`answer to offer ${deliveryId}`);
}
