import type { Socket } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, describe, expect, test } from "@jest/globals";
import PostalMime from "postal-mime";
import type { SMTPServerOptions } from "smtp-server";
import { SMTPServer } from "smtp-server";
import type { Lookup } from "../../src/channels/address-guard.ts";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import type { MailRequest, Reply, SendContext, SmtpServer } from "../../src/channels/contract.ts";
import { sendMail } from "../../src/channels/send-mail.ts";
import type { Loopback } from "../helpers/loopback.ts";
import { makeCertificate, startRaw } from "../helpers/loopback.ts";

// Real: nodemailer and an SMTP server on loopback, or bare sockets where the server is to misbehave.

const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  await closeOutbound();
  await Promise.all(closers.splice(0).map((close) => close()));
});

interface MailServer {
  readonly port: number;
  readonly mails: { readonly source: string; readonly recipients: readonly string[] }[];
  connections(): number;
}

function smtpError(code: number, message: string): Error {
  return Object.assign(new Error(message), { responseCode: code });
}

async function mailServer(options: SMTPServerOptions = {}): Promise<MailServer> {
  const mails: { source: string; recipients: string[] }[] = [];
  let connections = 0;
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ["STARTTLS"],
    disableReverseLookup: true,
    onData(stream, session, callback) {
      void text(stream).then((source) => {
        mails.push({ source, recipients: session.envelope.rcptTo.map(({ address }) => address) });
        callback(null);
      });
    },
    ...options,
  });
  server.on("error", () => undefined);
  server.server.on("connection", () => {
    connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => new Promise<void>((resolve) => server.close(resolve)));
  const address = server.server.address();
  if (address === null || typeof address === "string") throw new Error("The mail server has no port.");
  return { port: address.port, mails, connections: () => connections };
}

async function rawServer(onConnection: (socket: Socket) => void): Promise<Loopback> {
  const server = await startRaw(onConnection);
  closers.push(server.close);
  return server;
}

/** Speaks the server's side line by line: what a client line begins with, and the answer to it. */
function script(answers: Readonly<Record<string, string | ((socket: Socket) => void)>>): (socket: Socket) => void {
  return (socket) => {
    socket.write("220 test ESMTP\r\n");
    socket.setEncoding("utf8").on("data", (data: string) => {
      for (const line of data.split("\r\n").filter((part) => part !== "")) {
        const [, answer] = Object.entries(answers).find(([start]) => line.startsWith(start)) ?? [];
        if (typeof answer === "function") answer(socket);
        else if (answer !== undefined) socket.write(`${answer}\r\n`);
      }
    });
  };
}

const polite = {
  EHLO: "250 test",
  MAIL: "250 ok",
  RCPT: "250 ok",
  DATA: "354 go on",
  ".": "250 taken",
  RSET: "250 ok",
};

const mail: MailRequest = {
  kind: "mail",
  to: ["leads@acme.test"],
  subject: "A lead: Zoë O’Brien 👋",
  text: "Name: Zoë <b>\n.\nEnd",
  html: "<p>Zoë &lt;b&gt;</p>",
  headers: [["X-Lead", "7"]],
  timeoutMs: 5_000,
  secrets: [],
};

function smtp(port: number, changes: Partial<SmtpServer> = {}): SmtpServer {
  return {
    host: "127.0.0.1",
    port,
    secure: false,
    username: null,
    password: null,
    from: "Handoff <handoff@seller.test>",
    ...changes,
  };
}

function send(
  server: { readonly port: number },
  changes: Partial<MailRequest> = {},
  login: Partial<SmtpServer> = {},
): Promise<Reply> {
  return sendMail({ ...mail, ...changes }, context(smtp(server.port, login)));
}

function context(server: SmtpServer | null): SendContext {
  return {
    allowHosts: server === null ? [] : [`127.0.0.1:${server.port}`],
    idempotencyKey: "0198f0a2-delivery",
    now: () => new Date("2026-11-20T10:00:00Z"),
    smtp: server,
  };
}

describe("a mail", () => {
  test("arrives with its text, HTML, headers and a Message-ID made of the idempotency key", async () => {
    const server = await mailServer();
    const reply = await send(server, { to: ["leads@acme.test", "copy@acme.test"] });
    expect(reply).toMatchObject({ kind: "answer", status: 250, truncated: false, unreadable: null });
    const [received] = server.mails;
    expect(received?.recipients).toEqual(["leads@acme.test", "copy@acme.test"]);
    const parsed = await PostalMime.parse(received?.source ?? "");
    expect(parsed).toMatchObject({
      subject: mail.subject,
      from: { name: "Handoff", address: "handoff@seller.test" },
      messageId: "<0198f0a2-delivery@seller.test>",
      date: "2026-11-20T10:00:00.000Z",
    });
    expect(parsed.text?.trim()).toBe(mail.text);
    expect(parsed.html?.trim()).toBe(mail.html);
    const headers = Object.fromEntries(parsed.headers.map(({ key, value }) => [key, value]));
    expect(headers).toMatchObject({ "x-lead": "7", "auto-submitted": "auto-generated" });
  });

  test("sent again has the same Message-ID, one for another delivery has another", async () => {
    const server = await mailServer();
    const other = { ...context(smtp(server.port)), idempotencyKey: "a key\r\nwith <anything> in it" };
    await send(server);
    await send(server);
    await sendMail(mail, other);
    const ids = await Promise.all(server.mails.map(async ({ source }) => (await PostalMime.parse(source)).messageId));
    expect(ids[0]).toBe(ids[1]);
    expect(ids[2]).toMatch(/^<[0-9a-f]{64}@seller\.test>$/);
  });

  test("shares connections with the mails before it", async () => {
    const server = await mailServer();
    for (let count = 0; count < 10; count += 1) await send(server);
    expect(server.mails).toHaveLength(10);
    expect(server.connections()).toBe(1);
  });

  test.each([
    ["a line break in the subject", { subject: "Lead\r\nBcc: evil@evil.test" }],
    ["a lone line feed in the subject", { subject: "Lead\nBcc: evil@evil.test" }],
    ["a line break in a recipient", { to: ["leads@acme.test\r\nBcc: evil@evil.test"] }],
    ["two recipients in one", { to: ["leads@acme.test, evil@evil.test"] }],
    ["a display name", { to: ["Evil <evil@evil.test>"] }],
    ["a group", { to: ["g:evil@evil.test;"] }],
    ["a comment", { to: ["leads@acme.test (x)"] }],
    ["a space in a recipient", { to: ["leads@acme.test NOTIFY=NEVER"] }],
    ["angle brackets in a recipient", { to: ["leads@acme.test>"] }],
    ["no recipient", { to: [] }],
    ["an empty recipient", { to: [""] }],
    ["a line break in a header", { headers: [["X-Lead", "7\r\nBcc: evil@evil.test"]] as const }],
    ["a line break in a header name", { headers: [["X-Lead: 7\r\nBcc", "evil@evil.test"]] as const }],
    ["a Bcc header", { headers: [["bCC", "evil@evil.test"]] as const }],
    ["a From header", { headers: [["From", "evil@evil.test"]] as const }],
    ["a Content-Type header", { headers: [["Content-Type", "text/html"]] as const }],
  ])("with %s is not sent", async (_what, changes) => {
    const server = await mailServer();
    const reply = await send(server, changes);
    expect(reply).toMatchObject({ kind: "failure", code: "protocol", arrived: "no" });
    expect(JSON.stringify(reply)).not.toContain("evil");
    expect(server.connections()).toBe(0);
  });

  test("takes no file of ours along, whatever its text says", async () => {
    const server = await mailServer();
    await send(server, {
      text: "file:///etc/passwd",
      html: '<img src="file:///etc/passwd"><img src="http://127.0.0.1:1/">',
    });
    expect((await PostalMime.parse(server.mails[0]?.source ?? "")).attachments).toHaveLength(0);
  });
});

describe("a mail server's reply", () => {
  test.each([
    ["to the sender", { onMailFrom: (_a, _s, callback) => callback(smtpError(451, "later")) }, 451],
    ["to the only recipient", { onRcptTo: (_a, _s, callback) => callback(smtpError(550, "no such user")) }, 550],
    [
      "to the text",
      { onData: (stream, _s, callback) => void text(stream).then(() => callback(smtpError(554, "spam"))) },
      554,
    ],
    [
      "to the text, for now",
      { onData: (stream, _s, callback) => void text(stream).then(() => callback(smtpError(452, "full"))) },
      452,
    ],
  ] satisfies [string, SMTPServerOptions, number][])(
    "%s is an answer with its code",
    async (_what, options, status) => {
      const reply = await send(await mailServer(options));
      expect(reply).toMatchObject({ kind: "answer", status, body: expect.stringContaining(String(status)) });
    },
  );

  test("that takes only some recipients is accepted and says how many it refused", async () => {
    const server = await mailServer({
      onRcptTo: ({ address }, _session, callback) => callback(address.startsWith("no") ? smtpError(550, "no") : null),
    });
    const reply = await send(server, { to: ["yes@acme.test", "no@acme.test"] });
    expect(reply).toMatchObject({ kind: "answer", status: 250, body: expect.stringContaining("1 of the recipients") });
    expect(server.mails[0]?.recipients).toEqual(["yes@acme.test"]);
  });

  test("of 421 at the greeting is an answer", async () => {
    const server = await rawServer((socket) => socket.end("421 too busy\r\n"));
    expect(await send(server)).toMatchObject({ kind: "answer", status: 421 });
  });

  test("goes with a login where one is set, and a wrong one is an authentication failure", async () => {
    const login = { username: "handoff", password: "hush" };
    const server = await mailServer({
      authOptional: false,
      allowInsecureAuth: true,
      onAuth: ({ username, password }, _session, callback) => {
        if (username === "handoff" && password === "hush") callback(null, { user: username });
        else callback(smtpError(535, "hush is wrong"));
      },
    });
    expect(await send(server, {}, login)).toMatchObject({ kind: "answer", status: 250 });
    const reply = await send(server, {}, { ...login, password: "wrong" });
    expect(reply).toMatchObject({ kind: "failure", code: "authentication", arrived: "no" });
    expect(JSON.stringify(reply)).not.toContain("hush");
  });
});

describe("a mail that fails", () => {
  test("for want of a mail server is connect and arrived nowhere", async () => {
    expect(await sendMail(mail, context(null))).toMatchObject({ kind: "failure", code: "connect", arrived: "no" });
  });

  test("to connect is connect and arrived nowhere", async () => {
    const server = await rawServer(() => undefined);
    await server.close();
    expect(await send(server)).toMatchObject({ kind: "failure", code: "connect", arrived: "no" });
  });

  test.each(["127.0.0.1", "localhost", "0x7f.1", "::1", "[::ffff:7f00:1]", "169.254.169.254"])(
    "because the operator did not allow the private host %s is refused_address",
    async (host) => {
      const server = await mailServer();
      const refused = { ...context(smtp(server.port, { host })), allowHosts: [] };
      const reply = await sendMail(mail, refused);
      expect(reply).toMatchObject({ kind: "failure", code: "refused_address", arrived: "no" });
      expect(server.connections()).toBe(0);
    },
  );

  test("because a name leads inside is refused_address, and one that leads nowhere is dns", async () => {
    const to = (lookup: Lookup) => ({ ...context(smtp(25, { host: "mail.example.com" })), lookup });
    const inside = to(async () => [{ address: "10.0.0.25", family: 4 }]);
    expect(await sendMail(mail, inside)).toMatchObject({ code: "refused_address", arrived: "no" });
    const nowhere = to(() => Promise.reject(new Error("ENOTFOUND")));
    expect(await sendMail(mail, nowhere)).toMatchObject({ code: "dns", arrived: "no" });
  });

  test.each([
    ["says nothing", () => undefined],
    ["stops after the greeting", script({})],
    ["stops after MAIL", script({ EHLO: "250 test" })],
    ["stops after RCPT", script({ EHLO: "250 test", MAIL: "250 ok" })],
    ["stops before the text", script({ EHLO: "250 test", MAIL: "250 ok", RCPT: "250 ok" })],
  ])("because the server %s is a timeout and arrived nowhere", async (_what, manners) => {
    const server = await rawServer(manners);
    expect(await send(server, { timeoutMs: 150 })).toMatchObject({ kind: "failure", code: "timeout", arrived: "no" });
  });

  test("because the server stops after the text is a timeout and may have arrived", async () => {
    const server = await rawServer(script({ ...polite, ".": () => undefined }));
    expect(await send(server, { timeoutMs: 150 })).toMatchObject({ code: "timeout", arrived: "unknown" });
  });

  test("because the server hangs up before the text arrived nowhere", async () => {
    const server = await rawServer(script({ ...polite, RCPT: (socket) => socket.destroy() }));
    expect(await send(server)).toMatchObject({ kind: "failure", code: "reset", arrived: "no" });
  });

  test("because the server hangs up after the text may have arrived", async () => {
    const server = await rawServer(script({ ...polite, ".": (socket) => socket.destroy() }));
    expect(await send(server)).toMatchObject({ kind: "failure", code: "reset", arrived: "unknown" });
  });

  test("because the server hangs up at once arrived nowhere, and is tried a few times at most", async () => {
    const server = await rawServer((socket) => socket.destroy());
    expect(await send(server)).toMatchObject({ kind: "failure", code: "reset", arrived: "no" });
    expect(server.connections()).toBeLessThanOrEqual(3);
  });

  test("because the server does not speak SMTP is protocol", async () => {
    const server = await rawServer((socket) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"));
    expect(await send(server)).toMatchObject({ kind: "failure", code: "protocol", arrived: "no" });
  });

  test("in the queue for a connection is never sent later", async () => {
    const held: (() => void)[] = [];
    const server = await mailServer({
      onMailFrom: (_address, _session, callback) => {
        held.push(() => callback(null));
      },
    });
    // Ten connections, all held up; the eleventh mail waits for one of them.
    const first = Array.from({ length: 10 }, () => send(server));
    while (held.length < 10) await new Promise((resolve) => setTimeout(resolve, 5));
    const late = await send(server, { timeoutMs: 50, subject: "late" });
    expect(late).toMatchObject({ kind: "failure", code: "timeout", arrived: "no" });
    for (const release of held) release();
    for (const reply of await Promise.all(first)) expect(reply).toMatchObject({ kind: "answer", status: 250 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server.mails.filter(({ source }) => source.includes("late"))).toHaveLength(0);
  });

  const certificate = makeCertificate("DNS:mail.test,IP:127.0.0.1");
  const testTls = certificate === null ? test.skip : test;
  testTls.each([
    ["from the start", true],
    ["with STARTTLS", false],
  ])("because nobody vouches for the server's certificate, %s, is tls and arrived nowhere", async (_what, secure) => {
    const server = await mailServer({ ...certificate, secure, disabledCommands: [] });
    expect(await send(server, {}, { secure })).toMatchObject({ kind: "failure", code: "tls", arrived: "no" });
    expect(server.mails).toHaveLength(0);
  });
});
