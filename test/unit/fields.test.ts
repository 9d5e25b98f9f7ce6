import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { type Field, fieldsSchema } from "../../src/campaigns/fields.ts";
import { matchKeys, normaliseFields } from "../../src/campaigns/normalise-fields.ts";
import { exactNumber, problemCodes } from "../../src/campaigns/read-field.ts";

describe("a campaign's list of fields", () => {
  const problems = (fields: unknown) => {
    const result = fieldsSchema.safeParse(fields);
    return result.success ? [] : result.error.issues.map((issue) => `${issue.path.join(".")} ${issue.message}`);
  };

  test("the fields in the API's example are taken as they are", () => {
    const fields = [
      { key: "first_name", label: "First name", type: "text", required: true, group: "contact" },
      { key: "postcode", type: "postcode", country: "GB" },
      { key: "cover", type: "money" },
    ];
    expect(fieldsSchema.parse(fields)).toEqual(fields);
  });

  test("two fields cannot have the same key", () => {
    const text = { key: "name", type: "text" };
    expect(problems([text, { key: "cover", type: "money" }, text])).toEqual(["2.key is already the key of field 1"]);
  });

  test.each(["id", "received_at", "source", "contacts", "constructor", "prototype"])(
    "the key %s is reserved",
    (key) => {
      expect(problems([{ key, type: "text" }])).toEqual(["0.key is reserved: choose another key"]);
    },
  );

  test.each(["__proto__", "First", "1st", "a-b", "é", "", "a".repeat(64), "toString"])("%j cannot be a key", (key) => {
    expect(problems([{ key, type: "text" }])).toEqual([
      "0.key must be 1 to 63 lower-case letters, digits and underscores, and begin with a letter",
    ]);
  });

  test("an unknown type is told with the types there are", () => {
    expect(problems([{ key: "name", type: "string" }])).toEqual([
      "0.type must be one of text, email, phone, date, number, money, boolean, choice, postcode",
    ]);
  });

  test("an option of another type is refused", () => {
    expect(problems([{ key: "name", type: "text", choices: ["a"] }])).toEqual(['0 Unrecognized key: "choices"']);
  });

  test("choices must be there and differ in more than capital letters", () => {
    expect(problems([{ key: "a", type: "choice" }])).toHaveLength(1);
    expect(problems([{ key: "a", type: "choice", choices: [] }])).toEqual(["0.choices must hold at least one choice"]);
    expect(problems([{ key: "a", type: "choice", choices: ["Flat", "FLAT"] }])).toEqual([
      "0.choices must differ from each other in more than capital letters",
    ]);
  });

  test("a minimum above the maximum is refused", () => {
    expect(problems([{ key: "a", type: "money", min: 2, max: 1 }])).toEqual(["0.min must not be above max"]);
  });

  test("a country must be one that has telephone numbers", () => {
    expect(problems([{ key: "a", type: "phone", country: "gb" }])).toHaveLength(1);
    expect(problems([{ key: "a", type: "phone", country: "ZZ" }])).toEqual([
      "0.country has no telephone numbers that we know of",
    ]);
  });
});

/** What one field makes of what was given: the value, or the code of the problem in capitals. */
function read(field: Omit<Field, "key"> & Record<string, unknown>, given: unknown) {
  const fields = fieldsSchema.parse([{ key: "field", ...field }]);
  const result = normaliseFields(fields, { field: given });
  return result.ok ? result.values.field : result.problems.map((problem) => problem.code.toUpperCase()).join();
}

describe("text", () => {
  test("is trimmed and keeps its lines, quotes, marks and emoji", () => {
    expect(read({ type: "text" }, '  O\'Brien "Zoë" <b> & 🏠\r\n2nd line\tx \n')).toBe(
      'O\'Brien "Zoë" <b> & 🏠\n2nd line\tx',
    );
  });

  test("loses control characters, and halves of characters become a replacement character", () => {
    expect(read({ type: "text" }, "a\u0000b\u0007c\u001b[31m\u0085d\ud83d")).toBe("abc[31md\ufffd");
  });

  test("is composed, so that Zoë is Zoë", () => {
    expect(read({ type: "text" }, "Zoe\u0308")).toBe("Zo\u00eb");
  });

  test("is measured in characters, not in the halves of an emoji", () => {
    expect(read({ type: "text", maxLength: 3 }, "🏠🏠🏠")).toBe("🏠🏠🏠");
    expect(read({ type: "text", maxLength: 3 }, "🏠🏠🏠🏠")).toBe("TOO_LONG");
    expect(read({ type: "text", maxLength: 3 }, "abcdefg")).toBe("TOO_LONG");
  });

  test("takes a number as its digits, and nothing else", () => {
    expect(read({ type: "text" }, 12)).toBe("12");
    expect(read({ type: "text" }, true)).toBe("WRONG_TYPE");
    expect(read({ type: "text" }, ["a"])).toBe("WRONG_TYPE");
    expect(read({ type: "text" }, { a: 1 })).toBe("WRONG_TYPE");
  });
});

describe("email", () => {
  test.each([
    ["Ann.O'Brien+x@EXAMPLE.com", "Ann.O'Brien+x@example.com"],
    ["zoë@example.com", "zoë@example.com"],
    ["ann@bücher.example", "ann@xn--bcher-kva.example"],
    ["a@b.co", "a@b.co"],
    ["  ann@mail.example.co.uk ", "ann@mail.example.co.uk"],
  ])("%s is taken with its domain in lower case", (given, value) => {
    expect(read({ type: "email" }, given)).toBe(value);
  });

  test.each([
    "ann",
    "ann@",
    "@example.com",
    "ann@example",
    "ann@@example.com",
    "ann example@example.com",
    "ann@exam ple.com",
    ".ann@example.com",
    "ann.@example.com",
    "a..b@example.com",
    "ann@-example.com",
    "ann@example-.com",
    "ann@example..com",
    "ann@example.com.",
    "ann@192.0.2.1",
    "ann@[192.0.2.1]",
    '"ann x"@example.com',
    "Ann <ann@example.com>",
    "ann@example.com, bob@example.com",
    "ann@example.com\nBcc: bob@example.com",
    `${"a".repeat(65)}@example.com`,
    `ann@${"a.".repeat(130)}com`,
    12,
  ])("%j is refused", (given) => {
    expect(read({ type: "email" }, given)).toBe("INVALID_EMAIL");
  });
});

describe("phone", () => {
  test.each([
    ["020 7946 0123", "GB", "+442079460123"],
    ["(020) 7946-0123", "GB", "+442079460123"],
    ["07700 900123", "GB", "+447700900123"],
    ["+44 (0)20 7946 0123", "GB", "+442079460123"],
    ["0044 20 7946 0123", undefined, "+442079460123"],
    ["+1 (212) 555-0187", "GB", "+12125550187"],
    ["212-555-0187", "US", "+12125550187"],
    ["01 99 00 12 34", "FR", "+33199001234"],
    ["030 23125 123", "DE", "+493023125123"],
    ["020 910 1234", "IE", "+353209101234"],
    ["0491 570 006", "AU", "+61491570006"],
    [447700900123, "GB", "+447700900123"],
    ["020 7946 0123 ext. 5", "GB", "+442079460123"],
  ])("%s in %s is %s", (given, country, value) => {
    expect(read({ type: "phone", ...(country && { country }) }, given)).toBe(value);
  });

  test.each([
    "12345",
    "call 020 7946 0123",
    "020 7946 0123 or 07700 900123",
    "unknown",
    "0000000000",
    "020 7946 0123 0123 0123",
    "+999 123456",
    "9".repeat(500),
  ])("%s is refused", (given) => {
    expect(read({ type: "phone", country: "GB" }, given)).toBe("INVALID_PHONE");
  });

  test("a national number needs a country", () => {
    expect(read({ type: "phone" }, "020 7946 0123")).toBe("INVALID_PHONE");
  });
});

describe("date", () => {
  test.each([
    ["2026-12-25", undefined],
    ["2026-12-25T23:59:59.999Z", undefined],
    ["2026-12-25 08:00", undefined],
    ["2026/12/25", undefined],
    ["20261225", undefined],
    [20261225, undefined],
    ["25 December 2026", undefined],
    ["25th Dec 2026", undefined],
    ["25-Dec-2026", undefined],
    ["Dec. 25, 2026", undefined],
    ["december 25 2026", undefined],
    ["25/12/2026", undefined],
    ["12/25/2026", undefined],
    ["25.12.2026", undefined],
    ["25/12/2026", "dmy"],
    ["12/25/2026", "mdy"],
    ["2026-12-25", "dmy"],
  ])("%s (%s) is 2026-12-25", (given, format) => {
    expect(read({ type: "date", ...(format && { format }) }, given)).toBe("2026-12-25");
  });

  test("a date that can be read in two ways is refused unless the field says which", () => {
    expect(read({ type: "date" }, "03/04/2026")).toBe("INVALID_DATE");
    expect(read({ type: "date", format: "dmy" }, "03/04/2026")).toBe("2026-04-03");
    expect(read({ type: "date", format: "mdy" }, "03/04/2026")).toBe("2026-03-04");
    expect(read({ type: "date", format: "ymd" }, "03/04/2026")).toBe("INVALID_DATE");
    expect(read({ type: "date" }, "04/04/2026")).toBe("2026-04-04");
  });

  test("both readings of an ambiguous date are shown", () => {
    const result = normaliseFields([{ key: "born", type: "date" }], { born: "03/04/2026" });
    expect(result).toMatchObject({
      problems: [{ message: "could be 2026-04-03 or 2026-03-04: write it as YYYY-MM-DD", given: "03/04/2026" }],
    });
  });

  test.each([
    ["2026-02-29", undefined],
    ["2026-13-01", undefined],
    ["31 April 2026", undefined],
    ["0001-01-01", undefined],
    ["25/12/26", undefined],
    ["12/25/2026", "dmy"],
    ["25/12-2026", undefined],
    ["yesterday", undefined],
    ["1767225600", undefined],
    ["2026-12-25 to 2026-12-31", undefined],
  ])("%s (%s) is refused", (given, format) => {
    expect(read({ type: "date", ...(format && { format }) }, given)).toBe("INVALID_DATE");
  });

  test("every date that exists is read back from each way of writing it", () => {
    const dates = fc.date({ min: new Date("1800-01-01"), max: new Date("2200-12-31"), noInvalidDate: true });
    fc.assert(
      fc.property(dates, (date) => {
        const iso = date.toISOString().slice(0, 10);
        const [year, month, day] = iso.split("-");
        const name = date.toLocaleString("en-GB", { month: "long", timeZone: "UTC" });
        expect(read({ type: "date" }, iso)).toBe(iso);
        expect(read({ type: "date" }, `${Number(day)} ${name} ${year}`)).toBe(iso);
        expect(read({ type: "date", format: "dmy" }, `${day}.${month}.${year}`)).toBe(iso);
        expect(read({ type: "date", format: "mdy" }, `${month}/${day}/${year}`)).toBe(iso);
      }),
    );
  });
});

describe("number", () => {
  test.each([
    ["1234.5", 1234.5],
    ["1,234.5", 1234.5],
    ["-3", -3],
    ["+3", 3],
    [".5", 0.5],
    ["007", 7],
    ["-0", 0],
    [51.50735091234567, 51.50735091234567],
    ["51.50735091234567", 51.50735091234567],
    ["9007199254740991", 9007199254740991],
    ["1.50000000000000000000", 1.5],
  ])("%s is %s", (given, value) => {
    expect(read({ type: "number" }, given)).toBe(value);
  });

  test.each([
    ["9007199254740993", "OUT_OF_RANGE"],
    ["-9007199254740992", "OUT_OF_RANGE"],
    [2 ** 53, "OUT_OF_RANGE"],
    [Number.POSITIVE_INFINITY, "OUT_OF_RANGE"],
    [Number.NaN, "OUT_OF_RANGE"],
    ["0.12345678901234567890123", "TOO_MANY_DECIMALS"],
    ["1e5", "INVALID_NUMBER"],
    ["0x10", "INVALID_NUMBER"],
    ["1.234,5", "INVALID_NUMBER"],
    ["1,5", "INVALID_NUMBER"],
    ["1,23,456", "INVALID_NUMBER"],
    ["five", "INVALID_NUMBER"],
    [".", "INVALID_NUMBER"],
    ["1 000", "INVALID_NUMBER"],
    ["٣", "INVALID_NUMBER"],
    ["1".repeat(2_000), "INVALID_NUMBER"],
    [true, "WRONG_TYPE"],
  ])("%s is refused: %s", (given, code) => {
    expect(read({ type: "number" }, given)).toBe(code);
  });

  test("stays within the field's limits, which are allowed themselves", () => {
    const field = { type: "number", min: 1, max: 10 } as const;
    expect([0.5, 1, 10, 10.5].map((given) => read(field, given))).toEqual(["OUT_OF_RANGE", 1, 10, "OUT_OF_RANGE"]);
  });

  test("is never rounded: what is taken has the digits that were given", () => {
    fc.assert(
      fc.property(fc.bigInt(-(10n ** 20n), 10n ** 20n), fc.nat(12), (digits, decimals) => {
        const sign = digits < 0n ? "-" : "";
        const all = String(digits < 0n ? -digits : digits).padStart(decimals + 1, "0");
        const literal = `${sign}${all.slice(0, all.length - decimals)}.${all.slice(all.length - decimals)}0`;
        const value = exactNumber(literal);
        if (value === null) return;
        // Within a millionth of a last digit, compared as integers: 10^20 times the value.
        const [whole = "", fraction = ""] = value.toFixed(20).split(".");
        const scaled = BigInt(whole + fraction) - digits * 10n ** BigInt(20 - decimals);
        expect(scaled * scaled * 10n ** 12n <= digits * digits * 10n ** BigInt(40 - 2 * decimals)).toBe(true);
        expect(literal.replace(/^-/, "").replace(/^0+|\.?0+$/g, "").length).toBeLessThanOrEqual(18);
      }),
    );
  });
});

describe("money", () => {
  test.each([
    ["1,234.50", 123450],
    ["1234.5", 123450],
    [1234.5, 123450],
    [19.99, 1999],
    ["0.07", 7],
    ["-5", -500],
    ["£250,000", 25000000],
    ["250000.00 GBP", 25000000],
    ["gbp 12", 1200],
    ["90071992547409.91", 9007199254740991],
  ])("%s is %s minor units", (given, value) => {
    expect(read({ type: "money", currency: "GBP" }, given)).toBe(value);
  });

  test.each([
    ["1.005", "TOO_MANY_DECIMALS"],
    ["1.500", "TOO_MANY_DECIMALS"],
    [0.1 + 0.2, "TOO_MANY_DECIMALS"],
    [1e-7, "TOO_MANY_DECIMALS"],
    ["90071992547409.92", "OUT_OF_RANGE"],
    [1e21, "OUT_OF_RANGE"],
    ["1".repeat(400), "OUT_OF_RANGE"],
    ["€100", "INVALID_NUMBER"],
    ["100 USD", "INVALID_NUMBER"],
    ["£", "INVALID_NUMBER"],
    ["1.234,50", "INVALID_NUMBER"],
    ["12k", "INVALID_NUMBER"],
    [Number.NaN, "INVALID_NUMBER"],
    [false, "WRONG_TYPE"],
  ])("%s is refused: %s", (given, code) => {
    expect(read({ type: "money", currency: "GBP" }, given)).toBe(code);
  });

  test("a sign is taken only where the field has a currency", () => {
    expect(read({ type: "money" }, "£100")).toBe("INVALID_NUMBER");
    expect(read({ type: "money" }, "100")).toBe(10000);
  });

  test("a currency without decimals, and one with three", () => {
    expect(read({ type: "money", currency: "JPY", decimals: 0 }, "1,500")).toBe(1500);
    expect(read({ type: "money", currency: "JPY", decimals: 0 }, "1500.0")).toBe("TOO_MANY_DECIMALS");
    expect(read({ type: "money", currency: "KWD", decimals: 3 }, "1.5")).toBe(1500);
  });

  test("limits are in minor units", () => {
    const field = { type: "money", min: 100, max: 10_000 } as const;
    expect(["0.99", "1", "100", "100.01"].map((given) => read(field, given))).toEqual([
      "OUT_OF_RANGE",
      100,
      10_000,
      "OUT_OF_RANGE",
    ]);
  });

  test("every amount with two decimals is exact to the last unit", () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (minor) => {
        const digits = String(Math.abs(minor)).padStart(3, "0");
        const amount = `${minor < 0 ? "-" : ""}${digits.slice(0, -2)}.${digits.slice(-2)}`;
        expect(read({ type: "money" }, amount)).toBe(minor);
        const grouped = amount.replace(/\B(?=(\d{3})+\.)/g, ",");
        expect(read({ type: "money" }, grouped)).toBe(minor);
      }),
    );
  });
});

describe("boolean, choice and postcode", () => {
  test.each([
    [true, true],
    ["Yes", true],
    ["on", true],
    [1, true],
    ["y", true],
    ["FALSE", false],
    ["no", false],
    ["0", false],
    [0, false],
    ["off", false],
    ["maybe", "INVALID_BOOLEAN"],
    [2, "INVALID_BOOLEAN"],
  ])("the boolean %j is %j", (given, value) => {
    expect(read({ type: "boolean" }, given)).toBe(value);
  });

  test("a choice is spelt as the campaign spells it", () => {
    const field = { type: "choice", choices: ["Detached", "Semi-detached", "Café"] } as const;
    expect(read(field, " semi-DETACHED ")).toBe("Semi-detached");
    expect(read(field, "CAFE\u0301")).toBe("Café");
    expect(read(field, "Flat")).toBe("NOT_A_CHOICE");
  });

  test.each([
    ["sw1a1aa", "SW1A 1AA"],
    [" N1  9GU ", "N1 9GU"],
    ["m60 1nw", "M60 1NW"],
    ["W1A 0AX", "W1A 0AX"],
    ["EC1A 1BB", "EC1A 1BB"],
    ["CR2 6XH", "CR2 6XH"],
    ["DN55 1PT", "DN55 1PT"],
    ["GIR 0AA", "GIR 0AA"],
    ["SW1A", "INVALID_POSTCODE"],
    ["Q1 1AA", "INVALID_POSTCODE"],
    ["SW1A 1CC", "INVALID_POSTCODE"],
    ["90210", "INVALID_POSTCODE"],
  ])("the postcode %s of Great Britain is %s", (given, value) => {
    expect(read({ type: "postcode", country: "GB" }, given)).toBe(value);
  });

  test.each([
    ["90210", "90210"],
    [90210, "90210"],
    ["902101234", "90210-1234"],
    ["90210-1234", "90210-1234"],
    ["2134", "INVALID_POSTCODE"],
  ])("the postcode %s of the United States is %s", (given, value) => {
    expect(read({ type: "postcode", country: "US" }, given)).toBe(value);
  });

  test.each([
    ["d02 af30", "D02 AF30"],
    ["1012  ab", "1012 AB"],
    ["<b>", "INVALID_POSTCODE"],
    ["1".repeat(17), "INVALID_POSTCODE"],
  ])("a postcode %s of anywhere is %s", (given, value) => {
    expect(read({ type: "postcode" }, given)).toBe(value);
  });
});

describe("a whole lead", () => {
  const fields = fieldsSchema.parse([
    { key: "first_name", type: "text", required: true },
    { key: "email", type: "email", required: true },
    { key: "phone", type: "phone", country: "GB" },
    { key: "postcode", type: "postcode" },
    { key: "cover", type: "money" },
  ]);

  test("absent, null, empty and blank optional fields are null", () => {
    const result = normaliseFields(fields, {
      first_name: "Ann",
      email: "a@b.test",
      phone: null,
      postcode: "",
      cover: " ",
    });
    expect(result).toEqual({
      ok: true,
      values: { first_name: "Ann", email: "a@b.test", phone: null, postcode: null, cover: null },
      extra: {},
    });
  });

  test("all problems are told at once, with the good values beside them", () => {
    const result = normaliseFields(fields, {
      first_name: "  ",
      email: "nobody",
      phone: "12",
      cover: "12.00",
      note: "x",
    });
    expect(result.ok).toBe(false);
    if (result.ok) return;
    expect(result.problems.map(({ field, code, given }) => [field, code, given])).toEqual([
      ["first_name", "required", "  "],
      ["email", "invalid_email", "nobody"],
      ["phone", "invalid_phone", "12"],
    ]);
    expect(result.values).toEqual({ first_name: null, email: null, phone: null, postcode: null, cover: 1200 });
    expect(result.extra).toEqual({ note: "x" });
  });

  test("what was given is cut to a hundred characters in a problem", () => {
    const result = normaliseFields(fields, { first_name: "Ann", email: "🏠".repeat(300), phone: ["a"], cover: {} });
    expect(result).toMatchObject({
      problems: [{ given: "🏠".repeat(100) }, { given: "a list" }, { given: "an object" }],
    });
  });

  test("keys match exactly: another spelling is an unknown field, kept aside", () => {
    const result = normaliseFields(fields, {
      first_name: "Ann",
      email: "a@b.test",
      Phone: "020 7946 0123",
      "post code": "N1",
    });
    expect(result.values.phone).toBeNull();
    expect(result.extra).toEqual({ Phone: "020 7946 0123", "post code": "N1" });
  });

  test("unknown fields keep their shape, without the characters that cannot be stored", () => {
    const result = normaliseFields(fields, { "a\u0000": ["x\u0000", { b: null, c: [1, true] }] });
    expect(result.extra).toEqual({ a: ["x", { b: null, c: [1, true] }] });
  });

  test("unknown fields are refused, not dropped, when they are too large or too deep", () => {
    const deep = JSON.parse(`${"[".repeat(11)}${"]".repeat(11)}`);
    const given = { first_name: "Ann", email: "a@b.test", small: "x", large: "x".repeat(70_000), deep };
    const result = normaliseFields(fields, given);
    expect(result.extra).toEqual({ small: "x" });
    expect(result.ok ? [] : result.problems.map(({ field, code }) => [field, code])).toEqual([
      ["large", "extra_too_large"],
      ["deep", "extra_too_deep"],
    ]);
  });

  test("names that JavaScript gives a meaning mean nothing in a lead", () => {
    const raw = JSON.parse('{"__proto__":{"polluted":true},"constructor":"c","toString":"t","hasOwnProperty":1}');
    const result = normaliseFields(fields, raw);
    expect(Object.keys(result.extra)).toEqual(["__proto__", "constructor", "toString", "hasOwnProperty"]);
    expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
    // A field that is called like an inherited property is absent unless it was sent.
    const inherited = normaliseFields(
      [
        { key: "valueof", type: "text" },
        { key: "watch", type: "text" },
      ],
      Object.create({ watch: "x" }),
    );
    expect(inherited.values).toEqual({ valueof: null, watch: null });
  });

  test("whatever is sent, nothing is thrown, and every problem has a code of the list", () => {
    const schema = fieldsSchema.parse([
      ...fields,
      { key: "born", type: "date" },
      { key: "rooms", type: "number", min: 1 },
      { key: "owner", type: "boolean" },
      { key: "kind", type: "choice", choices: ["House", "Flat"] },
      { key: "zip", type: "postcode", country: "US" },
    ]);
    const keys = schema.map((field) => field.key);
    const raw = fc.dictionary(
      fc.oneof(fc.constantFrom(...keys), fc.string()),
      fc.oneof(fc.string({ unit: "binary" }), fc.jsonValue(), fc.double()),
    );
    fc.assert(
      fc.property(raw, (given) => {
        const result = normaliseFields(schema, given);
        expect(Object.keys(result.values).sort()).toEqual([...keys].sort());
        for (const problem of result.ok ? [] : result.problems) expect(problemCodes).toContain(problem.code);
        const stored = JSON.stringify(result);
        expect(stored).not.toMatch(/\\u0000|\\ud[89a-f]/);
      }),
    );
  });

  test("a regular lead stays as it is when it is read again", () => {
    const first = normaliseFields(fields, {
      first_name: " Zoë ",
      email: "Z@EXAMPLE.com",
      phone: "020 7946 0123",
      postcode: "n1 9gu",
    });
    expect(normaliseFields(fields, first.values)).toEqual(first);
  });
});

describe("what makes a lead a duplicate of another", () => {
  const fields = fieldsSchema.parse([
    { key: "name", type: "text" },
    { key: "email", type: "email" },
    { key: "phone", type: "phone", country: "GB" },
    { key: "postcode", type: "postcode" },
  ]);
  const keysOf = (raw: Record<string, unknown>, match: string[]) =>
    matchKeys(fields, normaliseFields(fields, raw).values, match);

  test("the same person in two spellings has the same keys", () => {
    const match = ["name", "email", "phone", "postcode"];
    const one = keysOf(
      { name: "Zoë  O'Brien", email: "Zoe@Example.com", phone: "020 7946 0123", postcode: "n19gu" },
      match,
    );
    const two = keysOf(
      { name: "ZOE\u0308 o'brien", email: "zoe@example.COM", phone: "+44 20 7946 0123", postcode: "N1 9GU" },
      match,
    );
    expect(one).toEqual(two);
    expect(Object.keys(one)).toEqual(match);
  });

  test("absent fields, and fields that are not matched, give no key", () => {
    expect(keysOf({ name: "Ann", email: "" }, ["email", "phone"])).toEqual({});
  });
});
