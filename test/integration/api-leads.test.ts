import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { createPool, type Database, openDatabase } from "../../src/db/database.ts";
import { drainDueDeliveries } from "../../src/delivery/drain-partner.ts";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import { call, createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign, addPartner, jsonDelivery } from "../helpers/api-documents.ts";
import { type HttpLoopback, startHttp } from "../helpers/loopback.ts";

/** Leads and deliveries over the API after a real way through routing and a real HTTP partner. */

let receiver: HttpLoopback;
let server: TestApi;
let client: TestClient;
let now = new Date("2026-03-04T10:00:00Z");

beforeAll(async () => {
  receiver = await startHttp((request, response) => {
    const isAccepted = request.path !== "/refuses";
    response.writeHead(200, { "content-type": "application/json" });
    response.end(
      JSON.stringify(isAccepted ? { ok: true, id: "R-1" } : { ok: false, why: "already known: Zoë Example" }),
    );
  });
  server = await createTestApi({ environment: { HANDOFF_ALLOW_HOSTS: receiver.host }, clock: () => now });
  client = await server.createClient();
});
afterAll(async () => {
  await server.close();
  await receiver.close();
});

const delivery = (path: string) =>
  jsonDelivery({
    url: `${receiver.url}${path}`,
    success: { path: "$.ok", equals: true },
    reason: "$.why",
    reference: "$.id",
  });

interface Market {
  readonly campaignId: string;
  readonly intakeKey: string;
  readonly partnerIds: readonly string[];
}

/** A campaign with partners that are asked in this order. */
async function open(...partners: Record<string, unknown>[]): Promise<Market> {
  const partnerIds: string[] = [];
  for (const partner of partners) partnerIds.push(await addPartner(client, { creditLimit: 100_000, ...partner }));
  const routing = [{ partners: partnerIds.map((partnerId, priority) => ({ partnerId, priority, price: 1250 })) }];
  const { id, intakeKey } = await addCampaign(client, partnerIds, { routing });
  return { campaignId: id, intakeKey, partnerIds };
}

async function send(market: Market, lead: Record<string, unknown>, query = ""): Promise<string> {
  return (await call(server.api, null, "POST", `/v1/intake/${market.intakeKey}${query}`, lead)).text("leadId");
}

/** Routes and delivers until the lead has been with every partner that it can be with. */
async function settle({ campaignId, partnerIds }: Market): Promise<void> {
  for (const partnerId of partnerIds) {
    await routeDueLeads(server.context, client.organisationId, campaignId);
    await drainDueDeliveries(server.context, client.organisationId, partnerId);
  }
  await routeDueLeads(server.context, client.organisationId, campaignId);
}

describe("a lead", () => {
  test("is shown with its deliveries, their attempts, the reasons of the latest decision and what happened", async () => {
    const market = await open(
      { name: "Refuses", internet: delivery("/refuses") },
      { name: "Closed", internet: delivery("/leads"), active: false },
      { name: "Takes", internet: delivery("/leads") },
    );
    const contacts = [{ first_name: "Bo", email: "bo@example.com" }];
    const id = await send(
      market,
      { first_name: "Zoë", email: "zoe@example.com", contacts, note: "ring twice" },
      "?source=web",
    );
    await settle(market);
    const lead = await client.call("GET", `/v1/leads/${id}`);
    expect(lead.body).toMatchObject({
      id,
      state: "sold",
      soldCount: 1,
      source: "web",
      fields: { first_name: "Zoë", email: "zoe@example.com" },
      extra: { note: "ring twice" },
      contacts: [{ first_name: "Bo", email: "bo@example.com" }],
      deliveries: [
        {
          partnerName: "Refuses",
          state: "rejected",
          reason: "already known: Zoë Example",
          attempts: [{ number: 1, channel: "json", outcome: "rejected", status: 200 }],
        },
        {
          partnerName: "Takes",
          state: "delivered",
          price: 1250,
          currency: "GBP",
          reference: "R-1",
          attempts: [{ outcome: "accepted", request: { body: '{"name":"Zoë"}' }, response: { status: 200 } }],
        },
      ],
      explanation: {
        partners: [
          { name: "Takes", result: "sent", reasons: [], price: 1250 },
          {
            name: "Refuses",
            result: "excluded",
            reasons: [{ code: "already_had", text: "The partner already had this lead (rejected)." }],
          },
          { name: "Closed", result: "excluded", reasons: [{ code: "partner_inactive", text: expect.any(String) }] },
        ],
      },
    });
    expect(lead.raw).not.toContain("open-sesame-4711");
    const told = Object(lead.value("timeline")).map((entry: { text: string }) => entry.text);
    expect(told[0]).toBe("The lead came in from web.");
    expect(told).toEqual(
      expect.arrayContaining([
        "A delivery to Refuses began.",
        "Attempt 1 to Refuses over json: rejected (200): already known: Zoë Example.",
        "The delivery to Refuses ended: rejected: already known: Zoë Example.",
        "Attempt 1 to Takes over json: accepted (200).",
        "The delivery to Takes ended: delivered.",
      ]),
    );
    const [, taken] = Object(lead.value("deliveries")) as { id: string }[];
    expect((await client.call("GET", `/v1/deliveries/${taken?.id}`)).body).toEqual(taken);
  });

  test("that waits says for whom, until when and why; one that nobody takes says why", async () => {
    const closed = {
      internet: delivery("/leads"),
      timeZone: "UTC",
      whenClosed: "hold",
      schedule: { thu: [{ from: "09:00", to: "17:00" }] },
    };
    const market = await open({ name: "Tomorrow", ...closed });
    const id = await send(market, { first_name: "Ann" });
    await settle(market);
    const reason = { code: "closed", text: "The partner is closed until 2026-03-05T09:00:00.000Z." };
    const lead = await client.call("GET", `/v1/leads/${id}`);
    expect(lead.body).toMatchObject({
      state: "held",
      reason,
      dueAt: "2026-03-05T09:00:00.000Z",
      deliveries: [{ state: "held", hold: { until: "2026-03-05T09:00:00.000Z", reason } }],
    });
    const nobody = await open();
    const unsold = await send(nobody, { first_name: "Ann" });
    await routeDueLeads(server.context, client.organisationId, nobody.campaignId);
    expect((await client.call("GET", `/v1/leads/${unsold}`)).body).toMatchObject({
      state: "unsold",
      reason: { code: "no_partners", text: "Nobody is in the campaign's routing." },
    });
  });
});

describe("leads", () => {
  let market: Market;
  let other: Market;
  const ids: Record<string, string> = {};
  beforeAll(async () => {
    market = await open({ internet: delivery("/leads") });
    other = await open();
    now = new Date("2026-03-01T00:00:00Z");
    ids.early = await send(
      market,
      { first_name: "Early", email: "early@example.com", phone: "+44 20 7946 0001" },
      "?source=spring",
    );
    now = new Date("2026-03-02T00:00:00Z");
    ids.late = await send(market, { first_name: "Late", email: "late@example.com" }, "?source=summer");
    ids.again = await send(market, { first_name: "Again", email: "EARLY@example.com" });
    ids.bad = await send(market, { email: "bad" });
    ids.elsewhere = await send(other, { first_name: "Elsewhere", email: "early@example.com" });
    await settle(market);
  });
  const found = async (query: string) => {
    const answer = await client.call("GET", `/v1/leads?${query}`);
    return Object(answer.value("data")).map(({ id }: { id: string }) =>
      Object.keys(ids).find((name) => ids[name] === id),
    );
  };

  test("are found by campaign, state, source and partner", async () => {
    expect(await found(`campaignId=${market.campaignId}`)).toEqual(["bad", "again", "late", "early"]);
    expect(await found(`campaignId=${market.campaignId}&state=sold`)).toEqual(["late", "early"]);
    expect(await found(`campaignId=${market.campaignId}&state=duplicate`)).toEqual(["again"]);
    expect(await found("source=spring")).toEqual(["early"]);
    expect(await found(`partnerId=${market.partnerIds[0]}`)).toEqual(["late", "early"]);
  });

  test("are found by what a field holds, in any spelling, in one campaign or in all that match it", async () => {
    expect(await found(`campaignId=${market.campaignId}&field=email&value=Early%40EXAMPLE.com`)).toEqual(["early"]);
    expect(await found("field=email&value=early@example.com")).toEqual(["elsewhere", "early"]);
    expect(await found("field=phone&value=020%207946%200001")).toEqual(["early"]);
    expect(await found("field=email&value=nobody@example.com")).toEqual([]);
    const unknown = await client.call("GET", "/v1/leads?field=shoe_size&value=9");
    expect(unknown.body).toMatchObject({
      status: 400,
      fields: [{ field: "field", message: expect.stringContaining("email, phone") }],
    });
    expect((await client.call("GET", "/v1/leads?field=email&value=x")).body).toMatchObject({
      status: 400,
      fields: [{ field: "value" }],
    });
  });

  test("are paged newest first without one missing or twice", async () => {
    const all = await found("limit=200");
    const seen: string[] = [];
    for (let cursor = ""; ; ) {
      const page = await client.call("GET", `/v1/leads?limit=2${cursor}`);
      seen.push(
        ...Object(page.value("data")).map(({ id }: { id: string }) =>
          Object.keys(ids).find((name) => ids[name] === id),
        ),
      );
      if (page.value("nextCursor") === null) break;
      cursor = `&cursor=${page.text("nextCursor")}`;
    }
    expect(seen).toEqual(all);
  });
});

describe("leads of a time", () => {
  test("are found from an instant on and before another", async () => {
    // Ids hold the machine's time, and the search relies on that: no set clock here.
    const live = await createTestApi();
    try {
      const own = await live.createClient();
      const { intakeKey } = await addCampaign(own);
      const receive = async (name: string) =>
        (await call(live.api, null, "POST", `/v1/intake/${intakeKey}`, { first_name: name })).text("leadId");
      const first = await receive("Ann");
      const between = new Date(Date.now() + 1);
      await new Promise((resolve) => setTimeout(resolve, 5));
      const second = await receive("Bob");
      const found = async (query: string) =>
        Object((await own.call("GET", `/v1/leads?${query}`)).value("data")).map(({ id }: { id: string }) => id);
      expect(await found(`receivedFrom=${between.toISOString()}`)).toEqual([second]);
      expect(await found(`receivedTo=${between.toISOString()}`)).toEqual([first]);
      expect(
        await found(
          `receivedFrom=${new Date(Date.now() - 60_000).toISOString()}&receivedTo=${new Date(Date.now() + 60_000).toISOString()}`,
        ),
      ).toEqual([second, first]);
      expect(await found("receivedFrom=2099-01-01T00:00:00Z")).toEqual([]);
      expect(await found("receivedTo=2000-01-01T00:00:00Z")).toEqual([]);
    } finally {
      await live.close();
    }
  });
});

describe("deliveries", () => {
  test("are found by partner, lead and state, in pages", async () => {
    const market = await open({ internet: delivery("/refuses") }, { internet: delivery("/leads") });
    const leads = [await send(market, { first_name: "Ann" }), await send(market, { first_name: "Bob" })];
    await settle(market);
    const [refuses, takes] = market.partnerIds;
    const states = async (query: string) =>
      Object((await client.call("GET", `/v1/deliveries?${query}`)).value("data")).map(
        ({ state }: { state: string }) => state,
      );
    expect(await states(`partnerId=${refuses}`)).toEqual(["rejected", "rejected"]);
    expect(await states(`partnerId=${takes}&state=delivered`)).toEqual(["delivered", "delivered"]);
    expect(await states(`partnerId=${takes}&state=rejected`)).toEqual([]);
    expect(await states(`leadId=${leads[0]}`)).toEqual(["delivered", "rejected"]);
    const page = await client.call("GET", `/v1/deliveries?partnerId=${takes}&limit=1`);
    const next = await client.call(
      "GET",
      `/v1/deliveries?partnerId=${takes}&limit=1&cursor=${page.text("nextCursor")}`,
    );
    expect(next.value("nextCursor")).toBeNull();
    expect(next.text("data.0.id")).not.toBe(page.text("data.0.id"));
  });
});

describe("erasing a lead", () => {
  test("leaves nothing personal of it anywhere, and its money as it was", async () => {
    const market = await open({ internet: delivery("/refuses") }, { internet: delivery("/leads") });
    const lead = {
      first_name: "Zebedee",
      email: "zebedee@example.com",
      phone: "+442079460777",
      contacts: [{ first_name: "Zuleika" }],
      hobby: "zithers",
    };
    const id = await send(market, lead, "?source=zine");
    await settle(market);
    const bad = await call(
      server.api,
      null,
      "POST",
      `/v1/intake/${market.intakeKey}`,
      { first_name: "Zenobia", email: "zenobia-at-home" },
      { headers: { "idempotency-key": "z" } },
    );
    const ledger = await client.call("GET", `/v1/partners/${market.partnerIds[1]}/ledger`);
    for (const erased of [id, bad.text("leadId")])
      expect((await client.call("DELETE", `/v1/leads/${erased}`)).status).toBe(204);
    const { rows } = await sql<{
      name: string;
    }>`select tablename as name from pg_tables where schemaname = 'public'`.execute(server.owner);
    for (const { name } of rows) {
      const table = await sql<{
        text: string | null;
      }>`select string_agg(t::text, ' ') as text from ${sql.table(name)} t`.execute(server.owner);
      for (const word of [
        "Zebedee",
        "zebedee",
        "7946 0777",
        "79460777",
        "Zuleika",
        "zithers",
        "Zenobia",
        "zenobia",
        "zine",
      ]) {
        expect({ name, word, found: table.rows[0]?.text?.includes(word) ?? false }).toEqual({
          name,
          word,
          found: false,
        });
      }
    }
    expect((await client.call("GET", `/v1/leads/${id}`)).body).toMatchObject({
      state: "erased",
      fields: {},
      extra: {},
      contacts: [],
      deliveries: [{ state: "rejected" }, { state: "delivered", attempts: [{ request: null, response: null }] }],
    });
    expect((await client.call("GET", `/v1/partners/${market.partnerIds[1]}/ledger`)).body).toEqual(ledger.body);
    expect((await client.call("DELETE", `/v1/leads/${id}`)).status).toBe(204);
  });

  test("is refused while a delivery is under way, and cancels what is held", async () => {
    const market = await open({ internet: delivery("/leads") });
    const id = await send(market, { first_name: "Ann" });
    await routeDueLeads(server.context, client.organisationId, market.campaignId);
    expect((await client.call("DELETE", `/v1/leads/${id}`)).body).toMatchObject({
      status: 409,
      code: "delivery_under_way",
    });
    await settle(market);
    expect((await client.call("DELETE", `/v1/leads/${id}`)).status).toBe(204);

    const capped = await open({
      internet: delivery("/leads"),
      schedule: { thu: [{ from: "09:00", to: "17:00" }] },
      whenClosed: "hold",
    });
    const held = await send(capped, { first_name: "Bob" });
    await routeDueLeads(server.context, client.organisationId, capped.campaignId);
    expect((await client.call("DELETE", `/v1/leads/${held}`)).status).toBe(204);
    expect((await client.call("GET", `/v1/leads/${held}`)).body).toMatchObject({
      state: "erased",
      dueAt: null,
      deliveries: [{ state: "cancelled" }],
    });
  });

  test("lets the same person come in again as new", async () => {
    const market = await open();
    const id = await send(market, { first_name: "Ann", email: "again@example.com" });
    await client.call("DELETE", `/v1/leads/${id}`);
    const again = await call(server.api, null, "POST", `/v1/intake/${market.intakeKey}`, {
      first_name: "Ann",
      email: "again@example.com",
    });
    expect(again.body).toMatchObject({ status: "received" });
  });
});

describe("the tool for a WSDL", () => {
  test("says what is wrong by its field", async () => {
    expect((await client.call("POST", "/v1/tools/wsdl", { text: "<a/>" })).body).toMatchObject({
      status: 422,
      fields: [{ field: "text", code: "unreadable" }],
    });
    expect((await client.call("POST", "/v1/tools/wsdl", { url: "http://10.0.0.1/x?wsdl" })).body).toMatchObject({
      status: 422,
      fields: [{ field: "url", message: expect.stringContaining("private") }],
    });
    for (const body of [{}, { text: "<a/>", url: "https://x.test/" }]) {
      expect((await client.call("POST", "/v1/tools/wsdl", body)).body).toMatchObject({
        status: 422,
        fields: [{ field: "body", message: "must have either text or url" }],
      });
    }
  });
});

describe("with many leads", () => {
  let many: TestApi;
  beforeAll(async () => {
    many = await createTestApi();
  });
  afterAll(async () => many.close());

  test("no list reads a growing table from end to end", async () => {
    const own = await many.createClient();
    const partnerId = await addPartner(own);
    const { id: campaignId } = await addCampaign(own, [partnerId]);
    await asOwner(many, async (owner) => fillWithLeads(owner, own.organisationId, campaignId, partnerId));
    await asOwner(many, async (owner) => sql`select pg_stat_reset()`.execute(owner));
    const lead = (await own.call("GET", "/v1/leads?limit=1")).text("data.0.id");
    const middle = new Date(0x01900000 * 65_536 + 10_000).toISOString();
    const queries = [
      "/v1/leads",
      `/v1/leads?cursor=${lead}`,
      `/v1/leads?campaignId=${campaignId}`,
      "/v1/leads?state=unsold",
      "/v1/leads?state=invalid",
      `/v1/leads?receivedFrom=${middle}`,
      `/v1/leads?receivedTo=${middle}`,
      "/v1/leads?field=email&value=ann@example.com",
      `/v1/leads?field=email&value=ann@example.com&campaignId=${campaignId}`,
      `/v1/leads/${lead}`,
      "/v1/deliveries",
      `/v1/deliveries?partnerId=${partnerId}`,
      `/v1/deliveries?leadId=${lead}`,
    ];
    for (const url of queries) {
      expect({ url, status: (await own.call("GET", url)).status }).toEqual({ url, status: 200 });
    }
    await many.context.database.destroy();
    const { rows } = await asOwner(many, async (owner) =>
      sql`select relname from pg_stat_user_tables
        where seq_scan > 0 and relname in ('leads', 'deliveries', 'lead_keys')`.execute(owner),
    );
    expect(rows).toEqual([]);
  });
});

/** Does something over a connection of its own: what a connection counted is told when it ends. */
async function asOwner<T>(server: TestApi, work: (owner: Database) => Promise<T>): Promise<T> {
  const owner = openDatabase(createPool(server.databaseUrl, "owner", 1));
  try {
    return await work(owner);
  } finally {
    await owner.destroy();
  }
}

async function fillWithLeads(owner: Database, organisationId: string, campaignId: string, partnerId: string) {
  await sql`
    insert into leads (id, organisation_id, campaign_id, state, fields, received_at, hold_ends_at)
    select overlay(gen_random_uuid()::text placing '01900000-' || lpad(to_hex(n), 4, '0') from 1 for 13)::uuid,
      ${organisationId}, ${campaignId}, case when n % 100 = 0 then 'unsold' else 'sold' end, '{}', to_timestamp((x'01900000'::bigint * 65536 + n) / 1000.0), now()
    from generate_series(1, 20000) n`.execute(owner);
  await sql`
    insert into deliveries (id, organisation_id, lead_id, campaign_id, partner_id, state, price_minor, currency, created_at)
    select gen_random_uuid(), organisation_id, id, campaign_id, ${partnerId}, 'delivered', 5, 'GBP', received_at
    from leads`.execute(owner);
  await sql`
    insert into lead_keys (organisation_id, campaign_id, key_hash, lead_id, received_at)
    select organisation_id, campaign_id, sha256(id::text::bytea), id, received_at from leads`.execute(owner);
  await sql`analyze leads, deliveries, lead_keys`.execute(owner);
}
