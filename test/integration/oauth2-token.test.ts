import { afterEach, describe, expect, test } from "@jest/globals";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import type { Authentication, HttpRequest, Reply, SendContext } from "../../src/channels/contract.ts";
import { sendHttp } from "../../src/channels/send-http.ts";
import type { Handler, HttpLoopback, Loopback } from "../helpers/loopback.ts";
import { startHttp, startRaw } from "../helpers/loopback.ts";

// Real: the HTTP client, and two servers on loopback that play the partner and its token server. The clock is ours.

type OAuth2 = Extract<Authentication, { type: "oauth2" }>;

const open: Loopback[] = [];
let nowMs = Date.parse("2026-11-20T10:00:00Z");

afterEach(async () => {
  await closeOutbound();
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function start(handler: Handler): Promise<HttpLoopback> {
  const server = await startHttp(handler);
  open.push(server);
  return server;
}

/** A token server that numbers its tokens. */
function tokenServer(changes: Record<string, unknown> = {}): Promise<HttpLoopback> {
  let issued = 0;
  return start((_seen, response) => {
    issued += 1;
    const token = { access_token: `token-${issued}`, token_type: "Bearer", expires_in: 3600, ...changes };
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(token));
  });
}

const partner = () => start((_seen, response) => response.end("taken"));

function send(tokens: Loopback, to: Loopback, changes: Partial<OAuth2> = {}, timeoutMs = 5_000): Promise<Reply> {
  const authentication: OAuth2 = {
    type: "oauth2",
    tokenUrl: `${tokens.url}/token`,
    clientId: "client",
    clientSecret: "hush",
    credentialsIn: "header",
    ...changes,
  };
  const request: HttpRequest = {
    kind: "http",
    method: "POST",
    url: `${to.url}/leads`,
    headers: [],
    body: "lead",
    timeoutMs,
    followRedirects: false,
    secrets: [],
    authentication,
  };
  const context: SendContext = {
    allowHosts: [tokens.host, to.host],
    idempotencyKey: "delivery-1",
    now: () => new Date(nowMs),
    smtp: null,
  };
  return sendHttp(request, context);
}

const used = (server: HttpLoopback) => server.seen.map(({ headers }) => headers.authorization);

describe("an OAuth 2 token", () => {
  test("is asked for with the client's credentials in the header, form-encoded as the RFC says", async () => {
    const [tokens, to] = [await tokenServer(), await partner()];
    const changes = { clientId: "a b", clientSecret: "s:/%", scope: "leads write", audience: "https://api.test" };
    expect(await send(tokens, to, changes)).toMatchObject({ kind: "answer", status: 200 });
    const [seen] = tokens.seen;
    expect(seen).toMatchObject({ method: "POST", path: "/token" });
    expect(seen?.headers["content-type"]).toBe("application/x-www-form-urlencoded");
    expect(Buffer.from(String(seen?.headers.authorization).slice(6), "base64").toString()).toBe("a+b:s%3A%2F%25");
    expect(Object.fromEntries(new URLSearchParams(seen?.body))).toEqual({
      grant_type: "client_credentials",
      scope: "leads write",
      audience: "https://api.test",
    });
    expect(used(to)).toEqual(["Bearer token-1"]);
  });

  test("is asked for with the client's credentials in the body where the partner wants that", async () => {
    const [tokens, to] = [await tokenServer(), await partner()];
    await send(tokens, to, { credentialsIn: "body" });
    expect(tokens.seen[0]?.headers.authorization).toBeUndefined();
    const form = Object.fromEntries(new URLSearchParams(tokens.seen[0]?.body));
    expect(form).toEqual({ grant_type: "client_credentials", client_id: "client", client_secret: "hush" });
  });

  test("is fetched once, however many requests wait for it", async () => {
    const [tokens, to] = [await tokenServer(), await partner()];
    await Promise.all(Array.from({ length: 20 }, () => send(tokens, to)));
    await send(tokens, to);
    expect(tokens.seen).toHaveLength(1);
    expect(new Set(used(to))).toEqual(new Set(["Bearer token-1"]));
  });

  test("is fetched apart for another scope, audience, client or secret", async () => {
    const [tokens, to] = [await tokenServer(), await partner()];
    await send(tokens, to);
    await send(tokens, to, { scope: "x" });
    await send(tokens, to, { audience: "x" });
    await send(tokens, to, { clientId: "x" });
    await send(tokens, to, { clientSecret: "a guess" });
    expect(used(to)).toEqual([1, 2, 3, 4, 5].map((number) => `Bearer token-${number}`));
  });

  test.each([
    [3600, 3540],
    [100, 90],
    ["3600", 3540],
    [undefined, 270],
    [-1, 270],
    ["soon", 270],
  ])("that lives %p seconds is renewed after %d", async (lifeSeconds, renewedAfterSeconds) => {
    const [tokens, to] = [await tokenServer({ expires_in: lifeSeconds }), await partner()];
    await send(tokens, to);
    nowMs += renewedAfterSeconds * 1000 - 1;
    await send(tokens, to);
    nowMs += 1;
    await send(tokens, to);
    expect(used(to)).toEqual(["Bearer token-1", "Bearer token-1", "Bearer token-2"]);
  });

  test("that the partner does not take is fetched again, once", async () => {
    const tokens = await tokenServer();
    const to = await start((seen, response) => {
      response.writeHead(seen.headers.authorization === "Bearer token-2" ? 200 : 401).end();
    });
    expect(await send(tokens, to)).toMatchObject({ status: 200 });
    expect(used(to)).toEqual(["Bearer token-1", "Bearer token-2"]);
    expect(to.seen.map(({ body }) => body)).toEqual(["lead", "lead"]);
    await send(tokens, to);
    expect(tokens.seen).toHaveLength(2);
  });

  test("that the partner never takes ends in its 401", async () => {
    const tokens = await tokenServer();
    const to = await start((_seen, response) => response.writeHead(401).end("no"));
    expect(await send(tokens, to)).toMatchObject({ kind: "answer", status: 401, body: "no" });
    expect(used(to)).toEqual(["Bearer token-1", "Bearer token-2"]);
  });
});

describe("a token server", () => {
  const refusing = (status: number, body: string) => start((_seen, response) => response.writeHead(status).end(body));

  test.each([
    [
      "refuses",
      401,
      '{"error":"invalid_client","error_description":"hush is wrong"}',
      "authentication",
      /401 \(invalid_client\)/,
    ],
    ["refuses without a reason we know", 400, '{"error":"hush"}', "authentication", /answered 400\./],
    ["answers with a page", 200, "<html>hush</html>", "authentication", /no bearer token/],
    [
      "answers with another kind of token",
      200,
      '{"access_token":"t","token_type":"mac"}',
      "authentication",
      /no bearer token/,
    ],
    [
      "answers with a token that breaks the header",
      200,
      '{"access_token":"a\\r\\nb: c"}',
      "authentication",
      /no bearer token/,
    ],
    ["answers with a token that is no text", 200, '{"access_token":{"a":1}}', "authentication", /no bearer token/],
    ["redirects", 302, "", "authentication", /answered 302/],
    ["is out of order", 503, "", "connect", /out of order/],
    ["is too busy", 429, "", "connect", /out of order/],
  ])("that %s fails the request before it is sent", async (_what, status, body, code, detail) => {
    const [tokens, to] = [await refusing(status, body), await partner()];
    const reply = await send(tokens, to);
    expect(reply).toMatchObject({ kind: "failure", code, arrived: "no", detail: expect.stringMatching(detail) });
    expect(JSON.stringify(reply)).not.toContain("hush");
    expect(to.seen).toHaveLength(0);
  });

  test("that failed is asked again by the next request", async () => {
    let failed = false;
    const tokens = await start((_seen, response) => {
      if (failed) response.end('{"access_token":"t"}');
      else response.writeHead(500).end();
      failed = true;
    });
    const to = await partner();
    expect(await send(tokens, to)).toMatchObject({ kind: "failure" });
    expect(await send(tokens, to)).toMatchObject({ kind: "answer", status: 200 });
  });

  test("that hangs up fails the request with reset, which did not arrive", async () => {
    const tokens = await startRaw((socket) => void socket.once("data", () => socket.destroy()));
    open.push(tokens);
    const reply = await send(tokens, await partner());
    expect(reply).toMatchObject({ kind: "failure", code: "reset", arrived: "no" });
  });

  test("that hangs keeps nobody waiting longer than the request's own time limit", async () => {
    const tokens = await startRaw((socket) => socket.resume());
    open.push(tokens);
    const reply = await send(tokens, await partner(), {}, 100);
    expect(reply).toMatchObject({ kind: "failure", code: "timeout", arrived: "no" });
    expect(reply.durationMs).toBeLessThan(2_000);
  });

  test.each(["http://169.254.169.254/token", "http://localhost:1/token", "file:///token", "nonsense"])(
    "at %s is refused",
    async (tokenUrl) => {
      const to = await partner();
      const reply = await send(to, to, { tokenUrl });
      expect(reply).toMatchObject({ kind: "failure", code: "refused_address", arrived: "no" });
      expect(to.seen).toHaveLength(0);
    },
  );
});
