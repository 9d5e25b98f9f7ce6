import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addPartner } from "../helpers/api-documents.ts";

/** Statements, invoices, payouts and reports over HTTP: what is refused, and in which form files come. */

let server: TestApi;
let client: TestClient;
let partnerId: string;

beforeAll(async () => {
  server = await createTestApi({ clock: () => new Date("2026-04-01T08:00:00Z") });
  client = await server.createClient("Sellers");
  partnerId = await addPartner(client, { name: "Ирина", contact: {} });
  await client.call("POST", `/v1/partners/${partnerId}/payments`, { amount: 100, reason: "bank" });
});
afterAll(async () => server.close());

describe("a currency that does not exist, or a tax rate with too many decimals", () => {
  test.each([
    [{ currency: "ABC" }, "currency"],
    [{ currency: "XXX" }, "currency"],
    [{ taxPercent: 17.12345 }, "taxPercent"],
    [{ taxPercent: -1 }, "taxPercent"],
    [{ taxPercent: 101 }, "taxPercent"],
    [{ invoicePrefix: "a\nb" }, "invoicePrefix"],
  ])("%j is refused by its field", async (patch, field) => {
    const refused = await client.call("PATCH", "/v1/organisation", patch);
    expect([refused.status, refused.value("fields.0.field")]).toEqual([422, field]);
  });
});

describe("a statement", () => {
  test("comes as JSON, as CSV and as a PDF", async () => {
    const url = `/v1/partners/${partnerId}/statement`;
    expect((await client.call("GET", `${url}?from=2026-04-01&to=2026-04-30`)).body).toMatchObject({
      opening: 0,
      entries: [{ kind: "payment", amount: 100, balance: 100 }],
      closing: 100,
    });
    const csv = await client.call("GET", `${url}/csv`);
    expect([csv.status, csv.headers["content-type"]]).toEqual([200, "text/csv; charset=utf-8"]);
    expect(csv.headers["content-disposition"]).toBe('attachment; filename="statement-2026-04-01-2026-04-01.csv"');
    expect(csv.raw).toContain(",Payment,,,,bank,1.00,1.00,GBP,");
    const pdf = await client.call("GET", `${url}/pdf`);
    expect([pdf.headers["content-type"], pdf.raw.slice(0, 5)]).toEqual(["application/pdf", "%PDF-"]);
  });

  test.each([
    ["from=2026-04-02&to=2026-04-01", "to"],
    ["from=2026-02-30", "from"],
    ["from=1999-01-01", "from"],
    ["account=revenue", "account"],
    ["currency=ABC", "currency"],
  ])("with %s is refused", async (query, field) => {
    const refused = await client.call("GET", `/v1/partners/${partnerId}/statement?${query}`);
    expect([refused.status, refused.value("fields.0.field")]).toEqual([400, field]);
  });
});

describe("an invoice", () => {
  test("of nothing, of days to come, or sent to nobody is refused", async () => {
    const issue = async (from: string, to: string) =>
      client.call("POST", `/v1/partners/${partnerId}/invoices`, { from, to });
    expect((await issue("2026-03-01", "2026-03-31")).body).toMatchObject({ status: 409, code: "nothing_to_invoice" });
    expect((await issue("2026-04-01", "2026-04-02")).body).toMatchObject({ status: 422, fields: [{ field: "to" }] });
    expect((await issue("2026-03-31", "2026-03-01")).body).toMatchObject({ status: 422, fields: [{ field: "to" }] });
  });
});

describe("a payout", () => {
  test("of more than is owed, of nothing, or of a fraction is refused", async () => {
    const pay = async (amount: number) =>
      client.call("POST", `/v1/partners/${partnerId}/payouts`, { amount, reason: "bank" });
    for (const amount of [1, -1, 0, 1.5]) {
      expect((await pay(amount)).body).toMatchObject({ status: 422, fields: [{ field: "amount" }] });
    }
    expect((await client.call("GET", "/v1/owed")).body).toEqual({ data: [], nextCursor: null });
  });
});

test("a report of nothing is empty, and one whose days are the wrong way round is refused", async () => {
  expect((await client.call("GET", "/v1/reports/money")).body).toMatchObject({
    ...{ from: "2026-04-01", to: "2026-04-01", by: "day", time: "sold", rows: [], totals: [] },
  });
  const refused = await client.call("GET", "/v1/reports/money?from=2026-04-02&to=2026-04-01");
  expect([refused.status, refused.value("fields.0.field")]).toEqual([400, "to"]);
});
