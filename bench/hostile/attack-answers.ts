import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { type Attacker, addCampaign, addPartner } from "./attacker.ts";
import { textAt, valueAt } from "./http.ts";
import { answer, type Behaviour } from "./receivers.ts";
import { tooLongMs } from "./record.ts";

/** Partners that answer with anything but an answer. */

const timeoutMs = 1_500;

const write =
  (text: string | Buffer): Behaviour =>
  (socket) =>
    void socket.end(text);

/** Writes the same over and over, until the other side has had enough. */
const flood =
  (first: string, chunk: string | Buffer, everyMs = 0): Behaviour =>
  (socket) => {
    socket.write(first);
    const pump = () => {
      if (socket.destroyed) return;
      if (socket.write(chunk)) setTimeout(pump, everyMs);
      else socket.once("drain", () => setTimeout(pump, everyMs));
    };
    pump();
  };

const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
const zeros = (megabytes: number) => Buffer.alloc(megabytes * 1_000_000);

function behaviours(random: Attacker["random"], canaryUrl: string): Readonly<Record<string, Behaviour>> {
  // Made beforehand: whoever makes them is busy for a second.
  const bomb = gzipSync(zeros(200));
  const bombInBomb = gzipSync(bomb);
  const deflated = deflateSync(zeros(100));
  const brotli = brotliCompressSync(zeros(50));
  const laughs = Array.from({ length: 10 }, (_, at) => `<!ENTITY l${at + 1} "${`&l${at};`.repeat(10)}">`).join("");
  const xml = "Content-Type: application/xml";
  return {
    "no answer at all": () => undefined,
    "an end at once": (socket) => void socket.destroy(),
    "a reset in the middle of the body": (socket) => {
      socket.write(`${ok}Content-Length: 1000\r\n\r\n{"a":`);
      setTimeout(() => socket.resetAndDestroy(), 20);
    },
    "one byte every 100 ms": flood(`${ok}Content-Length: 1000000\r\n\r\n`, "x", 100),
    "an endless body": flood(`${ok}\r\n`, zeros(1)),
    "endless chunks": flood(`${ok}Transfer-Encoding: chunked\r\n\r\n`, `10000\r\n${"x".repeat(0x10000)}\r\n`),
    "chunks of one byte": flood(`${ok}Transfer-Encoding: chunked\r\n\r\n`, "1\r\nx\r\n".repeat(2_000)),
    "endless headers": flood("HTTP/1.1 200 OK\r\n", `X-A: ${"a".repeat(1_000)}\r\n`),
    "endless short headers": flood("HTTP/1.1 200 OK\r\n", "a:b\r\n".repeat(100)),
    "one endless header": flood("HTTP/1.1 200 OK\r\nX-A: ", "a".repeat(10_000)),
    "an endless status line": flood("HTTP/1.1 200 ", "OK".repeat(5_000)),
    "endless trailers": flood(`${ok}Transfer-Encoding: chunked\r\n\r\n0\r\n`, "X-A: b\r\n".repeat(100)),
    "an endless chunk extension": flood(`${ok}Transfer-Encoding: chunked\r\n\r\n5;`, "a".repeat(5_000)),
    "endless 100 Continue": flood("", "HTTP/1.1 100 Continue\r\n\r\n".repeat(50)),
    "endless 103 Early Hints": flood(
      "",
      `HTTP/1.1 103 Early Hints\r\nLink: <${canaryUrl}>; rel=preload\r\n\r\n`.repeat(50),
    ),
    "an endless second answer": flood(`${ok}Content-Length: 2\r\n\r\n{}`, `${ok}Content-Length: 2\r\n\r\n{}`),
    "101 Switching Protocols": write(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nnoise",
    ),
    "status 000": write("HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n"),
    "status 999": write("HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n"),
    "a status that is no number": write("HTTP/1.1 abc X\r\nContent-Length: 0\r\n\r\n"),
    "HTTP/0.9": write("hello"),
    "HTTP/9.9": write("HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "another protocol": write("220 mail.example ESMTP\r\n"),
    "a TLS alert": write(Buffer.from("15030300020228", "hex")),
    noise: write(random.bytes(3_000)),
    nothing: write(""),
    "two lengths": write(`${ok}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x`),
    "a length below zero": write(`${ok}Content-Length: -5\r\n\r\n{}`),
    "a length beyond 2^64": write(`${ok}Content-Length: 99999999999999999999\r\n\r\n{}`),
    "a length and chunks": write(`${ok}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`),
    "a chunk size that is no number": write(`${ok}Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n`),
    "a header without a name": write(`${ok}: x\r\nContent-Length: 2\r\n\r\n{}`),
    "a header with NUL": write(`${ok}X: a\0b\r\nContent-Length: 2\r\n\r\n{}`),
    "headers of JavaScript": write(`${ok}__proto__: x\r\nconstructor: y\r\ntoString: z\r\nContent-Length: 2\r\n\r\n{}`),
    "1,000 cookies": (socket) =>
      answer(
        socket,
        "{}",
        Array.from({ length: 1_000 }, (_, at) => `Set-Cookie: a${at}=b`),
      ),
    "NUL bytes in the body": (socket) => answer(socket, '{"ok":"a\0b\\u0000c"}'),
    "half of a surrogate pair": (socket) => answer(socket, '{"ok":true,"ref":"\\ud800"}'),
    "bytes that are not UTF-8": (socket) => answer(socket, random.bytes(2_000)),
    "UTF-16 with a byte too many": (socket) =>
      answer(socket, Buffer.concat([Buffer.from("\ufeff{}", "utf16le"), Buffer.from([0])])),
    "a charset of nothing": (socket) => answer(socket, "{}", ["Content-Type: application/json; charset=__proto__"]),
    "the charset base64": (socket) => answer(socket, "{}", ["Content-Type: application/json; charset=base64"]),
    "the charset utf-7": (socket) => answer(socket, "+ADw-", ["Content-Type: application/json; charset=utf-7"]),
    "a gzip bomb of 200 MB": (socket) => answer(socket, bomb, ["Content-Encoding: gzip"]),
    "a gzip bomb inside gzip": (socket) => answer(socket, bombInBomb, ["Content-Encoding: gzip, gzip"]),
    "a deflate bomb": (socket) => answer(socket, deflated, ["Content-Encoding: deflate"]),
    "a brotli bomb": (socket) => answer(socket, brotli, ["Content-Encoding: br"]),
    "100 encodings": (socket) => answer(socket, gzipSync("{}"), [`Content-Encoding: ${"gzip,".repeat(100)}gzip`]),
    "gzip that is none": (socket) => answer(socket, "{}", ["Content-Encoding: gzip"]),
    "gzip that is cut": (socket) => answer(socket, gzipSync('{"ok":true}').subarray(0, 15), ["Content-Encoding: gzip"]),
    "an encoding nobody knows": (socket) => answer(socket, "{}", ["Content-Encoding: constructor"]),
    zstd: (socket) => answer(socket, Buffer.from("28b52ffd0400", "hex"), ["Content-Encoding: zstd"]),
    "JSON nested 30,000 deep": (socket) => answer(socket, `${"[".repeat(30_000)}${"]".repeat(30_000)}`),
    "JSON of 30,000 values": (socket) => answer(socket, `{"a":[${"1,".repeat(30_000)}1]}`),
    "JSON with prototype keys": (socket) =>
      answer(socket, '{"__proto__":{"ok":true},"constructor":{"prototype":{"ok":true}}}'),
    "billion laughs": (socket) => answer(socket, `<!DOCTYPE a [<!ENTITY l0 "ha">${laughs}]><a>&l10;</a>`, [xml]),
    "an external entity": (socket) =>
      answer(
        socket,
        `<!DOCTYPE a [<!ENTITY x SYSTEM "${canaryUrl}"><!ENTITY y SYSTEM "file:///etc/passwd">]><a>&x;&y;</a>`,
        [xml],
      ),
    "XML nested 10,000 deep": (socket) => answer(socket, `${"<a>".repeat(10_000)}${"</a>".repeat(10_000)}`, [xml]),
    "XML of 20,000 elements": (socket) => answer(socket, `<a>${"<b/>".repeat(15_000)}</a>`, [xml]),
    "XML with an instruction of its own": (socket) =>
      answer(socket, `<?xml-stylesheet href="${canaryUrl}"?><a/>`, [xml]),
    "redirects without an end": (socket) => answer(socket, "", ["Location: ?again"], "307 Temporary Redirect"),
    "a redirect to nowhere": (socket) => answer(socket, "", ["Location: http://[::1"], "308 Permanent Redirect"),
    "a redirect to a file": (socket) => answer(socket, "", ["Location: file:///etc/passwd"], "302 Found"),
    "a redirect with no Location": (socket) => answer(socket, "", [], "302 Found"),
    "a Location of 30 KB": (socket) => answer(socket, "", [`Location: /${"a".repeat(30_000)}`], "302 Found"),
    "Retry-After in a thousand years": (socket) =>
      answer(socket, "", ["Retry-After: 31536000000"], "503 Service Unavailable"),
    "Retry-After of 1e400": (socket) => answer(socket, "", ["Retry-After: 1e400"], "429 Too Many Requests"),
    "Retry-After below zero": (socket) => answer(socket, "", ["Retry-After: -5"], "429 Too Many Requests"),
    "Retry-After in the year 275760": (socket) =>
      answer(socket, "", ["Retry-After: Sat, 13 Sep 275760 00:00:01 GMT"], "503 Service Unavailable"),
    "204 with a body": write("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
    "a reference of 60 KB": (socket) =>
      answer(
        socket,
        JSON.stringify({ ok: true, ref: "r".repeat(60_000), price: "9".repeat(400), reason: "x\n".repeat(20_000) }),
      ),
    "a price that is no number": (socket) => answer(socket, '{"ok":true,"price":"1e999","ref":{"a":[1]}}'),
    "the request, given back": (socket, received) => answer(socket, JSON.stringify(received)),
  };
}

const secret = "partner-secret-0123456789";

/** What the rules look at: the same answers, once without rules, once with JSON paths, once with XPath. */
const looks: readonly (readonly [name: string, settings: Readonly<Record<string, unknown>>])[] = [
  ["no rules", {}],
  [
    "JSONPath",
    {
      success: { path: "$..ok", equals: true },
      reject: { path: "$.error", exists: true },
      reason: "$..reason",
      reference: "$.ref",
      price: "$.price",
    },
  ],
  ["XPath", { success: { path: "//ok", equals: "1" }, reason: "//reason", reference: "/a/b" }],
  ["a regular expression", { success: { matches: "(a+)+$" }, reject: { matches: "(x|x)*y" } }],
];

export async function attackAnswers(attacker: Attacker): Promise<void> {
  const { record, random, installation } = attacker;
  const { receiver, canary } = installation;
  attacker.secrets.set("a partner's token", secret);
  let id = "";
  await record.case("a partner", async (report) => {
    id = await addPartner(attacker, report, {});
    await addCampaign(attacker, report, [id]);
  });
  const acts = behaviours(random, `http://127.0.0.1:${canary.port}/`);
  const work = looks.flatMap(([look, settings]) =>
    Object.entries(acts).map(([name, act]) => ({ look, settings, name, act })),
  );
  const ids = new Map<string, string>();
  await record.case("a partner for each answer", async (report) => {
    for (const [index, { look, name, act, settings }] of work.entries()) {
      const path = `a${index}`;
      receiver.behave(path, act);
      const auth = { type: "bearer", token: secret };
      const internet = {
        method: look === "XPath" ? "xml" : "json",
        url: `${receiver.url}/${path}`,
        timeoutMs,
        followRedirects: true,
        auth,
        headers: { "X-Token": secret },
        body: look === "XPath" ? "<a/>" : "{}",
        ...settings,
      };
      ids.set(`${look}: ${name}`, await addPartner(attacker, report, { internet }));
    }
    await addCampaign(attacker, report, [...ids.values()].slice(0, 90));
  });
  const before = canary.connections();
  // Several at once: most of them only wait.
  const queue = [...ids];
  const tryNext = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [name, partnerId] = next;
      await record.case(name, async (report) => {
        const tried = await attacker.call(report, {
          method: "POST",
          path: `/v1/partners/${partnerId}/test`,
          document: {},
        });
        if (tried.status !== 200) report("accepted_bad", `the trial was refused: ${tried.text.slice(0, 200)}`);
        if (tried.durationMs > timeoutMs + tooLongMs) report("crash", `took ${Math.round(tried.durationMs)} ms`);
        if (/root:.*:0:0/.test(tried.text)) report("leak", "a file of ours was read");
        if (tried.text.length > 1_000_000) report("crash", `${tried.text.length} bytes are given back`);
      });
    }
  };
  await Promise.all(Array.from({ length: 8 }, tryNext));
  await record.case("nobody connected to what the answers name", async (report) => {
    if (canary.connections() > before) report("leak", `${canary.connections() - before} connections`);
  });
  await attackRules(attacker);
  await attackWithRealLeads(attacker, Object.keys(acts).length);
  await attackWsdl(attacker);
}

const patterns = [
  "(a+)+$",
  "(a|a)*b",
  "(.*)*x",
  "^(([a-z])+.)+[A-Z]([a-z])+$",
  "(a{1,100}){1,100}",
  "((a{1000}){1000})",
  "a{1000000}",
  "(?=a)b",
  "(a)\\1",
  "(?<!x)y",
  "[",
  "(",
  "a**",
  "\\",
  "\\p{L}{500}",
  "(?:a?){100}a{100}",
  ".*.*.*.*.*.*.*.*.*.*.*.*z",
  "(?i)(ſ|k)*",
  "[^a]*".repeat(80),
  "|".repeat(400),
  "(".repeat(200) + ")".repeat(200),
];
const paths = [
  "$..[?@..a]",
  "$..*..*",
  "$..*..*..*",
  "$[?match(@.a, '(a+)+$')]",
  "$[?search(@.a, '(a+)+$')]",
  "$..[?@.a == $..b]",
  "$[?count(@..*) > 1]",
  "$..[?count(@..*) > count(@..*)]",
  "$[0,0,0,0,0,0,0]",
  "$[::1]",
  "$[9999999999999999]",
  "$[-9007199254740993:]",
  "$.__proto__.polluted",
  "$.constructor",
  "$[",
  "$..",
  "$[?(@.length-1)]",
  "$[?(process.exit())]",
  "$".repeat(100),
  "/".repeat(100),
  "//*//*//*",
  "//*[count(//*) > 1]",
  "//*[.//*[.//*[.//*]]]",
  "//a[string-length(concat(., ., ., .)) > 1]",
  "/*/following::*",
  "/descendant::*/descendant::*",
  "//*[position() = last()][contains(., .)]",
  "/a[1 div 0]",
  "/a | //b | //c",
  "document('file:///etc/passwd')",
  "/a[document('x')]",
  "/a[unparsed-text('file:///etc/passwd')]",
  "//*[translate(., 'abc', 'def')]",
  "id('a')/b",
  "//@*",
  "//namespace::*",
  "/a[",
  "//*[lang('en')]",
  "//*[sum(//*)>1]",
];

async function attackRules(attacker: Attacker): Promise<void> {
  const { record, installation } = attacker;
  const { receiver } = installation;
  const text = `{"a":"${"a".repeat(30_000)}!"}`;
  receiver.behave("long", (socket) => answer(socket, text));
  receiver.behave("wide", (socket) =>
    answer(
      socket,
      `{"a":${"[".repeat(40)}${Array.from({ length: 1_500 }, () => '{"a":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"}').join()}${"]".repeat(40)}}`,
    ),
  );
  receiver.behave("tree", (socket) =>
    answer(socket, `<a>${"<b><c>".repeat(20)}${"<d>x</d>".repeat(1_500)}${"</c></b>".repeat(20)}</a>`, [
      "Content-Type: text/xml",
    ]),
  );
  const rules = [
    ...patterns.map((pattern) => ({ matches: pattern })),
    ...paths.map((path) => ({ path, exists: true })),
  ];
  for (const rule of rules) {
    await record.case(`a rule ${JSON.stringify(rule).slice(0, 70)}`, async (report) => {
      for (const [path, method, body] of [
        ["long", "json", "{}"],
        ["wide", "json", "{}"],
        ["tree", "xml", "<a/>"],
      ] as const) {
        const internet = { method, url: `${receiver.url}/${path}`, timeoutMs, body, success: rule };
        const document = { name: "Rule", timeZone: "Europe/London", currency: "GBP", internet };
        const saved = await attacker.call(report, { method: "POST", path: "/v1/partners", document });
        if (saved.durationMs > tooLongMs) report("crash", `saving took ${Math.round(saved.durationMs)} ms`);
        if (saved.status >= 400) return;
        const tried = await attacker.call(report, {
          method: "POST",
          path: `/v1/partners/${textAt(saved.json, "id")}/test`,
          document: {},
        });
        if (tried.durationMs > tooLongMs)
          report("crash", `${path}: judging took ${Math.round(tried.durationMs)} ms: ${tried.text.slice(0, 200)}`);
      }
    });
  }
}

/** The same partners, with leads that go through the queue: the worker lives, and each lead comes to an end or waits. */
async function attackWithRealLeads(attacker: Attacker, answers: number): Promise<void> {
  const { record, installation } = attacker;
  const { receiver } = installation;
  await record.case("real leads to all of them, through the worker", async (report) => {
    const partners: string[] = [];
    for (let index = 0; index < answers; index += 1) {
      const internet = {
        method: "json",
        url: `${receiver.url}/a${index}`,
        timeoutMs,
        body: '{"v":"{{ lead.v }}"}',
        auth: { type: "bearer", token: secret },
      };
      partners.push(await addPartner(attacker, report, { internet }));
    }
    const shop = await addCampaign(attacker, report, partners.slice(0, 100));
    const leads: string[] = [];
    for (let count = 0; count < 3; count += 1) {
      const document = { ...attacker.person(), v: `token ${secret}`.slice(0, 5) };
      leads.push(
        textAt(
          (await attacker.call(report, { method: "POST", path: `/v1/intake/${shop.intakeKey}`, key: null, document }))
            .json,
          "leadId",
        ),
      );
    }
    const endsAt = performance.now() + 20_000;
    for (const lead of leads) {
      for (;;) {
        const shown = await attacker.call(report, { path: `/v1/leads/${lead}` });
        const deliveries = valueAt(shown.json, "deliveries");
        const tried = Array.isArray(deliveries)
          ? deliveries.filter((one) => JSON.stringify(one).includes('"number":1')).length
          : 0;
        if (valueAt(shown.json, "state") === "sold" || tried >= 1 || performance.now() > endsAt) break;
        await sleep(200);
      }
    }
    await sleep(2_000);
    const attempts = await attacker.call(report, { path: "/v1/deliveries?limit=200" });
    if (!attempts.text.includes('"state"')) report("accepted_bad", "no delivery was made");
  });
}

/** WSDLs that were written to harm whoever reads them. */
async function attackWsdl(attacker: Attacker): Promise<void> {
  const { record, installation } = attacker;
  const { receiver, canary } = installation;
  const start =
    '<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:s="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:x">';
  const laughs = Array.from({ length: 10 }, (_, at) => `<!ENTITY l${at + 1} "${`&l${at};`.repeat(10)}">`).join("");
  const groups = Array.from(
    { length: 40 },
    (_, at) =>
      `<s:complexType name="t${at}"><s:sequence><s:element name="a" type="t${at + 1}"/><s:element name="b" type="t${at + 1}"/></s:sequence></s:complexType>`,
  ).join("");
  receiver.behave("wsdl", (socket: Socket) =>
    answer(socket, `${start}<import namespace="urn:x" location="wsdl"/></definitions>`, ["Content-Type: text/xml"]),
  );
  const bomb = gzipSync(zeros(100));
  receiver.behave("bomb", (socket: Socket) =>
    answer(socket, bomb, ["Content-Type: text/xml", "Content-Encoding: gzip"]),
  );
  receiver.behave("moved", (socket: Socket) =>
    answer(socket, "", [`Location: http://127.0.0.1:${canary.port}/`], "302 Found"),
  );
  const documents: readonly (readonly [name: string, document: Readonly<Record<string, unknown>>])[] = [
    ["no XML", { text: "hello" }],
    ["nothing in it", { text: `${start}</definitions>` }],
    ["billion laughs", { text: `<!DOCTYPE a [<!ENTITY l0 "ha">${laughs}]>${start}&l10;</definitions>` }],
    ["nested 20,000 deep", { text: `${start}${"<a>".repeat(20_000)}${"</a>".repeat(20_000)}</definitions>` }],
    [
      "types inside types",
      { text: `${start}<types><s:schema targetNamespace="urn:x">${groups}</s:schema></types></definitions>` },
    ],
    ["a file", { text: `${start}<import namespace="urn:x" location="file:///etc/passwd"/></definitions>` }],
    ["a relative path", { text: `${start}<import namespace="urn:x" location="../../../etc/passwd"/></definitions>` }],
    ["one that includes itself", { url: `${receiver.url}/wsdl` }],
    ["a bomb", { url: `${receiver.url}/bomb` }],
    ["one that has moved to a private address", { url: `${receiver.url}/moved` }],
    [
      "prototype names",
      {
        text: `${start}<message name="__proto__"><part name="constructor" element="__proto__"/></message><portType name="__proto__"/></definitions>`,
      },
    ],
    ["both", { text: "x", url: "http://example.com" }],
  ];
  for (const [name, document] of documents) {
    await record.case(`a WSDL: ${name}`, async (report) => {
      const before = canary.connections();
      const read = await attacker.refuse(report, { method: "POST", path: "/v1/tools/wsdl", document });
      if (/root:.*:0:0/.test(read.text)) report("leak", "a file of ours was read");
      if (canary.connections() > before) report("leak", "a private address was connected to");
      if (read.durationMs > 25_000) report("crash", `took ${Math.round(read.durationMs)} ms`);
    });
  }
}
