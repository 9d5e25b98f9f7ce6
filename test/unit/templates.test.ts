import { createHash } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import { DOMParser } from "@xmldom/xmldom";
import fc from "fast-check";
import type { FieldValue, TemplateVariables } from "../../src/channels/contract.ts";
import { MarkupScanner } from "../../src/channels/markup-scanner.ts";
import { type PlaceName, renderTemplate, unknownVariables } from "../../src/channels/templates.ts";

function variables(lead: Record<string, FieldValue>): TemplateVariables {
  return {
    lead,
    contacts: [{ first_name: "Alex" }],
    campaign: { id: "c1", name: "Home" },
    partner: { id: "p1", name: "Acme" },
    delivery: { id: "d1", price_minor: 1250, currency: "GBP", test: false },
  };
}

function render(source: string, place: PlaceName, lead: Record<string, FieldValue>): string {
  const rendered = renderTemplate(source, place, variables(lead));
  if (!rendered.ok) throw new Error(rendered.reason);
  return rendered.text;
}

function refusal(source: string, place: PlaceName, lead: Record<string, FieldValue> = { x: "v" }): string {
  const rendered = renderTemplate(source, place, variables(lead));
  if (rendered.ok) throw new Error(`This was rendered: ${rendered.text}`);
  return rendered.reason;
}

/** Any text at all, lone surrogates and control characters too, with a taste for what means something somewhere. */
const hostile = fc
  .array(
    fc.oneof(
      fc.nat(0xffff).map((code) => String.fromCharCode(code)),
      fc.string({ unit: "binary", maxLength: 3 }),
      fc.constantFrom(
        ...']]> ]] ] > < </a> <!-- --> <![CDATA[ & &amp; &#60; " \' \\ \\u0022 \\" / // .. . % %2e %0d%0a # ? @ : + = ; {{ }} {%'.split(
          " ",
        ),
        ..."{{ 7|times:7 }}|{{ lead.secret }}|javascript:|\r\n|\n|\t|\0|\u0085|\u2028|\u2029|O'Brien|Zoë|Smith & Sons|<b>|😀".split(
          "|",
        ),
      ),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(""));

/** What XML 1.0, section 2.2, allows; the rest is dropped. */
function carriedByXml(text: string): string {
  return [...text]
    .filter((character) => {
      const code = character.codePointAt(0) ?? 0;
      if (code < 0x20) return code === 9 || code === 10 || code === 13;
      return code <= 0xd7ff || (code >= 0xe000 && code <= 0xfffd) || code >= 0x10000;
    })
    .join("");
}

function parseXml(text: string) {
  const fail = (level: string, message: string) => {
    if (level !== "warning") throw new Error(`${level}: ${message}`);
  };
  return new DOMParser({ onError: fail }).parseFromString(text, "text/xml");
}

describe("a value comes out of the rendered text exactly as it went in", () => {
  test("inside the quotes of JSON", () => {
    fc.assert(
      fc.property(hostile, hostile, (x, y) => {
        const body = render('{"a\\\\":"{{ lead.x }}","{{ lead.y }}":"-{{ lead.y }}{{ lead.x }}-"}', "json", { x, y });
        expect(JSON.parse(body)).toEqual(
          Object.fromEntries([
            ["a\\", x],
            [y, `-${y}${x}-`],
          ]),
        );
      }),
    );
  });

  test("outside the quotes of JSON, with its type", () => {
    const value = fc.oneof(
      hostile,
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.boolean(),
      fc.constant(null),
    );
    fc.assert(
      fc.property(value, hostile, (x, y) => {
        const body = render('{"s":"\\"{{ lead.y }}","x":{{ lead.x }},"lead":{{ lead }}}', "json", { x, y });
        // -0 is written as 0.
        const same: unknown = JSON.parse(JSON.stringify(x));
        expect(JSON.parse(body)).toEqual({ s: `"${y}`, x: same, lead: { x: same, y } });
      }),
    );
  });

  test("in text, attributes and CDATA of XML, but for characters that XML cannot carry", () => {
    const source = `<a b="{{ lead.x }}" c='&lt;{{ lead.y }}{{ lead.x }}'><t>{{ lead.x }}{{ lead.y }}</t
      ><!-- " <x y=' --><d><![CDATA[]{{ lead.x }}]{{ lead.y }}]{{ lead.x }}>{{ lead.y }}]>]]{{ lead.x }}]>]]></d><e z='>' f="{{ lead.y }}"/></a>`;
    fc.assert(
      fc.property(hostile, hostile, (given, other) => {
        const document = parseXml(render(source, "xml", { x: given, y: other }));
        const [x, y] = [carriedByXml(given), carriedByXml(other)];
        const element = (name: string) => document.getElementsByTagName(name).item(0);
        expect(element("a")?.getAttribute("b")).toBe(x);
        expect(element("a")?.getAttribute("c")).toBe(`<${y}${x}`);
        expect(element("t")?.textContent).toBe(x + y);
        expect(element("d")?.textContent).toBe(`]${x}]${y}]${x}>${y}]>]]${x}]>`);
        expect(element("e")?.getAttribute("f")).toBe(y);
        expect(document.getElementsByTagName("*").length).toBe(4);
      }),
    );
  });

  test("in CDATA, together with the brackets around it", () => {
    const part = fc.constantFrom("", "]", ">", "]]", "]>", ">]", "]]>", "a");
    fc.assert(
      fc.property(part, part, (x, y) => {
        const source = `<d><![CDATA[]]{{ lead.x }}]{{ lead.y }}>{{ lead.x }}]{{ lead.x }}]>{{ lead.y }}{{ lead.x }}]]></d>`;
        const expected = `]]${x}]${y}>${x}]${x}]>${y}${x}`;
        expect(parseXml(render(source, "xml", { x, y })).documentElement?.textContent).toBe(expected);
      }),
    );
  });

  test("in text and attributes of HTML", () => {
    const source = `<p title="{{ lead.x }}">{{ lead.y }}</p>`;
    fc.assert(
      fc.property(hostile, hostile, (given, other) => {
        const [x, y] = [carriedByXml(given), carriedByXml(other)].map((text) =>
          text.replace(/[\n\t\u0085\u2028\u2029]/g, "_"),
        );
        const element = parseXml(render(source, "html", { x: x ?? "", y: y ?? "" })).documentElement;
        expect(element?.getAttribute("title")).toBe(x);
        expect(element?.textContent).toBe(y);
        expect(element?.childNodes.length).toBeLessThan(2);
      }),
    );
  });

  test("as a form value", () => {
    fc.assert(
      fc.property(hostile, hostile, (x, y) => {
        const body = render("a={{ lead.x }}\n  &b=1{{ lead.y }}{{ lead.x }}", "form", { x, y });
        expect(body).toMatch(/^[!-~]*$/);
        const wellFormed = [x, `1${y}${x}`].map((text) => text.replace(/\p{Surrogate}/gu, "\ufffd"));
        // Two halves of a pair that stand side by side only in the result are encoded one by one.
        fc.pre(!/\p{Surrogate}/u.test(x + y));
        expect([...new URLSearchParams(body)]).toEqual([
          ["a", wellFormed[0]],
          ["b", wellFormed[1]],
        ]);
      }),
    );
  });

  test("as a segment of a path and in a query, whatever it is, without moving the address", () => {
    fc.assert(
      fc.property(fc.oneof(hostile, fc.constantFrom(".", "..", "%2e")), hostile, (x, y) => {
        fc.pre(!/\p{Surrogate}/u.test(x + y));
        const url = new URL(
          render("https://partner.test:8443/a/{{ lead.x }}/b?q={{ lead.y }}&r={{ lead.x }}", "url", { x, y }),
        );
        const segment = x === "." || x === ".." ? "" : x;
        expect(url.origin).toBe("https://partner.test:8443");
        expect(url.pathname.split("/").map(decodeURIComponent)).toEqual(["", "a", segment, "b"]);
        expect([...url.searchParams]).toEqual([
          ["q", y],
          ["r", x],
        ]);
        expect(url.hash).toBe("");
      }),
    );
  });

  test("on one line, whatever it holds, in a header or subject", () => {
    fc.assert(
      fc.property(hostile, (x) => {
        const value = render("a {{ lead.x }} b", "line", { x });
        // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
        expect(value).not.toMatch(/[\0-\x1f\x7f-\x9f\u2028\u2029]/);
        expect(value.startsWith("a ")).toBe(true);
      }),
    );
  });

  test("as plain text", () => {
    fc.assert(fc.property(hostile, (x) => expect(render("<{{ lead.x }}>", "text", { x })).toBe(`<${x}>`)));
  });
});

describe("no way of printing gets past the escaping", () => {
  const x = `"<&]]>'`;

  test.each([
    ["a filter at the end", '{{ lead.x | append: "<" }}', `${x}<`],
    ["a variable that was assigned", "{% assign a = lead.x %}{{ a }}", x],
    [
      "a variable that captured text and values: escaped exactly once",
      "{% capture a %}<b>{{ lead.x }}{% endcapture %}{{ a }}",
      `<b>${x}`,
    ],
    [
      "a loop over a list",
      '{% assign l = lead.x | split: "&" %}{% for i in l %}{{ i }}{% endfor %}',
      x.replace("&", ""),
    ],
    ["a loop over the lead", "{% for f in lead %}{{ f[1] }}{% endfor %}", x],
    ["a default", '{{ lead.none | default: "<" }}', "<"],
    ["a string in the template", '{{ "<b>" }}', "<b>"],
    [
      "branches",
      "{% if lead.x %}{{ lead.x }}{% endif %}{% unless lead.x %}{% else %}{{ lead.x }}{% endunless %}",
      x + x,
    ],
    ["a case", '{% case lead.none %}{% when "a" %}{% else %}{{ lead.x }}{% endcase %}', x],
  ])("%s", (_name, source, expected) => {
    const lead = { x, none: null };
    expect(parseXml(`<r>${render(`<a>${source}</a>`, "xml", lead)}</r>`).documentElement?.textContent).toBe(expected);
    expect(JSON.parse(render(`"${source}"`, "json", lead))).toBe(expected);
  });

  test.each([
    "raw",
    "include 'x'",
    "render 'x'",
    "layout 'x'",
    "block a",
    "echo lead.x",
    "cycle lead.x, lead.x",
    "increment a",
    "decrement a",
    "tablerow i in contacts",
    "liquid echo lead.x",
  ])("there is no tag {%% %s %%}", (tag) => {
    const name = /^\w+/.exec(tag)?.[0];
    expect(refusal(`{% ${tag} %}{{ lead.x }}{% end${name} %}`, "json")).toBe(`there is no tag ${name} (line 1)`);
  });

  test.each([
    "raw",
    "escape",
    "escape_once",
    "xml_escape",
    "url_encode",
    "cgi_escape",
    "uri_escape",
    "json",
    "jsonify",
  ])("the filter %s is refused as not needed", (filter) => {
    expect(refusal(`{{ lead.x | ${filter} }}`, "xml")).toBe(
      `the filter ${filter} is not needed: every value is escaped for the place it stands in (line 1)`,
    );
  });

  test("template text in a value stays text", () => {
    expect(render("{{ lead.x }}", "text", { x: "{{ 7|times:7 }}{% include 'a' %}" })).toBe(
      "{{ 7|times:7 }}{% include 'a' %}",
    );
  });
});

test("the scanner finds an end that was written in two pieces", () => {
  const scanner = new MarkupScanner("xml");
  expect(scanner.advance("<a><![CDATA[]").where).toBe("cdata");
  expect(scanner.advance("<a><![CDATA[]]>").where).toBe("text");
  expect(scanner.advance("<a><![CDATA[]]><!").where).toBe("nowhere");
  expect(scanner.advance("<a><![CDATA[]]><!-- -").where).toBe("nowhere");
  expect(scanner.advance("<a><![CDATA[]]><!-- -->").where).toBe("text");
  expect(scanner.advance("<a><![CDATA[]]><!-- --><b c='")).toEqual({ where: "attribute", name: "c", start: 29 });
});

describe("a template is refused where a value cannot be kept in its place", () => {
  test.each<[string, PlaceName, string]>([
    ["<{{ lead.x }}/>", "xml", "right after the start of a tag"],
    ["<a{{ lead.x }}/>", "xml", "right after the start of a tag"],
    ["<a {{ lead.x }}='1'/>", "xml", "outside a quoted attribute"],
    ["<a b={{ lead.x }}/>", "xml", "outside a quoted attribute"],
    ["<a b='1'{{ lead.x }}/>", "xml", "outside a quoted attribute"],
    ["</{{ lead.x }}>", "xml", "a value cannot stand inside"],
    ["<a><!-- {{ lead.x }} --></a>", "xml", "inside a comment"],
    ["<{% if true %}!--{% endif %} {{ lead.x }} --></a>", "xml", "inside a comment"],
    ["<?pi > {{ lead.x }}?><a/>", "xml", "inside a declaration or instruction"],
    ["<!DOCTYPE a [ <!ENTITY b '{{ lead.x }}'", "xml", "inside a declaration or instruction"],
    ["<a>&{{ lead.x }};</a>", "xml", "right after &"],
    ["<a b='&#{{ lead.x }};'/>", "xml", "right after &"],
    ["<script>var a = '{{ lead.x }}'</script>", "html", "inside <script>"],
    ["<style>{{ lead.x }}</style>", "html", "inside <style>"],
    ["<p onclick='{{ lead.x }}'>", "html", "in the attribute onclick"],
    ["<p style='color:{{ lead.x }}'>", "html", "in the attribute style"],
    ["<a b=c\"d='{{ lead.x }}'>", "html", "outside a quoted attribute"],
    ['<a href="{{ lead.x }}">', "html", "an address in href must begin with its own text"],
    ['<a href="{% if true %}{% endif %}{{ lead.x }}">', "html", "an address in href must begin with its own text"],
    ['{"a":"\\{{ lead.x }}"}', "json", "right after a backslash"],
    ['{"a":"\\u00{{ lead.x }}"}', "json", "right after a backslash"],
    ["https://{{ lead.x }}/", "url", "scheme, host or port"],
    ["https://partner.test{{ lead.x }}/", "url", "scheme, host or port"],
    ["https://partner.test:{{ lead.x }}/", "url", "scheme, host or port"],
    ["{{ lead.x }}://partner.test/", "url", "scheme, host or port"],
    ["https://a@{{ lead.x }}/", "url", "scheme, host or port"],
    ["https://partner.test/%{{ lead.x }}", "url", "right after %"],
    ["a=%2{{ lead.x }}", "form", "right after %"],
    ["{{ lead }}", "text", "a whole list or group"],
    ["{{ contacts }}", "xml", "a whole list or group"],
  ])("%s in %s", (source, place, reason) => {
    expect(refusal(source, place)).toContain(reason);
  });

  test("an address in a mail keeps its scheme, and a value in it is encoded", () => {
    expect(render('<a href="mailto:{{ lead.x }}">', "html", { x: "a@b.test?bcc=c@d.test" })).toBe(
      '<a href="mailto:a@b.test%3Fbcc%3Dc@d.test">',
    );
  });

  test("what is refused depends on the template, not on the lead", () => {
    const sources: [string, PlaceName][] = [
      ['{"a":"{{ lead.x }}{{ lead.y }}","b":{{ lead.x | times: 2 }},"c":{{ lead.y | date: "%d" }}}', "json"],
      ["<a b='{{ lead.x }}'>{{ lead.y | money }}{{ lead.x }}<![CDATA[{{ lead.y }}]]></a>", "xml"],
      ["<a href='tel:{{ lead.x }}'>{{ lead.y | phone: 'national' }}</a>", "html"],
      ["a={{ lead.x }}{{ lead.y }}", "form"],
      ["https://partner.test/{{ lead.x }}{{ lead.y }}", "url"],
      ["{{ lead.x | date: '%A', 'Europe/London' }}{{ lead.y | divided_by: lead.x | round: 2 }}", "line"],
    ];
    const value = fc.oneof(hostile, fc.double(), fc.boolean(), fc.constant(null));
    fc.assert(
      fc.property(value, value, fc.constantFrom(...sources), (x, y, [source, place]) => {
        expect(typeof render(source, place, { x, y })).toBe("string");
      }),
    );
  });
});

describe("variables", () => {
  test("an absent field is empty text, and null outside the quotes of JSON", () => {
    expect(render("[{{ lead.x }}]", "text", { x: null })).toBe("[]");
    expect(render('{"a":"{{ lead.x }}","b":{{ lead.x }},"c":{{ lead.x | upcase }}}', "json", { x: null })).toBe(
      '{"a":"","b":null,"c":null}',
    );
  });

  test("an unknown variable or filter is refused by name and line", () => {
    expect(refusal("a\n{{ lead.typo }}", "text")).toBe("there is no variable lead.typo (line 2)");
    expect(refusal("{{ led.x }}", "text")).toBe("there is no variable led (line 1)");
    expect(refusal("{{ lead.x | shout }}", "text")).toBe("there is no filter shout (line 1)");
  });

  test("unknown variables are found in branches that are not taken", () => {
    const source =
      "{% if lead.none %}{{ lead.typo }}{% for c in contacts %}{{ c.x }}{{ lead[other] }}{% endfor %}{% endif %}{{ contacts[1].y }}";
    expect(unknownVariables(source, variables({ none: null }))).toEqual([
      "lead.typo (line 1)",
      "contacts[1].y (line 1)",
      "other (line 1)",
    ]);
  });

  test.each([
    "constructor",
    "lead.constructor",
    "lead.__proto__",
    "lead.x.constructor",
    "contacts.constructor",
    "lead.toString",
  ])("%s is out of reach", (name) => {
    expect(refusal(`{{ ${name} }}`, "text")).toContain("there is no variable");
  });

  test("a template that never ends, or grows without end, is stopped", () => {
    expect(refusal("{% for i in (1..99999999) %}{% endfor %}", "text")).toContain("limit");
    expect(refusal("{% for i in (1..9999) %}{% for j in (1..9999) %}{% endfor %}{% endfor %}", "text")).toContain(
      "limit",
    );
    expect(refusal(`{% for i in (1..9999) %}${"x".repeat(1000)}{% endfor %}`, "text")).toContain("4 MiB");
    expect(refusal("x".repeat(70_000), "text")).toContain("at most 65536 characters");
  });
});

describe("filters", () => {
  const lead = {
    first_name: "zoë",
    phone: "+442079460000",
    born: "1980-03-09",
    received_at: "2026-07-01T22:30:00.000Z",
    cover: 1250,
    text: "not a number",
    none: null,
  };
  test.each([
    ["{{ lead.first_name | upcase }}", "ZOË"],
    ["{{ lead.first_name | capitalize }}", "Zoë"],
    ["{{ lead.cover | money }}", "12.50"],
    ["{{ lead.cover | money: 0 }}", "1250"],
    ["{{ lead.cover | money: 'JPY' }}", "1250"],
    ["{{ lead.cover | minus: 1255 | money: 'GBP' }}", "-0.05"],
    ["{{ lead.phone | phone: 'national' }}", "020 7946 0000"],
    ["{{ lead.phone | phone: 'national' | digits }}", "02079460000"],
    ["{{ lead.phone | phone: 'international' }}", "+44 20 7946 0000"],
    ["{{ lead.phone | phone: 'country_code' }}", "44"],
    ["{{ lead.phone | phone: 'country' }}", "GB"],
    ["{{ lead.text | phone: 'national' }}", "not a number"],
    ["{{ lead.born | date: '%d/%m/%Y' }}", "09/03/1980"],
    ["{{ lead.born | date: '%-d %b %y' }}", "9 Mar 80"],
    ["{{ lead.born | date: '%d/%m/%Y', 'Pacific/Honolulu' }}", "09/03/1980"],
    ["{{ lead.received_at | date: '%Y-%m-%d %H:%M', 'Europe/London' }}", "2026-07-01 23:30"],
    ["{{ lead.received_at | date: '%F %T%z' }}", "2026-07-01 22:30:00+0000"],
    ["{{ lead.text | date: '%d' }}", "not a number"],
    ["{{ lead.text | times: 2 }}", ""],
    ["{{ lead.cover | divided_by: 0 }}", ""],
    ["{{ lead.cover | divided_by: 100 | round: 1 }}", "12.5"],
    ["{{ lead.cover | at_most: 1000 }}", "1000"],
    ["{{ lead.none | times: 2 | money | date | phone | upcase }}", ""],
    ["{{ lead.none | default: 'none' }}", "none"],
    ["{{ lead.first_name | sha256 }}", createHash("sha256").update("zoë").digest("hex")],
    ["{{ lead.first_name | md5 }}", createHash("md5").update("zoë").digest("hex")],
    ["{{ lead.first_name | base64_encode }}", "em/Dqw=="],
  ])("%s", (source, expected) => {
    expect(render(source, "text", lead)).toBe(expected);
  });

  test("an amount outside the quotes of JSON is a number with its decimal places", () => {
    expect(render('{"a":{{ lead.cover | money }},"b":"{{ lead.cover | money }}"}', "json", lead)).toBe(
      '{"a":12.50,"b":"12.50"}',
    );
  });

  test.each([
    [
      "{{ lead.phone | phone: 'local' }}",
      "phone takes one of e164, international, national, country, country_code, not local",
    ],
    ["{{ lead.born | date: '%Q' }}", "date does not know %Q"],
    ["{{ lead.received_at | date: '%d', 'Mars/Base' }}", "date takes a time zone such as Europe/London, not Mars/Base"],
    ["{{ lead.cover | money: 9 }}", "money takes a number of decimal places from 0 to 4"],
  ])("%s is refused with what is allowed", (source, reason) => {
    expect(refusal(source, "text", lead)).toContain(reason);
  });
});

test("a template of twenty values renders thousands of times a second", () => {
  const source = `{${Array.from({ length: 20 }, (_, index) => `"f${index}":"{{ lead.x }}"`).join(",")}}`;
  const lead = { x: "O'Brien & Söhne" };
  render(source, "json", lead);
  const startedMs = performance.now();
  for (let count = 0; count < 500; count += 1) render(source, "json", lead);
  // Ten times what it takes on a quiet machine.
  expect(performance.now() - startedMs).toBeLessThan(1_000);
});
