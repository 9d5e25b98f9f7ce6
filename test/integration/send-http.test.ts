import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Writable } from "node:stream";
import type { TLSSocket } from "node:tls";
import { brotliCompressSync, constants, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { afterAll, afterEach, describe, expect, test } from "@jest/globals";
import iconv from "iconv-lite";
import type { Lookup } from "../../src/channels/address-guard.ts";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import type { HttpRequest, Reply, SendContext } from "../../src/channels/contract.ts";
import { sendHttp } from "../../src/channels/send-http.ts";
import { projectRoot } from "../../src/project-root.ts";
import type { Handler, HttpLoopback, Loopback } from "../helpers/loopback.ts";
import { makeCertificate, startHttp, startRaw } from "../helpers/loopback.ts";
import { startTypeScript } from "../helpers/process.ts";

// Everything is real here but the partners, which are servers on loopback with the manners each test gives them.

const open: Loopback[] = [];

async function partner(handler: Handler): Promise<HttpLoopback> {
  const server = await startHttp(handler);
  open.push(server);
  return server;
}

async function rawPartner(onConnection: (socket: Socket) => void): Promise<Loopback> {
  const server = await startRaw(onConnection);
  open.push(server);
  return server;
}

afterEach(async () => {
  await closeOutbound();
  await Promise.all(open.splice(0).map((server) => server.close()));
});

afterAll(closeOutbound);

function request(url: string, changes: Partial<HttpRequest> = {}): HttpRequest {
  return {
    kind: "http",
    method: "POST",
    url,
    headers: [["content-type", "application/json"]],
    body: '{"name":"Zoë"}',
    timeoutMs: 5_000,
    followRedirects: false,
    secrets: [],
    authentication: { type: "none" },
    ...changes,
  };
}

function context(...servers: readonly Pick<Loopback, "host">[]): SendContext {
  return {
    allowHosts: servers.map(({ host }) => host),
    idempotencyKey: "delivery-1",
    now: () => new Date("2026-11-20T10:00:00Z"),
    smtp: null,
  };
}

function send(server: Loopback, changes: Partial<HttpRequest> = {}): Promise<Reply> {
  return sendHttp(request(`${server.url}/leads`, changes), context(server));
}

function answered(reply: Reply): Extract<Reply, { kind: "answer" }> {
  if (reply.kind !== "answer") throw new Error(`Expected an answer, got ${reply.code}: ${reply.detail}`);
  return reply;
}

/** Writes the same text over and over until the other side has had enough. */
function endlessly(stream: Writable, text: string): void {
  if (stream.destroyed) return;
  stream.write(text, () => setImmediate(() => endlessly(stream, text)));
}

describe("a request", () => {
  test("arrives as it was rendered, with our name, the idempotency key and the right length", async () => {
    const server = await partner((_seen, response) => response.writeHead(201, { "X-Lead": "7" }).end("taken"));
    const reply = await send(server);
    expect(reply).toEqual({
      kind: "answer",
      status: 201,
      headers: expect.objectContaining({ "x-lead": "7" }),
      body: "taken",
      truncated: false,
      unreadable: null,
      durationMs: expect.any(Number),
    });
    const [seen] = server.seen;
    const { version } = JSON.parse(readFileSync(join(projectRoot, "package.json"), "utf8"));
    expect(seen).toMatchObject({ method: "POST", path: "/leads", body: '{"name":"Zoë"}' });
    expect(seen?.headers).toMatchObject({
      host: server.host,
      "user-agent": `Handoff/${version}`,
      "idempotency-key": "delivery-1",
      "content-type": "application/json",
      "content-length": "15",
    });
  });

  test("may bring its own idempotency key and user agent", async () => {
    const server = await partner((_seen, response) => response.end());
    await send(server, {
      headers: [
        ["IDEMPOTENCY-KEY", "mine"],
        ["User-Agent", "Other/1"],
      ],
    });
    const names = server.seen[0]?.rawHeaders
      .filter((_value, index) => index % 2 === 0)
      .map((name) => name.toLowerCase());
    expect(names?.filter((name) => name === "idempotency-key")).toHaveLength(1);
    expect(server.seen[0]?.headers).toMatchObject({ "idempotency-key": "mine", "user-agent": "Other/1" });
  });

  test("leaves the connection's own headers to us", async () => {
    const server = await partner((_seen, response) => response.end());
    const headers: [string, string][] = [
      ["Host", "internal.example.com"],
      ["Content-Length", "3"],
      ["Transfer-Encoding", "chunked"],
      ["Connection", "close"],
      ["Expect", "100-continue"],
      ["X-Own", "kept"],
    ];
    expect(answered(await send(server, { headers })).status).toBe(200);
    expect(server.seen[0]?.headers).toMatchObject({ host: server.host, "content-length": "15", "x-own": "kept" });
    expect(server.seen[0]?.headers["transfer-encoding"]).toBeUndefined();
  });

  test("sends header text outside ASCII as UTF-8", async () => {
    const server = await partner((_seen, response) => response.end());
    await send(server, { headers: [["X-Name", "Łukasz"]] });
    expect(Buffer.from(String(server.seen[0]?.headers["x-name"]), "latin1").toString()).toBe("Łukasz");
  });

  test.each([
    ["a line break in a header value", [["X-Name", "a\r\nX-Evil: 1"]]],
    ["a lone line feed in a header value", [["X-Name", "a\nX-Evil: 1"]]],
    ["a NUL in a header value", [["X-Name", "a\0"]]],
    ["a header name with a space", [["X Name", "a"]]],
    ["a header name with a line break", [["X-Name\r\nX-Evil", "a"]]],
    ["an empty header name", [["", "a"]]],
  ] as const)("with %s is not sent", async (_what, headers) => {
    const server = await partner((_seen, response) => response.end());
    expect(await send(server, { headers })).toMatchObject({ kind: "failure", code: "protocol", arrived: "no" });
    expect(server.connections()).toBe(0);
  });

  test.each(["CONNECT", "TRACE", "PO ST", ""])("with the method %p is not sent", async (method) => {
    const server = await partner((_seen, response) => response.end());
    expect(await send(server, { method })).toMatchObject({ kind: "failure", code: "protocol", arrived: "no" });
    expect(server.connections()).toBe(0);
  });

  test("uses connections again", async () => {
    const server = await partner((_seen, response) => response.end("ok"));
    for (let count = 0; count < 20; count += 1) answered(await send(server));
    // A connection is free again a moment after its answer: two take turns.
    expect(server.connections()).toBeLessThanOrEqual(2);
  });

  test("goes on well after the connection was closed between two requests", async () => {
    const server = await partner((_seen, response) => response.end("ok"));
    for (let count = 0; count < 3; count += 1) answered(await send(server));
    const idle = await partner((_seen, response) => {
      response.end("ok");
      response.socket?.end();
    });
    for (let count = 0; count < 3; count += 1) {
      answered(await send(idle));
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
});

describe("a failure", () => {
  test("to find the host is dns and arrived nowhere", async () => {
    const lookup: Lookup = () => Promise.reject(new Error("ENOTFOUND"));
    const reply = await sendHttp(request("http://gone.example.com/"), { ...context(), lookup });
    expect(reply).toMatchObject({
      kind: "failure",
      code: "dns",
      arrived: "no",
      detail: expect.stringContaining("gone"),
    });
  });

  test("to connect is connect and arrived nowhere", async () => {
    const server = await partner((_seen, response) => response.end());
    await server.close();
    expect(await send(server)).toMatchObject({ kind: "failure", code: "connect", arrived: "no" });
  });

  test("to find the host in time is a timeout and arrived nowhere", async () => {
    const lookup: Lookup = () => new Promise(() => undefined);
    const reply = await sendHttp(request("http://slow.example.com/", { timeoutMs: 50 }), { ...context(), lookup });
    expect(reply).toMatchObject({ kind: "failure", code: "timeout", arrived: "no" });
  });

  test("to connect in time is final: the request does not leave later, when the connection is there", async () => {
    const server = await partner((_seen, response) => response.end());
    let found = () => {};
    const lookup: Lookup = async () => {
      await new Promise<void>((resolve) => {
        found = resolve;
      });
      return [{ address: "127.0.0.1", family: 4 }];
    };
    const slow = { ...context(), lookup, allowHosts: [`partner.test:${server.port}`] };
    const reply = await sendHttp(request(`http://partner.test:${server.port}/`, { timeoutMs: 50 }), slow);
    expect(reply).toMatchObject({ kind: "failure", code: "timeout", arrived: "no" });
    found();
    while (server.connections() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server.seen).toHaveLength(0);
  });

  test("to answer in time is a timeout and may have arrived", async () => {
    const server = await rawPartner((socket) => socket.resume());
    const reply = await send(server, { timeoutMs: 100 });
    expect(reply).toMatchObject({ kind: "failure", code: "timeout", arrived: "unknown" });
    expect(reply.durationMs).toBeGreaterThanOrEqual(95);
    expect(reply.durationMs).toBeLessThan(2_000);
  });

  test("to end a 2xx answer in time is a timeout and may have arrived", async () => {
    const server = await partner((_seen, response) => void response.writeHead(200).write("begun"));
    expect(await send(server, { timeoutMs: 200 })).toMatchObject({ code: "timeout", arrived: "unknown" });
  });

  test("to end an answer that is no 2xx in time is a timeout and did arrive", async () => {
    const server = await partner((_seen, response) => void response.writeHead(503).write("begun"));
    expect(await send(server, { timeoutMs: 200 })).toMatchObject({ code: "timeout", arrived: "yes" });
  });

  test("with no time left is a timeout and arrived nowhere", async () => {
    const server = await partner((_seen, response) => response.end());
    expect(await send(server, { timeoutMs: 0 })).toMatchObject({ code: "timeout", arrived: "no" });
    expect(server.connections()).toBe(0);
  });

  test("by a reset after sending is reset and may have arrived", async () => {
    const server = await rawPartner((socket) => void socket.once("data", () => socket.resetAndDestroy()));
    expect(await send(server)).toMatchObject({ kind: "failure", code: "reset", arrived: "unknown" });
  });

  test("by a closed connection without an answer is reset and may have arrived", async () => {
    const server = await rawPartner((socket) => void socket.once("data", () => socket.end()));
    expect(await send(server)).toMatchObject({ kind: "failure", code: "reset", arrived: "unknown" });
  });

  test("in the middle of the headers is reset and may have arrived", async () => {
    const server = await rawPartner((socket) => void socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nX-A: ")));
    expect(await send(server)).toMatchObject({ kind: "failure", code: "reset", arrived: "unknown" });
  });

  test.each([
    ["shorter than its Content-Length", "Content-Length: 100\r\n\r\nabc"],
    ["shorter than its Content-Length, closing", "Content-Length: 100\r\nConnection: close\r\n\r\nabc"],
    ["without its last chunk", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"],
    ["in the middle of a chunk", "Transfer-Encoding: chunked\r\n\r\nff\r\nabc"],
  ])("of a 2xx answer %s is cut_off and may have arrived", async (_what, rest) => {
    const server = await rawPartner(
      (socket) => void socket.once("data", () => socket.end(`HTTP/1.1 200 OK\r\n${rest}`)),
    );
    expect(await send(server)).toMatchObject({ kind: "failure", code: "cut_off", arrived: "unknown" });
  });

  test("of a refusing answer that is cut off did arrive", async () => {
    const answer = "HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nabc";
    const server = await rawPartner((socket) => void socket.once("data", () => socket.end(answer)));
    expect(await send(server)).toMatchObject({ kind: "failure", code: "cut_off", arrived: "yes" });
  });

  test.each([
    ["SSH", "SSH-2.0-OpenSSH_9.2\r\n"],
    ["a negative Content-Length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"],
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"],
    ["an answer to Upgrade", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
    ["100 without having been asked", "HTTP/1.1 100 Continue\r\n\r\n"],
  ])("to speak HTTP (%s) is protocol and may have arrived", async (_what, answer) => {
    const server = await rawPartner((socket) => void socket.once("data", () => socket.write(answer)));
    expect(await send(server)).toMatchObject({ kind: "failure", code: "protocol", arrived: "unknown" });
  });

  test("to end the headers is protocol, however many come", async () => {
    const server = await rawPartner((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\n");
        endlessly(socket, `X-More: ${"y".repeat(1000)}\r\n`);
      });
    });
    const reply = await send(server);
    expect(reply).toMatchObject({ kind: "failure", code: "protocol", arrived: "unknown" });
    expect(reply.durationMs).toBeLessThan(2_000);
  });

  test("to end one header line is protocol, however long it grows", async () => {
    const server = await rawPartner((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\nX-Long: ");
        endlessly(socket, "y".repeat(10_000));
      });
    });
    expect(await send(server)).toMatchObject({ kind: "failure", code: "protocol" });
  });

  test("of one partner to answer leaves others on the same machine their connections", async () => {
    const hung = await rawPartner((socket) => socket.resume());
    const well = await partner((_seen, response) => response.end("ok"));
    const stuck = Array.from({ length: 20 }, () => send(hung, { timeoutMs: 1_000 }));
    const startedMs = performance.now();
    for (let count = 0; count < 10; count += 1) answered(await send(well));
    expect(performance.now() - startedMs).toBeLessThan(900);
    for (const reply of await Promise.all(stuck)) expect(reply).toMatchObject({ code: "timeout", arrived: "unknown" });
  });
});

describe("a refused address", () => {
  test.each([
    "http://127.0.0.1:1/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "https://10.0.0.1/",
    "http://0/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "http://user:secret@example.com/",
    "not an address",
  ])("is %s", async (url) => {
    const reply = await sendHttp(request(url), context());
    expect(reply).toMatchObject({ kind: "failure", code: "refused_address", arrived: "no" });
    expect(JSON.stringify(reply)).not.toContain("secret");
  });

  test("is refused even when another port of that host is allowed", async () => {
    const server = await partner((_seen, response) => response.end());
    const reply = await sendHttp(request(server.url), { ...context(), allowHosts: ["127.0.0.1:1"] });
    expect(reply).toMatchObject({ code: "refused_address" });
    expect(server.connections()).toBe(0);
  });

  test("is refused behind a name too, on every request anew", async () => {
    const server = await partner((_seen, response) => response.end("inside"));
    const answers = [["127.0.0.1"], ["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"]];
    let lookups = 0;
    const lookup: Lookup = async () => {
      const addresses = answers[lookups++] ?? [];
      return addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
    };
    for (const _answer of answers) {
      const reply = await sendHttp(request(`http://rebind.example.com:${server.port}/`), { ...context(), lookup });
      expect(reply).toMatchObject({ kind: "failure", code: "refused_address", arrived: "no" });
    }
    expect(lookups).toBe(answers.length);
    expect(server.connections()).toBe(0);
  });

  test("cannot slip in between the check and the connection: a name is looked up once for both", async () => {
    const server = await partner((_seen, response) => response.end("the checked one"));
    let lookups = 0;
    const lookup: Lookup = async () => {
      lookups += 1;
      // A second look would lead to where nobody listens.
      return [{ address: lookups === 1 ? "127.0.0.1" : "127.0.0.9", family: 4 }];
    };
    const changing = { ...context(), lookup, allowHosts: [`partner.test:${server.port}`] };
    const reply = await sendHttp(request(`http://partner.test:${server.port}/`), changing);
    expect(answered(reply).body).toBe("the checked one");
    expect(lookups).toBe(1);
    expect(server.seen[0]?.headers.host).toBe(`partner.test:${server.port}`);
  });

  test("does not keep one of several addresses of a name from being tried after another", async () => {
    const server = await partner((_seen, response) => response.end("second"));
    const lookup: Lookup = async () => [
      { address: "127.0.0.9", family: 4 },
      { address: "127.0.0.1", family: 4 },
    ];
    const allowed = { ...context(), lookup, allowHosts: [`partner.test:${server.port}`] };
    const reply = await sendHttp(request(`http://partner.test:${server.port}/`), allowed);
    expect(answered(reply).body).toBe("second");
  });

  test("is not reached over a connection that somebody with another allow list or resolver opened", async () => {
    const server = await partner((_seen, response) => response.end("inside"));
    answered(await send(server));
    expect(await sendHttp(request(server.url), context())).toMatchObject({ code: "refused_address" });
    const to = (address: string) => ({
      ...context(),
      allowHosts: [`partner.test:${server.port}`],
      lookup: async () => [{ address, family: 4 as const }],
    });
    const url = `http://partner.test:${server.port}/`;
    answered(await sendHttp(request(url), to("127.0.0.1")));
    expect(await sendHttp(request(url), to("127.0.0.9"))).toMatchObject({ code: "connect" });
    expect(server.seen).toHaveLength(2);
  });
});

describe("a redirect", () => {
  async function redirecting(status: number, target: (own: string) => string): Promise<HttpLoopback> {
    const server = await partner((seen, response) => {
      if (seen.path === "/leads") response.writeHead(status, { location: target(server.url) }).end("moved");
      else response.end("arrived");
    });
    return server;
  }

  test("comes back as an answer where redirects are not followed", async () => {
    const server = await redirecting(307, () => "/new");
    expect(answered(await send(server))).toMatchObject({ status: 307, body: "moved" });
    expect(server.seen).toHaveLength(1);
  });

  test("without a location comes back as an answer", async () => {
    const server = await partner((_seen, response) => response.writeHead(302).end());
    expect(answered(await send(server, { followRedirects: true })).status).toBe(302);
  });

  test.each([301, 302, 307, 308])(
    "of status %d keeps method, body and, on the same host, credentials",
    async (status) => {
      const server = await redirecting(status, () => "/new");
      const authentication = { type: "basic", username: "u", password: "p" } as const;
      const reply = await send(server, { followRedirects: true, authentication, headers: [["X-Key", "k"]] });
      expect(answered(reply)).toMatchObject({ status: 200, body: "arrived" });
      expect(server.seen[1]).toMatchObject({ method: "POST", path: "/new", body: '{"name":"Zoë"}' });
      expect(server.seen[1]?.headers).toMatchObject({ authorization: "Basic dTpw", "x-key": "k" });
    },
  );

  test("of status 303 asks for the result with GET and no body", async () => {
    const server = await redirecting(303, () => "/result");
    const reply = await send(server, { followRedirects: true });
    expect(answered(reply).body).toBe("arrived");
    expect(server.seen[1]).toMatchObject({ method: "GET", path: "/result", body: "" });
    expect(server.seen[1]?.headers["content-type"]).toBeUndefined();
    expect(server.seen[1]?.headers["content-length"]).toBeUndefined();
  });

  test.each([
    ["basic", { type: "basic", username: "u", password: "secret" }],
    ["bearer", { type: "bearer", token: "secret" }],
    ["an API key", { type: "apiKey", header: "X-Api-Key", value: "secret" }],
    ["a webhook signature", { type: "standardWebhooks", secret: "secret" }],
  ] as const)("to another host leaves %s, cookies and custom headers behind", async (_what, authentication) => {
    const other = await partner((_seen, response) => response.end("other"));
    const server = await redirecting(307, () => `${other.url}/new`);
    const headers: [string, string][] = [
      ["Content-Type", "text/xml"],
      ["SOAPAction", '"x"'],
      ["Cookie", "session=secret"],
      ["X-Partner-Key", "secret"],
    ];
    const sent = request(`${server.url}/leads`, { followRedirects: true, authentication, headers });
    expect(answered(await sendHttp(sent, context(server, other))).body).toBe("other");
    const names = Object.keys(other.seen[0]?.headers ?? {}).sort();
    expect(names).toEqual([
      "accept",
      "accept-encoding",
      "connection",
      "content-length",
      "content-type",
      "host",
      "idempotency-key",
      "soapaction",
      "user-agent",
    ]);
    expect(JSON.stringify(other.seen)).not.toContain("secret");
  });

  test("to another host and back does not bring the credentials back", async () => {
    const other = await partner((_seen, response) => response.writeHead(307, { location: `${server.url}/new` }).end());
    const server = await redirecting(307, () => `${other.url}/there`);
    const authentication = { type: "bearer", token: "t" } as const;
    const sent = request(`${server.url}/leads`, { followRedirects: true, authentication });
    expect(answered(await sendHttp(sent, context(server, other))).body).toBe("arrived");
    expect(server.seen[1]?.headers.authorization).toBeUndefined();
  });

  test("to another host does not take a UsernameToken along in the body", async () => {
    const other = await partner((_seen, response) => response.end("other"));
    const server = await redirecting(307, () => `${other.url}/new`);
    const envelope =
      '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><lead/></s:Body></s:Envelope>';
    const authentication = { type: "usernameToken", username: "u", password: "secret", passwordType: "text" } as const;
    const sent = request(`${server.url}/leads`, { followRedirects: true, authentication, body: envelope });
    await sendHttp(sent, context(server, other));
    expect(server.seen[0]?.body).toContain("secret");
    expect(other.seen[0]?.body).toBe(envelope);
  });

  test.each([
    "http://169.254.169.254/",
    "http://127.0.0.1:1/",
    "//localhost/x",
    "http://[::ffff:10.0.0.1]/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "http://u:p@example.com/",
    "http://[",
  ])("to %s is refused", async (location) => {
    const server = await redirecting(307, () => location);
    const reply = await send(server, { followRedirects: true });
    expect(reply).toMatchObject({ kind: "failure", code: "refused_address", arrived: "no" });
    expect(server.seen).toHaveLength(1);
  });

  test("after a 303 that leads nowhere leaves open whether the request arrived", async () => {
    const server = await redirecting(303, () => "http://127.0.0.1:1/");
    const reply = await send(server, { followRedirects: true });
    expect(reply).toMatchObject({ code: "refused_address", arrived: "unknown" });
  });

  test("is followed five times and no more", async () => {
    const server = await partner((seen, response) => {
      const step = Number(seen.path.slice(1));
      if (step === 0) response.end("end");
      else response.writeHead(307, { location: `/${step - 1}` }).end();
    });
    const from = (step: number) =>
      sendHttp(request(`${server.url}/${step}`, { followRedirects: true }), context(server));
    expect(answered(await from(5)).body).toBe("end");
    expect(await from(6)).toMatchObject({ kind: "failure", code: "redirect" });
  });

  test("does not extend the time limit", async () => {
    const server = await partner((_seen, response) => {
      setTimeout(() => response.writeHead(307, { location: "/again" }).end(), 80);
    });
    const reply = await send(server, { followRedirects: true, timeoutMs: 200 });
    expect(reply).toMatchObject({ kind: "failure", code: "timeout" });
    expect(reply.durationMs).toBeLessThan(1_000);
  });
});

describe("an answer", () => {
  async function body(
    bytes: string | Buffer,
    headers: Record<string, string> = {},
  ): Promise<Extract<Reply, { kind: "answer" }>> {
    const server = await partner((_seen, response) => response.writeHead(200, headers).end(bytes));
    return answered(await send(server));
  }

  const words = "Zoë O’Brien “Smith & Sons” 👋";
  const xml = (encoding: string) => `<?xml version="1.0" encoding="${encoding}"?><name>Zoë €</name>`;

  test.each([
    ["plain UTF-8", Buffer.from(words), {}, words],
    ["UTF-8 with a mark", Buffer.from(`\ufeff${words}`), {}, words],
    ["UTF-16 LE with a mark", Buffer.from(`\ufeff${words}`, "utf16le"), {}, words],
    ["UTF-16 BE with a mark", iconv.encode(words, "utf-16be", { addBOM: true }), {}, words],
    [
      "a mark that contradicts the header",
      Buffer.from(`\ufeff${words}`),
      { "content-type": "a/b; charset=latin1" },
      words,
    ],
    ["Latin-1 by header", Buffer.from("Zoë", "latin1"), { "content-type": "text/plain; charset=ISO-8859-1" }, "Zoë"],
    [
      "Windows-1252 called Latin-1",
      Buffer.from([0x93, 0x80, 0x94]),
      { "content-type": "text/plain;charset=latin1" },
      "“€”",
    ],
    ["a quoted charset", Buffer.from("Zoë", "latin1"), { "content-type": 'text/plain; charset="iso-8859-15"' }, "Zoë"],
    [
      "Shift JIS",
      iconv.encode("見込み客", "shift_jis"),
      { "content-type": "text/plain; charset=Shift_JIS" },
      "見込み客",
    ],
    ["an XML declaration", iconv.encode(xml("windows-1252"), "windows-1252"), {}, xml("windows-1252")],
    ["an XML declaration that says UTF-16 in UTF-8", Buffer.from(xml("utf-16")), {}, xml("utf-16")],
    ["UTF-16 XML without a mark", Buffer.from(xml("utf-16"), "utf16le"), {}, xml("utf-16")],
    [
      "a header before the XML declaration",
      Buffer.from(xml("latin1")),
      { "content-type": "text/xml; charset=utf-8" },
      xml("latin1"),
    ],
    ["gzip", gzipSync(words), { "content-encoding": "gzip" }, words],
    ["x-gzip", gzipSync(words), { "content-encoding": "X-GZIP" }, words],
    ["deflate", deflateSync(words), { "content-encoding": "deflate" }, words],
    ["bare deflate", deflateRawSync(words), { "content-encoding": "deflate" }, words],
    ["brotli", brotliCompressSync(words), { "content-encoding": "br" }, words],
    ["gzip inside brotli", brotliCompressSync(gzipSync(words)), { "content-encoding": "gzip, br" }, words],
    ["identity", Buffer.from(words), { "content-encoding": "identity" }, words],
    ["nothing", Buffer.from(""), {}, ""],
  ] as const)("is read rightly: %s", async (_what, bytes, headers, expected) => {
    expect(await body(bytes, headers)).toMatchObject({ body: expected, unreadable: null, truncated: false });
  });

  test.each([
    ["Latin-1 without saying so", Buffer.from("Zoë", "latin1"), {}, /utf-8/],
    ["half a UTF-8 character", Buffer.from([0x5a, 0xc3]), {}, /utf-8/],
    ["half a UTF-16 character", Buffer.from([0xff, 0xfe, 0x5a]), {}, /utf-16/],
    ["an unknown charset", Buffer.from("x"), { "content-type": "text/plain; charset=klingon" }, /klingon/],
    ["gzip that is none", Buffer.from("plain"), { "content-encoding": "gzip" }, /not valid gzip/],
    ["gzip that breaks off", gzipSync(words).subarray(0, 30), { "content-encoding": "gzip" }, /not valid gzip/],
    ["brotli that is none", Buffer.from("plain"), { "content-encoding": "br" }, /not valid br/],
    ["an unknown compression", Buffer.from("x"), { "content-encoding": "zpaq" }, /zpaq/],
    ["compression upon compression", Buffer.from("x"), { "content-encoding": "gzip, gzip, gzip" }, /too many/],
  ] as const)("is unreadable and says why: %s", async (_what, bytes, headers, why) => {
    const answer = await body(bytes, headers);
    expect(answer.unreadable).toMatch(why);
    expect(answer.status).toBe(200);
  });

  test("of exactly 64 KiB is whole, of one byte more is truncated", async () => {
    expect(await body("x".repeat(65_536))).toMatchObject({ truncated: false, body: "x".repeat(65_536) });
    expect(await body("x".repeat(65_537))).toMatchObject({ truncated: true, body: "x".repeat(65_536) });
  });

  test("is never cut inside a character", async () => {
    const answer = await body(`x${"é".repeat(40_000)}`);
    expect(answer).toMatchObject({ truncated: true, unreadable: null });
    expect(answer.body).toBe(`x${"é".repeat(32_767)}`);
  });

  test("that grows when decoded is kept to 64 KiB of UTF-8", async () => {
    const answer = await body(Buffer.from("é".repeat(60_000), "latin1"), {
      "content-type": "text/plain; charset=latin1",
    });
    expect(answer.truncated).toBe(true);
    expect(Buffer.byteLength(answer.body)).toBe(65_536);
  });

  test("of 10 MB is read no further than needed", async () => {
    const answer = await body(Buffer.alloc(10 * 1024 * 1024, 0x61));
    expect(answer).toMatchObject({ status: 200, truncated: true });
    expect(answer.body).toHaveLength(65_536);
  });

  test("without end is cut and the connection closed", async () => {
    let closed = false;
    const server = await partner((_seen, response) => {
      response.on("close", () => {
        closed = true;
      });
      endlessly(response, "y".repeat(16_384));
    });
    expect(answered(await send(server))).toMatchObject({ truncated: true });
    while (!closed) await new Promise((resolve) => setTimeout(resolve, 5));
  });

  const zeros = Buffer.alloc(64 * 1024 * 1024);
  const gzipBomb = gzipSync(zeros, { level: 1 });
  const brotliBomb = brotliCompressSync(zeros, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });
  test.each([
    ["gzip", gzipBomb, "gzip"],
    ["brotli", brotliBomb, "br"],
    ["gzip in gzip", gzipSync(gzipBomb), "gzip, gzip"],
  ])("that is a bomb (%s) stays small", async (_what, bytes, encoding) => {
    const before = process.memoryUsage().rss;
    const answer = await body(bytes, { "content-encoding": encoding });
    expect(answer).toMatchObject({ truncated: true, unreadable: null });
    expect(answer.body).toHaveLength(65_536);
    expect(process.memoryUsage().rss - before).toBeLessThan(48 * 1024 * 1024);
  });

  test("keeps repeated headers apart with a comma", async () => {
    const server = await partner((_seen, response) => response.writeHead(200, { "X-A": ["1", "2"] }).end());
    expect(answered(await send(server)).headers["x-a"]).toBe("1, 2");
  });

  test("may come after other signs of life", async () => {
    const answer = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const server = await rawPartner((socket) => void socket.on("data", () => socket.write(answer)));
    expect(answered(await send(server))).toMatchObject({ status: 200, body: "ok" });
  });

  test("has not begun with an early hint", async () => {
    const answer = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    const server = await rawPartner((socket) => void socket.once("data", () => socket.end(answer)));
    expect(await send(server)).toMatchObject({ kind: "failure", code: "reset", arrived: "unknown" });
  });

  test("may end where the connection ends", async () => {
    const server = await rawPartner(
      (socket) => void socket.once("data", () => socket.end("HTTP/1.0 200 OK\r\n\r\nold")),
    );
    expect(answered(await send(server))).toMatchObject({ status: 200, body: "old" });
  });
});

const certificate = makeCertificate("DNS:partner.test,IP:127.0.0.1");
const testTls = certificate === null ? test.skip : test;

describe("TLS", () => {
  testTls("with a certificate that nobody vouches for is tls and arrived nowhere", async () => {
    const server = await startHttp((_seen, response) => response.end(), certificate ?? undefined);
    open.push(server);
    const reply = await send(server);
    expect(reply).toMatchObject({
      kind: "failure",
      code: "tls",
      arrived: "no",
      detail: expect.stringMatching(/self-signed/),
    });
    expect(server.seen).toHaveLength(0);
  });

  test("with a server that does not speak it is tls and arrived nowhere", async () => {
    const server = await rawPartner(
      (socket) => void socket.once("data", () => socket.write("HTTP/1.1 400 Bad\r\n\r\n")),
    );
    const reply = await sendHttp(request(`https://${server.host}/`), context(server));
    expect(reply).toMatchObject({ kind: "failure", code: "tls", arrived: "no" });
  });

  test("cut short by the network is connect and arrived nowhere", async () => {
    const server = await rawPartner((socket) => void socket.once("data", () => socket.destroy()));
    const reply = await sendHttp(request(`https://${server.host}/`), context(server));
    expect(reply).toMatchObject({ kind: "failure", code: "connect", arrived: "no" });
  });

  test("that hangs is a timeout and arrived nowhere", async () => {
    const server = await rawPartner((socket) => socket.resume());
    const reply = await sendHttp(request(`https://${server.host}/`, { timeoutMs: 100 }), context(server));
    expect(reply).toMatchObject({ kind: "failure", code: "timeout", arrived: "no" });
  });

  testTls("is checked against the name that was typed, which the server is told", async () => {
    if (certificate === null) return;
    const names: (string | false | null | undefined)[] = [];
    const server = await startHttp((_seen, response) => response.end("safe"), certificate);
    open.push(server);
    server.server.on("secureConnection", (socket: TLSSocket) => names.push(socket.servername));
    const authority = join(mkdtempSync(join(tmpdir(), "handoff-authority-")), "cert.pem");
    writeFileSync(authority, certificate.cert);
    const urls = ["partner.test", "PARTNER.test.", "127.0.0.1", "other.test"].map(
      (name) => `https://${name}:${server.port}/`,
    );
    const child = startTypeScript("test/helpers/send-over-tls.ts", urls, { env: { NODE_EXTRA_CA_CERTS: authority } });
    expect(await child.ended).toBe(0);
    rmSync(dirname(authority), { recursive: true });
    const replies = child
      .output()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(replies).toMatchObject([
      { kind: "answer", status: 200, body: "safe" },
      { kind: "answer", status: 200, body: "safe" },
      { kind: "answer", status: 200, body: "safe" },
      { kind: "failure", code: "tls", arrived: "no", detail: expect.stringContaining("another host") },
    ]);
    expect(names.slice(0, 3)).toEqual(["partner.test", "partner.test", false]);
    expect(server.seen).toHaveLength(3);
  });
});
