import { describe, expect, test } from "@jest/globals";
import { checkEmailSettings, checkInternetSettings } from "../../src/channels/check-settings.ts";
import type { ChannelRequest } from "../../src/channels/contract.ts";
import { channelFor } from "../../src/channels/registry.ts";
import { sampleVariables } from "../../src/channels/sample-variables.ts";
import {
  emailSettingsSchema,
  type InternetSettings,
  internetSettingsSchema,
  keepMaskedSecrets,
  mapSecrets,
  maskSecrets,
  secretPaths,
} from "../../src/channels/settings.ts";
import { createTrialTime } from "../../src/channels/trial-time.ts";

const samples = sampleVariables([
  { key: "first_name", type: "text", required: true, group: "contact" },
  { key: "phone", type: "phone", group: "contact" },
  { key: "cover", type: "money" },
  { key: "smoker", type: "boolean" },
]);
const [typical, sparse] = samples;
const url = "https://partner.test/leads";

function parse(settings: object): InternetSettings {
  return internetSettingsSchema.parse({ url, ...settings });
}

async function problems(settings: object): Promise<string[]> {
  const found = await checkInternetSettings(parse(settings), samples, createTrialTime(60_000));
  return found.map(({ field, message }) => `${field}: ${message}`);
}

function refusals(settings: object): string {
  const parsed = internetSettingsSchema.safeParse({ url, ...settings });
  return parsed.error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("\n") ?? "accepted";
}

function request(settings: object, variables = typical): ChannelRequest {
  const parsed = parse(settings);
  const rendered = channelFor(parsed).render(variables, parsed);
  if (!rendered.ok) throw new Error(`${rendered.field}: ${rendered.reason}`);
  return rendered.request;
}

describe("settings", () => {
  test("what is left out has its default", () => {
    expect(parse({ method: "json" })).toEqual({
      method: "json",
      url,
      httpMethod: "POST",
      headers: {},
      auth: { type: "none" },
      timeoutMs: 15_000,
      followRedirects: false,
    });
  });

  test("what the schema gave, it takes again", () => {
    const settings = parse({ method: "post", fields: [["a", "{{ lead.first_name }}"]], success: { contains: "ok" } });
    expect(internetSettingsSchema.parse(settings)).toEqual(settings);
  });

  test.each<[object, string]>([
    [{ method: "fax" }, "method: must have a method: json, xml, soap11, soap12 or post"],
    [{ method: "json", bdy: "{}" }, 'Unrecognized key: "bdy"'],
    [{ method: "json", fields: [["a", "b"]] }, 'Unrecognized key: "fields"'],
    [{ method: "json", action: "a" }, 'Unrecognized key: "action"'],
    [{ method: "json", httpMethod: "DELETE" }, "httpMethod: must be POST, PUT or PATCH"],
    [{ method: "json", timeoutMs: 100 }, "timeoutMs: must be at least 1000 ms"],
    [{ method: "json", timeoutMs: 61_000 }, "timeoutMs: must be at most 60000 ms"],
    [{ method: "json", followRedirects: "yes" }, "followRedirects: must be true or false"],
    [{ method: "json", body: "" }, "body: must not be empty"],
    [{ method: "json", reason: "outcome" }, "reason: a path is a JSONPath"],
    [{ method: "json", success: { path: "$.a" } }, "success: must have exactly one test"],
    [{ method: "json", headers: { "a b": "1" } }, "headers.a b: "],
    [{ method: "json", headers: { Host: "other.test" } }, "headers.Host: "],
    [{ method: "json", headers: { "Content-Length": "1" } }, "headers.Content-Length: "],
    [{ method: "json", headers: { "X-A": "1\r\nX-B: 2" } }, "headers.X-A: must not hold line breaks"],
    [{ method: "json", headers: { "X-A": "1", "x-a": "2" } }, "headers: must not name the same header twice"],
    [
      { method: "json", headers: { Authorization: "x" }, auth: { type: "bearer", token: "t" } },
      "headers.Authorization: is written by auth",
    ],
    [
      { method: "json", headers: { "x-key": "x" }, auth: { type: "apiKey", header: "X-Key", value: "t" } },
      "headers.x-key: is written by auth",
    ],
    [
      { method: "json", auth: { type: "kerberos" } },
      "auth.type: must have a type: none, basic, bearer, apiKey, oauth2, standardWebhooks",
    ],
    [
      { method: "json", auth: { type: "usernameToken", username: "u", password: "p" } },
      "usernameToken is for soap11 and soap12",
    ],
    [
      { method: "json", auth: { type: "basic", username: "a:b", password: "p" } },
      "auth.username: must not have a colon",
    ],
    [{ method: "json", auth: { type: "bearer", token: "a b" } }, "auth.token: must be ASCII without blanks"],
    [
      { method: "json", auth: { type: "standardWebhooks", secret: "short" } },
      "auth.secret: must be whsec_ followed by",
    ],
    [
      { method: "json", auth: { type: "oauth2", tokenUrl: "ftp://a", clientId: "a", clientSecret: "b" } },
      "auth.tokenUrl: must be an address",
    ],
    [{ method: "soap11" }, "body: must be a template text"],
    [{ method: "soap11", body: "<a/>", headers: { SOAPAction: "x" } }, "headers.SOAPAction: is written by the channel"],
    [{ method: "soap11", body: "<a/>", action: 'a"b' }, "action: must be ASCII"],
    [
      { method: "soap12", body: '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"/>' },
      "body: must have the envelope of http://www.w3.org/2003/05/soap-envelope",
    ],
    [{ method: "post", body: "a=1", fields: [["a", "1"]] }, "fields: must not be given together with body"],
    [{ method: "post", body: "a=1", httpMethod: "GET" }, "body: must not be given with GET"],
    [{ method: "post", fields: [["a"]] }, "fields.0: must be a pair"],
  ])("%j is refused with the field and what is allowed", (settings, message) => {
    expect(refusals(settings)).toContain(message);
  });

  test.each([
    "partner.test/leads",
    "ftp://partner.test/",
    "//partner.test/",
    "https://",
    "https:///leads",
    "https://{{ lead.first_name }}.test/",
    "https://partner.test{{ lead.first_name }}",
    "https://partner.test:{{ lead.first_name }}/",
    "https://user:secret@partner.test/",
    "https://partner.test\\@other.test/",
    "https://partner.test/a#b",
    "https://partner.test/a b",
    "https://partner.test/../a",
    "https://partner.test/a/%2e%2E?b",
    "https://partner.test/100%",
    "https://partner.test:99999/",
    "javascript:alert(1)",
  ])("the address %s is refused", (address) => {
    expect(refusals({ method: "json", url: address })).toMatch(/^url: must/);
  });

  test.each([
    "http://localhost:8080",
    "https://partner.test?a={{ lead.first_name | upcase }}",
    "https://partner.test:8443/a/{{ lead.first_name | replace: '#', ' ' }}/b.c/..d",
    "https://[2001:db8::1]/leads",
    "https://bücher.example/",
  ])("the address %s is taken", (address) => {
    expect(refusals({ method: "json", url: address })).toBe("accepted");
  });

  test.each<[object, string]>([
    [{ to: [] }, "to: must name at least one recipient"],
    [{ to: ["leads"] }, "to.0: must be an email address"],
    [{ to: ["a@b.test\r\nBcc: c@d.test"] }, "to.0: must be an email address"],
    [{ to: ["a@b.test"], cc: ["c@d.test"] }, 'Unrecognized key: "cc"'],
    [{ to: ["a@b.test"], subject: "a\nb" }, "subject: must be one line"],
    [{ to: ["a@b.test"], headers: { Bcc: "c@d.test" } }, "headers.Bcc: "],
    [{ to: ["a@b.test"], template: { subject: "a" } }, "template.text: "],
  ])("of email: %j is refused", (settings, message) => {
    const parsed = emailSettingsSchema.safeParse(settings);
    expect(parsed.error?.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("\n")).toContain(
      message,
    );
  });
});

describe("when settings are saved, they are tried on a typical and a sparse lead", () => {
  test.each<[object, unknown[]]>([
    [{ method: "json" }, []],
    [{ method: "xml" }, []],
    [{ method: "post" }, []],
    [{ method: "soap11", body: "<a>{{ lead.first_name }}</a>" }, []],
    [{ method: "json", body: '{"a":{{ lead.cover }},"b":{{ lead.smoker }},"c":"{{ lead.phone }}"}' }, []],
    [
      { method: "json", body: '{"a":"{{ lead.name }}"}' },
      [
        "body: there is no variable lead.name (line 1); a lead has first_name, phone, cover, smoker, id, received_at, source",
      ],
    ],
    [
      { method: "json", body: '{"a":{% if lead.cover == 1 %}"{{ lead.typo }}"{% else %}1{% endif %}}' },
      [
        "body: there is no variable lead.typo (line 1); a lead has first_name, phone, cover, smoker, id, received_at, source",
      ],
    ],
    [
      { method: "json", body: '{"a":"{{ lead.first_name }}"' },
      [expect.stringContaining("body: the rendered body is not JSON")],
    ],
    [
      { method: "json", body: '{"a":\n{{ lead.first_name }},}' },
      ["body: the rendered body is not JSON (line 2 of the result)"],
    ],
    [
      { method: "json", body: '{"a":{% if lead.cover %}1{% endif %}}' },
      [expect.stringContaining("body: the rendered body is not JSON")],
    ],
    [
      { method: "xml", body: "<a>{{ lead.first_name }}</b>" },
      ["body: the rendered body is not well-formed XML (line 1 of the result)"],
    ],
    [
      { method: "xml", body: "<a>&nbsp;{{ lead.first_name }}</a>" },
      ["body: the rendered body is not well-formed XML (entity not found:&nbsp;)"],
    ],
    [{ method: "xml", body: "<a>R&D</a>" }, ["body: the rendered body is not well-formed XML (line 1 of the result)"]],
    [{ method: "xml", body: "<a/><b/>" }, [expect.stringContaining("Only one element can be added")]],
    [{ method: "xml", body: "<p:a/>" }, [expect.stringContaining("body: the rendered body is not well-formed XML")]],
    [
      { method: "xml", body: '<!DOCTYPE a SYSTEM "http://x.test/a.dtd"><a/>' },
      ["body: the body must not have a DOCTYPE"],
    ],
    [
      { method: "xml", body: '<?xml version="1.0" encoding="ISO-8859-1"?><a/>' },
      [expect.stringContaining("must not name another encoding")],
    ],
    [
      { method: "xml", body: "<a>{% if lead.cover %}</a>{% endif %}" },
      ["body: the rendered body is not well-formed XML (line 1 of the result)"],
    ],
    [
      { method: "xml", body: "<a><!-- {{ lead.first_name }} --></a>" },
      [expect.stringContaining("body: a value cannot stand inside a comment")],
    ],
    [
      { method: "soap12", body: "<a>{{ lead.first_name }}" },
      ["body: the rendered body is not well-formed XML (line 1 of the result)"],
    ],
    [{ method: "post", body: "a=b c" }, [expect.stringContaining("body: a form body is ASCII without blanks")]],
    [
      {
        method: "post",
        fields: [
          ["a", "1"],
          ["b", "{{ lead.typo }}"],
        ],
      },
      [expect.stringContaining("fields.1.1: there is no variable lead.typo")],
    ],
    [
      {
        method: "json",
        url: `${url}?a={{ lead.a }}`,
        headers: { "X-B": "{{ lead.b | shout }}", "X-C": "{{ lead.c }}" },
      },
      [
        expect.stringContaining("url: there is no variable lead.a"),
        "headers.X-B: there is no filter shout (line 1)",
        expect.stringContaining("headers.X-C: there is no variable lead.c"),
      ],
    ],
    [
      { method: "json", body: '{"a":"{{ contacts[0].first_name }}"}' },
      ["body: there is no variable contacts.0 (line 1)"],
    ],
    [{ method: "json", body: '{"a":"{% if contacts[0] %}{{ contacts[0].first_name }}{% endif %}"}' }, []],
  ])("%j", async (settings, expected) => {
    expect(await problems(settings)).toEqual(expected);
  });

  test("the default mail and a mail of one's own", async () => {
    const check = async (settings: object) => {
      const email = emailSettingsSchema.parse({ to: ["leads@acme.test"], ...settings });
      const found = await checkEmailSettings(email, samples, createTrialTime(60_000));
      return found.map(({ field }) => field);
    };
    expect(await check({})).toEqual([]);
    expect(
      await check({
        template: { subject: "Lead", text: "{{ lead.first_name }}", html: "<p>{{ lead.first_name }}</p>" },
      }),
    ).toEqual([]);
    expect(
      await check({
        subject: "{{ lead.a }}",
        headers: { "X-A": "{{ lead.b }}" },
        template: { text: "{{ lead.c }}", html: "<p {{ lead.first_name }}>" },
      }),
    ).toEqual(["headers.X-A", "subject", "template.text", "template.html"]);
  });
});

describe("what is sent", () => {
  test("JSON", () => {
    expect(
      request({ method: "json", body: '{"name":"{{ lead.first_name }}","cover":{{ lead.cover }}}' }, sparse),
    ).toEqual({
      kind: "http",
      method: "POST",
      url,
      headers: [["Content-Type", "application/json"]],
      body: '{"name":"Alex","cover":null}',
      timeoutMs: 15_000,
      followRedirects: false,
      secrets: [],
      authentication: { type: "none" },
    });
  });

  test("a header of one's own takes the place of the channel's, and an empty one is left out", () => {
    const headers = {
      "content-type": "application/vnd.partner+json",
      "X-Phone": "{{ lead.phone }}",
      "X-Cover": "{{ lead.cover }}",
    };
    expect(request({ method: "json", headers }, sparse)).toMatchObject({
      headers: [["content-type", "application/vnd.partner+json"]],
    });
    expect(request({ method: "json", headers })).toMatchObject({
      headers: [
        ["content-type", "application/vnd.partner+json"],
        ["X-Phone", "+442079460000"],
        ["X-Cover", "125000"],
      ],
    });
  });

  test("SOAP 1.1 and 1.2, from the content of the Body and from a whole envelope", () => {
    const soap11 = request({
      method: "soap11",
      action: "urn:partner#AddLead",
      body: "<AddLead><n>{{ lead.first_name }}</n></AddLead>",
    });
    expect(soap11).toMatchObject({
      headers: [
        ["Content-Type", "text/xml; charset=utf-8"],
        ["SOAPAction", '"urn:partner#AddLead"'],
      ],
      body: '<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><AddLead><n>Alex</n></AddLead></soap:Body></soap:Envelope>',
    });
    const envelope =
      '<?xml version="1.0"?>\n<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body/></e:Envelope>';
    expect(request({ method: "soap12", action: "urn:add", body: envelope })).toMatchObject({
      headers: [["Content-Type", 'application/soap+xml; charset=utf-8; action="urn:add"']],
      body: envelope,
    });
  });

  test("a form from fields, and with GET in the query", () => {
    const fields = [
      ["full name", "{{ lead.first_name }} & Söhne"],
      ["phone", "{{ lead.phone }}"],
      ["cover", "{{ lead.cover }}"],
    ];
    const encoded = "full+name=Alex+%26+S%C3%B6hne&phone=&cover=";
    expect(request({ method: "post", fields }, sparse)).toMatchObject({
      body: encoded,
      headers: [["Content-Type", "application/x-www-form-urlencoded"]],
    });
    expect(request({ method: "post", httpMethod: "GET", url: `${url}?key=1`, fields }, sparse)).toMatchObject({
      method: "GET",
      url: `${url}?key=1&${encoded}`,
      body: "",
      headers: [],
    });
  });

  test("without a body, everything that is known of the lead", () => {
    const json = request({ method: "json" }, sparse);
    expect(JSON.parse(json.kind === "http" ? json.body : "")).toEqual({
      id: sparse.delivery.id,
      test: true,
      campaign: sparse.campaign,
      lead: sparse.lead,
      contacts: sparse.contacts,
    });
  });

  test("the secrets of the request are named, so that they can be masked", () => {
    const auth = { type: "basic", username: "acme", password: "hunter2" };
    expect(
      request({ method: "json", auth, headers: { "X-Api-Key": "k-{{ partner.id }}", "X-Source": "s" } }),
    ).toMatchObject({
      secrets: [
        "hunter2",
        "k-{{ partner.id }}",
        `k-${typical.partner.id}`,
        Buffer.from("acme:hunter2").toString("base64"),
      ],
    });
  });
});

describe("secrets", () => {
  const auths = [
    { type: "basic", username: "u", password: "secret-0" },
    { type: "bearer", token: "secret-0" },
    { type: "apiKey", header: "X-Key", value: "secret-0" },
    { type: "oauth2", tokenUrl: "https://login.test/token", clientId: "c", clientSecret: "secret-0" },
    { type: "usernameToken", username: "u", password: "secret-0" },
    { type: "standardWebhooks", secret: `whsec_${"A".repeat(32)}` },
  ];

  test.each(auths)("of $type are masked, changed and put back", (auth) => {
    const settings = parse({ method: "soap11", body: "<a/>", auth });
    const masked = maskSecrets(settings);
    expect(JSON.stringify(masked)).not.toMatch(/secret-0|whsec_/);
    expect(secretPaths(settings)).toHaveLength(1);
    expect(
      mapSecrets(
        mapSecrets(settings, (secret) => `<${secret}>`),
        (secret) => secret.slice(1, -1),
      ),
    ).toEqual(settings);
    const sentBack = internetSettingsSchema.parse(masked);
    expect(keepMaskedSecrets(sentBack, settings)).toEqual({ ok: true, settings });
  });

  test("in headers are known by the header's name", () => {
    const headers = {
      Authorization: "a",
      "X-Api-Key": "b",
      "X-Auth-Token": "c",
      Cookie: "d",
      "X-Source": "e",
      Accept: "f",
    };
    expect(maskSecrets(parse({ method: "json", headers })).headers).toEqual({
      Authorization: "••••••",
      "X-Api-Key": "••••••",
      "X-Auth-Token": "••••••",
      Cookie: "••••••",
      "X-Source": "e",
      Accept: "f",
    });
  });

  test("a new secret replaces the stored one, the mask keeps it, whatever else changes", () => {
    const previous = parse({ method: "json", auth: { type: "bearer", token: "old" }, headers: { "X-Key": "k" } });
    const next = parse({
      method: "xml",
      timeoutMs: 2000,
      auth: { type: "bearer", token: "new" },
      headers: { "x-key": "••••••" },
    });
    expect(keepMaskedSecrets(next, previous)).toEqual({ ok: true, settings: { ...next, headers: { "x-key": "k" } } });
  });

  test("a mask for which nothing is stored is refused", () => {
    const masked = parse({ method: "json", auth: { type: "basic", username: "u", password: "••••••" } });
    const problem = [{ field: "auth.password", message: "must be given: no secret is stored here" }];
    expect(keepMaskedSecrets(masked, null)).toEqual({ ok: false, problems: problem });
    const other = parse({ method: "json", auth: { type: "bearer", token: "t" } });
    expect(keepMaskedSecrets(masked, other)).toEqual({ ok: false, problems: problem });
  });
});
