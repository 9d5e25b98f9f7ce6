import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { createPool, type Database, inOrganisation, openDatabase } from "../../src/db/database.ts";
import { newId } from "../../src/db/id.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { addOrganisation } from "../helpers/installation.ts";

/** What a transaction promises although its statements share round trips. */

let testDatabase: TestDatabase;
let database: Database;
let organisationId: string;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  organisationId = await addOrganisation(testDatabase, "Seller");
  database = openDatabase(createPool(testDatabase.databaseUrl, "application", 1));
});
afterAll(async () => {
  await database.destroy();
  await testDatabase.drop();
});

const note = (transaction: Database, kind: string) =>
  transaction
    .insertInto("changes")
    .values({
      id: newId(),
      organisationId,
      changedAt: new Date(),
      changedBy: "test",
      objectKind: kind,
      objectId: organisationId,
      before: null,
      after: null,
    })
    .execute();

const isNoted = async (kind: string): Promise<boolean> =>
  inOrganisation(database, organisationId, async (transaction) => {
    const row = await transaction.selectFrom("changes").select("id").where("objectKind", "=", kind).executeTakeFirst();
    return row !== undefined;
  });

const fail = (transaction: Database) => sql`select 1 / 0`.execute(transaction);

describe("a transaction", () => {
  test("runs statements that are started together in their order, with `begin` and `commit` around them", async () => {
    const ids = await inOrganisation(database, organisationId, async (transaction, last) => {
      const read = () => sql<{ id: string }>`select txid_current()::text as id`.execute(transaction);
      const all = await Promise.all([read(), note(transaction, "together"), read(), last(read)]);
      return [all[0], all[2], all[3]].map(({ rows }) => rows[0]?.id);
    });
    expect(new Set(ids).size).toBe(1);
    expect(await isNoted("together")).toBe(true);
  });

  test("whose last statement fails leaves nothing behind, and gives that statement's error", async () => {
    const work = inOrganisation(database, organisationId, async (transaction, last) => {
      await note(transaction, "last fails");
      await last(async () => fail(transaction));
    });
    await expect(work).rejects.toThrow("division by zero");
    expect(await isNoted("last fails")).toBe(false);
  });

  test("of whose statements started together one fails leaves nothing behind", async () => {
    const work = inOrganisation(database, organisationId, async (transaction, last) =>
      Promise.all([
        note(transaction, "one fails"),
        fail(transaction),
        last(async () => note(transaction, "one fails")),
      ]),
    );
    await expect(work).rejects.toThrow("division by zero");
    expect(await isNoted("one fails")).toBe(false);
  });

  test("in which a failure went unheard is not taken for committed", async () => {
    const work = inOrganisation(database, organisationId, async (transaction) => {
      await note(transaction, "unheard");
      await fail(transaction).catch(() => undefined);
    });
    await expect(work).rejects.toThrow("rolled back");
    expect(await isNoted("unheard")).toBe(false);
  });

  test("refuses a statement after its last one", async () => {
    const work = inOrganisation(database, organisationId, async (transaction, last) => {
      await last(async () => note(transaction, "the last"));
      await note(transaction, "too late");
    });
    await expect(work).rejects.toThrow("after the end of its transaction");
    expect(await isNoted("too late")).toBe(false);
  });

  test("refuses as its last one what is more than a statement, or not started at once", async () => {
    const late = inOrganisation(database, organisationId, async (transaction, last) =>
      last(async () => {
        await Promise.resolve();
        await note(transaction, "not at once");
      }),
    );
    await expect(late).rejects.toThrow("one statement, started at once");
    expect(await isNoted("not at once")).toBe(false);
    const two = inOrganisation(database, organisationId, async (transaction, last) =>
      last(async () => Promise.all([note(transaction, "two"), note(transaction, "two")])),
    );
    await expect(two).rejects.toThrow("one statement, started at once");
    expect(await isNoted("two")).toBe(false);
  });
});

test("a statement that comes again is prepared, one that comes once is not", async () => {
  const often = (place: number) => sql<{ place: number }>`select ${place}::integer as place, 'often' as word`;
  for (let place = 0; place < 5; place += 1) {
    expect((await often(place).execute(database)).rows[0]?.place).toBe(place);
  }
  await sql`select ${1}::integer as place, 'once' as word`.execute(database);
  const { rows } = await sql<{ statement: string }>`select statement from pg_prepared_statements`.execute(database);
  const prepared = rows.map(({ statement }) => statement);
  expect(prepared.filter((statement) => statement.includes("'often'"))).toHaveLength(1);
  expect(prepared.filter((statement) => statement.includes("'once'"))).toEqual([]);
});
