import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import { createTransport } from "nodemailer";
import { z } from "zod";
import type { FailureCode, MailRequest, Reply, SendContext, SmtpServer } from "./contract.ts";
import type { Exchanged, Failure } from "./http-exchange.ts";
import { failure } from "./http-exchange.ts";
import { connectGuarded, guardKey, OutboundError, tlsError } from "./outbound.ts";

/** How much of a mail server's reply is kept. */
const maxReplyCharacters = 64 * 1024;

/**
 * Sends a rendered mail over the operator's SMTP server. Gives the server's last reply as an answer (250 accepted, 4xx
 * try again, 5xx refused); failures as in sendHttp, where the mail may have arrived only once its text was being sent.
 * Without a server it fails with `connect`. Refuses (`protocol`) addresses, subjects and headers that could be taken for
 * more than one line or more than one address.
 */
export async function sendMail(request: MailRequest, context: SendContext): Promise<Reply> {
  const startedMs = performance.now();
  const sent = await send(request, context);
  return { ...sent, durationMs: Math.round(performance.now() - startedMs) };
}

async function send(request: MailRequest, context: SendContext): Promise<Exchanged> {
  const { smtp } = context;
  if (smtp === null) return failure("connect", "No mail server is configured.");
  const problem = problemOf(request, smtp);
  if (problem !== null) return failure("protocol", problem);
  const { transport, streams } = poolFor(smtp, context);
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), request.timeoutMs);
  const headers = request.headers.map(([key, value]) => ({ key, value }));
  try {
    const info = await transport.sendMail({
      from: smtp.from,
      to: request.to.map((address) => ({ name: "", address })),
      subject: request.subject,
      text: request.text,
      ...(request.html === null ? {} : { html: request.html }),
      attachments: request.attachments?.map(({ name, contentType, content }) => ({
        filename: name,
        contentType,
        content,
      })),
      headers: [{ key: "Auto-Submitted", value: "auto-generated" }, ...headers],
      messageId: messageIdOf(context.idempotencyKey, smtp),
      date: context.now(),
      signal: limit.signal,
    });
    return answer(info.response, info.rejected.length);
  } catch (error) {
    const arrived = streams.get(limit.signal)?.readableDidRead === true ? "unknown" : "no";
    return failedSend(error, smtp, arrived);
  } finally {
    clearTimeout(timer);
  }
}

/** One mailbox and nothing else: no list, no display name, no comment, no line break, no quoted local part. */
const mailbox = /^[^\s<>()[\]\\,;:"@]+@[^\s<>()[\]\\,;:"@]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
const controlCharacter = /[\x00-\x08\x0a-\x1f\x7f]/;
const headerName = /^[!-9;-~]+$/;

/** Written by us, or able to change who gets the mail and how it is read. */
const ownHeaders: ReadonlySet<string> = new Set([
  "bcc",
  "cc",
  "date",
  "dkim-signature",
  "from",
  "message-id",
  "mime-version",
  "received",
  "return-path",
  "sender",
  "subject",
  "to",
]);

function problemOf(request: MailRequest, smtp: SmtpServer): string | null {
  if (request.to.length === 0) return "The mail has no recipient.";
  if (!request.to.every((address) => mailbox.test(address))) return "A recipient is not a single mail address.";
  if (controlCharacter.test(request.subject)) return "The subject holds a line break or another control character.";
  if (controlCharacter.test(smtp.from)) return "The sender's address holds a line break or another control character.";
  for (const [name, value] of request.headers) {
    const own = ownHeaders.has(name.toLowerCase()) || /^content-|^resent-/i.test(name);
    if (!headerName.test(name) || own) return "A header has a name that mail does not allow here.";
    if (controlCharacter.test(value)) return `The header ${name} holds a line break or another control character.`;
  }
  return null;
}

/** The same for every attempt of a delivery, so that a mail server or reader can tell a repeat. */
function messageIdOf(idempotencyKey: string, smtp: SmtpServer): string {
  const plain = /^[A-Za-z0-9_-]{1,64}$/.test(idempotencyKey);
  const left = plain ? idempotencyKey : createHash("sha256").update(idempotencyKey).digest("hex");
  const domain = /@([A-Za-z0-9.-]+)>?\s*$/.exec(smtp.from)?.[1] ?? "handoff.invalid";
  return `<${left}@${domain}>`;
}

function answer(response: string, rejected: number): Exchanged {
  const status = Number(/^\d{3}/.exec(response)?.[0] ?? 0);
  if (status === 0) return failure("protocol", "The mail server's reply is not SMTP.", "unknown");
  const note = rejected === 0 ? "" : `\n${rejected} of the recipients were refused.`;
  const body = `${response}${note}`;
  const kept = body.slice(0, maxReplyCharacters);
  return { kind: "answer", status, headers: {}, body: kept, truncated: kept !== body, unreadable: null };
}

/** What nodemailer puts on an error; a field of another kind counts as absent. */
const smtpError = z.object({
  code: z.string().catch(""),
  response: z.string().nullable().catch(null),
  responseCode: z.number().nullable().catch(null),
  originalCode: z.string().nullable().catch(null),
});

const failureOfCode: Readonly<Record<string, readonly [FailureCode, string]>> = {
  EABORT: ["timeout", "The mail server did not take the mail in time."],
  ETIMEDOUT: ["timeout", "The mail server did not answer in time."],
  ECONNECTION: ["reset", "The mail server closed the connection."],
  ESOCKET: ["reset", "The connection to the mail server failed."],
  ETLS: ["tls", "No secure connection to the mail server."],
  ENOAUTH: ["authentication", "The mail server wants a user name and password."],
};

function failedSend(error: unknown, smtp: SmtpServer, arrived: "no" | "unknown"): Exchanged {
  if (error instanceof OutboundError) return failure(error.code, error.message, arrived);
  const { code, response, responseCode, originalCode } = smtpError.parse(error);
  if (code === "EAUTH" && (responseCode === null || responseCode >= 500)) {
    return failure("authentication", "The mail server did not accept our user name and password.", arrived);
  }
  if (responseCode !== null && response !== null) return answer(response, 0);
  if (code === "ESOCKET" && originalCode !== null) return socketFailure(originalCode, smtp, arrived);
  const [failureCode, detail] = failureOfCode[code] ?? [
    "protocol",
    `The mail could not be sent (${code || "unknown"}).`,
  ];
  return failure(failureCode, detail, arrived);
}

/** nodemailer reports a bad certificate as a broken socket, with the reason in `originalCode`. */
function socketFailure(originalCode: string, smtp: SmtpServer, arrived: "no" | "unknown"): Failure {
  const secure = tlsError(Object.assign(new Error("socket"), { code: originalCode }), smtp.host);
  if (secure.code === "tls") return failure("tls", secure.message, arrived);
  return failure("reset", "The mail server closed the connection.", arrived);
}

interface Pool {
  readonly transport: ReturnType<typeof newTransport>;
  /** The text of each mail under way, by its time limit: once it has been read from, some of it may have been sent. */
  readonly streams: WeakMap<AbortSignal, Readable>;
}

const pools = new Map<string, Pool>();

function poolFor(smtp: SmtpServer, context: SendContext): Pool {
  const { host, port, secure, username, password } = smtp;
  const settings = JSON.stringify([host, port, secure, username, password, guardKey(context)]);
  const key = createHash("sha256").update(settings).digest("base64");
  const pool = pools.get(key) ?? newPool(smtp, context);
  pools.set(key, pool);
  return pool;
}

function newPool(smtp: SmtpServer, context: SendContext): Pool {
  const streams = new WeakMap<AbortSignal, Readable>();
  const transport = newTransport(smtp, context);
  transport.use("stream", (mail, done) => {
    const { signal } = mail.data;
    const createReadStream = mail.message.createReadStream.bind(mail.message);
    mail.message.createReadStream = (options) => {
      const stream = createReadStream(options);
      if (signal !== undefined) streams.set(signal, stream);
      return stream;
    };
    done();
  });
  return { transport, streams };
}

function newTransport(smtp: SmtpServer, context: SendContext) {
  const guard = { allowHosts: [...context.allowHosts], lookup: context.lookup };
  const { host, port, secure, username, password } = smtp;
  return createTransport({
    pool: true,
    host,
    port,
    secure,
    ...(username === null ? {} : { auth: { user: username, pass: password ?? "" } }),
    // nodemailer would resolve the name by itself; handed an open connection, it uses that one.
    getSocket: (_options: unknown, callback: (error: Error | null, socket?: { connection: Socket }) => void) => {
      connectGuarded(guard, host, port).then((connected) => {
        if (connected.ok) callback(null, { connection: connected.socket });
        else callback(connected.error);
      }, callback);
    },
    maxConnections: 10,
    maxMessages: 1_000,
    // A connection that closes before anything of the mail was sent is tried anew this often within one attempt.
    maxRequeues: 2,
    greetingTimeout: 10_000,
    socketTimeout: 60_000,
    socketCloseTimeout: 0,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
}

/** Ends every connection to mail servers; mails still under way fail. The next mail starts afresh. */
export function closeMailPools(): void {
  const open = [...pools.values()];
  pools.clear();
  for (const { transport } of open) transport.close({ force: true });
}
