import type { Lookup } from "../../src/channels/address-guard.ts";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import { sendHttp } from "../../src/channels/send-http.ts";

// Sends one request to each URL on the command line and prints the replies. A process of its own, because the
// authorities that Node trusts are fixed when it starts (NODE_EXTRA_CA_CERTS).

const lookup: Lookup = async () => [{ address: "127.0.0.1", family: 4 }];

for (const url of process.argv.slice(2)) {
  const reply = await sendHttp(
    {
      kind: "http",
      method: "POST",
      url,
      headers: [],
      body: "lead",
      timeoutMs: 5_000,
      followRedirects: false,
      secrets: [],
      authentication: { type: "none" },
    },
    {
      allowHosts: process.argv.slice(2).map((allowed) => new URL(allowed).host),
      lookup,
      idempotencyKey: "delivery-1",
      now: () => new Date(),
      smtp: null,
    },
  );
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
await closeOutbound();
