import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { createTestApi, type TestApi } from "../helpers/api.ts";
import { type Desk, openDesk } from "../helpers/deals.ts";
import { problem, type ReferralReceiver, startReferralReceiver } from "../helpers/referral-receiver.ts";

/** Links to other organisations' inbounds. The other side is a real HTTP server that speaks the protocol. */

const secretMask = "••••••";

let receiver: ReferralReceiver;
let server: TestApi;
let desk: Desk;
let link: { readonly url: string; readonly key: string };

beforeAll(async () => {
  receiver = await startReferralReceiver();
  server = await createTestApi({ environment: { HANDOFF_ALLOW_HOSTS: receiver.host } });
  desk = await openDesk(server);
  link = { url: receiver.referralUrl, key: receiver.key };
});
afterAll(async () => {
  await server.close();
  await receiver.close();
});
beforeEach(() => receiver.always(null));

describe("an outbound", () => {
  test("is made, asked about, listed, changed and deleted; its key is masked and never kept in the clear", async () => {
    const made = await desk.outbound(link);
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({
      ...link,
      key: secretMask,
      enabled: true,
      organisation: "Receivers Ltd",
      warnings: [],
    });
    const url = `/v1/outbounds/${made.text("id")}`;
    expect((await desk.client.call("GET", "/v1/outbounds")).value("data.0.id")).toBe(made.text("id"));
    const changed = await desk.client.call("PATCH", url, { name: "Renamed", key: secretMask });
    expect(changed.body).toMatchObject({ name: "Renamed", organisation: "Receivers Ltd" });
    expect((await desk.client.call("GET", url)).body).toMatchObject({ name: "Renamed", key: secretMask });
    const { rows } = await sql<{ kept: string }>`select to_jsonb(o)::text as kept from outbounds o`.execute(
      server.owner,
    );
    for (const { kept } of rows) expect(kept).not.toContain(receiver.key);
    const changes = await desk.client.call("GET", `/v1/changes?objectId=${made.text("id")}`);
    expect(changes.raw).not.toContain(receiver.key);
    expect(changes.value("data.0.after")).toEqual({ name: "Renamed" });
    expect((await desk.client.call("DELETE", url)).status).toBe(204);
    for (const [method, path] of [
      ["GET", url],
      ["DELETE", url],
      ["POST", `${url}/check`],
    ] as const) {
      expect((await desk.client.call(method, path)).status).toBe(404);
    }
    expect((await desk.client.call("PATCH", url, { name: "x" })).status).toBe(404);
    expect((await desk.client.call("GET", "/v1/outbounds")).raw).not.toContain(made.text("id"));
  });

  test.each([
    ["plain http", { url: "http://crm.example.com/v1/referrals/inbound/x" }, "url"],
    ["no URL", { url: "crm.example.com" }, "url"],
    ["another scheme", { url: "ftp://crm.example.com/" }, "url"],
    ["a user name in the URL", { url: "https://ann:secret@crm.example.com/" }, "url"],
    ["a key with a line break", { key: "abc\r\nX-Evil: 1" }, "key"],
    ["a masked key where none is stored", { key: secretMask }, "key"],
    ["an unknown workflow", { workflowId: "01900000-0000-7000-8000-000000000000" }, "workflowId"],
    ["an unknown stage", { stageId: "01900000-0000-7000-8000-000000000000" }, "stageId"],
  ])("with %s is refused, in words", async (_, document, field) => {
    const answer = await desk.outbound({ ...link, ...document });
    expect(answer.body).toMatchObject({ status: 422, code: "invalid_body", fields: [{ field }] });
  });

  test("with a stage of another workflow, or another organisation's, is refused", async () => {
    const other = await openDesk(server, "Others");
    const stage = await desk.outbound({ ...link, stageId: other.stageId });
    expect(stage.value("fields.0.field")).toBe("stageId");
    const workflow = await desk.outbound({ ...link, workflowId: other.workflowId, stageId: other.stageId });
    expect(workflow.value("fields.0.field")).toBe("workflowId");
  });

  test("with another address forgets whom it led to", async () => {
    const made = await desk.outbound(link);
    const moved = `${receiver.url}/elsewhere`;
    const changed = await desk.client.call("PATCH", `/v1/outbounds/${made.text("id")}`, { url: moved });
    expect(changed.body).toMatchObject({ url: moved, organisation: null });
    expect(changed.text("warnings.0.message")).toMatch(/does not work.*check the URL/);
  });
});

describe("a check of the link", () => {
  const check = async () => {
    const made = await desk.outbound(link);
    return async () => desk.client.call("POST", `/v1/outbounds/${made.text("id")}/check`);
  };

  test("says to which organisation and inbound it leads", async () => {
    const answer = await (await check())();
    expect(answer.body).toEqual({
      works: true,
      text: "The link works. It leads to the inbound “From Sellers” of Receivers Ltd. Both sides speak version 1 of the referral protocol.",
      organisation: "Receivers Ltd",
      inbound: "From Sellers",
      versions: [1],
    });
    const seen = receiver.seen.at(-1);
    expect([seen?.method, seen?.headers.authorization, seen?.body]).toEqual(["GET", `Bearer ${receiver.key}`, ""]);
  });

  test.each([
    ["a wrong key", problem(401, "referral_key_wrong"), /key/],
    ["a deleted inbound", problem(410, "inbound_gone"), /deleted/],
    ["a page of something else", { status: 200, body: "<html>" }, /check the URL/],
    ["trouble there", { status: 500 }, /500/],
    [
      "a newer version only",
      { status: 200, body: { versions: [2], organisation: "R", inbound: "I" } },
      /version 2.*version 1/,
    ],
    ["a server that hangs up", "reset", /closed/],
  ] as const)("says in words what is wrong: %s", async (_, manners, words) => {
    const ask = await check();
    receiver.always(manners);
    const answer = await ask();
    expect(answer.body).toMatchObject({ works: false });
    expect(answer.text("text")).toMatch(words);
  });

  test("that is echoed does not show the key", async () => {
    const ask = await check();
    receiver.always(problem(401, "referral_key_wrong", `The key ${receiver.key} is not known`));
    const answer = await ask();
    expect(answer.raw).not.toContain(receiver.key);
    expect(answer.text("text")).toContain(secretMask);
  });

  test("reaches no address inside, whatever is typed in", async () => {
    const answer = await desk.outbound({ ...link, url: "https://127.0.0.1:1/v1/referrals/inbound/x" });
    expect(answer.status).toBe(201);
    expect(answer.text("warnings.0.message")).toMatch(/loopback address, which may not be sent to/);
  });
});
