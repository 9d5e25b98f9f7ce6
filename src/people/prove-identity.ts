import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { checkCode } from "./check-code.ts";
import { isPassword } from "./passwords.ts";
import { beginTry, forgetTries } from "./sign-in-tries.ts";

/** Who is signed in, as routes know them. */
export interface SignedIn {
  readonly organisationId: string;
  readonly userId: string;
  readonly sessionId: string;
  /** As it stands in the record of changes. */
  readonly actor: string;
}

export type Proof =
  | { readonly kind: "proven"; readonly user: ProvenUser }
  | { readonly kind: "not_proven" }
  | { readonly kind: "wait"; readonly seconds: number };

export interface ProvenUser {
  readonly email: string;
  readonly name: string;
  readonly totpSecret: string | null;
  readonly totpConfirmedAt: Date | null;
}

/**
 * Has who is signed in give the password once more, and a code where the account has that, before something is done that
 * would keep its owner out if somebody else sat there. Tries are counted as those to sign in are. With `isCodeNeeded` false
 * the password is enough.
 */
export async function proveIdentity(
  context: Context,
  { organisationId, userId }: SignedIn,
  given: { readonly password: string; readonly code: string | null },
  isCodeNeeded: boolean,
): Promise<Proof> {
  const tried = `proof of user ${userId}`;
  const begun = await beginTry(context, tried);
  if (begun.kind === "wait") return begun;
  const user = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("users")
      .select(["email", "name", "passwordHash", "totpSecret", "totpConfirmedAt"])
      .where("id", "=", userId)
      .where("disabledAt", "is", null)
      .executeTakeFirst(),
  );
  const isRight = await isPassword(given.password, user?.passwordHash ?? null);
  if (user === undefined || !isRight) return { kind: "not_proven" };
  if (isCodeNeeded && user.totpConfirmedAt !== null) {
    const isCode = await inOrganisation(context.database, organisationId, async (transaction) =>
      checkCode(context, transaction, userId, user.totpSecret, given.code),
    );
    if (!isCode) return { kind: "not_proven" };
  }
  await forgetTries(context, tried);
  return { kind: "proven", user };
}
