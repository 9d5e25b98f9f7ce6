import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { drainDueDeliveries } from "../../src/delivery/drain-partner.ts";
import { weekdays } from "../../src/partners/schedule.ts";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import {
  type CallOptions,
  call,
  createTestApi,
  type TestAnswer,
  type TestApi,
  type TestClient,
} from "../helpers/api.ts";
import { addCampaign, addPartner, jsonDelivery } from "../helpers/api-documents.ts";
import { type HttpLoopback, startHttp } from "../helpers/loopback.ts";
import { queueBackends } from "../helpers/redis.ts";
import { until } from "../helpers/until.ts";

/** Leads coming in over HTTP, on a real database; routed by hand where a test waits for the outcome. */

let receiver: HttpLoopback;
let server: TestApi;
let client: TestClient;

beforeAll(async () => {
  receiver = await startHttp((_request, response) => response.end("{}"));
  server = await createTestApi({ environment: { HANDOFF_ALLOW_HOSTS: receiver.host } });
  client = await server.createClient();
});
afterAll(async () => {
  await server.close();
  await receiver.close();
});

const send = async (key: string, body: unknown, query = "", options: CallOptions = {}) =>
  call(server.api, null, "POST", `/v1/intake/${key}${query}`, body, options);
const sendRaw = async (key: string, contentType: string, payload: string | Buffer) =>
  send(key, undefined, "", { payload, headers: { "content-type": contentType } });

describe("a lead that comes in", () => {
  test("as JSON, a form or XML is the same lead", async () => {
    const bodies: [string, string][] = [
      ["application/json", '{"first_name":"Zoë","email":"zoe@EXAMPLE.com","phone":"020 7946 0000","newsletter":"yes"}'],
      [
        "application/x-www-form-urlencoded",
        "first_name=Zo%C3%AB&email=zoe%40EXAMPLE.com&phone=020+7946+0000&newsletter=yes",
      ],
      [
        "text/xml; charset=utf-8",
        "<lead><first_name>Zoë</first_name><email>zoe@EXAMPLE.com</email><phone>020 7946 0000</phone><newsletter>yes</newsletter></lead>",
      ],
    ];
    for (const [contentType, payload] of bodies) {
      const { intakeKey } = await addCampaign(client);
      const answer = await sendRaw(intakeKey, contentType, payload);
      expect(answer.body).toEqual({ leadId: expect.any(String), status: "received" });
      expect((await client.call("GET", `/v1/leads/${answer.text("leadId")}`)).body).toMatchObject({
        state: "received",
        fields: { first_name: "Zoë", email: "zoe@example.com", phone: "+442079460000", postcode: null },
        extra: { newsletter: "yes" },
      });
    }
  });

  test("with fields that are not right is refused with each of them, and kept", async () => {
    const { intakeKey } = await addCampaign(client);
    const answer = await send(intakeKey, { email: "zoe", phone: "12" });
    expect(answer.body).toMatchObject({
      status: 422,
      code: "invalid_lead",
      fields: [
        { field: "first_name", code: "required", given: null },
        { field: "email", code: "invalid_email", given: "zoe" },
        { field: "phone", given: "12" },
      ],
    });
    expect((await client.call("GET", `/v1/leads/${answer.text("leadId")}`)).body).toMatchObject({
      state: "invalid",
      reason: { code: "invalid", text: "These fields are not right: first_name, email, phone." },
      extra: { email: "zoe", phone: "12" },
    });
  });

  test("a second time is a duplicate and says of which lead", async () => {
    const { intakeKey } = await addCampaign(client);
    const first = await send(intakeKey, { first_name: "Ann", email: "ann@example.com" });
    const second = await send(intakeKey, { first_name: "Anne", email: "ANN@example.com" });
    expect(second.body).toEqual({ leadId: expect.any(String), status: "duplicate", duplicateOf: first.text("leadId") });
    expect(second.status).toBe(201);
  });

  test("keeps where it came from", async () => {
    const { intakeKey } = await addCampaign(client);
    const answer = await send(intakeKey, { first_name: "Ann" }, "?source=spring%20campaign&utm_source=x");
    expect((await client.call("GET", `/v1/leads/${answer.text("leadId")}`)).value("source")).toBe("spring campaign");
  });
});

describe("an Idempotency-Key", () => {
  const withKey = (key: string) => ({ headers: { "idempotency-key": key } });

  test("with the same content gets the first answer again, whatever it was", async () => {
    const { intakeKey } = await addCampaign(client);
    for (const [index, lead] of [{ first_name: "Ann", email: "a@example.com" }, { email: "b" }].entries()) {
      const first = await send(intakeKey, lead, "", withKey(`same-${index}`));
      const again = await send(intakeKey, lead, "", withKey(`same-${index}`));
      expect(again.status).toBe(first.status);
      expect(again.value("leadId")).toBe(first.value("leadId"));
      expect(again.headers["idempotent-replayed"]).toBe("true");
      expect(first.headers["idempotent-replayed"]).toBeUndefined();
    }
    expect(Object((await client.call("GET", "/v1/leads?source=none")).value("data"))).toHaveLength(0);
  });

  test("with other content is refused", async () => {
    const { intakeKey } = await addCampaign(client);
    await send(intakeKey, { first_name: "Ann" }, "", withKey("other"));
    const refused = await send(intakeKey, { first_name: "Bob" }, "", withKey("other"));
    expect(refused.body).toMatchObject({ status: 409, code: "idempotency_conflict" });
  });

  test("that is too long is refused by its name", async () => {
    const { intakeKey } = await addCampaign(client);
    const refused = await send(intakeKey, { first_name: "Ann" }, "", withKey("k".repeat(256)));
    expect(refused.body).toMatchObject({
      status: 400,
      code: "invalid_query",
      fields: [{ field: "idempotency-key", code: "too_large" }],
    });
    expect((await send(intakeKey, { first_name: "Ann" }, "", withKey("k".repeat(255)))).status).toBe(201);
  });
});

describe("what is refused at the door", () => {
  test.each<[string, string, string | Buffer, number, string]>([
    ["a kind of body that is not taken", "text/plain", "hello", 415, "unsupported_media_type"],
    ["no kind at all", "", "hello", 415, "unsupported_media_type"],
    ["JSON that is none", "application/json", "{", 400, "malformed_body"],
    ["JSON that is no object", "application/json", "[1]", 400, "malformed_body"],
    ["XML that is none", "application/xml", "<a>", 400, "malformed_body"],
    ["XML with a DOCTYPE", "application/xml", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 400, "malformed_body"],
    ["nothing", "application/json", "", 400, "malformed_body"],
    ["more than 256 KiB", "application/json", Buffer.alloc(262_145, " "), 413, "body_too_large"],
  ])("%s", async (_what, contentType, payload, status, code) => {
    const { intakeKey } = await addCampaign(client);
    const answer = await sendRaw(intakeKey, contentType, payload);
    expect(answer.body).toMatchObject({ status, code, detail: expect.any(String) });
  });

  test("a key that is unknown, and one of another kind", async () => {
    for (const key of ["nobodys", client.key, "x".repeat(90)]) {
      expect((await send(key, { first_name: "Ann" })).body).toMatchObject({ status: 404, code: "intake_key_unknown" });
    }
  });

  test("leads for a campaign that is switched off", async () => {
    const { id, intakeKey } = await addCampaign(client);
    await client.call("PATCH", `/v1/campaigns/${id}`, { active: false });
    expect((await send(intakeKey, { first_name: "Ann" })).body).toMatchObject({
      status: 409,
      code: "campaign_inactive",
    });
    await client.call("PATCH", `/v1/campaigns/${id}`, { active: true });
    expect((await send(intakeKey, { first_name: "Ann" })).status).toBe(201);
  });

  test.each(["-1", "10001", "soon"])("a wait of %s ms", async (wait) => {
    const { intakeKey } = await addCampaign(client);
    const answer = await send(intakeKey, { first_name: "Ann" }, `?wait=${wait}`);
    expect(answer.body).toMatchObject({ status: 400, code: "invalid_query", fields: [{ field: "wait" }] });
  });
});

describe("waiting for the outcome", () => {
  async function sendAndSettle(partnerIds: readonly string[]): Promise<TestAnswer> {
    const { id, intakeKey } = await addCampaign(client, partnerIds);
    const answer = send(intakeKey, { first_name: "Ann" }, "?wait=10000");
    await until(async () => (await client.call("GET", `/v1/leads?campaignId=${id}`)).value("data.0") !== undefined);
    await routeDueLeads(server.context, client.organisationId, id);
    for (const partnerId of partnerIds) await drainDueDeliveries(server.context, client.organisationId, partnerId);
    return answer;
  }

  test("answers as soon as the lead is sold, and does not say to whom", async () => {
    const partnerId = await addPartner(client, {
      creditLimit: 5000,
      internet: jsonDelivery({ url: receiver.url, auth: { type: "none" } }),
    });
    const answer = await sendAndSettle([partnerId]);
    expect(answer.body).toEqual({
      leadId: expect.any(String),
      status: "received",
      outcome: { state: "sold", sold: true, reason: null },
    });
  });

  test("answers when nobody takes the lead, with the code of the reason", async () => {
    expect((await sendAndSettle([])).value("outcome")).toEqual({ state: "unsold", sold: false, reason: "no_partners" });
  });

  test("answers when the lead is held, with the code of what it waits for", async () => {
    const inThreeDays = weekdays[(new Date().getUTCDay() + 2) % 7] ?? "mon";
    const closed = { [inThreeDays]: [{ from: "00:00", to: "24:00" }] };
    const partnerId = await addPartner(client, { schedule: closed, whenClosed: "hold", timeZone: "UTC" });
    expect((await sendAndSettle([partnerId])).value("outcome")).toEqual({
      state: "held",
      sold: false,
      reason: "closed",
    });
  });

  test("ends after its time, without an outcome", async () => {
    const { intakeKey } = await addCampaign(client);
    const answer = await send(intakeKey, { first_name: "Ann" }, "?wait=60");
    expect(answer.body).toEqual({ leadId: expect.any(String), status: "received" });
  });
});

describe.each(queueBackends())("the rate limit, counted where the queue is ($name)", (backend) => {
  test("holds for each key by itself, with the time after which to come back", async () => {
    const redisUrl = await backend.createRedisUrl();
    const environment = { INTAKE_RATE_PER_MINUTE: "3", ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }) };
    const limited = await createTestApi({ environment });
    try {
      const own = await limited.createClient();
      const [first, second] = [await addCampaign(own), await addCampaign(own)];
      const ask = async (key: string, name: string) =>
        call(limited.api, null, "POST", `/v1/intake/${key}`, { first_name: name });
      for (const name of ["Ann", "Bob", "Cyd"]) expect((await ask(first.intakeKey, name)).status).toBe(201);
      const refused = await ask(first.intakeKey, "Dan");
      expect(refused.body).toMatchObject({ status: 429, code: "rate_limited" });
      expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
      expect(Number(refused.headers["retry-after"])).toBeLessThanOrEqual(60);
      expect((await ask(second.intakeKey, "Eve")).status).toBe(201);
      expect((await own.call("GET", "/v1/leads")).status).toBe(200);
    } finally {
      await limited.close();
    }
  });
});
