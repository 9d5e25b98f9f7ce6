import type { NewAlert } from "../alerts/insert-alerts.ts";
import type { Vault } from "../encrypt.ts";
import type { NewUserToken, TokenPurpose } from "./user-tokens.ts";

/** The mail that brings a user the link to set a password. The token stands in it encrypted, until it was sent. */
export function tokenAlert(
  vault: Vault,
  user: { readonly email: string; readonly name: string; readonly partnerId: string | null },
  purpose: TokenPurpose,
  { id, token, expiresAt }: NewUserToken,
): NewAlert {
  return {
    key: `${purpose.replaceAll("_", "-")}-${id}`,
    kind: purpose,
    channel: "email",
    recipient: user.email,
    partnerId: user.partnerId,
    leadId: null,
    deliveryId: null,
    detail: { name: user.name, email: user.email, until: expiresAt.toISOString(), token: vault.encrypt(token) },
  };
}
