import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type MailCatcher, startMailCatcher } from "../../demo/mail-catcher.ts";
import { demoAccount, type SmsCatcher, startSmsCatcher } from "../../demo/sms-catcher.ts";
import { sendDueAlerts } from "../../src/alerts/send-due-alerts.ts";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import { call, createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign } from "../helpers/api-documents.ts";
import { addInbound, addUser, addWorkflow, referralDocument, type TestInbound } from "../helpers/referrals.ts";

/** What the owner of a workflow reads of what arrives: by a real mail server, and one that speaks as Twilio does. */

let sms: SmsCatcher;
let mail: MailCatcher;
let server: TestApi;
let client: TestClient;
let inbound: TestInbound;

beforeAll(async () => {
  sms = await startSmsCatcher("127.0.0.1", 0);
  mail = await startMailCatcher("127.0.0.1", 0);
  server = await createTestApi({
    environment: {
      SMTP_HOST: "127.0.0.1",
      SMTP_PORT: String(mail.port),
      SMTP_FROM: "Handoff <handoff@example.com>",
      TWILIO_ACCOUNT_SID: demoAccount.accountSid,
      TWILIO_AUTH_TOKEN: demoAccount.authToken,
      TWILIO_FROM: "+442079460000",
      TWILIO_BASE_URL: sms.url,
    },
  });
  client = await server.createClient("Harbour Finance");
  const ownerId = await addUser(server, client, { email: "olive@example.com", phone: "+447700900321" });
  const campaignId = (await addCampaign(client)).id;
  inbound = await addInbound(client, await addWorkflow(client, { campaignId, ownerId, alertSms: true }), { form: {} });
});
afterAll(async () => {
  await server.close();
  await Promise.all([sms.stop(), mail.stop()]);
  await closeOutbound();
});

test("of a referral: who it is from, who the person is, where it stands", async () => {
  const referral = referralDocument();
  await call(server.api, inbound.key, "POST", inbound.path, referral);
  await sendDueAlerts(server.context, client.organisationId);
  const received = mail.messages().at(-1);
  const got = received?.message;
  expect(received?.to).toEqual(["olive@example.com"]);
  expect(got?.subject).toBe("Brightwater Brokers refers a lead: Grace");
  for (const text of [got?.text, got?.html]) {
    for (const words of [
      "Dana Cole of",
      "Brightwater Brokers",
      "the inbound Partners in trade",
      "grace@example.com",
      "Sales",
      "New",
    ])
      expect(text).toContain(words);
    expect(text).toContain(referral.referralId);
  }
  expect(sms.texts().at(-1)).toMatchObject({ to: "+447700900321" });
  expect(sms.texts().at(-1)?.body).toMatch(
    /^Handoff: Brightwater Brokers refers a lead: Grace, grace@example\.com\. Ref /,
  );
});

test("of a form: over which inbound, and who the person is", async () => {
  const url = new URL((await client.call("GET", `/v1/inbounds/${inbound.id}`)).text("formUrl")).pathname;
  const page = await server.api.inject({ method: "GET", url });
  const submission = /name="submission" value="([^"]+)"/.exec(page.body)?.[1] ?? "";
  const payload = new URLSearchParams({ submission, "field.first_name": "Ida <b>" }).toString();
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  expect((await server.api.inject({ method: "POST", url, headers, payload })).statusCode).toBe(200);
  await sendDueAlerts(server.context, client.organisationId);
  const got = mail.messages().at(-1)?.message;
  expect(got?.subject).toBe("A lead came in over a form: Ida <b>");
  expect(got?.text).toContain("A lead came to Harbour Finance over the form of the inbound Partners in trade.");
  expect(got?.html).toContain("Ida &lt;b&gt;");
  expect(sms.texts().at(-1)?.body).toMatch(/^Handoff: a lead came in over a form: Ida/);
});
