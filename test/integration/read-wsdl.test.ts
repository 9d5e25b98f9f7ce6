import { createServer } from "node:http";
import { afterEach, describe, expect, test } from "@jest/globals";
import { listen } from "soap";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import type { WsdlOperation, WsdlReading } from "../../src/channels/read-wsdl.ts";
import { readWsdl } from "../../src/channels/read-wsdl.ts";
import { sendHttp } from "../../src/channels/send-http.ts";
import type { HttpLoopback, Loopback } from "../helpers/loopback.ts";
import { startHttp } from "../helpers/loopback.ts";

// Real: the soap package's parser in its thread, its server as the partner, and documents served on loopback.

const open: Pick<Loopback, "close">[] = [];

afterEach(async () => {
  await closeOutbound();
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function serve(documents: Readonly<Record<string, string>>): Promise<HttpLoopback> {
  const server = await startHttp(({ path }, response) => {
    const document = documents[path];
    if (document === undefined) response.writeHead(404).end();
    else if (document.startsWith("http") || document.startsWith("/"))
      response.writeHead(302, { location: document }).end();
    else response.writeHead(200, { "content-type": "text/xml" }).end(document);
  });
  open.push(server);
  return server;
}

function operationsOf(reading: WsdlReading): readonly WsdlOperation[] {
  if (!reading.ok) throw new Error(reading.reason);
  return reading.operations;
}

const fromText = (text: string, timeoutMs?: number) => readWsdl({ text }, { allowHosts: [] }, timeoutMs);
const fromUrl = (server: Loopback, path: string) =>
  readWsdl({ url: `${server.url}${path}` }, { allowHosts: [server.host] });

const leadSchema = `
  <s:element name="AddLead"><s:complexType><s:sequence>
    <s:element minOccurs="0" name="apiKey" type="s:string"/>
    <s:element name="lead" type="tns:Lead"/>
  </s:sequence></s:complexType></s:element>
  <s:element name="AddLeadResponse"><s:complexType><s:sequence><s:element name="result" type="s:string"/></s:sequence></s:complexType></s:element>
  <s:complexType name="Lead"><s:sequence>
    <s:element name="first_name" type="s:string"/>
    <s:element name="kind" type="tns:Kind"/>
    <s:element name="phone-number" minOccurs="0" maxOccurs="unbounded" type="s:string"/>
    <s:element name="address" type="tns:Address"/>
    <s:element name="partner" minOccurs="0" type="tns:Lead"/>
  </s:sequence><s:attribute name="id" type="s:string" use="required"/><s:attribute name="note" type="s:string"/></s:complexType>
  <s:complexType name="Place"><s:sequence><s:element name="town" type="s:string"/></s:sequence></s:complexType>
  <s:complexType name="Address"><s:complexContent><s:extension base="tns:Place"><s:sequence><s:element name="postcode" type="s:string"/></s:sequence></s:extension></s:complexContent></s:complexType>
  <s:simpleType name="Kind"><s:restriction base="s:string"><s:enumeration value="home"/><s:enumeration value="car"/></s:restriction></s:simpleType>`;

const schema = (content: string, attributes = 'targetNamespace="urn:leads" elementFormDefault="qualified"') =>
  `<s:schema xmlns:s="http://www.w3.org/2001/XMLSchema" xmlns:tns="urn:leads" ${attributes}>${content}</s:schema>`;

/** A service over SOAP 1.1 and 1.2, as .NET writes it. */
function wsdl(types: string, url = "https://partner.test/leads"): string {
  const binding = (soap: string, action: string) => `
    <w:binding name="Over${soap}" type="tns:Leads"><${soap}:binding transport="http://schemas.xmlsoap.org/soap/http"/>
      <w:operation name="AddLead"><${soap}:operation soapAction="${action}" style="document"/>
        <w:input><${soap}:body use="literal"/></w:input><w:output><${soap}:body use="literal"/></w:output>
      </w:operation></w:binding>`;
  return `<?xml version="1.0" encoding="utf-8"?>
  <w:definitions xmlns:w="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:soap12="http://schemas.xmlsoap.org/wsdl/soap12/" xmlns:tns="urn:leads" targetNamespace="urn:leads">
    <w:types>${types}</w:types>
    <w:message name="In"><w:part name="parameters" element="tns:AddLead"/></w:message>
    <w:message name="Out"><w:part name="parameters" element="tns:AddLeadResponse"/></w:message>
    <w:portType name="Leads"><w:operation name="AddLead"><w:input message="tns:In"/><w:output message="tns:Out"/></w:operation></w:portType>
    ${binding("soap", "urn:leads/AddLead")}${binding("soap12", "urn:leads/AddLead12")}
    <w:service name="Service">
      <w:port name="Soap11" binding="tns:Oversoap"><soap:address location="${url}"/></w:port>
      <w:port name="Soap12" binding="tns:Oversoap12"><soap12:address location="${url}/12"/></w:port>
    </w:service>
  </w:definitions>`;
}

const expectedBody = (envelope: string) => `<?xml version="1.0" encoding="utf-8"?>
<soap:Envelope xmlns:soap="${envelope}">
  <soap:Body>
    <AddLead xmlns="urn:leads">
      <apiKey>{{ lead.apiKey }}</apiKey>
      <lead id="{{ lead.id }}">
        <first_name>{{ lead.first_name }}</first_name>
        <kind>{{ lead.kind }}</kind>
        <phone-number>{{ lead.phone_number }}</phone-number>
        <address>
          <town>{{ lead.town }}</town>
          <postcode>{{ lead.postcode }}</postcode>
        </address>
      </lead>
    </AddLead>
  </soap:Body>
</soap:Envelope>
`;

describe("a WSDL", () => {
  test("gives each operation over each SOAP version, with a body to fill in", async () => {
    expect(operationsOf(await fromText(wsdl(schema(leadSchema))))).toEqual([
      {
        name: "AddLead",
        method: "soap11",
        url: "https://partner.test/leads",
        action: "urn:leads/AddLead",
        body: expectedBody("http://schemas.xmlsoap.org/soap/envelope/"),
      },
      {
        name: "AddLead",
        method: "soap12",
        url: "https://partner.test/leads/12",
        action: "urn:leads/AddLead12",
        body: expectedBody("http://www.w3.org/2003/05/soap-envelope"),
      },
    ]);
  });

  test("in RPC style gives the parts of the message", async () => {
    const text = `<?xml version="1.0"?>
      <definitions targetNamespace="urn:l" xmlns:tns="urn:l" xmlns:x="http://www.w3.org/2001/XMLSchema" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" xmlns="http://schemas.xmlsoap.org/wsdl/">
      <types><x:schema targetNamespace="urn:l"><x:complexType name="Person"><x:sequence><x:element name="first" type="x:string"/></x:sequence></x:complexType></x:schema></types>
      <message name="In"><part name="email" type="x:string"/><part name="person" type="tns:Person"/></message><message name="Out"/>
      <portType name="P"><operation name="send"><input message="tns:In"/><output message="tns:Out"/></operation></portType>
      <binding name="B" type="tns:P"><soap:binding style="rpc" transport="http://schemas.xmlsoap.org/soap/http"/>
        <operation name="send"><soap:operation soapAction="urn:send"/><input><soap:body use="literal"/></input><output><soap:body use="literal"/></output></operation></binding>
      <service name="S"><port name="Q" binding="tns:B"><soap:address location="http://x.test/"/></port></service></definitions>`;
    const [operation] = operationsOf(await fromText(text));
    expect(operation).toMatchObject({ name: "send", method: "soap11", action: "urn:send", url: "http://x.test/" });
    const body = operation?.body.replace(/>\s+</g, "><");
    expect(body).toContain(
      "<tns:send><email>{{ lead.email }}</email><person><first>{{ lead.first }}</first></person></tns:send>",
    );
  });

  test("gives bodies that the service's own server understands", async () => {
    const server = createServer((_request, response) => response.writeHead(404).end());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    open.push({ close: () => new Promise((resolve) => server.close(() => resolve())) });
    const address = server.address();
    const host = `127.0.0.1:${address !== null && typeof address === "object" ? address.port : 0}`;
    // The server tells operations by the end of the action, and knows one action for both versions.
    const text = wsdl(schema(leadSchema), `http://${host}/leads`).replaceAll("AddLead12", "AddLead");
    const got: unknown[] = [];
    const AddLead = (lead: unknown) => {
      got.push(lead);
      return { result: "accepted" };
    };
    listen(server, { path: "/leads", services: { Service: { Soap11: { AddLead }, Soap12: { AddLead } } }, xml: text });
    for (const { body, action } of operationsOf(await fromText(text))) {
      const reply = await sendHttp(
        {
          kind: "http",
          method: "POST",
          url: `http://${host}/leads`,
          headers: [
            ["content-type", "text/xml; charset=utf-8"],
            ["soapaction", `"${action}"`],
          ],
          body: body.replaceAll(/\{\{ lead\.(\w+) \}\}/g, "a $1"),
          timeoutMs: 5_000,
          followRedirects: false,
          secrets: [],
          authentication: { type: "none" },
        },
        { allowHosts: [host], idempotencyKey: "1", now: () => new Date(), smtp: null },
      );
      expect(reply).toMatchObject({ kind: "answer", status: 200, body: expect.stringContaining("accepted") });
    }
    const lead = { first_name: "a first_name", address: { town: "a town", postcode: "a postcode" } };
    expect(got).toMatchObject([
      { apiKey: "a apiKey", lead },
      { apiKey: "a apiKey", lead },
    ]);
  });

  test("is read with what it includes, by relative and full addresses and over redirects", async () => {
    const include = (location: string) => `<s:include schemaLocation="${location}"/>`;
    const server = await serve({
      "/moved": "/api/leads.wsdl",
      "/api/leads.wsdl": wsdl(schema(include("../types/main.xsd"))),
      "/types/main.xsd": "/other/main.xsd",
      "/other/main.xsd": schema(leadSchema),
    });
    const [operation] = operationsOf(await fromUrl(server, "/moved"));
    expect(operation?.body).toBe(expectedBody("http://schemas.xmlsoap.org/soap/envelope/"));
    expect(server.seen.map(({ path }) => path)).toEqual([
      "/moved",
      "/api/leads.wsdl",
      "/types/main.xsd",
      "/other/main.xsd",
    ]);
    const full = await fromText(wsdl(schema(include("http://127.0.0.1:1/x.xsd"))));
    expect(full).toMatchObject({ ok: false, reason: expect.stringContaining("may not be sent to") });
  });
});

describe("a WSDL is refused", () => {
  test.each([
    "http://169.254.169.254/latest/meta-data/",
    "http://localhost:1/x.xsd",
    "http://[::ffff:127.0.0.1]/x.xsd",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "FILE:///etc/passwd",
    "/etc/passwd",
    "../../../../../../etc/passwd",
    "etc/passwd",
    "\\\\host\\share",
    "&lt;?xml version=&quot;1.0&quot;?&gt;&lt;definitions/&gt;",
    "data:text/xml,x",
    "http:/etc/passwd",
    "https:",
    "http://user:secret@example.com/x.xsd",
  ])("when it came as text and includes %s", async (location) => {
    const include = wsdl(schema(`<s:include schemaLocation="${location}"/>`));
    const reading = await fromText(include);
    expect(reading.ok).toBe(false);
    expect(JSON.stringify(reading)).not.toMatch(/root:|secret/);
  });

  test.each(["http://169.254.169.254/", "file:///etc/passwd", "../../../../../../etc/passwd"])(
    "when it came by an address and includes or imports %s",
    async (location) => {
      const include = wsdl(schema(`<s:import namespace="urn:o" schemaLocation="${location}"/>`));
      const imported = wsdl("").replace("<w:types>", `<w:import namespace="urn:o" location="${location}"/><w:types>`);
      const server = await serve({ "/a.wsdl": include, "/b.wsdl": imported });
      for (const path of ["/a.wsdl", "/b.wsdl"]) {
        const reading = await fromUrl(server, path);
        expect(reading.ok).toBe(false);
        expect(JSON.stringify(reading)).not.toContain("root:");
      }
    },
  );

  test("when a part that it includes redirects inside", async () => {
    const server = await serve({
      "/a.wsdl": wsdl(schema('<s:include schemaLocation="/b.xsd"/>')),
      "/b.xsd": "http://169.254.169.254/x.xsd",
    });
    const reading = await fromUrl(server, "/a.wsdl");
    expect(reading).toMatchObject({ ok: false, reason: expect.stringContaining("may not be sent to") });
  });

  test("when an included part includes a file", async () => {
    const server = await serve({
      "/a.wsdl": wsdl(schema('<s:include schemaLocation="/b.xsd"/>')),
      "/b.xsd": schema('<s:include schemaLocation="file:///etc/passwd"/>'),
    });
    const reading = await fromUrl(server, "/a.wsdl");
    expect(reading).toMatchObject({ ok: false, reason: expect.stringContaining("not an http or https address") });
  });

  test.each([
    ["empty", "", /cannot be read/],
    ["words", "hello", /cannot be read/],
    ["a web page", "<html><body>Log in</body></html>", /cannot be read/],
    ["another XML document", "<a><b/></a>", /cannot be read/],
    ["broken off", wsdl(schema(leadSchema)).slice(0, 900), /cannot be read/],
    ["without a service", '<definitions xmlns="http://schemas.xmlsoap.org/wsdl/"/>', /no operation over SOAP/],
    ["holding a DOCTYPE", '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', /DOCTYPE/],
    [
      "naming a binding that is not there",
      wsdl(schema(leadSchema)).replaceAll("tns:Oversoap", "tns:Nowhere"),
      /no operation/,
    ],
    ["larger than 2 MiB", wsdl(`<!-- ${"x".repeat(2 * 1024 * 1024)} -->`), /larger than 2 MiB/],
  ])("when it is %s, with a plain reason", async (_what, text, reason) => {
    const reading = await fromText(text);
    expect(reading).toMatchObject({ ok: false, reason: expect.stringMatching(reason) });
    if (!reading.ok) expect(reading.reason).not.toMatch(/\n|\bat .*\.js/);
  });

  test.each([
    ["not there", "/none", /status 404/],
    ["too large", "/large", /larger than 2 MiB/],
    ["in an unknown character set", "/klingon", /klingon/],
  ])("when its address is %s, with a plain reason", async (_what, path, reason) => {
    const server = await startHttp((seen, response) => {
      if (seen.path === "/large") response.end(Buffer.alloc(3 * 1024 * 1024, 0x20));
      else if (seen.path === "/klingon")
        response.writeHead(200, { "content-type": "text/xml; charset=klingon" }).end("x");
      else response.writeHead(404).end();
    });
    open.push(server);
    expect(await fromUrl(server, path)).toMatchObject({ ok: false, reason: expect.stringMatching(reason) });
  });

  test.each([
    "http://127.0.0.1:1/a.wsdl",
    "http://localhost/a.wsdl",
    "file:///etc/passwd",
    "/etc/passwd",
    "http://wsdl.invalid/x",
  ])("when its address is %s", async (url) => {
    expect(await readWsdl({ url }, { allowHosts: [] })).toMatchObject({ ok: false });
  });

  test("when it includes parts without end", async () => {
    let served = 0;
    const server = await startHttp((seen, response) => {
      served += 1;
      const next = `<s:include schemaLocation="/${served}.xsd"/>`;
      response.end(seen.path.endsWith("wsdl") ? wsdl(schema(next)) : schema(next));
    });
    open.push(server);
    const reading = await fromUrl(server, "/a.wsdl");
    expect(reading).toMatchObject({ ok: false, reason: expect.stringContaining("more than 50 parts") });
    expect(served).toBeLessThanOrEqual(50);
  });

  test("when reading it would take for ever, and meanwhile everybody else is served", async () => {
    // Forty groups, each holding the one before twice: 2^40 elements out of a few lines.
    const groups = Array.from(
      { length: 40 },
      (_value, n) =>
        `<s:group name="g${n + 1}"><s:sequence><s:group ref="tns:g${n}"/><s:group ref="tns:g${n}"/></s:sequence></s:group>`,
    );
    const bomb = `<s:group name="g0"><s:sequence><s:element name="e" type="s:string"/></s:sequence></s:group>${groups.join("")}
      <s:element name="AddLead"><s:complexType><s:group ref="tns:g40"/></s:complexType></s:element>`;
    let longestPauseMs = 0;
    let lastMs = performance.now();
    const watch = setInterval(() => {
      longestPauseMs = Math.max(longestPauseMs, performance.now() - lastMs);
      lastMs = performance.now();
    }, 5);
    const reading = await fromText(wsdl(schema(bomb)), 1_500);
    clearInterval(watch);
    expect(reading).toMatchObject({ ok: false, reason: expect.stringMatching(/takes too long|memory/) });
    expect(longestPauseMs).toBeLessThan(500);
  });

  test("or read, but never lets names like __proto__ and constructor reach beyond it", async () => {
    for (const name of ["__proto__", "constructor"]) {
      const odd = leadSchema.replaceAll("first_name", name).replaceAll("Place", name);
      await fromText(wsdl(schema(odd, `targetNamespace="${name}"`)));
      await fromText(wsdl(schema(odd)).replaceAll("Service", name).replaceAll("AddLead", name));
    }
    expect(Object.keys(Object.prototype)).toHaveLength(0);
  });
});
