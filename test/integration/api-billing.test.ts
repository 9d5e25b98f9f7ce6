import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { call, createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign, addPartner, campaignDocument, partnerDocument } from "../helpers/api-documents.ts";

/** Prices, billing points and introducers' costs over HTTP: what is stored, shown and refused. */

let server: TestApi;
let client: TestClient;

beforeAll(async () => {
  server = await createTestApi();
  client = await server.createClient();
});
afterAll(async () => server.close());

const list = {
  default: 1000,
  rules: [{ when: { field: "postcode", op: "startsWith", value: "SW" }, price: 2000 }],
  answer: { min: 500, max: 3000 },
};
const billing = { accepted: { percent: 20 }, qualified: null, converted: { amount: 500 }, closeAfterDays: 30 };
const cost = { percent: 12.5, due: "sold", whenReversed: "reverse" };

describe("settings", () => {
  test("of a partner come back as they were given", async () => {
    const created = await client.call(
      "POST",
      "/v1/partners",
      partnerDocument({ leadValue: list, billing, leadCost: cost }),
    );
    expect(created.body).toMatchObject({ leadValue: list, billing, leadCost: cost });
    const url = `/v1/partners/${created.text("id")}`;
    const changed = await client.call("PATCH", url, { leadValue: 1250, billing: null, leadCost: null });
    expect(changed.body).toMatchObject({ leadValue: 1250, billing: null, leadCost: null });
    expect((await client.call("GET", url)).body).toMatchObject({ leadValue: 1250, billing: null, leadCost: null });
  });

  test("of a campaign and its routing come back as they were given", async () => {
    const partnerId = await addPartner(client);
    const routing = [{ partners: [{ partnerId, price: list, billing }] }];
    const leadValues = [
      { currency: "GBP", price: list },
      { currency: "JPY", price: 2000 },
    ];
    const created = await client.call("POST", "/v1/campaigns", campaignDocument([], { routing, leadValues }));
    expect(created.body).toMatchObject({ leadValues, routing: [{ partners: [{ price: list, billing }] }] });
  });

  test("of an intake key can be changed, where there is somebody to pay", async () => {
    const { id } = await addCampaign(client);
    const introducerId = await addPartner(client, { type: "introducer" });
    const url = `/v1/campaigns/${id}/intake-keys`;
    const key = await client.call("POST", url, { name: "theirs", introducerId, leadCost: cost });
    expect(key.body).toMatchObject({ leadCost: cost });
    const amount = { amount: 300, due: "received", whenReversed: "keep" };
    expect((await client.call("PATCH", `${url}/${key.text("id")}`, { leadCost: amount })).status).toBe(204);
    expect((await client.call("GET", url)).value("data.0.leadCost")).toEqual(amount);
    const nobody = { status: 422, fields: [{ field: "leadCost", code: "no_introducer" }] };
    expect((await client.call("POST", url, { name: "nobody's", leadCost: cost })).body).toMatchObject(nobody);
    const own = (await client.call("GET", url)).text("data.1.id");
    expect((await client.call("PATCH", `${url}/${own}`, { leadCost: cost })).body).toMatchObject(nobody);
    const changes = await client.call("GET", `/v1/changes?objectId=${key.text("id")}`);
    expect(changes.value("data.0.after")).toEqual({ leadCost: amount });
  });

  test("of a key are what explain counts with: the margin, and that nobody gets its own lead back", async () => {
    const [introducerId, buyerId] = [
      await addPartner(client, { leadValue: 1000 }),
      await addPartner(client, { leadValue: 1000 }),
    ];
    const { id } = await addCampaign(client, [introducerId, buyerId]);
    const key = await client.call("POST", `/v1/campaigns/${id}/intake-keys`, {
      name: "theirs",
      introducerId,
      leadCost: cost,
    });
    const explain = async (query: string) =>
      client.call("POST", `/v1/campaigns/${id}/explain${query}`, { first_name: "Ann" });
    const explained = await explain(`?intakeKeyId=${key.text("id")}`);
    const ofBuyer = { partnerId: buyerId, price: 1250, margin: 1094 };
    const ofIntroducer = {
      partnerId: introducerId,
      reasons: expect.arrayContaining([expect.objectContaining({ code: "introduced_it" })]),
    };
    expect(explained.value("partners")).toEqual(
      expect.arrayContaining([expect.objectContaining(ofBuyer), expect.objectContaining(ofIntroducer)]),
    );
    expect((await explain("")).value("partners.0")).toMatchObject({ price: 1250, margin: 1250 });
    expect((await explain(`?intakeKeyId=${buyerId}`)).status).toBe(404);
  });

  test("that make less than the lead's value together are warned of", async () => {
    const partial = { billing: { converted: { percent: 60 } } };
    const created = await client.call("POST", "/v1/partners", partnerDocument(partial));
    expect(created.body).toMatchObject({ warnings: [{ field: "billing", message: expect.stringContaining("60 %") }] });
  });

  test("that leave the price to an answer which nobody reads are warned of", async () => {
    const created = await client.call("POST", "/v1/partners", partnerDocument({ leadValue: list }));
    expect(created.body).toMatchObject({ warnings: [{ field: "leadValue.answer" }] });
    const routing = [{ partners: [{ partnerId: created.text("id"), price: list }] }];
    const campaign = await client.call("POST", "/v1/campaigns", campaignDocument([], { routing }));
    expect(campaign.body).toMatchObject({ warnings: [{ field: "routing.0.partners.0.price.answer" }] });
  });

  test.each([
    [{ leadValue: -1 }, "leadValue", "must not be negative"],
    [{ leadValue: 12.5 }, "leadValue", "whole number of minor units"],
    [{ leadValue: "12.50" }, "leadValue", "whole number of minor units"],
    [{ leadValue: { default: -1 } }, "leadValue.default", "must not be negative"],
    [{ leadValue: { default: 1, ruls: [] } }, "leadValue.ruls", "is not a known field"],
    [{ leadValue: { ...list, answer: { min: 2000, max: 3000 } } }, "leadValue.default", "within the bounds"],
    [
      { leadValue: { default: 1, rules: [{ when: { field: "a", op: "is" }, price: 1 }] } },
      "leadValue.rules.0.when.op",
      "one of",
    ],
    [{ billing: { accepted: { percent: 120 } } }, "billing.accepted.percent", "at most 100"],
    [
      { billing: { accepted: { percent: 60 }, converted: { percent: 60 } } },
      "billing.converted.percent",
      "more than 100",
    ],
    [{ billing: { accepted: { percent: 33.33333 } } }, "billing.accepted.percent", "at most four decimals"],
    [{ billing: { accepted: { amount: -5 } } }, "billing.accepted.amount", "must not be negative"],
    [{ billing: {} }, "billing", "at one billing point"],
    [{ leadCost: { percent: 101 } }, "leadCost.percent", "at most 100"],
    [{ leadCost: { amount: 1.5 } }, "leadCost.amount", "whole number"],
    [{ leadCost: {} }, "leadCost", "an amount or a percent"],
  ])("%j are refused at %s: %s", async (change, field, message) => {
    const answer = await client.call("POST", "/v1/partners", partnerDocument(change));
    expect(answer.body).toMatchObject({ status: 422, code: "invalid_body" });
    expect(answer.value("fields")).toContainEqual(
      expect.objectContaining({ field, message: expect.stringContaining(message) }),
    );
  });

  test.each([
    [{ leadValues: [{ currency: "gbp", price: 5 }] }, "leadValues.0.currency"],
    [
      {
        leadValues: [
          { currency: "GBP", price: 5 },
          { currency: "GBP", price: 6 },
        ],
      },
      "leadValues.1.currency",
    ],
    [
      {
        leadValues: [
          { currency: "GBP", price: { default: 5, rules: [{ when: { field: "age", op: "exists" }, price: 6 }] } },
        ],
      },
      "leadValues.0.price.rules.0.when.field",
    ],
  ])("of a campaign that do not fit are refused: %j at %s", async (change, field) => {
    const answer = await client.call("POST", "/v1/campaigns", campaignDocument([], change));
    expect(answer.body).toMatchObject({ status: 422, fields: [{ field }] });
  });
});

describe("the billing point of a delivery", () => {
  async function deliver(state: "delivered" | "rejected") {
    const partnerId = await addPartner(client, { leadValue: 1000, billing, creditLimit: 5000 });
    const { intakeKey } = await addCampaign(client, [], {
      routing: [{ partners: [{ partnerId }] }],
      duplicates: null,
    });
    const lead = { first_name: "Ann", email: `${Math.random()}@example.com` };
    const leadId = (await call(server.api, null, "POST", `/v1/intake/${intakeKey}`, lead)).text("leadId");
    const id = leadId.replace(/^.{8}/, "01900000");
    const terms = { valueMinor: 1000, billing, answer: null };
    // As routing and the partner would have left it: neither is what is looked at here.
    await sql`insert into deliveries (id, organisation_id, lead_id, campaign_id, partner_id, state, price_minor, currency, terms,
        billed_minor, billing_point, created_at)
      select ${id}, organisation_id, id, campaign_id, ${partnerId}, ${state}, 700, 'GBP', ${JSON.stringify(terms)}::jsonb,
        ${state === "delivered" ? 200 : 0}, ${state === "delivered" ? "accepted" : null}, now() from leads where id = ${leadId}`.execute(
      server.owner,
    );
    await sql`with t as (
        insert into transactions (id, organisation_id, key, kind, currency, occurred_at, partner_id, delivery_id, created_by)
        select gen_random_uuid(), ${client.organisationId}, 'reserve-' || ${id}::text, 'reserve', 'GBP', now(), ${partnerId}, ${id}::uuid, 'test'
        returning id)
      insert into entries (transaction_id, account_id, organisation_id, amount_minor, currency)
      select t.id, a.id, a.organisation_id, case a.kind when 'funds' then -500 else 500 end, 'GBP'
      from t, accounts a where a.partner_id = ${partnerId} and a.kind in ('funds', 'reserved')`.execute(server.owner);
    return { id, leadId, partnerId };
  }
  const move = async (id: string, point: string) =>
    client.call("POST", `/v1/deliveries/${id}/billing-point`, { point });

  test("is moved, and shown with what is paid and reserved", async () => {
    const { id, partnerId } = await deliver("delivered");
    const parts = { accepted: 200, qualified: 0, converted: 500 };
    const before = await client.call("GET", `/v1/deliveries/${id}`);
    expect(before.body).toMatchObject({
      price: 700,
      value: 1000,
      billing: { point: "accepted", parts, billed: 200, reserved: 500 },
    });
    expect((await move(id, "converted")).body).toEqual({ deliveryId: id, point: "converted", moved: true });
    expect((await move(id, "converted")).body).toEqual({ deliveryId: id, point: "converted", moved: false });
    const after = await client.call("GET", `/v1/deliveries/${id}`);
    expect(after.value("billing")).toMatchObject({ point: "converted", billed: 700, reserved: 0 });
    const ledger = await client.call("GET", `/v1/partners/${partnerId}/ledger`);
    const posted = { kind: "post", createdBy: "API key test", deliveryId: id };
    expect(ledger.value("data")).toContainEqual(expect.objectContaining(posted));
  });

  test("is refused with 409 and why, where it would go back", async () => {
    const { id } = await deliver("delivered");
    await move(id, "qualified");
    expect((await move(id, "accepted")).body).toMatchObject({
      status: 409,
      code: "billing_point",
      detail: "It is qualified already, and does not go back.",
    });
    await move(id, "closed");
    expect((await move(id, "converted")).body).toMatchObject({
      status: 409,
      code: "billing_point",
      detail: expect.stringContaining("It is closed"),
    });
  });

  test("is refused of a delivery that is no sale, and of a point that there is not", async () => {
    const { id } = await deliver("rejected");
    expect((await move(id, "qualified")).body).toMatchObject({ status: 409, code: "delivery_state" });
    expect((await move(id, "paid")).body).toMatchObject({ status: 422, fields: [{ field: "point" }] });
  });

  test("whose price is in question is listed", async () => {
    const { id } = await deliver("delivered");
    await sql`update deliveries set price_note = 'above_maximum', answered_price = '99' where id = ${id}`.execute(
      server.owner,
    );
    const listed = await client.call("GET", "/v1/deliveries?priceInQuestion=true");
    expect(listed.body).toMatchObject({ data: [{ id, priceNote: "above_maximum", answeredPrice: "99" }] });
    const others = await client.call("GET", "/v1/deliveries?priceInQuestion=false&limit=100");
    expect(others.raw).not.toContain(id);
  });
});
