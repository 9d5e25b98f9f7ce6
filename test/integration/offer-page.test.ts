import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { type MailCatcher, startMailCatcher } from "../../demo/mail-catcher.ts";
import { demoAccount, type SmsCatcher, startSmsCatcher } from "../../demo/sms-catcher.ts";
import { sendDueAlerts } from "../../src/alerts/send-due-alerts.ts";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import { answerOffer, presentOffer } from "../../src/offers/answer-offer.ts";
import { expireDueOffers } from "../../src/offers/expire-offers.ts";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import { call, createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign, addPartner, contactFields, jsonDelivery } from "../helpers/api-documents.ts";

/** How a partner hears of an offer, and what is behind the link. All parts are real; mail and SMS go to the demo's servers. */

let mail: MailCatcher;
let sms: SmsCatcher;
let server: TestApi;
let client: TestClient;
let now: Date;

beforeAll(async () => {
  mail = await startMailCatcher("127.0.0.1", 0);
  sms = await startSmsCatcher("127.0.0.1", 0);
  const environment = {
    PUBLIC_URL: "https://leads.example.com/",
    SMTP_HOST: "127.0.0.1",
    SMTP_PORT: String(mail.port),
    SMTP_FROM: "Handoff <handoff@example.com>",
    TWILIO_ACCOUNT_SID: demoAccount.accountSid,
    TWILIO_AUTH_TOKEN: demoAccount.authToken,
    TWILIO_FROM: "+442079460000",
    TWILIO_BASE_URL: sms.url,
  };
  server = await createTestApi({ environment, clock: () => now });
});
beforeEach(async () => {
  now = new Date("2026-03-04T10:00:00Z");
  client = await server.createClient("Sellers & Co");
});
afterAll(async () => {
  await server.close();
  await Promise.all([mail.stop(), sms.stop()]);
  await closeOutbound();
});

let partners = 0;
const person = { first_name: "Siobhán", email: "siobhan@example.com", phone: "020 7946 0001", postcode: "SW1A 1AA" };
const hidden = /Siobh|siobhan|7946 ?0001/;

const fields = [
  ...contactFields.map((field) =>
    field.key === "postcode" ? { ...field, label: "Where <it> is", preview: true } : field,
  ),
  { key: "cover", type: "money", currency: "GBP", preview: true },
  { key: "homeowner", type: "boolean", preview: true },
];

/** A partner that is told as its settings say, a lead that is offered to it, and where the messages went. */
async function offerLead(alerts: Record<string, boolean> = {}, isTold = true) {
  partners += 1;
  const [email, phone] = [`desk-${partners}@example.com`, `+4477009001${String(partners).padStart(2, "0")}`];
  const partnerId = await addPartner(client, {
    name: "Acme & Sons",
    creditLimit: 100_000,
    internet: jsonDelivery({ url: "http://127.0.0.1:1/" }),
    contact: { email, phone },
    acceptFirst: { deadlineHours: 4 },
    alerts,
  });
  const { id: campaignId, intakeKey } = await addCampaign(client, [partnerId], { name: "Home <cover>", fields });
  const lead = { ...person, cover: "250000.00", homeowner: "yes" };
  const leadId = (await call(server.api, null, "POST", `/v1/intake/${intakeKey}`, lead)).text("leadId");
  await routeDueLeads(server.context, client.organisationId, campaignId);
  if (isTold) await sendDueAlerts(server.context, client.organisationId);
  const messages = mail.messages().filter(({ to }) => to.includes(email));
  const texts = sms.texts().filter(({ to }) => to === phone);
  const link = /https:\/\/leads\.example\.com(\/offers\/\S+)/.exec(messages[0]?.message.text ?? "")?.[1] ?? "";
  const deliveryId = (await client.call("GET", `/v1/deliveries?leadId=${leadId}`)).text("data.0.id");
  return { partnerId, campaignId, leadId, deliveryId, messages, texts, link };
}

const look = async (link: string) => server.api.inject({ method: "GET", url: link });
const press = async (link: string, payload: string) =>
  server.api.inject({
    method: "POST",
    url: link,
    headers: { "content-type": "application/x-www-form-urlencoded" },
    payload,
  });
const stateOf = async (deliveryId: string) => (await client.call("GET", `/v1/deliveries/${deliveryId}`)).text("state");

describe("a partner is told of an offer", () => {
  test("by email, with the preview's fields and the link, and nothing else of the lead", async () => {
    const { messages } = await offerLead();
    expect(messages).toHaveLength(1);
    const { subject, text = "", html } = messages[0]?.message ?? {};
    expect(subject).toBe("A lead from Home <cover> is offered to you until 4 March, 14:00");
    expect(text).toContain("Where <it> is: SW1A 1AA\nCover: 250000.00 GBP\nHomeowner: yes\n");
    expect(text).toContain("Price: 12.50 GBP");
    expect(text).toMatch(/https:\/\/leads\.example\.com\/offers\/[0-9a-f-]{36}\.[\w-]{22}\n/);
    expect(html).toContain("Where &lt;it&gt; is");
    for (const part of [subject, text, String(html), messages[0]?.raw]) expect(part).not.toMatch(hidden);
  });

  test("by SMS where its settings say so, and not by email where they say so", async () => {
    const { messages, texts } = await offerLead({ leadOfferedSms: true, leadOfferedEmail: false });
    expect(messages).toEqual([]);
    expect(texts).toHaveLength(1);
    expect(texts[0]?.body).toMatch(/^Handoff: a lead from Home <cover> is offered to Acme & Sons until 4 Mar 14:00\. /);
    expect(texts[0]?.body).toMatch(/https:\/\/leads\.example\.com\/offers\/[0-9a-f-]{36}\.[\w-]{22}$/);
    expect(texts[0]?.body).not.toMatch(hidden);
  });

  test("not any more once the offer is over", async () => {
    const { deliveryId } = await offerLead({}, false);
    const before = mail.messages().length;
    await client.call("POST", `/v1/deliveries/${deliveryId}/decline`, {});
    await sendDueAlerts(server.context, client.organisationId);
    expect(mail.messages()).toHaveLength(before);
    const told = await client.call("GET", "/v1/alerts?kind=lead_offered");
    expect(told.body).toMatchObject({ data: [{ state: "failed", error: expect.stringContaining("over") }] });
  });
});

describe("the link in the message", () => {
  test("shows the preview, the price and the deadline, and does nothing when it is looked at, however often", async () => {
    const { link, deliveryId } = await offerLead();
    for (const method of ["GET", "HEAD", "GET"] as const) {
      expect((await server.api.inject({ method, url: link })).statusCode).toBe(200);
    }
    expect(await stateOf(deliveryId)).toBe("offered");
    const { body } = await look(link);
    expect(body).toContain("<th>Where &lt;it&gt; is</th><td>SW1A 1AA</td>");
    expect(body).toContain("250000.00 GBP");
    expect(body).toContain("up to 12.50 GBP");
    expect(body).toContain("4 March 2026, 14:00 (Europe/London)");
    expect(body).toContain("Sellers &amp; Co offers you a lead from Home &lt;cover&gt;");
    expect(body).not.toMatch(hidden);
  });

  test("is a page without scripts that nothing stores, lists, frames or tells others of", async () => {
    const { link } = await offerLead();
    const { headers, body } = await look(link);
    expect(headers).toMatchObject({
      "content-type": "text/html; charset=utf-8",
      "cache-control": "no-store",
      "x-robots-tag": "noindex, nofollow",
      "referrer-policy": "no-referrer",
      "x-frame-options": "DENY",
    });
    const policy = String(headers["content-security-policy"]);
    expect(policy).toMatch(
      /^default-src 'none'; style-src 'sha256-[\w+/=]+'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'$/,
    );
    expect(body).not.toMatch(/<script|javascript:|onclick|https?:/i);
  });

  test("accepts by the button, once; then it says so and does nothing more", async () => {
    const { link, deliveryId } = await offerLead();
    const accepted = await press(link, "answer=accept");
    expect(accepted.statusCode).toBe(200);
    expect(accepted.body).toContain("You have accepted the lead");
    expect(await stateOf(deliveryId)).toBe("sending");
    const again = await press(link, "answer=decline");
    expect(again.statusCode).toBe(409);
    expect(again.body).toContain("You accepted this lead on 4 March 2026, 10:00");
    expect(await stateOf(deliveryId)).toBe("sending");
    expect((await look(link)).body).toContain("You accepted this lead");
    expect((await look(link)).body).not.toContain("SW1A");
    const told = await client.call("GET", `/v1/deliveries/${deliveryId}`);
    expect(told.body).toMatchObject({ offer: { kind: "accept", answeredAt: now.toISOString() } });
  });

  test("declines by the other button", async () => {
    const { link, deliveryId } = await offerLead();
    expect((await press(link, "answer=decline")).body).toContain("You have declined the lead");
    expect(await stateOf(deliveryId)).toBe("declined");
    expect((await press(link, "answer=accept")).statusCode).toBe(409);
    expect((await look(link)).body).toContain("You declined this lead");
  });

  test("is no good after the deadline, whether or not a worker has noticed it, and says until when it was", async () => {
    const { link, deliveryId } = await offerLead();
    now = new Date("2026-03-04T14:00:00Z");
    const looked = await look(link);
    expect(looked.body).toContain("could be accepted until 4 March 2026, 14:00");
    expect(looked.body).not.toContain("<button");
    const late = await press(link, "answer=accept");
    expect(late.statusCode).toBe(410);
    expect(late.body).toContain("could be accepted until 4 March 2026, 14:00");
    expect(await stateOf(deliveryId)).toBe("expired");
    const other = await offerLead();
    now = new Date("2026-03-04T18:00:00Z");
    await expireDueOffers(server.context, client.organisationId);
    expect((await press(other.link, "answer=accept")).statusCode).toBe(410);
  });

  test("says that the offer was taken back", async () => {
    const { link, leadId, partnerId } = await offerLead();
    await client.call("POST", `/v1/leads/${leadId}/unrefer`, { partnerId });
    expect((await look(link)).body).toContain("The offer was taken back");
    expect((await press(link, "answer=accept")).statusCode).toBe(409);
  });

  test("cannot be guessed, changed or used for another delivery: a plain page says that it is not right", async () => {
    const [one, other] = [await offerLead(), await offerLead()];
    const [, id = "", hash = ""] = /^\/offers\/([^.]+)\.(.+)$/.exec(one.link) ?? [];
    const last = hash.slice(-1);
    const wrong = [
      `/offers/${other.deliveryId}.${hash}`,
      `/offers/${id}.${hash.slice(0, -1)}${last === "A" ? "B" : "A"}`,
      `/offers/${id}.${hash}x`,
      `/offers/${id.toUpperCase()}.${hash}`,
      `/offers/${id}`,
      `/offers/${hash}`,
      "/offers/x",
      `/offers/${encodeURIComponent(`${id}.${hash}\n`)}`,
    ];
    for (const link of wrong) {
      for (const answered of [await look(link), await press(link, "answer=accept")]) {
        expect([link, answered.statusCode]).toEqual([link, 404]);
        expect(answered.body).toContain("This link is not right");
        expect(answered.headers["cache-control"]).toBe("no-store");
      }
    }
    expect([await stateOf(one.deliveryId), await stateOf(other.deliveryId)]).toEqual(["offered", "offered"]);
  });

  test("takes only one of the two answers", async () => {
    const { link, deliveryId } = await offerLead();
    for (const payload of ["", "answer=", "answer=ACCEPT", "yes=accept", `answer=${"x".repeat(2000)}`]) {
      expect((await press(link, payload)).statusCode).toBeGreaterThanOrEqual(400);
    }
    const asJson = { method: "POST", url: link, payload: { answer: "accept" } } as const;
    expect((await server.api.inject(asJson)).statusCode).toBe(415);
    expect(await stateOf(deliveryId)).toBe("offered");
  });

  test("is nowhere in the database", async () => {
    const { link } = await offerLead();
    const hash = link.slice(-22);
    const rows = JSON.stringify(await server.owner.selectFrom("alerts").selectAll().execute());
    expect(rows).not.toContain(hash);
  });
});

describe("the API", () => {
  test("accepts and declines for staff, once each, and tells what came of it", async () => {
    const [one, other] = [await offerLead(), await offerLead()];
    const accepted = await client.call("POST", `/v1/deliveries/${one.deliveryId}/accept`);
    expect(accepted.body).toEqual({ deliveryId: one.deliveryId, answer: "accepted" });
    const declined = await client.call("POST", `/v1/deliveries/${other.deliveryId}/decline`, { reason: "too far" });
    expect(declined.body).toEqual({ deliveryId: other.deliveryId, answer: "declined" });
    const again = await client.call("POST", `/v1/deliveries/${one.deliveryId}/accept`);
    expect(again.body).toMatchObject({
      status: 409,
      code: "delivery_state",
      detail: expect.stringContaining("sending"),
    });
    const third = await offerLead();
    now = new Date("2026-03-04T15:00:00Z");
    const late = await client.call("POST", `/v1/deliveries/${third.deliveryId}/accept`);
    expect(late.body).toMatchObject({ status: 409, code: "offer_expired" });
    const lists = await client.call("GET", "/v1/deliveries?state=declined");
    expect(lists.body).toMatchObject({
      data: [{ id: other.deliveryId, reason: "too far", offer: { kind: "accept" } }],
    });
  });

  test("shows an offer to its partner alone, and of the lead the preview alone", async () => {
    const { deliveryId, partnerId } = await offerLead();
    const { context } = server;
    const view = await presentOffer(context, client.organisationId, { deliveryId, partnerId });
    expect(view?.preview).toEqual([
      { key: "postcode", label: "Where <it> is", value: "SW1A 1AA", text: "SW1A 1AA" },
      { key: "cover", label: "Cover", value: 25_000_000, text: "250000.00 GBP" },
      { key: "homeowner", label: "Homeowner", value: true, text: "yes" },
    ]);
    expect(JSON.stringify(view)).not.toMatch(hidden);
    const other = await addPartner(client);
    expect(await presentOffer(context, client.organisationId, { deliveryId, partnerId: other })).toBeNull();
    const asOther = { deliveryId, partnerId: other, answer: "accept", reason: null, by: "portal" } as const;
    expect(await answerOffer(context, client.organisationId, asOther, "x")).toEqual({ kind: "not_found" });
  });

  test("warns of a partner that has to accept and is told of nothing, and of a campaign without a preview", async () => {
    const partnerId = await addPartner(client, { acceptFirst: {}, contact: { email: null } });
    const partner = await client.call("GET", `/v1/partners/${partnerId}`);
    expect(partner.value("acceptFirst")).toEqual({ deadlineHours: 24, countOpenHours: false });
    expect(JSON.stringify(partner.value("warnings"))).toContain("told of none by email or SMS");
    const { id } = await addCampaign(client, [partnerId]);
    const campaign = await client.call("PATCH", `/v1/campaigns/${id}`, { name: "Another" });
    expect(JSON.stringify(campaign.value("warnings"))).toContain("no field is marked as preview");
  });
});
