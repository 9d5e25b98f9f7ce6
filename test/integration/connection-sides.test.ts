import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { createPool, type Database, inOrganisation, openDatabase } from "../../src/db/database.ts";
import { newId } from "../../src/db/id.ts";
import { createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addStage, approve, ask } from "../helpers/connections.ts";

/**
 * The one table whose rows two organisations see. What the code above it forgets, the database itself refuses: each side
 * writes its own part of a connection and nothing else. In SQL, as the application's role.
 */

let server: TestApi;
let application: Database;
let sender: TestClient;
let receiver: TestClient;
let third: TestClient;
let senderStage: string;
let stageId: string;

beforeAll(async () => {
  server = await createTestApi();
  application = openDatabase(createPool(server.databaseUrl, "application", 2));
  sender = await server.createClient("Sender");
  receiver = await server.createClient("Receiver");
  third = await server.createClient("Third");
  senderStage = await addStage(server, sender);
  stageId = await addStage(server, receiver);
});
afterAll(async () => {
  await application.destroy();
  await server.close();
});

let id: string;
beforeEach(async () => {
  await sql`alter table connections disable trigger connections_guarded`.execute(server.owner);
  await sql`update connections set state = 'ended', ended_at = now(), ended_by = 'test', ended_side = 'from'
    where state in ('pending', 'active')`.execute(server.owner);
  await sql`alter table connections enable trigger connections_guarded`.execute(server.owner);
  id = await ask(sender, receiver, ["notes"]);
});

const as = async (client: TestClient, statement: string) =>
  inOrganisation(application, client.organisationId, async (transaction) => sql.raw(statement).execute(transaction));
const change = async (client: TestClient, set: string) =>
  as(client, `update connections set ${set} where id = '${id}' returning id`);
const refused = async (client: TestClient, set: string, pattern = /may not change|violates check constraint/) =>
  expect(change(client, set)).rejects.toThrow(pattern);
const rowsOf = async (client: TestClient) => (await as(client, `select * from connections where id = '${id}'`)).rows;
const approval = () => `state = 'active', decided_at = now(), decided_by = 'x', stage_id = '${stageId}'`;
const end = (side: string) => `state = 'ended', ended_at = now(), ended_by = 'x', ended_side = '${side}'`;
const askAnew = "state = 'pending', version = version + 1, decided_at = null, decided_by = null";

describe("a connection", () => {
  test("is seen by its two sides and by nobody else", async () => {
    expect(await rowsOf(sender)).toHaveLength(1);
    expect(await rowsOf(receiver)).toHaveLength(1);
    expect(await rowsOf(third)).toEqual([]);
    expect((await sql`select id from connections`.execute(application)).rows).toEqual([]);
  });

  test("cannot be written by a third, nor locked", async () => {
    for (const set of [approval(), end("from"), end("to"), "permissions = '{contact}'"]) {
      expect((await change(third, set)).rows).toEqual([]);
    }
    expect((await as(third, `select id from connections where id = '${id}' for share`)).rows).toEqual([]);
  });

  test("cannot be deleted by either side", async () => {
    for (const client of [sender, receiver]) {
      await expect(as(client, "delete from connections")).rejects.toThrow(/permission denied/);
    }
  });

  test.each([
    ["from_organisation_id", `'${newId()}'`],
    ["to_organisation_id", `'${newId()}'`],
    ["from_name", "'Trusted Bank'"],
    ["to_name", "'Trusted Bank'"],
    ["created_at", "now()"],
    ["created_by", "'somebody else'"],
    ["id", `'${newId()}'`],
  ])("keeps its %s whoever writes", async (column, value) => {
    for (const client of [sender, receiver]) await refused(client, `${column} = ${value}`, /permission denied/);
  });
});

describe("the sender", () => {
  const insert = async (columns: string, values: string, client = sender) =>
    as(
      client,
      `insert into connections (id, from_organisation_id, to_organisation_id, permissions, created_at, created_by, requested_at, requested_by${columns})
       values ('${newId()}', '${sender.organisationId}', '${third.organisationId}', '{contact}', now(), 'x', now(), 'x'${values})`,
    );

  test("asks in its own name only, under the names that the two have", async () => {
    await expect(insert("", "", receiver)).rejects.toThrow(/row-level security/);
    await expect(insert(", from_name", ", 'Trusted Bank'")).rejects.toThrow(/permission denied/);
    await insert("", "");
    const { rows } = await as(third, "select from_name, to_name, state, version from connections");
    expect(rows).toEqual([{ fromName: "Sender", toName: "Third", state: "pending", version: 1 }]);
  });

  test.each([
    [", state", ", 'active'"],
    [", stage_id", `, '${newId()}'`],
    [", decided_at, decided_by", ", now(), 'x'"],
    [", reports_status", ", true"],
    [", version", ", 7"],
  ])("cannot ask with%s given", async (columns, values) => {
    await expect(insert(columns, values)).rejects.toThrow(/permission denied/);
  });

  test("cannot approve or reject, nor pretend that it was approved", async () => {
    await refused(sender, approval());
    await refused(sender, `state = 'active', decided_at = now(), decided_by = 'x', stage_id = '${senderStage}'`);
    await refused(sender, "state = 'rejected', decided_at = now(), decided_by = 'x'");
    await refused(sender, "decided_at = now(), decided_by = 'x'");
  });

  test("widens its permissions only by asking again, however it goes about it", async () => {
    await approve(receiver, id, stageId);
    await refused(sender, "permissions = '{contact,notes,policy}'");
    await refused(sender, "permissions = '{contact,notes,policy}', version = version + 1");
    await refused(sender, "permissions = '{contact,policy}', state = 'pending', decided_at = null, decided_by = null");
    await refused(sender, `permissions = '{contact,policy}', ${askAnew.replace("version + 1", "version")}`);
    await refused(sender, `permissions = '{policy}', ${askAnew}`);
    expect((await change(sender, `permissions = '{contact,policy}', ${askAnew}`)).rows).toHaveLength(1);
    await refused(sender, approval());
    expect(await rowsOf(receiver)).toMatchObject([
      { state: "pending", permissions: ["contact", "policy"], version: 2 },
    ]);
  });

  test("touches neither the receiver's stage nor what it reports, not even on the way", async () => {
    await approve(receiver, id, stageId);
    await refused(sender, `stage_id = '${senderStage}'`);
    await refused(sender, "reports_status = true");
    await refused(sender, `${askAnew}, stage_id = '${senderStage}'`);
    await refused(sender, `${end("from")}, stage_id = null`);
  });

  test("ends it in its own name, and what is ended stays so", async () => {
    await refused(sender, end("to"));
    await refused(sender, `${end("from")}, permissions = '{contact}'`);
    await change(sender, end("from"));
    for (const set of ["state = 'pending', ended_at = null, ended_by = null, ended_side = null", "ended_by = 'y'"]) {
      await refused(sender, set);
      await refused(receiver, set);
    }
    await refused(receiver, approval());
  });
});

describe("the receiver", () => {
  test("cannot widen, narrow or renumber what was asked for, with the approval or after it", async () => {
    await refused(receiver, "permissions = '{contact,notes,policy}'");
    await refused(receiver, `${approval()}, permissions = '{contact,notes,policy}'`);
    await refused(receiver, `${approval()}, version = 9`);
    await refused(receiver, `${approval()}, requested_by = 'y'`);
    await approve(receiver, id, stageId);
    await refused(receiver, "permissions = '{contact,notes,policy}'");
    await refused(receiver, `permissions = '{contact,policy}', ${askAnew}`);
    await refused(receiver, `state = 'pending', decided_at = null, decided_by = null`);
  });

  test("cannot ask in the sender's place", async () => {
    await approve(receiver, id, stageId);
    await refused(receiver, askAnew);
    await expect(
      as(
        receiver,
        `insert into connections (id, from_organisation_id, to_organisation_id, permissions, created_at, created_by, requested_at, requested_by)
         values ('${newId()}', '${third.organisationId}', '${receiver.organisationId}', '{contact}', now(), 'x', now(), 'x')`,
      ),
    ).rejects.toThrow(/row-level security/);
  });

  test("approves into a stage of its own, and moves to one of its own", async () => {
    await refused(receiver, approval().replace(stageId, senderStage));
    await refused(receiver, approval().replace(stageId, newId()));
    await refused(receiver, "state = 'active', decided_at = now(), decided_by = 'x'");
    expect((await change(receiver, approval())).rows).toHaveLength(1);
    await refused(receiver, `stage_id = '${senderStage}'`);
    expect((await change(receiver, "reports_status = true")).rows).toHaveLength(1);
  });

  test("ends in its own name what is active, and nothing else", async () => {
    await refused(receiver, end("to"));
    await approve(receiver, id, stageId);
    await refused(receiver, end("from"));
    expect((await change(receiver, end("to"))).rows).toHaveLength(1);
  });

  test("cannot bring back what it rejected", async () => {
    await change(receiver, "state = 'rejected', decided_at = now(), decided_by = 'x'");
    await refused(receiver, approval());
    await refused(receiver, "state = 'pending', decided_at = null, decided_by = null");
    await refused(sender, askAnew);
  });
});

describe("outside of both", () => {
  test("nobody changes a connection without an organisation, not even with all rights", async () => {
    await expect(
      sql`update connections set state = 'rejected', decided_at = now(), decided_by = 'x' where id = ${id}`.execute(
        server.owner,
      ),
    ).rejects.toThrow(/may not change/);
  });

  test("the names are those of the organisations, whoever renames itself", async () => {
    await as(receiver, "update organisations set name = 'Receiver & Sons'");
    expect(await rowsOf(sender)).toMatchObject([{ toName: "Receiver & Sons", fromName: "Sender" }]);
    await as(receiver, "update organisations set name = 'Receiver'");
  });

  test("the code of a portal gives an id to who has it, and nothing to who has not", async () => {
    const { rows } = await sql<{ portalCode: string }>`
      select portal_code from organisations where id = ${receiver.organisationId}`.execute(server.owner);
    const find = async (code: string) => (await sql`select * from find_portal(${code})`.execute(application)).rows;
    expect(await find(rows[0]?.portalCode ?? "")).toEqual([{ organisationId: receiver.organisationId }]);
    for (const code of ["", "%", "receiver", "receiver-%", "receiver-aaaaaa"]) expect(await find(code)).toEqual([]);
  });
});
