import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { maxIntakeBytes, parseIntakeBody } from "../../src/leads/parse-intake-body.ts";

const json = (body: string | Buffer, type = "application/json") => parseIntakeBody(type, Buffer.from(body));
const form = (body: string, type = "application/x-www-form-urlencoded") =>
  parseIntakeBody(type, Buffer.from(body, "latin1"));
const xml = (body: string | Buffer, type = "application/xml") => parseIntakeBody(type, Buffer.from(body));

const taken = (raw: Record<string, unknown>) => ({ ok: true, raw });
const refused = (status: number, code: string) => expect.objectContaining({ ok: false, status, code });

describe("JSON", () => {
  test("one object is taken as it is, with additional contacts", () => {
    const lead = { name: 'Zoë "O\'Brien" 🏠\n', cover: 1234.5, owner: true, note: null, contacts: [{ name: "B" }, {}] };
    expect(json(JSON.stringify(lead, null, 2))).toEqual(taken(lead));
    expect(json(JSON.stringify(lead), "application/vnd.lead+json; charset=UTF-8")).toEqual(taken(lead));
  });

  test("any object reads as JSON.parse reads it, but for numbers that JSON.parse rounds", () => {
    const key = fc.string({ maxLength: 5 }).filter((text) => /^[\x20-\x7e]*$/.test(text));
    const value = fc.jsonValue({
      maxDepth: 4,
      stringUnit: fc.constantFrom("a", '"', "\\", "\n", "é", "😀", "{", ",", "]"),
    });
    fc.assert(
      fc.property(fc.dictionary(key, value), fc.constantFrom(0, 2), (lead, indent) => {
        const text = JSON.stringify(lead, null, indent);
        const result = json(text);
        expect(result.ok && JSON.stringify(result.raw)).toBe(JSON.stringify(JSON.parse(text, largeAsText)));
      }),
    );
  });

  test.each([
    ["9007199254740993", "9007199254740993"],
    ["9007199254740991", 9007199254740991],
    ["-12345678901234567890", "-12345678901234567890"],
    ["0.1234567890123456789", "0.1234567890123456789"],
    ["12345678901234.25", 12345678901234.25],
    ["1234567890123.12345", "1234567890123.12345"],
    ["51.50735091234567", 51.50735091234567],
    ["1e400", "1e400"],
    ["1e-400", "1e-400"],
    ["1.50", 1.5],
    ["-0", 0],
    ["1E3", 1000],
  ])("the number %s is kept as %j", (literal, value) => {
    expect(json(`{"a":${literal},"b":[${literal} ]}`)).toEqual(taken({ a: value, b: [value] }));
  });

  test("a key that comes twice in one object is refused, wherever the object is", () => {
    expect(json('{"email":"a@b.test","email":"c@d.test"}')).toEqual({
      ok: false,
      status: 400,
      code: "duplicate_key",
      message: '"email" comes twice in one object.',
    });
    expect(json('{"contacts":[{"a":1,"\\u0061":2}]}')).toEqual(refused(400, "duplicate_key"));
    expect(json('{"a":{"b":1},"b":{"a":1}}').ok).toBe(true);
  });

  test.each(["[]", '"text"', "12", "null", "[{}]"])("%s is not an object", (body) => {
    expect(json(body)).toEqual(refused(400, "not_an_object"));
  });

  test.each([
    '{"a":1',
    "{a:1}",
    "{'a':1}",
    '{"a":1,}',
    '{"a":01}',
    '{"a":NaN}',
    '{"a":1}{"b":2}',
    "\u0000",
    '{"a":"\n"}',
    " ",
  ])("%j is not JSON", (body) => {
    expect(json(body)).toEqual(refused(400, "bad_json"));
  });

  test("what is wrong with the JSON is told without repeating the body", () => {
    const result = json('{"name":"Ann","phone":secret-phone}');
    expect(JSON.stringify(result)).not.toMatch(/Ann|secret/);
  });

  test("twenty levels are taken and twenty-one are not, however many there are", () => {
    const nested = (levels: number) => `{"a":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`;
    expect(json(nested(20)).ok).toBe(true);
    expect(json(nested(21))).toEqual(refused(400, "too_deep"));
    expect(json(nested(100_000))).toEqual(refused(400, "too_deep"));
  });

  test("more values than a lead can have are refused", () => {
    expect(json(`{"a":[${"1,".repeat(5_000)}1]}`)).toEqual(refused(400, "too_many_values"));
  });

  test("what a database or XML cannot hold is taken out", () => {
    expect(json('{"a\\u0000":"x\\u0000y\\ud83dz"}')).toEqual(taken({ a: "xy\ufffdz" }));
  });

  test("keys that mean something to JavaScript pollute nothing and are kept", () => {
    const result = json('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"toString":"t"}');
    expect(result.ok && Object.keys(result.raw)).toEqual(["__proto__", "constructor", "toString"]);
    expect(result.ok && Object.getPrototypeOf(result.raw)).toBeNull();
    expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
  });
});

function largeAsText(_key: string, value: unknown) {
  return typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER ? String(value) : value;
}

describe("a form", () => {
  test("texts are read from their percent-encoding", () => {
    expect(form("name=Zo%C3%AB+O%27Brien&note=a%3Db%26c&empty=&flag&a=b=c")).toEqual(
      taken({ name: "Zoë O'Brien", note: "a=b&c", empty: "", flag: "", a: "b=c" }),
    );
  });

  test("a key that comes more than once becomes a list", () => {
    expect(form("a=1&b=2&a=3&a=4")).toEqual(taken({ a: ["1", "3", "4"], b: "2" }));
  });

  test("a percent sign that encodes nothing stands for itself", () => {
    expect(form("rate=5%&x=%zz")).toEqual(taken({ rate: "5%", x: "%zz" }));
  });

  test("the charset of the content type is used, and bytes that it does not have are refused", () => {
    expect(form("name=Zo%EB", "application/x-www-form-urlencoded; charset=ISO-8859-1")).toEqual(taken({ name: "Zoë" }));
    expect(form("name=%80", "application/x-www-form-urlencoded; charset=windows-1252")).toEqual(taken({ name: "€" }));
    expect(form("name=Zo%EB")).toEqual(refused(400, "bad_encoding"));
    expect(form("name=Zo\xeb")).toEqual(refused(400, "bad_encoding"));
  });

  test("what URLSearchParams writes is read back", () => {
    const text = fc.string({ unit: "grapheme" }).filter((given) => given === given.normalize("NFC"));
    fc.assert(
      fc.property(fc.dictionary(text, text, { minKeys: 1 }), (lead) => {
        const result = form(new URLSearchParams(lead).toString());
        expect(result.ok && { ...result.raw }).toEqual({ ...lead });
      }),
    );
  });

  test("keys that mean something to JavaScript pollute nothing", () => {
    const result = form("__proto__=x&__proto__=y&constructor=z");
    expect(result.ok && Object.entries(result.raw)).toEqual([
      ["__proto__", ["x", "y"]],
      ["constructor", "z"],
    ]);
  });

  test("more pairs than a lead can have are refused", () => {
    expect(form("a=1&".repeat(5_001))).toEqual(refused(400, "too_many_values"));
  });
});

describe("XML", () => {
  test("the children of any root are the fields", () => {
    const body =
      '<?xml version="1.0" encoding="UTF-8"?>\n<!-- a lead -->\n<enquiry id="7">\n  <first_name>Zoë &amp; Co &#233;&#x1F3E0;</first_name>\n' +
      '  <zip>007</zip>\n  <empty/>\n  <note><![CDATA[<b> & "x"]]></note>\n</enquiry>\n';
    expect(xml(body)).toEqual(taken({ first_name: "Zoë & Co é🏠", zip: "007", empty: "", note: '<b> & "x"' }));
    expect(xml(body, "text/xml; charset=utf-8").ok).toBe(true);
    expect(xml(body, "application/lead+xml").ok).toBe(true);
  });

  test("repeated elements become a list and nested ones objects; prefixes are left out", () => {
    const body = '<l:lead xmlns:l="urn:x"><l:a>1</l:a><a>2</a><home><street>S</street><city>C</city></home></l:lead>';
    expect(xml(body)).toEqual(taken({ a: ["1", "2"], home: { street: "S", city: "C" } }));
  });

  test("the spaces in a value stay, those between elements go, and text beside elements is kept", () => {
    expect(xml("<lead> <a> x <!-- c -->y </a> text <b>1</b></lead>")).toEqual(
      taken({ a: " x y ", b: "1", "#text": "text" }),
    );
  });

  test("an empty root is a lead without fields, a root of text none", () => {
    expect(xml("<lead/>")).toEqual(taken({}));
    expect(xml("<lead>Ann</lead>")).toEqual(refused(400, "not_an_object"));
  });

  test.each([
    "<!DOCTYPE lead><lead><a>1</a></lead>",
    '<!DOCTYPE lead [<!ENTITY a "b">]><lead><a>&a;</a></lead>',
    '<!DOCTYPE lead SYSTEM "http://example.com/x.dtd"><lead><a>1</a></lead>',
    '<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><l><a>&x;</a></l>',
    `<!DOCTYPE l [<!ENTITY a "${"x".repeat(1_000)}"><!ENTITY b "${"&a;".repeat(100)}"><!ENTITY c "${"&b;".repeat(100)}">]><l><a>&c;</a></l>`,
    '<lead><!DOCTYPE x [<!ENTITY y "z">]><a>&y;</a></lead>',
    "<lead><a>&undefined;</a></lead>",
    "<lead><a>&nbsp;</a></lead>",
    "<lead><a>&constructor;</a></lead>",
    "<lead><a>&#x110000;</a></lead>",
    "<lead><a>1</lead>",
    "<lead><a>1</a></lead><lead/>",
    "<lead><a>1</a></lead>text",
    "<lead><a>a & b</a></lead>",
    "<lead><a",
    "just text",
    "<lead><__proto__>x</__proto__></lead>",
    "<lead><constructor><prototype><polluted>1</polluted></prototype></constructor></lead>",
  ])("%s is refused", (body) => {
    expect(xml(body)).toEqual(refused(400, "bad_xml"));
  });

  test("a DOCTYPE that is only written about is no DOCTYPE", () => {
    expect(xml("<lead><a><![CDATA[<!DOCTYPE x>]]></a></lead>")).toEqual(taken({ a: "<!DOCTYPE x>" }));
  });

  test("names that mean something to JavaScript pollute nothing", () => {
    const result = xml("<lead><valueOf>1</valueOf><toString>t</toString><__defineGetter__>g</__defineGetter__></lead>");
    expect(result).toEqual(taken({ valueOf: "1", toString: "t", __defineGetter__: "g" }));
    expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
  });

  test("depth and number of elements are bounded", () => {
    const nested = (levels: number) => `${"<a>".repeat(levels)}${"</a>".repeat(levels)}`;
    expect(xml(nested(20)).ok).toBe(true);
    expect(xml(nested(21))).toEqual(refused(400, "too_deep"));
    expect(xml(nested(1_000))).toEqual(refused(400, "too_deep"));
    expect(xml(`<lead>${"<a/>".repeat(10_000)}</lead>`)).toEqual(refused(400, "too_many_values"));
  });

  test("the charset is that of the mark, then of the content type, then of the declaration", () => {
    const declared = Buffer.from('<?xml version="1.0" encoding="ISO-8859-1"?><lead><a>Zo\xeb</a></lead>', "latin1");
    expect(xml(declared)).toEqual(taken({ a: "Zoë" }));
    expect(xml(declared, "text/xml; charset=utf-8")).toEqual(refused(400, "bad_encoding"));
    const marked = Buffer.from('\ufeff<?xml version="1.0" encoding="ISO-8859-1"?><lead><a>Zoë</a></lead>', "utf16le");
    expect(xml(marked, "text/xml; charset=utf-8")).toEqual(taken({ a: "Zoë" }));
    // Written from a UTF-16 string to a UTF-8 stream, as .NET does.
    expect(xml('<?xml version="1.0" encoding="utf-16"?><lead><a>Zoë</a></lead>')).toEqual(taken({ a: "Zoë" }));
  });
});

describe("any body", () => {
  test("a byte order mark is no part of it", () => {
    expect(json('\ufeff{"a":1}')).toEqual(taken({ a: 1 }));
    expect(xml("\ufeff<lead><a>1</a></lead>")).toEqual(taken({ a: "1" }));
    expect(json(Buffer.from('\ufeff{"a":"é"}', "utf16le"))).toEqual(taken({ a: "é" }));
  });

  test("bytes that are not UTF-8 are refused where nothing else was said", () => {
    expect(json(Buffer.from('{"a":"\xeb"}', "latin1"))).toEqual(refused(400, "bad_encoding"));
    expect(json(Buffer.from('{"a":"\xeb"}', "latin1"), 'application/json; charset="iso-8859-1"')).toEqual(
      taken({ a: "ë" }),
    );
  });

  test("an unknown charset is refused by its name", () => {
    expect(json("{}", "application/json; charset=klingon")).toEqual({
      ok: false,
      status: 415,
      code: "unknown_charset",
      message: "The charset klingon is not known here; utf-8 always is.",
    });
  });

  test.each([undefined, "", "text/plain", "multipart/form-data; boundary=x", "application/jsonx", "json"])(
    "the content type %s is refused with those that are taken",
    (type) => {
      const result = parseIntakeBody(type, Buffer.from("{}"));
      expect(result).toEqual(refused(415, "unknown_content_type"));
      expect(!result.ok && result.message).toContain("application/json");
    },
  );

  test("an empty body is refused", () => {
    for (const type of ["application/json", "application/xml", "application/x-www-form-urlencoded"]) {
      expect(parseIntakeBody(type, Buffer.alloc(0))).toEqual(refused(400, "empty_body"));
    }
  });

  test("256 KiB are taken and one byte more is not", () => {
    const body = (bytes: number) => Buffer.from(`{"a":"${"x".repeat(bytes - 8)}"}`);
    expect(json(body(maxIntakeBytes)).ok).toBe(true);
    expect(json(body(maxIntakeBytes + 1))).toEqual(refused(413, "too_large"));
  });

  test("whatever the bytes are, the answer is a lead or a refusal", () => {
    const fragments = [
      "{",
      "}",
      "[",
      "]",
      '"',
      "\\",
      "<a>",
      "</a>",
      "<![CDATA[",
      "]]>",
      "<!--",
      "<!DOCTYPE",
      "&",
      ";",
      "=",
      "%",
      "é",
      "\u0000",
      "1",
      ",",
    ];
    const body = fc.oneof(
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      fc.array(fc.constantFrom(...fragments)).map((parts) => Buffer.from(parts.join(""))),
    );
    fc.assert(
      fc.property(
        fc.constantFrom("application/json", "text/xml", "application/x-www-form-urlencoded"),
        body,
        (type, bytes) => {
          const result = parseIntakeBody(type, bytes);
          expect(typeof result.ok).toBe("boolean");
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
