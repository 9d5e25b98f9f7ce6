import { expect } from "@jest/globals";
import { createPool, openDatabase } from "../../src/db/database.ts";
import { verifyLedger } from "../../src/ledger/verify-ledger.ts";

/** What must hold of every ledger at every time: all that `handoff ledger verify` proves. */
export async function expectSoundLedger({ databaseUrl }: { readonly databaseUrl: string }): Promise<void> {
  const owner = openDatabase(createPool(databaseUrl, "owner", 1));
  try {
    const rules = await verifyLedger(owner, null);
    expect(rules.flatMap(({ examples }) => examples)).toEqual([]);
  } finally {
    await owner.destroy();
  }
}
