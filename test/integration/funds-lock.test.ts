import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { readPartnerFunds } from "../../src/ledger/accounts.ts";
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
    expect(free.rows.map(({ kind }) => kind).sort()).toEqual(["adjustment", "cash", "reserved", "revenue"]);
  });
});
