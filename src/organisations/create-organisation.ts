import { randomInt } from "node:crypto";
import type { Database } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { organisationRow } from "./change-organisation.ts";
import { type NewOrganisation, organisationSchema } from "./organisation.ts";
import { recordChange } from "./record-change.ts";

/** What it pays for alerts, and what it owes for them. */
const organisationAccounts = ["sms_usage", "sms_payable"] as const;

/**
 * Makes an organisation with its accounts, in one transaction. Takes the database of role "owner": the application itself
 * makes no organisations. Gives its id; an API key is made with `createApiKey`.
 */
export async function createOrganisation(
  ownerDatabase: Database,
  given: NewOrganisation,
  by: string,
  at: Date,
): Promise<{ readonly id: string; readonly portalCode: string }> {
  const document = organisationSchema.parse(given);
  const id = newId();
  const portalCode = makePortalCode(document.name);
  await ownerDatabase.transaction().execute(async (transaction) => {
    await transaction
      .insertInto("organisations")
      .values({ id, portalCode, ...organisationRow(document), createdAt: at })
      .execute();
    await transaction
      .insertInto("accounts")
      .values(
        organisationAccounts.map((kind) => ({
          id: newId(),
          organisationId: id,
          kind,
          partnerId: null,
          currency: document.currency,
        })),
      )
      .execute();
    const change = { organisationId: id, by, at };
    await recordChange(transaction, change, { kind: "organisation", id }, null, document);
  });
  return { id, portalCode };
}

/** Letters and digits that nobody mistakes for one another. */
const codeLetters = "abcdefghjkmnpqrstuvwxyz23456789";

/** `acme-leads-7kq2m9`: says whose it is, and is nobody else's. */
function makePortalCode(name: string): string {
  const words = name
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 30);
  const tail = Array.from({ length: 6 }, () => codeLetters[randomInt(codeLetters.length)]).join("");
  return words === "" ? tail : `${words}-${tail}`;
}
