import { describe, expect, test } from "@jest/globals";
import { findWrong, type SeenRun } from "../../bench/judge-run.ts";
import { mixes, pathOf, smallLimit } from "../../bench/mixes.ts";
import { readOptions } from "../../bench/options.ts";

const isNone = { delivered: new Set<number>(), waiting: new Set<number>() };

/** Three leads, 10 to 12, that came to the partner and are called delivered. */
const fine: SeenRun = {
  mix: mixes.json1,
  partnersPath: "/bench_1",
  hasRules: true,
  from: 10,
  count: 3,
  refused: 0,
  firstRefusal: null,
  arrivals: [1, 2, 3],
  hung: new Set(),
  repeated: [],
  requestsByPath: new Map([["/bench_1/json1/partner/0", 3]]),
  outcomes: { ...isNone, delivered: new Set([10, 11, 12]) },
};

describe("the bench finds what must not be", () => {
  test("nothing, where every lead came once and is called delivered", () => {
    expect(findWrong(fine)).toEqual([]);
  });

  test("a lead that was answered and is nowhere is lost", () => {
    const wrong = findWrong({
      ...fine,
      arrivals: [1, Number.NaN, 3],
      outcomes: { ...isNone, delivered: new Set([10, 12]) },
    });
    expect(wrong).toEqual(["1 of 3 leads are lost: neither delivered nor on their way"]);
  });

  test("a lead that is called delivered and never came", () => {
    expect(findWrong({ ...fine, arrivals: [1, Number.NaN, 3] })).toEqual([
      "1 leads are called delivered and never came",
    ]);
  });

  test("a lead that came and is not called delivered, even while it is on its way", () => {
    const outcomes = { delivered: new Set([10, 11]), waiting: new Set([12]) };
    expect(findWrong({ ...fine, outcomes })).toEqual(["1 leads came and are not called delivered"]);
  });

  test("a lead that came to a partner that hangs is not lost while it waits there, and delivered it is not", () => {
    const hanging = { ...fine, mix: mixes.hang20, hung: new Set([11]) };
    const waiting = { delivered: new Set([10, 12]), waiting: new Set([11]) };
    expect(findWrong({ ...hanging, outcomes: waiting })).toEqual([]);
    expect(findWrong(hanging)).toEqual(["1 leads are called delivered and never came"]);
    expect(findWrong({ ...hanging, outcomes: { ...waiting, waiting: new Set() } })).toEqual([
      "1 of 3 leads are lost: neither delivered nor on their way",
    ]);
  });

  test("a lead that came twice", () => {
    expect(findWrong({ ...fine, repeated: [11] })).toEqual(["1 requests came for a lead that a partner had"]);
  });

  test("leads that were refused, which are not lost as well", () => {
    const wrong = findWrong({
      ...{ ...fine, refused: 1, firstRefusal: "HTTP/1.1 500", arrivals: [1, 2, Number.NaN] },
      outcomes: { ...isNone, delivered: new Set([10, 11]) },
    });
    expect(wrong).toEqual(["1 of 3 leads were refused; the first: HTTP/1.1 500"]);
  });

  test("a partner that is closed, or over its limit by one, unless the system knows no rules", () => {
    const [closed, full, roomy] = [3, 4, 5].map((place) => `/bench_1${pathOf(mixes.json50, place)}`);
    const requestsByPath = new Map([
      [closed ?? "", 1],
      [full ?? "", smallLimit + 1],
      [roomy ?? "", 1_000],
    ]);
    const run = { ...fine, mix: mixes.json50, requestsByPath };
    expect(findWrong(run)).toEqual([
      "partner 3 is closed and got 1 leads",
      `partner 4 may get ${smallLimit} leads a day and got ${smallLimit + 1}`,
    ]);
    expect(findWrong({ ...run, hasRules: false })).toEqual([]);
  });
});

describe("words after `npm run bench --`", () => {
  test("none: every mix on every backend; the long parts only in full or by name", () => {
    const all = ["json1", "json50", "soap10", "hang20"];
    expect(readOptions([])).toMatchObject({ options: { backends: ["postgres", "redis"], parts: all, full: false } });
    expect(readOptions(["--full"])).toMatchObject({ options: { parts: [...all, "stored", "memory"], full: true } });
    expect(readOptions(["--only", "memory,json1"])).toMatchObject({ options: { parts: ["json1", "memory"] } });
    expect(readOptions(["--only", "memory", "--backend", "redis"])).toMatchObject({
      options: { backends: ["redis"], parts: ["memory"], full: false },
    });
  });

  test.each([
    [["--ful"], "--ful"],
    [["json1"], "json1"],
    [["--only", "json2"], "json2"],
    [["--only"], "--only"],
    [["--backend", "mysql"], "mysql"],
  ])("%j is refused, and what was not understood is named", (words, named) => {
    const read = readOptions(words);
    expect(read.kind).toBe("misused");
    expect("problem" in read ? read.problem : "").toContain(named);
  });
});
