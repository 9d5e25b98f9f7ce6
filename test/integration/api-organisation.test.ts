import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";

/** An organisation, its keys and its record of changes, over the API and on a real database. */

let server: TestApi;
let client: TestClient;

beforeAll(async () => {
  server = await createTestApi();
  client = await server.createClient("Sellers & Sons");
});
afterAll(async () => server.close());

describe("an organisation", () => {
  test("has a portal code of its own, made from its name", async () => {
    const { body, text } = await client.call("GET", "/v1/organisation");
    expect(body).toMatchObject({
      name: "Sellers & Sons",
      timeZone: "Europe/London",
      currency: "GBP",
      smsRate: 5,
      staffEmail: null,
    });
    expect(text("portalCode")).toMatch(/^sellers-sons-[a-z2-9]{6}$/);
    const twin = await server.createClient("Sellers & Sons");
    expect((await twin.call("GET", "/v1/organisation")).text("portalCode")).not.toBe(text("portalCode"));
  });

  test("changes what is named and records it", async () => {
    const changed = await client.call("PATCH", "/v1/organisation", { smsRate: 7, staffEmail: "staff@sellers.test" });
    expect(changed.body).toMatchObject({ smsRate: 7, staffEmail: "staff@sellers.test", name: "Sellers & Sons" });
    await client.call("PATCH", "/v1/organisation", { staffEmail: null });
    expect((await client.call("GET", `/v1/changes?objectId=${client.organisationId}&limit=2`)).body).toMatchObject({
      data: [
        { objectKind: "organisation", before: { staffEmail: "staff@sellers.test" }, after: { staffEmail: null } },
        {
          changedBy: "API key test",
          before: { smsRate: 5, staffEmail: null },
          after: { smsRate: 7, staffEmail: "staff@sellers.test" },
        },
      ],
    });
  });

  test("may change its currency until something is booked in it", async () => {
    expect((await client.call("PATCH", "/v1/organisation", { currency: "EUR" })).value("currency")).toBe("EUR");
    const accounts =
      await sql`select kind, currency from accounts where organisation_id = ${client.organisationId} order by kind`.execute(
        server.owner,
      );
    expect(accounts.rows).toEqual([
      { kind: "sms_payable", currency: "EUR" },
      { kind: "sms_usage", currency: "EUR" },
    ]);
    await sql`
      with booked as (
        insert into transactions (id, organisation_id, key, kind, currency, occurred_at, created_by)
        values (gen_random_uuid(), ${client.organisationId}, 'sms-1', 'sms', 'EUR', now(), 'test') returning id)
      insert into entries (transaction_id, account_id, organisation_id, amount_minor, currency)
      select booked.id, a.id, a.organisation_id, case a.kind when 'sms_usage' then 7 else -7 end, 'EUR'
      from booked, accounts a where a.organisation_id = ${client.organisationId}`.execute(server.owner);
    const refused = await client.call("PATCH", "/v1/organisation", { currency: "USD", name: "Renamed" });
    expect(refused.body).toMatchObject({ status: 409, code: "currency_in_use" });
    expect((await client.call("GET", "/v1/organisation")).body).toMatchObject({
      currency: "EUR",
      name: "Sellers & Sons",
    });
  });
});

describe("API keys", () => {
  test("are made, listed in pages without themselves, used and revoked, all of it recorded", async () => {
    const { call: ask } = await server.createClient("Keys");
    const made = await ask("POST", "/v1/api-keys", { name: "CRM", expiresAt: "2099-01-01T00:00:00Z" });
    expect(made.body).toMatchObject({ name: "CRM", expiresAt: "2099-01-01T00:00:00.000Z", revokedAt: null });
    const page = await ask("GET", "/v1/api-keys?limit=1");
    expect(page.body).toMatchObject({ data: [{ id: made.text("id"), name: "CRM" }] });
    const rest = await ask("GET", `/v1/api-keys?limit=1&cursor=${page.text("nextCursor")}`);
    expect(rest.body).toMatchObject({ data: [{ name: "test" }], nextCursor: null });
    expect((await ask("DELETE", `/v1/api-keys/${made.text("id")}`)).status).toBe(204);
    expect((await ask("DELETE", `/v1/api-keys/${made.text("id")}`)).status).toBe(404);
    expect((await ask("GET", "/v1/api-keys")).value("data.0.revokedAt")).toEqual(expect.any(String));
    expect((await ask("GET", `/v1/changes?objectId=${made.text("id")}`)).body).toMatchObject({
      data: [
        { objectKind: "api_key", before: { name: "CRM" }, after: null },
        { objectKind: "api_key", before: null, after: { name: "CRM" } },
      ],
    });
  });
});
