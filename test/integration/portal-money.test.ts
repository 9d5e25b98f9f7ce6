import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { type PayPalCatcher, startPayPalCatcher } from "../../demo/paypal-catcher.ts";
import { accountDocument } from "../helpers/payments.ts";
import { openPortal, type Portal } from "../helpers/portal.ts";

/** A partner's money with the organisation, as its own people see it, and how they pay. */

let portal: Portal;
let payPal: PayPalCatcher;
beforeAll(async () => {
  payPal = await startPayPalCatcher("127.0.0.1", 0);
  payPal.webhooks.isSending = false;
  portal = await openPortal({ PAYPAL_BASE_URL: payPal.url, PUBLIC_URL: "https://leads.example.com" });
});
afterAll(async () => {
  await portal.close();
  await payPal.stop();
});

describe("funds", () => {
  test("are what the partner has, what is reserved, and what may be spent; and what it is owed as an introducer", async () => {
    const billing = { accepted: { percent: 20 }, converted: { percent: 80 } };
    const partner = await portal.partner({ billing, type: "both", creditLimit: 5_000 });
    const user = await portal.user(partner);
    await portal.staff.call("POST", `/v1/partners/${partner.id}/payments`, { amount: 2_000, reason: "Bank" });
    await portal.sell(partner);
    expect((await user.call("GET", "/v1/portal/funds")).body).toEqual({
      ...{ currency: "GBP", balance: 1_750, reserved: 1_000, creditLimit: 5_000, available: 5_750, owed: [] },
    });
    const staff = Object((await portal.staff.call("GET", `/v1/partners/${partner.id}`)).body).funds;
    expect(staff).toMatchObject({ balance: 1_750, reserved: 1_000, available: 5_750 });
  });
});

describe("a statement", () => {
  test("has every entry that changes the balance, without who of staff made it or what they wrote about a lead", async () => {
    const partner = await portal.partner();
    const user = await portal.user(partner);
    await portal.staff.call("POST", `/v1/partners/${partner.id}/payments`, { amount: 2_000, reason: "Bank 4711" });
    portal.later(1_000);
    const { id, leadId } = await portal.sell(partner);
    portal.later(1_000);
    const back = { partnerId: partner.id, reason: "Their agent shouted at ours" };
    expect((await portal.staff.call("POST", `/v1/leads/${leadId}/unrefer`, back)).status).toBe(200);
    const answer = await user.call("GET", "/v1/portal/statement");
    expect(answer.body).toMatchObject({
      ...{ account: "balance", opening: 0, closing: 2_000 },
      entries: [
        { kind: "payment", amount: 2_000, reason: "Bank 4711", leadId: null },
        { kind: "post", amount: -1_250, reason: null, leadId: id, campaign: `Campaign of ${partner.name}` },
        { kind: "reverse", amount: 1_250, reason: null, leadId: id, balance: 2_000 },
      ],
    });
    const csv = await user.call("GET", "/v1/portal/statement/csv");
    expect([csv.status, csv.headers["content-type"]]).toEqual([200, "text/csv; charset=utf-8"]);
    expect(csv.raw).toContain("Bank 4711");
    for (const { raw } of [answer, csv]) expect(raw).not.toMatch(/shouted|API key|createdBy/);
    const pdf = await user.call("GET", "/v1/portal/statement/pdf");
    expect([pdf.headers["content-type"], pdf.raw.slice(0, 5)]).toEqual(["application/pdf", "%PDF-"]);
    const refused = await user.call("GET", "/v1/portal/statement?from=2026-04-02&to=2026-04-01");
    expect(refused.body).toMatchObject({ code: "invalid_query", fields: [{ field: "to" }] });
  });

  test("of what an introducer is owed names its leads by the ids that it was given, and nobody's sale", async () => {
    const introducer = await portal.partner({ type: "both", leadCost: { percent: 50 } });
    const buyer = await portal.partner();
    const user = await portal.user(introducer);
    const key = await portal.staff.call("POST", `/v1/campaigns/${buyer.campaignId}/intake-keys`, {
      ...{ name: "theirs", introducerId: introducer.id },
    });
    const { id, leadId } = await portal.sell({ ...buyer, intakeKey: key.text("intakeKey") });
    const answer = await user.call("GET", "/v1/portal/statement?account=owed");
    expect(answer.body).toMatchObject({
      closing: 625,
      entries: [{ kind: "cost", leadId, campaign: null, reference: null }],
    });
    expect(answer.raw).not.toContain(id);
    expect((await user.call("GET", "/v1/portal/funds")).body).toMatchObject({
      owed: [{ currency: "GBP", amount: 625 }],
    });
  });
});

describe("an invoice", () => {
  test("is listed, shown with its lines and given as a PDF, without who of staff issued it", async () => {
    const partner = await portal.partner();
    const user = await portal.user(partner);
    await portal.sell(partner);
    const today = portal.now().toISOString().slice(0, 10);
    const issued = await portal.staff.call("POST", `/v1/partners/${partner.id}/invoices`, { from: today, to: today });
    const id = issued.text("id");
    await portal.staff.call("POST", `/v1/invoices/${id}/payments`, { amount: 100, note: "A staff note" });
    const list = await user.call("GET", "/v1/portal/invoices?state=partly_paid");
    expect(list.body).toMatchObject({ data: [{ id, net: 1_250, paid: 100, state: "partly_paid" }], nextCursor: null });
    const one = await user.call("GET", `/v1/portal/invoices/${id}`);
    expect(one.body).toMatchObject({
      id,
      lines: [{ campaign: `Campaign of ${partner.name}`, count: 1, amount: 1_250 }],
    });
    for (const { raw } of [list, one]) expect(raw).not.toMatch(/API key|createdBy|A staff note/);
    const pdf = await user.call("GET", `/v1/portal/invoices/${id}/pdf`);
    expect([pdf.headers["content-type"], pdf.raw.slice(0, 5)]).toEqual(["application/pdf", "%PDF-"]);
    const staff = await portal.staff.call("GET", `/v1/invoices/${id}/pdf`);
    expect(pdf.raw).toBe(staff.raw);
  });
});

describe("a payment through PayPal", () => {
  test("that is not set up is refused without a word about how it would be", async () => {
    const user = await portal.user(await portal.partner());
    const refused = await user.call("POST", "/v1/portal/top-ups", { amount: 5_000 });
    expect(refused.body).toMatchObject({ status: 409, code: "payments_not_set_up", detail: "Ask us how to pay." });
  });

  test("is begun once by its key, approved at PayPal, and shown until it is credited", async () => {
    await portal.staff.call("PUT", "/v1/paypal-account", accountDocument);
    const partner = await portal.partner({ creditLimit: 0 });
    const user = await portal.user(partner);
    const begin = async (amount: number, key: string) =>
      user.call("POST", "/v1/portal/top-ups", { amount }, { headers: { "idempotency-key": key } });
    const begun = await begin(5_000, "one");
    expect(begun.status).toBe(201);
    expect(begun.body).toMatchObject({
      amount: 5_000,
      currency: "GBP",
      state: "open",
      approvalUrl: expect.stringContaining("http"),
      refunded: 0,
    });
    const id = begun.text("id");
    expect((await begin(5_000, "one")).text("id")).toBe(id);
    expect((await begin(6_000, "one")).body).toMatchObject({ code: "idempotency_conflict" });
    expect((await begin(1, "two")).body).toMatchObject({
      status: 422,
      fields: [{ field: "amount", code: "too_small" }],
    });
    expect((await user.call("GET", "/v1/portal/top-ups?state=open")).body).toMatchObject({ data: [{ id }] });
    expect(Object((await portal.staff.call("GET", `/v1/top-ups/${id}`)).body)).toMatchObject({
      requestedBy: expect.stringContaining(partner.name),
    });
    expect((await user.call("GET", `/v1/portal/top-ups/${id}`)).raw).not.toMatch(/orderId|captureId|error|nextLook/);
  });
});
