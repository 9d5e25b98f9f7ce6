import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { type MailCatcher, startMailCatcher } from "../../demo/mail-catcher.ts";
import { sendDueAlerts } from "../../src/alerts/send-due-alerts.ts";
import { call, createTestApi, type Method, type TestApi, type TestClient } from "../helpers/api.ts";
import { addUser, goodPassword, openBrowser, signedIn } from "../helpers/people.ts";
import { until } from "../helpers/until.ts";

/** Links that are mailed to set a password: invitations and resets, over the API, by real mail and in a browser without scripts. */

let mail: MailCatcher;
let server: TestApi;
let mine: TestClient;
let now = new Date("2026-11-20T09:00:00Z");
const later = (seconds: number) => {
  now = new Date(now.getTime() + seconds * 1000);
};

beforeAll(async () => {
  mail = await startMailCatcher("127.0.0.1", 0);
  const environment = {
    WRONG_KEYS_PER_MINUTE: "0",
    PUBLIC_URL: "https://leads.sellers.test",
    SMTP_HOST: "127.0.0.1",
    SMTP_PORT: String(mail.port),
    SMTP_FROM: "Handoff <handoff@sellers.test>",
  };
  server = await createTestApi({ clock: () => now, environment });
  mine = await server.createClient("Sellers & Sons");
});
afterAll(async () => {
  await server.close();
  await mail.stop();
});
beforeEach(() => later(2 * 86_400));

/** Sends what is due, and gives the newest mail to somebody: its text and the token in it. */
async function readMail(email: string, organisationId = mine.organisationId) {
  await sendDueAlerts(server.context, organisationId);
  const received = mail.messages().filter(({ to }) => to.includes(email));
  const { subject = "", text = "", html = "" } = received.at(-1)?.message ?? {};
  const [, token = ""] = /https:\/\/leads\.sellers\.test\/(?:invitation|reset)\/([\w-]{43})/.exec(text) ?? [];
  return { count: received.length, subject, text, html, token };
}

let guests = 0;

async function invite(role = "viewer") {
  guests += 1;
  const email = `guest${guests}@example.com`;
  const made = await mine.call("POST", "/v1/users", { email, name: "Gwen <Guest>", role });
  expect(made.status).toBe(201);
  return { id: made.text("id"), email, made };
}

const accept = async (token: string, password = goodPassword) =>
  call(server.api, null, "POST", "/v1/invitations/accept", { token, password });

describe("an invitation", () => {
  test("is a mail with a link that sets a password, once", async () => {
    const { id, email, made } = await invite();
    expect(made.body).toMatchObject({
      state: "invited",
      invitedUntil: new Date(now.getTime() + 7 * 86_400_000).toISOString(),
    });
    const { subject, text, html, token } = await readMail(email);
    expect(subject).toBe("Sellers & Sons invites you to Handoff");
    expect(text).toContain(`https://leads.sellers.test/invitation/${token}`);
    expect(html).toContain(`https://leads.sellers.test/invitation/${token}`);
    expect(html).toContain("Gwen &lt;Guest&gt;");
    expect((await accept(token, "password1234")).body).toMatchObject({ status: 422, fields: [{ field: "password" }] });
    expect((await accept(token, "gwen <guest>!!!")).body).toMatchObject({ status: 422 });
    expect((await accept(token)).status).toBe(204);
    expect((await accept(token)).body).toMatchObject({ status: 410, code: "link_gone" });
    expect((await openBrowser(server).signIn(email)).status).toBe(200);
    expect((await mine.call("GET", `/v1/users/${id}`)).body).toMatchObject({ state: "active", invitedUntil: null });
  });

  test("accepted twice at the same time sets one password", async () => {
    const { email } = await invite();
    const { token } = await readMail(email);
    const answers = await Promise.all(
      ["first of two passwords", "second of two passwords"].map(async (one) => accept(token, one)),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([204, 410]);
  });

  test("is good for seven days", async () => {
    const { email } = await invite();
    const { token } = await readMail(email);
    later(7 * 86_400);
    expect((await accept(token)).status).toBe(410);
  });

  test("that is sent again takes the place of the one before, and can be taken back", async () => {
    const { id, email } = await invite();
    const first = await readMail(email);
    later(60);
    expect((await mine.call("POST", `/v1/users/${id}/invitation`)).status).toBe(202);
    const second = await readMail(email);
    expect([first.count, second.count, second.token === first.token]).toEqual([1, 2, false]);
    expect((await accept(first.token)).status).toBe(410);
    expect((await mine.call("DELETE", `/v1/users/${id}/invitation`)).status).toBe(204);
    expect((await accept(second.token)).status).toBe(410);
    expect((await mine.call("GET", `/v1/users/${id}`)).body).toMatchObject({ state: "invited", invitedUntil: null });
    await mine.call("POST", `/v1/users/${id}/invitation`);
    expect((await accept((await readMail(email)).token)).status).toBe(204);
    expect((await mine.call("POST", `/v1/users/${id}/invitation`)).body).toMatchObject({ code: "user_state" });
  });

  test("of who is disabled meanwhile is none", async () => {
    const { id, email } = await invite();
    const { token } = await readMail(email);
    await mine.call("PATCH", `/v1/users/${id}`, { disabled: true });
    expect((await accept(token)).status).toBe(410);
    await mine.call("PATCH", `/v1/users/${id}`, { disabled: false });
    expect((await accept(token)).status).toBe(410);
  });

  test("goes to nobody twice: one user of an email in an organisation, however it is spelled", async () => {
    const { email } = await invite();
    const again = { email: email.toUpperCase(), name: "Another", role: "viewer" };
    expect((await mine.call("POST", "/v1/users", again)).body).toMatchObject({ status: 409, code: "email_taken" });
    const other = await server.createClient("Others");
    expect((await other.call("POST", "/v1/users", again)).status).toBe(201);
  });

  test("stands in the database encrypted until it was sent, and then not at all", async () => {
    const { email } = await invite();
    const stored = async () => {
      const { rows } = await sql<{ detail: object }>`select detail from alerts where recipient = ${email}`.execute(
        server.owner,
      );
      return rows.map(({ detail }) => detail);
    };
    expect(await stored()).toEqual([expect.objectContaining({ token: expect.stringMatching(/^enc1\./) })]);
    const { token } = await readMail(email);
    expect(await stored()).toEqual([expect.not.objectContaining({ token: expect.anything() })]);
    const { rows } = await sql<{ text: string }>`select (select string_agg(t::text, ' ') from user_tokens t) ||
      (select string_agg(a::text, ' ') from alerts a) as text`.execute(server.owner);
    expect(rows[0]?.text).not.toContain(token);
  });
});

describe("a forgotten password", () => {
  const ask = async (email: string, more: object = {}) =>
    call(server.api, null, "POST", "/v1/password-resets", { email, ...more });
  const complete = async (token: string, password: string) =>
    call(server.api, null, "POST", "/v1/password-resets/complete", { token, password });
  const isMailed = async (email: string, count: number) => until(async () => (await readMail(email)).count === count);

  test("is replaced by a link that was mailed, once, which signs out whoever is signed in and ends the waiting", async () => {
    const browser = await signedIn(server, mine.organisationId, { role: "viewer" });
    for (let tries = 0; tries < 6; tries += 1) await openBrowser(server).signIn(browser.email, "wrong wrong");
    expect((await openBrowser(server).signIn(browser.email)).status).toBe(429);
    expect((await ask(browser.email)).status).toBe(202);
    await isMailed(browser.email, 1);
    const { token, subject } = await readMail(browser.email);
    expect(subject).toBe("Set another password for Sellers & Sons");
    const newPassword = "nine lanterns on a bridge";
    expect((await complete(token, browser.email)).status).toBe(422);
    expect((await complete(token, newPassword)).status).toBe(204);
    expect((await complete(token, newPassword)).status).toBe(410);
    expect((await browser.call("GET", "/v1/session")).status).toBe(401);
    expect((await openBrowser(server).signIn(browser.email, newPassword)).status).toBe(200);
  });

  test("is answered alike whether there is such a user or not, and mails nobody else", async () => {
    const user = await addUser(server, mine.organisationId, { role: "viewer" });
    const disabled = await addUser(server, mine.organisationId, { role: "viewer" });
    await mine.call("PATCH", `/v1/users/${disabled.id}`, { disabled: true });
    const answers = [await ask(user.email), await ask("nobody@example.com"), await ask(disabled.email)];
    for (const answer of answers) expect([answer.status, answer.raw]).toEqual([202, answers[0]?.raw]);
    await isMailed(user.email, 1);
    expect((await readMail("nobody@example.com")).count).toBe(0);
    expect((await readMail(disabled.email)).count).toBe(0);
  });

  test("is not asked for so often that a mailbox fills, and the link is good for an hour", async () => {
    const user = await addUser(server, mine.organisationId, { role: "viewer" });
    await Promise.all([ask(user.email), ask(user.email), ask(user.email)]);
    await isMailed(user.email, 1);
    await ask(user.email);
    const { token } = await readMail(user.email);
    later(3_600);
    expect((await complete(token, "nine lanterns on a bridge")).status).toBe(410);
    await ask(user.email);
    await isMailed(user.email, 2);
  });

  test("is one in each organisation that the email is known in, unless one is named", async () => {
    const other = await server.createClient("Others");
    const email = "everywhere@example.com";
    await addUser(server, mine.organisationId, { role: "viewer" }, email);
    await addUser(server, other.organisationId, { role: "viewer" }, email);
    await ask(email);
    await until(async () => {
      await sendDueAlerts(server.context, other.organisationId);
      return (await readMail(email)).count === 2;
    });
    later(3_600);
    const organisation = (await other.call("GET", "/v1/organisation")).text("portalCode");
    await ask(email, { organisation });
    await until(async () => (await readMail(email, other.organisationId)).count === 3);
    expect((await readMail(email)).count).toBe(3);
  });

  test("cannot be set with the link of an invitation, nor the other way", async () => {
    const { email } = await invite();
    const { token } = await readMail(email);
    expect((await complete(token, goodPassword)).status).toBe(410);
    expect((await accept(token)).status).toBe(204);
  });
});

describe("the page of a link", () => {
  const open = async (method: Method, url: string, form?: Readonly<Record<string, string>>) =>
    server.api.inject({
      method,
      url,
      headers: form === undefined ? {} : { "content-type": "application/x-www-form-urlencoded" },
      ...(form === undefined ? {} : { payload: new URLSearchParams(form).toString() }),
    });

  test("shows a form without scripts, which sets the password", async () => {
    const { email } = await invite();
    const { token } = await readMail(email);
    const page = await open("GET", `/invitation/${token}`);
    expect(page.statusCode).toBe(200);
    expect(page.headers["content-type"]).toBe("text/html; charset=utf-8");
    expect(page.headers["content-security-policy"]).toMatch(
      /^default-src 'none'; style-src 'sha256-[\w+/=]+'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'$/,
    );
    expect(page.headers).toMatchObject({
      "cache-control": "no-store",
      "referrer-policy": "no-referrer",
      "x-frame-options": "DENY",
    });
    expect(page.body).toContain("Welcome to Sellers &amp; Sons");
    expect(page.body).not.toMatch(/<script|javascript:| on\w+=/);
    const differ = await open("POST", `/invitation/${token}`, { password: goodPassword, again: "another" });
    expect([differ.statusCode, differ.body.includes("The two passwords differ.")]).toEqual([422, true]);
    const common = await open("POST", `/invitation/${token}`, { password: "password1234", again: "password1234" });
    expect([common.statusCode, common.body.includes("commonest")]).toEqual([422, true]);
    const done = await open("POST", `/invitation/${token}`, { password: goodPassword, again: goodPassword });
    expect([done.statusCode, done.body.includes("Your password is set")]).toEqual([200, true]);
    expect((await openBrowser(server).signIn(email)).status).toBe(200);
    for (const method of ["GET", "POST"] as const) {
      const gone = await open(
        method,
        `/invitation/${token}`,
        method === "GET" ? undefined : { password: "x", again: "x" },
      );
      expect([gone.statusCode, gone.body.includes("not good any more")]).toEqual([410, true]);
    }
  });

  test("is gone for what is no link of its kind", async () => {
    const { email } = await invite();
    const { token } = await readMail(email);
    for (const url of [`/reset/${token}`, `/invitation/${token}x`, "/invitation/%3Cscript%3E", "/reset/x"]) {
      const answer = await open("GET", url);
      expect([url, answer.statusCode]).toEqual([url, 410]);
      expect(answer.body).not.toContain("<script");
    }
  });

  test("is the same for a forgotten password", async () => {
    const user = await addUser(server, mine.organisationId, { role: "viewer" });
    await call(server.api, null, "POST", "/v1/password-resets", { email: user.email });
    await until(async () => (await readMail(user.email)).count === 1);
    const { token } = await readMail(user.email);
    expect((await open("GET", `/reset/${token}`)).body).toContain("Set another password");
    const again = "nine lanterns on a bridge";
    expect((await open("POST", `/reset/${token}`, { password: again, again })).statusCode).toBe(200);
    expect((await openBrowser(server).signIn(user.email, again)).status).toBe(200);
  });
});
