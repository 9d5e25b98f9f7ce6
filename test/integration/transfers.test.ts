import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import twilio from "twilio";
import { demoAccount, type SmsCatcher, startSmsCatcher } from "../../demo/sms-catcher.ts";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import { readLead } from "../../src/leads/present-lead.ts";
import { referLead } from "../../src/leads/refer-lead.ts";
import { expireDueOffers } from "../../src/offers/expire-offers.ts";
import { markTransfer } from "../../src/offers/mark-transfer.ts";
import { openTransfer } from "../../src/offers/open-transfer.ts";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import { call, createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign, addPartner, jsonDelivery } from "../helpers/api-documents.ts";
import { type HttpLoopback, startHttp } from "../helpers/loopback.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";
import { expectSoundLedger } from "../helpers/sound-ledger.ts";
import { until } from "../helpers/until.ts";

/** An agent hands a caller over by telephone: the place is reserved for two minutes, and one mark decides. */

const sellers = useSellers();

const at = (time: string) => `2026-03-04T${time}Z`;
const sentTo = ({ name }: Buyer) => sellers.partners.requestsOf(name).length;
const statesOf = async (seller: Seller, leadId: string) => (await seller.deliveries(leadId)).map(({ state }) => state);

const phones = ["+447700900201", "+447700900202", "+447700900203"];
const withPhone = (index: number, document: Record<string, unknown> = {}) => ({
  contact: { transferPhone: phones[index] },
  ...document,
});

const open = async ({ context, organisationId }: Seller, leadId: string) =>
  openTransfer(context, organisationId, leadId, "agent");
const mark = async (
  { context, organisationId }: Pick<Seller, "context" | "organisationId">,
  transferId: string,
  transferred: boolean,
) => markTransfer(context, organisationId, { transferId, transferred, reason: "engaged" }, "agent");

async function opened(seller: Seller, leadId: string) {
  const result = await open(seller, leadId);
  if (result.kind !== "opened") throw new Error(JSON.stringify(result));
  return result.transfer;
}

/** Two partners with numbers, and a lead that is left to agents for ten minutes. */
async function prepare(seller: Seller, first: Record<string, unknown> = {}) {
  const buyers = [await seller.partner(withPhone(0, first)), await seller.partner(withPhone(1))] as const;
  const campaignId = await seller.campaign(buyers, { routeAfterMinutes: 10 });
  const leadId = await seller.lead(campaignId);
  await seller.settle();
  return { buyers, campaignId, leadId };
}

describe("who can take a lead by telephone now", () => {
  test("is the first in routing's order; its place and the money are reserved for two minutes", async () => {
    const seller = await sellers.open();
    const { buyers, leadId } = await prepare(seller);
    const [first] = buyers;
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "received", dueAt: new Date(at("10:10:00")) });
    const transfer = await opened(seller, leadId);
    expect(transfer).toMatchObject({
      ...{ partnerId: first.id, partnerName: first.name, transferPhone: phones[0], priceMinor: 1000, currency: "GBP" },
      until: new Date(at("10:02:00")),
    });
    expect(await seller.deliveries(leadId)).toMatchObject([{ id: transfer.id, state: "offered", offer: "transfer" }]);
    expect(await seller.usage(first)).toMatchObject({ totalLeads: 1 });
    expect(await seller.funds(first)).toMatchObject({ funds: -1000, reserved: 1000 });
    expect(await seller.leadRow(leadId)).toMatchObject({
      state: "routing",
      stateReason: { code: "transfer" },
      dueAt: null,
    });
    await expectSoundLedger(seller);
  });

  test("is nobody without a number, closed, out of limits or of funds, or whose filter does not match; all reasons are told", async () => {
    const seller = await sellers.open();
    const names = [
      await seller.partner(),
      await seller.partner(withPhone(0, { schedule: { sun: [{ from: "09:00", to: "10:00" }] } })),
      await seller.partner(withPhone(1, { creditLimit: 0 })),
      await seller.partner(withPhone(2)),
    ];
    const filter = { field: "postcode", op: "startsWith", value: "SW" };
    const partners = names.map(({ id }, index) => ({
      partnerId: id,
      price: 1000,
      priority: index,
      ...(index === 3 ? { filter } : {}),
    }));
    const routing = [{ method: "priority", partners }];
    const leadId = await seller.lead(await seller.campaign([], { routing, routeAfterMinutes: 10 }));
    const result = await open(seller, leadId);
    expect(result.kind === "nobody" ? result.reasons.map(({ name, code }) => [name, code]) : result).toEqual([
      [names[1]?.name, "closed"],
      [names[2]?.name, "no_funds"],
      [names[3]?.name, "filter_not_matched"],
    ]);
    const without = await seller.lead(await seller.campaign([names[0] as Buyer], { routeAfterMinutes: 10 }));
    expect(await open(seller, without)).toEqual({ kind: "nobody", reasons: [] });
  });

  test("takes turns as routing does", async () => {
    const seller = await sellers.open();
    const buyers = [await seller.partner(withPhone(0)), await seller.partner(withPhone(1))];
    const routing = [{ method: "round_robin", partners: buyers.map(({ id }) => ({ partnerId: id, price: 1000 })) }];
    const campaignId = await seller.campaign([], { routing, routeAfterMinutes: 10 });
    const named: string[] = [];
    for (let count = 0; count < 4; count += 1)
      named.push((await opened(seller, await seller.lead(campaignId))).partnerId);
    expect(new Set(named.slice(0, 2)).size).toBe(2);
    expect(named.slice(2)).toEqual(named.slice(0, 2));
  });

  test("is nobody for a lead that is sold, or with a partner already", async () => {
    const seller = await sellers.open();
    const buyers = [await seller.partner(withPhone(0)), await seller.partner(withPhone(1))];
    const campaignId = await seller.campaign(buyers);
    const leadId = await seller.lead(campaignId);
    await seller.route(campaignId);
    expect(await open(seller, leadId)).toMatchObject({ kind: "nobody" });
    await seller.settle();
    expect(await open(seller, leadId)).toMatchObject({ kind: "nobody" });
    expect(await statesOf(seller, leadId)).toEqual(["delivered"]);
  });

  test("does not ask a partner that accepts first a second time", async () => {
    const seller = await sellers.open();
    const { buyers, leadId } = await prepare(seller, { acceptFirst: {} });
    const transfer = await opened(seller, leadId);
    await mark(seller, transfer.id, true);
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["delivered"]);
    expect(sentTo(buyers[0])).toBe(1);
  });
});

describe("a transfer that is marked", () => {
  test("as made has the lead delivered over the partner's channel, and charged", async () => {
    const seller = await sellers.open();
    const { buyers, leadId } = await prepare(seller);
    const transfer = await opened(seller, leadId);
    seller.setTime(at("10:01:59"));
    expect((await mark(seller, transfer.id, true)).kind).toBe("accepted");
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["delivered"]);
    expect([sentTo(buyers[0]), sentTo(buyers[1])]).toEqual([1, 0]);
    expect(await seller.funds(buyers[0])).toMatchObject({ reserved: 0, revenue: 1000 });
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", soldCount: 1 });
  });

  test("as not made gives place and money back; the agent asks for the next, and routing leaves time for that", async () => {
    const seller = await sellers.open();
    const { buyers, leadId } = await prepare(seller);
    const first = await opened(seller, leadId);
    expect((await mark(seller, first.id, false)).kind).toBe("declined");
    expect(await seller.usage(buyers[0])).toMatchObject({ totalLeads: 0 });
    expect(await seller.funds(buyers[0])).toMatchObject({ funds: 0, reserved: 0 });
    await seller.settle();
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "routing", dueAt: new Date(at("10:02:00")) });
    const second = await opened(seller, leadId);
    expect(second).toMatchObject({ partnerId: buyers[1].id, transferPhone: phones[1] });
    await mark(seller, second.id, false);
    const third = await open(seller, leadId);
    expect(third.kind === "nobody" ? third.reasons.map(({ code }) => code) : third).toEqual([
      "already_had",
      "already_had",
    ]);
    // A telephone that nobody answered says nothing about the lead: routing gives it to the first.
    seller.setTime(at("10:02:00"));
    await seller.settle();
    expect((await seller.deliveries(leadId)).map(({ state, partnerId }) => [state, partnerId])).toEqual([
      ["declined", buyers[0].id],
      ["declined", buyers[1].id],
      ["delivered", buyers[0].id],
    ]);
    await expectSoundLedger(seller);
  });

  test("too late is over: after two minutes place and money go back, marked or not", async () => {
    const seller = await sellers.open();
    const { buyers, leadId } = await prepare(seller);
    const transfer = await opened(seller, leadId);
    seller.setTime(at("10:02:00"));
    expect(await mark(seller, transfer.id, true)).toMatchObject({ kind: "over", state: "expired" });
    expect(await seller.funds(buyers[0])).toMatchObject({ funds: 0, reserved: 0 });
    const next = await opened(seller, leadId);
    expect(next.partnerId).toBe(buyers[1].id);
    seller.setTime(at("10:04:00"));
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["expired", "expired"]);
    expect(await mark(seller, next.id, true)).toEqual({ kind: "over", state: "expired" });
    expect([sentTo(buyers[0]), sentTo(buyers[1])]).toEqual([0, 0]);
  });

  test("by two agents at once, while its time passes, ends in one way", async () => {
    const seller = await sellers.open();
    const twin = await sellers.openTwin(seller);
    const buyer = await seller.partner(withPhone(0));
    const campaignId = await seller.campaign([buyer], { routeAfterMinutes: 10 });
    const leadIds = await seller.leads(campaignId, 20);
    const transfers = await Promise.all(leadIds.map(async (leadId) => opened(seller, leadId)));
    const late = { ...twin, context: { ...twin.context, clock: () => new Date(at("10:02:00")) } };
    const marks = transfers.map(async ({ id }) =>
      Promise.all([mark(seller, id, true), mark(twin, id, false), mark(late, id, true), mark(seller, id, true)]),
    );
    const expiry = expireDueOffers(late.context, seller.organisationId);
    const [outcomes] = await Promise.all([Promise.all(marks), expiry]);
    let made = 0;
    for (const [index, leadId] of leadIds.entries()) {
      const kinds = (outcomes[index] ?? []).map(({ kind }) => kind).filter((kind) => kind !== "over");
      const [state] = await statesOf(seller, leadId);
      expect({ kinds, state }).toEqual({
        kinds: state === "expired" ? [] : [state === "sending" ? "accepted" : "declined"],
        state,
      });
      if (state === "sending") made += 1;
    }
    expect(await seller.usage(buyer)).toMatchObject({ totalLeads: made });
    expect(await seller.funds(buyer)).toMatchObject({ funds: -1000 * made, reserved: 1000 * made });
    await expectSoundLedger(seller);
  });

  test("is asked for by two agents at once: one gets it", async () => {
    const seller = await sellers.open();
    const twin = await sellers.openTwin(seller);
    const { leadId } = await prepare(seller);
    const results = await Promise.all([open(seller, leadId), open(twin, leadId), open(seller, leadId)]);
    expect(results.map(({ kind }) => kind).toSorted()).toEqual(["open_already", "open_already", "opened"]);
    expect(await statesOf(seller, leadId)).toEqual(["offered"]);
  });
});

describe("while a transfer is open", () => {
  test("routing leaves the lead alone, whatever wakes it, and holds keep their slots", async () => {
    const seller = await sellers.open({ at: at("08:00:00") });
    const closed = await seller.partner({ schedule: { wed: [{ from: "09:00", to: "17:00" }] }, whenClosed: "hold" });
    const spare = await seller.partner(withPhone(0));
    const campaignId = await seller.campaign([closed, spare]);
    const leadId = await seller.lead(campaignId);
    await seller.settle();
    const [held] = await seller.deliveries(leadId);
    expect(held).toMatchObject({ state: "held", partnerId: closed.id, dueAt: new Date(at("09:00:00")) });
    const transfer = await opened(seller, leadId);
    expect(transfer.partnerId).toBe(spare.id);
    await seller.inOrganisation(async (transaction) =>
      transaction.updateTable("leads").set({ dueAt: seller.context.clock() }).where("id", "=", leadId).execute(),
    );
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([
      { id: held?.id, state: "held" },
      { id: transfer.id, state: "offered" },
    ]);
    await mark(seller, transfer.id, false);
    seller.setTime(at("08:02:00"));
    await seller.settle();
    expect(await seller.deliveries(leadId)).toMatchObject([
      { state: "held", dueAt: new Date(at("09:00:00")) },
      { state: "declined" },
    ]);
    seller.setTime(at("09:00:00"));
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["delivered", "declined"]);
  });

  test("nobody else is given the lead by hand, shared or not, and what it was held for is given up when it is made", async () => {
    const seller = await sellers.open({ at: at("08:00:00") });
    const closed = await seller.partner({ schedule: { wed: [{ from: "09:00", to: "17:00" }] }, whenClosed: "hold" });
    const [spare, other] = [await seller.partner(withPhone(0)), await seller.partner()];
    const leadId = await seller.lead(await seller.campaign([closed, spare]));
    await seller.settle();
    const transfer = await opened(seller, leadId);
    const referral = { leadId, partnerId: other.id, override: true, reason: null };
    expect(await referLead(seller.context, seller.organisationId, referral, "staff")).toEqual({ kind: "in_transfer" });
    await mark(seller, transfer.id, true);
    await seller.settle();
    expect(await statesOf(seller, leadId)).toEqual(["cancelled", "delivered"]);
    expect(await seller.leadRow(leadId)).toMatchObject({ state: "sold", dueAt: null });
  });

  test("the lead's story tells it in plain words", async () => {
    const seller = await sellers.open();
    const { buyers, leadId } = await prepare(seller);
    await mark(seller, (await opened(seller, leadId)).id, false);
    const lead = await seller.inOrganisation(async (transaction) => readLead(transaction, leadId));
    const told = lead?.timeline.map(({ text }) => text).join("\n");
    expect(told).toContain(`The caller was to be handed over to ${buyers[0].name} by 2026-03-04T10:02:00.000Z.`);
    expect(told).toContain("An agent began to hand the caller over to a partner (agent).");
    expect(told).toContain("The caller was not handed over (agent): engaged.");
  });
});

describe("over the API, with calls", () => {
  let sms: SmsCatcher;
  let callbacks: HttpLoopback;
  let server: TestApi;
  let client: TestClient;
  let now: Date;

  beforeAll(async () => {
    sms = await startSmsCatcher("127.0.0.1", 0);
    callbacks = await startHttp((seen, response) => {
      const headers = { ...seen.headers, "content-length": String(Buffer.byteLength(seen.body)) };
      void server.api
        .inject({ method: "POST", url: seen.path, headers, payload: seen.body })
        .then(({ statusCode, body }) => response.writeHead(statusCode).end(body));
    });
    const environment = {
      PUBLIC_URL: callbacks.url,
      TWILIO_ACCOUNT_SID: demoAccount.accountSid,
      TWILIO_AUTH_TOKEN: demoAccount.authToken,
      TWILIO_FROM: "Handoff",
      TWILIO_CALLER: "+442079460000",
      TWILIO_BASE_URL: sms.url,
    };
    server = await createTestApi({ environment, clock: () => now });
    client = await server.createClient();
  });
  beforeEach(() => {
    now = new Date(at("10:00:00"));
  });
  afterAll(async () => {
    await server.close();
    await Promise.all([sms.stop(), callbacks.close()]);
    await closeOutbound();
  });

  async function leadWith(transferPhone: string, of: TestClient = client, api: TestApi = server) {
    const internet = jsonDelivery({ url: "http://127.0.0.1:1/" });
    const partnerId = await addPartner(of, { creditLimit: 10_000, internet, contact: { transferPhone } });
    const { id, intakeKey } = await addCampaign(of, [partnerId], { routeAfterMinutes: 5 });
    const lead = { first_name: "Ann", email: `ann-${partnerId}@example.com` };
    const leadId = (await call(api.api, null, "POST", `/v1/intake/${intakeKey}`, lead)).text("leadId");
    await routeDueLeads(api.context, of.organisationId, id);
    const transfer = await of.call("POST", `/v1/leads/${leadId}/transfers`);
    return { leadId, transfer, transferId: transfer.text("id") };
  }
  const storyOf = async (leadId: string) => (await client.call("GET", `/v1/leads/${leadId}`)).raw;

  test("the agent asks, is rung up once, put through to the partner, and marks it", async () => {
    const { leadId, transfer, transferId } = await leadWith("+447700900301");
    expect(transfer.status).toBe(201);
    expect(transfer.body).toMatchObject({
      transferPhone: "+447700900301",
      until: "2026-03-04T10:02:00.000Z",
      price: 1250,
    });
    const ring = { agentPhone: "+44 7700 900400" };
    const calls = await Promise.all(
      [1, 2].map(async () => client.call("POST", `/v1/transfers/${transferId}/call`, ring)),
    );
    expect(calls.map(({ status }) => status).toSorted()).toEqual([202, 409]);
    expect(sms.calls()).toMatchObject([
      { to: "+447700900400", from: "+442079460000", dialled: "+447700900301", callerId: "+442079460000" },
    ]);
    await until(async () => (await storyOf(leadId)).includes("telephone was rung (Twilio): it was answered."));
    const outcome = await client.call("POST", `/v1/transfers/${transferId}/outcome`, { transferred: true });
    expect(outcome.body).toEqual({ transferId, transferred: true });
    const again = await client.call("POST", `/v1/transfers/${transferId}/outcome`, { transferred: false });
    expect(again.body).toMatchObject({ status: 409, code: "transfer_over" });
    const late = await client.call("POST", `/v1/transfers/${transferId}/call`, ring);
    expect(late.body).toMatchObject({ status: 409, code: "transfer_over" });
  });

  test("a partner whose telephone is engaged is told of in the lead's story", async () => {
    const { leadId, transferId } = await leadWith("+447700900999");
    await client.call("POST", `/v1/transfers/${transferId}/call`, { agentPhone: "+447700900400" });
    await until(async () => (await storyOf(leadId)).includes("it was engaged"));
  });

  test("a call that Twilio refuses is told with its reason, and can be asked for again", async () => {
    const { transferId } = await leadWith("+447700900302");
    const ring = async () => client.call("POST", `/v1/transfers/${transferId}/call`, { agentPhone: "+447700900400" });
    sms.misbehave(() => ({ status: 400, body: '{"code":21215,"message":"not enabled","status":400}' }));
    const refused = await ring();
    expect(refused.body).toMatchObject({ status: 502, code: "call_service_trouble" });
    expect(refused.text("detail")).toBe("The Twilio account may not call this country. (Twilio error 21215)");
    sms.misbehave(() => ({ status: 503, body: "" }));
    expect((await ring()).body).toMatchObject({ status: 502, code: "call_service_trouble" });
    sms.misbehave(null);
    expect((await ring()).status).toBe(202);
  });

  test("a report counts only with Twilio's signature", async () => {
    const { leadId, transferId } = await leadWith("+447700900303");
    const path = `/v1/transfers/${transferId}/dialled`;
    const report = async (token: string) => {
      const form = { CallSid: "CA1", DialCallStatus: "busy" };
      const signature = twilio.getExpectedTwilioSignature(token, `${callbacks.url}${path}`, form);
      const headers = { "content-type": "application/x-www-form-urlencoded", "x-twilio-signature": signature };
      const payload = new URLSearchParams(form).toString();
      return server.api.inject({ method: "POST", url: path, headers, payload });
    };
    expect((await report("another-token")).statusCode).toBe(403);
    expect(await storyOf(leadId)).not.toContain("engaged");
    const taken = await report(demoAccount.authToken);
    expect([taken.statusCode, taken.headers["content-type"], taken.body]).toEqual([
      200,
      "text/xml; charset=utf-8",
      '<?xml version="1.0" encoding="UTF-8"?><Response/>',
    ]);
    expect(await storyOf(leadId)).toContain("it was engaged");
  });

  test("without Twilio the refusal names the settings", async () => {
    const plain = await createTestApi({ clock: () => now });
    try {
      const own = await plain.createClient();
      const { transferId } = await leadWith("+447700900304", own, plain);
      const refused = await own.call("POST", `/v1/transfers/${transferId}/call`, { agentPhone: "+447700900400" });
      expect(refused.body).toMatchObject({ status: 409, code: "calls_not_set_up" });
      expect(refused.text("detail")).toContain("TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN, TWILIO_FROM, TWILIO_CALLER");
    } finally {
      await plain.close();
    }
  });

  test("nobody to transfer to is a refusal that says why of each partner; a second transfer is refused", async () => {
    const { leadId, transferId } = await leadWith("+447700900305");
    const second = await client.call("POST", `/v1/leads/${leadId}/transfers`);
    expect(second.body).toMatchObject({
      status: 409,
      code: "transfer_open",
      detail: expect.stringContaining(transferId),
    });
    await client.call("POST", `/v1/transfers/${transferId}/outcome`, { transferred: false });
    const nobody = await client.call("POST", `/v1/leads/${leadId}/transfers`);
    expect(nobody.body).toMatchObject({
      status: 409,
      code: "nobody_to_transfer_to",
      fields: [{ code: "already_had" }],
    });
    expect((await client.call("POST", `/v1/leads/${transferId}/transfers`)).status).toBe(404);
    expect((await client.call("POST", `/v1/transfers/${leadId}/outcome`, { transferred: true })).status).toBe(404);
  });
});
