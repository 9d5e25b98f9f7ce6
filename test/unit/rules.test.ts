import { describe, expect, test } from "@jest/globals";
import { openAnswer, pathProblem } from "../../src/channels/answer-paths.ts";
import { describeRule, type Rule, ruleSchema, rulesSchema, testRule } from "../../src/channels/rules.ts";

const json = JSON.stringify({
  outcome: "success",
  code: 1,
  ok: true,
  nothing: null,
  empty: "",
  lead: { id: "L-1", price: "12.50" },
  errors: [{ message: "too old" }, { message: "Invalid postcode" }],
});
const xml = `<?xml version="1.0"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>
  <r:Response xmlns:r="urn:partner" code="7"><r:status> ok </r:status><r:accepted/><r:price>12.5</r:price></r:Response>
</soap:Body></soap:Envelope>`;

function holds(rule: Rule, body: string): boolean | string {
  const parsed = ruleSchema.parse(rule);
  const tested = testRule(parsed, openAnswer(body));
  return tested.ok ? tested.holds : tested.reason;
}

describe("a rule tests what its path leads to", () => {
  test.each<[Rule, boolean]>([
    [{ path: "$.outcome", equals: "success" }, true],
    [{ path: "$.outcome", equals: "Success" }, false],
    [{ path: "$.outcome", in: ["ok", "success"] }, true],
    [{ path: "$.code", equals: 1 }, true],
    [{ path: "$.code", equals: "1" }, true],
    [{ path: "$.code", equals: "1.0" }, false],
    [{ path: "$.code", equals: true }, false],
    [{ path: "$.ok", equals: true }, true],
    [{ path: "$.ok", equals: "true" }, true],
    [{ path: "$.lead.price", equals: 12.5 }, true],
    [{ path: "$.nothing", equals: null }, true],
    [{ path: "$.absent", equals: null }, false],
    [{ path: "$.nothing", exists: true }, false],
    [{ path: "$.empty", exists: true }, true],
    [{ path: "$.absent", exists: false }, true],
    [{ path: "$.errors[*].message", equals: "Invalid postcode" }, true],
    [{ path: "$.errors[?@.message=='too old']", exists: true }, true],
    [{ path: "$.errors", contains: "postcode" }, true],
    [{ path: "$['outcome']", matches: "^succ(ess)?$" }, true],
    [{ contains: "L-1" }, true],
    [{ exists: true }, true],
  ])("%j of JSON: %s", (rule, expected) => {
    expect(holds(rule, json)).toBe(expected);
  });

  test.each<[Rule, boolean]>([
    [{ path: "//status", equals: "ok" }, true],
    [{ path: "/Envelope/Body/Response/status", equals: "ok" }, true],
    [{ path: "/soap:Envelope/x:Body//status", equals: "ok" }, true],
    [{ path: "//Response/@code", equals: 7 }, true],
    [{ path: "//Response/@code", equals: "7" }, true],
    [{ path: "//price", equals: 12.5 }, true],
    [{ path: "//accepted", exists: true }, true],
    [{ path: "//declined", exists: true }, false],
    [{ path: "//Response[status=' ok ']/@code", exists: true }, true],
    [{ path: "//status = ' ok '", equals: true }, true],
    [{ contains: "ok" }, true],
  ])("%j of XML, whatever the namespace: %s", (rule, expected) => {
    expect(holds(rule, xml)).toBe(expected);
  });
});

describe("contains looks for whole words, in any case", () => {
  test.each([
    ["valid", "Lead is Valid.", true],
    ["valid", "Lead is invalid", false],
    ["valid", "validated", false],
    ["valid", "invalid, no: valid", true],
    ["lead accepted", "The LEAD ACCEPTED today", true],
    ["ok", "tok ok_ lok", false],
    ["zo", "Zoë", false],
    ["+44", "call +44 now", true],
    ["<ok>", "is<ok>x", true],
    ["é", "cafe\u0301 é", true],
    ["a", "𝒂a", false],
  ])("%s in %s: %s", (contains, text, expected) => {
    expect(holds({ contains }, text)).toBe(expected);
  });
});

describe("an answer that cannot be read as the path needs it is told apart from one that does not match", () => {
  test.each([
    ["$.a", "", "the answer is empty"],
    ["$.a", "<a/>", "the answer is not JSON"],
    ["$.a", '{"a":', "the answer is not JSON"],
    ["//a", '{"a":1}', "the answer is not XML"],
    ["//a", "<a><b></a>", "the answer is not XML"],
    ["//a", "<!DOCTYPE html><html><body>Down for maintenance</body></html>", "the answer is a web page, not XML"],
    ["//a", `${"<a>".repeat(60)}${"</a>".repeat(60)}`, "the answer has more than 2000 parts, or is more than 50 deep"],
    ["$..a", `[${"1,".repeat(3000)}1]`, "the answer has more than 2000 values"],
  ])("%s of %s", (path, body, reason) => {
    expect(holds({ path, exists: true }, body)).toBe(reason);
  });

  test("a path without .. or wildcards reads an answer of any size", () => {
    expect(holds({ path: "$[2999]", equals: 1 }, `[${"1,".repeat(3000)}1]`)).toBe(true);
  });
});

describe("a rule or path is refused with what is allowed", () => {
  const refusedRules: [unknown, string][] = [
    [{ path: "$.a" }, "must have exactly one test: equals, in, exists, contains, matches"],
    [{ path: "$.a", equals: 1, contains: "x" }, "must have exactly one test"],
    [{ path: "$.a", is: 1 }, "is"],
    [{ path: "$.a[", equals: 1 }, "path: this is no JSONPath"],
    [{ path: "//a[", equals: 1 }, "path: this is no XPath"],
    [
      { path: "outcome", equals: 1 },
      "path: a path is a JSONPath, which begins with $, or an XPath, which begins with /",
    ],
    [{ matches: "(a" }, "matches: must be a regular expression of RE2"],
    [{ matches: "(?=a)b" }, "matches: must be a regular expression of RE2"],
    [[{ equals: 1 }, { exists: "yes" }], "1.exists: must be true or false"],
    ["success", "must be a rule, or a list of up to 20 rules"],
  ];
  test.each(refusedRules)("%j", (rule, message) => {
    const parsed = rulesSchema.safeParse(rule);
    const messages = parsed.error?.issues.map((issue) => [...issue.path, issue.message].join(": ")).join("\n");
    expect(messages).toContain(message);
  });

  test.each([
    ["//a//b", "an XPath can have // once at most"],
    ["//a/../b", "an XPath can only go down"],
    ["/a/following-sibling::b", "an XPath can only go down"],
    ["//*[/a/b]", "an XPath can start from the root only once, at its beginning"],
    ["//a[1][2][3][4][5]", "an XPath can have four predicates at most"],
    ["$..a..b..c", "a JSONPath can have .. twice at most"],
    ["$[?@.a == $.b]", "filters can look at @ only"],
    ["$[*,*,*,*,*,*,*]", "six selectors at most"],
    ["$[?match(@.a, '(x+x+)+y')]", "no such function 'match'"],
    [`$.${"a".repeat(400)}`, "at most 300 characters"],
  ])("%s", (path, message) => {
    expect(pathProblem(path)).toContain(message);
  });

  test("what looks costly inside quotes is not", () => {
    expect(pathProblem("//a[b='..//..//$$']")).toBeNull();
    expect(pathProblem("$['..']['$$..']..a")).toBeNull();
  });
});

/** Of the processor, not of the clock: the machine may have other things to do. */
function busyMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

function fastestMs(path: string, body: string): number {
  return Math.min(...[1, 2, 3, 4, 5].map(() => busyMs(() => openAnswer(body).find(path))));
}

describe("no answer of a partner can keep us busy", () => {
  // An XPath predicate over siblings once took minutes here: the library compared positions by walking all of them.
  const wide = `<a>${"<b/>".repeat(1990)}</a>`;
  const pairs = `<a>${"<b>x</b>".repeat(490)}${"<c>y</c>".repeat(490)}</a>`;
  const deep = `${"<a>".repeat(48)}${"<b>x</b>".repeat(900)}${"</a>".repeat(48)}`;
  const nested = `${"[".repeat(48)}${"1,".repeat(1900)}1${"]".repeat(48)}`;
  test.each([
    ["//b[.='x']", wide],
    ["//b[last()]", wide],
    ["//*[*=*][*=*]", pairs],
    ["/a[b=c][b=c][b=c][b=c]", pairs],
    ["//a[.='x'][.='y'][.='z']", deep],
    ["$..*..*", nested],
    ["$..[?@..a]", nested],
    ["$..a", "[".repeat(30_000) + "]".repeat(30_000)],
  ])("%s", (path, body) => {
    expect(busyMs(() => openAnswer(body).find(path))).toBeLessThan(3_000);
  });

  test("a predicate over siblings costs about as much as reading them", () => {
    // Walking all of them for each of them would cost 2,000 times as much.
    expect(fastestMs("//b[.='x']", wide)).toBeLessThan(100 * Math.max(1, fastestMs("/a", wide)));
  });

  test("a regular expression that would run away elsewhere", () => {
    const text = `${"a".repeat(60_000)}b`;
    expect(busyMs(() => expect(holds({ matches: "^(a+)+$" }, text)).toBe(false))).toBeLessThan(3_000);
  });
});

test("a rule is described in words", () => {
  expect(describeRule({ path: "$.a", equals: "b" })).toBe('$.a equals "b"');
  expect(describeRule({ in: [1, 2] })).toBe("the answer in [1,2]");
  expect(describeRule({ path: "//a", exists: false })).toBe("//a does not exist");
});
