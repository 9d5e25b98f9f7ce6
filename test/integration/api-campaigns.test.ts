import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { call, createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign, addPartner, campaignDocument, jsonDelivery } from "../helpers/api-documents.ts";

/** Campaigns and their intake keys over the API, on a real database. */

let server: TestApi;
let client: TestClient;

beforeAll(async () => {
  server = await createTestApi({ environment: { PUBLIC_URL: "https://leads.test/" } });
  client = await server.createClient();
});
afterAll(async () => server.close());

describe("a campaign", () => {
  test("is given back as it was taken, with the ids of its groups and where its leads are sent", async () => {
    const partnerId = await addPartner(client);
    const created = await client.call("POST", "/v1/campaigns", campaignDocument([partnerId]));
    expect(created.status).toBe(201);
    expect(created.body).toMatchObject({
      name: "Home insurance",
      active: true,
      saleLimit: 1,
      holdHours: 72,
      whenUncertain: "staff",
      routing: [
        {
          id: expect.any(String),
          method: "priority",
          saleLimit: 0,
          partners: [{ partnerId, price: 1250, weight: 1, filter: null }],
        },
      ],
      intakeUrl: `https://leads.test/v1/intake/${created.text("intakeKey")}`,
      warnings: [],
    });
    const { warnings: _warnings, ...document } = Object(created.body);
    expect((await client.call("GET", `/v1/campaigns/${created.text("id")}`)).body).toEqual(document);
    expect((await client.call("GET", "/v1/campaigns?active=true&limit=1")).body).toMatchObject({ data: [document] });
    expect((await client.call("GET", "/v1/campaigns?active=false")).body).toEqual({ data: [], nextCursor: null });
  });

  test("is saved with a warning where duplicates are looked for by a field that it does not have", async () => {
    const partnerId = await addPartner(client);
    const body = campaignDocument([partnerId], { duplicates: { match: ["email", "mobile"] } });
    const created = await client.call("POST", "/v1/campaigns", body);
    expect(created.status).toBe(201);
    expect(created.body).toMatchObject({ warnings: [{ field: "duplicates.match.1" }] });
  });

  test("has usage rows for each partner in its routing, from the start and after a change", async () => {
    const [first, second] = [await addPartner(client), await addPartner(client)];
    const { id } = await addCampaign(client, [first]);
    const rows = async () =>
      (
        await sql<{
          partnerId: string;
        }>`select partner_id from limit_usage where campaign_id = ${id} order by partner_id`.execute(server.owner)
      ).rows.map((row) => row.partnerId);
    expect(await rows()).toEqual([first]);
    await client.call("PATCH", `/v1/campaigns/${id}`, {
      routing: [{ partners: [{ partnerId: first }, { partnerId: second }] }],
    });
    expect(await rows()).toEqual([first, second].sort());
  });

  test("keeps the ids of its groups, sent back or left out, and gives a new one to a new group", async () => {
    const partnerId = await addPartner(client);
    const { id } = await addCampaign(client, [partnerId]);
    const groups = async (routing: unknown) => {
      const changed = await client.call("PATCH", `/v1/campaigns/${id}`, { routing });
      return Object(changed.value("routing")).map((group: { id: string }) => group.id) as string[];
    };
    const partners = [{ partnerId }];
    const [first = ""] = await groups([{ partners, saleLimit: 2 }]);
    const two = await groups([{ partners }, { partners: [], name: "second" }]);
    expect(two[0]).toBe(first);
    expect(
      await groups([
        { id: two[1], partners: [] },
        { id: first, partners },
      ]),
    ).toEqual([two[1], first]);
    const [newcomer, old] = await groups([{ partners: [] }, { id: two[1], partners }]);
    expect(old).toBe(two[1]);
    expect([first, two[1]]).not.toContain(newcomer);
  });

  test("counts its version up with each change, and not without one", async () => {
    const { id } = await addCampaign(client);
    const version = async () =>
      (await sql<{ version: number }>`select version from campaigns where id = ${id}`.execute(server.owner)).rows[0]
        ?.version;
    await client.call("PATCH", `/v1/campaigns/${id}`, { name: "Other" });
    await client.call("PATCH", `/v1/campaigns/${id}`, { name: "Other" });
    expect(await version()).toBe(2);
    expect((await client.call("GET", `/v1/changes?objectId=${id}`)).body).toMatchObject({
      data: [
        { objectKind: "campaign", before: { name: "Home insurance" }, after: { name: "Other" } },
        { before: null },
      ],
    });
  });

  test("whose routing changes has the held leads of its partners, old and new, looked at again", async () => {
    const [old, next, other] = [await addPartner(client), await addPartner(client), await addPartner(client)];
    const { id } = await addCampaign(client, [old]);
    const rechecked = async () => {
      const { rows } = await sql<{
        partnerId: string;
      }>`select partner_id from endpoints where recheck_holds_at is not null and partner_id = any(${[old, next, other]}::uuid[])`.execute(
        server.owner,
      );
      return rows.map((row) => row.partnerId).sort();
    };
    await client.call("PATCH", `/v1/campaigns/${id}`, { name: "Other" });
    expect(await rechecked()).toEqual([]);
    await client.call("PATCH", `/v1/campaigns/${id}`, { routing: [{ partners: [{ partnerId: next }] }] });
    expect(await rechecked()).toEqual([old, next].sort());
  });

  test("warns of partners that cannot get its leads, and why", async () => {
    const ids = [
      await addPartner(client, { type: "introducer" }),
      await addPartner(client, { active: false }),
      await addPartner(client, { internet: null }),
      await addPartner(client, { internet: jsonDelivery({ body: '{"a":"{{ lead.shoe_size }}"}' }) }),
      await addPartner(client),
    ];
    const created = await client.call("POST", "/v1/campaigns", campaignDocument(ids));
    expect(created.status).toBe(201);
    expect(created.value("warnings")).toEqual([
      { field: "routing.0.partners.0.partnerId", message: "The partner only introduces leads and gets none." },
      { field: "routing.0.partners.1.partnerId", message: "The partner is switched off." },
      { field: "routing.0.partners.2.partnerId", message: "The partner has no delivery set up." },
      {
        field: "routing.0.partners.3.partnerId",
        message: expect.stringContaining("internet.body: there is no variable lead.shoe_size"),
      },
    ]);
  });

  test("names what a partner's templates can print", async () => {
    const { id } = await addCampaign(client);
    const { value } = await client.call("GET", `/v1/campaigns/${id}/template-variables`);
    expect(value("data")).toEqual(
      expect.arrayContaining([
        { name: "lead.first_name", type: "text", sample: expect.any(String) },
        { name: "lead.phone", type: "phone", sample: "+442079460000" },
        { name: "contacts[0].email", type: "email", sample: expect.any(String) },
        { name: "delivery.test", type: "boolean", sample: true },
      ]),
    );
  });
});

describe("intake keys", () => {
  test("are made for an introducer, listed, and dead from the moment they are revoked", async () => {
    const introducerId = await addPartner(client, { type: "introducer" });
    const { id, intakeKey } = await addCampaign(client);
    const url = `/v1/campaigns/${id}/intake-keys`;
    const made = await client.call("POST", url, { name: "Acme's", introducerId });
    expect(made.body).toMatchObject({
      name: "Acme's",
      introducerId,
      intakeUrl: `https://leads.test/v1/intake/${made.text("intakeKey")}`,
    });
    expect(Buffer.from(made.text("intakeKey"), "base64url").length * 8).toBeGreaterThanOrEqual(128);
    expect((await client.call("GET", url)).body).toMatchObject({
      data: [{ intakeKey: made.text("intakeKey") }, { intakeKey, introducerId: null }],
    });
    const send = async () =>
      call(server.api, null, "POST", `/v1/intake/${made.text("intakeKey")}`, { first_name: "Ann" });
    const lead = await send();
    expect((await client.call("GET", `/v1/leads/${lead.text("leadId")}`)).value("introducerId")).toBe(introducerId);
    expect((await client.call("DELETE", `${url}/${made.text("id")}`)).status).toBe(204);
    expect((await client.call("DELETE", `${url}/${made.text("id")}`)).status).toBe(404);
    expect((await send()).body).toMatchObject({ status: 404, code: "intake_key_unknown" });
  });

  test("are in the database neither in the clear nor as anything that they could be read from without the secret", async () => {
    const { intakeKey } = await addCampaign(client);
    const { rows } = await sql<{
      text: string;
    }>`select string_agg(k::text, ' ') || (select string_agg(c::text, ' ') from changes c) as text from intake_keys k`.execute(
      server.owner,
    );
    expect(rows[0]?.text).not.toContain(intakeKey);
  });

  test("are not needed: a campaign whose keys are all revoked has none", async () => {
    const { id } = await addCampaign(client);
    const url = `/v1/campaigns/${id}/intake-keys`;
    await client.call("DELETE", `${url}/${(await client.call("GET", url)).text("data.0.id")}`);
    expect((await client.call("GET", `/v1/campaigns/${id}`)).body).toMatchObject({ intakeKey: null, intakeUrl: null });
  });
});
