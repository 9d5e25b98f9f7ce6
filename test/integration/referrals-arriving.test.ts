import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { newId } from "../../src/db/id.ts";
import { mostReferralBytes, type Referral, referralAnswerSchema } from "../../src/referrals/protocol.ts";
import { isAnythingUnderWay } from "../../src/reports/delivery-summary.ts";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import { sweep } from "../../src/sweep.ts";
import { call, createTestApi, type TestAnswer, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign, addPartner, contactFields, jsonDelivery } from "../helpers/api-documents.ts";
import {
  addInbound,
  addUser,
  addWorkflow,
  referralDocument,
  type TestInbound,
  type TestWorkflow,
} from "../helpers/referrals.ts";
import { until } from "../helpers/until.ts";
import { quietWaker } from "../helpers/waker.ts";

/** A referral on its way in: over HTTP, into PostgreSQL. */

let server: TestApi;
let client: TestClient;
let campaign: { readonly id: string; readonly intakeKey: string };
let ownerId: string;
let workflow: TestWorkflow;
let inbound: TestInbound;

const money = { key: "budget", type: "money", currency: "GBP" };

beforeAll(async () => {
  server = await createTestApi();
});
afterAll(async () => server.close());

beforeEach(async () => {
  client = await server.createClient("Receivers");
  const partnerId = await addPartner(client, {
    creditLimit: 100_000,
    internet: jsonDelivery({ url: "http://127.0.0.1:1/" }),
  });
  campaign = await addCampaign(client, [partnerId], { fields: [...contactFields, money] });
  ownerId = await addUser(server, client, { name: "Olive Owner", email: "olive@example.com", phone: "+447700900321" });
  workflow = await addWorkflow(client, { campaignId: campaign.id, ownerId });
  inbound = await addInbound(client, workflow, { name: "Sister firm" });
});

const send = async (referral: unknown, to = inbound): Promise<TestAnswer> =>
  call(server.api, to.key, "POST", to.path, referral);

const sendRaw = async (payload: string | Buffer) =>
  call(server.api, inbound.key, "POST", inbound.path, undefined, {
    payload,
    headers: { "content-type": "application/json" },
  });

const arrived = async (referral: unknown): Promise<TestAnswer> =>
  client.call("GET", `/v1/leads/${(await send(referral)).text("receivedAs")}`);

/** How many rows the organisation has in everything that an arrival writes. */
async function countRows(): Promise<Readonly<Record<string, number>>> {
  const tables = [
    "leads",
    "contacts",
    "lead_notes",
    "lead_events",
    "lead_keys",
    "arrivals",
    "alerts",
    "inbound_referrers",
  ];
  const counts = await Promise.all(
    tables.map(async (table) => {
      const { rows } = await sql<{ count: number }>`
        select count(*) as count from ${sql.table(table)} where organisation_id = ${client.organisationId}`.execute(
        server.owner,
      );
      return [table, rows[0]?.count ?? 0] as const;
    }),
  );
  return Object.fromEntries(counts);
}

describe("a referral", () => {
  test("arrives whole: fields, contacts, notes, stage, owner, and says by whom, when, over what, under which id", async () => {
    const referral = referralDocument();
    const answer = await send(referral);
    expect(answer.status).toBe(201);
    expect(referralAnswerSchema.parse(answer.body)).toMatchObject({
      referralId: referral.referralId,
      organisation: "Receivers",
      keptAside: ["favourite_colour"],
    });
    const lead = await client.call("GET", `/v1/leads/${answer.text("receivedAs")}`);
    expect(lead.body).toMatchObject({
      campaignId: campaign.id,
      state: "received",
      source: "website",
      dueAt: null,
      byHand: true,
      fields: { first_name: "Grace", email: "grace@example.com", postcode: "SW1A 1AA", phone: null, budget: null },
      extra: { favourite_colour: "green" },
      contacts: [{ first_name: "Henry" }],
      stage: { id: workflow.stageIds[0], workflowName: "Sales", name: "New" },
      owner: { id: ownerId },
      reason: {
        code: "in_workflow",
        text: "It stands in workflow Sales, stage New, and goes to a partner by hand only.",
      },
      notes: [{ text: "Prefers mornings.", writtenBy: "Dana Cole", writtenAt: "2026-11-19T17:00:00.000Z" }],
      arrival: {
        referralId: referral.referralId,
        organisation: "Brightwater Brokers",
        installation: "https://crm.brightwater.test",
        referredAt: "2026-11-20T09:30:00.000Z",
        inboundId: inbound.id,
        keptAside: ["favourite_colour"],
        status: null,
        told: null,
      },
    });
    expect(lead.value("timeline")).toContainEqual(
      expect.objectContaining({
        text: `It was referred here by Dana Cole (dana@brightwater.test) of Brightwater Brokers (https://crm.brightwater.test) over the inbound Sister firm, as referral ${referral.referralId}. Kept beside its fields, as it has no place here: favourite_colour.`,
      }),
    );
  });

  test("sent twice arrives once, and gets the same answer, the second time with 200", async () => {
    const referral = referralDocument();
    const first = await send(referral);
    const before = await countRows();
    const again = await send(referral);
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(again.raw).toBe(first.raw);
    expect(await countRows()).toEqual(before);
  });

  test("sent ten times at the same moment arrives once", async () => {
    const referral = referralDocument();
    const answers = await Promise.all(Array.from({ length: 10 }, async () => send(referral)));
    expect(new Set(answers.map((answer) => answer.text("receivedAs"))).size).toBe(1);
    expect(answers.map(({ status }) => status).sort()).toEqual([...Array(9).fill(200), 201]);
    expect(await countRows()).toMatchObject({ leads: 1, arrivals: 1, contacts: 1, lead_notes: 1, alerts: 1 });
  });

  test("that arrived is answered the same over an inbound that was switched off or deleted since", async () => {
    const referral = referralDocument();
    const first = await send(referral);
    await client.call("PATCH", `/v1/inbounds/${inbound.id}`, { enabled: false });
    expect((await send(referral)).raw).toBe(first.raw);
    await client.call("DELETE", `/v1/inbounds/${inbound.id}`);
    expect((await send(referral)).raw).toBe(first.raw);
  });

  test("under the id of another is refused, and of one that was erased gets the first answer", async () => {
    const referral = referralDocument();
    const first = await send(referral);
    const other = { ...referral, lead: { ...referral.lead, id: "deal-4712" } };
    expect((await send(other)).body).toMatchObject({ status: 409, code: "idempotency_conflict" });
    // Who referred it and when may be told anew.
    expect((await send({ ...referral, referredBy: { name: "Dana C.", email: null } })).raw).toBe(first.raw);
    await client.call("DELETE", `/v1/leads/${first.text("receivedAs")}`);
    expect((await send(other)).value("receivedAs")).toBe(first.text("receivedAs"));
  });

  test("of the same id into two organisations is two", async () => {
    const other = await server.createClient("Others");
    const user = await addUser(server, other);
    const theirs = await addInbound(
      other,
      await addWorkflow(other, { campaignId: (await addCampaign(other)).id, ownerId: user }),
    );
    const referral = referralDocument();
    const [here, there] = [await send(referral), await send(referral, theirs)];
    expect([here.status, there.status]).toEqual([201, 201]);
    expect(here.text("receivedAs")).not.toBe(there.text("receivedAs"));
  });

  test("holds text that PostgreSQL cannot keep: it is cleaned", async () => {
    const [field] = referralDocument().lead.fields;
    const lead = await arrived(
      referralDocument({}, { fields: [{ ...field, key: "first_name", value: "Gr\u0000ace\ud800" }] as never }),
    );
    expect(lead.value("fields.first_name")).toBe("Grace\ufffd");
  });
});

describe("the owner of what arrives", () => {
  const ownerOf = async (referral: Referral) => (await arrived(referral)).value("owner.name");

  test("is the user with the original owner's email, however it is written", async () => {
    await addUser(server, client, { name: "Paula Same", email: "Paula@Example.com" });
    expect(await ownerOf(referralDocument({ owner: { name: "Paula", email: "paula@example.COM" } }))).toBe(
      "Paula Same",
    );
  });

  test.each([
    ["nobody there has that email", async () => undefined],
    [
      "the user is not let in any more",
      async () => {
        const id = await addUser(server, client, { email: "paula@example.com" });
        await sql`update users set disabled_at = now() where id = ${id}`.execute(server.owner);
      },
    ],
    [
      "the user is another organisation's",
      async () => void (await addUser(server, await server.createClient(), { email: "paula@example.com" })),
    ],
    [
      "the user is a partner's",
      async () => {
        const id = await addUser(server, client, { email: "paula@example.com" });
        const partnerId = await addPartner(client);
        await sql`update users set partner_id = ${partnerId}, role = null, access = '{"level": "leads"}' where id = ${id}`.execute(
          server.owner,
        );
      },
    ],
  ])("is the workflow's where %s", async (_, prepare) => {
    await prepare();
    expect(await ownerOf(referralDocument({ owner: { name: "Paula", email: "paula@example.com" } }))).toBe(
      "Olive Owner",
    );
  });

  test("is the workflow's where the sender names none", async () => {
    expect(await ownerOf(referralDocument())).toBe("Olive Owner");
  });
});

describe("fields of what arrives", () => {
  const field = (key: string, value: unknown, more: object = {}) => ({
    key,
    label: key,
    type: "text",
    group: null,
    value,
    ...more,
  });

  test.each([
    ["that the campaign does not know", field("colour", "green"), "colour", "green"],
    ["that cannot be read", field("email", "no address"), "email", "no address"],
    ["of money in another currency", field("budget", "12.50", { type: "money", currency: "EUR" }), "budget", "12.50"],
    ["that is called as nothing may be called", field("__proto__", "x"), "__proto__", "x"],
  ])("%s are kept aside, and said", async (_, one, key, value) => {
    const answer = await send(referralDocument({}, { fields: [field("first_name", "Grace"), one] as never }));
    expect(answer.value("keptAside")).toEqual([key]);
    const lead = await client.call("GET", `/v1/leads/${answer.text("receivedAs")}`);
    expect(lead.raw).toContain(JSON.stringify({ [key]: value }).slice(1, -1));
    expect(lead.value("fields.first_name")).toBe("Grace");
  });

  test("of contacts that do not fit are kept aside under their place", async () => {
    const answer = await send(
      referralDocument({}, { contacts: [[field("first_name", "Henry"), field("shoe_size", 44)]] as never }),
    );
    expect(answer.value("keptAside")).toEqual(["favourite_colour", "contacts.0.shoe_size"]);
  });

  test("are read as intake reads them, money from its text", async () => {
    const lead = await arrived(
      referralDocument({}, { fields: [field("budget", "1250.00", { type: "money", currency: "GBP" })] as never }),
    );
    expect(lead.value("fields.budget")).toBe(125_000);
  });

  test("that the campaign requires may be absent", async () => {
    expect((await arrived(referralDocument({}, { fields: [] }))).body).toMatchObject({
      state: "received",
      fields: { first_name: null },
    });
  });
});

describe("what arrived", () => {
  test("is not routed, is due for nobody, and holds nothing up", async () => {
    const leadId = (await send(referralDocument())).text("receivedAs");
    const woken: string[] = [];
    const wake = (job: { readonly name: string }) => void woken.push(job.name);
    await sweep({ ...server.context, waker: { ...quietWaker, wake } });
    expect(woken).not.toContain("route-leads");
    await routeDueLeads(server.context, client.organisationId, campaign.id);
    expect((await client.call("GET", `/v1/leads/${leadId}`)).body).toMatchObject({ state: "received", deliveries: [] });
    expect(await isAnythingUnderWay(server.context, client.organisationId)).toBe(false);
  });

  test("goes to a partner by hand, and when that refuses to no other by itself", async () => {
    const leadId = (await send(referralDocument())).text("receivedAs");
    const partnerId = await addPartner(client, {
      creditLimit: 100_000,
      internet: jsonDelivery({ url: "http://127.0.0.1:1/" }),
    });
    expect((await client.call("POST", `/v1/leads/${leadId}/refer`, { partnerId })).status).toBeLessThan(300);
    // As when its partner refused it.
    await sql`update deliveries set state = 'rejected', reserved_at = null, due_at = null where lead_id = ${leadId}`.execute(
      server.owner,
    );
    await sql`update leads set due_at = now() - interval '1 second' where id = ${leadId}`.execute(server.owner);
    await routeDueLeads(server.context, client.organisationId, campaign.id);
    const lead = await client.call("GET", `/v1/leads/${leadId}`);
    expect(lead.body).toMatchObject({ state: "unsold", reason: { code: "by_hand" }, stage: { name: "New" } });
    expect((lead.value("deliveries") as unknown[]).length).toBe(1);
  });

  test("is found by what the campaign matches duplicates on, and makes a later lead its duplicate", async () => {
    const leadId = (await send(referralDocument())).text("receivedAs");
    const found = await client.call("GET", "/v1/leads?field=email&value=Grace@example.com");
    expect(found.value("data.0.id")).toBe(leadId);
    const later = { first_name: "Grace", email: "grace@example.com" };
    const answer = await call(server.api, null, "POST", `/v1/intake/${campaign.intakeKey}`, later);
    expect(answer.body).toMatchObject({ status: "duplicate", duplicateOf: leadId });
  });

  test("is told to the workflow's owner by email, and by SMS where that is set", async () => {
    await send(referralDocument());
    const alerts = async () =>
      (await client.call("GET", "/v1/alerts?kind=referral_arrived")).value("data") as {
        channel: string;
        recipient: string;
      }[];
    expect((await alerts()).map(({ channel, recipient }) => [channel, recipient])).toEqual([
      ["email", "olive@example.com"],
    ]);
    await client.call("PATCH", `/v1/workflows/${workflow.id}`, { alertSms: true });
    await send(referralDocument());
    expect((await alerts()).map(({ channel, recipient }) => [channel, recipient]).sort()).toEqual([
      ["email", "olive@example.com"],
      ["email", "olive@example.com"],
      ["sms", "+447700900321"],
    ]);
  });

  test("is told to staff where the workflow's owner is not let in any more", async () => {
    await client.call("PATCH", "/v1/organisation", { staffEmail: "staff@example.com" });
    await sql`update users set disabled_at = now() where id = ${ownerId}`.execute(server.owner);
    await send(referralDocument());
    expect((await client.call("GET", "/v1/alerts?kind=referral_arrived")).value("data.0.recipient")).toBe(
      "staff@example.com",
    );
  });
});

describe("a refusal leaves nothing half-made", () => {
  const refused = async (answer: Promise<TestAnswer>, status: number, code: string) => {
    const before = await countRows();
    const { body } = await answer;
    expect(body).toMatchObject({ status, code, detail: expect.any(String) });
    expect(await countRows()).toEqual(before);
  };

  test("where the inbound is switched off", async () => {
    await client.call("PATCH", `/v1/inbounds/${inbound.id}`, { enabled: false });
    await refused(send(referralDocument()), 409, "inbound_disabled");
  });

  test("where it was deleted", async () => {
    await client.call("DELETE", `/v1/inbounds/${inbound.id}`);
    await refused(send(referralDocument()), 410, "inbound_gone");
  });

  test("where its stage is gone", async () => {
    const stages = [{ id: workflow.stageIds[1], name: "Working" }];
    await client.call("PATCH", `/v1/workflows/${workflow.id}`, { stages, confirm: true });
    await refused(send(referralDocument()), 409, "stage_gone");
  });

  test("where the key is wrong", async () => {
    await refused(send(referralDocument(), { ...inbound, key: "wrong" }), 401, "referral_key_wrong");
  });

  test("where it is too large", async () => {
    const note = { text: "x".repeat(9_000), writtenBy: "Dana", writtenAt: "2026-11-19T17:00:00Z" };
    const referral = referralDocument({}, { notes: Array.from({ length: 200 }, () => note) });
    expect(JSON.stringify(referral).length).toBeGreaterThan(mostReferralBytes);
    await refused(send(referral), 413, "referral_too_large");
  });

  test("where the version is one that is not spoken: it says which are", async () => {
    const before = await countRows();
    for (const version of [0, 2, 99]) {
      const { body } = await send({ ...referralDocument(), version });
      expect(body).toMatchObject({ status: 400, code: "referral_version", supported: [1] });
    }
    expect(await countRows()).toEqual(before);
  });

  test.each(["", "{", "[1,2", "\u0000", Buffer.from([0x7b, 0xff, 0xfe])])(
    "where the body is no JSON: %j",
    async (payload) => {
      await refused(sendRaw(payload), 400, "malformed_body");
    },
  );

  test.each([
    ["no version", { version: undefined }, "version"],
    ["an id that is none", { referralId: "4711" }, "referralId"],
    ["nobody it is from", { from: undefined }, "from"],
    ["a status address that is none", { status: { url: "ftp://x.test", key: "k".repeat(32) } }, "status.url"],
    ["a status key that is short", { status: { url: "https://x.test/", key: "k" } }, "status.key"],
    ["an instant that is none", { referredAt: "yesterday" }, "referredAt"],
  ])("where it has %s", async (_, changes, field) => {
    const before = await countRows();
    const { body } = await send({ ...referralDocument(), ...changes });
    expect(body).toMatchObject({ status: 422, code: "invalid_referral", fields: [{ field }] });
    expect(await countRows()).toEqual(before);
  });

  test("where the Idempotency-Key is not the referral's id", async () => {
    const headers = { "idempotency-key": newId() };
    const answer = await call(server.api, inbound.key, "POST", inbound.path, referralDocument(), { headers });
    expect(answer.body).toMatchObject({
      status: 422,
      code: "invalid_referral",
      fields: [{ field: "Idempotency-Key" }],
    });
  });

  test("where something goes wrong on the way into the database", async () => {
    await sql`alter table arrivals add constraint broken check (referrer <> 'Broken Ltd') not valid`.execute(
      server.owner,
    );
    try {
      const before = await countRows();
      const referral = referralDocument({ from: { organisation: "Broken Ltd", installation: "https://x.test" } });
      expect((await send(referral)).status).toBe(500);
      expect(await countRows()).toEqual(before);
    } finally {
      await sql`alter table arrivals drop constraint broken`.execute(server.owner);
    }
    expect((await send(referralDocument())).status).toBe(201);
  });
});

test("switching an inbound off waits for what is arriving, and nothing arrives after", async () => {
  const order: string[] = [];
  const done = (name: string) => (answer: TestAnswer) => {
    order.push(`${name} ${answer.status}`);
  };
  const under: Promise<void>[] = [];
  await server.owner.transaction().execute(async (transaction) => {
    // What arrives has taken its inbound by then.
    await sql`lock table arrivals in share mode`.execute(transaction);
    const waiting = async () => {
      const { rows } = await sql<{ count: number }>`
        select count(*) as count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
      `.execute(server.owner);
      return rows[0]?.count ?? 0;
    };
    under.push(send(referralDocument()).then(done("arrival")));
    await until(async () => (await waiting()) === 1);
    under.push(client.call("PATCH", `/v1/inbounds/${inbound.id}`, { enabled: false }).then(done("switch")));
    await until(async () => (await waiting()) === 2 || order.length > 0);
  });
  await Promise.all(under);
  expect(order).toEqual(["arrival 201", "switch 200"]);
  expect((await send(referralDocument())).body).toMatchObject({ status: 409, code: "inbound_disabled" });
});

test("a later version may say more than this one knows", async () => {
  const referral = referralDocument();
  const more = { ...referral, weather: "fine", lead: { ...referral.lead, mood: { good: true } } };
  expect((await send(more)).status).toBe(201);
});
