import { describe, expect, test } from "@jest/globals";
import type { FailureCode, Reply } from "../../src/channels/contract.ts";
import { agreeVersion, judgeLink, judgeReferral, noCommonVersion } from "../../src/referrals/judge-referral.ts";

/** What the other side's answer to a referral means. */

const referralId = "01900000-0000-7000-8000-000000000001";
const taken = { version: 1, referralId, receivedAs: "lead-7", organisation: "Receivers Ltd" };

function answered(status: number, body: unknown = "", headers: Record<string, string> = {}): Reply {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return { kind: "answer", status, headers, body: text, truncated: false, unreadable: null, durationMs: 1 };
}

function failed(code: FailureCode, arrived: "no" | "unknown"): Reply {
  return { kind: "failure", code, detail: "It failed.", arrived, durationMs: 1 };
}

const judge = (reply: Reply) => judgeReferral(reply, referralId);

describe("a referral", () => {
  test.each([200, 201])("that is answered %d with its own id has arrived", (status) => {
    const sent = { kind: "sent", receivedAs: "lead-7", organisation: "Receivers Ltd" };
    expect(judge(answered(status, { ...taken, more: "of a later version" }))).toEqual(sent);
  });

  test.each([
    ["a page", "<html>Welcome</html>"],
    ["nothing", ""],
    ["an answer about another referral", { ...taken, referralId: "01900000-0000-7000-8000-000000000002" }],
    ["an answer without its id", { ...taken, referralId: undefined }],
    ["JSON of something else", { ok: true }],
  ])("that is answered 200 with %s has not: what answers there is no inbound", (_, body) => {
    expect(judge(answered(200, body))).toEqual({ kind: "refused", reason: expect.stringContaining("check the URL") });
  });

  test("whose answer cannot be decoded may have arrived", () => {
    const reply = { ...answered(200), unreadable: "it is not gzip" };
    expect(judge(reply)).toMatchObject({ kind: "trouble", mayHaveArrived: true });
  });

  test.each([
    [401, "referral_key_wrong", "key"],
    [409, "inbound_disabled", "switched the inbound off"],
    [409, "stage_gone", "stage"],
    [409, "idempotency_conflict", "already"],
    [410, "inbound_gone", "deleted"],
    [413, "referral_too_large", "larger"],
    [422, "invalid_referral", "not right"],
    [401, "of_another_crm", "key"],
    [403, "", "key"],
    [404, "", "URL"],
    [405, "", "URL"],
    [410, "", "nothing at this address"],
    [413, "", "larger"],
    [302, "", "URL"],
    [418, "teapot", "refused"],
  ])("that is answered %d %s is refused, in words", (status, code, words) => {
    const refusal = { code, title: "A title", detail: "in their own words" };
    const judged = judge(answered(status, code === "" ? "" : refusal));
    expect(judged).toEqual({ kind: "refused", reason: expect.stringContaining(words) });
    if (code !== "") expect(judged).toMatchObject({ reason: expect.stringContaining("in their own words") });
    expect(judged).toMatchObject({ reason: expect.stringContaining(String(status)) });
  });

  test.each([
    [500, true],
    [502, true],
    [503, false],
    [504, true],
    [429, false],
    [408, false],
  ])("that is answered %d is tried again; it may have arrived: %s", (status, mayHaveArrived) => {
    expect(judge(answered(status, "busy"))).toMatchObject({ kind: "trouble", mayHaveArrived, retryAfterMs: null });
  });

  test.each([
    ["120", "", 120_000],
    ["Fri, 20 Nov 2026 10:05:00 GMT", "Fri, 20 Nov 2026 10:00:00 GMT", 300_000],
    ["999999999", "", 86_400_000],
    ["soon", "", null],
  ])("waits as long as Retry-After says: %s", (after, date, retryAfterMs) => {
    const headers = { "retry-after": after, ...(date === "" ? {} : { date }) };
    expect(judge(answered(429, "", headers))).toMatchObject({ kind: "trouble", retryAfterMs });
  });

  test.each([
    ["dns", "no", "trouble", false],
    ["connect", "no", "trouble", false],
    ["tls", "no", "trouble", false],
    ["timeout", "unknown", "trouble", true],
    ["reset", "unknown", "trouble", true],
    ["cut_off", "unknown", "trouble", true],
    ["protocol", "unknown", "trouble", true],
    ["protocol", "no", "refused", undefined],
    ["refused_address", "no", "refused", undefined],
  ] as const)("that fails with %s (arrived: %s) is %s", (code, arrived, kind, mayHaveArrived) => {
    const judged = judge(failed(code, arrived));
    expect(judged.kind).toBe(kind);
    if (mayHaveArrived !== undefined) expect(judged).toMatchObject({ mayHaveArrived });
  });

  test("of a version that they do not speak is told apart, with what they do speak", () => {
    const refusal = { code: "referral_version", supported: [1, 2] };
    expect(judge(answered(400, refusal))).toEqual({ kind: "other_version", supported: [1, 2] });
    expect(judge(answered(400, { code: "referral_version" }))).toEqual({ kind: "other_version", supported: [] });
    expect(judge(answered(400, { code: "malformed_body" })).kind).toBe("refused");
  });
});

describe("two versions", () => {
  test.each([
    [[1], [1], [], 1],
    [[1, 2, 3], [1, 2], [3], 2],
    [[1, 2], [2, 3], [2], null],
    [[1], [2, 3], [1], null],
    [[1], [], [1], null],
    [[1], [1], [1], null],
  ])("we speak %j, they speak %j, refused were %j: %s", (spoken, supported, refused, expected) => {
    expect(agreeVersion(spoken, supported, new Set(refused))).toBe(expected);
  });

  test("that have nothing in common are told in words", () => {
    expect(noCommonVersion([1], [3, 2])).toBe(
      "They speak versions 2, 3, and we speak version 1: one of the two systems has to be updated.",
    );
  });
});

describe("a link", () => {
  test("works where it says whose it is", () => {
    const link = { versions: [1], organisation: "Receivers Ltd", inbound: "From Sellers" };
    expect(judgeLink(answered(200, link))).toEqual({ kind: "works", link });
  });

  test.each([
    [answered(200, "<html>"), "URL"],
    [answered(401, { code: "referral_key_wrong" }), "key"],
    [answered(500), "500"],
    [failed("connect", "no"), "It failed."],
    [failed("refused_address", "no"), "It failed."],
  ])("does not where it answers otherwise", (reply, words) => {
    expect(judgeLink(reply)).toEqual({ kind: "does_not", reason: expect.stringContaining(words) });
  });
});
