import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { hash } from "@node-rs/argon2";
import { sql } from "kysely";
import { passwordWork } from "../../src/people/passwords.ts";
import { call, createTestApi, type TestAnswer, type TestApi, type TestClient } from "../helpers/api.ts";
import { addUser, goodPassword, openBrowser, signedIn } from "../helpers/people.ts";

/** How people get in, and how nobody else does. All parts are real but the time. */

let server: TestApi;
let mine: TestClient;
let other: TestClient;
let now = new Date("2026-11-20T09:00:00Z");
const later = (seconds: number) => {
  now = new Date(now.getTime() + seconds * 1000);
};

beforeAll(async () => {
  server = await createTestApi({ clock: () => now, environment: { WRONG_KEYS_PER_MINUTE: "0" } });
  mine = await server.createClient("Sellers");
  other = await server.createClient("Others");
});
afterAll(async () => server.close());
// What one test tried is no matter to the next.
beforeEach(() => later(2 * 86_400));

const portalCodeOf = async (client: TestClient) => (await client.call("GET", "/v1/organisation")).text("portalCode");

describe("signing in", () => {
  test("gives a cookie for this host alone, and says who one is and what one may do", async () => {
    const user = await addUser(server, mine.organisationId, { role: "agent" });
    const browser = openBrowser(server);
    const answer = await browser.signIn(user.email.toUpperCase());
    expect(answer.body).toMatchObject({
      user: { id: user.id, email: user.email },
      organisation: { id: mine.organisationId, name: "Sellers" },
      role: "agent",
      partner: null,
      permissions: expect.arrayContaining(["leads.read", "leads.work"]),
      hasTotp: false,
    });
    expect(answer.headers["cache-control"]).toBe("no-store");
    const [session] = [answer.headers["set-cookie"]].flat();
    expect(session).toMatch(/^__Host-handoff=[\w-]{43}; Path=\/; Max-Age=2592000; Secure; HttpOnly; SameSite=Strict$/);
    expect((await browser.call("GET", "/v1/session")).body).toMatchObject({ user: { id: user.id } });
    expect((await browser.call("GET", "/v1/leads")).status).toBe(200);
    expect((await browser.call("DELETE", "/v1/session")).status).toBe(204);
    expect(browser.cookies.has("__Host-handoff")).toBe(false);
    expect((await browser.call("GET", "/v1/session")).status).toBe(401);
  });

  test("keeps digests alone of the session's token", async () => {
    const browser = await signedIn(server, mine.organisationId, { role: "viewer" });
    const token = browser.cookies.get("__Host-handoff") ?? "";
    const { rows } = await sql<{ text: string }>`select string_agg(s::text, ' ') as text from sessions s`.execute(
      server.owner,
    );
    expect(token).toHaveLength(43);
    for (const spelling of [token, Buffer.from(token).toString("hex")]) expect(rows[0]?.text).not.toContain(spelling);
  });

  test("needs the portal code where the email is known in several organisations, and takes it in any case", async () => {
    const email = "several@example.com";
    await addUser(server, mine.organisationId, { role: "viewer" }, email);
    await addUser(server, other.organisationId, { role: "admin" }, email);
    const browser = openBrowser(server);
    expect((await browser.signIn(email)).body).toMatchObject({ status: 401, code: "sign_in_failed" });
    const answer = await browser.signIn(email, goodPassword, {
      organisation: (await portalCodeOf(other)).toUpperCase(),
    });
    expect(answer.body).toMatchObject({ organisation: { id: other.organisationId }, role: "admin" });
    await sql`update users set disabled_at = now() where organisation_id = ${other.organisationId} and email = ${email}`.execute(
      server.owner,
    );
    expect((await openBrowser(server).signIn(email)).body).toMatchObject({ organisation: { id: mine.organisationId } });
  });

  test("renews a hash that was made with less than is asked for today", async () => {
    const user = await addUser(server, mine.organisationId, { role: "viewer" });
    const weak = await hash(goodPassword, { memoryCost: 8_192, timeCost: 1, parallelism: 1 });
    await sql`update users set password_hash = ${weak} where id = ${user.id}`.execute(server.owner);
    expect((await openBrowser(server).signIn(user.email)).status).toBe(200);
    const { rows } = await sql`select password_hash as "passwordHash" from users where id = ${user.id}`.execute(
      server.owner,
    );
    expect(rows).toEqual([{ passwordHash: expect.stringContaining("$m=19456,t=2,p=1$") }]);
    expect((await openBrowser(server).signIn(user.email)).status).toBe(200);
  });
});

describe("what is wrong with a sign-in", () => {
  /** Everything that can be wrong: each is to be told, and to cost, the same. */
  async function failures(): Promise<Readonly<Record<string, object>>> {
    const good = await addUser(server, mine.organisationId, { role: "viewer" });
    const disabled = await addUser(server, mine.organisationId, { role: "viewer" });
    await mine.call("PATCH", `/v1/users/${disabled.id}`, { disabled: true });
    const invited = await mine.call("POST", "/v1/users", { email: "guest@example.com", name: "G", role: "viewer" });
    expect(invited.status).toBe(201);
    return {
      "an unknown email": { email: "nobody@example.com" },
      "a wrong password": { email: good.email, password: "eight boats in a harbour" },
      "a password with a blank more": { email: good.email, password: `${goodPassword} ` },
      "a disabled user": { email: disabled.email },
      "no password yet": { email: "guest@example.com" },
      "an unknown organisation": { email: good.email, organisation: "nowhere-123456" },
      "another organisation": { email: good.email, organisation: await portalCodeOf(other) },
      "SQL for an email": { email: "' or true --" },
    };
  }

  test("is told alike and costs the same: one comparison of passwords, whether there is such an account or not", async () => {
    const answers = new Map<string, TestAnswer>();
    for (const [what, given] of Object.entries(await failures())) {
      const before = passwordWork.comparisons;
      const answer = await openBrowser(server).call("POST", "/v1/session", { password: goodPassword, ...given });
      answers.set(what, answer);
      expect([what, passwordWork.comparisons - before]).toEqual([what, 1]);
    }
    const [first] = answers.values();
    for (const [what, answer] of answers) {
      expect([what, answer.status, answer.raw]).toEqual([what, 401, first?.raw]);
      expect(Object.keys(answer.headers).sort()).toEqual(Object.keys(first?.headers ?? {}).sort());
    }
  });

  test("is never repeated in an answer", async () => {
    const answer = await call(server.api, null, "POST", "/v1/session", { email: "", password: "", code: "4711-abc" });
    expect(answer.status).toBe(422);
    const short = await call(server.api, null, "POST", "/v1/invitations/accept", {
      token: "t",
      password: "hunter-two",
    });
    expect(short.body).toMatchObject({ status: 422, fields: [{ field: "password" }] });
    expect(short.raw).not.toContain("hunter-two");
  });

  test("waits longer and longer after five tries, whether there is such an account or not", async () => {
    const user = await addUser(server, mine.organisationId, { role: "viewer" });
    const course = async (email: string) => {
      const seen: (number | string)[] = [];
      for (let tries = 0; tries < 5; tries += 1)
        seen.push((await openBrowser(server).signIn(email, "wrong wrong")).status);
      for (const waitSeconds of [1, 2, 4, 8]) {
        const waiting = await openBrowser(server).signIn(email);
        seen.push(waiting.status, String(waiting.headers["retry-after"]));
        later(waitSeconds);
        seen.push((await openBrowser(server).signIn(email, "wrong wrong")).status);
      }
      return seen;
    };
    const known = await course(user.email);
    expect(known).toEqual([401, 401, 401, 401, 401, 429, "1", 401, 429, "2", 401, 429, "4", 401, 429, "8", 401]);
    expect(await course("nobody-either@example.com")).toEqual(known);
    later(16);
    expect((await openBrowser(server).signIn(user.email)).status).toBe(200);
    // It begins anew.
    for (let tries = 0; tries < 5; tries += 1)
      expect((await openBrowser(server).signIn(user.email, "wrong wrong")).status).toBe(401);
  });

  test("has nobody wait longer than a quarter of an hour, and is forgotten after a day", async () => {
    const email = "patient@example.com";
    for (let tries = 0; tries < 20; tries += 1) {
      later(900);
      expect((await openBrowser(server).signIn(email)).status).toBe(401);
    }
    expect((await openBrowser(server).signIn(email)).headers["retry-after"]).toBe("900");
    later(86_400 + 1);
    for (let tries = 0; tries < 5; tries += 1) expect((await openBrowser(server).signIn(email)).status).toBe(401);
    expect((await openBrowser(server).signIn(email)).status).toBe(429);
  });

  test("is no faster with many tries at the same time", async () => {
    const user = await addUser(server, mine.organisationId, { role: "viewer" });
    const before = passwordWork.comparisons;
    const answers = await Promise.all(
      Array.from({ length: 30 }, async () => openBrowser(server).signIn(user.email, "wrong wrong")),
    );
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses).toEqual([...Array(5).fill(401), ...Array(25).fill(429)]);
    expect(passwordWork.comparisons - before).toBe(5);
  });

  test("keeps nobody out whose browser signed in before, and that browser has its own tries", async () => {
    const browser = await signedIn(server, mine.organisationId, { role: "viewer" });
    await browser.call("DELETE", "/v1/session");
    for (let tries = 0; tries < 7; tries += 1) await openBrowser(server).signIn(browser.email, "wrong wrong");
    expect((await openBrowser(server).signIn(browser.email)).status).toBe(429);
    expect((await browser.signIn(browser.email)).status).toBe(200);
    for (let tries = 0; tries < 5; tries += 1)
      expect((await browser.signIn(browser.email, "wrong wrong")).status).toBe(401);
    expect((await browser.signIn(browser.email)).status).toBe(429);
  });

  test("is not helped by a browser's cookie that is made up, or another user's", async () => {
    const one = await signedIn(server, mine.organisationId, { role: "viewer" });
    const two = await addUser(server, mine.organisationId, { role: "viewer" });
    const real = one.cookies.get("__Host-handoff-device") ?? "";
    const cookies = [real, "A".repeat(22), `${"A".repeat(22)}.${"A".repeat(22)}`, real.replace(/^./, "_"), ""];
    const statuses: number[] = [];
    for (let tries = 0; tries < 6; tries += 1) {
      const cookie = `__Host-handoff-device=${cookies[tries % cookies.length]}`;
      const headers = { cookie };
      const body = { email: two.email, password: "wrong wrong" };
      statuses.push((await call(server.api, null, "POST", "/v1/session", body, { headers })).status);
    }
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429]);
  });

  test("is not repeated by one address without an end, whichever accounts it tries", async () => {
    const limited = await createTestApi({ environment: { WRONG_KEYS_PER_MINUTE: "4" } });
    try {
      const client = await limited.createClient();
      const known = await signedIn(limited, client.organisationId, { role: "viewer" });
      const statuses: number[] = [];
      for (let count = 0; count < 6; count += 1)
        statuses.push((await openBrowser(limited).signIn(`somebody${count}@example.com`)).status);
      expect(statuses).toEqual([401, 401, 401, 401, 429, 429]);
      const token = { token: "x".repeat(43), password: goodPassword };
      expect((await openBrowser(limited).call("POST", "/v1/password-resets/complete", token)).status).toBe(429);
      expect((await known.signIn(known.email)).status).toBe(200);
    } finally {
      await limited.close();
    }
  });
});

describe("who is signed in", () => {
  test("is signed out after doing nothing for half a day, or after thirty days whatever they do", async () => {
    const browser = await signedIn(server, mine.organisationId, { role: "viewer" });
    later(12 * 3600 - 1);
    expect((await browser.call("GET", "/v1/session")).status).toBe(200);
    later(12 * 3600 - 1);
    expect((await browser.call("GET", "/v1/session")).status).toBe(200);
    later(12 * 3600);
    expect((await browser.call("GET", "/v1/session")).status).toBe(401);
    const busy = await signedIn(server, mine.organisationId, { role: "viewer" });
    for (let halfDays = 1; halfDays <= 60; halfDays += 1) {
      later(12 * 3600 - 1);
      expect((await busy.call("GET", "/v1/session")).status).toBe(200);
    }
    later(60);
    expect((await busy.call("GET", "/v1/session")).status).toBe(401);
  });

  test("is seen at most once a minute", async () => {
    const browser = await signedIn(server, mine.organisationId, { role: "viewer" });
    const seenAt = async () => (await browser.call("GET", "/v1/sessions")).text("data.0.lastSeenAt");
    const first = await seenAt();
    later(59);
    expect(await seenAt()).toBe(first);
    later(1);
    await seenAt();
    expect(await seenAt()).toBe(now.toISOString());
  });

  test("sees where, and ends one session, or all others", async () => {
    const here = await signedIn(server, mine.organisationId, { role: "viewer" });
    const elsewhere = [openBrowser(server), openBrowser(server), openBrowser(server)] as const;
    for (const browser of elsewhere) await browser.signIn(here.email);
    const listed = await here.call("GET", "/v1/sessions");
    expect(listed.body).toMatchObject({
      data: [{}, {}, {}, { isCurrent: true, browser: "Test/1", address: "127.0.0.1" }],
    });
    expect((await here.call("DELETE", `/v1/sessions/${listed.text("data.0.id")}`)).status).toBe(204);
    expect((await here.call("DELETE", `/v1/sessions/${listed.text("data.0.id")}`)).status).toBe(404);
    expect((await elsewhere[2].call("GET", "/v1/session")).status).toBe(401);
    expect((await elsewhere[1].call("GET", "/v1/session")).status).toBe(200);
    expect((await here.call("DELETE", "/v1/sessions")).status).toBe(204);
    expect((await elsewhere[1].call("GET", "/v1/session")).status).toBe(401);
    expect((await here.call("GET", "/v1/session")).status).toBe(200);
    const stranger = await signedIn(server, mine.organisationId, { role: "owner" });
    expect((await stranger.call("DELETE", `/v1/sessions/${listed.text("data.3.id")}`)).status).toBe(404);
  });

  test("is let in by nothing that is near the token", async () => {
    const browser = await signedIn(server, mine.organisationId, { role: "viewer" });
    const token = browser.cookies.get("__Host-handoff") ?? "";
    const near = [`${token}x`, token.slice(1), token.toLowerCase(), token.replace(/.$/, "!"), ""];
    for (const value of near) {
      const headers = { cookie: `__Host-handoff=${value}` };
      expect((await call(server.api, null, "GET", "/v1/session", undefined, { headers })).status).toBe(401);
    }
  });

  test("changes nothing from another site's page, and an API key goes before a cookie", async () => {
    const browser = await signedIn(server, mine.organisationId, { role: "owner" });
    const cookie = `__Host-handoff=${browser.cookies.get("__Host-handoff")}`;
    const change = async (headers: Readonly<Record<string, string>>, key: string | null = null) =>
      call(server.api, key, "PATCH", "/v1/organisation", { name: "Sellers" }, { headers: { cookie, ...headers } });
    const ours = new URL(server.context.config.publicUrl).origin;
    for (const site of ["cross-site", "same-site", "none"]) {
      expect((await change({ "sec-fetch-site": site })).body).toMatchObject({ status: 403, code: "cross_site" });
      expect((await change({ "sec-fetch-site": site, origin: ours })).body).toMatchObject({ code: "cross_site" });
    }
    expect((await change({})).body).toMatchObject({ code: "cross_site" });
    expect((await change({ origin: "https://evil.example.com" })).body).toMatchObject({ code: "cross_site" });
    expect((await change({ origin: "null" })).body).toMatchObject({ code: "cross_site" });
    expect((await change({ origin: ours })).status).toBe(200);
    expect((await change({ "sec-fetch-site": "same-origin" })).status).toBe(200);
    expect((await change({ "sec-fetch-site": "cross-site" }, mine.key)).status).toBe(200);
    expect((await change({ "sec-fetch-site": "same-origin" }, "handoff_wrong")).status).toBe(401);
    const read = await call(server.api, null, "GET", "/v1/organisation", undefined, {
      headers: { cookie, "sec-fetch-site": "cross-site" },
    });
    expect(read.status).toBe(200);
    const signIn = await openBrowser(server).call(
      "POST",
      "/v1/session",
      { email: browser.email, password: goodPassword },
      { headers: { "sec-fetch-site": "cross-site" } },
    );
    expect(signIn.body).toMatchObject({ code: "cross_site" });
  });

  test("changes the password with the present one, and is signed out everywhere else", async () => {
    const browser = await signedIn(server, mine.organisationId, { role: "viewer" });
    const elsewhere = openBrowser(server);
    await elsewhere.signIn(browser.email);
    const newPassword = "nine lanterns on a bridge";
    const change = async (body: object) => browser.call("POST", "/v1/session/password", body);
    expect((await change({ password: "wrong wrong", newPassword })).body).toMatchObject({ code: "not_proven" });
    expect((await change({ password: goodPassword, newPassword: "password1234" })).body).toMatchObject({
      status: 422,
      fields: [{ field: "newPassword" }],
    });
    expect((await change({ password: goodPassword, newPassword })).status).toBe(204);
    expect((await browser.call("GET", "/v1/session")).status).toBe(200);
    expect((await elsewhere.call("GET", "/v1/session")).status).toBe(401);
    expect((await openBrowser(server).signIn(browser.email)).status).toBe(401);
    expect((await openBrowser(server).signIn(browser.email, newPassword)).status).toBe(200);
    const tries: number[] = [];
    for (let count = 0; count < 6; count += 1)
      tries.push((await change({ password: "wrong wrong", newPassword })).status);
    expect(tries).toEqual([403, 403, 403, 403, 403, 429]);
  });
});
