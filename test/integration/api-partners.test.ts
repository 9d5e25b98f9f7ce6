import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { inOrganisation } from "../../src/db/database.ts";
import { drainDueDeliveries } from "../../src/delivery/drain-partner.ts";
import { openDeliverySettings } from "../../src/partners/delivery-settings.ts";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import { call, createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign, addPartner, jsonDelivery, partnerDocument } from "../helpers/api-documents.ts";
import { type HttpLoopback, startHttp } from "../helpers/loopback.ts";

/** Partners over the API, on a real database and, where something is sent, a real HTTP server. */

let receiver: HttpLoopback;
let server: TestApi;
let client: TestClient;
let now = new Date("2026-03-04T10:30:00Z");

beforeAll(async () => {
  receiver = await startHttp((_request, response) =>
    response.writeHead(200, { "content-type": "application/json" }).end('{"ok":true,"echo":"open-sesame-4711"}'),
  );
  server = await createTestApi({ environment: { HANDOFF_ALLOW_HOSTS: receiver.host }, clock: () => now });
  client = await server.createClient();
});
afterAll(async () => {
  await server.close();
  await receiver.close();
});

const secrets = [
  "open-sesame-4711",
  "client-secret-4711",
  "header-secret-4711",
  "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
];

describe("a partner", () => {
  test("is given back as it was taken, with what was left out filled in and how it stands", async () => {
    const document = partnerDocument({
      type: "both",
      contact: {
        name: "Ann Example",
        email: "leads@acme.test",
        phone: "+44 20 7946 0000",
        transferPhone: "+442079460001",
      },
      limits: { day: 10, month: 200 },
      schedule: { mon: [{ from: "09:00", to: "17:00" }], closedDates: ["2026-12-25"] },
      whenClosed: "hold",
      alerts: { leadReferredSms: true },
      email: { to: ["leads@acme.test"] },
    });
    const created = await client.call("POST", "/v1/partners", document);
    expect(created.status).toBe(201);
    expect(created.body).toMatchObject({
      name: "Acme",
      type: "both",
      active: true,
      leadValue: 1250,
      creditLimit: 0,
      contact: { phone: "+442079460000", transferPhone: "+442079460001" },
      limits: { hour: 0, day: 10, week: 0, month: 200, total: 0, spendDay: 0, spendWeek: 0, spendMonth: 0 },
      whenClosed: "hold",
      whenCapped: null,
      alerts: { leadReferredSms: true, leadReferredEmail: false },
      internet: { method: "json", httpMethod: "POST", timeoutMs: 15000 },
      email: { to: ["leads@acme.test"], template: null },
      concurrency: 10,
      spreadSeconds: 5,
      funds: { balance: 0, reserved: 0, available: 0 },
      endpoint: { state: "working", pausedUntil: null },
      createdAt: now.toISOString(),
    });
    expect((await client.call("GET", `/v1/partners/${created.text("id")}`)).body).toEqual(created.body);
  });

  test("with a monthly limit that the daily one never reaches is saved, with a warning that says the number", async () => {
    const created = await client.call("POST", "/v1/partners", partnerDocument({ limits: { day: 2, month: 200 } }));
    expect(created.status).toBe(201);
    expect(created.value("warnings")).toEqual([
      { field: "limits.month", message: expect.stringContaining("at most 62") },
    ]);
  });

  test("is warned about alerts and deliveries that lead nowhere", async () => {
    const document = { internet: null, alerts: { leadReferredSms: true, leadReferredEmail: true } };
    const created = await client.call("POST", "/v1/partners", partnerDocument(document));
    const fields = Object(created.value("warnings")).map(({ field }: { field: string }) => field);
    expect(fields).toEqual(["internet", "contact.phone", "contact.email", "alerts.leadReferredSms"]);
  });

  test("with a summary of funds that goes nowhere is warned about it, and one at no time of day is refused", async () => {
    const summary = (alerts: object) => client.call("POST", "/v1/partners", partnerDocument({ alerts }));
    const created = await summary({ fundsSummaryAt: "18:00" });
    expect(created.value("warnings")).toEqual([expect.objectContaining({ field: "alerts.fundsSummaryAt" })]);
    const warned = await summary({ fundsSms: true, fundsEmail: true });
    const fields = Object(warned.value("warnings")).map(({ field }: { field: string }) => field);
    expect(fields).toEqual(["contact.phone", "contact.email", "alerts.fundsSms"]);
    for (const fundsSummaryAt of ["24:00", "6pm", ""]) {
      const refused = await summary({ fundsSummaryAt });
      expect([refused.status, refused.value("fields.0.field")]).toEqual([422, "alerts.fundsSummaryAt"]);
    }
    const negative = await client.call("POST", "/v1/partners", partnerDocument({ lowFundsThreshold: -1 }));
    expect([negative.status, negative.value("fields.0.field")]).toEqual([422, "lowFundsThreshold"]);
  });

  test("shows whether its funds are low, and since when it knows", async () => {
    const created = await client.call("POST", "/v1/partners", partnerDocument({ lowFundsThreshold: 1000 }));
    expect(created.body).toMatchObject({
      lowFundsThreshold: 1000,
      funds: { available: 0, lowSince: now.toISOString(), outSince: null },
    });
    const paid = await client.call("POST", `/v1/partners/${created.text("id")}/payments`, {
      amount: 1001,
      reason: "x",
    });
    expect(paid.value("funds")).toMatchObject({ available: 1001, lowSince: null, outSince: null });
  });

  test("is listed newest first, in pages, and found by type, activity and the start of its name", async () => {
    const { call: ask } = await server.createClient("Pages");
    for (const [name, type, active] of [
      ["Zeta", "partner", true],
      ["Alpha", "introducer", true],
      ["alphabet", "both", false],
      ["100% Leads", "partner", true],
    ] as const) {
      await ask("POST", "/v1/partners", partnerDocument({ name, type, active }));
    }
    const names = async (query: string) => {
      const answer = await ask("GET", `/v1/partners${query}`);
      return {
        names: Object(answer.value("data")).map(({ name }: { name: string }) => name),
        next: answer.value("nextCursor"),
      };
    };
    expect(await names("")).toEqual({ names: ["100% Leads", "alphabet", "Alpha", "Zeta"], next: null });
    const first = await names("?limit=3");
    expect(first.names).toEqual(["100% Leads", "alphabet", "Alpha"]);
    expect(await names(`?limit=3&cursor=${first.next}`)).toEqual({ names: ["Zeta"], next: null });
    expect((await names("?name=alpha")).names).toEqual(["alphabet", "Alpha"]);
    expect((await names("?name=100%25")).names).toEqual(["100% Leads"]);
    expect((await names("?name=%25")).names).toEqual([]);
    expect((await names("?type=partner&active=true")).names).toEqual(["100% Leads", "Zeta"]);
    expect((await names("?active=false")).names).toEqual(["alphabet"]);
  });
});

describe("a change of a partner", () => {
  test("replaces the keys it names, as a whole, and no other", async () => {
    const id = await addPartner(client, {
      contact: { name: "Ann", email: "ann@acme.test" },
      limits: { day: 5 },
      whenClosed: "hold",
    });
    const changed = await client.call("PATCH", `/v1/partners/${id}`, {
      contact: { email: "new@acme.test" },
      whenClosed: null,
    });
    expect(changed.body).toMatchObject({
      contact: { name: null, email: "new@acme.test" },
      limits: { day: 5 },
      whenClosed: null,
      internet: { url: "https://acme.test/leads" },
    });
  });

  test("that clears what cannot be empty is refused", async () => {
    const id = await addPartner(client);
    const answer = await client.call("PATCH", `/v1/partners/${id}`, { timeZone: null });
    expect(answer.body).toMatchObject({ status: 422, fields: [{ field: "timeZone" }] });
  });

  test("leaves a record of who, when, before and after; one that changes nothing leaves none", async () => {
    const id = await addPartner(client, { limits: { day: 5 } });
    await client.call("PATCH", `/v1/partners/${id}`, { limits: { day: 6 }, name: "Acme" });
    await client.call("PATCH", `/v1/partners/${id}`, { limits: { day: 6 } });
    const { body } = await client.call("GET", `/v1/changes?objectId=${id}`);
    expect(body).toMatchObject({
      data: [
        {
          changedAt: now.toISOString(),
          changedBy: "API key test",
          objectKind: "partner",
          before: { limits: { day: 5 } },
          after: { limits: { day: 6 } },
        },
        { before: null, after: { name: "Acme" } },
      ],
      nextCursor: null,
    });
  });

  test("may not move money into another currency", async () => {
    const id = await addPartner(client);
    expect((await client.call("PATCH", `/v1/partners/${id}`, { currency: "EUR" })).body).toMatchObject({
      currency: "EUR",
    });
    await client.call("POST", `/v1/partners/${id}/payments`, { amount: 500, reason: "bank" });
    const refused = await client.call("PATCH", `/v1/partners/${id}`, { currency: "GBP", name: "Other" });
    expect(refused.body).toMatchObject({ status: 409, code: "currency_in_use" });
    expect((await client.call("GET", `/v1/partners/${id}`)).body).toMatchObject({
      currency: "EUR",
      name: "Acme",
      funds: { balance: 500 },
    });
  });

  test("that may let held leads go has them looked at again; another has not", async () => {
    const id = await addPartner(client);
    const recheck = async () => {
      const { rows } = await sql<{ at: Date | null }>`update endpoints e set recheck_holds_at = null
        from endpoints old where e.partner_id = ${id} and old.partner_id = e.partner_id returning old.recheck_holds_at as at`.execute(
        server.owner,
      );
      return rows[0]?.at ?? null;
    };
    const changes = [
      { limits: { day: 3 } },
      { schedule: { mon: [] } },
      { timeZone: "Asia/Tokyo" },
      { creditLimit: 5 },
      { active: false },
      { whenCapped: "hold" },
      { internet: null },
      { email: { to: ["a@acme.test"] } },
    ];
    for (const change of changes) {
      await client.call("PATCH", `/v1/partners/${id}`, change);
      expect({ change, at: await recheck() }).toEqual({ change, at: now });
    }
    for (const change of [{ name: "Other" }, { concurrency: 3 }, { alerts: {} }]) {
      await client.call("PATCH", `/v1/partners/${id}`, change);
      expect({ change, at: await recheck() }).toEqual({ change, at: null });
    }
    await client.call("POST", `/v1/partners/${id}/payments`, { amount: 5, reason: "bank" });
    expect(await recheck()).toEqual(now);
  });

  test("of its delivery is refused where a campaign that it is in has no such field", async () => {
    const id = await addPartner(client);
    await addCampaign(client, [id]);
    const answer = await client.call("PATCH", `/v1/partners/${id}`, {
      internet: jsonDelivery({ body: '{"x":"{{ lead.shoe_size }}"}' }),
    });
    expect(answer.body).toMatchObject({ status: 422, fields: [{ field: "internet.body", code: "not_renderable" }] });
    expect(answer.raw).toContain("lead.shoe_size");
  });

  test("ends the pause of its endpoint when the delivery changes, and by hand", async () => {
    const id = await addPartner(client);
    const pause = async () =>
      sql`update endpoints set paused_until = ${new Date(now.getTime() + 60_000)}, pause_reason = 'The partner answered 404.', pause_count = 1
        where partner_id = ${id}`.execute(server.owner);
    await pause();
    expect((await client.call("GET", `/v1/partners/${id}`)).value("endpoint")).toMatchObject({
      state: "paused",
      pauseReason: "The partner answered 404.",
    });
    const changed = await client.call("PATCH", `/v1/partners/${id}`, {
      internet: jsonDelivery({ url: "https://acme.test/new" }),
    });
    expect(changed.value("endpoint.state")).toBe("working");
    await pause();
    expect((await client.call("POST", `/v1/partners/${id}/resume`)).value("endpoint")).toEqual({
      state: "working",
      pausedUntil: null,
      pauseReason: null,
      recent: "",
    });
    expect((await client.call("GET", `/v1/changes?objectId=${id}`)).value("data.0.before")).toMatchObject({
      pauseReason: "The partner answered 404.",
    });
  });
});

describe("secrets", () => {
  const withSecrets = (auth: Record<string, unknown>) => ({
    internet: jsonDelivery({ auth, headers: { "X-Api-Key": "header-secret-4711", "X-Plain": "plain" } }),
  });
  const stored = async (id: string) =>
    inOrganisation(server.context.database, client.organisationId, async (transaction) => {
      const row = await transaction
        .selectFrom("partners")
        .select(["internet", "email"])
        .where("id", "=", id)
        .executeTakeFirstOrThrow();
      return openDeliverySettings(server.context.vault, row);
    });

  test.each([
    [{ type: "bearer", token: "open-sesame-4711" }],
    [{ type: "basic", username: "acme", password: "open-sesame-4711" }],
    [{ type: "oauth2", tokenUrl: "https://acme.test/token", clientId: "acme", clientSecret: "client-secret-4711" }],
    [{ type: "standardWebhooks", secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }],
  ])("of %j are in no answer, no record of changes, and not in the clear in the database", async (auth) => {
    const created = await client.call("POST", "/v1/partners", partnerDocument(withSecrets(auth)));
    const url = `/v1/partners/${created.text("id")}`;
    const changed = await client.call("PATCH", url, {
      name: "New name",
      ...withSecrets(auth),
    });
    const answers = [
      created,
      changed,
      await client.call("GET", url),
      await client.call("GET", "/v1/partners"),
      await client.call("GET", "/v1/changes"),
      await client.call("POST", `${url}/preview`, {}),
    ];
    const table = await sql<{
      text: string;
    }>`select string_agg(p::text, ' ') || (select string_agg(c::text, ' ') from changes c) as text from partners p`.execute(
      server.owner,
    );
    for (const text of [...answers.map((answer) => answer.raw), table.rows[0]?.text ?? ""]) {
      for (const secret of secrets) expect(text).not.toContain(secret);
    }
    expect(created.raw).toContain("••••••");
    expect(created.value("internet.headers")).toEqual({ "X-Api-Key": "••••••", "X-Plain": "plain" });
  });

  test("that come back masked stay as they are, and new ones take their place", async () => {
    const id = await addPartner(client, withSecrets({ type: "bearer", token: "open-sesame-4711" }));
    const shown = await client.call("GET", `/v1/partners/${id}`);
    const settings = Object(shown.value("internet"));
    await client.call("PATCH", `/v1/partners/${id}`, { internet: { ...settings, url: "https://acme.test/v2" } });
    expect((await stored(id)).internet).toMatchObject({
      url: "https://acme.test/v2",
      auth: { token: "open-sesame-4711" },
      headers: { "X-Api-Key": "header-secret-4711" },
    });
    await client.call("PATCH", `/v1/partners/${id}`, {
      internet: { ...settings, auth: { type: "bearer", token: "client-secret-4711" } },
    });
    expect((await stored(id)).internet).toMatchObject({
      auth: { token: "client-secret-4711" },
      headers: { "X-Api-Key": "header-secret-4711" },
    });
  });

  test("that come back masked under another kind of authentication are asked for", async () => {
    const id = await addPartner(client);
    const answer = await client.call("PATCH", `/v1/partners/${id}`, {
      internet: jsonDelivery({ auth: { type: "basic", username: "a", password: "••••••" } }),
    });
    expect(answer.body).toMatchObject({ status: 422, fields: [{ field: "internet.auth.password", code: "required" }] });
  });
});

describe("usage", () => {
  const internet = () => jsonDelivery({ url: `${receiver.url}/leads` });
  async function sell(partnerId: string, campaign: { id: string; intakeKey: string }, at: string): Promise<void> {
    now = new Date(at);
    await call(server.api, null, "POST", `/v1/intake/${campaign.intakeKey}`, { first_name: "Ann", note: at });
    await routeDueLeads(server.context, client.organisationId, campaign.id);
    await drainDueDeliveries(server.context, client.organisationId, partnerId);
  }
  const usage = async (id: string) => (await client.call("GET", `/v1/partners/${id}`)).value("usage");

  test("is shown against the limits of the present windows, and counted anew when the time zone changes", async () => {
    const id = await addPartner(client, {
      internet: internet(),
      creditLimit: 100_000,
      limits: { day: 10, spendDay: 50_000, month: 9 },
    });
    const campaign = await addCampaign(client, [id]);
    // Wednesday 4 March in London; 20:00 is Thursday 05:00 in Tokyo, 10:00 still Wednesday.
    await sell(id, campaign, "2026-02-28T12:00:00Z");
    await sell(id, campaign, "2026-03-04T10:00:00Z");
    await sell(id, campaign, "2026-03-04T20:00:00Z");
    await sell(id, campaign, "2026-03-04T20:30:00Z");
    expect(await usage(id)).toMatchObject({
      hour: { leads: 2 },
      day: { leads: 3, limit: 10, spend: 3750, spendLimit: 50_000, endsAt: "2026-03-05T00:00:00.000Z" },
      week: { leads: 3 },
      month: { leads: 3, limit: 9, endsAt: "2026-03-31T23:00:00.000Z" },
      total: { leads: 4, limit: 0 },
    });
    await client.call("PATCH", `/v1/partners/${id}`, { timeZone: "Asia/Tokyo" });
    expect(await usage(id)).toMatchObject({
      hour: { leads: 2 },
      day: { leads: 2, spend: 2500, endsAt: "2026-03-05T15:00:00.000Z" },
      week: { leads: 3 },
      month: { leads: 3, endsAt: "2026-03-31T15:00:00.000Z" },
      total: { leads: 4 },
    });
    const { rows } =
      await sql`select day_leads, month_leads, total_leads from limit_usage where partner_id = ${id} and campaign_id = ${campaign.id}`.execute(
        server.owner,
      );
    expect(rows).toEqual([{ dayLeads: 2, monthLeads: 3, totalLeads: 4 }]);
    now = new Date("2026-03-05T15:00:00Z");
    expect(await usage(id)).toMatchObject({ hour: { leads: 0 }, day: { leads: 0, spend: 0 }, month: { leads: 3 } });
  });
});

describe("money", () => {
  const pay = async (id: string, body: unknown, key?: string) =>
    client.call(
      "POST",
      `/v1/partners/${id}/payments`,
      body,
      key === undefined ? {} : { headers: { "idempotency-key": key } },
    );

  test("that staff enter is booked in double entry and shown in the ledger", async () => {
    const id = await addPartner(client);
    expect((await pay(id, { amount: 5000, reason: "Bank transfer", reference: "INV-7" })).body).toMatchObject({
      kind: "payment",
      funds: { balance: 5000, reserved: 0, available: 5000 },
    });
    expect((await pay(id, { kind: "refund", amount: 1000, reason: "Asked for it" })).body).toMatchObject({
      funds: { balance: 4000 },
    });
    expect((await pay(id, { kind: "adjustment", amount: -500, reason: "Typing error" })).body).toMatchObject({
      funds: { balance: 3500 },
    });
    expect((await client.call("GET", `/v1/partners/${id}/ledger`)).body).toMatchObject({
      data: [
        {
          kind: "adjustment",
          entries: [
            { account: "funds", amount: -500 },
            { account: "adjustment", amount: 500 },
          ],
        },
        {
          kind: "refund",
          entries: [
            { account: "funds", amount: -1000 },
            { account: "cash", amount: 1000 },
          ],
        },
        {
          kind: "payment",
          reason: "Bank transfer (INV-7)",
          createdBy: "API key test",
          currency: "GBP",
          entries: [
            { account: "cash", amount: -5000 },
            { account: "funds", amount: 5000 },
          ],
        },
      ],
    });
    const page = await client.call("GET", `/v1/partners/${id}/ledger?limit=2`);
    const rest = await client.call("GET", `/v1/partners/${id}/ledger?limit=2&cursor=${page.text("nextCursor")}`);
    expect(rest.body).toMatchObject({ data: [{ kind: "payment" }], nextCursor: null });
  });

  test("is booked once for an Idempotency-Key, and refused for it with other content", async () => {
    const id = await addPartner(client);
    const first = await pay(id, { amount: 100, reason: "bank" }, "k1");
    const [again, alsoAgain] = await Promise.all([
      pay(id, { amount: 100, reason: "bank" }, "k1"),
      pay(id, { amount: 100, reason: "bank" }, "k1"),
    ]);
    expect(again.body).toEqual(first.body);
    expect(alsoAgain.body).toEqual(first.body);
    for (const other of [
      { amount: 101, reason: "bank" },
      { amount: 100, reason: "cash" },
      { amount: 100, reason: "bank", kind: "adjustment" },
    ]) {
      expect((await pay(id, other, "k1")).body).toMatchObject({ status: 409, code: "idempotency_conflict" });
    }
    const elsewhere = await addPartner(client);
    expect((await pay(elsewhere, { amount: 7, reason: "bank" }, "k1")).status).toBe(201);
    expect((await client.call("GET", `/v1/partners/${id}`)).value("funds.balance")).toBe(100);
  });

  test("is not given back beyond what is there", async () => {
    const id = await addPartner(client, { creditLimit: 10_000 });
    await pay(id, { amount: 100, reason: "bank" });
    expect((await pay(id, { kind: "refund", amount: 101, reason: "x" })).body).toMatchObject({
      status: 409,
      code: "insufficient_funds",
    });
    expect((await pay(id, { kind: "adjustment", amount: -101, reason: "x" })).body).toMatchObject({ status: 409 });
    expect((await pay(id, { kind: "refund", amount: 100, reason: "x" })).status).toBe(201);
  });

  test.each([
    [{ amount: 0, reason: "x" }, "amount"],
    [{ amount: -5, reason: "x" }, "amount"],
    [{ amount: 1.5, reason: "x" }, "amount"],
    [{ amount: 5 }, "reason"],
    [{ amount: 5, reason: "x", kind: "gift" }, "kind"],
  ])("%j is refused by its field", async (body, field) => {
    const id = await addPartner(client);
    expect((await pay(id, body)).body).toMatchObject({ status: 422, fields: [{ field }] });
  });
});

describe("trying a partner's delivery", () => {
  test("a preview shows the request as it would be sent and sends nothing", async () => {
    const id = await addPartner(client, { internet: jsonDelivery({ url: `${receiver.url}/preview` }) });
    await addCampaign(client, [id]);
    const answer = await client.call("POST", `/v1/partners/${id}/preview`, {
      fields: { first_name: 'Zoë "Z" O\'Brien' },
    });
    expect(answer.body).toEqual({
      channel: "json",
      problem: null,
      request: {
        method: "POST",
        url: `${receiver.url}/preview`,
        headers: [["Content-Type", "application/json"]],
        body: '{"name":"Zoë \\"Z\\" O\'Brien"}',
      },
    });
    expect(receiver.seen.filter(({ path }) => path === "/preview")).toEqual([]);
  });

  test("a preview takes a stored lead, and names fields that are not right", async () => {
    const id = await addPartner(client);
    const { id: campaignId, intakeKey } = await addCampaign(client, [id]);
    const lead = await call(server.api, null, "POST", `/v1/intake/${intakeKey}`, { first_name: "Stored" });
    const shown = await client.call("POST", `/v1/partners/${id}/preview`, { leadId: lead.text("leadId") });
    expect(shown.value("request.body")).toBe('{"name":"Stored"}');
    const refused = await client.call("POST", `/v1/partners/${id}/preview`, { campaignId, fields: { email: "x" } });
    expect(refused.body).toMatchObject({ status: 422, fields: [{ field: "fields.email" }] });
    const other = { leadId: lead.text("leadId"), campaignId: (await addCampaign(client, [id])).id };
    const both = await client.call("POST", `/v1/partners/${id}/preview`, other);
    expect(both.body).toMatchObject({ status: 422, fields: [{ field: "campaignId", code: "other_campaign" }] });
    const none = await client.call("POST", `/v1/partners/${id}/preview`, { via: "email" });
    expect(none.body).toMatchObject({ status: 422, fields: [{ field: "via" }] });
  });

  test("a test is sent, marked, judged and shown; it takes no place, costs nothing and is recorded", async () => {
    const id = await addPartner(client, {
      internet: jsonDelivery({ url: `${receiver.url}/test`, success: { path: "$.ok", equals: true } }),
    });
    const answer = await client.call("POST", `/v1/partners/${id}/test`);
    expect(answer.body).toMatchObject({
      channel: "json",
      status: 200,
      outcome: { kind: "accepted" },
      response: { status: 200 },
    });
    expect(answer.raw).not.toContain("open-sesame-4711");
    const [seen] = receiver.seen.filter(({ path }) => path === "/test");
    expect(seen?.headers).toMatchObject({ "x-handoff-test": "true", authorization: "Bearer open-sesame-4711" });
    expect((await client.call("GET", `/v1/partners/${id}`)).body).toMatchObject({
      usage: { total: { leads: 0 } },
      funds: { balance: 0 },
    });
    expect((await client.call("GET", `/v1/deliveries?partnerId=${id}`)).body).toEqual({ data: [], nextCursor: null });
    expect((await client.call("GET", `/v1/changes?objectId=${id}`)).value("data.0.after")).toEqual({
      testSent: "json",
    });
  });
});
