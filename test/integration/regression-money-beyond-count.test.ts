import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addPartner } from "../helpers/api-documents.ts";

/**
 * `npm run hostile` entered two payments of 9,007,199,254,740,991 for one partner. Each was taken, and their sum was beyond
 * what a number counts exactly: from then on every answer that showed the partner was a 500, the list of all partners with
 * it, and no lead of a campaign with that partner could be decided any more. So amounts have a largest value, and a payment
 * that would take an account beyond what can be counted is refused.
 */
describe("amounts so large that their sum cannot be counted", () => {
  let server: TestApi;
  let client: TestClient;
  let id: string;

  beforeAll(async () => {
    server = await createTestApi();
    client = await server.createClient();
    id = await addPartner(client);
  });
  afterAll(async () => server.close());

  const pay = async (amount: number, kind = "payment") =>
    client.call("POST", `/v1/partners/${id}/payments`, { amount, kind, reason: "too much" });

  test.each([
    ["payment", Number.MAX_SAFE_INTEGER],
    ["adjustment", -Number.MAX_SAFE_INTEGER],
    ["payment", 1_000_000_000_001],
  ])("are refused as a %s of %d", async (kind, amount) => {
    const answer = await pay(amount, kind);
    expect([answer.status, answer.value("fields.0.field")]).toEqual([422, "amount"]);
  });

  test.each(["leadValue", "creditLimit"])("are refused as a partner's %s", async (field) => {
    const answer = await client.call("PATCH", `/v1/partners/${id}`, { [field]: Number.MAX_SAFE_INTEGER });
    expect([answer.status, answer.value("fields.0.field")]).toEqual([422, field]);
  });

  test("are refused as the payment that would take an account too far, and the partner can still be read", async () => {
    await server.owner
      .updateTable("accounts")
      .set({ balanceMinor: -999_999_999_999_000 })
      .where("partnerId", "=", id)
      .where("kind", "=", "cash")
      .execute();
    expect((await pay(1_000)).status).toBe(201);
    const answer = await pay(1);
    expect([answer.status, answer.value("fields.0.code")]).toEqual([422, "too_large"]);
    for (const path of [`/v1/partners/${id}`, "/v1/partners", `/v1/partners/${id}/ledger`]) {
      expect((await client.call("GET", path)).status).toBe(200);
    }
  });
});
