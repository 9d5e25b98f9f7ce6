import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { newId } from "../../src/db/id.ts";
import { createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign, contactFields } from "../helpers/api-documents.ts";
import { addStage, approve, ask, portalCodeOf } from "../helpers/connections.ts";

/** Connected portals: who asks, who approves, and what each side sees of it. Over the API, on a real database. */

let server: TestApi;
let sender: TestClient;
let receiver: TestClient;
let stageId: string;
let now: Date;

const policyFields = [...contactFields, { key: "policy_no", label: "Policy number", type: "text", group: "policy" }];

beforeAll(async () => {
  server = await createTestApi({ clock: () => now });
});
afterAll(async () => server.close());

/** Each test has a pair of its own. */
beforeEach(async () => {
  now = new Date("2026-03-04T10:00:00Z");
  sender = await server.createClient("Mortgage Desk");
  receiver = await server.createClient("Cover Desk");
  await addCampaign(sender, [], { fields: policyFields });
  stageId = await addStage(server, receiver);
});

const outgoing = async (id: string) => sender.call("GET", `/v1/connections/outgoing/${id}`);
const incoming = async (id: string) => receiver.call("GET", `/v1/connections/incoming/${id}`);
const lines = async (client: TestClient, list: "outgoing" | "incoming", query = "") =>
  (await client.call("GET", `/v1/connections/${list}${query}`)).value("data");
const changesOf = async (client: TestClient, id: string) =>
  (await client.call("GET", `/v1/changes?objectId=${id}`)).value("data");
const alertsOf = async (client: TestClient) =>
  (await client.call("GET", "/v1/alerts?kind=connection_requested")).value("data");

describe("a request", () => {
  test("is pending, names who is asked, and carries the contact's fields whether named or not", async () => {
    const portalCode = await portalCodeOf(receiver);
    const answer = await sender.call("POST", "/v1/connections/outgoing", { portalCode, permissions: ["policy"] });
    expect(answer.status).toBe(201);
    expect(answer.body).toMatchObject({
      organisation: "Cover Desk",
      permissions: ["contact", "policy"],
      state: "pending",
      version: 1,
      createdBy: "API key test",
      createdAt: "2026-03-04T10:00:00.000Z",
      decidedBy: null,
    });
  });

  test("takes the code in capital letters and with blanks around it, and each group once", async () => {
    const portalCode = ` ${(await portalCodeOf(receiver)).toUpperCase()} `;
    const permissions = ["policy", "contact", "policy", "notes"];
    const answer = await sender.call("POST", "/v1/connections/outgoing", { portalCode, permissions });
    expect(answer.value("permissions")).toEqual(["contact", "notes", "policy"]);
  });

  test("with an unknown code is refused, and nothing more is told", async () => {
    const code = await portalCodeOf(receiver);
    const near = [`${code}x`, code.slice(0, -1), code.replace(/-[^-]+$/, ""), "cover-desk", "%", newId()];
    const answers = [];
    for (const portalCode of near) answers.push(await sender.call("POST", "/v1/connections/outgoing", { portalCode }));
    for (const answer of answers) {
      expect(answer.body).toMatchObject({ status: 404, code: "portal_code_unknown" });
      expect(answer.raw).toBe(answers[0]?.raw);
    }
    expect(answers[0]?.raw).not.toMatch(/cover/i);
  });

  test("with one's own code is refused", async () => {
    const portalCode = await portalCodeOf(sender);
    const answer = await sender.call("POST", "/v1/connections/outgoing", { portalCode });
    expect(answer.body).toMatchObject({ status: 409, code: "own_portal_code" });
  });

  test("for a pair that has one is refused while that is pending or active, and says which", async () => {
    const id = await ask(sender, receiver);
    const again = async () =>
      sender.call("POST", "/v1/connections/outgoing", { portalCode: await portalCodeOf(receiver) });
    expect((await again()).body).toMatchObject({
      status: 409,
      code: "connection_exists",
      detail: `Connection ${id} waits for approval.`,
    });
    await approve(receiver, id, stageId);
    expect((await again()).body).toMatchObject({
      code: "connection_exists",
      detail: `Connection ${id} is active.`,
    });
    await sender.call("DELETE", `/v1/connections/outgoing/${id}`);
    expect((await again()).status).toBe(201);
  });

  test("twice at the same time makes one", async () => {
    const portalCode = await portalCodeOf(receiver);
    const asked = await Promise.all(
      Array.from({ length: 6 }, async () => sender.call("POST", "/v1/connections/outgoing", { portalCode })),
    );
    expect(asked.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409, 409, 409]);
    expect(await lines(receiver, "incoming")).toHaveLength(1);
  });

  test("after one that was rejected may be made", async () => {
    const id = await ask(sender, receiver);
    await receiver.call("POST", `/v1/connections/incoming/${id}/reject`);
    expect(await ask(sender, receiver)).not.toBe(id);
  });

  test("for a group that no campaign has is refused, and says which there are", async () => {
    const portalCode = await portalCodeOf(receiver);
    const answer = await sender.call("POST", "/v1/connections/outgoing", { portalCode, permissions: ["polcy"] });
    expect(answer.body).toMatchObject({
      status: 422,
      fields: [{ field: "permissions", message: "must be among contact, notes, policy", given: "polcy" }],
    });
    expect((await sender.call("GET", "/v1/connections/groups")).body).toEqual({
      data: [
        { group: "contact", fields: ["First name", "email", "phone"], always: true },
        { group: "notes", fields: ["Notes that are marked as shareable"], always: false },
        { group: "policy", fields: ["Policy number"], always: false },
      ],
    });
  });

  test("goes one way: the way back is a request of its own", async () => {
    const id = await ask(sender, receiver);
    await approve(receiver, id, stageId);
    expect(await lines(receiver, "outgoing")).toEqual([]);
    expect(await lines(sender, "incoming")).toEqual([]);
    const back = await ask(receiver, sender);
    expect(await lines(sender, "incoming")).toMatchObject([{ id: back, state: "pending" }]);
    expect(await lines(sender, "outgoing")).toMatchObject([{ id, state: "active" }]);
  });
});

describe("the lists", () => {
  test("have the columns of each side, and no others", async () => {
    const id = await ask(sender, receiver, ["policy"]);
    await approve(receiver, id, stageId);
    const shared = { id, state: "active", createdBy: "API key test", createdAt: "2026-03-04T10:00:00.000Z" };
    const decidedAt = "2026-03-04T10:00:00.000Z";
    expect(await lines(sender, "outgoing")).toEqual([
      {
        ...shared,
        organisation: "Cover Desk",
        permissions: ["contact", "policy"],
        decidedBy: "API key test",
        decidedAt,
      },
    ]);
    expect(await lines(receiver, "incoming")).toEqual([
      { ...shared, organisation: "Mortgage Desk", approvedBy: "API key test", approvedAt: decidedAt },
    ]);
  });

  test("show who rejected to the sender, and nobody as approver to the receiver", async () => {
    const id = await ask(sender, receiver);
    await receiver.call("POST", `/v1/connections/incoming/${id}/reject`);
    expect(await lines(sender, "outgoing")).toMatchObject([{ state: "rejected", decidedBy: "API key test" }]);
    expect(await lines(receiver, "incoming")).toMatchObject([
      { state: "rejected", approvedBy: null, approvedAt: null },
    ]);
  });

  test("come in pages, and by state", async () => {
    const third = await server.createClient("Third");
    const [first, second] = [await ask(sender, receiver), await ask(sender, third)];
    const page = await sender.call("GET", "/v1/connections/outgoing?limit=1");
    expect(page.body).toMatchObject({ data: [{ id: second }], nextCursor: second });
    expect(await lines(sender, "outgoing", `?limit=1&cursor=${second}`)).toMatchObject([{ id: first }]);
    await sender.call("DELETE", `/v1/connections/outgoing/${first}`);
    expect(await lines(sender, "outgoing", "?state=ended")).toMatchObject([{ id: first }]);
    expect(await lines(sender, "outgoing", "?state=pending")).toMatchObject([{ id: second }]);
  });

  test("call the other side by its present name", async () => {
    await ask(sender, receiver);
    await sender.call("PATCH", "/v1/organisation", { name: "Mortgages and More" });
    await receiver.call("PATCH", "/v1/organisation", { name: "Cover and More" });
    expect(await lines(receiver, "incoming")).toMatchObject([{ organisation: "Mortgages and More" }]);
    expect(await lines(sender, "outgoing")).toMatchObject([{ organisation: "Cover and More" }]);
  });
});

describe("the receiver", () => {
  test("approves with the stage in which leads arrive; who and when is kept on both sides", async () => {
    const id = await ask(sender, receiver);
    now = new Date("2026-03-04T11:00:00Z");
    const answer = await approve(receiver, id, stageId, true);
    const approved = { state: "active", decidedBy: "API key test", decidedAt: now.toISOString(), reportsStatus: true };
    expect(answer.body).toMatchObject({ ...approved, stageId });
    expect((await outgoing(id)).body).toMatchObject(approved);
    expect((await outgoing(id)).raw).not.toContain(stageId);
  });

  test("cannot approve into a stage that is not its own", async () => {
    const id = await ask(sender, receiver);
    for (const stage of [await addStage(server, sender), newId()]) {
      const answer = await approve(receiver, id, stage);
      expect(answer.body).toMatchObject({ status: 422, fields: [{ field: "stageId", code: "not_found" }] });
    }
    expect((await incoming(id)).value("state")).toBe("pending");
  });

  test("approves what it saw: not other permissions that were asked for since", async () => {
    const id = await ask(sender, receiver);
    await sender.call("PATCH", `/v1/connections/outgoing/${id}`, { permissions: ["policy"] });
    const old = await receiver.call("POST", `/v1/connections/incoming/${id}/approve`, { version: 1, stageId });
    expect(old.body).toMatchObject({ status: 409, code: "connection_changed" });
    expect((await approve(receiver, id, stageId)).body).toMatchObject({ state: "active", version: 2 });
  });

  test("decides once", async () => {
    const id = await ask(sender, receiver);
    await receiver.call("POST", `/v1/connections/incoming/${id}/reject`);
    for (const answer of [
      await approve(receiver, id, stageId),
      await receiver.call("POST", `/v1/connections/incoming/${id}/reject`),
      await receiver.call("POST", `/v1/connections/incoming/${id}/stop`),
    ]) {
      expect(answer.body).toMatchObject({ status: 409, code: "connection_state", detail: "It was rejected." });
    }
  });

  test("at the same time as the sender removes it: one of them", async () => {
    for (let round = 0; round < 5; round += 1) {
      const id = await ask(sender, receiver);
      const [approved, removed] = await Promise.all([
        approve(receiver, id, stageId),
        sender.call("DELETE", `/v1/connections/outgoing/${id}`),
      ]);
      // Removed after the approval is fine; approved after the removal is not.
      expect(removed.status).toBe(204);
      expect([200, 409]).toContain(approved.status);
      expect((await outgoing(id)).body).toMatchObject({
        state: "ended",
        decidedBy: approved.status === 200 ? "API key test" : null,
      });
    }
  });

  test("chooses anew where leads arrive, without a new approval", async () => {
    const id = await ask(sender, receiver);
    const other = await addStage(server, receiver);
    const change = { stageId: other, reportsStatus: true };
    expect((await receiver.call("PATCH", `/v1/connections/incoming/${id}`, change)).value("code")).toBe(
      "connection_state",
    );
    await approve(receiver, id, stageId);
    const changed = await receiver.call("PATCH", `/v1/connections/incoming/${id}`, change);
    expect(changed.body).toMatchObject({ state: "active", ...change });
    const foreign = await receiver.call("PATCH", `/v1/connections/incoming/${id}`, {
      stageId: await addStage(server, sender),
    });
    expect(foreign.status).toBe(422);
  });

  test("does not take a stage away unawares into which a connection leads", async () => {
    const id = await ask(sender, receiver);
    await approve(receiver, id, stageId);
    const workflow = (await receiver.call("GET", "/v1/workflows")).text("data.0.id");
    const path = `/v1/workflows/${workflow}`;
    const refused = await receiver.call("PATCH", path, { stages: [{ name: "Other" }] });
    expect(refused.body).toMatchObject({ status: 409, code: "stage_in_use" });
    expect(refused.text("detail")).toContain("the connection from Mortgage Desk");
    expect((await receiver.call("PATCH", path, { stages: [{ name: "Other" }], confirm: true })).status).toBe(200);
    await sender.call("PATCH", `/v1/connections/outgoing/${id}`, { permissions: ["policy"] });
    expect((await approve(receiver, id, stageId)).body).toMatchObject({ status: 422, fields: [{ field: "stageId" }] });
  });

  test("stops what is active, and rejects what is pending", async () => {
    const id = await ask(sender, receiver);
    const early = await receiver.call("POST", `/v1/connections/incoming/${id}/stop`);
    expect(early.body).toMatchObject({ status: 409, detail: "It waits for approval." });
    await approve(receiver, id, stageId);
    const stopped = await receiver.call("POST", `/v1/connections/incoming/${id}/stop`);
    expect(stopped.body).toMatchObject({ state: "ended", endedBy: "API key test", endedSide: "receiver" });
    expect((await sender.call("DELETE", `/v1/connections/outgoing/${id}`)).value("code")).toBe("connection_state");
  });
});

describe("other permissions", () => {
  test("ask for approval again, and until then nothing is approved", async () => {
    const id = await ask(sender, receiver, ["policy"]);
    await approve(receiver, id, stageId);
    now = new Date("2026-03-05T10:00:00Z");
    const changed = await sender.call("PATCH", `/v1/connections/outgoing/${id}`, { permissions: [] });
    expect(changed.body).toMatchObject({
      state: "pending",
      permissions: ["contact"],
      version: 2,
      requestedAt: "2026-03-05T10:00:00.000Z",
      decidedBy: null,
      decidedAt: null,
    });
    expect((await incoming(id)).body).toMatchObject({ state: "pending", stageId });
    expect((await approve(receiver, id, stageId)).value("state")).toBe("active");
  });

  test("that are the same ask for nothing", async () => {
    const id = await ask(sender, receiver, ["policy"]);
    await approve(receiver, id, stageId);
    const same = await sender.call("PATCH", `/v1/connections/outgoing/${id}`, { permissions: ["contact", "policy"] });
    expect(same.body).toMatchObject({ state: "active", version: 1 });
  });

  test("cannot be asked for of what is over, nor by the receiver", async () => {
    const id = await ask(sender, receiver);
    const path = `/v1/connections/outgoing/${id}`;
    expect((await receiver.call("PATCH", path, { permissions: ["contact"] })).status).toBe(404);
    await sender.call("DELETE", path);
    const answer = await sender.call("PATCH", path, { permissions: ["policy"] });
    expect(answer.body).toMatchObject({ code: "connection_state", detail: "It has been ended." });
  });
});

describe("every decision is recorded", () => {
  test("with the side that made it, and with no other", async () => {
    const id = await ask(sender, receiver);
    await approve(receiver, id, stageId, true);
    await sender.call("PATCH", `/v1/connections/outgoing/${id}`, { permissions: ["policy"] });
    await receiver.call("POST", `/v1/connections/incoming/${id}/reject`);
    expect(await changesOf(sender, id)).toMatchObject([
      {
        objectKind: "connection",
        before: { permissions: ["contact"], state: "active" },
        after: { permissions: ["contact", "policy"], state: "pending" },
      },
      { before: null, after: { organisation: "Cover Desk", permissions: ["contact"], state: "pending" } },
    ]);
    expect(await changesOf(receiver, id)).toMatchObject([
      { before: { state: "pending" }, after: { state: "rejected", permissions: ["contact", "policy"] } },
      { before: { state: "pending" }, after: { organisation: "Mortgage Desk", state: "active", stageId } },
    ]);
  });
});

describe("a request that waits", () => {
  const addUser = async (client: TestClient, role: string, changes: { disabled?: boolean; invited?: boolean } = {}) => {
    const email = `${role}.${newId()}@example.com`;
    const hash = changes.invited === true ? null : "x";
    const disabledAt = changes.disabled === true ? now : null;
    await sql`insert into users (id, organisation_id, email, name, role, password_hash, disabled_at, created_at, updated_at)
      values (${newId()}, ${client.organisationId}, ${email}, 'Pat', ${role}, ${hash}, ${disabledAt}, now(), now())`.execute(
      server.owner,
    );
    return email;
  };

  test("is told to every owner and admin of the receiver, and to nobody else", async () => {
    await receiver.call("PATCH", "/v1/organisation", { staffEmail: "staff@example.com" });
    const told = [await addUser(receiver, "owner"), await addUser(receiver, "admin")];
    await addUser(receiver, "agent");
    await addUser(receiver, "viewer");
    await addUser(receiver, "admin", { disabled: true });
    await addUser(receiver, "admin", { invited: true });
    await addUser(sender, "admin");
    await ask(sender, receiver);
    const recipients = await sql<{ organisationId: string; recipient: string }>`
      select organisation_id, recipient from alerts where kind = 'connection_requested'
        and organisation_id in (${sender.organisationId}, ${receiver.organisationId}) order by recipient`.execute(
      server.owner,
    );
    const expected = [...told].sort().map((recipient) => ({ organisationId: receiver.organisationId, recipient }));
    expect(recipients.rows).toEqual(expected);
  });

  test("is told to staff where there is no such user, and to nobody where there is no address", async () => {
    await ask(sender, receiver);
    expect(await alertsOf(receiver)).toEqual([]);
    const other = await server.createClient("Other");
    await other.call("PATCH", "/v1/organisation", { staffEmail: "staff@example.com" });
    await ask(sender, other);
    expect(await alertsOf(other)).toMatchObject([{ recipient: "staff@example.com", channel: "email", state: "due" }]);
  });

  test("is told again when it asks for approval again, but not for each change of what is pending", async () => {
    await receiver.call("PATCH", "/v1/organisation", { staffEmail: "staff@example.com" });
    const id = await ask(sender, receiver);
    const change = async (permissions: readonly string[]) =>
      sender.call("PATCH", `/v1/connections/outgoing/${id}`, { permissions });
    await change(["policy"]);
    await change([]);
    expect(await alertsOf(receiver)).toHaveLength(1);
    await approve(receiver, id, stageId);
    await change(["policy"]);
    await change(["policy", "notes"]);
    expect(await alertsOf(receiver)).toHaveLength(2);
  });
});

describe("a third organisation", () => {
  test("sees nothing of a connection, and can do nothing to it", async () => {
    const third = await server.createClient("Third");
    const id = await ask(sender, receiver);
    for (const side of ["outgoing", "incoming"] as const) {
      expect(await lines(third, side)).toEqual([]);
      expect((await third.call("GET", `/v1/connections/${side}/${id}`)).status).toBe(404);
    }
    expect((await third.call("DELETE", `/v1/connections/outgoing/${id}`)).status).toBe(404);
    const body = { version: 1, stageId: await addStage(server, third) };
    expect((await third.call("POST", `/v1/connections/incoming/${id}/approve`, body)).status).toBe(404);
    expect(await incoming(id).then(({ value }) => value("state"))).toBe("pending");
  });

  test("nor does either side act in the other's place", async () => {
    const id = await ask(sender, receiver);
    expect((await sender.call("GET", `/v1/connections/incoming/${id}`)).status).toBe(404);
    const body = { version: 1, stageId: await addStage(server, sender) };
    for (const what of ["approve", "reject", "stop"]) {
      const path = `/v1/connections/incoming/${id}/${what}`;
      expect((await sender.call("POST", path, what === "approve" ? body : undefined)).status).toBe(404);
    }
    expect((await receiver.call("DELETE", `/v1/connections/outgoing/${id}`)).status).toBe(404);
    expect((await outgoing(id)).value("state")).toBe("pending");
  });
});
