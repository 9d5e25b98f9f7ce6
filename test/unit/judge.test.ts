import { describe, expect, test } from "@jest/globals";
import type { Outcome, Reply } from "../../src/channels/contract.ts";
import { type AnswerSettings, judgeHttp, judgeMail } from "../../src/channels/judge.ts";

type HttpAnswer = Extract<Reply, { kind: "answer" }>;

function answer(status: number, body = "", more: Partial<HttpAnswer> = {}): Reply {
  return { kind: "answer", status, headers: {}, body, truncated: false, unreadable: null, durationMs: 5, ...more };
}

function failure(code: Extract<Reply, { kind: "failure" }>["code"], arrived: "no" | "yes" | "unknown"): Reply {
  return { kind: "failure", code, detail: "It went wrong.", arrived, durationMs: 5 };
}

function kindOf(reply: Reply, settings: AnswerSettings = {}): Outcome["kind"] {
  return judgeHttp(reply, settings).kind;
}

const success: AnswerSettings = { success: { path: "$.outcome", equals: "success" } };

describe("a 2xx is accepted unless a rule takes that away", () => {
  test.each([200, 201, 202, 204, 299])("%i without rules", (status) => {
    expect(kindOf(answer(status))).toBe("accepted");
  });

  test("with a success rule that holds", () => {
    expect(kindOf(answer(200, '{"outcome":"success"}'), success)).toBe("accepted");
  });

  test("a success rule that does not hold rejects, with the rule as the reason", () => {
    expect(judgeHttp(answer(200, '{"outcome":"fail"}'), success)).toEqual({
      kind: "rejected",
      reason: 'The answer did not meet the success rule: $.outcome equals "success"',
    });
  });

  test("all success rules must hold, and any reject rule rejects", () => {
    const rules: AnswerSettings = {
      success: [
        { path: "$.a", equals: 1 },
        { path: "$.b", equals: 2 },
      ],
      reject: [{ path: "$.c", exists: true }, { contains: "duplicate" }],
    };
    expect(kindOf(answer(200, '{"a":1,"b":2}'), rules)).toBe("accepted");
    expect(kindOf(answer(200, '{"a":1,"b":3}'), rules)).toBe("rejected");
    expect(kindOf(answer(200, '{"a":1,"b":2,"c":0}'), rules)).toBe("rejected");
    expect(kindOf(answer(200, '{"a":1,"b":2,"d":"Duplicate lead"}'), rules)).toBe("rejected");
  });

  test("a rule makes no acceptance of another status", () => {
    for (const status of [302, 400, 404, 429, 500])
      expect(kindOf(answer(status, '{"outcome":"success"}'), success)).not.toBe("accepted");
  });

  test("reference, price and reason are read where a path is set, trimmed and cut to 200 characters", () => {
    const body = JSON.stringify({ lead: { id: 4711 }, price: " 12.50 ", note: "x".repeat(300), none: null });
    expect(judgeHttp(answer(200, body), { reference: "$.lead.id", price: "$.price", reason: "$.note" })).toEqual({
      kind: "accepted",
      reference: "4711",
      price: "12.50",
      reason: "x".repeat(200),
    });
    expect(judgeHttp(answer(200, body), { reference: "$.none", price: "$.absent" })).toMatchObject({
      reference: null,
      price: null,
    });
    expect(judgeHttp(answer(200, "no JSON"), { reference: "$.id" })).toMatchObject({
      kind: "accepted",
      reference: null,
    });
  });

  test("the partner's reasons are joined", () => {
    const body = '{"outcome":"fail","errors":[{"m":"too\\n old"},{"m":"no phone"}]}';
    expect(judgeHttp(answer(200, body), { ...success, reason: "$.errors[*].m" })).toEqual({
      kind: "rejected",
      reason: "too old; no phone",
    });
  });
});

describe("an answer that a rule needs and that cannot be read is broken, and else accepted", () => {
  test.each([
    ["no JSON", answer(200, "<html>Maintenance</html>")],
    ["empty", answer(204, "")],
    ["cut at 64 KiB", answer(200, '{"outcome":"success"}', { truncated: true })],
    ["undecodable", answer(200, "", { unreadable: "it is compressed in a way we do not know" })],
  ])("%s", (_name, reply) => {
    expect(judgeHttp(reply, success)).toMatchObject({
      kind: "broken",
      reason: expect.stringContaining("cannot be checked"),
    });
    expect(kindOf(reply)).toBe("accepted");
  });

  test("nothing is read from an answer that was cut", () => {
    const reply = answer(200, '{"id":"1"}', { truncated: true });
    expect(judgeHttp(reply, { reference: "$.id" })).toMatchObject({ kind: "accepted", reference: null });
  });
});

describe("other statuses", () => {
  test.each([400, 409, 422])("%i is rejected, with the partner's reason", (status) => {
    expect(judgeHttp(answer(status, '{"why":"Duplicate"}'), { reason: "$.why" })).toEqual({
      kind: "rejected",
      reason: "Duplicate",
    });
    expect(judgeHttp(answer(status), {})).toEqual({ kind: "rejected", reason: `The partner answered ${status}` });
  });

  test.each([
    401, 402, 403, 404, 405, 406, 407, 410, 411, 413, 414, 415, 418, 426, 431, 451, 301, 302, 303, 304, 307, 308, 100,
    0,
  ])("%i is broken", (status) => {
    expect(kindOf(answer(status))).toBe("broken");
  });

  test.each([
    [408, "no"],
    [425, "no"],
    [429, "no"],
    [500, "yes"],
    [501, "yes"],
    [502, "unknown"],
    [503, "no"],
    [504, "unknown"],
    [524, "unknown"],
  ])("%i is tried again; the lead may be with the partner: %s", (status, arrived) => {
    expect(judgeHttp(answer(status), {})).toMatchObject({ kind: "retry", arrived, retryAfterMs: null });
  });
});

describe("Retry-After is honoured, up to an hour", () => {
  const date = "Tue, 31 Mar 2026 09:30:00 GMT";
  test.each<[Record<string, string>, number | null]>([
    [{ "retry-after": "120" }, 120_000],
    [{ "retry-after": "0" }, 0],
    [{ "retry-after": "86400" }, 3_600_000],
    [{ "retry-after": "Tue, 31 Mar 2026 09:32:00 GMT", date }, 120_000],
    [{ "retry-after": "Tue, 31 Mar 2026 09:00:00 GMT", date }, 0],
    [{ "retry-after": "Wed, 01 Apr 2026 09:30:00 GMT", date }, 3_600_000],
    [{ "retry-after": "Tue, 31 Mar 2026 09:32:00 GMT" }, null],
    [{ "retry-after": "soon", date }, null],
    [{ "retry-after": "" }, null],
    [{}, null],
  ])("%j: %s", (headers, retryAfterMs) => {
    expect(judgeHttp(answer(429, "", { headers }), {})).toMatchObject({ kind: "retry", retryAfterMs });
  });
});

describe("a SOAP Fault counts for what it says, with 200 as with 500", () => {
  const fault11 = (
    code: string,
  ) => `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>
    <faultcode>${code}</faultcode><faultstring>Postcode is missing</faultstring></s:Fault></s:Body></s:Envelope>`;
  const fault12 = (
    code: string,
  ) => `<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><e:Fault><e:Code><e:Value>${code}</e:Value>
    <e:Subcode><e:Value>e:Other</e:Value></e:Subcode></e:Code><e:Reason><e:Text xml:lang="en">Postcode is missing</e:Text></e:Reason></e:Fault></e:Body></e:Envelope>`;

  test.each([
    [fault11("s:Client"), "rejected"],
    [fault11("Client"), "rejected"],
    [fault11("s:Client.Invalid"), "rejected"],
    [fault12("e:Sender"), "rejected"],
    [fault11("s:Server"), "retry"],
    [fault12("e:Receiver"), "retry"],
    [fault11("s:VersionMismatch"), "broken"],
    [fault11("wsse:FailedAuthentication"), "broken"],
    [fault12("e:MustUnderstand"), "broken"],
    [fault11(""), "broken"],
  ])("%s: %s", (body, kind) => {
    for (const status of [200, 500])
      expect(judgeHttp(answer(status, body), {})).toMatchObject({ kind, reason: "SOAP Fault: Postcode is missing" });
  });

  test("the partner's own reason is read from where the settings say", () => {
    const body = fault11("s:Client").replace("</s:Fault>", "<detail><why>Sold before</why></detail></s:Fault>");
    expect(judgeHttp(answer(500, body), { reason: "//detail/why" })).toEqual({
      kind: "rejected",
      reason: "Sold before",
    });
  });

  test("with 401 or 503 the status counts", () => {
    expect(kindOf(answer(401, fault11("s:Client")))).toBe("broken");
    expect(kindOf(answer(503, fault11("s:Client")))).toBe("retry");
  });

  test("a fault that cannot be read makes a 200 broken and leaves a 500 what it is", () => {
    expect(kindOf(answer(200, fault11("s:Client").slice(0, -20)))).toBe("broken");
    expect(kindOf(answer(500, fault11("s:Client").slice(0, -20)))).toBe("retry");
  });

  test("the word alone is no fault", () => {
    expect(kindOf(answer(200, '{"note":"<Fault>"}'))).toBe("accepted");
    expect(kindOf(answer(200, "<r><Fault>none</Fault></r>"))).toBe("accepted");
  });
});

describe("failures to send", () => {
  test.each([
    ["dns", "no"],
    ["connect", "no"],
    ["timeout", "no"],
    ["timeout", "unknown"],
    ["reset", "unknown"],
    ["protocol", "unknown"],
  ] as const)("%s, arrived %s: tried again", (code, arrived) => {
    expect(judgeHttp(failure(code, arrived), {})).toEqual({
      kind: "retry",
      reason: "It went wrong.",
      arrived,
      retryAfterMs: null,
    });
  });

  test("an answer that was cut off may have been an acceptance", () => {
    expect(judgeHttp(failure("cut_off", "unknown"), {})).toMatchObject({ kind: "retry", arrived: "unknown" });
  });

  test.each(["tls", "refused_address", "redirect", "authentication", "protocol"] as const)(
    "%s before sending: broken",
    (code) => {
      expect(judgeHttp(failure(code, "no"), {})).toEqual({ kind: "broken", reason: "It went wrong." });
    },
  );
});

describe("mail", () => {
  test.each([
    [250, "accepted"],
    [251, "accepted"],
    [421, "retry"],
    [450, "retry"],
    [452, "retry"],
    [550, "broken"],
    [552, "broken"],
    [554, "broken"],
  ])("%i: %s", (status, kind) => {
    expect(judgeMail(answer(status)).kind).toBe(kind);
  });

  test("trouble with the operator's own mail server is not the partner's", () => {
    for (const code of ["connect", "tls", "authentication", "refused_address"] as const)
      expect(judgeMail(failure(code, "no"))).toMatchObject({ kind: "retry", arrived: "no" });
    expect(judgeMail(failure("protocol", "no")).kind).toBe("broken");
  });
});
