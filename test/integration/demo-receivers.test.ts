import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createTransport } from "nodemailer";
import * as soap from "soap";
import twilio from "twilio";
import { z } from "zod";
import { type PartnerFormat, partnerFormats, soapAction } from "../../demo/partner-formats.ts";
import { type DemoReceivers, startDemoReceivers } from "../../demo/receivers.ts";
import { demoAccount } from "../../demo/sms-catcher.ts";

/** Real: the receivers, and the clients of other makers that talk to them (soap, nodemailer, twilio). */
let receivers: DemoReceivers;

beforeAll(async () => {
  receivers = await startDemoReceivers();
});

afterAll(() => receivers.stop());

interface Lead {
  readonly firstName?: string;
  readonly email?: string;
  readonly postcode?: string;
}

const zoe: Lead = { firstName: "Zoë <b>", email: "zoe@example.com", postcode: "SW1A 1AA" };

const escapeXml = (text: string): string => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
const elements = (lead: Lead): string =>
  Object.entries(lead)
    .map(([name, value]) => `<${name}>${escapeXml(value)}</${name}>`)
    .join("");
const envelope = (namespace: string, lead: Lead): string =>
  `<s:Envelope xmlns:s="${namespace}"><s:Body><SubmitLead xmlns="urn:demo-partner">${elements(lead)}</SubmitLead></s:Body></s:Envelope>`;

/** How each kind of partner wants a lead. */
const written: Record<PartnerFormat, { headers: Record<string, string>; body: (lead: Lead) => string }> = {
  xml: { headers: { "content-type": "application/xml" }, body: (lead) => `<lead>${elements(lead)}</lead>` },
  json: { headers: { "content-type": "application/json" }, body: (lead) => JSON.stringify({ person: lead }) },
  soap11: {
    headers: { "content-type": "text/xml; charset=utf-8", soapaction: `"${soapAction}"` },
    body: (lead) => envelope("http://schemas.xmlsoap.org/soap/envelope/", lead),
  },
  soap12: {
    headers: { "content-type": `application/soap+xml; charset=utf-8; action="${soapAction}"` },
    body: (lead) => envelope("http://www.w3.org/2003/05/soap-envelope", lead),
  },
  post: {
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: (lead) => new URLSearchParams({ ...lead }).toString(),
  },
};

function send(format: PartnerFormat, lead: Lead, headers: Record<string, string> = {}, query = ""): Promise<Response> {
  const { headers: usual, body } = written[format];
  return fetch(receivers.partnerUrls[format] + query, {
    method: "POST",
    headers: { ...usual, ...headers },
    body: body(lead),
    signal: AbortSignal.timeout(5_000),
  });
}

describe.each(partnerFormats)("the %s partner", (format) => {
  test("takes a lead, answers in its own format with a reference, and keeps what it got", async () => {
    const response = await send(format, zoe);
    expect(response.ok).toBe(true);
    const text = await response.text();
    const decision = receivers.partners.received(format).at(-1)?.decision;
    expect(decision).toEqual({
      kind: "accepted",
      reference: expect.stringMatching(new RegExp(`^${format.toUpperCase()}-\\d{6}$`)),
    });
    expect(text).toContain(decision?.kind === "accepted" ? decision.reference : "nothing");
    expect(Object.fromEntries(receivers.partners.received(format).at(-1)?.fields ?? [])).toEqual(zoe);
  });

  test("rejects a postcode that it does not cover, and says so", async () => {
    const response = await send(format, { ...zoe, postcode: "BT1 5GS" });
    expect(response.status).toBe(200);
    expect(await response.text()).toContain("postcode not covered");
    expect(receivers.partners.received(format).at(-1)?.decision).toEqual({
      kind: "rejected",
      reason: "postcode not covered",
    });
  });

  test("refuses a lead without a name or a way to reach the person, as its format refuses", async () => {
    const response = await send(format, { postcode: "SW1A 1AA" });
    expect(response.status).toBe({ xml: 422, json: 422, soap11: 500, soap12: 400, post: 422 }[format]);
    expect(await response.text()).toContain("missing: name, email or phone");
  });

  test("refuses another content type", async () => {
    const response = await send(format, zoe, { "content-type": "text/plain" });
    expect(response.status).toBe(415);
  });

  test("answers a repeated Idempotency-Key as before and takes no second lead", async () => {
    const key = { "idempotency-key": `key-${format}` };
    const first = await (await send(format, zoe, key)).text();
    const kept = receivers.partners.received(format).length;
    const { repeats } = { ...receivers.partners.totals(format) };
    expect(await (await send(format, zoe, key)).text()).toBe(first);
    expect(receivers.partners.received(format)).toHaveLength(kept);
    expect(receivers.partners.totals(format).repeats).toBe(repeats + 1);
  });

  test("goes wrong when told to", async () => {
    const kept = receivers.partners.received(format).length;
    const busy = await send(format, zoe, {}, "?status=429&retry-after=7");
    expect([busy.status, busy.headers.get("retry-after")]).toEqual([429, "7"]);
    await expect(send(format, zoe, {}, "?reset=1")).rejects.toThrow();
    await expect(
      fetch(`${receivers.partnerUrls[format]}?hang=1`, { method: "POST", signal: AbortSignal.timeout(100) }),
    ).rejects.toThrow();
    expect(await (await send(format, zoe, {}, "?body=nonsense")).text()).toBe("nonsense");
    expect(receivers.partners.received(format)).toHaveLength(kept);
    await expect(send(format, zoe, {}, "?cut-off=1").then((response) => response.text())).rejects.toThrow();
    expect(receivers.partners.received(format)).toHaveLength(kept + 1);
    receivers.partners.misbehave(format, ({ body }) => (/zoe(@|%40)/.test(body) ? { status: 503 } : undefined));
    expect((await send(format, zoe)).status).toBe(503);
    expect((await send(format, { ...zoe, email: "other@example.com" })).ok).toBe(true);
    receivers.partners.misbehave(format, null);
    expect((await send(format, zoe)).ok).toBe(true);
  });
});

test.each(["xml", "json", "soap11", "soap12"] as const)(
  "the %s partner refuses a body that is not well-formed",
  async (format) => {
    const broken = written[format].body(zoe).slice(0, -3);
    const response = await fetch(receivers.partnerUrls[format], {
      method: "POST",
      headers: written[format].headers,
      body: broken,
    });
    expect(response.status).toBe(format === "soap11" ? 500 : 400);
    expect(await response.text()).toMatch(/not well-formed|not JSON/);
  },
);

test.each([
  ["soap11", { soapaction: '"urn:other"' }, 500, "faultcode"],
  ["soap12", { "content-type": "application/soap+xml; action=urn:other" }, 400, "soap:Sender"],
] as const)(
  "the %s partner answers a wrong action with a fault of the sender",
  async (format, headers, status, sign) => {
    const response = await send(format, zoe, headers);
    expect(response.status).toBe(status);
    expect(await response.text()).toContain(sign);
  },
);

test.each(["soap11", "soap12"] as const)(
  "the %s partner describes itself in a WSDL that another maker's client can use",
  async (format) => {
    const client = await soap.createClientAsync(`${receivers.partnerUrls[format]}?wsdl`, {
      forceSoap12Headers: format === "soap12",
    });
    const [answer] = await client.SubmitLeadAsync(zoe);
    expect(answer).toEqual({ status: "accepted", reference: expect.stringMatching(/^SOAP1\d-/) });
  },
);

test("a body in another charset is read as its header says", async () => {
  const body = Buffer.from("<lead><name>Zoë</name><email>zoe@example.com</email></lead>", "latin1");
  await fetch(receivers.partnerUrls.xml, {
    method: "POST",
    headers: { "content-type": "text/xml; charset=iso-8859-1" },
    body,
  });
  expect(receivers.partners.received("xml").at(-1)?.fields[0]).toEqual(["name", "Zoë"]);
});

test("what came can be read as JSON, and as a page on which a lead cannot become markup", async () => {
  await send("json", { ...zoe, firstName: "<script>alert(1)</script>" });
  const all = z
    .record(
      z.string(),
      z.object({ totals: z.object({ accepted: z.number() }), leads: z.array(z.object({ body: z.string() })) }),
    )
    .parse(await (await fetch(`${receivers.partners.url}/received`)).json());
  expect(Object.keys(all)).toEqual([...partnerFormats]);
  expect(all.json?.leads.length).toBe(receivers.partners.received("json").length);
  const page = await fetch(receivers.partners.url);
  expect(page.headers.get("content-type")).toContain("text/html");
  const html = await page.text();
  expect(html).toContain("&#60;script&#62;alert(1)");
  expect(html).not.toContain("<script>");
});

test("only the newest thousand leads are kept, and the totals go on counting", async () => {
  const { post } = receivers.partnerUrls;
  const body = written.post.body(zoe);
  const before = receivers.partners.totals("post").accepted;
  for (let round = 0; round < 21; round += 1) {
    const batch = Array.from({ length: 100 }, () =>
      fetch(post, { method: "POST", headers: written.post.headers, body }).then((r) => r.text()),
    );
    await Promise.all(batch);
  }
  expect(receivers.partners.received("post")).toHaveLength(1_000);
  expect(receivers.partners.totals("post").accepted).toBe(before + 2_100);
});

describe("the mail catcher", () => {
  const transport = () =>
    createTransport({ host: receivers.mail.host, port: receivers.mail.port, auth: { user: "demo", pass: "demo" } });

  test("keeps a message with its envelope, subject, text and HTML", async () => {
    await transport().sendMail({
      from: "Handoff <handoff@example.com>",
      to: ["leads@acme.test", "second@acme.test"],
      subject: "A lead: Zoë",
      text: "Zoë O'Brien",
      html: "<p>Zoë O'Brien</p>",
    });
    const mail = receivers.mail.messages().at(-1);
    expect(mail).toMatchObject({ from: "handoff@example.com", to: ["leads@acme.test", "second@acme.test"] });
    expect(mail?.message).toMatchObject({ subject: "A lead: Zoë", html: expect.stringContaining("<p>Zoë") });
    expect(mail?.message.text?.trim()).toBe("Zoë O'Brien");
  });

  test.each([
    ["bounce@acme.test", 550],
    ["later@acme.test", 451],
  ])("refuses %s with %d", async (to, responseCode) => {
    const sent = transport().sendMail({ from: "handoff@example.com", to, subject: "x", text: "x" });
    await expect(sent).rejects.toMatchObject({ responseCode });
  });

  test("lets nobody in with the password `wrong`", async () => {
    const { host, port } = receivers.mail;
    const refused = createTransport({ host, port, auth: { user: "demo", pass: "wrong" } }).verify();
    await expect(refused).rejects.toMatchObject({ responseCode: 535 });
  });
});

describe("the SMS catcher", () => {
  /** Twilio's own client, pointed at our server. */
  const client = (token: string = demoAccount.authToken) => {
    const httpClient = new twilio.RequestClient();
    httpClient.axios.interceptors.request.use((config) => {
      config.url = config.url?.replace("https://api.twilio.com", receivers.sms.url) ?? "";
      return config;
    });
    return twilio(demoAccount.accountSid, token, { httpClient });
  };
  const message = { to: "+447700900123", from: "+442079460000", body: "A lead for you: Zoë, +447700900001" };

  test("takes a text from Twilio's own client and answers as Twilio does", async () => {
    const sent = await client().messages.create(message);
    expect(sent).toMatchObject({
      sid: expect.stringMatching(/^SM[0-9a-f]{32}$/),
      status: "queued",
      to: message.to,
      from: message.from,
      numSegments: "1",
    });
    expect(receivers.sms.texts().at(-1)).toMatchObject({ to: message.to, body: message.body });
    const listed = z
      .array(z.object({ sid: z.string() }))
      .parse(await (await fetch(`${receivers.sms.url}/messages`)).json());
    expect(listed.at(-1)?.sid).toBe(sent.sid);
  });

  test.each([
    ["a number without its country", { to: "07700 900123" }, 21211],
    ["Twilio's invalid number", { to: "+15005550001" }, 21211],
    ["somebody who wants no texts", { to: "+15005550004" }, 21610],
    ["a number that is not mobile", { to: "+15005550009" }, 21614],
    ["a sender that is none", { from: "not a number at all" }, 21212],
    ["1,601 characters", { body: "x".repeat(1_601) }, 21617],
  ])("refuses %s with Twilio's code", async (_what, change, code) => {
    await expect(client().messages.create({ ...message, ...change })).rejects.toMatchObject({ status: 400, code });
  });

  test("lets nobody in with another token", async () => {
    await expect(client("guess").messages.create(message)).rejects.toMatchObject({ status: 401, code: 20003 });
  });

  test.each([
    ["+447700900123", ["sent", "delivered"]],
    ["+447700900999", ["sent", "undelivered"]],
  ])("reports what became of a text to %s, signed as Twilio signs", async (to, expected) => {
    const reports: Record<string, string>[] = [];
    const signatures: string[] = [];
    const server = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request) {
        body += chunk;
      }
      signatures.push(String(request.headers["x-twilio-signature"]));
      reports.push(Object.fromEntries(new URLSearchParams(body)));
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const statusCallback = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}/status?alert=1`;
    const { sid } = await client().messages.create({ ...message, to, statusCallback });
    const deadline = Date.now() + 5_000;
    while (reports.length < 2 && Date.now() < deadline) {
      await sleep(10);
    }
    server.close();
    expect(reports.map((report) => [report.MessageSid, report.MessageStatus])).toEqual(
      expected.map((status) => [sid, status]),
    );
    for (const [index, report] of reports.entries()) {
      expect(twilio.validateRequest(demoAccount.authToken, signatures[index] ?? "", statusCallback, report)).toBe(true);
    }
  });
});

test("a port that is taken is named, and nothing stays open", async () => {
  const { port } = receivers.mail;
  await expect(startDemoReceivers({ smtpPort: port })).rejects.toThrow(String(port));
});
