import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { createPool, type Database, inOrganisation, openDatabase } from "../../src/db/database.ts";
import { newId } from "../../src/db/id.ts";
import { drainDueDeliveries } from "../../src/delivery/drain-partner.ts";
import { insertInvoice, lockNumbers, readSeller } from "../../src/invoices/issue-invoice.ts";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import { call, createTestApi, type Method, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign, addPartner, campaignDocument, jsonDelivery } from "../helpers/api-documents.ts";
import { ask } from "../helpers/connections.ts";
import { ownersOf } from "../helpers/owners.ts";
import { accountDocument } from "../helpers/payments.ts";
import { addInbound, addUser, addWorkflow } from "../helpers/referrals.ts";
import { type GuardedOperation, listGuarded } from "../helpers/rights.ts";

/** Who may see what: over HTTP, and in PostgreSQL underneath. */

let server: TestApi;
let mine: TestClient;
let stranger: TestClient;

beforeAll(async () => {
  server = await createTestApi();
  mine = await server.createClient("Sellers");
  stranger = await server.createClient("Strangers");
});
afterAll(async () => server.close());

describe("an API key", () => {
  const organisation = async (authorization?: string) =>
    call(server.api, null, "GET", "/v1/organisation", undefined, {
      headers: authorization === undefined ? {} : { authorization },
    });

  test("opens its own organisation", async () => {
    expect((await organisation(`Bearer ${mine.key}`)).body).toMatchObject({ id: mine.organisationId });
    expect((await organisation(`bearer ${stranger.key}`)).body).toMatchObject({ id: stranger.organisationId });
  });

  test("that is missing, unknown, wrong, expired or revoked gets one and the same answer", async () => {
    const expired = await mine.call("POST", "/v1/api-keys", { name: "expired" });
    const revoked = await mine.call("POST", "/v1/api-keys", { name: "revoked" });
    await sql`update api_keys set expires_at = now() - interval '1 minute' where id = ${expired.text("id")}`.execute(
      server.owner,
    );
    expect((await mine.call("DELETE", `/v1/api-keys/${revoked.text("id")}`)).status).toBe(204);
    const answers = [
      await organisation(),
      await organisation(`Basic ${Buffer.from(`${mine.key}:`).toString("base64")}`),
      await organisation("Bearer handoff_nobodys"),
      await organisation(`Bearer ${mine.key}x`),
      await organisation(`Bearer ${expired.text("key")}`),
      await organisation(`Bearer ${revoked.text("key")}`),
    ];
    for (const answer of answers) {
      expect(answer.status).toBe(401);
      expect(answer.headers["www-authenticate"]).toBe('Bearer realm="Handoff"');
      expect(answer.raw).toBe(answers[0]?.raw);
    }
  });

  describe("that is guessed", () => {
    let guessed: TestApi;
    let now = new Date("2026-11-20T09:00:00Z");
    beforeAll(async () => {
      const environment = { WRONG_KEYS_PER_MINUTE: "3", TRUSTED_PROXIES: "10.1.0.0/16" };
      guessed = await createTestApi({ environment, clock: () => now });
    });
    afterAll(async () => guessed.close());

    const ask = async (key: string, remoteAddress: string, forwardedFor?: string) => {
      const forwarded = forwardedFor === undefined ? {} : { "x-forwarded-for": forwardedFor };
      const headers = { authorization: `Bearer ${key}`, ...forwarded };
      return guessed.api.inject({ method: "GET", url: "/v1/organisation", remoteAddress, headers });
    };
    const guess = async (times: number, remoteAddress: string, forwardedFor?: string) => {
      const statuses: number[] = [];
      for (let count = 0; count < times; count += 1)
        statuses.push((await ask(`guess-${count}`, remoteAddress, forwardedFor)).statusCode);
      return statuses;
    };

    test("has to wait after so many wrong ones, and is told how long", async () => {
      expect(await guess(4, "192.0.2.1")).toEqual([401, 401, 401, 429]);
      now = new Date(now.getTime() + 20_000);
      const refused = await ask("another", "192.0.2.1");
      expect(refused.headers["retry-after"]).toBe("40");
      expect(refused.json()).toMatchObject({ code: "rate_limited", detail: expect.stringContaining("40 s") });
      now = new Date(now.getTime() + 40_000);
      expect(await guess(4, "192.0.2.1")).toEqual([401, 401, 401, 429]);
    });

    test("is not even looked at then: a right one waits too, unless it was good before", async () => {
      const known = await guessed.createClient();
      const fresh = await guessed.createClient();
      expect((await ask(known.key, "192.0.2.2")).statusCode).toBe(200);
      await guess(3, "192.0.2.2");
      expect((await ask(fresh.key, "192.0.2.2")).statusCode).toBe(429);
      expect((await ask(known.key, "192.0.2.2")).statusCode).toBe(200);
      expect((await ask(fresh.key, "192.0.2.3")).statusCode).toBe(200);
    });

    test("and was good once and is revoked is counted like any other", async () => {
      const client = await guessed.createClient();
      const { text } = await client.call("POST", "/v1/api-keys", { name: "second" });
      const [key, id] = [text("key"), text("id")];
      expect((await ask(key, "192.0.2.4")).statusCode).toBe(200);
      await client.call("DELETE", `/v1/api-keys/${id}`);
      const statuses = [];
      for (let count = 0; count < 4; count += 1) statuses.push((await ask(key, "192.0.2.4")).statusCode);
      expect(statuses).toEqual([401, 401, 401, 429]);
    });

    test.each([
      ["an address that the caller makes up is not believed", "192.0.2.5", "192.0.2.6", 429],
      ["an address that a trusted proxy gives is", "10.1.2.3", "192.0.2.7", 401],
      ["all addresses of one IPv6 network are one", "2001:db8:1:2::1", "2001:db8:1:2:ffff::9", 429],
      ["addresses of two IPv6 networks are two", "2001:db8:1:3::1", "2001:db8:1:4::1", 401],
      ["an IPv4 address inside IPv6 is that address", "::ffff:192.0.2.8", "192.0.2.8", 429],
    ])("%s", async (_, first, second, status) => {
      const isForwarded = !first.includes(":");
      if (isForwarded) {
        expect(await guess(3, first, "198.51.100.1")).toEqual([401, 401, 401]);
        expect((await ask("guess", first, second)).statusCode).toBe(status);
      } else {
        expect(await guess(3, first)).toEqual([401, 401, 401]);
        expect((await ask("guess", second)).statusCode).toBe(status);
      }
    });
  });

  test("whose first bytes alone are right is wrong", async () => {
    const { key } = await server.createClient("Others");
    await sql`update api_keys set key_hash = overlay(key_hash placing '\\x0000' from 31)
      where key_lookup = substring(sha256(${Buffer.from(key)}) from 1 for 8)`.execute(server.owner);
    expect((await organisation(`Bearer ${key}`)).status).toBe(401);
  });

  test("is shown once and never kept", async () => {
    const created = await mine.call("POST", "/v1/api-keys", { name: "shown once" });
    expect(created.text("key")).toMatch(/^handoff_[\w-]{32}$/);
    const listed = await mine.call("GET", "/v1/api-keys");
    expect(listed.raw).not.toContain(created.text("key"));
    expect(await dump()).not.toContain(created.text("key"));
  });

  test("is the last: it cannot be revoked", async () => {
    const alone = await server.createClient("Alone");
    const { text } = await alone.call("GET", "/v1/api-keys");
    const answer = await alone.call("DELETE", `/v1/api-keys/${text("data.0.id")}`);
    expect(answer.body).toMatchObject({ status: 409, code: "last_api_key" });
  });

  test("that is to expire in the past is refused", async () => {
    const answer = await mine.call("POST", "/v1/api-keys", { name: "late", expiresAt: "2020-01-01T00:00:00Z" });
    expect(answer.body).toMatchObject({ status: 422, fields: [{ field: "expiresAt" }] });
  });
});

/** Everything in every table, as text. */
async function dump(): Promise<string> {
  const { rows } = await sql<{
    name: string;
  }>`select tablename as name from pg_tables where schemaname = 'public'`.execute(server.owner);
  const parts = await Promise.all(
    rows.map(async ({ name }) => {
      const table = await sql<{
        text: string | null;
      }>`select string_agg(t::text, ' ') as text from ${sql.table(name)} t`.execute(server.owner);
      return table.rows[0]?.text ?? "";
    }),
  );
  return parts.join("\n");
}

interface Things {
  readonly partnerId: string;
  readonly campaignId: string;
  readonly intakeKeyId: string;
  readonly leadId: string;
  readonly invoiceId: string;
  readonly deliveryId: string;
  readonly returnId: string;
  readonly apiKeyId: string;
  readonly topUpId: string;
  readonly problemId: string;
  readonly workflowId: string;
  readonly inboundId: string;
  readonly userId: string;
  readonly outboundId: string;
  readonly referralId: string;
  readonly partnerUserId: string;
  readonly settingsChangeId: string;
  readonly outgoingConnectionId: string;
  readonly incomingConnectionId: string;
}

/** One of each thing that an organisation can have. */
async function makeThings(client: TestClient): Promise<Things> {
  const { organisationId } = client;
  const partnerId = await addPartner(client, {
    creditLimit: 10_000,
    internet: jsonDelivery({ url: "http://127.0.0.1:1/" }),
  });
  const { id: campaignId, intakeKey } = await addCampaign(client, [partnerId]);
  const lead = { first_name: "Ann", email: "ann@example.com" };
  const leadId = (await call(server.api, null, "POST", `/v1/intake/${intakeKey}`, lead)).text("leadId");
  await routeDueLeads(server.context, organisationId, campaignId);
  await drainDueDeliveries(server.context, organisationId, partnerId);
  await client.call("POST", `/v1/partners/${partnerId}/payments`, { amount: 100, reason: "bank" });
  const invoiceId = await addInvoice(organisationId, partnerId);
  const first = async (url: string) => (await client.call("GET", url)).text("data.0.id");
  const deliveryId = await first("/v1/deliveries");
  const neighbour = await server.createClient("Neighbours");
  return {
    partnerId,
    campaignId,
    leadId,
    invoiceId,
    intakeKeyId: await first(`/v1/campaigns/${campaignId}/intake-keys`),
    deliveryId,
    returnId: await addReturn(organisationId, { deliveryId, leadId, partnerId }),
    apiKeyId: await first("/v1/api-keys"),
    ...(await makeWorkflow(client, campaignId, leadId)),
    ...(await makePayment(client, partnerId)),
    ...(await makePartnerUser(client, partnerId)),
    userId: (await client.call("POST", "/v1/users", { email: "vera@example.com", name: "Vera", role: "viewer" })).text(
      "id",
    ),
    outgoingConnectionId: await ask(client, neighbour),
    incomingConnectionId: await ask(neighbour, client),
  };
}

async function makeWorkflow(
  client: TestClient,
  campaignId: string,
  leadId: string,
): Promise<Pick<Things, "workflowId" | "inboundId" | "outboundId" | "referralId">> {
  const ownerId = await addUser(server, client);
  const workflow = await addWorkflow(client, { campaignId, ownerId });
  const [stageId] = workflow.stageIds;
  await client.call("PUT", `/v1/leads/${leadId}/stage`, { stageId });
  await client.call("POST", `/v1/leads/${leadId}/notes`, { text: "for them", shareable: true });
  // Leads to an address that is refused: nothing is sent.
  const link = { name: "Out", url: "https://127.0.0.1:1/", key: "k", workflowId: workflow.id, stageId };
  const outboundId = (await client.call("POST", "/v1/outbounds", link)).text("id");
  const referral = await client.call("POST", `/v1/leads/${leadId}/referrals`, { outboundId, confirmed: true });
  const inboundId = (await addInbound(client, workflow)).id;
  return { workflowId: workflow.id, inboundId, outboundId, referralId: referral.text("id") };
}

/** Who signs in for the partner, and a change that they ask for. */
async function makePartnerUser(
  client: TestClient,
  partnerId: string,
): Promise<Pick<Things, "partnerUserId" | "settingsChangeId">> {
  const document = { email: "pia@example.com", name: "Pia", access: { level: "leads" } };
  const made = await client.call("POST", `/v1/partners/${partnerId}/users`, document);
  const [partnerUserId, settingsChangeId] = [made.text("id"), newId()];
  const asked = { patch: "{}", before: "{}", state: "pending", askedAt: new Date(), askedBy: "test" } as const;
  await inOrganisation(server.context.database, client.organisationId, async (transaction) =>
    transaction
      .insertInto("settingsChanges")
      .values({
        ...{ id: settingsChangeId, organisationId: client.organisationId, partnerId },
        ...{ ...asked, askedByUserId: partnerUserId },
      })
      .execute(),
  );
  return { partnerUserId, settingsChangeId };
}

/** Of what was not sold: as there is no partner. */
async function addReturn(
  organisationId: string,
  of: { readonly deliveryId: string; readonly leadId: string; readonly partnerId: string },
): Promise<string> {
  const id = newId();
  const asked = { state: "open", place: "keep", cost: "keep", askedAt: new Date(), askedBy: "test" } as const;
  await inOrganisation(server.context.database, organisationId, async (transaction) =>
    transaction
      .insertInto("returns")
      .values({ id, organisationId, ...of, ...asked, soldAt: asked.askedAt, comment: "no", overridden: "[]" })
      .execute(),
  );
  return id;
}

/** One of nothing: no partner answers here, so nothing is sold. */
async function addInvoice(organisationId: string, partnerId: string): Promise<string> {
  const id = newId();
  await inOrganisation(server.context.database, organisationId, async (transaction) => {
    const [startsAt, at] = [new Date("2026-03-01T00:00:00Z"), new Date("2026-04-01T00:00:00Z")];
    const number = 1 + (await lockNumbers(transaction));
    await insertInvoice(
      transaction,
      { organisationId, by: "test", at },
      {
        ...{ id, partnerId, number, voidsInvoiceId: null, reason: null, currency: "GBP", netMinor: 100, taxMinor: 0 },
        period: { from: "2026-03-01", to: "2026-03-31", startsAt, endsAt: at },
        seller: await readSeller(transaction),
        buyer: { name: "Buyer", address: null, taxId: null },
        lines: [{ kind: "sales", campaignId: null, campaign: "Home", count: 1, amountMinor: 100 }],
      },
    );
  });
  return id;
}

/** A payment as it is when PayPal has not answered yet, and a problem with it. */
async function makePayment(client: TestClient, partnerId: string): Promise<Pick<Things, "topUpId" | "problemId">> {
  await client.call("PUT", "/v1/paypal-account", accountDocument);
  const { organisationId } = client;
  const [topUpId, problemId] = [newId(), newId()];
  await sql`insert into top_ups (id, organisation_id, partner_id, paypal_account_id, amount_minor, currency, state, requested_by, created_at)
    select ${topUpId}, ${organisationId}, ${partnerId}, id, 100, 'GBP', 'requested', 'test', now() from paypal_accounts
    where organisation_id = ${organisationId}`.execute(server.owner);
  await sql`insert into payment_problems (id, organisation_id, key, kind, what, created_at, last_at)
    values (${problemId}, ${organisationId}, 'k', 'reversed', 'x', now(), now())`.execute(server.owner);
  return { topUpId, problemId };
}

const someId = "01900000-0000-7000-8000-000000000000";

/** A body that each route would take, were the thing one's own. A new route with an id in its path belongs here. */
const bodies: Readonly<Record<string, unknown>> = {
  "POST /v1/partners/{id}/payments": { amount: 100, reason: "bank" },
  "POST /v1/campaigns/{id}/intake-keys": { name: "theirs" },
  "PATCH /v1/partners/{id}": { name: "Mine now" },
  "PATCH /v1/campaigns/{id}": { name: "Mine now" },
  "POST /v1/partners/{id}/preview": {},
  "POST /v1/partners/{id}/test": {},
  "POST /v1/campaigns/{id}/explain": { first_name: "Ann" },
  "POST /v1/leads/{id}/refer": { partnerId: someId },
  "POST /v1/leads/{id}/redeliver": {},
  "POST /v1/leads/{id}/unrefer": { partnerId: someId },
  "POST /v1/leads/{id}/reverse": { partnerId: someId },
  "POST /v1/leads/{id}/reverse-introducer": {},
  "POST /v1/leads/{id}/reverse-referral": { partnerId: someId },
  "POST /v1/leads/{id}/returns": { partnerId: someId, comment: "theirs" },
  "POST /v1/returns/{id}/decide": { decision: "accepted" },
  "POST /v1/deliveries/{id}/resolve": { outcome: "delivered" },
  "POST /v1/deliveries/{id}/billing-point": { point: "qualified" },
  "POST /v1/deliveries/{id}/decline": {},
  "POST /v1/transfers/{id}/outcome": { transferred: true },
  "POST /v1/transfers/{id}/call": { agentPhone: "+447700900400" },
  "PATCH /v1/campaigns/{id}/intake-keys/{keyId}": { name: "Mine now" },
  "POST /v1/partners/{id}/payouts": { amount: 1, reason: "bank" },
  "POST /v1/partners/{id}/invoices": { from: "2026-03-01", to: "2026-03-31" },
  "POST /v1/invoices/{id}/payments": { amount: 1 },
  "POST /v1/invoices/{id}/void": { reason: "wrong" },
  "POST /v1/invoices/{id}/send": { to: "accounts@example.com" },
  "POST /v1/partners/{id}/top-ups": { amount: 5_000 },
  "POST /v1/top-ups/{id}/refunds": { reason: "theirs" },
  "POST /v1/payment-problems/{id}/resolve": {},
  "PATCH /v1/workflows/{id}": { name: "Mine now" },
  "PATCH /v1/inbounds/{id}": { name: "Mine now" },
  "PATCH /v1/outbounds/{id}": { name: "Mine now" },
  "POST /v1/leads/{id}/referrals": { outboundId: someId, confirmed: true },
  "PUT /v1/leads/{id}/stage": { stageId: null },
  "PUT /v1/leads/{id}/owner": { ownerId: null },
  "POST /v1/leads/{id}/notes": { text: "theirs" },
  "POST /v1/leads/{id}/referral-status": { status: "won" },
  "PATCH /v1/users/{id}": { name: "Mine now" },
  "POST /v1/partners/{id}/users": { email: "mine@example.com", name: "Mine now", access: { level: "leads" } },
  "PATCH /v1/partner-users/{id}": { name: "Mine now" },
  "POST /v1/partner-users/{id}/password": { password: "seven boats in a harbour" },
  "POST /v1/settings-changes/{id}/decide": { decision: "approved" },
  "PATCH /v1/connections/outgoing/{id}": { permissions: ["notes"] },
  "PATCH /v1/connections/incoming/{id}": { reportsStatus: true },
  "POST /v1/connections/incoming/{id}/approve": { version: 1, stageId: someId },
};

/** What a key can ask at all: the rest is for who is signed in. */
function listForKeys(): readonly GuardedOperation[] {
  const isForKeys = ({ permission }: GuardedOperation) =>
    permission !== "signed_in" && !permission.startsWith("portal.");
  return listGuarded(server.api).filter(isForKeys);
}

describe("what one organisation has", () => {
  let things: Things;
  beforeAll(async () => {
    things = await makeThings(mine);
  });

  const fill = (path: string) => {
    const own: Readonly<Record<string, string>> = {
      partners: things.partnerId,
      campaigns: things.campaignId,
      leads: things.leadId,
      deliveries: things.deliveryId,
      transfers: things.deliveryId,
      returns: things.returnId,
      invoices: things.invoiceId,
      "api-keys": things.apiKeyId,
      "top-ups": things.topUpId,
      "payment-problems": things.problemId,
      workflows: things.workflowId,
      inbounds: things.inboundId,
      users: things.userId,
      outbounds: things.outboundId,
      referrals: things.referralId,
      "partner-users": things.partnerUserId,
      "settings-changes": things.settingsChangeId,
      "connections/outgoing": things.outgoingConnectionId,
      "connections/incoming": things.incomingConnectionId,
    };
    const [kind = "", part = ""] = path.split("/").slice(2);
    const id = own[kind] ?? own[`${kind}/${part}`] ?? "";
    return path.replace("{id}", id).replace("{keyId}", things.intakeKeyId);
  };

  test("is not there for another, on any route that names it", async () => {
    const before = await dump();
    const operations = listForKeys().filter(({ path }) => /\{(id|keyId)\}/.test(path));
    expect(operations.length).toBeGreaterThan(15);
    for (const { method, path } of operations) {
      const operation = `${method} ${path}`;
      const answer = await stranger.call(method as Method, fill(path), bodies[operation]);
      expect({ operation, ...Object(answer.body) }).toMatchObject({ operation, status: 404, code: "not_found" });
    }
    expect(await dump()).toBe(before);
  });

  test("is there for itself, on the same routes", async () => {
    for (const { method, path } of listForKeys().filter((one) => one.method === "GET" && one.path.includes("{id}"))) {
      expect({ path, status: (await mine.call(method as Method, fill(path))).status }).toEqual({ path, status: 200 });
    }
  });

  test("is on none of another's lists, nor found by its ids", async () => {
    await stranger.call("PUT", "/v1/paypal-account", accountDocument);
    const lists = listForKeys().filter(({ method, path }) => method === "GET" && /^\/v1\/[a-z-]+$/.test(path));
    expect(lists.length).toBeGreaterThan(6);
    const queries = [
      ...lists.map(({ path }) => path),
      "/v1/connections/outgoing",
      "/v1/connections/incoming",
      `/v1/leads?campaignId=${things.campaignId}`,
      `/v1/leads?partnerId=${things.partnerId}`,
      `/v1/leads?stageId=${things.workflowId}`,
      `/v1/referrals?leadId=${things.leadId}`,
      `/v1/referrals?outboundId=${things.outboundId}`,
      `/v1/deliveries?leadId=${things.leadId}`,
      `/v1/deliveries?partnerId=${things.partnerId}`,
      `/v1/changes?objectId=${things.partnerId}`,
      `/v1/invoices?partnerId=${things.partnerId}`,
      `/v1/leads?cursor=${things.leadId}`,
    ];
    for (const url of queries) {
      const answer = await stranger.call("GET", url);
      expect(answer.status).toBe(200);
      for (const id of [mine.organisationId, ...Object.values(things)]) expect(answer.raw).not.toContain(id);
    }
  });

  test("cannot be named in another's documents", async () => {
    const own = await addPartner(stranger);
    const asked = [
      await stranger.call("POST", "/v1/campaigns", campaignDocument([things.partnerId])),
      await stranger.call("POST", `/v1/partners/${own}/preview`, { leadId: things.leadId }),
      await stranger.call("POST", `/v1/partners/${own}/preview`, { campaignId: things.campaignId }),
    ];
    const { id } = await addCampaign(stranger);
    const key = { name: "theirs", introducerId: things.partnerId };
    asked.push(await stranger.call("POST", `/v1/campaigns/${id}/intake-keys`, key));
    for (const answer of asked) expect(answer.body).toMatchObject({ status: 422, code: "invalid_body" });
  });
});

describe("row-level security", () => {
  let application: Database;
  beforeAll(async () => {
    application = openDatabase(createPool(server.databaseUrl, "application", 1));
  });
  afterAll(async () => application.destroy());

  const tables = async () => {
    const { rows } = await sql<{ name: string; secured: boolean; policies: number }>`
      select c.relname as name, c.relrowsecurity as secured, count(p.polname) as policies
      from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_policy p on p.polrelid = c.oid
      where n.nspname = 'public' and c.relkind = 'r' and c.relname not like 'migration%'
      group by c.relname, c.relrowsecurity order by c.relname`.execute(server.owner);
    return rows;
  };
  const count = async (database: Database, name: string) =>
    (await sql<{ count: number }>`select count(*) as count from ${sql.table(name)}`.execute(database)).rows[0]?.count;

  test("is on for every table, with a policy", async () => {
    const all = await tables();
    expect(all.length).toBeGreaterThan(15);
    expect(all.filter(({ secured, policies }) => !secured || policies === 0)).toEqual([]);
  });

  test("shows no row of any table outside of an organisation", async () => {
    for (const { name } of await tables())
      expect({ name, rows: await count(application, name) }).toEqual({ name, rows: 0 });
    expect(await count(server.owner, "leads")).toBeGreaterThan(0);
  });

  test("shows an organisation its own rows only", async () => {
    await inOrganisation(application, stranger.organisationId, async (transaction) => {
      // `installation` is nobody's.
      for (const { name } of (await tables()).filter(
        (table) => !["installation", "sign_in_tries"].includes(table.name),
      )) {
        const { rows } = await sql`
          select 1 from ${sql.table(name)} where ${stranger.organisationId}::uuid not in (${ownersOf(name)})
        `.execute(transaction);
        expect({ name, foreign: rows.length }).toEqual({ name, foreign: 0 });
      }
    });
  });

  test("lets nobody write into another organisation", async () => {
    const write = async () =>
      inOrganisation(application, stranger.organisationId, async (transaction) =>
        sql`insert into changes (id, organisation_id, changed_at, changed_by, object_kind, object_id)
          values (gen_random_uuid(), ${mine.organisationId}, now(), 'x', 'partner', gen_random_uuid())`.execute(
          transaction,
        ),
      );
    await expect(write()).rejects.toThrow(/row-level security/);
    await inOrganisation(application, stranger.organisationId, async (transaction) => {
      const changed = await sql`update partners set name = 'x' where organisation_id = ${mine.organisationId}`.execute(
        transaction,
      );
      expect(changed.numAffectedRows).toBe(0n);
    });
  });

  test("ends with the transaction", async () => {
    await inOrganisation(application, mine.organisationId, async (transaction) => {
      expect(await count(transaction, "leads")).toBeGreaterThan(0);
    });
    expect(await count(application, "leads")).toBe(0);
  });

  test("cannot be switched off or stepped out of by the application's role", async () => {
    const { rows } =
      await sql`select rolsuper, rolbypassrls, rolcanlogin, rolcreaterole from pg_roles where rolname = 'handoff_app'`.execute(
        server.owner,
      );
    expect(rows).toEqual([{ rolsuper: false, rolbypassrls: false, rolcanlogin: false, rolcreaterole: false }]);
    const owned = await sql`select relname from pg_class where relowner = 'handoff_app'::regrole`.execute(server.owner);
    expect(owned.rows).toEqual([]);
    await sql`reset role`.execute(application);
    const role = await sql<{ name: string }>`select current_user as name`.execute(application);
    expect(role.rows).toEqual([{ name: "handoff_app" }]);
    await sql`set row_security = off`.execute(application);
    await expect(count(application, "leads")).rejects.toThrow(/row-level security/);
    await sql`reset row_security`.execute(application);
    for (const statement of [
      sql`alter table leads disable row level security`,
      sql`drop policy own_organisation on leads`,
      sql`update entries set amount_minor = 1`,
      sql`delete from transactions`,
      sql`insert into organisations (id, name, portal_code, time_zone, currency, created_at) values (gen_random_uuid(), 'x', 'x', 'UTC', 'GBP', now())`,
    ]) {
      await expect(statement.execute(application)).rejects.toThrow(/must be owner|permission denied/);
    }
  });
});
