import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { pino } from "pino";
import twilio from "twilio";
import { z } from "zod";
import { type MailCatcher, startMailCatcher } from "../../demo/mail-catcher.ts";
import { demoAccount, type SmsCatcher, startSmsCatcher } from "../../demo/sms-catcher.ts";
import {
  deliveryUncertainAlert,
  endpointPausedAlert,
  insertAlerts,
  leadReferredAlerts,
  type NewAlert,
} from "../../src/alerts/insert-alerts.ts";
import { sendDueAlerts } from "../../src/alerts/send-due-alerts.ts";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import type { Context } from "../../src/context.ts";
import { inOrganisation } from "../../src/db/database.ts";
import { newId } from "../../src/db/id.ts";
import { partnerSchema } from "../../src/partners/partner.ts";
import { alertOpenReturn, declineOpenReturn } from "../../src/returns/settle-return.ts";
import { createTestApi, type TestAnswer, type TestApi, type TestClient } from "../helpers/api.ts";
import { administer } from "../helpers/database.ts";
import { type HttpLoopback, startHttp } from "../helpers/loopback.ts";
import { startTypeScript } from "../helpers/process.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";
import { until } from "../helpers/until.ts";

// Everything is real but Twilio and the mail server, which are the demo's: servers that speak the same protocols.

const partnerPhone = "+447700900001";
const lead = { first_name: "Siobhán", last_name: "O'Brien", mobile: "+447700900123", mail: "siobhan@example.com" };
const personal = /Siobh|O.Brien|447700900|7700 900|siobhan|partner@|staff@|bounce@|later@/;

let sms: SmsCatcher;
let mail: MailCatcher;
/** Where Twilio's reports arrive: hands them on to the API. */
let callbacks: HttpLoopback;
let testApi: TestApi;
let context: Context;
let client: TestClient;
let environment: Record<string, string>;
let dataDirectory: string;
let now: Date;
let loggedLines: string[];
/** What a test opened for itself. */
const open: { close(): Promise<void> }[] = [];
const logged = () => loggedLines.join("");

beforeAll(async () => {
  sms = await startSmsCatcher("127.0.0.1", 0);
  mail = await startMailCatcher("127.0.0.1", 0);
  dataDirectory = await makeTemporaryFolder();
  callbacks = await startHttp((seen, response) => {
    const headers = { ...seen.headers, "content-length": String(Buffer.byteLength(seen.body)) };
    void testApi.api
      .inject({ method: "POST", url: seen.path, headers, payload: seen.body })
      .then(({ statusCode }) => response.writeHead(statusCode).end());
  });
  environment = {
    DATA_DIR: dataDirectory,
    PUBLIC_URL: callbacks.url,
    SMTP_HOST: "127.0.0.1",
    SMTP_PORT: String(mail.port),
    SMTP_FROM: "Handoff <handoff@example.com>",
    TWILIO_ACCOUNT_SID: demoAccount.accountSid,
    TWILIO_AUTH_TOKEN: demoAccount.authToken,
    TWILIO_FROM: "+442079460000",
    TWILIO_BASE_URL: sms.url,
  };
  const log = pino({ level: "trace" }, { write: (line: string) => void loggedLines.push(line) });
  testApi = await createTestApi({ environment, clock: () => now, log });
  context = testApi.context;
});

beforeEach(async () => {
  now = new Date("2026-11-20T10:00:00Z");
  loggedLines = [];
  sms.misbehave(null);
  client = await testApi.createClient("Sellers Ltd");
  await testApi.owner.updateTable("organisations").set({ staffEmail: "staff@example.com" }).execute();
});

afterEach(async () => {
  await Promise.all(open.splice(0).map(async (server) => server.close()));
  expect(logged()).not.toMatch(personal);
});

afterAll(async () => {
  await Promise.all([sms.stop(), mail.stop(), callbacks.close()]);
  await testApi.close();
  await closeOutbound();
});

const fields = [
  { key: "first_name", type: "text", group: "contact" },
  { key: "last_name", type: "text", group: "contact" },
  { key: "mobile", type: "phone", country: "GB" },
  { key: "mail", type: "email" },
];

/** A delivered lead, and the partner that got it, with every alert switched on. */
async function deliverLead(changes: Record<string, string> = {}, phone = partnerPhone, email = "partner@example.com") {
  const { organisationId } = client;
  const [partnerId, campaignId, leadId, deliveryId] = [newId(), newId(), newId(), newId()];
  const shared = { organisationId, timeZone: "Europe/London", createdAt: now, updatedAt: now };
  const contact = { name: null, email, phone, transferPhone: null };
  const alerts = partnerSchema.shape.alerts.parse({ leadReferredSms: true, leadReferredEmail: true });
  const blocked = { whenClosed: "next", whenCapped: "next", whenUnfunded: "next" } as const;
  await inOrganisation(context.database, organisationId, async (transaction) => {
    await transaction
      .insertInto("partners")
      .values({
        ...shared,
        ...blocked,
        id: partnerId,
        name: "Acme & Sons",
        type: "partner",
        active: true,
        currency: "GBP",
        leadValueMinor: 1250,
        creditLimitMinor: 0,
        contact: JSON.stringify(contact),
        limits: "{}",
        schedule: null,
        alerts: JSON.stringify(alerts),
        internet: null,
        email: JSON.stringify({
          to: ["copy@example.com", "second@example.com"],
          template: null,
          headers: {},
          timeoutMs: 5000,
        }),
        concurrency: 10,
        ratePerMinute: 0,
        spreadSeconds: 0,
      })
      .execute();
    await transaction
      .insertInto("campaigns")
      .values({
        ...shared,
        ...blocked,
        id: campaignId,
        name: "Home insurance",
        active: true,
        saleLimit: 1,
        holdHours: 72,
        whenUncertain: "staff",
        fields: JSON.stringify(fields),
        duplicates: null,
        routing: "[]",
      })
      .execute();
    await transaction
      .insertInto("leads")
      .values({
        id: leadId,
        organisationId,
        campaignId,
        intakeKeyId: null,
        introducerId: null,
        source: "website",
        state: "sold",
        stateReason: null,
        fields: JSON.stringify({ ...lead, ...changes }),
        extra: "{}",
        duplicateOf: null,
        receivedAt: now,
        dueAt: null,
        holdEndsAt: now,
        finishedAt: now,
      })
      .execute();
    await transaction
      .insertInto("deliveries")
      .values({
        id: deliveryId,
        organisationId,
        leadId,
        campaignId,
        partnerId,
        state: "delivered",
        priceMinor: 1250,
        currency: "GBP",
        createdAt: now,
        finishedAt: now,
      })
      .execute();
  });
  const partner = {
    id: partnerId,
    organisationId,
    name: "Acme & Sons",
    contact,
    alerts,
    delivery: { internet: null, email: null },
  };
  return { partner, leadId, delivery: { id: deliveryId, leadId, tries: 5 } };
}

async function insert(alerts: readonly NewAlert[]): Promise<void> {
  await inOrganisation(context.database, client.organisationId, async (transaction) =>
    insertAlerts(transaction, client.organisationId, alerts, now),
  );
}

/** The alert of a lead just referred, by SMS only or by email only. */
async function refer(channel: "sms" | "email", changes?: Record<string, string>, phone?: string, email?: string) {
  const { partner, delivery, leadId } = await deliverLead(changes, phone, email);
  await insert(leadReferredAlerts(partner, delivery).filter((alert) => alert.channel === channel));
  return { partner, delivery, leadId };
}

const send = async (using: Context = context) => sendDueAlerts(using, client.organisationId);

async function readAlerts() {
  return testApi.owner
    .selectFrom("alerts")
    .selectAll()
    .where("organisationId", "=", client.organisationId)
    .orderBy("id")
    .execute();
}

async function onlyAlert() {
  const alerts = await readAlerts();
  expect(alerts).toHaveLength(1);
  const [alert] = alerts;
  if (alert === undefined) throw new Error("There is no alert.");
  return alert;
}

const textsTo = (phone: string) => sms.texts().filter((text) => text.to === phone);

/** What the organisation was charged for SMS, booking by booking. */
async function readCharges() {
  return testApi.owner
    .selectFrom("entries as e")
    .innerJoin("accounts as a", "a.id", "e.accountId")
    .innerJoin("transactions as t", "t.id", "e.transactionId")
    .select(["t.key", "a.kind", "e.amountMinor", "e.currency"])
    .where("e.organisationId", "=", client.organisationId)
    .orderBy("a.kind", "desc")
    .execute();
}

const later = (ms: number) => new Date(now.getTime() + ms);
const minuteMs = 60_000;

/** Each test has its own number, so that texts of others do not count. */
let numbersUsed = 100;
const freshPhone = () => `+447700900${numbersUsed++}`;

describe("An SMS", () => {
  test("goes once to the partner a lead was referred to, and says who the lead is", async () => {
    const phone = freshPhone();
    const { leadId } = await refer("sms", {}, phone);
    await send();
    await send();
    const [text, ...others] = textsTo(phone);
    expect(others).toEqual([]);
    expect(text?.from).toBe("+442079460000");
    expect(text?.body).toBe(
      `Handoff: a new lead from Home insurance: Siobhán O'Brien, +447700900123. Ref ${leadId.slice(-8)}`,
    );
    expect(await onlyAlert()).toMatchObject({ attemptCount: 1, providerId: text?.sid, dueAt: null, error: null });
  });

  test.each([
    ["GSM-7", { first_name: "José", last_name: "O’Brien" }, 1],
    ["GSM-7 over one segment", { first_name: "Jose".repeat(20), last_name: "Lopez" }, 1],
    ["another alphabet", { first_name: "Łukasz", last_name: "Żółć" }, 2],
    ["emoji", { first_name: "Jose 👩‍👩‍👧‍👦", last_name: "Lopez" }, 2],
    ["an endless name", { first_name: "x".repeat(5000), last_name: "" }, 1],
  ])("is charged by its segments: %s", async (_, changes, segments) => {
    const phone = freshPhone();
    await refer("sms", changes, phone);
    await send();
    const alert = await onlyAlert();
    expect(alert.segments).toBe(segments);
    expect(textsTo(phone)[0]?.segments).toBe(segments);
    expect(await readCharges()).toEqual([
      { key: `sms-${alert.id}`, kind: "sms_usage", amountMinor: 5 * segments, currency: "GBP" },
      { key: `sms-${alert.id}`, kind: "sms_payable", amountMinor: -5 * segments, currency: "GBP" },
    ]);
  });

  test("is charged also where the accounts for it were never opened", async () => {
    await testApi.owner.deleteFrom("accounts").where("organisationId", "=", client.organisationId).execute();
    await refer("sms");
    await send();
    expect((await readCharges()).map((entry) => entry.amountMinor)).toEqual([10, -10]);
  });

  test("that nothing is charged for leaves no booking", async () => {
    await testApi.owner.updateTable("organisations").set({ smsRateMinor: 0 }).execute();
    await refer("sms");
    await send();
    expect((await onlyAlert()).segments).toBe(2);
    expect(await readCharges()).toEqual([]);
  });

  test.each([
    ["a fault of the service", { status: 500, body: "" }, /answered with status 500/],
    [
      "a busy service",
      { status: 429, body: JSON.stringify({ code: 20429, message: "Too many" }) },
      /takes no more messages/,
    ],
    ["a connection that breaks", { reset: true }, /could not be asked/],
    ["an answer that is none", { status: 201, body: "<html>" }, /could not be read/],
    ["an answer without an id", { status: 201, body: "{}" }, /could not be read/],
  ])("is tried again after %s, and is charged once", async (_, behaviour, reason) => {
    const phone = freshPhone();
    await refer("sms", {}, phone);
    sms.misbehave(() => behaviour);
    await send();
    const waiting = await onlyAlert();
    expect(waiting).toMatchObject({ state: "due", dueAt: later(minuteMs), attemptCount: 1 });
    expect(waiting.error).toMatch(reason);
    sms.misbehave(null);
    await send();
    expect(textsTo(phone)).toHaveLength(0);
    now = later(minuteMs);
    await send();
    expect(textsTo(phone)).toHaveLength(1);
    expect(await onlyAlert()).toMatchObject({ attemptCount: 2, error: null });
    expect(await readCharges()).toHaveLength(2);
  });

  test("is given up after five attempts at 0, 1 min, 5 min, 30 min and 2 h, and says so", async () => {
    await refer("sms");
    sms.misbehave(() => ({ status: 503, body: "" }));
    for (const minutes of [1, 5, 30, 120]) {
      await send();
      const { dueAt } = await onlyAlert();
      expect(dueAt).toEqual(later(minutes * minuteMs));
      now = later(minutes * minuteMs);
    }
    await send();
    expect(await onlyAlert()).toMatchObject({ state: "failed", attemptCount: 5, dueAt: null, finishedAt: now });
    expect((await onlyAlert()).error).toMatch(/^Given up after 5 attempts\./);
    expect(await readCharges()).toEqual([]);
  });

  test.each([
    ["+15005550001", "The number is not a valid phone number. (Twilio error 21211)"],
    ["+15005550004", "The recipient has unsubscribed by replying STOP. (Twilio error 21610)"],
    ["+15005550009", "The number is not a mobile number. (Twilio error 21614)"],
  ])("to %s fails at once", async (phone, error) => {
    await refer("sms", {}, phone);
    await send();
    expect(await onlyAlert()).toMatchObject({ state: "failed", attemptCount: 1, error, dueAt: null });
    expect(await readCharges()).toEqual([]);
  });

  test("fails at once, in plain words, where no SMS service is configured", async () => {
    await refer("sms");
    await send({ ...context, config: { ...context.config, twilio: null } });
    expect(await onlyAlert()).toMatchObject({ state: "failed", error: expect.stringContaining("TWILIO_ACCOUNT_SID") });
  });

  test("goes without reports where Twilio cannot reach us", async () => {
    const phone = freshPhone();
    await refer("sms", {}, phone);
    const refused = { code: 21609, message: "The StatusCallback URL is not a valid URL." };
    sms.misbehave(({ body }) =>
      body.includes("StatusCallback") ? { status: 400, body: JSON.stringify(refused) } : undefined,
    );
    await send();
    expect(textsTo(phone)).toHaveLength(1);
    expect(await onlyAlert()).toMatchObject({ state: "sent", attemptCount: 1 });
  });
});

describe("A worker", () => {
  test("that is killed between claiming and settling loses no alert: it goes when the claim runs out", async () => {
    now = new Date();
    const phone = freshPhone();
    await refer("sms", {}, phone);
    let isAsked = false;
    sms.misbehave(() => {
      isAsked = true;
      return { hang: true };
    });
    const file = "test/helpers/send-alerts-process.ts";
    const worker = startTypeScript(file, [client.organisationId, testApi.databaseUrl], { env: environment });
    await until(() => isAsked, 20_000);
    await worker.end("SIGKILL");
    sms.misbehave(null);
    await send();
    expect(textsTo(phone)).toHaveLength(0);
    now = new Date(Date.now() + minuteMs);
    await send();
    expect(textsTo(phone)).toHaveLength(1);
    expect(await onlyAlert()).toMatchObject({ attemptCount: 2 });
    expect(await readCharges()).toHaveLength(2);
  });

  test.each([
    ["is overtaken by one that fails, the message counts as sent", { delayMs: 300 }, { status: 500 }],
    ["fails after another has sent the message, it stays sent", { delayMs: 300, status: 500 }, {}],
  ])("that is slower than its claim: where it %s", async (_, first, second) => {
    const phone = freshPhone();
    await refer("sms", {}, phone);
    let asked = 0;
    sms.misbehave(() => {
      asked += 1;
      return asked === 1 ? first : second;
    });
    const slow = send();
    await until(() => asked === 1);
    now = later(minuteMs);
    await send();
    await slow;
    expect(asked).toBe(2);
    expect(textsTo(phone)).toHaveLength(1);
    expect(await onlyAlert()).toMatchObject({ attemptCount: 2, dueAt: null, error: null, segments: 2 });
    expect(await readCharges()).toHaveLength(2);
  });

  test("does not send an alert for ever that no worker survives", async () => {
    const phone = freshPhone();
    await refer("sms", {}, phone);
    await testApi.owner.updateTable("alerts").set({ attemptCount: 5 }).where("recipient", "=", phone).execute();
    await send();
    expect(textsTo(phone)).toHaveLength(0);
    expect(await onlyAlert()).toMatchObject({ state: "failed", error: expect.stringContaining("the last attempt") });
  });

  test("sends an SMS once although the database is away when it is to be recorded", async () => {
    const phone = freshPhone();
    await refer("sms", {}, phone);
    const name = new URL(testApi.databaseUrl).pathname.slice(1);
    const stop = async () => {
      await administer(`alter database ${name} allow_connections false`);
      await administer(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`);
    };
    let stopping: Promise<void> | undefined;
    sms.misbehave(() => {
      stopping = stop();
      return { delayMs: 300 };
    });
    const sending = send();
    await until(() => textsTo(phone).length === 1);
    await stopping;
    await until(() => logged().includes("alerts.settling_failed"));
    await administer(`alter database ${name} allow_connections true`);
    await sending;
    expect(await onlyAlert()).toMatchObject({ attemptCount: 1, segments: 2 });
    expect(await readCharges()).toHaveLength(2);
  });

  test("shares the alerts with others: each is sent by one", async () => {
    const phone = freshPhone();
    const { partner, delivery } = await deliverLead({}, phone);
    const [alert] = leadReferredAlerts(partner, delivery);
    if (alert === undefined) throw new Error("There is no alert.");
    await insert(Array.from({ length: 60 }, (_, number) => ({ ...alert, key: `${alert.key}-${number}` })));
    await Promise.all([send(), send(), send()]);
    expect(textsTo(phone)).toHaveLength(60);
    expect((await readAlerts()).every(({ state, attemptCount }) => state !== "due" && attemptCount === 1)).toBe(true);
    expect(await readCharges()).toHaveLength(120);
  });

  test("that is to stop begins no more, and leaves the rest to another", async () => {
    const phone = freshPhone();
    await refer("sms", {}, phone);
    const woken: string[] = [];
    const stopping = new AbortController();
    stopping.abort();
    const waker: Context["waker"] = { ...context.waker, wake: (job) => void woken.push(job.name) };
    await send({ ...context, stopping, waker });
    expect(textsTo(phone)).toHaveLength(0);
    expect(woken).toEqual(["send-alerts"]);
    expect(await onlyAlert()).toMatchObject({ state: "due", attemptCount: 0 });
  });

  test("whose mail server hangs sends SMS all the same", async () => {
    const phone = freshPhone();
    const { partner, delivery } = await deliverLead({}, phone);
    await insert(leadReferredAlerts(partner, delivery));
    const silent = await startHttp(() => undefined);
    open.push(silent);
    const smtp = {
      host: "127.0.0.1",
      port: silent.port,
      secure: false,
      username: null,
      password: null,
      from: "a@b.test",
    };
    const sending = send({ ...context, config: { ...context.config, smtp } });
    await until(() => textsTo(phone).length === 1);
    await silent.close();
    await sending;
    expect((await readAlerts()).map(({ channel, state }) => [channel, state === "due"])).toEqual([
      ["sms", false],
      ["email", true],
    ]);
  });
});

describe("A report on an SMS", () => {
  const report = async (
    sid: string,
    status: string,
    changes: Record<string, string> = {},
    token: string = demoAccount.authToken,
  ) => {
    const form = { MessageSid: sid, MessageStatus: status, To: partnerPhone, From: "+442079460000", ...changes };
    const signature = twilio.getExpectedTwilioSignature(token, `${callbacks.url}/v1/alerts/sms-status`, form);
    const headers = { "content-type": "application/x-www-form-urlencoded", "x-twilio-signature": signature };
    const payload = new URLSearchParams(form).toString();
    return testApi.api.inject({ method: "POST", url: "/v1/alerts/sms-status", headers, payload });
  };
  const sendUnreported = async () => {
    await refer("sms");
    const config = { ...context.config, publicUrl: "http://127.0.0.1:1" };
    await send({ ...context, config });
    const { providerId } = await onlyAlert();
    return providerId ?? "";
  };

  test("marks it as delivered", async () => {
    await refer("sms");
    await send();
    await until(async () => (await onlyAlert()).state === "delivered");
  });

  test("marks it as failed, with the reason", async () => {
    await refer("sms", {}, "+447700900999");
    await send();
    await until(async () => (await onlyAlert()).state === "failed");
    expect((await onlyAlert()).error).toMatch(/cannot be reached.*30003/);
  });

  test("counts only with Twilio's signature", async () => {
    const sid = await sendUnreported();
    const forged = await report(sid, "delivered", {}, "another-token");
    expect(forged.statusCode).toBe(403);
    const payload = new URLSearchParams({ MessageSid: sid, MessageStatus: "delivered" }).toString();
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const unsigned = await testApi.api.inject({ method: "POST", url: "/v1/alerts/sms-status", headers, payload });
    expect(unsigned.statusCode).toBe(403);
    expect((await onlyAlert()).state).toBe("sent");
    expect((await report(sid, "delivered")).statusCode).toBe(204);
    expect((await onlyAlert()).state).toBe("delivered");
  });

  test("that comes late, again or out of order does no harm", async () => {
    const sid = await sendUnreported();
    expect((await report(sid, "delivered")).statusCode).toBe(204);
    const settled = await onlyAlert();
    now = later(minuteMs);
    for (const status of ["sent", "queued", "delivered", "undelivered", "nonsense"]) {
      expect((await report(sid, status, { ErrorCode: "30003" })).statusCode).toBe(204);
    }
    expect(await onlyAlert()).toEqual(settled);
    expect(await readCharges()).toHaveLength(2);
  });

  test("that overtakes the record of the message waits for it", async () => {
    await refer("sms");
    const reported: Promise<{ statusCode: number }>[] = [];
    const early = await startHttp((_, response) => {
      reported.push(report("SM123", "delivered"));
      setTimeout(() => response.writeHead(201).end(JSON.stringify({ sid: "SM123" })), 250);
    });
    open.push(early);
    const { twilio: settings } = context.config;
    if (settings === null) throw new Error("Twilio is not configured.");
    await send({ ...context, config: { ...context.config, twilio: { ...settings, baseUrl: early.url } } });
    expect((await Promise.all(reported)).map(({ statusCode }) => statusCode)).toEqual([204]);
    expect((await onlyAlert()).state).toBe("delivered");
  });

  test("about a message that is not ours, or that says nothing, is refused", async () => {
    expect((await report("SM999999", "delivered")).statusCode).toBe(404);
    expect((await report("not/an/id", "delivered")).statusCode).toBe(422);
  });
});

describe("A mail", () => {
  const mailsTo = (address: string) => mail.messages().filter(({ to }) => to.includes(address));
  let mailsUsed = 0;
  const freshEmail = () => `partner-${mailsUsed++}@example.com`;

  test("tells a partner of a lead, in text and in HTML that no lead can break out of", async () => {
    const email = freshEmail();
    await refer("email", { first_name: "<b>Siobhán</b>\r\nBcc: spy@example.com" }, partnerPhone, email);
    await send();
    await send();
    const [received, ...others] = mailsTo(email);
    expect(others).toEqual([]);
    expect(received?.to).toEqual([email]);
    expect(received?.message.subject).toBe("New lead from Home insurance: <b>Siobhán</b> Bcc: spy@example.com O'Brien");
    expect(received?.message.text).toContain("Phone: +44 7700 900123");
    expect(received?.message.text).toContain("20 November 2026, 10:00 (Europe/London)");
    expect(received?.message.html).toContain("&lt;b&gt;Siobhán&lt;/b&gt;");
    expect(received?.message.html).toContain("Acme &amp; Sons");
    const alert = await onlyAlert();
    expect(received?.message.messageId).toBe(`<${alert.id}@example.com>`);
    expect(alert).toMatchObject({ state: "sent", attemptCount: 1, segments: null, finishedAt: now });
    expect(await readCharges()).toEqual([]);
  });

  test("about a return says why, and what was decided, to staff and then to the partner", async () => {
    const email = freshEmail();
    const { partner, delivery, leadId } = await deliverLead({}, partnerPhone, email);
    const { organisationId } = client;
    const id = newId();
    const of = { deliveryId: delivery.id, leadId, partnerId: partner.id, soldAt: now, comment: "A <b>bakery</b>" };
    const asked = { state: "open", place: "keep", cost: "keep", askedAt: now, askedBy: "test" } as const;
    await inOrganisation(context.database, organisationId, async (transaction) => {
      const reason = { reasonCode: "wrong_contact", reasonText: "The contact details are wrong" };
      await transaction
        .insertInto("returns")
        .values({ id, organisationId, ...of, ...asked, ...reason, overridden: "[]" })
        .execute();
      await alertOpenReturn(transaction, id, now);
      await declineOpenReturn(transaction, delivery.id, { by: "staff", note: "We rang: it is right" }, now);
      await declineOpenReturn(transaction, delivery.id, { by: "staff", note: "again" }, now);
    });
    await send();
    const [toStaff] = mailsTo("staff@example.com").filter(({ raw }) => raw.includes(id));
    expect(toStaff?.message.subject).toBe(`A return is to be decided: Acme & Sons, lead ${leadId.slice(-8)}`);
    expect(toStaff?.message.text).toContain("Acme & Sons wants to return a lead of Home insurance.");
    expect(toStaff?.message.text).toContain("Reason: The contact details are wrong\nComment: A <b>bakery</b>");
    expect(toStaff?.message.html).toContain("A &lt;b&gt;bakery&lt;/b&gt;");
    const [toPartner, ...others] = mailsTo(email);
    expect(others).toEqual([]);
    expect(toPartner?.message.subject).toBe(`Your return of lead ${leadId.slice(-8)} was declined`);
    expect(toPartner?.message.text).toContain("Note: We rang: it is right");
    expect(toPartner?.message.text).not.toContain("back on your account");
  });

  test("brings a partner that gets leads over the internet a copy, as its email settings say", async () => {
    const { partner, delivery } = await deliverLead();
    const [email] = await testApi.owner.selectFrom("partners").select("email").where("id", "=", partner.id).execute();
    const settings = { internet: { method: "json" }, email: email?.email } as unknown as typeof partner.delivery;
    const alerts = leadReferredAlerts({ ...partner, delivery: settings }, delivery);
    await insert(alerts.filter((alert) => alert.kind === "lead_copy"));
    await send();
    const [received] = mailsTo("copy@example.com");
    expect(received?.to).toEqual(["copy@example.com", "second@example.com"]);
    expect(received?.message.subject).toBe("New lead: Home insurance");
    expect(received?.message.text).toContain("First name: Siobhán");
    expect((await onlyAlert()).state).toBe("sent");
  });

  test("tells staff of a paused endpoint and of an uncertain delivery, once each, without personal data", async () => {
    const { partner, delivery } = await deliverLead();
    const before = mailsTo("staff@example.com").length;
    const alerts = [
      endpointPausedAlert(partner, later(minuteMs), "401: <Unauthorised>"),
      deliveryUncertainAlert(partner, delivery, "No answer came within 15 s."),
    ];
    await insert(alerts);
    await insert(alerts);
    await send();
    const received = mailsTo("staff@example.com").slice(before);
    const [paused, uncertain] = ["paused", "decided"].map((word) =>
      received.find(({ message }) => message.subject?.includes(word)),
    );
    expect(received).toHaveLength(2);
    expect(paused?.message.subject).toBe("Deliveries to Acme & Sons are paused");
    expect(paused?.message.text).toContain("401: <Unauthorised>");
    expect(paused?.message.text).toContain("20 November 2026, 10:01 UTC");
    expect(paused?.message.html).toContain("401: &lt;Unauthorised&gt;");
    expect(uncertain?.message.text).toContain(delivery.id);
    expect(uncertain?.raw).not.toMatch(/Siobh|7700/);
  });

  test("waits for a mail server that is down", async () => {
    const email = freshEmail();
    await refer("email", {}, partnerPhone, email);
    const spare = await startMailCatcher("127.0.0.1", 0);
    await spare.stop();
    const smtp = { ...(context.config.smtp as NonNullable<Context["config"]["smtp"]>), port: spare.port };
    const down = { ...context, config: { ...context.config, smtp } };
    await send(down);
    expect(await onlyAlert()).toMatchObject({
      state: "due",
      dueAt: later(minuteMs),
      error: expect.stringMatching(/refused/),
    });
    const up = await startMailCatcher("127.0.0.1", spare.port);
    open.push({ close: async () => up.stop() });
    now = later(minuteMs);
    await send(down);
    expect(up.messages()).toHaveLength(1);
    expect((await onlyAlert()).state).toBe("sent");
    await closeOutbound();
  });

  test.each([
    ["later@example.com", "due", /cannot take the mail now: 451/],
    ["bounce@example.com", "failed", /refused the mail: 550/],
  ])("to %s is %s", async (email, state, error) => {
    await refer("email", {}, partnerPhone, email);
    await send();
    expect(await onlyAlert()).toMatchObject({ state, error: expect.stringMatching(error) });
  });

  test("fails at once, in plain words, where no mail server is configured", async () => {
    await refer("email");
    await send({ ...context, config: { ...context.config, smtp: null } });
    expect(await onlyAlert()).toMatchObject({ state: "failed", error: expect.stringContaining("SMTP_HOST") });
  });
});

describe("An alert", () => {
  const idsOf = ({ body }: TestAnswer) =>
    z
      .object({ data: z.array(z.object({ id: z.string() })) })
      .parse(body)
      .data.map(({ id }) => id);

  test("that fails touches neither the lead nor the delivery", async () => {
    const { leadId } = await refer("sms", {}, "+15005550001");
    const read = async () => ({
      lead: await testApi.owner.selectFrom("leads").selectAll().where("id", "=", leadId).executeTakeFirst(),
      delivery: await testApi.owner.selectFrom("deliveries").selectAll().where("leadId", "=", leadId).execute(),
    });
    const before = await read();
    await send();
    expect((await onlyAlert()).state).toBe("failed");
    expect(await read()).toEqual(before);
  });

  test("about a lead that was erased meanwhile is not sent", async () => {
    const phone = freshPhone();
    const { leadId } = await refer("sms", {}, phone);
    await testApi.owner.updateTable("leads").set({ state: "erased" }).where("id", "=", leadId).execute();
    await send();
    expect(textsTo(phone)).toHaveLength(0);
    expect(await onlyAlert()).toMatchObject({ state: "failed", error: expect.stringContaining("erased") });
  });

  test("follows an operator's own template, and says what is wrong with it", async () => {
    const [good, bad] = [freshPhone(), freshPhone()];
    const folder = join(dataDirectory, "templates", "sms");
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "lead-referred.liquid"), "Call {{ contact.name }}\n");
    await refer("sms", {}, good);
    await send();
    expect(textsTo(good)[0]?.body).toBe("Call Siobhán O'Brien");
    await writeFile(join(folder, "lead-referred.liquid"), "Call {{ lead.nickname }}");
    await refer("sms", {}, bad);
    await send();
    await writeFile(join(folder, "lead-referred.liquid"), "Call {{ contact.name }}");
    const failed = (await readAlerts()).find(({ recipient }) => recipient === bad);
    expect(failed?.error).toMatch(/sms\/lead-referred.liquid cannot be used: there is no variable.*nickname.*line 1/);
  });

  test("is logged by its ids and what came of it", async () => {
    await refer("sms");
    await send();
    const line = loggedLines.find((text) => text.includes("alert.attempted"));
    expect(JSON.parse(line ?? "{}")).toMatchObject({
      organisationId: client.organisationId,
      alertId: (await onlyAlert()).id,
      kind: "lead_referred",
      channel: "sms",
      attempt: 1,
      result: "sent",
    });
  });

  test("can be listed, page by page, by state, kind and partner, by its own organisation only", async () => {
    const { partner } = await refer("sms", {}, "+15005550001");
    await refer("email");
    await refer("sms");
    await send();
    const first = await client.call("GET", "/v1/alerts?limit=2");
    const second = await client.call("GET", `/v1/alerts?limit=2&cursor=${first.text("nextCursor")}`);
    const ids = (await readAlerts()).map(({ id }) => id);
    expect([...idsOf(first), ...idsOf(second)]).toEqual(ids.toReversed());
    expect(second.value("nextCursor")).toBeNull();
    const failed = await client.call("GET", "/v1/alerts?state=failed&kind=lead_referred");
    expect(failed.value("data")).toEqual([
      expect.objectContaining({ partnerId: partner.id, channel: "sms", attemptCount: 1, dueAt: null }),
    ]);
    expect(idsOf(await client.call("GET", `/v1/alerts?partnerId=${partner.id}`))).toHaveLength(1);
    expect((await client.call("GET", "/v1/alerts?state=lost")).status).toBe(400);
    const other = await testApi.createClient("Others");
    expect(idsOf(await other.call("GET", "/v1/alerts"))).toEqual([]);
  });
});
