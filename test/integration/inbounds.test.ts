import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { call, createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign } from "../helpers/api-documents.ts";
import {
  addInbound,
  addUser,
  addWorkflow,
  referralDocument,
  type TestInbound,
  type TestWorkflow,
} from "../helpers/referrals.ts";

/** Inbounds: the URL and key that are given to those who refer, and how they are taken away again. */

let server: TestApi;
let client: TestClient;
let workflow: TestWorkflow;

beforeAll(async () => {
  server = await createTestApi();
  client = await server.createClient("Receivers");
  const ownerId = await addUser(server, client);
  workflow = await addWorkflow(client, { campaignId: (await addCampaign(client)).id, ownerId });
});
afterAll(async () => server.close());

const check = async ({ path, key }: TestInbound, with_ = key) => call(server.api, with_, "GET", path);
const refer = async (inbound: TestInbound, organisation: string) =>
  call(
    server.api,
    inbound.key,
    "POST",
    inbound.path,
    referralDocument({ from: { organisation, installation: "https://x.test" } }),
  );

describe("an inbound", () => {
  test("gives a URL and a key, both shown again when it is looked at, but not on lists", async () => {
    const inbound = await addInbound(client, workflow);
    expect(inbound.key).toMatch(/^referral_[\w-]{32}$/);
    const shown = await client.call("GET", `/v1/inbounds/${inbound.id}`);
    expect(shown.body).toMatchObject({ key: inbound.key, enabled: true, form: null, formUrl: null, referrers: [] });
    expect(shown.text("referralUrl")).toMatch(/^http:\/\/localhost:\d+\/v1\/referrals\/inbound\/[0-9a-f-]{36}$/);
    const list = await client.call("GET", "/v1/inbounds");
    expect(list.raw).not.toContain(inbound.key);
    expect(list.text("data.0.referralUrl")).toBe(shown.text("referralUrl"));
  });

  test("keeps its key encrypted, and its changes without it", async () => {
    const inbound = await addInbound(client, workflow);
    await client.call("POST", `/v1/inbounds/${inbound.id}/renew-key`);
    const { rows } = await sql<{ text: string }>`
      select string_agg(t, ' ') as text from (select i::text as t from inbounds i union all select c::text from changes c) x
    `.execute(server.owner);
    expect(rows[0]?.text).toContain(inbound.id);
    expect(rows[0]?.text).not.toContain(inbound.key);
  });

  test("shows its key to nobody who may not manage referrals", async () => {
    const inbound = await addInbound(client, workflow);
    const made = await client.call("POST", "/v1/api-keys", { name: "reads" });
    await sql`update api_keys set scopes = '["referrals.read"]' where id = ${made.text("id")}`.execute(server.owner);
    const shown = await call(server.api, made.text("key"), "GET", `/v1/inbounds/${inbound.id}`);
    expect(shown.body).toMatchObject({ id: inbound.id, key: null });
    const renewed = await call(server.api, made.text("key"), "POST", `/v1/inbounds/${inbound.id}/renew-key`);
    expect(renewed.status).toBe(403);
  });

  test("leads to a stage of its workflow only", async () => {
    const other = await addWorkflow(client, {
      campaignId: (await addCampaign(client)).id,
      ownerId: await addUser(server, client),
    });
    const document = { name: "Wrong", workflowId: workflow.id, stageId: other.stageIds[0] };
    const answer = await client.call("POST", "/v1/inbounds", document);
    expect(answer.body).toMatchObject({ status: 422, fields: [{ field: "stageId", code: "unknown_stage" }] });
  });

  test("answers a check of the link with its versions, who it is and what it is called", async () => {
    const inbound = await addInbound(client, workflow, { name: "Sister firm" });
    const answer = await check(inbound);
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({ versions: [1], organisation: "Receivers", inbound: "Sister firm" });
  });
});

describe("the key of an inbound", () => {
  test("that is missing, wrong, another's, or an inbound that never was: one and the same answer", async () => {
    const [inbound, other] = [await addInbound(client, workflow), await addInbound(client, workflow)];
    const never = { ...inbound, path: inbound.path.replace(inbound.id, "01900000-0000-7000-8000-000000000000") };
    const answers = [
      await call(server.api, null, "GET", inbound.path),
      await check(inbound, "x"),
      await check(inbound, `${inbound.key}x`),
      await check(inbound, other.key),
      await check(inbound, client.key),
      await check(never),
      await check({ ...inbound, path: "/v1/referrals/inbound/nonsense" }),
    ];
    for (const answer of answers) {
      expect(answer.body).toMatchObject({ status: 401, code: "referral_key_wrong" });
      expect(answer.raw).toBe(answers[0]?.raw);
      expect(answer.headers["www-authenticate"]).toBe('Bearer realm="Handoff referrals"');
    }
  });

  test("can be renewed: the old one is wrong from then on", async () => {
    const inbound = await addInbound(client, workflow);
    const renewed = (await client.call("POST", `/v1/inbounds/${inbound.id}/renew-key`)).text("key");
    expect(renewed).not.toBe(inbound.key);
    expect((await check(inbound)).status).toBe(401);
    expect((await check(inbound, renewed)).status).toBe(200);
  });

  test("that is guessed has to wait, one that was good does not", async () => {
    const guessed = await createTestApi({ environment: { WRONG_KEYS_PER_MINUTE: "3" } });
    try {
      const receiver = await guessed.createClient();
      const ownerId = await addUser(guessed, receiver);
      const own = await addWorkflow(receiver, { campaignId: (await addCampaign(receiver)).id, ownerId });
      const [inbound, other] = [await addInbound(receiver, own), await addInbound(receiver, own)];
      expect((await call(guessed.api, inbound.key, "GET", inbound.path)).status).toBe(200);
      // Wrong at another inbound: it stays good at its own.
      const statuses = [(await call(guessed.api, inbound.key, "GET", other.path)).status];
      for (const key of ["a", "b", "c"]) statuses.push((await call(guessed.api, key, "GET", inbound.path)).status);
      expect(statuses).toEqual([401, 401, 401, 429]);
      expect((await call(guessed.api, inbound.key, "GET", inbound.path)).status).toBe(200);
    } finally {
      await guessed.close();
    }
  });
});

describe("who has used an inbound", () => {
  test("is shown with it: who, from where, when first and last, how often", async () => {
    const inbound = await addInbound(client, workflow);
    await refer(inbound, "Ash Ltd");
    await refer(inbound, "Birch Ltd");
    await refer(inbound, "Ash Ltd");
    const { body } = await client.call("GET", `/v1/inbounds/${inbound.id}`);
    const { referrers } = body as { referrers: { organisation: string; firstAt: string; lastAt: string }[] };
    expect(referrers).toMatchObject([
      { organisation: "Ash Ltd", installation: "https://x.test", count: 2 },
      { organisation: "Birch Ltd", count: 1 },
    ]);
    expect(Date.parse(referrers[0]?.lastAt ?? "")).toBeGreaterThan(Date.parse(referrers[0]?.firstAt ?? ""));
  });

  test("counts a referral that came twice once", async () => {
    const inbound = await addInbound(client, workflow);
    const referral = referralDocument();
    for (let times = 0; times < 3; times += 1) await call(server.api, inbound.key, "POST", inbound.path, referral);
    expect((await client.call("GET", `/v1/inbounds/${inbound.id}`)).value("referrers.0.count")).toBe(1);
  });

  test("is told before one that several use is disabled or deleted, which takes confirm", async () => {
    const inbound = await addInbound(client, workflow);
    await refer(inbound, "Ash Ltd");
    await refer(inbound, "Birch Ltd");
    const url = `/v1/inbounds/${inbound.id}`;
    const refusals = [await client.call("PATCH", url, { enabled: false }), await client.call("DELETE", url)];
    for (const refused of refusals) {
      expect(refused.body).toMatchObject({ status: 409, code: "inbound_in_use" });
      expect(refused.text("detail")).toMatch(/Birch Ltd \(https:\/\/x\.test\), Ash Ltd/);
    }
    expect((await check(inbound)).status).toBe(200);
    expect((await client.call("PATCH", url, { enabled: false, confirm: true })).body).toMatchObject({ enabled: false });
    expect((await check(inbound)).body).toMatchObject({ status: 409, code: "inbound_disabled" });
    expect((await client.call("PATCH", url, { enabled: true })).status).toBe(200);
    expect((await client.call("DELETE", `${url}?confirm=true`)).status).toBe(204);
  });

  test("is nobody, or one: it is disabled and deleted without confirm", async () => {
    const inbound = await addInbound(client, workflow);
    await refer(inbound, "Ash Ltd");
    const url = `/v1/inbounds/${inbound.id}`;
    expect((await client.call("PATCH", url, { enabled: false })).status).toBe(200);
    expect((await client.call("DELETE", url)).status).toBe(204);
  });
});

describe("an inbound that was deleted", () => {
  test("is gone for good: to its owner not there, to who has its key gone, to others as if it never was", async () => {
    const inbound = await addInbound(client, workflow);
    const referral = await refer(inbound, "Ash Ltd");
    await client.call("DELETE", `/v1/inbounds/${inbound.id}`);
    for (const [method, path, body] of [
      ["GET", "", undefined],
      ["PATCH", "", { enabled: true }],
      ["POST", "/renew-key", undefined],
      ["DELETE", "", undefined],
    ] as const) {
      expect((await client.call(method, `/v1/inbounds/${inbound.id}${path}`, body)).status).toBe(404);
    }
    expect((await check(inbound)).body).toMatchObject({ status: 410, code: "inbound_gone" });
    expect((await refer(inbound, "Ash Ltd")).body).toMatchObject({ status: 410, code: "inbound_gone" });
    expect((await check(inbound, "wrong")).status).toBe(401);
    expect((await client.call("GET", `/v1/leads/${referral.text("receivedAs")}`)).status).toBe(200);
    expect((await client.call("GET", "/v1/inbounds")).raw).not.toContain(inbound.id);
  });
});
