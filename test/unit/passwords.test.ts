import { expect, test } from "@jest/globals";
import { hash } from "@node-rs/argon2";
import { Overloaded } from "../../src/http/answer-errors.ts";
import { hostCookie, readCookie } from "../../src/http/cookies.ts";
import { passwordProblem } from "../../src/people/password-rules.ts";
import { hashPassword, isOutdated, isPassword, passwordWork } from "../../src/people/passwords.ts";
import { makeRecoveryCodes, makeTotp, recoveryCodeHash, stepOf } from "../../src/people/totp.ts";

test("a password is kept as argon2id with what OWASP asks for at least", async () => {
  const kept = await hashPassword("seven boats in a harbour");
  expect(kept).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  expect(await hashPassword("seven boats in a harbour")).not.toBe(kept);
  expect(await isPassword("seven boats in a harbour", kept)).toBe(true);
  expect(await isPassword("seven boats in a harbor", kept)).toBe(false);
});

test("a letter that can be written in two ways is one", async () => {
  const kept = await hashPassword("Zo\u00eb and seven boats");
  expect(await isPassword("Zoe\u0308 and seven boats", kept)).toBe(true);
});

test("where there is no hash the same work is done, and the answer is no", async () => {
  const before = passwordWork.comparisons;
  expect(await isPassword("seven boats in a harbour", null)).toBe(false);
  expect(passwordWork.comparisons - before).toBe(1);
});

test("a hash of weaker parameters is outdated, one of today's is not", async () => {
  expect(isOutdated(await hash("x", { memoryCost: 8_192, timeCost: 2, parallelism: 1 }))).toBe(true);
  expect(isOutdated(await hash("x", { memoryCost: 19_456, timeCost: 1, parallelism: 1 }))).toBe(true);
  expect(isOutdated(await hashPassword("x"))).toBe(false);
});

test("of a flood of passwords two are looked at at once, the rest waits in turn, and what is too many is refused", async () => {
  const flood = await Promise.allSettled(Array.from({ length: 210 }, async () => isPassword("a password", null)));
  const refused = flood.filter((one) => one.status === "rejected" && one.reason instanceof Overloaded);
  expect(refused).toHaveLength(210 - 202);
  expect(flood.filter((one) => one.status === "fulfilled")).toHaveLength(202);
  expect(passwordWork.mostAtOnce).toBe(2);
  expect(await isPassword("a password", null)).toBe(false);
}, 120_000);

const ann = { email: "ann.example@example.com", name: "Ann Marie Example" };

test.each([
  ["seven boats in a harbour", null],
  ["Ann.Example@example.com", "the email address"],
  ["Ann.Example@example.com2026", "the email address"],
  ["ann marie example", "the name"],
  ["AnnMarieExample!1", "the name"],
  ["my friend ann marie example has boats", null],
  ["elevenchars", "at least 12 characters"],
  ["\u{1f600}".repeat(11), "at least 12 characters"],
  ["x y ".repeat(51), "at most 200 characters"],
  ["aaaaaaaaaaaaaaaa", "over and over"],
  ["abababababababab", "over and over"],
  ["boatboatboatboat", "over and over"],
  ["Password1234", "commonest"],
  ["pass word 1234", "commonest"],
  ["123456789012", "commonest"],
  ["Correct Horse Battery Staple", "commonest"],
])("the password %s is told: %s", (password, problem) => {
  const told = passwordProblem(password, ann);
  if (problem === null) expect(told).toBeNull();
  else expect(told).toContain(problem);
});

// RFC 6238, appendix B, for SHA-1; authenticator apps show the last six digits.
test.each([
  ["2005-03-18T01:58:29Z", "07081804"],
  ["2005-03-18T01:58:31Z", "14050471"],
  ["2009-02-13T23:31:30Z", "89005924"],
  ["2033-05-18T03:33:20Z", "69279037"],
  ["2603-10-11T11:33:20Z", "65353130"],
])("the code of the standard's secret at %s ends in the standard's digits", (at, code) => {
  const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
  const now = new Date(at);
  const step = Math.floor(now.getTime() / 30_000);
  const digits = code.slice(-6);
  expect(stepOf(secret, digits, now)).toBe(step);
  expect(stepOf(secret, digits, new Date(now.getTime() + 30_000))).toBe(step);
  expect(stepOf(secret, digits, new Date(now.getTime() - 30_000))).toBe(step);
  expect(stepOf(secret, digits, new Date(now.getTime() + 60_000))).toBeNull();
  expect(stepOf(secret, digits, new Date(now.getTime() - 60_000))).toBeNull();
});

test("an authenticator app is given 160 random bits, and whose account it is", () => {
  const { secret, uri } = makeTotp("Sellers & Sons", "ann@example.com");
  expect(secret).toMatch(/^[A-Z2-7]{32}$/);
  const read = new URL(uri);
  expect([read.protocol, read.host]).toEqual(["otpauth:", "totp"]);
  expect(decodeURIComponent(read.pathname)).toBe("/Sellers & Sons:ann@example.com");
  expect(Object.fromEntries(read.searchParams)).toMatchObject({
    secret,
    issuer: "Sellers & Sons",
    digits: "6",
    period: "30",
  });
});

test("recovery codes are ten of a hundred bits, and are read however they are written down", () => {
  const codes = makeRecoveryCodes();
  expect(new Set(codes).size).toBe(10);
  for (const code of codes) {
    expect(code).toMatch(/^([0-9a-hjkmnp-tv-z]{5}-){3}[0-9a-hjkmnp-tv-z]{5}$/);
    const written = code.toUpperCase().replaceAll("-", " ").replaceAll("0", "O").replaceAll("1", "l");
    expect(recoveryCodeHash(written)).toEqual(recoveryCodeHash(code));
  }
});

test("a cookie is found by its whole name, and set for this host alone", () => {
  const header = "other=1; x__Host-a=2; __Host-a=3=4; __Host-ab=5";
  expect(readCookie(header, "__Host-a")).toBe("3=4");
  expect(readCookie(header, "__Host-b")).toBeNull();
  expect(readCookie(undefined, "__Host-a")).toBeNull();
  expect(hostCookie("__Host-a", "1", 60)).toBe("__Host-a=1; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Strict");
});
