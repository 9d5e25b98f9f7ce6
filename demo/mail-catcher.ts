import PostalMime, { type Email } from "postal-mime";
import { SMTPServer, type SMTPServerSession } from "smtp-server";
import { Newest } from "./newest.ts";
import { listen, portOf } from "./serve.ts";

const keptMessages = 1_000;
const largestMessageBytes = 10 * 1024 * 1024;

export interface ReceivedMail {
  readonly receivedAt: string;
  /** From the envelope: who it was really sent to. */
  readonly from: string;
  readonly to: readonly string[];
  readonly message: Email;
  readonly raw: string;
}

export interface MailCatcher {
  readonly host: string;
  readonly port: number;
  /** The newest 1,000, oldest first. */
  messages(): readonly ReceivedMail[];
  stop(): Promise<void>;
}

/**
 * Starts an SMTP server that takes mail for everybody and keeps it. `bounce@…` is refused for good (550), `later@…` for
 * now (451); the password `wrong` is wrong, any other is right.
 */
export async function startMailCatcher(host: string, port: number): Promise<MailCatcher> {
  const kept = new Newest<ReceivedMail>(keptMessages);
  const server = new SMTPServer({
    authOptional: true,
    allowInsecureAuth: true,
    // Its certificate would be nobody's.
    disabledCommands: ["STARTTLS"],
    disableReverseLookup: true,
    size: largestMessageBytes,
    closeTimeout: 1_000,
    onAuth: ({ password, username }, _session, callback) =>
      password === "wrong" ? callback(smtpError(535, "Wrong password")) : callback(null, { user: username }),
    onRcptTo: ({ address }, _session, callback) => callback(refusalOf(address)),
    onData(stream, session, callback) {
      collect(stream)
        .then((raw) => read(raw, session))
        .then((mail) => {
          kept.add(mail);
          callback(null, `Kept as ${kept.list().length}`);
        })
        .catch((error: unknown) => callback(error instanceof Error ? error : new Error(String(error))));
    },
  });
  // A client that leaves in the middle is its own affair.
  server.on("error", () => undefined);
  await listen(server.server, host, port);
  return {
    host,
    port: portOf(server.server),
    messages: () => kept.list(),
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

function refusalOf(address: string): Error | null {
  if (/^bounce@/i.test(address)) {
    return smtpError(550, "No such mailbox");
  }
  return /^later@/i.test(address) ? smtpError(451, "Mailbox busy, try later") : null;
}

function smtpError(responseCode: number, message: string): Error {
  return Object.assign(new Error(message), { responseCode });
}

async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) {
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function read(raw: Buffer, { envelope }: SMTPServerSession): Promise<ReceivedMail> {
  return {
    receivedAt: new Date().toISOString(),
    from: envelope.mailFrom === false ? "" : envelope.mailFrom.address,
    to: envelope.rcptTo.map(({ address }) => address),
    message: await PostalMime.parse(raw),
    raw: raw.toString("utf8"),
  };
}
