import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { TOTP } from "otpauth";
import { createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { type Browser, goodPassword, openBrowser, signedIn, type TestUser } from "../helpers/people.ts";

/** Codes of an authenticator app and recovery codes, over the API; the app is RFC 6238 by another hand's code. */

let server: TestApi;
let mine: TestClient;
let now = new Date("2026-11-20T09:00:00Z");
const later = (seconds: number) => {
  now = new Date(now.getTime() + seconds * 1000);
};

beforeAll(async () => {
  server = await createTestApi({ clock: () => now, environment: { WRONG_KEYS_PER_MINUTE: "0" } });
  mine = await server.createClient("Sellers");
});
afterAll(async () => server.close());
beforeEach(() => later(2 * 86_400));

const codeOf = (secret: string) => new TOTP({ secret }).generate({ timestamp: now.getTime() });

/** A user who signs in with a code too. */
async function withApp(): Promise<Browser & TestUser & { readonly secret: string; readonly recoveryCodes: string[] }> {
  const browser = await signedIn(server, mine.organisationId, { role: "viewer" });
  const begun = await browser.call("POST", "/v1/session/totp", { password: goodPassword });
  const secret = begun.text("secret");
  const confirmed = await browser.call("POST", "/v1/session/totp/confirm", { code: codeOf(secret) });
  const recoveryCodes = Object(confirmed.body).recoveryCodes;
  expect(recoveryCodes).toHaveLength(10);
  later(60);
  return { ...browser, secret, recoveryCodes };
}

describe("an authenticator app", () => {
  test("counts when a code of it was given, and not before", async () => {
    const browser = await signedIn(server, mine.organisationId, { role: "viewer" });
    expect((await browser.call("POST", "/v1/session/totp", { password: "wrong wrong" })).body).toMatchObject({
      code: "not_proven",
    });
    const begun = await browser.call("POST", "/v1/session/totp", { password: goodPassword });
    expect(begun.status).toBe(201);
    expect(begun.text("uri")).toContain(`secret=${begun.text("secret")}`);
    expect((await openBrowser(server).signIn(browser.email)).status).toBe(200);
    expect((await browser.call("POST", "/v1/session/totp/confirm", { code: "000000" })).status).toBe(403);
    const code = codeOf(begun.text("secret"));
    expect((await browser.call("POST", "/v1/session/totp/confirm", { code })).status).toBe(200);
    expect((await browser.call("POST", "/v1/session/totp/confirm", { code })).body).toMatchObject({
      code: "totp_state",
    });
    expect((await browser.call("POST", "/v1/session/totp", { password: goodPassword })).body).toMatchObject({
      code: "totp_state",
    });
    expect((await openBrowser(server).signIn(browser.email)).body).toMatchObject({ status: 401, code: "code_needed" });
  });

  test("is kept encrypted, and recovery codes as digests", async () => {
    const user = await withApp();
    const { rows } = await sql<{ text: string }>`select (select string_agg(u::text, ' ') from users u) ||
      (select string_agg(r::text, ' ') from recovery_codes r) as text`.execute(server.owner);
    for (const secret of [user.secret, ...user.recoveryCodes]) expect(rows[0]?.text).not.toContain(secret);
    expect(rows[0]?.text).toContain("enc1.");
  });

  test("signs in with each code once, of the moment or half a minute around it", async () => {
    const user = await withApp();
    const signIn = async (code: string) =>
      (await openBrowser(server).signIn(user.email, goodPassword, { code })).status;
    const code = codeOf(user.secret);
    expect(await signIn(code)).toBe(200);
    expect(await signIn(code)).toBe(401);
    later(30);
    expect(await signIn(code)).toBe(401);
    const next = codeOf(user.secret);
    later(30);
    expect(await signIn(` ${next.slice(0, 3)} ${next.slice(3)} `)).toBe(200);
    later(120);
    const old = codeOf(user.secret);
    later(60);
    expect(await signIn(old)).toBe(401);
  });

  test("whose code is given to two sign-ins at the same time lets one in", async () => {
    const user = await withApp();
    const code = codeOf(user.secret);
    const answers = await Promise.all(
      [1, 2].map(async () => openBrowser(server).signIn(user.email, goodPassword, { code })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401]);
  });

  test("says nothing about the code to who has not the password", async () => {
    const user = await withApp();
    const wrong = await openBrowser(server).signIn(user.email, "wrong wrong");
    const both = await openBrowser(server).signIn(user.email, "wrong wrong", { code: codeOf(user.secret) });
    const code = await openBrowser(server).signIn(user.email, goodPassword, { code: "000000" });
    expect([both.raw, code.raw]).toEqual([wrong.raw, wrong.raw]);
  });

  test("is not guessed: codes are counted like passwords, and asking for one gives no tries back", async () => {
    const user = await withApp();
    const statuses: number[] = [];
    for (let tries = 0; tries < 5; tries += 1) {
      statuses.push((await openBrowser(server).signIn(user.email)).status);
      statuses.push((await openBrowser(server).signIn(user.email, goodPassword, { code: "000000" })).status);
    }
    expect(statuses).toEqual(Array(10).fill(401));
    expect((await openBrowser(server).signIn(user.email, goodPassword, { code: "000000" })).status).toBe(429);
    later(1);
    expect((await openBrowser(server).signIn(user.email)).body).toMatchObject({ code: "code_needed" });
    const code = codeOf(user.secret);
    expect((await openBrowser(server).signIn(user.email, goodPassword, { code })).status).toBe(200);
  });

  test("has ten recovery codes, each good once, until they are renewed", async () => {
    const user = await withApp();
    const signIn = async (code = "") => openBrowser(server).signIn(user.email, goodPassword, { code });
    const [first, second] = user.recoveryCodes;
    const answer = await signIn(first?.toUpperCase());
    expect(answer.body).toMatchObject({ hasTotp: true, recoveryCodesLeft: 9 });
    expect((await signIn(first)).status).toBe(401);
    const renewed = await user.call("POST", "/v1/session/recovery-codes", {
      password: goodPassword,
      code: codeOf(user.secret),
    });
    expect(renewed.status).toBe(200);
    expect((await signIn(second)).status).toBe(401);
    expect((await signIn(renewed.text("recoveryCodes.9"))).body).toMatchObject({ recoveryCodesLeft: 9 });
  });

  test("is switched off with password and code", async () => {
    const user = await withApp();
    const stop = async (password: string, code: string) =>
      user.call("POST", "/v1/session/totp/off", { password, code });
    expect((await stop(goodPassword, "000000")).status).toBe(403);
    expect((await stop("wrong wrong", codeOf(user.secret))).status).toBe(403);
    expect((await stop(goodPassword, codeOf(user.secret))).status).toBe(204);
    expect((await openBrowser(server).signIn(user.email)).status).toBe(200);
    expect((await stop(goodPassword, codeOf(user.secret))).body).toMatchObject({ code: "totp_state" });
  });

  test("that is lost is switched off by who manages people, but nobody's own", async () => {
    const user = await withApp();
    const owner = await signedIn(server, mine.organisationId, { role: "owner" });
    expect((await owner.call("DELETE", `/v1/users/${owner.id}/totp`)).body).toMatchObject({ code: "not_allowed" });
    expect((await owner.call("DELETE", `/v1/users/${user.id}/totp`)).status).toBe(204);
    expect((await user.call("GET", "/v1/session")).status).toBe(401);
    expect((await openBrowser(server).signIn(user.email)).status).toBe(200);
  });
});
