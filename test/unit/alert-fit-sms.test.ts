import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { fitSms } from "../../src/alerts/fit-sms.ts";

describe("An SMS is counted in segments", () => {
  test.each([
    ["GSM-7 text, a full segment", "a".repeat(160), 1],
    ["GSM-7 text, one character more", "a".repeat(161), 2],
    ["GSM-7 text, two full segments", "a".repeat(306), 2],
    ["letters that GSM-7 has", "José è é ñ Ø ü".padEnd(160, "ä"), 1],
    ["characters that take two places in GSM-7", "€".repeat(80), 1],
    ["one of these more", "€".repeat(81), 2],
    ["another alphabet, a full segment", "ł".repeat(70), 1],
    ["another alphabet, one character more", "ł".repeat(71), 2],
    ["one foreign letter makes the whole text UCS-2", `${"a".repeat(70)}ł`, 2],
    ["an emoji takes two places of UCS-2", "😀".repeat(35), 1],
    ["one emoji more", "😀".repeat(36), 2],
    ["no text", "", 1],
  ])("%s", (_, text, segments) => {
    expect(fitSms(text).segments).toBe(segments);
  });
});

describe("Text is made fit for an SMS", () => {
  test("typographic characters become plain ones, so that the text stays GSM-7", () => {
    const typographic = `José O’Brien – “Smith & Sons”…\u00a0${"a".repeat(120)}`;
    expect(fitSms(typographic)).toEqual({ body: `José O'Brien - "Smith & Sons"... ${"a".repeat(120)}`, segments: 1 });
  });

  test("an accent apart from its letter is joined to it", () => {
    expect(fitSms("Jose\u0301")).toEqual({ body: "José", segments: 1 });
  });

  test("letters of other alphabets and emoji stay", () => {
    expect(fitSms("Łukasz Żółć 👩‍👩‍👧‍👦").body).toBe("Łukasz Żółć 👩‍👩‍👧‍👦");
  });

  test("half a surrogate pair is replaced", () => {
    expect(fitSms("a\ud83db").body).toBe("a\ufffdb");
  });

  test("longer text is cut to four segments and says so", () => {
    expect(fitSms("a".repeat(5000))).toEqual({ body: `${"a".repeat(609)}...`, segments: 4 });
    expect(fitSms("ł".repeat(5000))).toEqual({ body: `${"ł".repeat(265)}...`, segments: 4 });
  });

  test("a character of several code points is never cut in two", () => {
    const { body, segments } = fitSms("👩‍👩‍👧‍👦".repeat(100));
    expect(body).toMatch(/^(👩‍👩‍👧‍👦)+\.\.\.$/u);
    expect(segments).toBe(4);
  });

  test("any text gives at most four segments, and what is counted is what is sent", () => {
    const text = fc.string({ unit: "binary", maxLength: 900 });
    fc.assert(
      fc.property(text, (given) => {
        const { body, segments } = fitSms(given);
        expect(segments).toBeLessThanOrEqual(4);
        expect(body).toBe(body.normalize("NFC").replace(/\p{Surrogate}/gu, "?"));
        expect(fitSms(body)).toEqual({ body, segments });
      }),
      { numRuns: 60 },
    );
  });

  test("a text of a megabyte takes no time", () => {
    const startedMs = performance.now();
    fitSms("a😀".repeat(300_000));
    expect(performance.now() - startedMs).toBeLessThan(1_000);
  });
});
