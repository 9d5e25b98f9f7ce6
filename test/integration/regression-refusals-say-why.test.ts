import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { call, createTestApi, type TestApi } from "../helpers/api.ts";

/**
 * `npm run hostile` asked for a path that leads out of the folder of the documentation. Nothing of it was read, and the
 * answer was a 500, with an error in the log for somebody to get up for. It also sent a report about an SMS without Twilio's
 * signature, and the refusal was empty. A refusal is a problem document that says why.
 */
describe("a refusal says why", () => {
  let server: TestApi;
  let port: number;

  beforeAll(async () => {
    server = await createTestApi();
    port = Number(new URL(await server.api.listen({ host: "127.0.0.1", port: 0 })).port);
  });
  afterAll(async () => server.close());

  test.each(["/docs/static/../../../etc/passwd", "/docs/static/../package.json", "/docs/static/.%2e/package.json"])(
    "when %s leads out of the documentation",
    async (path) => {
      // A client that tidies paths up would never send it.
      const socket = connect(port, "127.0.0.1");
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
      const answer = await text(socket);
      expect(answer).toMatch(/^HTTP\/1\.1 404 /);
      expect(answer).toContain("application/problem+json");
    },
  );

  test("when nobody signed a report about an SMS", async () => {
    const answer = await call(server.api, null, "POST", "/v1/alerts/sms-status", { MessageSid: "SM1" });
    expect([answer.status, answer.value("code")]).toEqual([403, "not_signed"]);
  });
});
