import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign } from "../helpers/api-documents.ts";

/**
 * `npm run hostile` asked who would get a lead whose fields were nested 10,000 deep. What sorts the keys of a lead calls
 * itself for each level, and ran out of stack: a 500, with an error in the log. Documents that go deeper than any of ours
 * are refused before anything looks at them.
 */
describe("a document that is nested 10,000 deep", () => {
  let server: TestApi;
  let client: TestClient;
  let id: string;

  beforeAll(async () => {
    server = await createTestApi();
    client = await server.createClient();
    ({ id } = await addCampaign(client));
  });
  afterAll(async () => server.close());

  const deep = `${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}`;

  test.each([
    ["POST", "/v1/campaigns/:id/explain"],
    ["PATCH", "/v1/campaigns/:id"],
    ["POST", "/v1/partners"],
  ] as const)("is refused as the body of %s %s", async (method, path) => {
    const options = { payload: deep, headers: { "content-type": "application/json" } };
    const answer = await client.call(method, path.replace(":id", id), undefined, options);
    expect([answer.status, answer.value("fields.0.message")]).toEqual([422, "is nested deeper than 100 levels"]);
    expect(answer.value("fields.0.field")).toBe("a");
  });
});
