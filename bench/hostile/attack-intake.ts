import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { type Attacker, addCampaign, addPartner, type Shop } from "./attacker.ts";
import { sendRaw, textAt, valueAt } from "./http.ts";
import { tooLongMs } from "./record.ts";

const json = "application/json";
const form = "application/x-www-form-urlencoded";
const xml = "application/xml";

interface Body {
  readonly name: string;
  readonly type: string;
  readonly body: string | Buffer;
  /** Either way will do where absent, but no 5xx. */
  readonly expect?: "refused" | "taken";
  readonly headers?: Readonly<Record<string, string>>;
}

const deep = 10_000;

/** Leads as nobody in their senses would send them. */
export async function attackIntake(attacker: Attacker): Promise<void> {
  const { record, random, person, installation } = attacker;
  let shop: Shop = { campaignId: "", intakeKey: "" };
  await record.case("a campaign to send to", async (report) => {
    const partner = await addPartner(attacker, report, {
      internet: { method: "json", url: `${installation.receiver.url}/ok` },
    });
    shop = await addCampaign(attacker, report, [partner]);
  });
  const path = `/v1/intake/${shop.intakeKey}`;
  for (const one of bodies(attacker)) {
    await record.case(one.name, async (report) => {
      const sending = {
        method: "POST",
        path,
        key: null,
        body: one.body,
        headers: { "content-type": one.type, ...one.headers },
      };
      const answer =
        one.expect === "refused" ? await attacker.refuse(report, sending) : await attacker.call(report, sending);
      if (one.expect === "taken" && answer.status !== 201) {
        report("accepted_bad", `a good lead was refused: ${answer.status} ${answer.text.slice(0, 300)}`);
      }
      if (answer.durationMs > tooLongMs) report("crash", `took ${Math.round(answer.durationMs)} ms`);
    });
  }
  await record.case("prototype keys change nothing", async (report) => {
    const body = `{"email":"${person().email}","__proto__":{"polluted":"yes"},"constructor":{"prototype":{"polluted":"yes"}}}`;
    const sent = await attacker.call(report, {
      method: "POST",
      path,
      key: null,
      body,
      headers: { "content-type": json },
    });
    const lead = await attacker.call(report, { path: `/v1/leads/${textAt(sent.json, "leadId")}` });
    const organisation = await attacker.call(report, { path: "/v1/organisation" });
    if (valueAt(organisation.json, "polluted") !== undefined || valueAt(lead.json, "polluted") !== undefined) {
      report("accepted_bad", "an object's prototype was changed");
    }
  });
  await record.case("a number beyond 2^53 is not rounded", async (report) => {
    const body = `{"email":"${person().email}","v":9007199254740993,"other":123456789012345678901234567890}`;
    const sent = await attacker.call(report, {
      method: "POST",
      path,
      key: null,
      body,
      headers: { "content-type": json },
    });
    const lead = await attacker.call(report, { path: `/v1/leads/${textAt(sent.json, "leadId")}` });
    if (!lead.text.includes("9007199254740993")) report("accepted_bad", "9007199254740993 became another number");
  });
  const count = attacker.isShort ? 150 : 3_000;
  for (let index = 0; index < count; index += 1) {
    await record.case(`a good body with bytes changed, number ${index}`, async (report) => {
      const [type, good] = random.pick(goodBodies(attacker));
      const body = mutate(attacker, Buffer.from(good));
      const charset = random.pick([
        "",
        "",
        "; charset=utf-8",
        "; charset=utf-16",
        "; charset=iso-8859-1",
        "; charset=gb18030",
      ]);
      await attacker.call(report, {
        method: "POST",
        path,
        key: null,
        body,
        headers: { "content-type": type + charset },
      });
    });
  }
  await attackWire(attacker, path);
}

function goodBodies({ person }: Attacker): readonly (readonly [type: string, body: string])[] {
  const one = person();
  const pairs = Object.entries(one);
  return [
    [json, JSON.stringify({ ...one, contacts: [{ first_name: one.first_name }], n: 12.5 })],
    [form, new URLSearchParams(one as never).toString()],
    [xml, `<?xml version="1.0"?><lead>${pairs.map(([key, value]) => `<${key}>${value}</${key}>`).join("")}</lead>`],
  ];
}

const nastyBytes = [0, 0xff, 0xc0, 0xed, 0x22, 0x5c, 0x7b, 0x7d, 0x5b, 0x3c, 0x26, 0x25, 0x2b, 0x3d, 0x0a, 0x2c];

function mutate({ random }: Attacker, body: Buffer): Buffer {
  const changed = Buffer.from(body);
  const changes = 1 + random.below(6);
  for (let index = 0; index < changes; index += 1) changed[random.below(changed.length)] = random.pick(nastyBytes);
  if (random.below(3) === 0) return changed.subarray(0, random.below(changed.length));
  if (random.below(3) === 0) {
    const at = random.below(changed.length);
    return Buffer.concat([changed.subarray(0, at), random.bytes(1 + random.below(20)), changed.subarray(at)]);
  }
  return changed;
}

function bodies(attacker: Attacker): readonly Body[] {
  const { person, installation } = attacker;
  const email = () => person().email;
  const good = () => JSON.stringify(person());
  const external = `http://127.0.0.1:${installation.canary.port}/`;
  const refused = (name: string, type: string, body: string | Buffer): Body => ({
    name,
    type,
    body,
    expect: "refused",
  });
  const doctype = (inside: string, use: string) =>
    refused(
      `XML with ${inside.slice(0, 40)}`,
      xml,
      `<?xml version="1.0"?><!DOCTYPE lead [${inside}]><lead><email>${email()}</email><comments>${use}</comments></lead>`,
    );
  const laughs = Array.from({ length: 10 }, (_, at) => `<!ENTITY l${at + 1} "${`&l${at};`.repeat(10)}">`).join("");
  const types = [
    "text/plain",
    "multipart/form-data; boundary=x",
    "application/octet-stream",
    "text/csv",
    "image/png",
    "application/x-yaml",
    "*/*",
    "json",
    "",
    ";",
    "application/json; charset=",
    "a".repeat(5_000),
  ];
  const charsets = [
    "utf-7",
    "base64",
    "hex",
    "binary",
    "ebcdic",
    "x-nothing",
    "utf-32",
    "../../etc/passwd",
    "__proto__",
    "constructor",
    "'; drop table leads; --",
  ];
  return [
    { name: "good JSON", type: json, body: good(), expect: "taken" },
    { name: "good form", type: form, body: `email=${email()}`, expect: "taken" },
    { name: "good XML", type: xml, body: `<lead><email>${email()}</email></lead>`, expect: "taken" },
    ...types.map((type) => ({ name: `content type ${JSON.stringify(type.slice(0, 40))}`, type, body: good() })),
    ...types.slice(0, 7).map((type) => refused(`content type ${type} is not taken`, type, good())),
    ...charsets.flatMap((charset) =>
      [json, form, xml].map((type) => ({
        name: `${type} in charset ${charset}`,
        type: `${type}; charset=${charset}`,
        body: good(),
      })),
    ),
    refused("an empty body", json, ""),
    refused("truncated JSON", json, good().slice(0, -5)),
    refused("JSON that is a list", json, `[${good()}]`),
    refused("JSON that is a text", json, '"lead"'),
    refused("JSON that is null", json, "null"),
    refused("two JSON documents", json, good() + good()),
    refused("JSON with a comment", json, `/* */${good()}`),
    refused("JSON nested 10,000 deep in objects", json, `${'{"a":'.repeat(deep)}1${"}".repeat(deep)}`),
    refused("JSON nested 10,000 deep in lists", json, `{"a":${"[".repeat(deep)}${"]".repeat(deep)}}`),
    refused("JSON of 100,000 brackets without an end", json, "[".repeat(100_000)),
    refused("JSON with a key twice", json, `{"email":"${email()}","email":"${email()}"}`),
    refused("JSON with a key twice, once escaped", json, `{"email":"${email()}","\\u0065mail":"${email()}"}`),
    refused("JSON of 60,000 numbers", json, `{"a":[${"1,".repeat(60_000)}1]}`),
    refused("JSON with NaN", json, `{"email":"${email()}","n":NaN}`),
    refused("a number field of 1e400", json, `{"email":"${email()}","n":1e400}`),
    refused("a money field beyond 2^53", json, `{"email":"${email()}","amount":90071992547409930}`),
    refused(
      "UTF-8 cut in the middle of a character",
      json,
      Buffer.concat([Buffer.from(`{"v":"`), Buffer.from([0xe2, 0x82]), Buffer.from('"}')]),
    ),
    refused("UTF-16 that is called UTF-8", json, Buffer.from(good(), "utf16le")),
    refused("latin-1 that is called UTF-8", json, Buffer.from(`{"v":"Zo\xeb"}`, "latin1")),
    refused("a body of 1 MB", json, JSON.stringify({ v: "x".repeat(1_000_000) })),
    refused("a body that is gzip, and says so", json, gzipSync(good())),
    { name: "NUL bytes inside", type: json, body: `{"email":"${email()}","v":"a\\u0000b","\\u0000k":"x"}` },
    { name: "half of a surrogate pair", type: json, body: `{"email":"${email()}","v":"\\ud800","\\udfff":1}` },
    { name: "a byte order mark", type: json, body: `\ufeff${good()}` },
    {
      name: "5,000 keys",
      type: json,
      body: JSON.stringify(Object.fromEntries(Array.from({ length: 4_900 }, (_, at) => [`key${at}`, at]))),
    },
    {
      name: "a key of 200,000 characters",
      type: json,
      body: JSON.stringify({ [`k${"x".repeat(200_000)}`]: 1, email: email() }),
    },
    {
      name: "keys of JavaScript",
      type: json,
      body: '{"toString":1,"hasOwnProperty":1,"valueOf":{},"then":1,"toJSON":"x","length":-1}',
    },
    { name: "an object for a text field", type: json, body: `{"email":{"$ne":null},"v":[1,2,{"a":[]}]}` },
    { name: "contacts that are no list", type: json, body: `{"email":"${email()}","contacts":"x"}` },
    {
      name: "contacts of every kind",
      type: json,
      body: `{"email":"${email()}","contacts":[null,1,"x",[],{},{"contacts":[{}]},{"__proto__":{}}]}`,
    },
    {
      name: "4,000 contacts",
      type: json,
      body: `{"email":"${email()}","contacts":[${Array.from({ length: 4_000 }, () => "{}").join(",")}]}`,
    },
    { name: "an expensive phone number", type: json, body: JSON.stringify({ phone: "+".repeat(100_000) }) },
    {
      name: "an expensive email address",
      type: json,
      body: JSON.stringify({ email: `${"a.".repeat(50_000)}@${"b.".repeat(50_000)}` }),
    },
    { name: "an expensive text to clean", type: json, body: JSON.stringify({ v: "\u0301".repeat(19_000) }) },
    { name: "form: percent signs without digits", type: form, body: `email=${email()}&v=%%%zz%1&%=%` },
    { name: "form: a key 100 times", type: form, body: "email=x&".repeat(100) },
    {
      name: "form: brackets",
      type: form,
      body: "contacts[0][first_name]=x&__proto__[polluted]=yes&constructor.prototype.polluted=yes",
    },
    refused("form: 60,000 pairs", form, "a=&".repeat(60_000)),
    refused("form: bytes that are not UTF-8", form, "v=%ff%fe"),
    refused("truncated XML", xml, `<lead><email>${email()}</email>`),
    refused("XML nested 10,000 deep", xml, `${"<a>".repeat(deep)}${"</a>".repeat(deep)}`),
    refused("XML with two roots", xml, "<lead/><lead/>"),
    refused("XML with an entity of HTML", xml, "<lead><v>&nbsp;</v></lead>"),
    doctype(`<!ENTITY l0 "ha">${laughs}`, "&l10;"),
    doctype(`<!ENTITY x "${"a".repeat(50_000)}">`, "&x;".repeat(2_000)),
    doctype('<!ENTITY x SYSTEM "file:///etc/passwd">', "&x;"),
    doctype(`<!ENTITY x SYSTEM "${external}">`, "&x;"),
    doctype(`<!ENTITY % x SYSTEM "${external}"> %x;`, "x"),
    refused("XML with an external DOCTYPE", xml, `<!DOCTYPE lead SYSTEM "${external}"><lead><v>x</v></lead>`),
    {
      name: "XML with XInclude",
      type: xml,
      body: `<lead xmlns:xi="http://www.w3.org/2001/XInclude"><v><xi:include href="${external}" parse="text"/></v></lead>`,
    },
    { name: "XML with a stylesheet", type: xml, body: `<?xml-stylesheet href="${external}"?><lead><v>x</v></lead>` },
    {
      name: "XML with elements of JavaScript",
      type: xml,
      body: "<lead><__proto__><polluted>yes</polluted></__proto__><constructor>x</constructor></lead>",
    },
    {
      name: "XML with 5,000 attributes",
      type: xml,
      body: `<lead ${Array.from({ length: 5_000 }, (_, at) => `a${at}="x"`).join(" ")}><v>x</v></lead>`,
    },
    {
      name: "XML with a character reference that is none",
      type: xml,
      body: "<lead><v>&#0;&#xffffff;&#x110000;&#xd800;</v></lead>",
    },
    {
      name: "XML that says UTF-7",
      type: xml,
      body: `<?xml version="1.0" encoding="utf-7"?><lead><v>+ADw-x+AD4-</v></lead>`,
    },
    { name: "XML with CDATA", type: xml, body: "<lead><v><![CDATA[<script>]]]]><![CDATA[>]]></v></lead>" },
    {
      name: "an Idempotency-Key of 300 characters",
      type: json,
      body: good(),
      headers: { "idempotency-key": "k".repeat(300) },
      expect: "refused",
    },
    {
      name: "an Idempotency-Key of SQL",
      type: json,
      body: good(),
      headers: { "idempotency-key": "'; drop table leads; --" },
    },
    {
      name: "an Idempotency-Key outside ASCII",
      type: json,
      body: good(),
      headers: { "idempotency-key": "\xe9\xff\x80" },
    },
  ];
}

/** What a client may do below HTTP, and what breaks HTTP itself. */
async function attackWire(attacker: Attacker, path: string): Promise<void> {
  const { record, installation, person } = attacker;
  const { api } = installation;
  const head = (more: string) => `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${more}\r\n`;
  const body = () => JSON.stringify(person());
  const raws: readonly (readonly [name: string, ...bytes: (string | Buffer)[]])[] = [
    ["a body that is shorter than it says", head("Content-Length: 5000\r\n"), body()],
    ["a length below zero", head("Content-Length: -1\r\n"), body()],
    ["two lengths", head("Content-Length: 5\r\nContent-Length: 500\r\n"), body()],
    [
      "a length and chunks (request smuggling)",
      head("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
      "0\r\n\r\nGET /v1/organisation HTTP/1.1\r\n\r\n",
    ],
    ["an obscured Transfer-Encoding", head("Transfer-Encoding: xchunked\r\nContent-Length: 3\r\n"), "abc"],
    ["a chunk whose size is no number", head("Transfer-Encoding: chunked\r\n"), "zz\r\nabc\r\n0\r\n\r\n"],
    ["a chunk beyond 2^64", head("Transfer-Encoding: chunked\r\n"), "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"],
    ["lines that end with LF alone", `POST ${path} HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}`],
    ["a header that is continued", head("X: a\r\n b\r\nContent-Length: 2\r\n"), "{}"],
    ["a header with NUL", head("X: a\0b\r\nContent-Length: 2\r\n"), "{}"],
    ["headers of 100 KB", head(`X: ${"a".repeat(100_000)}\r\nContent-Length: 2\r\n`), "{}"],
    [
      "5,000 headers",
      head(`${Array.from({ length: 5_000 }, (_, at) => `X${at}: a\r\n`).join("")}Content-Length: 2\r\n`),
      "{}",
    ],
    ["an address of 100 KB", `GET /${"a".repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`],
    ["an address with half a character", "GET /%ff%fe%c0 HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["an absolute address of somebody else", "GET http://example.com/v1/organisation HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["CONNECT", `CONNECT 127.0.0.1:${installation.canary.port} HTTP/1.1\r\nHost: x\r\n\r\n`],
    ["TRACE", "TRACE / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n"],
    ["a method nobody knows", "BREW / HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["HTTP/0.9", "GET /healthz\r\n\r\n"],
    ["HTTP/2 without being asked", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["an upgrade to nothing", "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"],
    ["a TLS hello", Buffer.from("16030100a5010000a10303", "hex")],
    ["noise", attacker.random.bytes(5_000)],
    [
      "a path out of the documentation's folder",
      "GET /docs/static/..%2f..%2f..%2f..%2fpackage.json HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    [
      "a path out of the documentation's folder, bare",
      "GET /docs/static/../../../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    [
      "a path out of the documentation's folder, twice encoded",
      "GET /docs/static/%252e%252e/%252e%252e/package.json HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    [
      "a range of the documentation",
      "GET /docs/static/index.html HTTP/1.1\r\nHost: x\r\nRange: bytes=0-,0-,0-,0-\r\n\r\n",
    ],
    ["Expect: 100-continue and no body", head("Expect: 100-continue\r\nContent-Length: 5\r\n")],
    ["an Expect that nobody knows", head("Expect: miracles\r\nContent-Length: 2\r\n"), "{}"],
    [
      "a body of chunks of one byte with extensions",
      head("Transfer-Encoding: chunked\r\n"),
      '1;a="b"\r\n{\r\n1;x\r\n}\r\n0\r\nX-Trailer: 1\r\n\r\n',
    ],
  ];
  for (const [name, ...bytes] of raws) {
    await record.case(name, async (report) => {
      const text = await sendRaw(api, bytes, 700);
      if (/^HTTP\/1\.1 5\d\d/m.test(text)) report("server_error", text.slice(0, 300));
      if (/root:|"devDependencies"|CANARY/.test(text)) report("leak", text.slice(0, 300));
      if (
        /^HTTP\/1\.1 20[01]/m.test(text) &&
        /smuggling|two lengths|below zero|beyond 2|no number|obscured/.test(name)
      ) {
        report("accepted_bad", text.slice(0, 300));
      }
    });
  }
  await record.case("a body of 100 MB", async (report) => attackWith100Mb(attacker, path, report));
  await record.case("a body that comes byte by byte, 200 times at once", async (report) => {
    const sockets = Array.from({ length: 200 }, () => openSlow(api, head("Content-Length: 100000\r\n")));
    await sleep(1_500);
    const answer = await attacker.call(report, {
      method: "POST",
      path,
      key: null,
      body: body(),
      headers: { "content-type": json },
    });
    if (answer.status !== 201) report("accepted_bad", `a good lead was refused meanwhile: ${answer.status}`);
    if (answer.durationMs > tooLongMs)
      report("crash", `a good lead took ${Math.round(answer.durationMs)} ms meanwhile`);
    for (const stop of sockets) stop();
  });
}

async function attackWith100Mb(
  attacker: Attacker,
  path: string,
  report: Parameters<Parameters<Attacker["record"]["case"]>[1]>[0],
): Promise<void> {
  const { api } = attacker.installation;
  const chunk = Buffer.alloc(1_000_000, "x");
  const start = `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n`;
  // Whoever goes on sending into a closed connection may lose the answer on the way: that is TCP, and no fault.
  const told = await sendRaw(api, [`${start}Content-Length: 100000000\r\n\r\n{`], 2_000);
  if (!told.startsWith("HTTP/1.1 413") || !told.includes("problem+json"))
    report("accepted_bad", `with a length: ${told.slice(0, 200) || "no answer"}`);
  const parts = Array.from({ length: 100 }, () => [`${chunk.length.toString(16)}\r\n`, chunk, "\r\n"]).flat();
  const chunked = await sendRaw(api, [`${start}Transfer-Encoding: chunked\r\n\r\n`, ...parts], 3_000);
  if (/^HTTP\/1\.1 [25]/.test(chunked)) report("accepted_bad", `in chunks: ${chunked.slice(0, 200)}`);
}

function openSlow(base: string, head: string): () => void {
  const { hostname, port } = new URL(base);
  const socket: Socket = connect(Number(port), hostname);
  socket.on("error", () => undefined).on("data", () => undefined);
  socket.write(head);
  const timer = setInterval(() => socket.write("x"), 100);
  return () => {
    clearInterval(timer);
    socket.destroy();
  };
}
