import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { fieldsSchema } from "../../src/campaigns/fields.ts";
import { evaluateFilter, type Filter, filterProblems, filterSchema } from "../../src/campaigns/filter.ts";
import type { FieldValue } from "../../src/channels/contract.ts";

const lead: Record<string, FieldValue> = {
  name: "Zoë O'Brien",
  postcode: "SW1A 1AA",
  cover: 25_000_000,
  rooms: 3,
  born: "1980-06-15",
  owner: true,
  kind: "Semi-detached",
  note: null,
};

describe("a condition", () => {
  const holds = (filter: unknown) => evaluateFilter(filterSchema.parse(filter), lead).matches;
  const on = (field: string, op: string, value?: unknown) =>
    holds({ field, op, ...(value !== undefined && { value }) });

  test("equals: the same text without regard to capital letters, the same number, the same truth", () => {
    expect(on("name", "equals", "ZOE\u0308 o'brien")).toBe(true);
    expect(on("name", "equals", "Zoë")).toBe(false);
    expect(on("rooms", "equals", 3)).toBe(true);
    expect(on("rooms", "equals", 4)).toBe(false);
    expect(on("owner", "equals", true)).toBe(true);
    expect(on("owner", "equals", false)).toBe(false);
  });

  test("in: one of a list", () => {
    expect(on("kind", "in", ["Detached", "SEMI-DETACHED"])).toBe(true);
    expect(on("kind", "in", ["Detached", "Flat"])).toBe(false);
    expect(on("rooms", "in", [1, 3])).toBe(true);
  });

  test("startsWith: a text or one of a list", () => {
    expect(on("postcode", "startsWith", "sw")).toBe(true);
    expect(on("postcode", "startsWith", "W")).toBe(false);
    expect(on("postcode", "startsWith", ["N", "SW1"])).toBe(true);
  });

  test("contains: anywhere in the text", () => {
    expect(on("name", "contains", "o'b")).toBe(true);
    expect(on("name", "contains", "O’B")).toBe(false);
  });

  test("range: both limits are within, for numbers, money and dates", () => {
    expect(on("cover", "range", { min: 25_000_000, max: 25_000_000 })).toBe(true);
    expect(on("cover", "range", { min: 25_000_001 })).toBe(false);
    expect(on("cover", "range", { max: 24_999_999 })).toBe(false);
    expect(on("rooms", "range", { min: -1, max: 10 })).toBe(true);
    expect(on("born", "range", { min: "1980-06-15", max: "1980-06-15" })).toBe(true);
    expect(on("born", "range", { min: "1980-06-16" })).toBe(false);
    expect(on("born", "range", { max: "1980-06-14" })).toBe(false);
  });

  test("exists: given or not given", () => {
    expect(on("name", "exists")).toBe(true);
    expect(on("name", "exists", false)).toBe(false);
    expect(on("note", "exists")).toBe(false);
    expect(on("note", "exists", false)).toBe(true);
    expect(on("unheard_of", "exists", false)).toBe(true);
  });

  test("matches: a pattern, found anywhere, that minds capital letters", () => {
    expect(on("postcode", "matches", "^SW\\d[A-Z] ")).toBe(true);
    expect(on("postcode", "matches", "^sw")).toBe(false);
    expect(on("postcode", "matches", "(?i)^sw")).toBe(true);
    expect(on("name", "matches", "Brien$")).toBe(true);
  });

  test("matches: only the first 1000 characters are looked at, so that no lead can keep a worker busy", () => {
    const filter = filterSchema.parse({ field: "note", op: "matches", value: "a[ab]{201}[cd]$" });
    const started = performance.now();
    expect(evaluateFilter(filter, { note: "ab".repeat(25_000) }).matches).toBe(false);
    expect(performance.now() - started).toBeLessThan(1_000);
    expect(evaluateFilter(filter, { note: `${"ab".repeat(499)}c` }).matches).toBe(true);
    expect(evaluateFilter(filter, { note: `${"ab".repeat(500)}c` }).matches).toBe(false);
  });

  test.each(["equals", "in", "startsWith", "contains", "range", "matches"])(
    "%s does not hold for a field that is absent",
    (op) => {
      const value = { in: [""], range: { min: 0 } }[op] ?? "null";
      for (const field of ["note", "unheard_of", "toString", "__proto__"]) {
        const filter = { field, op, value } as Filter;
        expect(evaluateFilter(filter, lead).matches).toBe(false);
        expect(evaluateFilter({ not: filter }, lead).matches).toBe(true);
      }
    },
  );

  test("a range of numbers holds no text, and one of dates no number", () => {
    expect(on("name", "range", { min: 0 })).toBe(false);
    expect(on("rooms", "range", { min: "1980-01-01" })).toBe(false);
  });
});

describe("all, any and not", () => {
  const conditions = fc.constantFrom<Filter>(
    { field: "postcode", op: "startsWith", value: "SW" },
    { field: "rooms", op: "range", value: { min: 5 } },
    { field: "owner", op: "equals", value: true },
    { field: "note", op: "exists" },
  );
  const { filters } = fc.letrec<{ filters: Filter }>((tie) => ({
    filters: fc.oneof(
      { maxDepth: 4 },
      conditions,
      fc.record({ all: fc.array(tie("filters"), { minLength: 1, maxLength: 3 }) }),
      fc.record({ any: fc.array(tie("filters"), { minLength: 1, maxLength: 3 }) }),
      fc.record({ not: tie("filters") }),
    ),
  }));

  function holdsByLogic(filter: Filter): boolean {
    if ("all" in filter) return filter.all.every(holdsByLogic);
    if ("any" in filter) return filter.any.some(holdsByLogic);
    if ("not" in filter) return !holdsByLogic(filter.not);
    return filter.field === "postcode" || filter.field === "owner";
  }

  test("any filter holds exactly when logic says so, and says what failed exactly when it does not", () => {
    fc.assert(
      fc.property(filters, (filter) => {
        const result = evaluateFilter(filter, lead);
        expect(result.matches).toBe(holdsByLogic(filter));
        expect(result.failed.length > 0).toBe(!result.matches);
        expect(evaluateFilter({ not: filter }, lead).matches).toBe(!result.matches);
      }),
    );
  });

  test("no filter lets every lead pass", () => {
    expect(evaluateFilter(null, lead)).toEqual({ matches: true, failed: [] });
  });
});

describe("what failed is told in plain words", () => {
  const failed = (filter: Filter) => evaluateFilter(filter, lead).failed;

  test("all conditions of a group that do not hold, and none that does", () => {
    const filter: Filter = {
      all: [
        { field: "postcode", op: "startsWith", value: ["N", "E"] },
        { field: "rooms", op: "equals", value: 3 },
        { field: "cover", op: "range", value: { max: 10_000 } },
        { field: "kind", op: "in", value: ["Flat", "Detached"] },
        { field: "note", op: "exists" },
      ],
    };
    expect(failed(filter)).toEqual([
      'postcode must start with "N" or "E"',
      "cover must be at most 10000",
      'kind must be "Flat" or "Detached"',
      "note must be given",
    ]);
  });

  test("alternatives are one reason", () => {
    const filter: Filter = {
      any: [
        { field: "postcode", op: "startsWith", value: "N" },
        {
          all: [
            { field: "rooms", op: "range", value: { min: 4, max: 6 } },
            { field: "owner", op: "equals", value: true },
          ],
        },
        { field: "name", op: "matches", value: "^A" },
      ],
    };
    expect(failed(filter)).toEqual([
      'postcode must start with "N", or rooms must be between 4 and 6, or name must match ^A',
    ]);
  });

  test("what must not hold is told as such", () => {
    expect(failed({ not: { field: "postcode", op: "startsWith", value: "SW" } })).toEqual([
      'postcode must not start with "SW"',
    ]);
    expect(failed({ not: { field: "name", op: "exists" } })).toEqual(["name must not be given"]);
    expect(failed({ field: "name", op: "exists", value: false })).toEqual(["name must not be given"]);
    expect(
      failed({
        not: {
          all: [
            { field: "owner", op: "equals", value: true },
            { field: "name", op: "contains", value: "z" },
          ],
        },
      }),
    ).toEqual(['owner must not be true, or name must not contain "z"']);
  });

  test("long lists are cut short", () => {
    const value = Array.from({ length: 100 }, (_, index) => `X${index}`);
    expect(failed({ field: "postcode", op: "startsWith", value })).toEqual([
      'postcode must start with "X0" or "X1" or "X2" or "X3" or "X4" or 95 more',
    ]);
  });

  test("the lead's own values are not repeated", () => {
    const filter: Filter = {
      all: [
        { field: "name", op: "equals", value: "Ann" },
        { field: "born", op: "range", value: { min: "2000-01-01" } },
      ],
    };
    expect(failed(filter).join()).not.toMatch(/Zoë|Brien|1980/);
  });
});

describe("a filter as the API takes it", () => {
  const problems = (filter: unknown) => {
    const result = filterSchema.safeParse(filter);
    return result.success ? [] : result.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  };
  const condition = { field: "postcode", op: "startsWith", value: "SW" };

  test("the filter in the API's example is taken as it is", () => {
    expect(filterSchema.parse({ all: [condition] })).toEqual({ all: [condition] });
  });

  test("each problem is told at its own place", () => {
    expect(
      problems({
        all: [condition, { not: { field: "a", op: "beginsWith", value: "x" } }, { field: "a", op: "in", value: [] }],
      }),
    ).toEqual([
      "all.1.not.op: must be one of equals, in, startsWith, range, contains, exists, matches",
      "all.2.value: must hold at least one value",
    ]);
    expect(problems({ any: [] })).toEqual(["any: must be a list of at least one condition"]);
    expect(problems({ any: "x" })).toEqual(["any: must be a list of at least one condition"]);
    expect(problems({ all: [condition], any: [condition] })).toEqual(["any: must not stand beside all"]);
    expect(problems([condition])).toHaveLength(1);
    expect(problems("x")).toEqual([": must be a condition, or all, any or not"]);
  });

  test("a range needs a limit, in order, of one kind", () => {
    const range = (value: unknown) => problems({ field: "a", op: "range", value });
    expect(range({})).toHaveLength(1);
    expect(range({ min: 2, max: 1 })).toEqual(["value: must not have min above max"]);
    expect(range({ min: "2026-12-26", max: "2026-12-25" })).toEqual(["value: must not have min above max"]);
    expect(range({ min: 1, max: "2026-12-25" })).toHaveLength(1);
    expect(range({ min: "2026-02-30" })).toHaveLength(1);
    expect(range({ min: 1, max: 1 })).toEqual([]);
  });

  test("a pattern must be one that RE2 knows, and not too large", () => {
    const pattern = (value: string) => problems({ field: "a", op: "matches", value });
    expect(pattern("^(SW|N)\\d")).toEqual([]);
    expect(pattern("(a")).toEqual([expect.stringMatching(/^value: is not a pattern of RE2: .*missing closing/)]);
    expect(pattern("(?=a)b")).toHaveLength(1);
    expect(pattern("(a)\\1")).toHaveLength(1);
    expect(pattern("(x{100}){10}")).toEqual(["value: is too large a pattern: repeat less"]);
  });

  test("depth and number of conditions are bounded, however deep it is", () => {
    let deep: unknown = condition;
    for (let level = 1; level < 10; level++) deep = { not: deep };
    expect(problems(deep)).toEqual([]);
    expect(problems({ not: deep })).toEqual([expect.stringMatching(/must not be nested deeper than 10 levels/)]);
    for (let level = 0; level < 100_000; level++) deep = { all: [deep] };
    expect(problems(deep)).toHaveLength(1);
    expect(problems({ any: Array.from({ length: 499 }, () => condition) })).toEqual([]);
    expect(problems({ any: Array.from({ length: 5_000 }, () => condition) })).toEqual([
      "any.499: must hold at most 500 conditions",
    ]);
  });
});

describe("a filter that can never hold is told when it is saved", () => {
  const fields = fieldsSchema.parse([
    { key: "postcode", type: "postcode" },
    { key: "cover", type: "money" },
    { key: "born", type: "date" },
    { key: "owner", type: "boolean" },
    { key: "kind", type: "choice", choices: ["Flat", "House"] },
  ]);
  const problems = (filter: Filter) =>
    filterProblems(filter, fields).map(({ field, message }) => `${field}: ${message}`);

  test("a field that the campaign does not have", () => {
    expect(
      problems({ all: [{ field: "postcode", op: "exists" }, { not: { field: "post_code", op: "exists" } }] }),
    ).toEqual(['all.1.not.field: The campaign has no field "post_code".']);
  });

  test("an operation that the field's type does not have", () => {
    expect(problems({ field: "cover", op: "startsWith", value: "1" })).toEqual([
      "op: cover is a field of type money, not a text.",
    ]);
    expect(problems({ field: "postcode", op: "range", value: { min: 1 } })).toEqual([
      "op: postcode is a field of type postcode: only numbers, money and dates have ranges.",
    ]);
  });

  test("a value that the field can never have", () => {
    expect(problems({ any: [{ field: "kind", op: "in", value: ["flat", "Castle"] }] })).toEqual([
      'any.0.value: kind is a field of type choice and can never be "Castle".',
    ]);
    expect(problems({ field: "cover", op: "equals", value: "12" })).toHaveLength(1);
    expect(problems({ field: "owner", op: "equals", value: "yes" })).toHaveLength(1);
    expect(problems({ field: "born", op: "equals", value: "1 May 2026" })).toHaveLength(1);
    expect(problems({ field: "born", op: "range", value: { min: 1 } })).toEqual([
      "value: born is a field of type date: the limits must be dates.",
    ]);
  });

  test("what fits has no problems", () => {
    expect(
      problems({
        all: [
          { field: "postcode", op: "matches", value: "^SW" },
          { field: "cover", op: "range", value: { min: 1 } },
          { field: "born", op: "range", value: { max: "2008-01-01" } },
          { field: "owner", op: "equals", value: true },
          { field: "kind", op: "equals", value: "FLAT" },
        ],
      }),
    ).toEqual([]);
  });
});
