import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { pino } from "pino";
import { call, createTestApi, type Method, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign, addPartner, campaignDocument, jsonDelivery, partnerDocument } from "../helpers/api-documents.ts";

/** What the API says when it refuses. Real database, real HTTP parsing; no socket. */

const lines: Record<string, unknown>[] = [];
let server: TestApi;
let client: TestClient;

beforeAll(async () => {
  const stream = { write: (line: string) => void lines.push(JSON.parse(line)) };
  server = await createTestApi({ log: pino({ level: "info", base: null }, stream) });
  client = await server.createClient();
});
afterAll(async () => server.close());

describe("a body that does not match", () => {
  const wrong: readonly [string, Record<string, unknown>, string, string][] = [
    ["a missing field", { name: undefined }, "name", "required"],
    ["a wrong type", { name: 5 }, "name", "wrong_type"],
    ["an empty text", { name: " " }, "name", "too_small"],
    ["a text that is too long", { name: "x".repeat(201) }, "name", "too_large"],
    ["a value that is not on the list", { type: "buyer" }, "type", "not_allowed"],
    ["an unknown field", { colour: "red" }, "colour", "unknown_field"],
    ["an unknown field further in", { contact: { fax: "1" } }, "contact.fax", "unknown_field"],
    ["a bad time zone", { timeZone: "Mars/Base" }, "timeZone", "invalid"],
    ["a bad currency", { currency: "gbp" }, "currency", "invalid"],
    ["a fraction of a minor unit", { leadValue: 12.5 }, "leadValue", "wrong_type"],
    ["a negative limit", { limits: { day: -1 } }, "limits.day", "too_small"],
    ["a bad time of day", { schedule: { mon: [{ from: "9", to: "17:00" }] } }, "schedule.mon.0.from", "bad_format"],
    ["a bad phone number", { contact: { phone: "12" } }, "contact.phone", "invalid"],
    ["an unknown method of delivery", { internet: { method: "fax" } }, "internet.method", "not_allowed"],
    ["an address that is none", { internet: jsonDelivery({ url: "acme" }) }, "internet.url", "invalid"],
    [
      "a template that cannot be parsed",
      { internet: jsonDelivery({ body: "{{ lead." }) },
      "internet.body",
      "not_renderable",
    ],
    [
      "a body that does not come out as JSON",
      { internet: jsonDelivery({ body: '{"a":' }) },
      "internet.body",
      "not_renderable",
    ],
    [
      "a mask where no secret is stored",
      { internet: jsonDelivery({ auth: { type: "bearer", token: "••••••" } }) },
      "internet.auth.token",
      "required",
    ],
    ["text that cannot be stored", { name: "a\u0000b" }, "name", "invalid"],
    ["half of a surrogate pair", { contact: { name: "\ud83d" } }, "contact.name", "invalid"],
  ];

  test.each(wrong)("%s is refused with its place and a code", async (_what, changes, field, code) => {
    const answer = await client.call("POST", "/v1/partners", partnerDocument(changes));
    expect(answer.status).toBe(422);
    expect(answer.headers["content-type"]).toMatch(/^application\/problem\+json/);
    expect(answer.body).toMatchObject({ code: "invalid_body", status: 422, fields: [{ field, code }] });
  });

  test("every bad field is named at once, with what is allowed and what was given", async () => {
    const changes = { type: "buyer", timeZone: "Mars/Base", limits: { day: "ten" } };
    const answer = await client.call("POST", "/v1/partners", partnerDocument(changes));
    expect(answer.value("fields")).toEqual([
      { field: "type", code: "not_allowed", message: 'must be one of introducer, partner, both (was "buyer")' },
      {
        field: "timeZone",
        code: "invalid",
        message: 'must be a time zone of the IANA database, such as Europe/London (was "Mars/Base")',
      },
      { field: "limits.day", code: "wrong_type", message: 'must be a whole number (was "ten")' },
    ]);
  });

  test("what was given for a secret is not repeated", async () => {
    const token = "a token with blanks";
    const answer = await client.call(
      "POST",
      "/v1/partners",
      partnerDocument({ internet: jsonDelivery({ auth: { type: "bearer", token } }) }),
    );
    expect(answer.value("fields.0.field")).toBe("internet.auth.token");
    expect(answer.raw).not.toContain(token);
  });

  test("a body that is not JSON is malformed", async () => {
    const headers = { "content-type": "application/json" };
    for (const payload of ["{", "", '{"a":1,}', "nul"]) {
      const answer = await client.call("POST", "/v1/partners", undefined, { payload, headers });
      expect(answer.body).toMatchObject({ status: 400, code: "malformed_body" });
    }
  });

  test("a key that would change what objects are is refused", async () => {
    const payload = '{"__proto__":{"x":1}}';
    const answer = await client.call("POST", "/v1/partners", undefined, {
      payload,
      headers: { "content-type": "application/json" },
    });
    expect(answer.status).toBe(400);
  });

  test("a body of another kind is not taken", async () => {
    const answer = await client.call("POST", "/v1/partners", undefined, {
      payload: "<a/>",
      headers: { "content-type": "text/xml" },
    });
    expect(answer.body).toMatchObject({ status: 415, code: "unsupported_media_type" });
  });

  test("a body that is too large is refused with the limit", async () => {
    const answer = await client.call("POST", "/v1/partners", { name: "x".repeat(4_200_000) });
    expect(answer.body).toMatchObject({
      status: 413,
      code: "body_too_large",
      detail: "At most 4194304 bytes are taken here.",
    });
  });
});

describe("a query that does not match", () => {
  test.each([
    ["/v1/partners?limit=0", "limit", "too_small"],
    ["/v1/partners?limit=many", "limit", "wrong_type"],
    ["/v1/partners?cursor=x", "cursor", "bad_format"],
    ["/v1/partners?colour=red", "colour", "unknown_field"],
    ["/v1/leads?state=lost", "state", "not_allowed"],
    ["/v1/leads?receivedFrom=yesterday", "receivedFrom", "bad_format"],
    ["/v1/leads?field=email", "value", "required"],
    ["/v1/leads?source=%00", "source", "invalid"],
  ])("%s is refused with its parameter", async (url, field, code) => {
    const answer = await client.call("GET", url);
    expect(answer.body).toMatchObject({ status: 400, code: "invalid_query", fields: [{ field, code }] });
  });
});

describe("a campaign that does not fit together", () => {
  test.each<[string, (partnerId: string) => Record<string, unknown>, string, string]>([
    [
      "a partner that is not there",
      () => campaignDocument(["01900000-0000-7000-8000-000000000000"]),
      "routing.0.partners.0.partnerId",
      "unknown_partner",
    ],
    ["a partner twice in a group", (id) => campaignDocument([id, id]), "routing.0.partners.1.partnerId", "repeated"],
    [
      "a filter on a field that is not there",
      (id) =>
        campaignDocument([], {
          routing: [{ partners: [{ partnerId: id, filter: { all: [{ field: "age", op: "exists" }] } }] }],
        }),
      "routing.0.partners.0.filter.all.0.field",
      "does_not_fit",
    ],
    [
      "a filter that the field can never meet",
      (id) =>
        campaignDocument([], {
          routing: [{ partners: [{ partnerId: id, filter: { field: "email", op: "range", value: { min: 1 } } }] }],
        }),
      "routing.0.partners.0.filter.op",
      "does_not_fit",
    ],
    [
      "duplicates by one field twice",
      () => campaignDocument([], { duplicates: { match: ["email", "email"] } }),
      "duplicates.match.1",
      "repeated",
    ],
    [
      "a group id from elsewhere",
      (id) => campaignDocument([], { routing: [{ id, partners: [] }] }),
      "routing.0.id",
      "unknown_group",
    ],
    [
      "two fields of one key",
      () =>
        campaignDocument([], {
          fields: [
            { key: "a", type: "text" },
            { key: "a", type: "text" },
          ],
          duplicates: null,
        }),
      "fields.1.key",
      "invalid",
    ],
  ])("%s is refused with its place", async (_what, document, field, code) => {
    const partnerId = await addPartner(client);
    const answer = await client.call("POST", "/v1/campaigns", document(partnerId));
    expect(answer.body).toMatchObject({ status: 422, code: "invalid_body", fields: [{ field, code }] });
  });
});

describe("an address that is not served", () => {
  test("is told apart from a thing that is not there", async () => {
    expect((await client.call("GET", "/v1/nothing")).body).toMatchObject({ status: 404, code: "route_not_found" });
    expect((await client.call("GET", "/v1/partners/01900000-0000-7000-8000-000000000000")).body).toMatchObject({
      status: 404,
      code: "not_found",
    });
    expect((await client.call("GET", "/v1/partners/acme")).body).toMatchObject({ status: 404, code: "not_found" });
  });

  test.each<[Method, string, string]>([
    ["PUT", "/v1/partners", "GET, HEAD, POST"],
    ["POST", "/v1/organisation", "GET, HEAD, PATCH"],
    ["GET", "/v1/intake/x", "POST"],
    ["DELETE", "/healthz", "GET, HEAD"],
  ])("%s %s is answered with the methods that are taken", async (method, url, allow) => {
    const answer = await client.call(method, url);
    expect(answer.body).toMatchObject({ status: 405, code: "method_not_allowed" });
    expect(answer.headers.allow).toBe(allow);
  });
});

describe("an address that is not well-formed", () => {
  test("is not there", async () => {
    const answer = await client.call("GET", "/v1/partners/%E0%A4%A");
    expect(answer.body).toMatchObject({ status: 404, code: "route_not_found" });
  });
});

describe("an error that nobody expected", () => {
  test("is answered with an id that is in the log, and nothing internal", async () => {
    await sql`revoke select on changes from handoff_app`.execute(server.owner);
    const answer = await client.call("GET", "/v1/changes");
    await sql`grant select on changes to handoff_app`.execute(server.owner);
    expect(answer.body).toEqual({
      type: "urn:handoff:error:internal",
      title: "Something went wrong on our side",
      status: 500,
      code: "internal",
      detail: "The request id is in the log of the server.",
      requestId: expect.any(String),
    });
    const entry = lines.find((line) => line.requestId === answer.text("requestId"));
    expect(entry).toMatchObject({ msg: "request.failed", route: "/v1/changes", sqlState: "42501" });
  });
});

describe("the log of requests", () => {
  test("has the route and never the address: no intake key, no search term, no body, no header", async () => {
    const { intakeKey } = await addCampaign(client);
    const lead = { first_name: "Ottoline", email: "ottoline@example.com" };
    await call(server.api, null, "POST", `/v1/intake/${intakeKey}?source=hushed`, lead);
    await client.call("GET", "/v1/leads?field=email&value=ottoline@example.com");
    const intake = lines.find((line) => line.route === "/v1/intake/:intakeKey" && line.method === "POST");
    expect(intake).toEqual({
      level: 30,
      time: expect.anything(),
      msg: "request",
      method: "POST",
      route: "/v1/intake/:intakeKey",
      status: 201,
      durationMs: expect.any(Number),
      organisationId: client.organisationId,
    });
    const text = JSON.stringify(lines);
    for (const secret of [intakeKey, client.key, "ottoline", "hushed"])
      expect(text.toLowerCase()).not.toContain(secret.toLowerCase());
  });
});

describe("health", () => {
  test("a process that runs is alive, and ready when database, migrations and queue answer", async () => {
    expect(await call(server.api, null, "GET", "/healthz")).toMatchObject({ status: 200, body: { status: "alive" } });
    const ready = await call(server.api, null, "GET", "/readyz");
    expect(ready).toMatchObject({
      status: 200,
      body: { status: "ready", checks: { database: { ok: true }, migrations: { ok: true }, queue: { ok: true } } },
    });
  });

  test("metrics count requests by route, and jobs by queue", async () => {
    const { raw } = await call(server.api, null, "GET", "/metrics");
    expect(raw).toMatch(/handoff_http_requests_total\{method="GET",route="\/healthz",status="200"\} \d/);
    expect(raw).toMatch(/handoff_queue_jobs\{queue="route-leads",state="waiting"\} \d/);
    expect(raw).toContain("process_resident_memory_bytes");
  });
});

describe("the documentation", () => {
  test("is a page whose parts its own security policy lets load", async () => {
    const page = await call(server.api, null, "GET", "/docs/");
    expect(page.status).toBe(200);
    const policy = String(page.headers["content-security-policy"]);
    expect(policy).toContain("default-src 'self'");
    expect(page.raw).not.toMatch(/<script(?![^>]*\ssrc=)/);
    for (const [, source = ""] of page.raw.matchAll(/(?:src|href)="\.\/([^"]+)"/g)) {
      expect((await call(server.api, null, "GET", `/docs/${source}`)).status).toBe(200);
    }
  });

  test("refers to nothing that is not in it", async () => {
    const { raw, value } = await call(server.api, null, "GET", "/openapi.json");
    const schemas = Object.keys(Object(value("components.schemas")));
    const named = [...raw.matchAll(/"\$ref":"([^"]+)"/g)].map(([, target]) => target);
    expect([...new Set(named)].sort()).toEqual(
      schemas
        .filter((name) => raw.includes(`"#/components/schemas/${name}"`))
        .map((name) => `#/components/schemas/${name}`)
        .sort(),
    );
  });

  test("says of every answer that is not of its own that it may be a problem", async () => {
    const { value } = await call(server.api, null, "GET", "/openapi.json");
    for (const [path, methods] of Object.entries(Object(value("paths")))) {
      if (!path.startsWith("/v1/")) continue;
      for (const operation of Object.values(Object(methods))) {
        expect(Object.keys(Object(operation).responses)).toEqual(expect.arrayContaining(["4XX", "5XX"]));
        expect(Object(operation).summary).toEqual(expect.any(String));
      }
    }
  });
});
