import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import { call, createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign, campaignDocument } from "../helpers/api-documents.ts";
import { addInbound, addUser, addWorkflow, type TestWorkflow } from "../helpers/referrals.ts";

/** Workflows, their stages, and leads that stand in them. */

let server: TestApi;
let client: TestClient;
let stranger: TestClient;
let campaign: { readonly id: string; readonly intakeKey: string };
let ownerId: string;

beforeAll(async () => {
  server = await createTestApi();
  client = await server.createClient("Sellers");
  stranger = await server.createClient("Strangers");
  campaign = await addCampaign(client);
  ownerId = await addUser(server, client, { name: "Olive Owner", email: "olive@example.com" });
});
afterAll(async () => server.close());

let people = 0;

async function addLead(): Promise<string> {
  people += 1;
  const lead = { first_name: "Ann", email: `ann${people}@example.com` };
  return (await call(server.api, null, "POST", `/v1/intake/${campaign.intakeKey}`, lead)).text("leadId");
}

const newWorkflow = async (stages?: readonly string[]): Promise<TestWorkflow> =>
  addWorkflow(client, { campaignId: campaign.id, ownerId, ...(stages === undefined ? {} : { stages }) });

describe("a workflow", () => {
  test("has a name, a campaign, an owner and stages in their order, each with an id of its own", async () => {
    const { id, stageIds } = await newWorkflow(["New", "Quoted", "Won"]);
    const { body } = await client.call("GET", `/v1/workflows/${id}`);
    expect(body).toMatchObject({
      name: "Sales",
      campaignId: campaign.id,
      ownerId,
      alertSms: false,
      stages: [
        { id: stageIds[0], name: "New" },
        { id: stageIds[1], name: "Quoted" },
        { id: stageIds[2], name: "Won" },
      ],
    });
    const list = await client.call("GET", "/v1/workflows");
    expect(list.value("data.0")).toEqual(body);
  });

  test("keeps the ids of stages that are renamed, moved or joined by others", async () => {
    const { id, stageIds } = await newWorkflow(["New", "Won"]);
    const [first, second] = stageIds;
    const stages = [{ id: second, name: "Closed" }, { name: "Between" }, { id: first, name: "New" }];
    const changed = await client.call("PATCH", `/v1/workflows/${id}`, { stages });
    expect(changed.value("stages")).toEqual([
      { id: second, name: "Closed" },
      { id: expect.not.stringMatching(`${first}|${second}`), name: "Between" },
      { id: first, name: "New" },
    ]);
  });

  test.each([
    ["a campaign that is not there", { campaignId: "01900000-0000-7000-8000-000000000000" }, "campaignId"],
    ["an owner who is not there", { ownerId: "01900000-0000-7000-8000-000000000000" }, "ownerId"],
    ["two stages of one name", { stages: [{ name: "New" }, { name: "New" }] }, "stages.1.name"],
    ["no stage", { stages: [] }, "stages"],
    [
      "a stage of another workflow",
      { stages: [{ id: "01900000-0000-7000-8000-000000000000", name: "New" }] },
      "stages.0.id",
    ],
  ])("with %s is refused", async (_, changes, field) => {
    const document = { name: "Sales", campaignId: campaign.id, ownerId, stages: [{ name: "New" }], ...changes };
    const answer = await client.call("POST", "/v1/workflows", document);
    expect(answer.body).toMatchObject({ status: 422, code: "invalid_body", fields: [{ field }] });
  });

  test("is owned by nobody who is not let in any more, nor by another organisation's user", async () => {
    const gone = await addUser(server, client);
    await sql`update users set disabled_at = now() where id = ${gone}`.execute(server.owner);
    const foreign = await addUser(server, stranger);
    for (const user of [gone, foreign]) {
      const document = { name: "Sales", campaignId: campaign.id, ownerId: user, stages: [{ name: "New" }] };
      const answer = await client.call("POST", "/v1/workflows", document);
      expect(answer.body).toMatchObject({ status: 422, fields: [{ field: "ownerId" }] });
    }
  });

  test("is in the record of changes", async () => {
    const { id } = await newWorkflow();
    await client.call("PATCH", `/v1/workflows/${id}`, { name: "Renamed" });
    const changes = await client.call("GET", `/v1/changes?objectId=${id}`);
    expect(changes.value("data.0")).toMatchObject({
      objectKind: "workflow",
      before: { name: "Sales" },
      after: { name: "Renamed" },
    });
  });
});

describe("a stage", () => {
  test("that nothing is in can be taken away", async () => {
    const { id, stageIds } = await newWorkflow();
    const stages = [{ id: stageIds[0], name: "New" }];
    expect((await client.call("PATCH", `/v1/workflows/${id}`, { stages })).value("stages")).toEqual(stages);
  });

  test("with leads in it cannot be taken away, not even with confirm", async () => {
    const { id, stageIds } = await newWorkflow();
    const lead = await addLead();
    await client.call("PUT", `/v1/leads/${lead}/stage`, { stageId: stageIds[1] });
    const stages = [{ id: stageIds[0], name: "New" }];
    for (const confirm of [false, true]) {
      const refused = await client.call("PATCH", `/v1/workflows/${id}`, { stages, confirm });
      expect(refused.body).toMatchObject({
        status: 409,
        code: "stage_in_use",
        detail: expect.stringContaining("Working"),
      });
    }
    await client.call("PUT", `/v1/leads/${lead}/stage`, { stageId: stageIds[0] });
    expect((await client.call("PATCH", `/v1/workflows/${id}`, { stages })).status).toBe(200);
  });

  test("that an enabled inbound leads to is taken away only with confirm, and says which", async () => {
    const workflow = await newWorkflow();
    const inbound = await addInbound(client, workflow, { name: "Sister firm" });
    const stages = [{ id: workflow.stageIds[1], name: "Working" }];
    const refused = await client.call("PATCH", `/v1/workflows/${workflow.id}`, { stages });
    expect(refused.body).toMatchObject({
      status: 409,
      code: "stage_in_use",
      detail: expect.stringContaining("Sister firm"),
    });
    expect((await client.call("PATCH", `/v1/workflows/${workflow.id}`, { stages, confirm: true })).status).toBe(200);
    const check = await call(server.api, inbound.key, "GET", inbound.path);
    expect(check.body).toMatchObject({ status: 409, code: "stage_gone" });
  });

  test("that an enabled outbound names is taken away only with confirm, and says which", async () => {
    const workflow = await newWorkflow();
    const document = {
      ...{ name: "Harbour Finance", url: "https://harbour.test/v1/referrals/inbound/x", key: "k".repeat(40) },
      ...{ workflowId: workflow.id, stageId: workflow.stageIds[0] },
    };
    expect((await client.call("POST", "/v1/outbounds", document)).status).toBe(201);
    const stages = [{ id: workflow.stageIds[1], name: "Working" }];
    const refused = await client.call("PATCH", `/v1/workflows/${workflow.id}`, { stages });
    expect(refused.body).toMatchObject({ code: "stage_in_use", detail: expect.stringContaining("outbound Harbour") });
    expect((await client.call("PATCH", `/v1/workflows/${workflow.id}`, { stages, confirm: true })).status).toBe(200);
  });

  test("that a disabled inbound names can go, and the inbound is not enabled before it has another", async () => {
    const workflow = await newWorkflow();
    const inbound = await addInbound(client, workflow, { enabled: false });
    const stages = [{ id: workflow.stageIds[1], name: "Working" }];
    expect((await client.call("PATCH", `/v1/workflows/${workflow.id}`, { stages })).status).toBe(200);
    const enabled = await client.call("PATCH", `/v1/inbounds/${inbound.id}`, { enabled: true });
    expect(enabled.body).toMatchObject({ status: 422, fields: [{ field: "stageId", code: "unknown_stage" }] });
    const moved = { enabled: true, stageId: workflow.stageIds[1] };
    expect((await client.call("PATCH", `/v1/inbounds/${inbound.id}`, moved)).status).toBe(200);
  });

  test("cannot go while a lead is being put into it: one of the two is told", async () => {
    const rounds = Array.from({ length: 8 }, async () => {
      const { id, stageIds } = await newWorkflow();
      const lead = await addLead();
      const [put, removed] = await Promise.all([
        client.call("PUT", `/v1/leads/${lead}/stage`, { stageId: stageIds[1] }),
        client.call("PATCH", `/v1/workflows/${id}`, { stages: [{ id: stageIds[0], name: "New" }] }),
      ]);
      expect([
        [204, 409],
        [422, 200],
      ]).toContainEqual([put.status, removed.status]);
    });
    await Promise.all(rounds);
  });
});

describe("a lead", () => {
  test("stands in a stage, has an owner and notes, and shows them with what happened", async () => {
    const { id: workflowId, stageIds } = await newWorkflow();
    const lead = await addLead();
    expect((await client.call("PUT", `/v1/leads/${lead}/stage`, { stageId: stageIds[0] })).status).toBe(204);
    expect((await client.call("PUT", `/v1/leads/${lead}/stage`, { stageId: stageIds[1] })).status).toBe(204);
    expect((await client.call("PUT", `/v1/leads/${lead}/owner`, { ownerId })).status).toBe(204);
    const note = await client.call("POST", `/v1/leads/${lead}/notes`, { text: "Call after six.", shareable: true });
    expect(note.body).toMatchObject({ text: "Call after six.", shareable: true, writtenBy: "API key test" });
    const shown = await client.call("GET", `/v1/leads/${lead}`);
    expect(shown.body).toMatchObject({
      stage: { id: stageIds[1], name: "Working", workflowId, workflowName: "Sales" },
      ownerId,
      owner: { id: ownerId, name: "Olive Owner", email: "olive@example.com" },
      byHand: false,
      arrival: null,
      notes: [note.body],
    });
    const timeline = shown.value("timeline");
    for (const text of [
      "It was put into Sales, New (API key test).",
      "It was moved from Sales, New to Sales, Working (API key test).",
      "It was given to Olive Owner (API key test).",
      "API key test noted: Call after six.",
    ]) {
      expect(timeline).toContainEqual(expect.objectContaining({ text }));
    }
    expect((await client.call("GET", `/v1/leads/${lead}/notes`)).value("data")).toEqual([note.body]);
  });

  test("can be taken out of its workflow and given to nobody", async () => {
    const { stageIds } = await newWorkflow();
    const lead = await addLead();
    await client.call("PUT", `/v1/leads/${lead}/stage`, { stageId: stageIds[0] });
    await client.call("PUT", `/v1/leads/${lead}/owner`, { ownerId });
    await client.call("PUT", `/v1/leads/${lead}/stage`, { stageId: null });
    await client.call("PUT", `/v1/leads/${lead}/owner`, { ownerId: null });
    expect((await client.call("GET", `/v1/leads/${lead}`)).body).toMatchObject({
      stage: null,
      owner: null,
      ownerId: null,
    });
  });

  test("is found by its stage and by its owner, through an index", async () => {
    const { stageIds } = await newWorkflow();
    const own = await addUser(server, client);
    const [inStage, owned] = [await addLead(), await addLead()];
    await client.call("PUT", `/v1/leads/${inStage}/stage`, { stageId: stageIds[0] });
    await client.call("PUT", `/v1/leads/${owned}/owner`, { ownerId: own });
    const ids = async (query: string) => {
      const { body } = await client.call("GET", `/v1/leads?${query}`);
      return (body as { data: { id: string }[] }).data.map(({ id }) => id);
    };
    expect(await ids(`stageId=${stageIds[0]}`)).toEqual([inStage]);
    expect(await ids(`ownerId=${own}`)).toEqual([owned]);
    expect(await ids(`ownerId=${own}&stageId=${stageIds[0]}`)).toEqual([]);
    for (const column of ["stage_id", "owner_id"]) {
      const { rows } = await sql<{ "QUERY PLAN": string }>`
        explain select id from leads where organisation_id = ${client.organisationId} and ${sql.ref(column)} = ${own}
        order by id desc limit 51`.execute(server.owner);
      expect(rows.map((row) => row["QUERY PLAN"]).join("\n")).toMatch(/leads_by_(stage|owner)/);
    }
  });

  test("that stands in a stage is routed as it would be without", async () => {
    const { stageIds } = await newWorkflow();
    const lead = await addLead();
    await client.call("PUT", `/v1/leads/${lead}/stage`, { stageId: stageIds[0] });
    await routeDueLeads(server.context, client.organisationId, campaign.id);
    expect((await client.call("GET", `/v1/leads/${lead}`)).body).toMatchObject({
      state: "unsold",
      reason: { code: "no_partners" },
      stage: { id: stageIds[0] },
    });
  });

  test("that was erased stands nowhere, has no notes, and takes none", async () => {
    const { stageIds } = await newWorkflow();
    const lead = await addLead();
    await client.call("PUT", `/v1/leads/${lead}/stage`, { stageId: stageIds[0] });
    await client.call("PUT", `/v1/leads/${lead}/owner`, { ownerId });
    await client.call("POST", `/v1/leads/${lead}/notes`, { text: "Has a dog called Rex." });
    expect((await client.call("DELETE", `/v1/leads/${lead}`)).status).toBe(204);
    const shown = await client.call("GET", `/v1/leads/${lead}`);
    expect(shown.body).toMatchObject({ state: "erased", stage: null, ownerId: null, notes: [] });
    expect(shown.raw).not.toContain("Rex");
    for (const [method, place, body] of [
      ["PUT", "stage", { stageId: stageIds[0] }],
      ["PUT", "owner", { ownerId }],
      ["POST", "notes", { text: "again" }],
    ] as const) {
      const answer = await client.call(method, `/v1/leads/${lead}/${place}`, body);
      expect(answer.body).toMatchObject({ status: 409, code: "lead_erased" });
    }
  });

  test("goes into no stage and to no user that is not there, is gone, or is another organisation's", async () => {
    const lead = await addLead();
    const workflow = await newWorkflow();
    await client.call("PATCH", `/v1/workflows/${workflow.id}`, { stages: [{ id: workflow.stageIds[0], name: "New" }] });
    const foreignUser = await addUser(server, stranger);
    const { id: campaignId } = await addCampaign(stranger, [], campaignDocument());
    const foreign = await addWorkflow(stranger, { campaignId, ownerId: foreignUser });
    for (const stageId of [workflow.stageIds[1], foreign.stageIds[0]]) {
      const answer = await client.call("PUT", `/v1/leads/${lead}/stage`, { stageId });
      expect(answer.body).toMatchObject({ status: 422, fields: [{ field: "stageId", code: "unknown_stage" }] });
    }
    const answer = await client.call("PUT", `/v1/leads/${lead}/owner`, { ownerId: foreignUser });
    expect(answer.body).toMatchObject({ status: 422, fields: [{ field: "ownerId", code: "unknown_user" }] });
  });
});
