import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { readPartnerFunds } from "../../src/ledger/accounts.ts";
import { introducerAccountKinds, partnerAccountKinds } from "../../src/ledger/book.ts";
import { type Installation, openInstallation } from "../helpers/installation.ts";

let installation: Installation;
beforeAll(async () => {
  installation = await openInstallation();
});
afterAll(async () => installation.close());

test("while one decides on a partner's funds nobody else takes from them, and sales are posted all the same", async () => {
  const partnerId = await installation.addPartner({ name: "Acme" });
  await installation.inOrganisation(async (deciding) => {
    await readPartnerFunds(deciding, [partnerId], "lock");
    const free = await installation.inOrganisation(async (other) =>
      sql<{ kind: string }>`
        select kind from accounts where partner_id = ${partnerId} for no key update skip locked`.execute(other),
    );
    const all: readonly string[] = [...partnerAccountKinds, ...introducerAccountKinds];
    expect(free.rows.map(({ kind }) => kind).sort()).toEqual(all.filter((kind) => kind !== "funds").sort());
  });
});
