import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { createPool, type Database, inOrganisation, openDatabase } from "../../src/db/database.ts";
import { newId } from "../../src/db/id.ts";
import { claimReferrals } from "../../src/referrals/claim-referrals.ts";
import { sendDueStatuses } from "../../src/referrals/send-due-statuses.ts";
import { sendOverConnection } from "../../src/referrals/send-over-connection.ts";
import { sendDueReferrals } from "../../src/referrals/send-referrals.ts";
import { call, createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign, contactFields } from "../helpers/api-documents.ts";
import { addStage, approve, ask } from "../helpers/connections.ts";

/** Clients referred over a connection: exactly what is permitted, once, and only while it is active. Nothing is fake but the clock. */

let server: TestApi;
let application: Database;
let sender: TestClient;
let receiver: TestClient;
let stageId: string;
let intakeKey: string;
let now: Date;

const fields = [
  ...contactFields,
  { key: "policy_no", label: "Policy number", type: "text", group: "policy" },
  { key: "premium", label: "Premium paid", type: "money", currency: "GBP", group: "policy" },
  { key: "income", label: "Secret income label", type: "text", group: "finances" },
  { key: "comments", label: "Secret comments label", type: "text" },
];

const lead = {
  first_name: "Ada Permitted",
  email: "ada.permitted@example.com",
  phone: "+447700900123",
  postcode: "SW1A 1AA",
  policy_no: "POLICY-4711",
  premium: "9876543.21",
  income: "INCOME-SECRET",
  comments: "COMMENT-SECRET",
  unasked: "EXTRA-SECRET",
  contacts: [{ first_name: "Bob Permitted", email: "bob.permitted@example.com" }],
};

beforeAll(async () => {
  server = await createTestApi({ clock: () => now });
  application = openDatabase(createPool(server.databaseUrl, "application", 2));
});
afterAll(async () => {
  await application.destroy();
  await server.close();
});

beforeEach(async () => {
  now = new Date("2026-03-04T10:00:00Z");
  sender = await server.createClient("Mortgage Desk");
  receiver = await server.createClient("Cover Desk");
  ({ intakeKey } = await addCampaign(sender, [], { fields, duplicates: null }));
  // The receiver has a place for all of it: what it does not get was not sent.
  const places = fields.map((field) => ({ ...field, label: undefined }));
  stageId = await addStage(server, receiver, places);
});

async function connect(permissions: readonly string[], reportsStatus = false): Promise<string> {
  const id = await ask(sender, receiver, permissions);
  await approve(receiver, id, stageId, reportsStatus);
  return id;
}

async function takeLead(changes: Readonly<Record<string, unknown>> = {}): Promise<string> {
  const path = `/v1/intake/${intakeKey}?source=SOURCE-SECRET`;
  return (await call(server.api, null, "POST", path, { ...lead, ...changes })).text("leadId");
}

async function addNotes(leadId: string): Promise<void> {
  const note = { organisationId: sender.organisationId, leadId, writtenAt: now, writtenBy: "Nora Staff" };
  await server.owner
    .insertInto("leadNotes")
    .values([
      { ...note, id: newId(), text: "NOTE-SHAREABLE", shareable: true },
      { ...note, id: newId(), text: "NOTE-SECRET", shareable: false },
    ])
    .execute();
}

const refer = async (leadId: string, connectionId: string) =>
  sender.call("POST", `/v1/leads/${leadId}/referrals`, { connectionId });
const carry = async (connectionId: string) => sendDueReferrals(server.context, sender.organisationId, connectionId);
const referralOf = async (id: string) => (await sender.call("GET", `/v1/referrals/${id}`)).body;
const leadsOf = async (client: TestClient) =>
  server.owner
    .selectFrom("leads")
    .select(["id", "fields", "extra", "source", "stageId", "ownerId"])
    .where("organisationId", "=", client.organisationId)
    .orderBy("id")
    .execute();
const historyOf = async (client: TestClient, leadId: string) =>
  JSON.stringify((await client.call("GET", `/v1/leads/${leadId}`)).body);

/** Every row of every table that the receiver has, whole, as text: read by the application and, without policies, by the owner. */
async function everythingOf(client: TestClient): Promise<string> {
  const tables = await sql<{ name: string; isOwn: boolean }>`
    select c.relname as name, exists (select from pg_attribute a
      where a.attrelid = c.oid and a.attname = 'organisation_id') as is_own
    from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'`.execute(server.owner);
  const texts: string[] = [];
  for (const { name, isOwn } of tables.rows) {
    const seen = await inOrganisation(application, client.organisationId, async (transaction) =>
      sql<{ row: string }>`select t::text as row from ${sql.table(name)} t`.execute(transaction).catch(() => null),
    ).catch(() => null);
    texts.push(...(seen?.rows ?? []).map(({ row }) => row));
    if (!isOwn) continue;
    const kept = await sql<{ row: string }>`
      select t::text as row from ${sql.table(name)} t where organisation_id = ${client.organisationId}`.execute(
      server.owner,
    );
    texts.push(...kept.rows.map(({ row }) => row));
  }
  return texts.join("\n");
}

const neverSent = ["INCOME-SECRET", "COMMENT-SECRET", "EXTRA-SECRET", "SOURCE-SECRET", "NOTE-SECRET", "SW1A", "Secret"];

describe("a client that is referred", () => {
  test("arrives in the receiver's stage with exactly the permitted groups, of the lead and of its contacts", async () => {
    const connectionId = await connect(["policy"]);
    const leadId = await takeLead();
    await addNotes(leadId);
    const referral = await refer(leadId, connectionId);
    expect(referral.status).toBe(201);
    await carry(connectionId);
    const [arrived] = await leadsOf(receiver);
    const { first_name, email, phone, policy_no } = lead;
    expect(arrived).toMatchObject({ stageId, source: "Mortgage Desk", extra: {} });
    const permitted = Object.entries(arrived?.fields ?? {}).filter(([, value]) => value !== null);
    expect(Object.fromEntries(permitted)).toEqual({ first_name, email, phone, policy_no, premium: 987_654_321 });
    const contacts = await server.owner
      .selectFrom("contacts")
      .select("fields")
      .where("organisationId", "=", receiver.organisationId)
      .execute();
    expect(contacts).toMatchObject([{ fields: { first_name: "Bob Permitted", email: "bob.permitted@example.com" } }]);
    expect(await referralOf(referral.text("id"))).toMatchObject({
      state: "sent",
      receivedAs: arrived?.id,
      organisation: "Cover Desk",
      connectionId,
    });
  });

  test.each([
    ["nothing but the contact", [], ["POLICY-4711", "9876543.21", "987654321", "NOTE-SHAREABLE"]],
    ["the policy", ["policy"], ["NOTE-SHAREABLE"]],
    ["the notes", ["notes"], ["POLICY-4711", "9876543.21", "987654321"]],
    ["all but finances", ["notes", "policy"], []],
  ])("leaves no trace of what is not permitted in the receiver's database: %s", async (_, permissions, unpermitted) => {
    const connectionId = await connect(permissions);
    const leadId = await takeLead();
    await addNotes(leadId);
    await refer(leadId, connectionId);
    await carry(connectionId);
    const everything = await everythingOf(receiver);
    expect(everything).toContain("ada.permitted@example.com");
    expect(everything).toContain("bob.permitted@example.com");
    for (const value of [...neverSent, ...unpermitted])
      expect([value, everything.includes(value)]).toEqual([value, false]);
    const sent: Readonly<Record<string, string>> = { policy: "POLICY-4711", notes: "NOTE-SHAREABLE" };
    for (const group of permissions) expect(everything).toContain(sent[group]);
    // Neither is it in what the sender keeps of the sending.
    const kept = await sql<{ text: string }>`select content::text from referrals where lead_id = ${leadId}`.execute(
      server.owner,
    );
    for (const value of [...neverSent, ...unpermitted]) expect(JSON.stringify(kept.rows)).not.toContain(value);
  });

  test("is noted in both deals: who, when, to whom, over which link, under which id", async () => {
    const connectionId = await connect([]);
    const leadId = await takeLead();
    const referralId = (await refer(leadId, connectionId)).text("id");
    await carry(connectionId);
    const [arrived] = await leadsOf(receiver);
    const there = await historyOf(sender, leadId);
    for (const word of ["Cover Desk", referralId, arrived?.id ?? "", "API key test"]) expect(there).toContain(word);
    const here = await historyOf(receiver, arrived?.id ?? "");
    for (const word of ["Mortgage Desk", referralId, "API key test"]) expect(here).toContain(word);
  });

  test("twice, arrives once, and the first referral is answered", async () => {
    const connectionId = await connect([]);
    const leadId = await takeLead();
    const first = await refer(leadId, connectionId);
    await carry(connectionId);
    const again = await refer(leadId, connectionId);
    expect([again.status, again.value("id")]).toEqual([200, first.value("id")]);
    await carry(connectionId);
    expect(await leadsOf(receiver)).toHaveLength(1);
  });

  test("without a value in a permitted group is refused: nothing would go", async () => {
    const { intakeKey: bare } = await addCampaign(sender, [], {
      fields: [{ key: "comments", type: "text" }],
      duplicates: null,
    });
    const leadId = (await call(server.api, null, "POST", `/v1/intake/${bare}`, { comments: "x" })).text("leadId");
    const answer = await refer(leadId, await connect([]));
    expect(answer.body).toMatchObject({ status: 409, code: "nothing_shareable" });
  });
});

describe("a connection that is not active", () => {
  test("refuses while it is pending, after a rejection and after its end", async () => {
    const leadId = await takeLead();
    const pending = await ask(sender, receiver);
    expect((await refer(leadId, pending)).body).toMatchObject({
      status: 409,
      code: "connection_state",
      detail: "It waits for approval.",
    });
    await receiver.call("POST", `/v1/connections/incoming/${pending}/reject`);
    expect((await refer(leadId, pending)).value("detail")).toBe("It was rejected.");
    const active = await connect([]);
    await receiver.call("POST", `/v1/connections/incoming/${active}/stop`);
    expect((await refer(leadId, active)).value("detail")).toBe("It has been ended.");
    expect(await leadsOf(receiver)).toEqual([]);
  });

  test("of another, or the receiver's own side of it, is not there", async () => {
    const connectionId = await connect([]);
    const theirs = await addCampaign(receiver, [], { fields, duplicates: null });
    const leadId = (await call(server.api, null, "POST", `/v1/intake/${theirs.intakeKey}`, lead)).text("leadId");
    const answer = await receiver.call("POST", `/v1/leads/${leadId}/referrals`, { connectionId });
    expect(answer.body).toMatchObject({ status: 422, fields: [{ field: "connectionId" }] });
  });

  test.each([
    ["removed by the sender", "ended", async (id: string) => sender.call("DELETE", `/v1/connections/outgoing/${id}`)],
    [
      "stopped by the receiver",
      "ended",
      async (id: string) => receiver.call("POST", `/v1/connections/incoming/${id}/stop`),
    ],
    [
      "waiting for other permissions",
      "waits for approval",
      async (id: string) => sender.call("PATCH", `/v1/connections/outgoing/${id}`, { permissions: ["policy"] }),
    ],
    [
      "approved anew for other permissions",
      "permissions were changed",
      async (id: string) => {
        await sender.call("PATCH", `/v1/connections/outgoing/${id}`, { permissions: ["policy"] });
        await approve(receiver, id, stageId);
      },
    ],
  ])("%s, while a referral is due: it is cancelled, with a note in the deal", async (_, words, happens) => {
    const connectionId = await connect(["notes"]);
    const leadId = await takeLead();
    const referralId = (await refer(leadId, connectionId)).text("id");
    await happens(connectionId);
    await carry(connectionId);
    expect(await leadsOf(receiver)).toEqual([]);
    expect(await referralOf(referralId)).toMatchObject({ state: "cancelled", reason: expect.stringContaining(words) });
    expect(await historyOf(sender, leadId)).toContain(words);
  });

  test("whose stage the receiver has taken away since refuses, with a note in the deal, and goes on with another stage", async () => {
    const connectionId = await connect([]);
    const leadId = await takeLead();
    const referralId = (await refer(leadId, connectionId)).text("id");
    await sql`update stages set removed_at = now() where id = ${stageId}`.execute(server.owner);
    await carry(connectionId);
    expect(await leadsOf(receiver)).toEqual([]);
    expect(await referralOf(referralId)).toMatchObject({
      state: "refused",
      reason: expect.stringContaining("is gone"),
    });
    expect(await historyOf(sender, leadId)).toContain("is gone");
    await receiver.call("PATCH", `/v1/connections/incoming/${connectionId}`, {
      stageId: await addStage(server, receiver),
    });
    await refer(leadId, connectionId);
    await carry(connectionId);
    expect(await leadsOf(receiver)).toHaveLength(1);
  });

  test("takes nothing back that was sent before", async () => {
    const connectionId = await connect([]);
    await refer(await takeLead(), connectionId);
    await carry(connectionId);
    await sender.call("DELETE", `/v1/connections/outgoing/${connectionId}`);
    expect(await leadsOf(receiver)).toMatchObject([{ fields: { email: "ada.permitted@example.com" } }]);
  });

  test("lets nothing in from the moment that its end was answered, however much is on its way", async () => {
    const connectionId = await connect([]);
    const leadIds = await Promise.all(
      Array.from({ length: 12 }, async (__, index) => takeLead({ first_name: `Ada ${index}` })),
    );
    for (const leadId of leadIds) await refer(leadId, connectionId);
    const ended = receiver
      .call("POST", `/v1/connections/incoming/${connectionId}/stop`)
      .then(async () => leadsOf(receiver));
    await Promise.all([carry(connectionId), carry(connectionId), ended]);
    const arrived = await leadsOf(receiver);
    expect(arrived).toEqual(await ended);
    const { rows } = await sql<{ state: string; count: number }>`
      select state, count(*) as count from referrals where connection_id = ${connectionId} group by state`.execute(
      server.owner,
    );
    const counts = new Map(rows.map(({ state, count }) => [state, count]));
    expect(counts.get("sent") ?? 0).toBe(arrived.length);
    expect((counts.get("sent") ?? 0) + (counts.get("cancelled") ?? 0)).toBe(leadIds.length);
  });
});

describe("a worker that dies between the two organisations", () => {
  /** Brings what is due to the receiver, and does not live to settle it here. */
  async function carryAndDie(connectionId: string): Promise<void> {
    const claimed = await claimReferrals(server.context.database, sender.organisationId, connectionId, 5, now);
    for (const one of claimed) await sendOverConnection(server.context, sender.organisationId, one);
  }

  test("leaves a lead that arrived once, and is settled by the next one", async () => {
    const connectionId = await connect([]);
    const referralId = (await refer(await takeLead(), connectionId)).text("id");
    await carryAndDie(connectionId);
    const arrived = await leadsOf(receiver);
    now = new Date("2026-03-04T11:00:00Z");
    await carry(connectionId);
    expect(await leadsOf(receiver)).toEqual(arrived);
    expect(await referralOf(referralId)).toMatchObject({ state: "sent", receivedAs: arrived[0]?.id, attemptCount: 2 });
  });

  test("although the connection was ended since: what arrived is told as it is", async () => {
    const connectionId = await connect([]);
    const referralId = (await refer(await takeLead(), connectionId)).text("id");
    await carryAndDie(connectionId);
    await sender.call("DELETE", `/v1/connections/outgoing/${connectionId}`);
    now = new Date("2026-03-04T11:00:00Z");
    await carry(connectionId);
    expect(await referralOf(referralId)).toMatchObject({ state: "sent" });
    expect(await leadsOf(receiver)).toHaveLength(1);
  });

  test("and others that do the same at the same time bring it once", async () => {
    const connectionId = await connect([]);
    await refer(await takeLead(), connectionId);
    const claimed = await claimReferrals(server.context.database, sender.organisationId, connectionId, 5, now);
    const brought = await Promise.all(
      claimed.flatMap((one) =>
        Array.from({ length: 4 }, async () => sendOverConnection(server.context, sender.organisationId, one)),
      ),
    );
    expect(new Set(brought.map(({ outcome }) => JSON.stringify(outcome))).size).toBe(1);
    expect(await leadsOf(receiver)).toHaveLength(1);
  });
});

describe("what became of a client", () => {
  /** Refers a lead; gives what each side calls it. */
  async function arrive(
    connectionId: string,
  ): Promise<{ readonly referralId: string; readonly leadId: string; readonly there: string }> {
    const leadId = await takeLead();
    const referralId = (await refer(leadId, connectionId)).text("id");
    await carry(connectionId);
    const [arrived] = await leadsOf(receiver);
    if (arrived === undefined) throw new Error("Nothing arrived.");
    return { referralId, leadId, there: arrived.id };
  }
  const report = async (leadId: string, status: string, reason: string | null = null) =>
    receiver.call("POST", `/v1/leads/${leadId}/referral-status`, { status, reason });
  const tell = async () => sendDueStatuses(server.context, receiver.organisationId);

  test("comes back as a state and a note, if the receiver chose so", async () => {
    const { referralId, leadId, there } = await arrive(await connect([], true));
    expect((await report(there, "accepted")).status).toBe(204);
    await tell();
    expect(await referralOf(referralId)).toMatchObject({ status: "accepted" });
    await report(there, "lost", "Went elsewhere");
    await tell();
    await tell();
    expect(await referralOf(referralId)).toMatchObject({ status: "lost", statusReason: "Went elsewhere" });
    const history = await historyOf(sender, leadId);
    expect(history.match(/What became of the referral/g)).toHaveLength(2);
    expect(history).toContain("Went elsewhere");
  });

  test("is not told where the receiver chose not to, nor after the end", async () => {
    const connectionId = await connect([], false);
    const { referralId, there } = await arrive(connectionId);
    expect((await report(there, "won")).body).toMatchObject({ status: 409, code: "status_not_wanted" });
    await receiver.call("PATCH", `/v1/connections/incoming/${connectionId}`, { reportsStatus: true });
    expect((await report(there, "won")).status).toBe(204);
    await sender.call("DELETE", `/v1/connections/outgoing/${connectionId}`);
    await tell();
    expect(await referralOf(referralId)).toMatchObject({ status: null });
    expect((await report(there, "lost")).value("code")).toBe("status_not_wanted");
    expect(await historyOf(receiver, there)).toContain("has been ended");
  });

  test("is put off while other permissions wait for approval", async () => {
    const connectionId = await connect([], true);
    const { referralId, there } = await arrive(connectionId);
    await report(there, "won");
    await sender.call("PATCH", `/v1/connections/outgoing/${connectionId}`, { permissions: ["policy"] });
    await tell();
    expect(await referralOf(referralId)).toMatchObject({ status: null });
    await approve(receiver, connectionId, stageId, true);
    now = new Date("2026-03-04T11:00:00Z");
    await tell();
    expect(await referralOf(referralId)).toMatchObject({ status: "won" });
  });
});

describe("a third organisation", () => {
  test("gets nothing of a client that goes from one to another", async () => {
    const third = await server.createClient("Third");
    const connectionId = await connect(["policy", "notes"]);
    await refer(await takeLead(), connectionId);
    await carry(connectionId);
    const everything = await everythingOf(third);
    for (const value of ["ada.permitted", connectionId, sender.organisationId, receiver.organisationId]) {
      expect(everything).not.toContain(value);
    }
  });
});
