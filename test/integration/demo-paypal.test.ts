import { createServer } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { demoPayPalAccount, type PayPalCatcher, startPayPalCatcher } from "../../demo/paypal-catcher.ts";
import { until } from "../helpers/until.ts";

/** Whether the PayPal of the demo and the tests is as strict as PayPal: a payment that passes there has to be a right one. */

let payPal: PayPalCatcher;
let token: string;
beforeAll(async () => {
  payPal = await startPayPalCatcher("127.0.0.1", 0);
  ({ access_token: token } = await askToken(demoPayPalAccount.clientSecret));
});
afterAll(async () => payPal.stop());

async function askToken(secret: string) {
  const credentials = Buffer.from(`${demoPayPalAccount.clientId}:${secret}`).toString("base64");
  const answer = await fetch(`${payPal.url}/v1/oauth2/token`, {
    method: "POST",
    headers: { authorization: `Basic ${credentials}` },
    body: new URLSearchParams({ grant_type: "client_credentials" }),
  });
  return Object(await answer.json()) as { access_token: string; error?: string };
}

async function post(path: string, body: object | string, requestId?: string) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const answer = await fetch(payPal.url + path, {
    method: "POST",
    headers: requestId === undefined ? headers : { ...headers, "paypal-request-id": requestId },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  const document = Object(await answer.json());
  return { status: answer.status, id: String(document.id), issue: document.details?.[0]?.issue, document };
}

const orderOf = (value: string, currency = "GBP") => ({
  intent: "CAPTURE",
  purchase_units: [{ amount: { currency_code: currency, value }, custom_id: "ours", description: "Account" }],
  payment_source: {
    paypal: { experience_context: { return_url: "https://leads.test/back", cancel_url: "https://leads.test/away" } },
  },
});

const orders = "/v2/checkout/orders";

describe("the demo's PayPal", () => {
  test("lets nobody in with another secret or token", async () => {
    expect((await askToken("guess")).error).toBe("invalid_client");
    const answer = await fetch(`${payPal.url}${orders}/X`, { headers: { authorization: "Bearer guess" } });
    expect(answer.status).toBe(401);
  });

  test.each([
    ["10.50", "JPY", 422, "DECIMALS_NOT_SUPPORTED"],
    ["10.50", "HUF", 422, "DECIMALS_NOT_SUPPORTED"],
    ["10.505", "GBP", 422, "DECIMALS_NOT_SUPPORTED"],
    ["10.500", "KWD", 422, "CURRENCY_NOT_SUPPORTED"],
    ["0.00", "GBP", 422, "CANNOT_BE_ZERO_OR_NEGATIVE"],
    ["-1.00", "GBP", 400, "INVALID_PARAMETER_SYNTAX"],
  ])("refuses an order of %s %s", async (value, currency, status, issue) => {
    expect(await post(orders, orderOf(value, currency))).toMatchObject({ status, issue });
  });

  test("makes one order for one PayPal-Request-Id, and refuses other content under it", async () => {
    const first = await post(orders, orderOf("10.00"), "one");
    expect(first).toMatchObject({ status: 201, document: { status: "PAYER_ACTION_REQUIRED" } });
    expect(await post(orders, orderOf("10.00"), "one")).toMatchObject({ status: 200, id: first.id });
    expect(await post(orders, orderOf("11.00"), "one")).toMatchObject({ status: 422, issue: "DUPLICATE_REQUEST_ID" });
    expect((await post(orders, orderOf("10.00"))).id).not.toBe(first.id);
  });

  test("takes money once, after approval, and gives no more back than was paid", async () => {
    const { id } = await post(orders, orderOf("10.00"));
    const capture = async () => post(`${orders}/${id}/capture`, {});
    expect(await capture()).toMatchObject({ status: 422, issue: "ORDER_NOT_APPROVED" });
    payPal.approve(id);
    expect(await capture()).toMatchObject({ status: 201, document: { status: "COMPLETED" } });
    expect(await capture()).toMatchObject({ status: 422, issue: "ORDER_ALREADY_CAPTURED" });
    const [taken] = payPal.books.capturesOf(id);
    const refund = async (value: string, currency = "GBP") =>
      post(`/v2/payments/captures/${taken?.id}/refund`, { amount: { value, currency_code: currency } });
    expect(await refund("10.01")).toMatchObject({ status: 422, issue: "REFUND_AMOUNT_EXCEEDED" });
    expect(await refund("1.00", "EUR")).toMatchObject({ status: 422, issue: "REFUND_CAPTURE_CURRENCY_MISMATCH" });
    expect(await refund("4.00")).toMatchObject({ status: 201, document: { status: "COMPLETED" } });
    expect(await refund("6.01")).toMatchObject({ issue: "REFUND_AMOUNT_EXCEEDED" });
    expect(await refund("6.00")).toMatchObject({ status: 201 });
    expect(await refund("0.01")).toMatchObject({ issue: "CAPTURE_FULLY_REFUNDED" });
  });

  test("has a page on which a payer approves, and sends the payer back", async () => {
    const { id, document } = await post(orders, orderOf("10.00"));
    const { href } = document.links.find(({ rel }: { rel: string }) => rel === "payer-action");
    const page = await (await fetch(href)).text();
    expect(page).toContain("10.00 GBP");
    expect(page).toContain("Pay now");
    const choose = async (choice: string) =>
      fetch(href, { method: "POST", body: new URLSearchParams({ choice }), redirect: "manual" });
    expect((await choose("cancel")).headers.get("location")).toBe(`https://leads.test/away?token=${id}`);
    expect(payPal.books.orders.get(id)?.status).toBe("PAYER_ACTION_REQUIRED");
    const paid = await choose("at_once");
    expect(paid.status).toBe(303);
    expect(paid.headers.get("location")).toBe(`https://leads.test/back?token=${id}&PayerID=DEMOPAYER0001`);
    expect(payPal.books.orders.get(id)?.status).toBe("APPROVED");
  });

  test("sends webhooks again until they are taken, and confirms those that it sent, byte for byte", async () => {
    const received: { headers: Readonly<Record<string, unknown>>; body: string }[] = [];
    const server = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      received.push({ headers: request.headers, body });
      response.writeHead(received.length === 1 ? 503 : 204).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}/`;
    const { id: webhookId } = await post("/v1/notifications/webhooks", { url, event_types: [{ name: "*" }] });
    payPal.approve((await post(orders, orderOf("10.00"))).id);
    await until(() => received.length === 2);
    server.close();
    expect(received[1]?.body).toBe(received[0]?.body);
    const { headers = {}, body = "" } = received[1] ?? {};
    const verify = async (webhookEvent: string, id = webhookId) => {
      const about = {
        auth_algo: headers["paypal-auth-algo"],
        cert_url: headers["paypal-cert-url"],
        transmission_id: headers["paypal-transmission-id"],
        transmission_sig: headers["paypal-transmission-sig"],
        transmission_time: headers["paypal-transmission-time"],
        webhook_id: id,
      };
      const request = `${JSON.stringify(about).slice(0, -1)},"webhook_event":${webhookEvent}}`;
      return (await post("/v1/notifications/verify-webhook-signature", request)).document.verification_status;
    };
    expect(await verify(body)).toBe("SUCCESS");
    expect(await verify(body.replace("10.00", "10.01"))).toBe("FAILURE");
    expect(await verify(body.replace(":", ": "))).toBe("FAILURE");
    expect(await verify(body, "ANOTHERWEBHOOK")).toBe("FAILURE");
  });
});
