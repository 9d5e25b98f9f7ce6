import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { startMailCatcher } from "../../demo/mail-catcher.ts";
import { startWorkers } from "../../workers/start-workers.ts";
import { call } from "../helpers/api.ts";
import { accountDocument, limits, openPaymentBench, type PaymentBench } from "../helpers/payments.ts";
import { until } from "../helpers/until.ts";

/** Payments through PayPal, on a real PostgreSQL and over HTTP to a PayPal of ours that checks what it gets. */

let bench: PaymentBench;
beforeAll(async () => {
  bench = await openPaymentBench();
});
afterEach(() => {
  bench.payPal.misbehave(null);
  bench.payPal.holdRefunds(false);
  bench.payPal.webhooks.events.length = 0;
});
afterAll(async () => bench.close());

const problemsOf = async (topUpId: string) => {
  const listed = await bench.client.call("GET", "/v1/payment-problems?limit=200");
  const { data } = Object(listed.body) as { data: { kind: string; topUpId: string | null; what: string }[] };
  return data.filter((problem) => problem.topUpId === topUpId);
};

describe("a top-up", () => {
  test("is approved at PayPal, taken when the payer comes back, and credited", async () => {
    const partner = await bench.partner();
    const begun = await bench.client.call("POST", `/v1/partners/${partner}/top-ups`, { amount: 12_345 });
    expect(begun.status).toBe(201);
    expect(begun.body).toMatchObject({ state: "open", amount: 12_345, currency: "GBP", refunded: 0, captureId: null });
    const orderId = begun.text("orderId");
    expect(begun.text("approvalUrl")).toBe(`${bench.payPal.url}/checkoutnow?token=${orderId}`);
    const order = bench.payPal.books.orders.get(orderId);
    expect(order).toMatchObject({ amount: { currency_code: "GBP", value: "123.45" }, customId: begun.text("id") });
    const topUp = { id: begun.text("id"), orderId, returnPath: new URL(order?.returnUrl ?? "").pathname };
    expect((await bench.comeBack(topUp)).raw).toContain("Not paid yet");
    expect(await bench.books(partner)).toMatchObject({ balance: 0, transactions: {} });
    bench.payPal.approve(orderId);
    const page = await bench.comeBack(topUp);
    expect(page.status).toBe(200);
    expect(page.raw).toContain("Your payment of 123.45 GBP has arrived");
    expect((await bench.read(topUp.id)).body).toMatchObject({ state: "credited", approvalUrl: null });
    expect(await bench.books(partner)).toEqual({ balance: 12_345, cash: -12_345, transactions: { payment: 1 } });
  });

  test("with an Idempotency-Key is begun once, and with another amount refused", async () => {
    const partner = await bench.partner();
    const begin = async (amount: number) =>
      bench.client.call("POST", `/v1/partners/${partner}/top-ups`, { amount }, { headers: { "idempotency-key": "k" } });
    const all = await Promise.all(Array.from({ length: 8 }, async () => begin(5_000)));
    expect(new Set(all.map((one) => `${one.status} ${one.value("id")} ${one.value("orderId")}`)).size).toBe(1);
    expect(await begin(6_000)).toMatchObject({ status: 409, body: { code: "idempotency_conflict" } });
  });

  test.each([
    [999, "too_small", "must be from 10.00 to 10000.00 GBP"],
    [1_000_001, "too_large", "must be from 10.00 to 10000.00 GBP"],
    [0, "too_small", "must be above zero"],
    [-5, "too_small", "must be above zero"],
    [10.5, "invalid", "must be a whole number of minor units"],
  ])("of %d is refused: %s", async (amount, code, message) => {
    const partner = await bench.partner();
    const before = bench.payPal.books.orders.size;
    const answer = await bench.client.call("POST", `/v1/partners/${partner}/top-ups`, { amount });
    expect(answer.body).toMatchObject({ status: 422, code: "invalid_body", fields: [{ field: "amount" }] });
    expect(answer.text("fields.0.message")).toContain(message);
    if (amount > 0 && Number.isInteger(amount)) expect(answer.value("fields.0.code")).toBe(code);
    expect(bench.payPal.books.orders.size).toBe(before);
    expect((await bench.client.call("GET", `/v1/top-ups?partnerId=${partner}`)).body).toMatchObject({ data: [] });
  });

  test.each([
    ["JPY", 5_000, "5000"],
    ["HUF", 500_000, "5000"],
    ["EUR", 5_001, "50.01"],
  ])("in %s of %d is an order of %s, and credited in full", async (currency, amount, value) => {
    const partner = await bench.partner({ currency });
    const topUp = await bench.topUp(partner, amount);
    expect(bench.payPal.books.orders.get(topUp.orderId)?.amount).toEqual({ currency_code: currency, value });
    bench.payPal.approve(topUp.orderId);
    await bench.comeBack(topUp);
    expect((await bench.books(partner)).balance).toBe(amount);
  });

  test.each([
    ["HUF", 500_050, 422, "must be whole HUF: PayPal takes no decimals of it (5000.50)"],
    ["USD", 5_000, 409, "The partner's currency USD is not among the amounts of PUT /v1/paypal-account."],
    ["KWD", 5_000, 409, "The partner's currency KWD is none that PayPal takes."],
  ])("in %s of %d is refused", async (currency, amount, status, words) => {
    const partner = await bench.partner({ currency });
    const answer = await bench.client.call("POST", `/v1/partners/${partner}/top-ups`, { amount });
    expect(answer.status).toBe(status);
    expect(answer.raw).toContain(words);
  });

  test("keeps its partner's currency from changing", async () => {
    const partner = await bench.partner();
    await bench.topUp(partner);
    const answer = await bench.client.call("PATCH", `/v1/partners/${partner}`, { currency: "EUR" });
    expect(answer.body).toMatchObject({ status: 409, code: "currency_in_use" });
  });

  test("that PayPal does not take is told with PayPal's reason, and can be begun again under the same key", async () => {
    const partner = await bench.partner();
    const begin = async () =>
      bench.client.call(
        "POST",
        `/v1/partners/${partner}/top-ups`,
        { amount: 5_000 },
        { headers: { "idempotency-key": "again" } },
      );
    bench.payPal.misbehave(({ url }) => (url.pathname === "/v2/checkout/orders" ? { status: 503 } : undefined));
    expect((await begin()).body).toMatchObject({ status: 502, code: "payment_service_trouble" });
    // The order was made, and the answer lost.
    bench.payPal.misbehave(({ url }) => (url.pathname === "/v2/checkout/orders" ? { cutOff: true } : undefined));
    expect((await begin()).status).toBe(502);
    bench.payPal.misbehave(null);
    const orders = bench.payPal.books.orders.size;
    expect((await begin()).body).toMatchObject({ state: "open" });
    expect(bench.payPal.books.orders.size).toBe(orders);
  });

  test("whose order nobody was told of ends as failed, and one that is never paid as expired", async () => {
    const partner = await bench.partner();
    bench.payPal.misbehave(({ url }) => (url.pathname === "/v2/checkout/orders" ? { status: 500 } : undefined));
    await bench.client.call("POST", `/v1/partners/${partner}/top-ups`, { amount: 5_000 });
    bench.payPal.misbehave(null);
    const unpaid = await bench.topUp(partner);
    bench.later(11 * 60_000);
    await bench.poll();
    const list = await bench.client.call("GET", `/v1/top-ups?partnerId=${partner}`);
    expect(list.body).toMatchObject({
      data: [
        { id: unpaid.id, state: "open" },
        { state: "failed", nextLookAt: null },
      ],
    });
    bench.payPal.books.orders.delete(unpaid.orderId);
    bench.later(6 * 3_600_000);
    await bench.poll();
    expect((await bench.read(unpaid.id)).body).toMatchObject({ state: "expired", nextLookAt: null });
  });
});

describe("credited once, whoever comes first", () => {
  const ways = {
    return: async (topUp: Parameters<PaymentBench["comeBack"]>[0]) => void (await bench.comeBack(topUp)),
    webhook: async () => void (await bench.sendWebhooks()),
    poll: async () => {
      await bench.makeDue();
      await bench.poll();
    },
  };
  type Way = keyof typeof ways;
  const orders: Way[][] = [
    ["return", "webhook", "poll"],
    ["return", "poll", "webhook"],
    ["webhook", "return", "poll"],
    ["webhook", "poll", "return"],
    ["poll", "return", "webhook"],
    ["poll", "webhook", "return"],
  ];

  test.each(orders)("%s, %s, %s, and all of it again", async (...order) => {
    const partner = await bench.partner();
    const topUp = await bench.topUp(partner);
    bench.payPal.approve(topUp.orderId);
    for (const [index, way] of [...order, ...order].entries()) {
      await ways[way](topUp);
      if (index === 0) expect((await bench.books(partner)).balance).toBe(5_000);
    }
    expect(await bench.books(partner)).toEqual({ balance: 5_000, cash: -5_000, transactions: { payment: 1 } });
    expect(bench.payPal.books.capturesOf(topUp.orderId).length).toBe(1);
  });

  test("by sixteen at once: browsers, webhooks, polls and staff", async () => {
    const partner = await bench.partner();
    const topUps = [await bench.topUp(partner), await bench.topUp(partner, 7_000)];
    for (const { orderId } of topUps) bench.payPal.approve(orderId);
    await bench.makeDue();
    const requestIds = new Set<unknown>();
    bench.payPal.misbehave(({ url, headers }) => {
      if (url.pathname.endsWith("/capture")) requestIds.add(headers["paypal-request-id"]);
      return undefined;
    });
    const clients = Array.from({ length: 16 }, async (_, index) => {
      const topUp = topUps[index % 2];
      if (topUp === undefined) throw new Error("There are two.");
      if (index % 8 < 2) await bench.comeBack(topUp);
      else if (index % 8 < 4) await bench.sendWebhooks();
      else if (index % 8 < 6) await bench.poll();
      else await bench.client.call("POST", `/v1/top-ups/${topUp.id}/capture`);
    });
    await Promise.all(clients);
    expect(await bench.books(partner)).toEqual({ balance: 12_000, cash: -12_000, transactions: { payment: 2 } });
    // One for each payment: PayPal itself takes the money once, however many ask at the same time.
    expect(requestIds.size).toBe(2);
  });

  test("after a crash between taking the money and booking it", async () => {
    const partner = await bench.partner();
    const topUp = await bench.topUp(partner);
    bench.payPal.approve(topUp.orderId);
    // PayPal takes the money; its answer never comes, and neither does that to the question what became of it.
    let isTaken = false;
    bench.payPal.misbehave(({ url }) => {
      if (url.pathname.endsWith("/capture")) isTaken = true;
      return isTaken ? { cutOff: true } : undefined;
    });
    expect((await bench.comeBack(topUp)).raw).toContain("Not paid yet");
    expect(bench.payPal.books.capturesOf(topUp.orderId).length).toBe(1);
    expect((await bench.books(partner)).balance).toBe(0);
    expect((await bench.read(topUp.id)).text("error")).toContain("PayPal");
    bench.payPal.misbehave(null);
    bench.later(60_000);
    await bench.poll();
    expect((await bench.read(topUp.id)).body).toMatchObject({ state: "credited", error: null });
    expect(await bench.books(partner)).toMatchObject({ balance: 5_000, transactions: { payment: 1 } });
  });

  test("when our own transaction is lost after PayPal took the money", async () => {
    const partner = await bench.partner();
    const topUp = await bench.topUp(partner);
    bench.payPal.approve(topUp.orderId);
    await sql`create function lose() returns trigger language plpgsql as $$ begin raise exception 'lost'; end $$`.execute(
      bench.server.owner,
    );
    await sql`create trigger lose before insert on payment_problems execute function lose()`.execute(
      bench.server.owner,
    );
    await sql`create trigger lose before insert on entries execute function lose()`.execute(bench.server.owner);
    expect((await bench.comeBack(topUp)).status).toBe(500);
    expect(await bench.books(partner)).toMatchObject({ balance: 0, transactions: {} });
    await sql`drop function lose() cascade`.execute(bench.server.owner);
    bench.later(60_000);
    await bench.poll();
    expect(await bench.books(partner)).toMatchObject({ balance: 5_000, transactions: { payment: 1 } });
  });
});

test("a worker finds by itself what nobody told it, and staff get a mail of what does not match", async () => {
  const mail = await startMailCatcher("127.0.0.1", 0);
  const smtp = { SMTP_HOST: "127.0.0.1", SMTP_PORT: String(mail.port) };
  const own = await openPaymentBench(smtp);
  try {
    await own.client.call("PATCH", "/v1/organisation", { staffEmail: "staff@example.com" });
    const partner = await own.partner({ name: "Fern & Sons" });
    const [good, bad] = [await own.topUp(partner), await own.topUp(partner, 6_000)];
    const order = own.payPal.books.orders.get(bad.orderId);
    if (order !== undefined) order.amount = { currency_code: "GBP", value: "6.00" };
    for (const { orderId } of [good, bad]) own.payPal.approve(orderId);
    own.later(60_000);
    startWorkers(own.server.context);
    await until(async () => (await own.books(partner)).balance === 5_000 && mail.messages().length > 0);
    expect((await own.read(bad.id)).body).toMatchObject({ state: "refused" });
    const [received] = mail.messages();
    expect(received?.to).toEqual(["staff@example.com"]);
    expect(received?.message.subject).toBe("A payment of Fern & Sons needs to be looked at");
    expect(received?.message.text).toContain("The order at PayPal is for 6.00 GBP, and 60.00 GBP was asked for.");
  } finally {
    await own.close();
    await mail.stop();
  }
});

describe("what PayPal holds or declines", () => {
  test("a capture under review is credited when the review ends well, and not before", async () => {
    const partner = await bench.partner();
    const topUp = await bench.topUp(partner);
    bench.payPal.approve(topUp.orderId, "for_review");
    expect((await bench.comeBack(topUp)).raw).toContain("PayPal is still checking your payment");
    expect((await bench.read(topUp.id)).body).toMatchObject({ state: "pending" });
    expect((await bench.books(partner)).balance).toBe(0);
    const captureId = (await bench.read(topUp.id)).text("captureId");
    bench.payPal.endReview(captureId, "COMPLETED");
    // The event of the review's beginning comes last.
    const { events } = bench.payPal.webhooks;
    for (const type of ["PAYMENT.CAPTURE.COMPLETED", "CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.PENDING"]) {
      expect((await bench.sendWebhook(events.findIndex((event) => event.type === type))).status).toBe(204);
    }
    expect((await bench.read(topUp.id)).body).toMatchObject({ state: "credited" });
    expect(await bench.books(partner)).toMatchObject({ balance: 5_000, transactions: { payment: 1 } });
  });

  test("a capture that is declined after review is not credited", async () => {
    const partner = await bench.partner();
    const topUp = await bench.topUp(partner);
    bench.payPal.approve(topUp.orderId, "for_review");
    await bench.comeBack(topUp);
    bench.payPal.endReview((await bench.read(topUp.id)).text("captureId"), "DECLINED");
    bench.later(60_000);
    await bench.poll();
    expect((await bench.read(topUp.id)).body).toMatchObject({ state: "declined", nextLookAt: null });
    expect((await bench.books(partner)).balance).toBe(0);
  });

  test("a card that is refused leaves the payment open: the payer approves again with another", async () => {
    const partner = await bench.partner();
    const topUp = await bench.topUp(partner);
    bench.payPal.approve(topUp.orderId, "refused");
    await bench.comeBack(topUp);
    const open = await bench.read(topUp.id);
    expect(open.body).toMatchObject({ state: "open", approvalUrl: expect.stringContaining(topUp.orderId) });
    expect(open.text("error")).toContain("INSTRUMENT_DECLINED");
    bench.payPal.approve(topUp.orderId);
    await bench.comeBack(topUp);
    expect((await bench.read(topUp.id)).body).toMatchObject({ state: "credited", error: null });
  });
});

describe("an amount or a currency that does not match", () => {
  test.each([
    ["amount_mismatch", { currency_code: "GBP", value: "49.99" }, "49.99 GBP"],
    ["currency_mismatch", { currency_code: "EUR", value: "50.00" }, "50.00 EUR"],
  ])("before it is taken (%s): it is not taken", async (kind, amount, words) => {
    const partner = await bench.partner();
    const topUp = await bench.topUp(partner);
    const order = bench.payPal.books.orders.get(topUp.orderId);
    if (order !== undefined) order.amount = amount;
    bench.payPal.approve(topUp.orderId);
    expect((await bench.comeBack(topUp)).raw).toContain("being looked at");
    expect(bench.payPal.books.capturesOf(topUp.orderId)).toEqual([]);
    expect((await bench.read(topUp.id)).body).toMatchObject({ state: "refused", nextLookAt: null });
    expect(await problemsOf(topUp.id)).toMatchObject([
      { kind, partnerId: partner, what: expect.stringContaining(words) },
    ]);
    expect((await bench.books(partner)).balance).toBe(0);
  });

  test.each([
    ["amount_mismatch", { currency_code: "GBP", value: "50.01" }],
    ["amount_mismatch", { currency_code: "GBP", value: "50.001" }],
    ["currency_mismatch", { currency_code: "USD", value: "50.00" }],
  ])(
    "after it was taken (%s): it is not credited, staff are told once, and a refund takes nothing",
    async (kind, amount) => {
      await bench.client.call("PATCH", "/v1/organisation", { staffEmail: "staff@example.com" });
      const partner = await bench.partner();
      const topUp = await bench.topUp(partner);
      bench.payPal.approve(topUp.orderId, "for_review");
      await bench.comeBack(topUp);
      const captureId = (await bench.read(topUp.id)).text("captureId");
      const capture = bench.payPal.books.captures.get(captureId);
      if (capture !== undefined) capture.amount = amount;
      bench.payPal.endReview(captureId, "COMPLETED");
      for (let round = 0; round < 3; round += 1) await bench.sendWebhooks();
      expect((await bench.read(topUp.id)).body).toMatchObject({ state: "refused", captureId });
      expect(await bench.books(partner)).toEqual({ balance: 0, cash: 0, transactions: {} });
      const [problem, ...others] = await problemsOf(topUp.id);
      expect(problem).toMatchObject({ kind, what: expect.stringContaining("50.00 GBP was asked for") });
      expect(others).toEqual([]);
      const alerts = await bench.client.call("GET", `/v1/alerts?kind=payment_problem&partnerId=${partner}`);
      expect(alerts.body).toMatchObject({ data: [{ recipient: "staff@example.com", channel: "email" }] });
      bench.payPal.refundAtPayPal(captureId, "10.00");
      await bench.sendWebhooks();
      expect((await bench.books(partner)).balance).toBe(0);
    },
  );

  test("is dealt with by staff, who say so", async () => {
    const [problem] = Object((await bench.client.call("GET", "/v1/payment-problems?resolved=false")).body).data;
    const resolve = async (note: string) =>
      bench.client.call("POST", `/v1/payment-problems/${problem.id}/resolve`, { note });
    expect((await resolve("Refunded at PayPal")).status).toBe(204);
    expect((await resolve("Another note")).status).toBe(204);
    const resolved = await bench.client.call("GET", "/v1/payment-problems?resolved=true");
    expect(resolved.body).toMatchObject({
      data: [{ id: problem.id, note: "Refunded at PayPal", resolvedBy: "API key test" }],
    });
    expect((await bench.client.call("GET", "/v1/payment-problems?resolved=false")).raw).not.toContain(problem.id);
  });
});

/** A partner with a payment of 50.00 on its account. */
async function paid(changes: Readonly<Record<string, unknown>> = {}) {
  const partner = await bench.partner(changes);
  const topUp = await bench.topUp(partner);
  bench.payPal.approve(topUp.orderId);
  await bench.comeBack(topUp);
  const captureId = (await bench.read(topUp.id)).text("captureId");
  const refund = async (body: object, key?: string) =>
    bench.client.call(
      "POST",
      `/v1/top-ups/${topUp.id}/refunds`,
      body,
      key === undefined ? {} : { headers: { "idempotency-key": key } },
    );
  return { partner, topUp, captureId, refund };
}

describe("money that goes back at PayPal", () => {
  test("is taken from the partner in parts, by webhook or by poll, each once", async () => {
    const { partner, topUp, captureId } = await paid();
    bench.payPal.refundAtPayPal(captureId, "10.00");
    bench.payPal.refundAtPayPal(captureId, "0.01");
    for (let round = 0; round < 2; round += 1) await bench.sendWebhooks();
    expect(await bench.books(partner)).toMatchObject({ balance: 3_999, transactions: { payment: 1, refund: 2 } });
    bench.payPal.refundAtPayPal(captureId, "39.99");
    bench.later(3_600_000);
    await bench.poll();
    expect((await bench.books(partner)).balance).toBe(0);
    await bench.sendWebhooks();
    expect(await bench.books(partner)).toEqual({ balance: 0, cash: 0, transactions: { payment: 1, refund: 3 } });
    expect((await bench.read(topUp.id)).body).toMatchObject({ state: "credited", refunded: 5_000 });
    expect(await problemsOf(topUp.id)).toEqual([]);
  });

  test("takes the balance below zero where it was spent, and what is available with it", async () => {
    const { partner, captureId } = await paid();
    const spent = { kind: "adjustment", amount: -4_000, reason: "Spent" };
    expect((await bench.client.call("POST", `/v1/partners/${partner}/payments`, spent)).status).toBe(201);
    bench.payPal.refundAtPayPal(captureId, "50.00");
    await bench.sendWebhooks();
    const { body } = await bench.client.call("GET", `/v1/partners/${partner}`);
    expect(body).toMatchObject({ funds: { balance: -4_000, available: -4_000 } });
  });

  test("after a dispute is taken too, and staff are told", async () => {
    const { partner, topUp, captureId } = await paid();
    bench.payPal.refundAtPayPal(captureId, "50.00", "REVERSED");
    for (let round = 0; round < 2; round += 1) await bench.sendWebhooks();
    expect((await bench.books(partner)).balance).toBe(0);
    expect((await bench.read(topUp.id)).body).toMatchObject({
      refunds: [{ origin: "paypal", reversal: true, taken: true }],
    });
    expect(await problemsOf(topUp.id)).toMatchObject([
      { kind: "reversed", what: expect.stringContaining("50.00 GBP") },
    ]);
  });

  test("is known of by its webhook even before the payment itself is", async () => {
    const partner = await bench.partner();
    const topUp = await bench.topUp(partner);
    bench.payPal.approve(topUp.orderId);
    // Somebody takes the money in our name and gives a part back, and we hear of the latter alone.
    const { books } = bench.payPal;
    const order = books.orders.get(topUp.orderId);
    if (order === undefined) throw new Error("There is no order.");
    order.status = "COMPLETED";
    bench.payPal.refundAtPayPal(books.addCapture(order, "COMPLETED").id, "20.00");
    const { events } = bench.payPal.webhooks;
    const refunded = events.findIndex(({ type }) => type === "PAYMENT.CAPTURE.REFUNDED");
    expect((await bench.sendWebhook(refunded)).status).toBe(204);
    expect(await bench.books(partner)).toMatchObject({ balance: 3_000, transactions: { payment: 1, refund: 1 } });
  });

  test("without saying how is shown to staff and not guessed", async () => {
    const { partner, topUp, captureId } = await paid();
    const capture = bench.payPal.books.captures.get(captureId);
    if (capture !== undefined) capture.status = "REFUNDED";
    bench.later(3_600_000);
    await bench.poll();
    expect((await bench.books(partner)).balance).toBe(5_000);
    expect(await problemsOf(topUp.id)).toMatchObject([{ kind: "refund_unlisted" }]);
  });
});

describe("a refund by staff", () => {
  test("goes to PayPal and is taken from the partner once, in parts and then the rest", async () => {
    const { partner, captureId, refund } = await paid();
    const [first, again] = [
      await refund({ amount: 2_000, reason: "Asked" }, "a"),
      await refund({ amount: 2_000, reason: "Asked" }, "a"),
    ];
    expect(first.body).toMatchObject({
      refunded: 2_000,
      refunds: [{ state: "completed", origin: "staff", reason: "Asked" }],
    });
    expect(again.body).toEqual(first.body);
    expect(await refund({ amount: 1, reason: "Asked" }, "a")).toMatchObject({
      status: 409,
      body: { code: "idempotency_conflict" },
    });
    await refund({ reason: "The rest" });
    await bench.sendWebhooks();
    expect(await bench.books(partner)).toEqual({ balance: 0, cash: 0, transactions: { payment: 1, refund: 2 } });
    expect(bench.payPal.books.captures.get(captureId)?.status).toBe("REFUNDED");
    expect(bench.payPal.books.refundsOf(captureId).map(({ amount }) => amount.value)).toEqual(["20.00", "30.00"]);
  });

  test("of more than was paid, or is left, is refused, and nothing changes", async () => {
    const { partner, captureId, refund } = await paid();
    const beyond = await refund({ amount: 5_001, reason: "Too much" });
    expect(beyond.body).toMatchObject({
      status: 409,
      code: "refund_beyond_payment",
      detail: "50.00 GBP is left of it.",
    });
    await refund({ amount: 4_000, reason: "Most" });
    expect((await refund({ amount: 1_001, reason: "Too much" })).body).toMatchObject({
      detail: "10.00 GBP is left of it.",
    });
    await refund({ reason: "The rest" });
    expect((await refund({ reason: "Nothing is left" })).body).toMatchObject({ code: "refund_beyond_payment" });
    expect((await refund({ amount: 0, reason: "Nothing" })).body).toMatchObject({ status: 422 });
    expect(bench.payPal.books.refundsOf(captureId).length).toBe(2);
    expect((await bench.books(partner)).balance).toBe(0);
  });

  test("of what the partner has spent is refused", async () => {
    const { partner, refund } = await paid({ creditLimit: 10_000 });
    await bench.client.call("POST", `/v1/partners/${partner}/payments`, {
      kind: "adjustment",
      amount: -1_000,
      reason: "Spent",
    });
    expect((await refund({ reason: "All" })).body).toMatchObject({
      status: 409,
      code: "insufficient_funds",
      detail: "4000 can be taken at most.",
    });
  });

  test("of what was not paid is refused", async () => {
    const topUp = await bench.topUp(await bench.partner());
    const answer = await bench.client.call("POST", `/v1/top-ups/${topUp.id}/refunds`, { reason: "Early" });
    expect(answer.body).toMatchObject({ status: 409, code: "top_up_state" });
  });

  test("whose answer is lost is made once, and taken once", async () => {
    const { partner, captureId, refund } = await paid();
    bench.payPal.misbehave(({ url }) => (url.pathname.endsWith("/refund") ? { cutOff: true } : undefined));
    expect((await refund({ amount: 2_000, reason: "Asked" })).body).toMatchObject({ refunded: 2_000 });
    bench.payPal.misbehave(null);
    await bench.sendWebhooks();
    bench.later(3_600_000);
    await bench.poll();
    await bench.sendWebhooks();
    expect(bench.payPal.books.refundsOf(captureId).length).toBe(1);
    expect(await bench.books(partner)).toEqual({
      balance: 3_000,
      cash: -3_000,
      transactions: { payment: 1, refund: 1 },
    });
  });

  test("that PayPal refuses, or does not do in the end, is put back", async () => {
    const { partner, topUp, captureId, refund } = await paid();
    bench.payPal.misbehave(({ url }) =>
      url.pathname.endsWith("/refund")
        ? { status: 422, body: '{"name":"UNPROCESSABLE_ENTITY","details":[{"issue":"TRANSACTION_REFUSED"}]}' }
        : undefined,
    );
    const refused = await refund({ amount: 2_000, reason: "Asked" });
    expect(refused.body).toMatchObject({ refunded: 0, refunds: [{ state: "failed", taken: false }] });
    expect(refused.text("error")).toContain("TRANSACTION_REFUSED");
    expect(await bench.books(partner)).toMatchObject({ balance: 5_000, transactions: { payment: 2, refund: 1 } });
    bench.payPal.misbehave(null);
    bench.payPal.holdRefunds(true);
    expect((await refund({ amount: 3_000, reason: "Again" })).body).toMatchObject({ refunded: 3_000 });
    expect((await bench.books(partner)).balance).toBe(2_000);
    const [held] = bench.payPal.books.refundsOf(captureId);
    bench.payPal.endRefund(held?.id ?? "", "FAILED");
    bench.later(3_600_000);
    await bench.poll();
    expect((await bench.books(partner)).balance).toBe(5_000);
    expect((await bench.read(topUp.id)).body).toMatchObject({ refunds: [{ state: "failed" }, { state: "failed" }] });
  });

  test("by sixteen at once never gives back more than was paid", async () => {
    const { partner, captureId, refund } = await paid();
    const answers = await Promise.all(Array.from({ length: 16 }, async () => refund({ amount: 900, reason: "Asked" })));
    expect(answers.filter(({ status }) => status === 201).length).toBe(5);
    expect(answers.filter(({ status }) => status === 409).length).toBe(11);
    await bench.makeDue();
    await bench.poll();
    expect((await bench.books(partner)).balance).toBe(500);
    expect(bench.payPal.books.refundsOf(captureId).length).toBe(5);
  });
});

describe("a webhook", () => {
  const send = async (headers: Readonly<Record<string, string>>, payload: string) =>
    call(bench.server.api, null, "POST", `/v1/paypal-webhooks/${bench.accountId}`, undefined, { headers, payload });

  async function event() {
    const partner = await bench.partner();
    const topUp = await bench.topUp(partner);
    bench.payPal.approve(topUp.orderId);
    const [happened] = bench.payPal.webhooks.events;
    if (happened === undefined) throw new Error("Nothing happened.");
    return { partner, topUp, signed: bench.payPal.webhooks.sign(bench.webhookId, happened) };
  }

  test("that PayPal did not sign is refused, changes nothing and is told to staff once a day", async () => {
    const { topUp, signed } = await event();
    const asked = bench.payPal.calls.length;
    const { "paypal-transmission-sig": _sig, ...unsigned } = signed.headers;
    const sig = Buffer.from("another signature").toString("base64");
    const forged = [
      await send(unsigned, signed.body),
      await send({ ...signed.headers, "paypal-transmission-sig": sig }, signed.body),
      await send({ ...signed.headers, "paypal-transmission-id": "another" }, signed.body),
      await send(
        { ...signed.headers, "paypal-cert-url": "https://stranger.example/cert.pem" },
        signed.body.replace("50.00", "5000.00"),
      ),
    ];
    for (const answer of forged) expect(answer.body).toMatchObject({ status: 403, code: "not_signed" });
    // Nobody was asked about the payment: the verification is all that went out.
    expect(bench.payPal.calls.slice(asked).filter((one) => !one.endsWith("verify-webhook-signature"))).toEqual([]);
    expect((await bench.read(topUp.id)).body).toMatchObject({ state: "open" });
    const problems = await bench.client.call("GET", "/v1/payment-problems?limit=200");
    const { data } = Object(problems.body) as { data: { kind: string; count: number }[] };
    expect(data.filter(({ kind }) => kind === "webhook_not_verified")).toMatchObject([{ count: 4 }]);
  });

  test("that cannot be read, is too long, or is for nobody is refused", async () => {
    const { signed } = await event();
    expect((await send(signed.headers, "{")).body).toMatchObject({ status: 400, code: "malformed_body" });
    expect((await send(signed.headers, '{"event_type":"X"}')).body).toMatchObject({ status: 400 });
    expect((await send(signed.headers, JSON.stringify("x".repeat(300_000)))).status).toBe(413);
    expect((await send({ ...signed.headers, "content-type": "text/plain" }, signed.body)).status).toBe(415);
    const nobody = "/v1/paypal-webhooks/01900000-0000-7000-8000-000000000000";
    const { headers, body: payload } = signed;
    expect((await call(bench.server.api, null, "POST", nobody, undefined, { headers, payload })).status).toBe(404);
  });

  test("of another kind, or about another seller's payment, is taken and means nothing", async () => {
    const { webhooks } = bench.payPal;
    for (const [type, resource] of [
      ["BILLING.PLAN.CREATED", { id: "P-1" }],
      ["PAYMENT.CAPTURE.COMPLETED", { id: "1AB" }],
      [
        "PAYMENT.CAPTURE.REFUNDED",
        {
          id: "1AB",
          status: "COMPLETED",
          amount: { currency_code: "GBP", value: "1.00" },
          links: [{ rel: "up", href: "https://api-m.paypal.com/v2/payments/captures/2CD" }],
        },
      ],
      ["CHECKOUT.ORDER.APPROVED", { id: "3EF" }],
    ] as const) {
      const { headers, body } = webhooks.sign(bench.webhookId, webhooks.emit(type, "x", resource));
      expect([type, (await send(headers, body)).status]).toEqual([type, 204]);
    }
  });

  test("that comes while PayPal cannot be asked is to be sent again", async () => {
    const { partner, signed } = await event();
    for (const path of ["/v1/notifications/verify-webhook-signature", "/v2/checkout/orders"]) {
      bench.payPal.misbehave(({ url }) => (url.pathname.startsWith(path) ? { status: 503 } : undefined));
      expect((await send(signed.headers, signed.body)).body).toMatchObject({
        status: 502,
        code: "payment_service_trouble",
      });
    }
    bench.payPal.misbehave(null);
    expect((await send(signed.headers, signed.body)).status).toBe(204);
    expect((await bench.books(partner)).balance).toBe(5_000);
  });
});

describe("the address that the payer comes back to", () => {
  test("cannot be guessed", async () => {
    const topUp = await bench.topUp(await bench.partner());
    const other = await bench.topUp(await bench.partner());
    const [, hash = ""] = topUp.returnPath.split(".");
    const paths = [topUp.id, `${topUp.id}.`, `${other.id}.${hash}`, `${topUp.id}.${"A".repeat(22)}`, "x"];
    for (const path of paths) {
      const answer = await call(bench.server.api, null, "GET", `/v1/top-ups/return/${path}`);
      expect([path, answer.status]).toEqual([path, 404]);
    }
  });
});

describe("the account at PayPal", () => {
  test("shows no secret, keeps one that is sent back masked, and records who changed what", async () => {
    const client = await bench.server.createClient();
    expect((await client.call("GET", "/v1/paypal-account")).status).toBe(404);
    const put = async (changes: object) => client.call("PUT", "/v1/paypal-account", { ...accountDocument, ...changes });
    const stored = await put({});
    expect(stored.body).toMatchObject({ clientSecret: "••••••", active: true, webhookId: null });
    expect(stored.text("webhookUrl")).toBe(`https://leads.example.com/v1/paypal-webhooks/${stored.text("id")}`);
    expect((await put({ clientSecret: "••••••", amounts: { GBP: limits } })).body).toMatchObject({
      id: stored.text("id"),
    });
    const { rows } = await sql<{
      text: string;
    }>`select (select string_agg(t::text, ' ') from paypal_accounts t) || (select string_agg(t::text, ' ') from changes t) as text`.execute(
      bench.server.owner,
    );
    expect(rows[0]?.text).not.toContain(accountDocument.clientSecret);
    const changes = await client.call("GET", `/v1/changes?objectId=${stored.text("id")}`);
    expect(changes.body).toMatchObject({
      data: [
        { objectKind: "paypal_account", after: { amounts: { GBP: limits } } },
        { before: null, after: { clientSecret: "••••••" } },
      ],
    });
    expect((await put({ clientId: "another", clientSecret: "••••••" })).body).toMatchObject({
      status: 422,
      fields: [{ field: "clientSecret" }],
    });
  });

  test.each([
    [{ KWD: limits }, "amounts.KWD", "KWD is no currency that PayPal takes"],
    [{ HUF: { minimum: 150, maximum: 1_000 } }, "amounts.HUF.minimum", "must be whole HUF"],
    [{ GBP: { minimum: 2_000, maximum: 1_000 } }, "amounts.GBP.maximum", "must not be below the minimum"],
    [{ GBP: { minimum: 0, maximum: 1_000 } }, "amounts.GBP.minimum", "must be above zero"],
    [{ GBP: { minimum: 0.5, maximum: 1_000 } }, "amounts.GBP.minimum", "must be a whole number"],
  ])("takes no amounts like %j", async (amounts, field, message) => {
    const answer = await bench.client.call("PUT", "/v1/paypal-account", { ...accountDocument, amounts });
    expect(answer.body).toMatchObject({ status: 422, fields: [{ field }] });
    expect(answer.text("fields.0.message")).toContain(message);
  });

  test("that is replaced goes on with what was paid through it; one that is switched off takes nothing new", async () => {
    const other = await openPaymentBench();
    try {
      const partner = await other.partner();
      const topUp = await other.topUp(partner);
      await other.client.call("PUT", "/v1/paypal-account", { ...accountDocument, clientId: "another", active: false });
      const refused = await other.client.call("POST", `/v1/partners/${partner}/top-ups`, { amount: 5_000 });
      expect(refused.body).toMatchObject({ status: 409, code: "payments_not_set_up" });
      other.payPal.approve(topUp.orderId);
      expect(await other.sendWebhooks()).toEqual([204]);
      expect((await other.books(partner)).balance).toBe(5_000);
    } finally {
      await other.close();
    }
  });

  test("with wrong credentials says so, and loses nothing", async () => {
    const client = await bench.server.createClient();
    await client.call("PUT", "/v1/paypal-account", { ...accountDocument, clientId: "wrong", clientSecret: "wrong" });
    const partner = (
      await client.call("POST", "/v1/partners", { name: "P", timeZone: "Europe/London", currency: "GBP" })
    ).text("id");
    const answer = await client.call("POST", `/v1/partners/${partner}/top-ups`, { amount: 5_000 });
    expect(answer.body).toMatchObject({ status: 502, code: "payment_service_trouble" });
    expect(answer.text("detail")).toContain("invalid_client");
  });
});
