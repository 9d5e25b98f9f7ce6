import { setTimeout as sleep } from "node:timers/promises";
import { DOMParser, onErrorStopParsing } from "@xmldom/xmldom";
import { XMLValidator } from "fast-xml-parser";
import { decodeWords } from "postal-mime";
import { type Attacker, addCampaign, addPartner } from "./attacker.ts";
import { textAt, valueAt } from "./http.ts";
import type { Received } from "./receivers.ts";
import { type Report, tooLongMs } from "./record.ts";

/** A lead's value in every place of every body: whatever it is, it stays in its place. */

/** What the receiver's own parser found: the places where the value stands, and everything else as it is. */
interface Reading {
  readonly values: readonly string[];
  readonly shape: string;
}

interface Channel {
  readonly name: string;
  readonly delivery: (base: string) => Readonly<Record<string, unknown>>;
  readonly read: (received: Received) => Reading | string;
}

const marker = "{{ lead.v }}";

const channels: readonly Channel[] = [
  {
    name: "json body",
    delivery: (url) => ({
      internet: {
        method: "json",
        url,
        body: `{"a":"${marker}","b":${marker},"c":"x ${marker} y","d":["${marker}",{"e":"${marker}"}]}`,
      },
    }),
    read: ({ body }) => readTree(JSON.parse(body)),
  },
  {
    name: "json body, by filters and tags",
    delivery: (url) => ({
      internet: {
        method: "json",
        url,
        body: `{"a":"{% assign x = lead.v %}{{ x }}","b":"{% capture y %}${marker}{% endcapture %}{{ y }}","c":{% if lead.v %}"{{ lead.v | append: "" }}"{% else %}null{% endif %}}`,
      },
    }),
    read: ({ body }) => readTree(JSON.parse(body)),
  },
  {
    name: "xml body",
    delivery: (url) => ({
      internet: {
        method: "xml",
        url,
        body: `<lead a="${marker}" b='${marker}'><name>${marker}</name><c>x ${marker} y</c></lead>`,
      },
    }),
    read: ({ body }) => readXml(body),
  },
  {
    name: "xml body, in CDATA",
    delivery: (url) => ({
      internet: {
        method: "xml",
        url,
        body: `<lead><name><![CDATA[${marker}]]></name><c><![CDATA[x]${marker}]>]]></c></lead>`,
      },
    }),
    read: ({ body }) => readXml(body),
  },
  {
    name: "json body of Handoff's own",
    delivery: (url) => ({ internet: { method: "json", url } }),
    read: ({ body }) => readTree(JSON.parse(body)),
  },
  {
    name: "xml body of Handoff's own",
    delivery: (url) => ({ internet: { method: "xml", url } }),
    read: ({ body }) => readXml(body),
  },
  {
    name: "soap11 body",
    delivery: (url) => ({
      internet: {
        method: "soap11",
        url,
        action: "urn:x",
        body: `<Submit xmlns="urn:x" a="${marker}"><name>${marker}</name></Submit>`,
      },
    }),
    read: ({ body }) => readXml(body),
  },
  {
    name: "soap12 body",
    delivery: (url) => ({
      internet: {
        method: "soap12",
        url,
        action: "urn:x",
        body: `<Submit xmlns="urn:x" a='${marker}'><name>${marker}</name></Submit>`,
      },
    }),
    read: ({ body }) => readXml(body),
  },
  {
    name: "form body",
    delivery: (url) => ({ internet: { method: "post", url, body: `a=${marker}&b=x+${marker}&c=1` } }),
    read: ({ body }) => readPairs([...new URLSearchParams(body)]),
  },
  {
    name: "form fields",
    delivery: (url) => ({
      internet: {
        method: "post",
        url,
        fields: [
          ["a", marker],
          ["b", `x ${marker}`],
          ["c", "1"],
        ],
      },
    }),
    read: ({ body }) => readPairs([...new URLSearchParams(body)]),
  },
  {
    name: "fields of a GET",
    delivery: (url) => ({
      internet: {
        method: "post",
        httpMethod: "GET",
        url,
        fields: [
          ["a", marker],
          ["b", marker],
        ],
      },
    }),
    read: ({ target }) => readPairs([...new URL(target, "http://x").searchParams]),
  },
  {
    name: "path, query and header",
    delivery: (url) => ({
      internet: {
        method: "json",
        url: `${url}/${marker}/end?q=${marker}&z=1`,
        headers: { "X-Value": marker },
        body: "{}",
      },
    }),
    read: ({ target, headers }) => {
      const [path = "", query = ""] = target.split("?");
      const segments = path.split("/").map(decodeURIComponent);
      const known = headers.filter(([name]) => !/^content-length$/i.test(name));
      const value = headers.find(([name]) => name.toLowerCase() === "x-value")?.[1] ?? "";
      const pairs = readPairs([...new URLSearchParams(query)]);
      const shape = `${segments.length} ${segments.at(-1)} ${pairs.shape} ${known.map(([name]) => name).join()}`;
      return { values: [segments.at(-2) ?? "", ...pairs.values, value], shape };
    },
  },
];

function readTree(root: unknown): Reading {
  const values: string[] = [];
  const walk = (value: unknown): unknown => {
    if (typeof value === "string") {
      values.push(value);
      return "text";
    }
    if (Array.isArray(value)) return value.map(walk);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, walk(inner)]));
  };
  return { shape: JSON.stringify(walk(root)), values };
}

/** Two parsers that are no relatives of each other must agree that it is well-formed. */
function readXml(text: string): Reading | string {
  const validity = XMLValidator.validate(text);
  if (validity !== true) return `not well-formed: ${validity.err.msg}`;
  const document = new DOMParser({ onError: onErrorStopParsing }).parseFromString(text, "text/xml");
  const values: string[] = [];
  const walk = (node: NonNullable<typeof document.documentElement>): string => {
    const attributes = Array.from(node.attributes).map((attribute) => {
      if (!attribute.name.startsWith("xmlns")) values.push(attribute.value);
      return attribute.name;
    });
    const children = Array.from(node.children);
    if (children.length === 0) values.push(node.textContent ?? "");
    return `<${node.nodeName} ${attributes.join()}>${children.map(walk).join("")}`;
  };
  const root = document.documentElement;
  return root === null ? "no element" : { shape: `${document.childNodes.length} ${walk(root)}`, values };
}

function readPairs(pairs: readonly (readonly [string, string])[]): Reading {
  return { shape: pairs.map(([name]) => name).join("&"), values: pairs.map(([, value]) => value) };
}

const fixedValues = [
  '"',
  "'",
  "\\",
  '\\"',
  "</name><admin>1</admin><name>",
  `" admin="1`,
  `' admin='1`,
  "]]>",
  "<!--",
  "-->",
  "&amp;",
  "&lt;b&gt;",
  "&",
  "<",
  "<?xml version='1.0'?>",
  "<!DOCTYPE x>",
  "<![CDATA[x]]>",
  `'"><script>alert(1)</script>`,
  "{{ lead.email }}",
  "{% raw %}{{",
  "}}",
  "%}",
  '","admin":true,"x":"',
  "\\u0022,\\u0022admin",
  "a\r\nX-Evil: 1",
  "a\r\n\r\nGET /evil HTTP/1.1\r\n\r\n",
  "a\n.\nMAIL FROM:<evil@example.com>",
  "a&admin=1&b=c",
  "?x=y#frag",
  "/../../admin",
  "..",
  ".",
  "%2e%2e%2f",
  "%0d%0aX-Evil:1",
  "%",
  "+",
  " ",
  "a b",
  "\u2028\u2029",
  "\u0085",
  "\u00a0",
  "\u{1f600}",
  "\u202eabc",
  "\ufffe\uffff",
  "\x1b[31m",
  "\x7f",
  `${"{7*7}"}`,
  "$(id)",
  "`id`",
  "=cmd|' /C calc'!A0",
  "javascript:alert(1)",
  "=?utf-8?B?ZXZpbA==?=",
  "null",
  "true",
  "123",
  "-1e5",
  "{}",
  "[]",
  "\\",
  "\\\\\\",
  "é",
  "e\u0301",
  "\ufeff",
  "x".repeat(5_000),
  "<".repeat(3_000),
  "\u0301".repeat(200),
  "//evil.example/x",
  "\\\\evil\\share",
  ";a=b",
  "@evil.example",
  ":80",
] as const;

const pieces = [
  '"',
  "'",
  "<",
  ">",
  "&",
  "\\",
  "{{",
  "}}",
  "{%",
  "%}",
  "\n",
  "\r\n",
  ";",
  "=",
  "%",
  "+",
  "/",
  "..",
  "?",
  "#",
  "]]>",
  "<!--",
  "é",
  "\u2028",
  "a",
  " ",
  "\t",
  ":",
  ",",
  "[",
  "{",
  "}",
  "$",
  "\u{1f4a9}",
];

export async function attackTemplates(attacker: Attacker): Promise<void> {
  const { record, random } = attacker;
  const partners: { readonly channel: Channel; readonly id: string; readonly path: string; plain: Reading | null }[] =
    [];
  await record.case("partners of every channel", async (report) => {
    for (const channel of channels) {
      const path = `t${random.word(8)}`;
      const id = await addPartner(attacker, report, channel.delivery(`${attacker.installation.receiver.url}/${path}`));
      partners.push({ channel, id, path, plain: null });
    }
    await addCampaign(
      attacker,
      report,
      partners.map(({ id }) => id),
    );
  });
  const made = Array.from({ length: attacker.isShort ? 15 : 400 }, () =>
    Array.from({ length: 1 + random.below(12) }, () => random.pick(pieces)).join(""),
  );
  for (const partner of partners) {
    const { channel, id, path } = partner;
    const sendTo = async (report: Report, v: string) => sendTest(attacker, report, id, path, v);
    await record.case(`${channel.name}: an ordinary value`, async (report) => {
      const { received } = await sendTo(report, "plainvalue");
      const reading = received === undefined ? "nothing came" : channel.read(received);
      if (typeof reading === "string") return report("accepted_bad", reading);
      partner.plain = reading;
    });
    for (const value of [...fixedValues, ...made]) {
      await record.case(`${channel.name}: ${JSON.stringify(value.slice(0, 40))}`, async (report) => {
        const { received, why, isRefused } = await sendTo(report, value);
        if (received !== undefined) return compare(report, channel, partner.plain, received, value);
        // What a place refuses depends on the template alone: only a value that no lead may have is not sent.
        if (!isRefused) report("accepted_bad", `nothing came: ${why}`);
      });
    }
  }
  await attackMail(attacker, [...fixedValues, ...made]);
  await attackSandbox(attacker);
  await attackWithManyTemplates(attacker);
  await attackWithSlowPartners(attacker);
}

async function sendTest(attacker: Attacker, report: Report, id: string, path: string, v: string) {
  const { received } = attacker.installation.receiver;
  const before = received.length;
  const answer = await attacker.call(report, {
    method: "POST",
    path: `/v1/partners/${id}/test`,
    document: { fields: { v } },
  });
  const came = received.slice(before).filter(({ target }) => target.startsWith(`/${path}`));
  if (came.length > 1) report("accepted_bad", `one lead became ${came.length} requests`);
  const why = answer.status === 200 ? String(valueAt(answer.json, "outcome.reason") ?? "") : answer.text;
  return { received: came[0], why, isRefused: answer.status === 422 };
}

/** Line ends, characters that XML does not know, and blanks at the edges may change; nothing else. */
function loose(text: string): string {
  return text
    .normalize("NFC")
    .replace(/[\p{Cc}\ufffe\uffff\ufffd\ufeff]/gu, " ")
    .replace(/\s+/gu, " ")
    .trim();
}

function compare(report: Report, channel: Channel, plain: Reading | null, received: Received, value: string): void {
  let reading: Reading | string;
  try {
    reading = channel.read(received);
  } catch (error) {
    reading = `the receiver cannot read it: ${String(error)}`;
  }
  if (typeof reading === "string" || plain === null) {
    report("accepted_bad", `${JSON.stringify(reading)}: ${received.body.slice(0, 200)}`);
    return;
  }
  const hasNone = loose(value) === "";
  if (reading.shape !== plain.shape && !hasNone)
    report("leak", `the value changed the shape: ${reading.shape.slice(0, 200)}`);
  // Documented: a segment that would climb out of its place is left empty.
  const isLeftOut = (at: number) => at === 0 && channel.name.startsWith("path") && /^\.{1,2}$/.test(value);
  reading.values.forEach((text, at) => {
    const without = plain.values[at] ?? "";
    // Ids are others each time.
    if (isLeftOut(at) || !without.includes("plainvalue")) return;
    const expected = loose(without.replace("plainvalue", () => loose(value)));
    if (loose(text) !== expected && !hasNone) {
      report(
        "accepted_bad",
        `place ${at} holds ${JSON.stringify(text.slice(0, 80))}, not ${JSON.stringify(expected.slice(0, 80))}`,
      );
    }
  });
}

const htmlShape = /^\s*<p title="([^"<>]*)">([^<>]*)<\/p><a href="https:\/\/x\.test\/\?q=([^"<>]*)">x<\/a>\s*$/;

async function attackMail(attacker: Attacker, values: readonly string[]): Promise<void> {
  const { record, installation } = attacker;
  const to = `desk-${attacker.random.word(8)}@example.com`;
  let id = "";
  await record.case("a partner by mail", async (report) => {
    const html = `<p title="${marker}">${marker}</p><a href="https://x.test/?q=${marker}">x</a>`;
    const email = {
      to: [to],
      subject: `About ${marker}`,
      template: { text: `[${marker}]`, html },
      headers: { "X-Value": marker },
    };
    id = await addPartner(attacker, report, { email });
    await addCampaign(attacker, report, [id]);
  });
  for (const value of values) {
    await record.case(`mail: ${JSON.stringify(value.slice(0, 40))}`, async (report) => {
      const before = new Set(installation.mail.messages());
      const answer = await attacker.call(report, {
        method: "POST",
        path: `/v1/partners/${id}/test`,
        document: { fields: { v: value } },
      });
      await sleep(5);
      const came = installation.mail.messages().filter((one) => !before.has(one));
      if (came.length !== 1) {
        if (came.length > 1 || answer.status !== 422)
          report("accepted_bad", `${came.length} messages came: ${answer.text.slice(0, 200)}`);
        return;
      }
      const [mail] = came;
      if (mail === undefined) return;
      if (mail.to.length !== 1 || mail.to[0] !== to) report("leak", `it went to ${mail.to.join()}`);
      const names = mail.message.headers.map(({ key }) => key);
      if (names.some((name) => /evil|^bcc$|^cc$/.test(name))) report("leak", `it has the headers ${names.join()}`);
      const hasNone = loose(value) === "";
      if (hasNone) return;
      const [, title = "", text = "", query = ""] = htmlShape.exec(mail.message.html ?? "") ?? [];
      if (title === "") report("leak", `the HTML is not as it was: ${(mail.message.html ?? "").slice(0, 200)}`);
      const wanted = loose(value);
      for (const [place, found] of [
        ["title", unescapeHtml(title)],
        ["text", unescapeHtml(text)],
        ["query", decodeQuery(unescapeHtml(query))],
      ] as const) {
        if (loose(found) !== wanted)
          report("accepted_bad", `the ${place} of the HTML holds ${JSON.stringify(found.slice(0, 80))}`);
      }
      // Documented: readers of mail take such text for an encoding of other text.
      if (/=\?.*\?=/.test(value)) return;
      for (const [place, found, around] of [
        ["text", mail.message.text ?? "", `[${wanted}]`],
        ["header", decodeWords(mail.message.headers.find(({ key }) => key === "x-value")?.value ?? ""), wanted],
      ] as const) {
        if (loose(found) !== loose(around))
          report("accepted_bad", `the ${place} of the mail holds ${JSON.stringify(found.slice(0, 80))}`);
      }
      if (loose(mail.message.subject ?? "") !== loose(`About ${value}`))
        report("accepted_bad", `the subject is ${JSON.stringify(mail.message.subject?.slice(0, 120))}`);
    });
  }
}

function unescapeHtml(html: string): string {
  const named: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return html.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex?: string, decimal?: string, name?: string) => {
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal));
    return named[name ?? ""] ?? whole;
  });
}

function decodeQuery(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", "%20"));
  } catch {
    return text;
  }
}

const escapes = [
  "{{ lead.constructor }}",
  "{{ lead.__proto__ }}",
  "{{ lead.constructor.constructor }}",
  "{{ lead['__proto__'] }}",
  "{{ lead.toString }}",
  "{{ lead.v.constructor }}",
  "{{ contacts.constructor }}",
  "{{ process.env.HANDOFF_SECRET }}",
  "{{ globalThis }}",
  "{{ this }}",
  "{{ self }}",
  "{% include '/etc/passwd' %}",
  "{% render 'package.json' %}",
  "{% layout 'x' %}",
  "{% block x %}{% endblock %}",
  "{% raw %}{{ lead.v }}{% endraw %}",
  "{% echo lead.v %}",
  "{% liquid\necho lead.v %}",
  "{% tablerow i in (1..3) %}{% endtablerow %}",
  "{% cycle 'a','b' %}",
  "{% increment x %}",
  "{% decrement x %}",
  "{{ lead.v | raw }}",
  "{{ lead.v | safe }}",
  "{{ lead.v | json }}",
  "{{ lead.v | where_exp: 'x', 'process' }}",
  "{{ lead.v | eval }}",
  "{{ lead.v | constructor }}",
  "{{ lead.v | __proto__ }}",
  "{{ lead.v | toString }}",
  "{{",
  "{%",
  "{% if %}",
  "{% for %}",
  "{% endif %}",
  "{% if lead.v %}",
  "{{ unknown }}",
  "{% for i in (1..1000000000) %}x{% endfor %}",
  "{% for i in (1..5000) %}{% for j in (1..5000) %}x{% endfor %}{% endfor %}",
  `${"{% assign a = 'xxxxxxxxxxxxxxxx' %}"}${"{% assign a = a | append: a %}".repeat(30)}{{ a }}`,
  `${"{% capture a %}{{ a }}{{ a }}xxxxxxxx{% endcapture %}".repeat(40)}{{ a }}`,
  "x".repeat(70_000),
] as const;

const bounded = [
  "{% if lead.v %}".repeat(2_000) + "{% endif %}".repeat(2_000),
  `{{ lead.v ${"| append: 'x' ".repeat(3_000)}}}`,
  "{{ 'x' | replace: '', 'xxxxxxxxxxxxxxxx' | replace: '', 'xxxxxxxxxxxxxxxx' | replace: '', 'xxxxxxxxxxxxxxxx' | replace: '', 'xxxxxxxxxxxxxxxx' | replace: '', 'xxxxxxxxxxxxxxxx' }}",
  "{{ 9999999999999999 | times: 9999999999999999 | times: 9999999999999999 }}",
  "{{ 1 | divided_by: 0 }}",
  "{{ 1 | modulo: 0 }}",
  "{{ 'now' | date: '%Y%Y%Y%Y%1000000Y' }}",
  "{{ lead.v | split: '' | join: 'xxxxxxxxxxx' | split: '' | join: 'xxxxxxxxxxxxxxx' | split: '' | join: 'xxxxxxxxxxxxxxxxx' }}",
  "{{ 'a' | truncate: 999999999 }}",
  "{{ 'x' | slice: -999999999, 999999999 }}",
  "{% for i in contacts reversed limit: 99999999999 offset: -5 %}x{% endfor %}",
  "{% for c in lead.v %}{{ c }}{% endfor %}",
  "{% for pair in lead %}{{ pair[0] }}{{ pair[1] }}{% endfor %}",
  "{% case lead.v %}{% when 'a' %}x{% endcase %}",
  "{% comment %}{{ {% }} %}{% endcomment %}",
  "{{ lead.v | date: '%c' }}",
  "{{ lead }}",
  "{{ lead.v | }}",
  "{{ contacts }}",
  "{{ (1..999999) | join: 'x' }}",
  "{{ (1..100000000) | size }}",
  "{% assign big = (1..100000000) %}{{ big | first }}",
  "{{ lead[lead.v] }}",
  "{{ lead.v[0] }}",
  "((((((((((",
  "{{ ((((((((((((lead.v)))))))))))) }}",
  "{% if 1 == 1 and 1 == 1 or 1 contains 1 %}x{% endif %}",
  "\u0000",
  '{{ "\u0000" }}',
  "{{ '\ud800' }}",
] as const;

/** Where no value may stand, whatever it is: each is refused when it is saved. */
const misplaced: readonly (readonly [delivery: Readonly<Record<string, unknown>>, part: string])[] = [
  ...[
    `<{{ lead.v }}/>`,
    `<a {{ lead.v }}="1"/>`,
    `<a b={{ lead.v }}/>`,
    `<a><!-- {{ lead.v }} --></a>`,
    `<a><?x {{ lead.v }}?></a>`,
    `<a>&{{ lead.v }};</a>`,
    `<a>&#x{{ lead.v }};</a>`,
    `<!DOCTYPE {{ lead.v }}><a/>`,
    `<a></{{ lead.v }}>`,
  ].map((body) => [{ internet: { method: "xml", url: "http://127.0.0.1:1/x", body } }, body] as const),
  ...[
    `<script>var v = "{{ lead.v }}";</script>`,
    `<style>p { color: {{ lead.v }} }</style>`,
    `<p onclick="{{ lead.v }}">x</p>`,
    `<p style="{{ lead.v }}">x</p>`,
    `<p title={{ lead.v }}>x</p>`,
    `<a href="{{ lead.v }}">x</a>`,
    `<a href="javascript:{{ lead.v }}">x</a>`,
    `<a href="//{{ lead.v }}/">x</a>`,
    `<img src="{{ lead.v }}">`,
    `<iframe srcdoc="{{ lead.v }}"></iframe>`,
    `<!-- {{ lead.v }} -->`,
    `<{{ lead.v }}>`,
  ].map((html) => [{ email: { to: ["x@example.com"], template: { text: "x", html } } }, html] as const),
  ...[
    "http://{{ lead.v }}/x",
    "http://127.0.0.1:{{ lead.v }}/x",
    "{{ lead.v }}://127.0.0.1/x",
    "http://{{ lead.v }}@127.0.0.1/x",
    "http://127.0.0.1{{ lead.v }}/x",
    "http://127.0.0.1/%{{ lead.v }}",
  ].map((url) => [{ internet: { method: "json", url, body: "{}" } }, url] as const),
  [{ internet: { method: "post", url: "http://127.0.0.1:1/x", body: "a=%{{ lead.v }}" } }, "a form's percent sign"],
  [{ internet: { method: "json", url: "http://127.0.0.1:1/x", body: '{"a":"\\{{ lead.v }}"}' } }, "JSON's backslash"],
];

const places: readonly ((source: string) => Readonly<Record<string, unknown>>)[] = [
  (source) => ({ internet: { method: "post", url: "http://127.0.0.1:1/x", fields: [["a", source]] } }),
  (source) => ({
    internet: {
      method: "json",
      url: "http://127.0.0.1:1/x",
      body: `{"a":"${source.replaceAll('"', "'").replaceAll("\n", " ")}"}`,
    },
  }),
  (source) => ({ internet: { method: "xml", url: "http://127.0.0.1:1/x", body: `<a>${source}</a>` } }),
  (source) => ({ email: { to: ["x@example.com"], template: { text: source } } }),
];

async function attackSandbox(attacker: Attacker): Promise<void> {
  const { record } = attacker;
  const somePlaces = () => (attacker.isShort ? [attacker.random.pick(places)] : places);
  for (const source of escapes) {
    await record.case(`template refused: ${source.slice(0, 60)}`, async (report) => {
      for (const place of somePlaces()) await saveTemplate(attacker, report, place(source), true);
    });
  }
  for (const [delivery, part] of misplaced) {
    await record.case(`a value where none may stand: ${part}`, async (report) =>
      saveTemplate(attacker, report, delivery, true),
    );
  }
  for (const source of bounded) {
    await record.case(`template bounded: ${source.slice(0, 60)}`, async (report) => {
      for (const place of somePlaces()) await saveTemplate(attacker, report, place(source), false);
    });
  }
}

/** Each template is quick enough by itself; a request of 200 of them, for a partner in 20 campaigns, is not. */
async function attackWithManyTemplates(attacker: Attacker): Promise<void> {
  await attacker.record.case("many templates that are slow together", async (report) => {
    const id = await addPartner(attacker, report, {});
    for (let count = 0; count < 20; count += 1) await addCampaign(attacker, report, [id]);
    const slow = "{% for i in (1..100) %}{% for j in (1..100) %}{% if lead.v %}{% endif %}{% endfor %}{% endfor %}";
    const fields = Array.from({ length: 200 }, (_, at) => [`f${at}`, slow]);
    const internet = { method: "post", url: `${attacker.installation.receiver.url}/ok`, fields };
    const path = `/v1/partners/${id}`;
    const { durationMs } = await attacker.refuse(report, { method: "PATCH", path, document: { internet } });
    if (durationMs > tooLongMs) report("crash", `took ${Math.round(durationMs)} ms`);
  });
}

/** Each partner is quick to save; a campaign with a certain field makes all of their templates slow. */
async function attackWithSlowPartners(attacker: Attacker): Promise<void> {
  await attacker.record.case("a campaign of many partners whose templates are slow", async (report) => {
    const loop = "{% for i in (1..100) %}{% for j in (1..100) %}{% if lead.v %}{% endif %}{% endfor %}{% endfor %}";
    const slow = `{% if lead.pace == "slow" %}${loop}{% endif %}`;
    const fields = Array.from({ length: 200 }, (_, at) => [`f${at}`, slow]);
    const internet = { method: "post", url: `${attacker.installation.receiver.url}/ok`, fields };
    const partners: { readonly partnerId: string; readonly price: number }[] = [];
    for (let count = 0; count < 20; count += 1)
      partners.push({ partnerId: await addPartner(attacker, report, { internet }), price: 100 });
    const pace = { key: "pace", type: "choice", choices: ["slow"] };
    const document = {
      name: "Slow",
      timeZone: "Europe/London",
      fields: [pace, { key: "v", type: "text" }],
      routing: [{ partners }],
    };
    const saved = await attacker.call(report, { method: "POST", path: "/v1/campaigns", document, shows: /intake key/ });
    if (saved.durationMs > tooLongMs) report("crash", `took ${Math.round(saved.durationMs)} ms`);
    if (saved.status !== 201 || !/limit exceeded/.test(saved.text))
      report("accepted_bad", `nothing was slow: ${saved.status} ${saved.text.slice(0, 200)}`);
  });
}

async function saveTemplate(
  attacker: Attacker,
  report: Report,
  delivery: Readonly<Record<string, unknown>>,
  isBad: boolean,
): Promise<void> {
  const document = {
    name: `Template ${attacker.random.word(8)}`,
    timeZone: "Europe/London",
    currency: "GBP",
    ...delivery,
  };
  const saved = await attacker.call(report, { method: "POST", path: "/v1/partners", document });
  if (saved.durationMs > tooLongMs) report("crash", `saving took ${Math.round(saved.durationMs)} ms`);
  if (saved.status >= 400) return;
  // Without a campaign nothing is known of the lead's fields: what a template is refused for is found once they are.
  const id = textAt(saved.json, "id");
  const routing = [{ partners: [{ partnerId: id, price: 100 }] }];
  const campaign = { name: "Templates", timeZone: "Europe/London", fields: [{ key: "v", type: "text" }], routing };
  const taken = await attacker.call(report, { method: "POST", path: "/v1/campaigns", document: campaign });
  if (taken.status >= 400) return;
  const shown = await attacker.call(report, {
    method: "POST",
    path: `/v1/partners/${id}/preview`,
    document: { fields: { v: "abc" } },
  });
  if (shown.durationMs > tooLongMs) report("crash", `rendering took ${Math.round(shown.durationMs)} ms`);
  if (isBad && shown.status === 200 && valueAt(shown.json, "problem") === null) {
    report("accepted_bad", `it renders as ${shown.text.slice(0, 300)}`);
  }
}
