import { appendFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { SMTPServer } from "smtp-server";

/**
 * A mail server and an SMS service: a process of its own, so that both can be down. `messages.ts RECORD` appends each message to the
 * file RECORD before it answers. Prints `ready {smtpPort, smsPort}`.
 */
const [recordFile = ""] = process.argv.slice(2);
let count = 0;

const smtp = new SMTPServer({
  authOptional: true,
  disabledCommands: ["STARTTLS", "AUTH"],
  onData(stream, _session, callback) {
    let text = "";
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => {
      text += chunk;
    });
    stream.on("end", () => {
      const headers = text.slice(0, text.indexOf("\r\n\r\n")).replace(/\r\n\s+/g, " ");
      const find = (name: string) => new RegExp(`^${name}: *(.*)$`, "im").exec(headers)?.[1] ?? "";
      record({ message: "mail", key: find("message-id"), to: find("to"), leadId: find("x-lead"), atMs: Date.now() });
      callback();
    });
  },
});
smtp.on("error", () => undefined);

const sms = createServer((request, response) => {
  let text = "";
  request.on("data", (chunk: Buffer) => {
    text += chunk.toString("utf8");
  });
  request.on("end", () => {
    count += 1;
    const to = new URLSearchParams(text).get("To");
    record({ message: "sms", key: String(request.headers["idempotency-key"] ?? ""), to, atMs: Date.now() });
    const sid = `SM${String(Date.now()).padStart(20, "0")}${String(count).padStart(12, "0")}`;
    response.writeHead(201, { "content-type": "application/json" });
    response.end(JSON.stringify({ sid, status: "queued", num_segments: "1", to, body: "" }));
  });
});

function record(line: object): void {
  appendFileSync(recordFile, `${JSON.stringify(line)}\n`);
}

const listening = smtp.listen(0, "127.0.0.1", () =>
  sms.listen(0, "127.0.0.1", () => {
    const [{ port: smtpPort }, { port: smsPort }] = [listening, sms].map((one) => one.address() as AddressInfo) as [
      AddressInfo,
      AddressInfo,
    ];
    process.stdout.write(`ready ${JSON.stringify({ smtpPort, smsPort })}\n`);
  }),
);
