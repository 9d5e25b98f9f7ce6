import { createHash, createHmac } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import { DOMParser } from "@xmldom/xmldom";
import { useNamespaces } from "xpath";
import { authenticate } from "../../src/channels/authentication.ts";
import type { Authentication, SendContext } from "../../src/channels/contract.ts";
import { signWebhook } from "../../src/channels/sign-webhook.ts";
import { addUsernameToken } from "../../src/channels/username-token.ts";

const sentAt = new Date("2026-11-20T10:00:00.500Z");
const context: SendContext = { allowHosts: [], idempotencyKey: "delivery-1", now: () => sentAt, smtp: null };
const headersFor = async (authentication: Authentication) => {
  const credentials = await authenticate(authentication, "body", context, 1_000);
  return credentials.kind === "credentials" ? credentials.headers : credentials;
};

describe("authentication", () => {
  test("none adds nothing", async () => {
    expect(await headersFor({ type: "none" })).toEqual([]);
  });

  test("basic is UTF-8 in base64, and a password may hold colons", async () => {
    // From RFC 7617 section 2.1: user "test", password "123£".
    const header = [["authorization", "Basic dGVzdDoxMjPCow=="]];
    expect(await headersFor({ type: "basic", username: "test", password: "123£" })).toEqual(header);
    const [[, value = ""] = []] = [
      ...((await headersFor({ type: "basic", username: "u", password: "a:b" })) as [string, string][]),
    ];
    expect(Buffer.from(value.slice(6), "base64").toString()).toBe("u:a:b");
  });

  test("basic refuses a user name with a colon, which would be read as another name", async () => {
    const refused = await headersFor({ type: "basic", username: "a:b", password: "c" });
    expect(refused).toMatchObject({ kind: "failure", code: "authentication", arrived: "no" });
  });

  test("bearer and API key are headers", async () => {
    expect(await headersFor({ type: "bearer", token: "t" })).toEqual([["authorization", "Bearer t"]]);
    expect(await headersFor({ type: "apiKey", header: "X-Key", value: "k" })).toEqual([["X-Key", "k"]]);
  });
});

describe("a Standard Webhooks signature", () => {
  test("is the one of the specification's example", () => {
    // https://github.com/standard-webhooks/standard-webhooks: the vector in its reference libraries.
    const headers = signWebhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", {
      id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
      sentAt: new Date(1_614_265_330_000),
      body: '{"test": 2432232314}',
    });
    expect(headers).toEqual([
      ["webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"],
      ["webhook-timestamp", "1614265330"],
      ["webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="],
    ]);
  });

  test("takes a secret without a prefix as it stands", () => {
    const message = { id: "delivery-1", sentAt, body: '{"name":"Zoë"}' };
    const expected = createHmac("sha256", "just words").update(`delivery-1.1795168800.${message.body}`, "utf8");
    expect(Object.fromEntries(signWebhook("just words", message))).toMatchObject({
      "webhook-timestamp": "1795168800",
      "webhook-signature": `v1,${expected.digest("base64")}`,
    });
  });
});

const wss = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss";
const soap11 = "http://schemas.xmlsoap.org/soap/envelope/";
const soap12 = "http://www.w3.org/2003/05/soap-envelope";

function select(xml: string, path: string): string {
  const namespaces = {
    s11: soap11,
    s12: soap12,
    wsse: `${wss}-wssecurity-secext-1.0.xsd`,
    wsu: `${wss}-wssecurity-utility-1.0.xsd`,
  };
  const document = new DOMParser().parseFromString(xml, "text/xml");
  return String(useNamespaces(namespaces)(`string(${path})`, document as unknown as Node));
}

const token = (passwordType: "text" | "digest") =>
  ({ type: "usernameToken", username: "O'Brien & <Co>", password: "pä&<ss", passwordType }) as const;

function secured(envelope: string, passwordType: "text" | "digest" = "digest"): string {
  const result = addUsernameToken(envelope, token(passwordType), sentAt);
  if (!result.ok) throw new Error(result.detail);
  return result.envelope;
}

const bodyXml = '<m:lead xmlns:m="urn:m"><m:name>Zoë &amp; 👋 &lt;b&gt; 1&#13;\n2</m:name></m:lead>';
const envelopes = [
  [
    "SOAP 1.1 without a header",
    "s11",
    `<soap:Envelope xmlns:soap="${soap11}"><soap:Body>${bodyXml}</soap:Body></soap:Envelope>`,
  ],
  [
    "SOAP 1.2 without a header",
    "s12",
    `<env:Envelope xmlns:env="${soap12}"><env:Body>${bodyXml}</env:Body></env:Envelope>`,
  ],
  [
    "SOAP 1.1 with a header",
    "s11",
    `<s:Envelope xmlns:s="${soap11}"><s:Header><x xmlns="urn:x"/></s:Header><s:Body>${bodyXml}</s:Body></s:Envelope>`,
  ],
  ["SOAP 1.2 without a prefix", "s12", `<Envelope xmlns="${soap12}"><Header/><Body>${bodyXml}</Body></Envelope>`],
  [
    "an XML declaration and comments",
    "s11",
    `<?xml version="1.0" encoding="utf-8"?>\n<!-- c -->\n<s:Envelope xmlns:s="${soap11}">\n  <s:Body>${bodyXml}</s:Body>\n</s:Envelope>`,
  ],
] as const;

describe("a UsernameToken", () => {
  test.each(envelopes)("goes into the header: %s", (_what, s, envelope) => {
    const xml = secured(envelope);
    const path = `/${s}:Envelope/${s}:Header/wsse:Security[@${s}:mustUnderstand='1']/wsse:UsernameToken`;
    expect(select(xml, `${path}/wsse:Username`)).toBe("O'Brien & <Co>");
    expect(select(xml, `${path}/wsu:Created`)).toBe(sentAt.toISOString());
    expect(select(xml, `count(/${s}:Envelope/${s}:Header)`)).toBe("1");
    expect(select(xml, `name(/${s}:Envelope/*[1]) = name(/${s}:Envelope/${s}:Header)`)).toBe("true");
    expect(xml).toContain(bodyXml);
    expect(xml.startsWith("<?xml")).toBe(envelope.startsWith("<?xml"));
  });

  test("carries a digest that the receiver can compute from nonce, time and password", () => {
    const xml = secured(envelopes[0][2]);
    const nonce = Buffer.from(select(xml, "//wsse:Nonce"), "base64");
    expect(nonce).toHaveLength(16);
    const computed = createHash("sha1")
      .update(Buffer.concat([nonce, Buffer.from(select(xml, "//wsu:Created")), Buffer.from("pä&<ss", "utf8")]))
      .digest("base64");
    expect(select(xml, "//wsse:Password")).toBe(computed);
    expect(select(xml, "//wsse:Password/@Type")).toBe(`${wss}-username-token-profile-1.0#PasswordDigest`);
    expect(select(xml, "//wsse:Nonce/@EncodingType")).toBe(`${wss}-soap-message-security-1.0#Base64Binary`);
    expect(xml).not.toContain("pä");
  });

  test("never uses a nonce twice", () => {
    const nonces = Array.from({ length: 50 }, () => select(secured(envelopes[0][2]), "//wsse:Nonce"));
    expect(new Set(nonces).size).toBe(50);
  });

  test("carries the password itself where the partner wants text", () => {
    const xml = secured(envelopes[1][2], "text");
    expect(select(xml, "//wsse:Password")).toBe("pä&<ss");
    expect(select(xml, "//wsse:Password/@Type")).toBe(`${wss}-username-token-profile-1.0#PasswordText`);
  });

  test("shares a Security header that is for the same receiver, and leaves one for somebody else alone", () => {
    const security = (attribute: string) =>
      `<s:Envelope xmlns:s="${soap11}"><s:Header><w:Security xmlns:w="${wss}-wssecurity-secext-1.0.xsd"${attribute}/></s:Header><s:Body/></s:Envelope>`;
    expect(select(secured(security("")), "count(//wsse:Security)")).toBe("1");
    expect(select(secured(security("")), "count(//wsse:Security/wsse:UsernameToken)")).toBe("1");
    const other = secured(security(' s:actor="urn:router"'));
    expect(select(other, "count(//wsse:Security)")).toBe("2");
    expect(select(other, "count(//wsse:Security[not(@s11:actor)]/wsse:UsernameToken)")).toBe("1");
  });

  test.each(["", "plain", "<lead/>", '{"a":1}', "<Envelope/>", "<Envelope xmlns='urn:other'/>", "<s:Envelope"])(
    "has no place in %p",
    (body) => {
      expect(addUsernameToken(body, token("text"), sentAt)).toMatchObject({ ok: false });
    },
  );
});
