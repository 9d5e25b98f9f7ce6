import type { TokenPurpose } from "./user-tokens.ts";

const paths: Readonly<Record<TokenPurpose, string>> = { invitation: "/invitation", password_reset: "/reset" };

/** The address of the page where who has this token sets their password. */
export function linkOf(publicUrl: string, purpose: TokenPurpose, token: string): string {
  return `${publicUrl.replace(/\/+$/, "")}${paths[purpose]}/${token}`;
}
