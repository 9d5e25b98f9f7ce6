import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { createPool, type Database, inOrganisation, openDatabase } from "../../src/db/database.ts";
import { createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";

/** What the application's role may do in PostgreSQL, and that there is no way round it for one who has no other. */

let server: TestApi;
let client: TestClient;

beforeAll(async () => {
  server = await createTestApi();
  client = await server.createClient();
});
afterAll(async () => server.close());

describe("functions", () => {
  interface DatabaseFunction {
    readonly name: string;
    readonly isDefiner: boolean;
    readonly isTrigger: boolean;
    readonly settings: readonly string[] | null;
    readonly byAnybody: boolean;
    readonly byApplication: boolean;
    readonly ownsTables: boolean;
  }
  let functions: readonly DatabaseFunction[];

  beforeAll(async () => {
    const { rows } = await sql<DatabaseFunction>`
      select p.proname as name, p.prosecdef as is_definer, p.prorettype = 'trigger'::regtype as is_trigger,
        p.proconfig as settings, has_function_privilege('public', p.oid, 'execute') as by_anybody,
        has_function_privilege('handoff_app', p.oid, 'execute') as by_application,
        pg_get_userbyid(p.proowner) = pg_get_userbyid(c.relowner) as owns_tables
      from pg_proc p, pg_class c
      where p.pronamespace = 'public'::regnamespace and c.oid = 'organisations'::regclass order by 1
    `.execute(server.owner);
    functions = rows;
    expect(rows.length).toBeGreaterThan(15);
  });

  test("that run with the rights of the tables' owner look things up in our schema only", () => {
    const definers = functions.filter(({ isDefiner }) => isDefiner);
    expect(definers.length).toBeGreaterThan(8);
    for (const { name, settings, ownsTables } of definers) {
      expect({ name, settings, ownsTables }).toEqual({
        name,
        settings: ["search_path=public, pg_temp"],
        ownsTables: true,
      });
    }
  });

  test("are called by nobody but the application, and those of triggers by nobody at all", () => {
    expect(functions.filter(({ byAnybody }) => byAnybody).map(({ name }) => name)).toEqual([]);
    const called = functions.filter(({ isTrigger, byApplication }) => isTrigger && byApplication);
    expect(called.map(({ name }) => name)).toEqual([]);
  });
});

describe("tables", () => {
  test("are the application's to read and write, never to own, alter, empty or watch", async () => {
    const { rows } = await sql<{ name: string; privilege: string }>`
      select c.relname as name, p.privilege from pg_class c
      cross join (values ('truncate'), ('references'), ('trigger')) p (privilege)
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
        and has_table_privilege('handoff_app', c.oid, p.privilege)
    `.execute(server.owner);
    expect(rows).toEqual([]);
    const owned = await sql`select relname from pg_class where relowner = 'handoff_app'::regrole`.execute(server.owner);
    expect(owned.rows).toEqual([]);
  });

  test("let nobody in but by policies that name the application's organisation alone, and no view that goes round them", async () => {
    const { rows } = await sql<{ name: string; using: string | null; check: string | null }>`
      select p.tablename as name, p.qual as using, p.with_check as check from pg_policies p
      where p.schemaname = 'public' and p.permissive = 'PERMISSIVE'
    `.execute(server.owner);
    const open = rows.filter(
      ({ using, check }) => using !== "false" && !/current_organisation\(\)/.test(`${using ?? ""}${check ?? ""}`),
    );
    expect(open).toEqual([]);
    const views = await sql`
      select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('v', 'm')
    `.execute(server.owner);
    expect(views.rows).toEqual([]);
  });
});

describe("one who has that role and no other", () => {
  const login = `app_${randomBytes(6).toString("hex")}`;
  let alone: Database;

  /** Connects as a user of its own: in an installation the session belongs to the owner, and takes the role on. */
  beforeAll(async () => {
    await sql.raw(`create role ${login} login noinherit password 'x' in role handoff_app`).execute(server.owner);
    const url = new URL(server.databaseUrl);
    url.username = login;
    url.password = "x";
    alone = openDatabase(createPool(url.href, "application", 1));
  });
  afterAll(async () => {
    await alone.destroy();
    await sql.raw(`drop role ${login}`).execute(server.owner);
  });

  const attempt = async (...statements: readonly string[]) =>
    inOrganisation(alone, client.organisationId, async (transaction) => {
      for (const statement of statements) await sql.raw(statement).execute(transaction);
      return sql`select id from organisations`.execute(transaction);
    });

  test("sees its own organisation", async () => {
    expect((await attempt()).rows).toEqual([{ id: client.organisationId }]);
    expect((await attempt("reset role")).rows).toEqual([{ id: client.organisationId }]);
  });

  test("becomes nobody else", async () => {
    const { rows } = await sql<{ owner: string }>`select current_user as owner`.execute(server.owner);
    const owner = rows[0]?.owner ?? "";
    await expect(attempt(`set local role "${owner}"`)).rejects.toThrow(/permission denied to set role/);
    await expect(attempt(`set local session authorization "${owner}"`)).rejects.toThrow(/permission denied/);
    // Without the role nothing is left.
    await expect(attempt("set local role none")).rejects.toThrow(/permission denied for table organisations/);
    await expect(attempt(`grant "${owner}" to ${login}`)).rejects.toThrow(/permission denied|must be/i);
  });

  test.each([
    ["set local row_security = off", /would be affected by row-level security/],
    ["set local session_replication_role = replica", /permission denied/],
    ["alter role handoff_app bypassrls", /permission denied|must be/i],
    ["alter table organisations no force row level security", /must be owner/],
    ["alter table connections disable trigger connections_guarded", /must be owner/],
    ["create function public.peek() returns int language sql as 'select 1'", /permission denied for schema public/],
    ["create policy all_of_it on leads using (true)", /must be owner/],
  ])("gets nowhere with: %s", async (statement, pattern) => {
    await expect(attempt(statement)).rejects.toThrow(pattern);
  });

  test("does not slip a table of its own under a function's feet", async () => {
    const rows = await inOrganisation(alone, client.organisationId, async (transaction) => {
      await sql`create temporary table organisations (id uuid, portal_code text) on commit drop`.execute(transaction);
      await sql`insert into pg_temp.organisations values (${client.organisationId}, 'mine')`.execute(transaction);
      return (await sql`select * from find_portal('mine')`.execute(transaction)).rows;
    });
    expect(rows).toEqual([]);
  });
});
