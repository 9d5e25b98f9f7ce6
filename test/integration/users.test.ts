import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createOrganisationCommand } from "../../src/commands/organisation-commands.ts";
import { inviteUserCommand } from "../../src/commands/user-commands.ts";
import { call, createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { readTestConfig } from "../helpers/installation.ts";
import { addUser, goodPassword, openBrowser, signedIn } from "../helpers/people.ts";

/** An organisation's users: who may change whom, over the API and from the command line. */

let server: TestApi;
let mine: TestClient;

beforeAll(async () => {
  server = await createTestApi({ environment: { WRONG_KEYS_PER_MINUTE: "0" } });
  mine = await server.createClient("Sellers");
});
afterAll(async () => server.close());

const as = async (role: "owner" | "admin" | "agent" | "viewer", client = mine) =>
  signedIn(server, client.organisationId, { role });

describe("users", () => {
  test("are listed by who may see them, newest first, in pages and by role, and changed", async () => {
    const client = await server.createClient("Lists");
    const owner = await as("owner", client);
    const viewer = await addUser(server, client.organisationId, { role: "viewer" });
    const page = await owner.call("GET", "/v1/users?limit=1");
    expect(page.body).toMatchObject({ data: [{ id: viewer.id, role: "viewer", state: "active", lastSeenAt: null }] });
    const rest = await owner.call("GET", `/v1/users?cursor=${page.text("nextCursor")}`);
    expect(rest.body).toMatchObject({ data: [{ id: owner.id, lastSeenAt: expect.any(String) }], nextCursor: null });
    expect((await owner.call("GET", "/v1/users?role=viewer")).body).toMatchObject({ data: [{ id: viewer.id }] });
    const changed = await owner.call("PATCH", `/v1/users/${viewer.id}`, { name: "Vera", phone: "+447700900123" });
    expect(changed.body).toMatchObject({ name: "Vera", phone: "+447700900123", role: "viewer" });
    expect((await client.call("GET", `/v1/changes?objectId=${viewer.id}`)).body).toMatchObject({
      data: [{ objectKind: "user", after: { name: "Vera", phone: "+447700900123" } }, { before: null }],
    });
  });

  test("are signed out by another role and by being disabled, and kept out while they are", async () => {
    const owner = await as("owner");
    const user = await as("viewer");
    expect((await owner.call("PATCH", `/v1/users/${user.id}`, { role: "agent" })).status).toBe(200);
    expect((await user.call("GET", "/v1/session")).status).toBe(401);
    expect((await user.signIn(user.email)).body).toMatchObject({ role: "agent" });
    expect((await owner.call("PATCH", `/v1/users/${user.id}`, { disabled: true })).body).toMatchObject({
      state: "disabled",
    });
    expect((await user.call("GET", "/v1/session")).status).toBe(401);
    expect((await user.signIn(user.email)).status).toBe(401);
    await owner.call("PATCH", `/v1/users/${user.id}`, { disabled: false });
    expect((await user.call("GET", "/v1/session")).status).toBe(401);
    expect((await user.signIn(user.email)).status).toBe(200);
  });

  test("are signed out everywhere by who manages them, who sees where they are", async () => {
    const admin = await as("admin");
    const user = await as("viewer");
    const listed = await admin.call("GET", `/v1/users/${user.id}/sessions`);
    expect(listed.body).toMatchObject({ data: [{ browser: "Test/1", isCurrent: false }] });
    expect((await admin.call("DELETE", `/v1/users/${user.id}/sessions`)).status).toBe(204);
    expect((await user.call("GET", "/v1/session")).status).toBe(401);
  });
});

describe("only an owner", () => {
  test("makes, changes and ends owners", async () => {
    const [owner, admin] = [await as("owner"), await as("admin")];
    const another = await addUser(server, mine.organisationId, { role: "owner" });
    const viewer = await addUser(server, mine.organisationId, { role: "viewer" });
    const refused = [
      await admin.call("POST", "/v1/users", { email: "new@example.com", name: "New", role: "owner" }),
      await admin.call("PATCH", `/v1/users/${viewer.id}`, { role: "owner" }),
      await admin.call("PATCH", `/v1/users/${admin.id}`, { role: "owner" }),
      await admin.call("PATCH", `/v1/users/${another.id}`, { role: "admin" }),
      await admin.call("PATCH", `/v1/users/${another.id}`, { disabled: true }),
      await admin.call("PATCH", `/v1/users/${another.id}`, { name: "Renamed" }),
      await admin.call("DELETE", `/v1/users/${another.id}/sessions`),
      await admin.call("DELETE", `/v1/users/${another.id}/totp`),
      await admin.call("POST", `/v1/users/${another.id}/invitation`),
      await mine.call("POST", "/v1/users", { email: "new@example.com", name: "New", role: "owner" }),
      await mine.call("PATCH", `/v1/users/${another.id}`, { disabled: true }),
    ];
    for (const answer of refused) expect(answer.body).toMatchObject({ status: 403, code: "not_allowed" });
    expect((await owner.call("PATCH", `/v1/users/${viewer.id}`, { role: "owner" })).status).toBe(200);
    expect((await owner.call("PATCH", `/v1/users/${another.id}`, { role: "admin" })).status).toBe(200);
    expect((await owner.call("PATCH", `/v1/users/${viewer.id}`, { disabled: true })).status).toBe(200);
  });

  test("stays who is the last: neither demoted nor disabled, not even by themselves, nor for one who has not come yet", async () => {
    const client = await server.createClient("Alone");
    const owner = await as("owner", client);
    await owner.call("POST", "/v1/users", { email: "second@example.com", name: "Second", role: "owner" });
    for (const patch of [{ role: "admin" }, { disabled: true }]) {
      expect((await owner.call("PATCH", `/v1/users/${owner.id}`, patch)).body).toMatchObject({ code: "last_owner" });
    }
    expect((await owner.call("PATCH", `/v1/users/${owner.id}`, { name: "Olive" })).status).toBe(200);
  });

  test("of two who demote each other at the same time one stays", async () => {
    for (let round = 0; round < 5; round += 1) {
      const client = await server.createClient("Pair");
      const [one, two] = [await as("owner", client), await as("owner", client)];
      const answers = await Promise.all([
        one.call("PATCH", `/v1/users/${two.id}`, { role: "admin" }),
        two.call("PATCH", `/v1/users/${one.id}`, { role: "admin" }),
      ]);
      // The slower is signed out already, not an owner any more, or told that the last one stays.
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      const { body } = await client.call("GET", "/v1/users?role=owner");
      expect(Object(body).data).toHaveLength(1);
    }
  });
});

describe("nobody gives what they have not", () => {
  test("by a key", async () => {
    const make = async (key: string, scopes: readonly string[] | null) =>
      call(server.api, key, "POST", "/v1/api-keys", { name: "made", scopes });
    const made = await make(mine.key, ["keys.manage", "leads.read"]);
    expect(made.body).toMatchObject({ scopes: ["keys.manage", "leads.read"] });
    const key = made.text("key");
    expect((await make(key, ["leads.read"])).status).toBe(201);
    for (const scopes of [["leads.read", "leads.erase"], null])
      expect((await make(key, scopes)).body).toMatchObject({ status: 403, code: "not_allowed" });
    expect((await call(server.api, key, "GET", "/v1/leads")).status).toBe(200);
    expect((await call(server.api, key, "GET", "/v1/partners")).body).toMatchObject({
      status: 403,
      code: "not_allowed",
      detail: expect.stringContaining("partners.read"),
    });
    expect((await make(mine.key, ["portal.funds"])).status).toBe(422);
  });

  test("by a role", async () => {
    const made = await mine.call("POST", "/v1/api-keys", { name: "people", scopes: ["people.manage", "people.read"] });
    const invite = async (role: string) =>
      call(server.api, made.text("key"), "POST", "/v1/users", { email: `${role}@sellers.test`, name: "New", role });
    for (const role of ["owner", "admin", "agent", "viewer"])
      expect((await invite(role)).body).toMatchObject({ status: 403, code: "not_allowed" });
    const admin = await addUser(server, mine.organisationId, { role: "admin" });
    const ended = await call(server.api, made.text("key"), "PATCH", `/v1/users/${admin.id}`, { disabled: true });
    expect(ended.status).toBe(403);
  });

  test("for a key that is not signed in is nobody in particular", async () => {
    for (const url of ["/v1/session", "/v1/sessions"])
      expect((await mine.call("GET", url)).body).toMatchObject({ status: 403, code: "not_allowed" });
  });
});

describe("from the command line", () => {
  const run = async (command: (print: (line: string) => void) => Promise<{ ok: boolean; problem?: string }>) => {
    const lines: string[] = [];
    const result = await command((line) => lines.push(line));
    return { ...result, lines };
  };
  const config = (more: Readonly<Record<string, string>> = {}) => ({
    ...readTestConfig({
      environment: {
        DATABASE_URL: server.databaseUrl,
        HANDOFF_SECRET: "a secret of the tests, 32 characters long",
        PUBLIC_URL: "https://leads.sellers.test",
        ...more,
      },
    }),
  });

  test("the first owner is invited, by a link where there is no mail server, and by mail where there is", async () => {
    const client = await server.createClient("From the command line");
    const options = { organisation: client.organisationId, email: "olga@example.com", role: "owner" };
    const first = await run(async (print) => inviteUserCommand(config(), options, print));
    const [, token = ""] =
      /^https:\/\/leads\.sellers\.test\/invitation\/([\w-]{43})$/.exec(first.lines.at(-1) ?? "") ?? [];
    const again = await run(async (print) => inviteUserCommand(config(), options, print));
    expect([first.ok, again.ok]).toEqual([true, true]);
    const accept = async (one: string) =>
      call(server.api, null, "POST", "/v1/invitations/accept", { token: one, password: goodPassword });
    expect((await accept(token)).status).toBe(410);
    expect((await accept(/[\w-]{43}$/.exec(again.lines.at(-1) ?? "")?.[0] ?? "")).status).toBe(204);
    expect((await openBrowser(server).signIn("olga@example.com")).body).toMatchObject({ role: "owner" });
    const third = await run(async (print) => inviteUserCommand(config(), options, print));
    expect(third).toMatchObject({ ok: false, problem: expect.stringContaining("already") });
    const mailed = { ...options, email: "petra@example.com", role: "admin" };
    const byMail = await run(async (print) => inviteUserCommand(config({ SMTP_HOST: "127.0.0.1" }), mailed, print));
    expect(byMail.lines).toEqual(["Invited petra@example.com: a mail with a link is on its way."]);
    expect((await client.call("GET", "/v1/alerts?kind=invitation")).body).toMatchObject({
      data: [{ recipient: "petra@example.com" }],
    });
  });

  test("an organisation is made with its owner", async () => {
    const options = { name: "Made with an owner", "owner-email": "otto@example.com" };
    const made = await run(async (print) => createOrganisationCommand(config(), options, print));
    expect([made.ok, made.lines.join("\n")]).toEqual([
      true,
      expect.stringMatching(/API key: [\s\S]*\/invitation\/[\w-]{43}$/),
    ]);
  });

  test.each([
    [{ role: "boss", email: "x@example.com" }, "--role"],
    [{ role: "admin", email: "nobody" }, "--email"],
    [{ role: "admin" }, "--email"],
  ])("%j is refused", async (options, problem) => {
    const result = await run(async (print) => inviteUserCommand(config(), options, print));
    expect(result).toMatchObject({ ok: false, problem: expect.stringContaining(problem) });
  });
});
