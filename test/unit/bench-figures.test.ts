import { describe, expect, test } from "@jest/globals";
import { XMLValidator } from "fast-xml-parser";
import { FrameReader } from "../../bench/http-frames.ts";
import { leadBody } from "../../bench/lead.ts";
import { distributionOf, percentile, spreadOf } from "../../bench/percentiles.ts";
import { drawBars, drawLines, niceCeiling } from "../../bench/plot.ts";

describe("percentiles", () => {
  test("a percentile is a value that was measured, the smallest that covers its share", () => {
    const sorted = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    expect([0, 0.1, 0.5, 0.51, 0.99, 1].map((share) => percentile(sorted, share))).toEqual([1, 1, 5, 6, 10, 10]);
  });

  test("nothing measured has no percentile", () => {
    expect(percentile([], 0.5)).toBeNaN();
    expect(spreadOf([]).count).toBe(0);
    expect(distributionOf([])).toEqual([]);
  });

  test("values come in any order, and what never came does not count", () => {
    expect(spreadOf([30, Number.NaN, 10, 20])).toEqual({ count: 3, p50: 20, p95: 30, p99: 30, max: 30 });
  });

  test("numbers are ordered as numbers, not as text", () => {
    expect(spreadOf([9, 100, 20]).max).toBe(100);
  });
});

describe("plots", () => {
  const bars = drawBars({
    title: "Leads & partners <1>",
    unit: "leads/s",
    groups: [{ name: "postgres", values: { bare: 250, Handoff: 500 } }],
  });

  test("a plot is well-formed XML whatever its words are", () => {
    expect(XMLValidator.validate(bars)).toBe(true);
    expect(bars).toContain("Leads &amp; partners &lt;1&gt;");
    const lines = drawLines({
      shareOf: "leads",
      title: "a<b",
      unit: "ms",
      series: [
        {
          name: "x",
          points: [
            [0, 0],
            [1, 500],
          ],
        },
      ],
    });
    expect(XMLValidator.validate(lines)).toBe(true);
    expect(lines).not.toMatch(/NaN|Infinity/);
  });

  test("a bar of twice the value is twice as high", () => {
    const heights = [...bars.matchAll(/height="([\d.]+)" fill="#(?!fff)/g)].map((match) => Number(match[1]));
    const [bare = 0, handoff = 0] = heights.filter((height) => height !== 12);
    expect(handoff).toBeCloseTo(2 * bare);
  });

  test("a plot of nothing is still a plot", () => {
    expect(XMLValidator.validate(drawBars({ title: "t", unit: "u", groups: [] }))).toBe(true);
    expect(drawLines({ title: "t", unit: "u", shareOf: "leads", series: [] })).not.toMatch(/NaN|Infinity/);
  });

  test("an axis ends at a round number that holds the highest value", () => {
    expect([0, 0.7, 3, 23, 251, 1000].map(niceCeiling)).toEqual([1, 1, 5, 25, 500, 1000]);
  });
});

describe("HTTP messages", () => {
  test("messages are found however the bytes were cut", () => {
    const bytes = Buffer.from("POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nhost: x\r\n\r\n");
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const reader = new FrameReader();
      const frames = [...reader.push(bytes.subarray(0, cut)), ...reader.push(bytes.subarray(cut))];
      const seen = frames.map(({ firstLine, body }) => [firstLine, body.toString()]);
      expect(seen).toEqual([
        ["POST /a HTTP/1.1", "abc"],
        ["GET /b HTTP/1.1", ""],
      ]);
    }
  });
});

test("each lead is unlike every other, and its length in characters is its length in bytes", () => {
  expect(leadBody(1)).not.toBe(leadBody(1001));
  expect(Buffer.byteLength(leadBody(7))).toBe(leadBody(7).length);
  expect(JSON.parse(leadBody(7))).toMatchObject({ n: "7", phone: "+447700900007" });
});
