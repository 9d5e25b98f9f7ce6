import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { drainDueDeliveries } from "../../src/delivery/drain-partner.ts";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import { call, createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign, addPartner, partnerDocument } from "../helpers/api-documents.ts";
import { type JsonPartners, startJsonPartners } from "../helpers/json-partners.ts";

/** Returns over HTTP: what is stored, shown and refused. */

let partners: JsonPartners;
let server: TestApi;
let client: TestClient;

beforeAll(async () => {
  partners = await startJsonPartners();
  server = await createTestApi({ environment: { HANDOFF_ALLOW_HOSTS: partners.host } });
  client = await server.createClient();
});
afterAll(async () => {
  await server.close();
  await partners.stop();
});

const policy = {
  within: { days: 14 },
  perMonth: { leads: 20, percent: 10 },
  neverFor: ["no_interest"],
  decide: "auto",
  place: "keep",
  cost: "reverse",
  rerouteWithinHours: 48,
};

/** A lead that was sold to a new partner under these settings. */
async function sell(changes: Readonly<Record<string, unknown>>) {
  const partnerId = await addPartner(client, {
    creditLimit: 10_000,
    internet: partners.internet("acme"),
    ...changes,
  });
  const { id, intakeKey } = await addCampaign(client, [partnerId], { duplicates: null });
  const lead = { first_name: "Ann", email: "ann@example.com" };
  const leadId = (await call(server.api, null, "POST", `/v1/intake/${intakeKey}`, lead)).text("leadId");
  await routeDueLeads(server.context, client.organisationId, id);
  await drainDueDeliveries(server.context, client.organisationId, partnerId);
  return { partnerId, leadId };
}

const giveBack = async (leadId: string, body: Record<string, unknown>) =>
  client.call("POST", `/v1/leads/${leadId}/returns`, body);

describe("settings", () => {
  test("of a partner come back as they were given, and null is nothing agreed", async () => {
    const created = await client.call("POST", "/v1/partners", partnerDocument({ returns: policy }));
    expect(created.body).toMatchObject({ returns: policy });
    const url = `/v1/partners/${created.text("id")}`;
    expect((await client.call("PATCH", url, { returns: {} })).value("returns")).toMatchObject({ decide: "staff" });
    expect((await client.call("PATCH", url, { returns: null })).value("returns")).toBeNull();
    expect((await client.call("POST", "/v1/partners", partnerDocument())).value("returns")).toBeNull();
  });

  test("of the organisation are the reasons, which begin with the usual ones", async () => {
    const own = await server.createClient("Others");
    const { value } = await own.call("GET", "/v1/organisation");
    const usual = value("returnReasons");
    expect(usual).toContainEqual({ code: "wrong_contact", text: "The contact details are wrong" });
    const returnReasons = [{ code: "too_far", text: "Too far away" }];
    expect((await own.call("PATCH", "/v1/organisation", { returnReasons })).body).toMatchObject({ returnReasons });
    const changes = await own.call("GET", "/v1/changes");
    expect(changes.value("data.0")).toMatchObject({ before: { returnReasons: usual }, after: { returnReasons } });
    const twice = { returnReasons: [...returnReasons, ...returnReasons] };
    expect((await own.call("PATCH", "/v1/organisation", twice)).body).toMatchObject({
      status: 422,
      fields: [{ field: "returnReasons.1.code", message: expect.stringContaining("there twice") }],
    });
  });

  test.each([
    [{ within: {} }, "returns.within"],
    [{ within: { hours: 1, days: 1 } }, "returns.within"],
    [{ within: { hours: 0 } }, "returns.within.hours"],
    [{ perMonth: {} }, "returns.perMonth"],
    [{ perMonth: { percent: 0 } }, "returns.perMonth.percent"],
    [{ perMonth: { percent: 101 } }, "returns.perMonth.percent"],
    [{ perMonth: { leads: -1 } }, "returns.perMonth.leads"],
    [{ neverFor: ["boredom"] }, "returns.neverFor.0"],
    [{ decide: "never" }, "returns.decide"],
    [{ rerouteWithinHours: 0 }, "returns.rerouteWithinHours"],
  ])("%j are refused at %s", async (returns, field) => {
    const answer = await client.call("POST", "/v1/partners", partnerDocument({ returns }));
    expect(answer.body).toMatchObject({ status: 422, code: "invalid_body", fields: [{ field }] });
  });

  test("that name a reason which is no longer on the list are not refused when something else is changed", async () => {
    const own = await server.createClient("Changing");
    const partnerId = await addPartner(own, { returns: policy });
    await own.call("PATCH", "/v1/organisation", { returnReasons: [] });
    const url = `/v1/partners/${partnerId}`;
    const longer = { returns: { ...policy, within: { days: 30 } } };
    expect((await own.call("PATCH", url, longer)).body).toMatchObject(longer);
    expect((await own.call("PATCH", url, { returns: { neverFor: ["duplicate"] } })).status).toBe(422);
  });
});

describe("a return", () => {
  test("is asked for, listed, decided with a note, and shown in the lead's timeline", async () => {
    const { partnerId, leadId } = await sell({ returns: {} });
    const asked = await giveBack(leadId, { partnerId, reason: "duplicate", comment: "Known to us" });
    expect(asked.status).toBe(201);
    const id = asked.text("id");
    const open = {
      id,
      leadId,
      partnerId,
      state: "open",
      reason: { code: "duplicate", text: "We have this person already" },
      comment: "Known to us",
      askedBy: "API key test",
      decidedBy: null,
    };
    expect(asked.body).toMatchObject(open);
    for (const query of [`state=open&partnerId=${partnerId}`, `leadId=${leadId}`]) {
      expect((await client.call("GET", `/v1/returns?${query}`)).body).toMatchObject({ data: [open], nextCursor: null });
    }
    const decided = await client.call("POST", `/v1/returns/${id}/decide`, { decision: "accepted", note: "Sorry" });
    expect(decided.body).toMatchObject({ id, state: "accepted", note: "Sorry", decidedBy: "API key test" });
    expect((await client.call("GET", `/v1/returns/${id}`)).body).toEqual(decided.body);
    expect((await client.call("GET", `/v1/returns?state=open&partnerId=${partnerId}`)).value("data")).toEqual([]);
    const again = await client.call("POST", `/v1/returns/${id}/decide`, { decision: "declined" });
    expect(again.body).toMatchObject({
      status: 409,
      code: "return_decided",
      detail: "It was accepted by API key test.",
    });
    const lead = await client.call("GET", `/v1/leads/${leadId}`);
    expect(lead.body).toMatchObject({ state: "returned", money: [], deliveries: [{ state: "returned" }] });
    expect(lead.raw).toContain(
      "A return of it was asked for (API key test): We have this person already; Known to us.",
    );
    expect(lead.raw).toContain("The return of it was accepted (API key test): Sorry.");
    expect((await client.call("GET", `/v1/partners/${partnerId}`)).value("funds")).toMatchObject({ balance: 0 });
  });

  test("that is refused says by each code what stands against it, and is told in the timeline", async () => {
    const { partnerId, leadId } = await sell({ returns: { ...policy, perMonth: { percent: 10 } } });
    const refused = await giveBack(leadId, { partnerId, reason: "no_interest" });
    expect(refused.body).toMatchObject({
      status: 409,
      code: "return_refused",
      detail: expect.stringContaining("Send override: true"),
      fields: [
        { field: "partnerId", code: "above_share" },
        { field: "reason", code: "reason_not_taken" },
      ],
    });
    const lead = await client.call("GET", `/v1/leads/${leadId}`);
    expect(lead.raw).toContain("A return of it was refused (API key test): Of the 1 leads sold in that month 0");
    const other = await addPartner(client, { returns: {} });
    expect((await giveBack(leadId, { partnerId: other, reason: "duplicate", override: true })).body).toMatchObject({
      status: 409,
      code: "return_refused",
      detail: "The lead was not sold to this partner.",
      fields: [{ code: "not_theirs" }],
    });
    const overridden = await giveBack(leadId, { partnerId, reason: "no_interest", override: true });
    expect(overridden.body).toMatchObject({
      state: "accepted",
      overridden: [{ code: "above_share" }, { code: "reason_not_taken", text: expect.stringContaining("no_interest") }],
    });
  });

  test.each([
    [{}, "reason"],
    [{ reason: "boredom" }, "reason"],
    [{ reason: "Wrong Number" }, "reason"],
    [{ comment: "  " }, "comment"],
    [{ comment: "no", partnerId: "acme" }, "partnerId"],
    [{ comment: "no", amount: 5 }, "amount"],
  ])("with %j is refused at %s", async (body, field) => {
    const { partnerId, leadId } = await sell({ returns: {} });
    const answer = await giveBack(leadId, { partnerId, ...body });
    expect(answer.body).toMatchObject({ status: 422, code: "invalid_body", fields: [{ field }] });
    expect((await client.call("GET", `/v1/returns?leadId=${leadId}`)).value("data")).toEqual([]);
  });

  test("forgets what was written about it when the lead is erased, and its money still goes back", async () => {
    const { partnerId, leadId } = await sell({ returns: {} });
    const id = (await giveBack(leadId, { partnerId, comment: "Ann moved to 5 Elm Road" })).text("id");
    expect((await client.call("DELETE", `/v1/leads/${leadId}`)).status).toBe(204);
    const decided = await client.call("POST", `/v1/returns/${id}/decide`, { decision: "accepted" });
    expect(decided.body).toMatchObject({ state: "accepted", comment: null });
    for (const url of [`/v1/returns/${id}`, `/v1/leads/${leadId}`, `/v1/partners/${partnerId}/ledger`, "/v1/alerts"]) {
      expect((await client.call("GET", url)).raw).not.toContain("Elm Road");
    }
    expect((await client.call("GET", `/v1/leads/${leadId}`)).body).toMatchObject({ state: "erased", soldCount: 0 });
    expect((await client.call("GET", `/v1/partners/${partnerId}`)).value("funds")).toMatchObject({ balance: 0 });
  });
});

describe("what staff take back", () => {
  test("is the money, once; and of a partner that has not bought the lead nothing", async () => {
    const { partnerId, leadId } = await sell({});
    const url = `/v1/leads/${leadId}/reverse`;
    expect((await client.call("POST", url, { partnerId, reason: "Goodwill" })).status).toBe(200);
    const delivery = await client.call("GET", `/v1/deliveries?leadId=${leadId}`);
    expect(delivery.value("data.0")).toMatchObject({
      state: "delivered",
      price: 0,
      billing: { billed: 0, reserved: 0 },
      reversedAt: expect.any(String),
    });
    expect((await client.call("POST", url, { partnerId })).body).toMatchObject({ status: 409, code: "sale_reversed" });
    const other = await addPartner(client);
    const notTheirs = { status: 409, code: "delivery_state" };
    expect((await client.call("POST", url, { partnerId: other })).body).toMatchObject(notTheirs);
    const referral = `/v1/leads/${leadId}/reverse-referral`;
    expect((await client.call("POST", referral, { partnerId: other })).body).toMatchObject(notTheirs);
    expect((await client.call("POST", referral, { partnerId })).status).toBe(200);
    expect((await client.call("GET", `/v1/leads/${leadId}`)).value("state")).toBe("returned");
    const introducer = `/v1/leads/${leadId}/reverse-introducer`;
    expect((await client.call("POST", introducer, {})).body).toMatchObject({ status: 409, code: "nothing_owed" });
  });
});
