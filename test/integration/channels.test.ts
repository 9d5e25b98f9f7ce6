import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll } from "@jest/globals";
import { XMLParser } from "fast-xml-parser";
import PostalMime from "postal-mime";
import { SMTPServer } from "smtp-server";
import soap from "soap";
import { z } from "zod";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import type { FieldValue, SendContext, SmtpServer } from "../../src/channels/contract.ts";
import { type Answer, leadFields, type PartnerUnderTest, type ReceivedLead, testChannel } from "../channels.suite.ts";

// Real: rendering, sending, judging, HTTP, SMTP, SOAP. The partners are servers on loopback that read what they get with
// JSON.parse, fast-xml-parser, URLSearchParams, the soap package and postal-mime.

afterAll(closeOutbound);

function sendContext(allowHosts: readonly string[], smtp: SmtpServer | null = null): SendContext {
  return { allowHosts, idempotencyKey: "delivery-1", now: () => new Date("2026-03-31T09:30:00Z"), smtp };
}

const secret = "a-secret-of-the-partner";

type Fields = Record<string, FieldValue>;

/** One partner's format: how it reads a lead and how it says yes and no. */
interface Format {
  readonly settings: Readonly<Record<string, unknown>>;
  read(body: string): Fields;
  answer(accepted: boolean): { readonly type: string; readonly body: string };
}

async function startHttpPartner(format: Format): Promise<PartnerUnderTest> {
  const received: ReceivedLead[] = [];
  return startServer(format.settings, received, async (request, response, answer) => {
    const body = await text(request);
    received.push({ fields: format.read(body), headers: headersOf(request) });
    const { type, body: said } = format.answer(answer.kind === "accept");
    response.writeHead(answer.kind === "accept" ? 201 : 200, { "content-type": type }).end(said);
  });
}

type Usual = (request: IncomingMessage, response: ServerResponse, answer: Answer) => Promise<void> | void;

/** Answers with a status or not at all where the test says so; else as the format does. */
async function startServer(
  settings: Readonly<Record<string, unknown>>,
  received: readonly ReceivedLead[],
  usual: Usual,
): Promise<PartnerUnderTest> {
  let answer: Answer = { kind: "accept" };
  const server = createServer((request, response) => {
    if (answer.kind === "hang") return void request.resume();
    if (answer.kind === "status") return void response.writeHead(answer.status, answer.headers).end();
    return void Promise.resolve(usual(request, response, answer)).catch((error: unknown) => {
      response.writeHead(418).end(String(error));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = z.object({ port: z.number() }).parse(server.address());
  return {
    settings: {
      url: `http://127.0.0.1:${port}/leads/{{ lead.id }}?source={{ campaign.name }}`,
      headers: { "X-Name": "{{ lead.first_name }}", "X-Api-Key": secret },
      ...settings,
    },
    secret,
    context: sendContext([`127.0.0.1:${port}`]),
    received,
    answerWith(next) {
      answer = next;
    },
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function headersOf(request: IncomingMessage): Record<string, string | undefined> {
  const entries = Object.entries(request.headers).map(([name, value]) => [name, String(value)]);
  return Object.fromEntries(entries);
}

const unchanged = (value: FieldValue) => value;
const asText = (value: FieldValue) => (value === null ? "" : String(value));

const paths = { reference: "$.reference", price: "$.price", reason: "$.reason" };
const jsonAnswer = (accepted: boolean) => ({
  type: "application/json",
  body: JSON.stringify(
    accepted
      ? { outcome: "success", reference: "R-4711", price: "12.50" }
      : { outcome: "fail", reason: "Duplicate lead" },
  ),
});

testChannel({
  name: "json",
  wire: unchanged,
  statuses: { later: 500, broken: 404 },
  answersWithBody: true,
  start: () =>
    startHttpPartner({
      settings: {
        method: "json",
        body: `{"first_name":"{{ lead.first_name }}","last_name":{{ lead.last_name }},"company":{{ lead.company }},
          "age":{{ lead.age }},"smoker":{{ lead.smoker }},"comment":{{ lead.comment }}}`,
        success: { path: "$.outcome", equals: "success" },
        ...paths,
      },
      read: (body) => JSON.parse(body),
      answer: jsonAnswer,
    }),
});

testChannel({
  name: "post",
  wire: asText,
  statuses: { later: 503, broken: 404 },
  answersWithBody: true,
  start: () =>
    startHttpPartner({
      settings: {
        method: "post",
        fields: leadFields.map((key) => [key, `{{ lead.${key} }}`]),
        reject: [{ path: "$.outcome", equals: "fail" }],
        ...paths,
      },
      read: (body) => Object.fromEntries(new URLSearchParams(body)),
      answer: jsonAnswer,
    }),
});

const xmlPaths = { reference: "//reference", price: "//price", reason: "//reason" };
const xmlLead = z.object({ lead: z.record(z.string(), z.string()) });

testChannel({
  name: "xml",
  wire: asText,
  statuses: { later: 500, broken: 405 },
  answersWithBody: true,
  start: () =>
    startHttpPartner({
      settings: {
        method: "xml",
        body: `<?xml version="1.0" encoding="UTF-8"?>
          <lead first_name="{{ lead.first_name }}" last_name='{{ lead.last_name }}'>
            <company><![CDATA[{{ lead.company }}]]></company><age>{{ lead.age }}</age><smoker>{{ lead.smoker }}</smoker>
            <comment>{{ lead.comment }}</comment>
          </lead>`,
        success: [{ path: "/p:answer/@code", equals: 1 }],
        ...xmlPaths,
      },
      read: (body) => readXml(body),
      answer: (accepted) => ({
        type: "application/xml",
        body: accepted
          ? '<?xml version="1.0"?><p:answer xmlns:p="urn:p" code="1"><p:reference>R-4711</p:reference><p:price>12.50</p:price></p:answer>'
          : '<answer code="0"><reason> Duplicate\n lead </reason></answer>',
      }),
    }),
});

/** Line ends are made one kind before parsing, as XML 1.0 (section 2.11) asks of every reader. */
function readXml(body: string): Fields {
  const parser = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: "",
    parseTagValue: false,
    parseAttributeValue: false,
    trimValues: false,
    htmlEntities: true,
  });
  const { lead } = xmlLead.parse(parser.parse(body.replace(/\r\n?/g, "\n")));
  return Object.fromEntries(Object.entries(lead).filter(([name]) => name !== "#text"));
}

const soapElements = leadFields.map((name) => `<xs:element name="${name}" type="xs:string"/>`).join("");

function wsdl(binding: string): string {
  return `<?xml version="1.0"?>
<wsdl:definitions name="LeadService" targetNamespace="urn:leads" xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/"
    xmlns:soap="${binding}" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:tns="urn:leads">
  <wsdl:types><xs:schema targetNamespace="urn:leads" elementFormDefault="qualified">
    <xs:element name="AddLead"><xs:complexType><xs:sequence>${soapElements}</xs:sequence></xs:complexType></xs:element>
    <xs:element name="AddLeadResponse"><xs:complexType><xs:sequence>
      <xs:element name="reference" type="xs:string"/><xs:element name="price" type="xs:string"/>
    </xs:sequence></xs:complexType></xs:element>
  </xs:schema></wsdl:types>
  <wsdl:message name="AddLeadInput"><wsdl:part name="parameters" element="tns:AddLead"/></wsdl:message>
  <wsdl:message name="AddLeadOutput"><wsdl:part name="parameters" element="tns:AddLeadResponse"/></wsdl:message>
  <wsdl:portType name="Leads"><wsdl:operation name="AddLead">
    <wsdl:input message="tns:AddLeadInput"/><wsdl:output message="tns:AddLeadOutput"/>
  </wsdl:operation></wsdl:portType>
  <wsdl:binding name="LeadsBinding" type="tns:Leads">
    <soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
    <wsdl:operation name="AddLead"><soap:operation soapAction="urn:leads:AddLead"/>
      <wsdl:input><soap:body use="literal"/></wsdl:input><wsdl:output><soap:body use="literal"/></wsdl:output>
    </wsdl:operation>
  </wsdl:binding>
  <wsdl:service name="LeadService"><wsdl:port name="LeadsPort" binding="tns:LeadsBinding">
    <soap:address location="http://localhost/soap"/></wsdl:port></wsdl:service>
</wsdl:definitions>`;
}

const soapLead = z.record(z.string(), z.string().nullish());

interface SoapVersion {
  readonly binding: string;
  readonly envelope: string;
  readonly contentType: string;
  readonly soapAction: string | undefined;
  readonly fault: object;
}

const soap11: SoapVersion = {
  binding: "http://schemas.xmlsoap.org/wsdl/soap/",
  envelope: "http://schemas.xmlsoap.org/soap/envelope/",
  contentType: "text/xml; charset=utf-8",
  soapAction: '"urn:leads:AddLead"',
  fault: { faultcode: "soap:Client", faultstring: "Duplicate lead", statusCode: 500 },
};

const soap12: SoapVersion = {
  binding: "http://schemas.xmlsoap.org/wsdl/soap12/",
  envelope: "http://www.w3.org/2003/05/soap-envelope",
  contentType: 'application/soap+xml; charset=utf-8; action="urn:leads:AddLead"',
  soapAction: undefined,
  fault: { Code: { Value: "soap:Sender" }, Reason: { Text: "Duplicate lead" }, statusCode: 400 },
};

/** The soap package's own server reads the envelope and writes the answer or the fault. */
async function startSoapPartner(version: SoapVersion, settings: Record<string, unknown>): Promise<PartnerUnderTest> {
  const received: ReceivedLead[] = [];
  let accepted = true;
  let request: IncomingMessage | undefined;
  const AddLead = (lead: unknown) => {
    const fields = Object.fromEntries(Object.entries(soapLead.parse(lead)).map(([key, value]) => [key, value ?? ""]));
    received.push({ fields, headers: request === undefined ? {} : headersOf(request) });
    if (!accepted) throw { Fault: version.fault };
    return { reference: "R-4711", price: "12.50" };
  };
  // Only its handler is wanted: it takes requests from the server that can also hang and fail.
  const handler = createServer();
  soap.listen(handler, {
    path: "/soap",
    services: { LeadService: { LeadsPort: { AddLead } } },
    xml: wsdl(version.binding),
    preserveWhitespace: true,
    forceSoap12Headers: version === soap12,
    suppressStack: true,
  });
  const partner = await startServer(settings, received, (incoming, response, answer) => {
    if (incoming.headers["content-type"] !== version.contentType || incoming.headers.soapaction !== version.soapAction)
      return void response.writeHead(415).end();
    accepted = answer.kind === "accept";
    request = incoming;
    handler.emit("request", incoming, response);
  });
  const url = String(partner.settings.url).replace("/leads/{{ lead.id }}", "/soap");
  return { ...partner, settings: { ...partner.settings, url } };
}

const soapContent = `<AddLead xmlns="urn:leads">${leadFields.map((key) => `<${key}>{{ lead.${key} }}</${key}>`).join("")}</AddLead>`;
const soapSettings = {
  action: "urn:leads:AddLead",
  success: { path: "/Envelope/Body/AddLeadResponse/reference", exists: true },
  ...xmlPaths,
};

testChannel({
  name: "soap11",
  wire: asText,
  statuses: { later: 500, broken: 404 },
  answersWithBody: true,
  start: () => startSoapPartner(soap11, { method: "soap11", body: soapContent, ...soapSettings }),
});

testChannel({
  name: "soap12",
  wire: asText,
  statuses: { later: 500, broken: 404 },
  answersWithBody: true,
  start: () => {
    const body = `<e:Envelope xmlns:e="${soap12.envelope}"><e:Header/><e:Body>${soapContent}</e:Body></e:Envelope>`;
    return startSoapPartner(soap12, { method: "soap12", body, ...soapSettings });
  },
});

/** Between the marks stands one field; a mail cannot tell kinds of line ends apart. */
const mailText = leadFields.map((key) => `«${key}:{{ lead.${key} }}»`).join("\n");

async function startMailPartner(): Promise<PartnerUnderTest> {
  const received: ReceivedLead[] = [];
  let answer: Answer = { kind: "accept" };
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ["STARTTLS"],
    logger: false,
    onRcptTo(_address, _session, callback) {
      if (answer.kind !== "status") return callback();
      return callback(Object.assign(new Error("Not now, or never."), { responseCode: answer.status }));
    },
    onData(stream, _session, callback) {
      void readMail(stream).then((mail) => {
        if (answer.kind === "hang") return;
        received.push(mail);
        callback();
      });
    },
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.server.address() as AddressInfo;
  const smtp = {
    host: "127.0.0.1",
    port,
    secure: false,
    username: null,
    password: null,
    from: "Handoff <leads@seller.test>",
  };
  return {
    settings: {
      to: ["leads@acme.test", "copy@acme.test"],
      subject: "{{ lead.first_name }}",
      headers: { "X-Name": "{{ lead.first_name }}", "X-Api-Key": secret },
      template: { text: mailText, html: "<p>{{ lead.first_name }}</p><p>{{ lead.comment }}</p>" },
    },
    secret,
    context: sendContext([`127.0.0.1:${port}`], smtp),
    received,
    answerWith(next) {
      answer = next;
    },
    stop: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

async function readMail(stream: NodeJS.ReadableStream): Promise<ReceivedLead> {
  const mail = await PostalMime.parse(await text(stream));
  const fields = [...(mail.text ?? "").matchAll(/«(\w+):([^»]*)»/g)].map(([, key, value]) => [key, value]);
  const headers = mail.headers.map(({ key, value }) => [key, value]);
  if (mail.html?.includes("<b>") === true) throw new Error("A value became markup.");
  return { fields: Object.fromEntries(fields), headers: Object.fromEntries(headers) };
}

testChannel({
  name: "email",
  wire: (value) => asText(value).replaceAll("\r\n", "\n"),
  statuses: { later: 451, broken: 550 },
  answersWithBody: false,
  start: startMailPartner,
});
