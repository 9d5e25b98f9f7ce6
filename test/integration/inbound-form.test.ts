import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { call, createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign, contactFields } from "../helpers/api-documents.ts";
import { addInbound, addUser, addWorkflow, type TestWorkflow } from "../helpers/referrals.ts";

/** The form of an inbound, as a browser sees it. */

let server: TestApi;
let client: TestClient;
let workflow: TestWorkflow;
let address: string;
let inboundId: string;

const fields = [
  ...contactFields.map((field) => (field.key === "postcode" ? { ...field, shareable: true } : field)),
  { key: "cover", label: "Cover", type: "choice", choices: ["Basic", "Full <all>"], required: true, shareable: true },
  { key: "internal", type: "text", required: true },
];

beforeAll(async () => {
  server = await createTestApi();
});
afterAll(async () => server.close());

beforeEach(async () => {
  client = await server.createClient("Receivers");
  const ownerId = await addUser(server, client, { email: "olive@example.com" });
  workflow = await addWorkflow(client, { campaignId: (await addCampaign(client, [], { fields })).id, ownerId });
  const form = { title: "Get a quote & more", sites: ["https://www.brightwater.test", "http://localhost:8080"] };
  inboundId = (await addInbound(client, workflow, { form })).id;
  address = new URL((await client.call("GET", `/v1/inbounds/${inboundId}`)).text("formUrl")).pathname;
});

let senders = 0;

/** Each test sends from an address of its own: there is a limit for each. */
async function send(values: Readonly<Record<string, string>>, from?: string) {
  senders += 1;
  const remoteAddress = from ?? `192.0.2.${senders}`;
  return server.api.inject({
    method: "POST",
    url: address,
    remoteAddress,
    headers: { "content-type": "application/x-www-form-urlencoded" },
    payload: new URLSearchParams(values).toString(),
  });
}

async function open() {
  const page = await server.api.inject({ method: "GET", url: address });
  const [, submission = ""] = /name="submission" value="([^"]+)"/.exec(page.body) ?? [];
  return { page, submission };
}

const filled = (submission: string, changes: Readonly<Record<string, string>> = {}) => ({
  submission,
  leave_empty: "",
  "field.first_name": "Grace",
  "field.email": "Grace@EXAMPLE.com",
  "field.phone": "07700 900123",
  "field.postcode": "sw1a1aa",
  "field.cover": "Full <all>",
  ...changes,
});

const leads = async () =>
  ((await client.call("GET", "/v1/leads")).body as { data: { id: string; fields: Record<string, unknown> }[] }).data;

describe("the form of an inbound", () => {
  test("is off unless it is set", async () => {
    const { id } = await addInbound(client, workflow);
    expect((await client.call("GET", `/v1/inbounds/${id}`)).body).toMatchObject({ form: null, formUrl: null });
  });

  test("asks for the contact's fields and the shareable ones, without a script, and gives no key away", async () => {
    const { page } = await open();
    expect(page.statusCode).toBe(200);
    expect([...page.body.matchAll(/name="field\.(\w+)"/g)].map(([, name]) => name)).toEqual([
      "first_name",
      "email",
      "phone",
      "postcode",
      "cover",
    ]);
    expect(page.body).toContain("<h1>Get a quote &amp; more</h1>");
    expect(page.body).toContain('<option value="Full &lt;all&gt;">');
    expect(page.body).not.toContain("<script");
    expect(page.body).not.toContain((await client.call("GET", `/v1/inbounds/${inboundId}`)).text("key"));
  });

  test("may be shown by the sites that the inbound names and no others, and runs nothing", async () => {
    const { headers } = (await open()).page;
    expect(headers["x-frame-options"]).toBeUndefined();
    expect(headers["content-security-policy"]).toMatch(
      /^default-src 'none'; style-src 'sha256-[\w+/=]+'; form-action 'self'; base-uri 'none'; frame-ancestors https:\/\/www\.brightwater\.test http:\/\/localhost:8080$/,
    );
    await client.call("PATCH", `/v1/inbounds/${inboundId}`, { form: { sites: [] } });
    expect((await open()).page.headers["content-security-policy"]).toContain("frame-ancestors 'none'");
  });

  test.each([
    "https://a.test; script-src *",
    "https://a.test/path",
    "a.test",
    "https://*",
    "'self'",
    "https://a.test b.test",
  ])("cannot be opened to %j", async (site) => {
    const answer = await client.call("PATCH", `/v1/inbounds/${inboundId}`, { form: { sites: [site] } });
    expect(answer.body).toMatchObject({ status: 422, fields: [{ field: "form.sites.0" }] });
  });

  test("makes a lead in the inbound's stage, with the workflow's owner, who is told; it is not routed", async () => {
    const { submission } = await open();
    const answer = await send(filled(submission));
    expect(answer.statusCode).toBe(200);
    expect(answer.body).toContain("Thank you");
    const [lead] = await leads();
    const shown = await client.call("GET", `/v1/leads/${lead?.id}`);
    expect(shown.body).toMatchObject({
      state: "received",
      source: "form",
      byHand: true,
      dueAt: null,
      fields: {
        first_name: "Grace",
        email: "Grace@example.com",
        phone: "+447700900123",
        postcode: "SW1A 1AA",
        cover: "Full <all>",
      },
      stage: { id: workflow.stageIds[0] },
      owner: { email: "olive@example.com" },
      arrival: null,
    });
    expect(shown.value("timeline")).toContainEqual(
      expect.objectContaining({ text: "It came in over the form of the inbound Partners in trade." }),
    );
    const alerts = await client.call("GET", "/v1/alerts?kind=referral_arrived");
    expect(alerts.value("data.0.recipient")).toBe("olive@example.com");
  });

  test("sent twice, also at the same moment, makes one lead; opened again, another", async () => {
    const { submission } = await open();
    const answers = await Promise.all([1, 2, 3].map(async () => send(filled(submission))));
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200]);
    expect(await leads()).toHaveLength(1);
    await send(filled((await open()).submission));
    expect(await leads()).toHaveLength(2);
  });

  test("says what is not right, keeps what was filled in, and makes nothing", async () => {
    const { submission } = await open();
    const answer = await send(filled(submission, { "field.email": '"><script>x', "field.cover": "" }));
    expect(answer.statusCode).toBe(422);
    expect(answer.body).toContain("must be an e-mail address");
    expect(answer.body).toContain("Cover must be given");
    expect(answer.body).toContain('value="&quot;&gt;&lt;script&gt;x"');
    expect(answer.body).toContain('value="Grace"');
    expect(answer.body).not.toContain("<script");
    expect(await leads()).toEqual([]);
  });

  test("takes no field that it does not ask for", async () => {
    await send(filled((await open()).submission, { "field.internal": "x", internal: "x" }));
    expect((await leads())[0]?.fields).toMatchObject({ internal: null });
  });

  test("thanks what fills in the field that nobody sees, and keeps nothing of it", async () => {
    const answer = await send(filled((await open()).submission, { leave_empty: "https://spam.test" }));
    expect(answer.body).toContain("Thank you");
    expect(await leads()).toEqual([]);
  });

  test("takes so many a minute from one address", async () => {
    const statuses: number[] = [];
    for (let times = 0; times < 22; times += 1) {
      statuses.push((await send({ submission: "none" }, "198.51.100.7")).statusCode);
    }
    expect(statuses.slice(0, 20)).toEqual(Array(20).fill(422));
    expect(statuses.slice(20)).toEqual([429, 429]);
    expect((await open()).page.statusCode).toBe(200);
  });

  test.each([
    ["the inbound is switched off", { enabled: false }],
    ["the form is taken away", { form: null }],
  ])("is not there where %s", async (_, patch) => {
    const { submission } = await open();
    await client.call("PATCH", `/v1/inbounds/${inboundId}`, patch);
    expect((await open()).page.statusCode).toBe(404);
    expect((await send(filled(submission))).statusCode).toBe(404);
    expect(await leads()).toEqual([]);
  });

  test("is not there where the inbound was deleted, nor under an address that nobody gave", async () => {
    await client.call("DELETE", `/v1/inbounds/${inboundId}`);
    expect((await open()).page.statusCode).toBe(404);
    for (const token of ["nonsense", "%00", inboundId]) {
      expect((await call(server.api, null, "GET", `/v1/forms/${token}`)).status).toBe(404);
    }
  });
});
