import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { call } from "../helpers/api.ts";
import { openPaymentBench, type PaymentBench } from "../helpers/payments.ts";

/**
 * `npm run hostile` spelled the public addresses of payments in other ways (capitals, percent signs, the spare bits of
 * base64): each spelling had a limit of its own, so that one stranger could have us ask PayPal as often as they liked.
 */

let bench: PaymentBench;
beforeAll(async () => {
  bench = await openPaymentBench();
});
afterAll(async () => bench.close());

const spellings = (id: string) => [id, id.toUpperCase(), id.replaceAll("-", "%2d"), id.replaceAll("-", "%2D")];

test("all spellings of one account's webhook address share one limit", async () => {
  // No account's, which is refused at once: all of them have to come within one minute.
  const addresses = spellings("no-account-of-anybody");
  const statuses: number[] = [];
  while (statuses.length < 320) {
    const sent = addresses.map(async (id) => call(bench.server.api, null, "POST", `/v1/paypal-webhooks/${id}`, {}));
    statuses.push(...(await Promise.all(sent)).map(({ status }) => status));
  }
  expect(statuses.filter((status) => status === 429)).toHaveLength(20);
});

test("a return address is good in the one spelling that it was made in", async () => {
  const { returnPath } = await bench.topUp(await bench.partner());
  const statusOf = async (path: string) => (await call(bench.server.api, null, "GET", path)).status;
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const statuses = await Promise.all([...alphabet].map(async (last) => statusOf(returnPath.slice(0, -1) + last)));
  expect(statuses.filter((status) => status === 200)).toHaveLength(1);
  expect(await statusOf(returnPath)).toBe(200);
});
