import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { checkSecret, closeContext, openContext } from "../../src/context.ts";
import { createPool } from "../../src/db/database.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { readTestConfig } from "../helpers/installation.ts";

describe("an installation", () => {
  let testDatabase: TestDatabase;
  beforeAll(async () => {
    testDatabase = await createTestDatabase();
  });
  afterAll(async () => testDatabase.drop());

  async function startWith(secret: string): Promise<void> {
    const { databaseUrl } = testDatabase;
    const context = openContext({ config: readTestConfig({}), databaseUrl, secret });
    try {
      await checkSecret(context);
    } finally {
      await closeContext(context);
    }
  }

  test("does not start with another secret than its data was encrypted with", async () => {
    await startWith("the secret of this installation, of 32 characters");
    await startWith("the secret of this installation, of 32 characters");
    await expect(startWith("another secret, of 32 characters or even more")).rejects.toThrow(/HANDOFF_SECRET/);
  });

  test("uses no connection that did not take on the application's role", async () => {
    const pool = createPool(`${testDatabase.databaseUrl}?options=-c%20work_mem%3D8MB`, "application", 1);
    await expect(pool.query("select 1")).rejects.toThrow(/handoff_app/);
    await pool.end();
  });
});
