import { syncBuiltinESMExports } from "node:module";
import net from "node:net";
import type { Lookup } from "../../src/channels/address-guard.ts";
import type { HttpRequest } from "../../src/channels/contract.ts";
import { sendHttp } from "../../src/channels/send-http.ts";
import { sendMail } from "../../src/channels/send-mail.ts";
import { type Attacker, addCampaign, addPartner } from "./attacker.ts";
import { textAt, valueAt } from "./http.ts";
import { answer } from "./receivers.ts";
import type { Report } from "./record.ts";

/** Addresses that nobody outside may make us call, in all spellings, on all ways in. */

const loopbackHosts = [
  "127.0.0.1",
  "127.1",
  "127.0.1",
  "2130706433",
  "0x7f000001",
  "0x7f.1",
  "0177.0.0.1",
  "017700000001",
  "127.0.0.1.",
  "127.000.000.001",
  "127.0.0.2",
  "localhost",
  "LOCALHOST",
  "localhost.",
  "Local%68ost",
  "127%2e0%2e0%2e1",
  "0",
  "0.0.0.0",
  "[::1]",
  "[::]",
  "[0:0:0:0:0:0:0:1]",
  "[::ffff:127.0.0.1]",
  "[::ffff:7f00:1]",
  "[::127.0.0.1]",
  "[::ffff:0:127.0.0.1]",
  "[64:ff9b::127.0.0.1]",
  "[64:ff9b:1::7f00:1]",
  "[2002:7f00:1::]",
  "[fe80::1]",
  "[fe80::1%25lo]",
  "[2001:0:7f00:1::]",
  "[::1%25lo]",
  "①②⑦.⓪.⓪.①",
  "１２７.0.0.1",
  "127。0。0。1",
  "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
  "loc\u00adalhost",
] as const;

const otherPrivateHosts = [
  "10.0.0.1",
  "172.16.0.1",
  "172.31.255.255",
  "192.168.0.1",
  "169.254.169.254",
  "2852039166",
  "0xa9fea9fe",
  "[::ffff:169.254.169.254]",
  "[fd00:ec2::254]",
  "[fc00::1]",
  "[fec0::1]",
  "[ff02::1]",
  "100.64.0.1",
  "100.100.100.200",
  "192.0.0.1",
  "192.0.2.1",
  "198.18.0.1",
  "198.51.100.1",
  "203.0.113.1",
  "224.0.0.1",
  "240.0.0.1",
  "255.255.255.255",
  "[2001:db8::1]",
  "[100::1]",
  "[::]",
] as const;

const spellings = (host: string, port: number): readonly string[] => [`http://${host}:${port}/x`];

export async function attackTargets(attacker: Attacker): Promise<void> {
  const { record, installation } = attacker;
  const { canary, receiver } = installation;
  const port = canary.port;
  const allowed = receiver.host;
  const confusing = [
    `http://${allowed}@127.0.0.1:${port}/x`,
    `http://127.0.0.1:${port}#@${allowed}/`,
    `http://127.0.0.1:${port}\\@${allowed}/`,
    `http://${allowed}\\@127.0.0.1:${port}/`,
    `http:/\\127.0.0.1:${port}/x`,
    `http:127.0.0.1:${port}/x`,
    `//127.0.0.1:${port}/x`,
    `http://127.0.0.1:${port}?@${allowed}`,
    ` http://127.0.0.1:${port}/`,
    `http://127.0.0.1\t:${port}/`,
    `HTTP://127.0.0.1:${port}/`,
    `https://127.0.0.1:${port}/`,
    `http://{{ lead.v }}:${port}/`,
    `http://127.0.0.1:{{ lead.v }}/`,
    `{{ lead.v }}`,
    `http://${allowed}{{ lead.v }}`,
    "file:///etc/passwd",
    "ftp://127.0.0.1/",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "data:text/plain,x",
    "javascript:1",
    "unix:/tmp/x",
    "http://unix:/tmp/x",
    "http://",
    "http://:80/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:65536/",
    "http://127.0.0.1:-1/",
    "http://a..b/",
    `http://${"a".repeat(300)}/`,
    "http://[::1/",
    "http://[v1.x]/",
  ];
  const addresses = [
    ...loopbackHosts.flatMap((host) => spellings(host, port)),
    ...otherPrivateHosts.flatMap((host) => spellings(host, 80)),
    ...installation.innerPorts.map((inner) => `http://127.0.0.1:${inner}/`),
    ...confusing,
  ];
  let partnerIds: string[] = [];
  await record.case("a campaign with one field", async (report) => {
    partnerIds = [await addPartner(attacker, report, {})];
    await addCampaign(attacker, report, partnerIds);
  });
  const ways: readonly (readonly [name: string, attack: (report: Report, address: string) => Promise<void>])[] = [
    [
      "a partner's address",
      async (report, address) =>
        tryDelivery(attacker, report, partnerIds[0] ?? "", { method: "json", url: address, body: "{}" }, address),
    ],
    [
      "a token's address",
      async (report, address) => {
        const auth = {
          type: "oauth2",
          tokenUrl: address,
          clientId: "client",
          clientSecret: "token-secret-of-the-trial",
        };
        await tryDelivery(
          attacker,
          report,
          partnerIds[0] ?? "",
          { method: "json", url: `${receiver.url}/ok`, body: "{}", auth },
          address,
        );
      },
    ],
    [
      "a redirect",
      async (report, address) => {
        if (/[\r\n]/.test(address)) return;
        receiver.behave("redirect", (socket) => answer(socket, "", [`Location: ${address}`], "307 Temporary Redirect"));
        const delivery = { method: "json", url: `${receiver.url}/redirect`, followRedirects: true, body: "{}" };
        await tryDelivery(attacker, report, partnerIds[0] ?? "", delivery, address, true);
      },
    ],
    [
      "a WSDL's address",
      async (report, address) => {
        await attacker.refuse(report, { method: "POST", path: "/v1/tools/wsdl", document: { url: address } });
      },
    ],
    [
      "a part of a WSDL",
      async (report, address) => {
        const text = `<definitions xmlns="http://schemas.xmlsoap.org/wsdl/"><import namespace="urn:x" location="${address.replace(/[&<"]/g, "x")}"/></definitions>`;
        await attacker.refuse(report, { method: "POST", path: "/v1/tools/wsdl", document: { text } });
      },
    ],
  ];
  for (const [way, attack] of ways) {
    // A WSDL is read in a thread of its own, which takes a while to start.
    const some = attacker.isShort && way === "a part of a WSDL" ? addresses.filter((_, at) => at % 6 === 0) : addresses;
    for (const address of some) {
      await record.case(`${way}: ${address.slice(0, 60)}`, async (report) => {
        const before = canary.connections();
        await attack(report, address);
        if (canary.connections() > before) report("leak", "it was connected to");
      });
    }
  }
  await attackCredentials(attacker, partnerIds[0] ?? "");
  await attackNames(attacker);
  await attackRecipients(attacker);
}

/** A partner that sends us on to another, who must not get what opens the first one's door. */
async function attackCredentials(attacker: Attacker, id: string): Promise<void> {
  const { record, installation } = attacker;
  const { receiver, elsewhere } = installation;
  const secret = `redirected-secret-${attacker.random.word(20)}`;
  attacker.secrets.set("the credentials of a partner that redirects", secret);
  const ways: readonly (readonly [name: string, settings: Readonly<Record<string, unknown>>])[] = [
    ["a bearer token", { auth: { type: "bearer", token: secret } }],
    ["a password", { auth: { type: "basic", username: "user", password: secret } }],
    ["a header with a key", { auth: { type: "apiKey", header: "X-Partner-Key", value: secret } }],
    ["a header of the settings", { headers: { "X-Partner-Key": secret } }],
    [
      "WS-Security",
      {
        method: "soap11",
        action: "urn:x",
        body: "<a/>",
        auth: { type: "usernameToken", username: "user", password: secret },
      },
    ],
    [
      "an OAuth token",
      { auth: { type: "oauth2", tokenUrl: `${receiver.url}/token`, clientId: "client", clientSecret: secret } },
    ],
  ];
  const token = `redirected-token-${attacker.random.word(20)}`;
  receiver.behave("token", (socket) =>
    answer(socket, JSON.stringify({ access_token: token, token_type: "Bearer", expires_in: 3_600 })),
  );
  for (const status of [
    "301 Moved",
    "302 Found",
    "303 See Other",
    "307 Temporary Redirect",
    "308 Permanent Redirect",
  ]) {
    for (const [name, settings] of ways) {
      await record.case(`${status}, with ${name}, to another partner's server`, async (report) => {
        receiver.behave("away", (socket) => answer(socket, "", [`Location: ${elsewhere.url}/caught`], status));
        const before = elsewhere.received.length;
        const internet = {
          method: "json",
          url: `${receiver.url}/away`,
          followRedirects: true,
          body: "{}",
          ...settings,
        };
        const saved = await attacker.call(report, {
          method: "PATCH",
          path: `/v1/partners/${id}`,
          document: { internet },
        });
        if (saved.status >= 400)
          return report("accepted_bad", `good settings are refused: ${saved.text.slice(0, 200)}`);
        await attacker.call(report, { method: "POST", path: `/v1/partners/${id}/test`, document: {} });
        const caught = elsewhere.received.slice(before);
        if (caught.length === 0) report("accepted_bad", "the redirect was not followed: nothing was tried");
        const written = [secret, token, Buffer.from(`user:${secret}`).toString("base64")];
        if (
          written.some((one) => JSON.stringify(caught).includes(one)) ||
          /<\w+:UsernameToken/.test(JSON.stringify(caught))
        )
          report("leak", `it got ${JSON.stringify(caught).slice(0, 300)}`);
      });
    }
  }
}

async function tryDelivery(
  attacker: Attacker,
  report: Report,
  id: string,
  delivery: Readonly<Record<string, unknown>>,
  address: string,
  mayPass = false,
): Promise<void> {
  const saved = await attacker.call(report, {
    method: "PATCH",
    path: `/v1/partners/${id}`,
    document: { internet: { timeoutMs: 2_000, ...delivery } },
  });
  if (saved.status >= 400) return;
  const tried = await attacker.call(report, { method: "POST", path: `/v1/partners/${id}/test`, document: {} });
  const kind = String(valueAt(tried.json, "outcome.kind"));
  const reason = String(valueAt(tried.json, "outcome.reason"));
  // Read as the URL standard says, some spellings lead back to where they came from.
  const target = URL.canParse(address, attacker.installation.receiver.url)
    ? new URL(address, attacker.installation.receiver.url).host
    : "";
  if (mayPass && target === attacker.installation.receiver.host) return;
  if (kind === "accepted") return report("accepted_bad", `${address} was sent to: ${tried.text.slice(0, 200)}`);
  // To a private address no packet leaves: a time limit or a refused connection would mean that one did.
  if (
    !mayPass &&
    tried.status === 200 &&
    /timeout|refused the connection|cannot be reached|did not answer|closed/i.test(reason)
  ) {
    report("leak", `${address} was tried: ${reason}`);
  }
}

const publicAddress = "8.8.4.4";

/** Names that are somebody else's the second time they are asked for. In this process, with a resolver of our own. */
async function attackNames({ record }: Attacker): Promise<void> {
  const standIn = net.createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", (chunk) => {
      const head = chunk.toString();
      const to = /GET \/to\/(\S+)|POST \/to\/(\S+)/.exec(head);
      const location = decodeURIComponent(to?.[1] ?? to?.[2] ?? "");
      const first = location === "" ? "HTTP/1.1 200 OK" : `HTTP/1.1 307 Temporary Redirect\r\nLocation: ${location}`;
      socket.end(`${first}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}`);
    });
  });
  await new Promise<void>((resolve) => standIn.listen(0, "127.0.0.1", resolve));
  const port = Number(Object(standIn.address()).port);
  const internet = standInForTheInternet(port);
  try {
    const cases: readonly (readonly [name: string, url: string, answers: readonly (readonly string[])[]])[] = [
      ["public first, loopback from then on", "http://changes.test/x", [[publicAddress], ["127.0.0.1"]]],
      ["public first, link-local from then on", "http://changes2.test/x", [[publicAddress], ["169.254.169.254"]]],
      ["loopback first, public from then on", "http://changes3.test/x", [["127.0.0.1"], [publicAddress]]],
      ["public and loopback at once", "http://both.test/x", [[publicAddress, "127.0.0.1"]]],
      ["loopback among many", "http://many.test/x", [[...Array.from({ length: 50 }, () => publicAddress), "10.0.0.1"]]],
      ["public, and IPv6 loopback", "http://six.test/x", [[publicAddress, "::1"]]],
      ["IPv4 inside IPv6", "http://mapped.test/x", [["::ffff:127.0.0.1"]]],
      ["no address at all", "http://none.test/x", [[]]],
      ["an address that is none", "http://broken.test/x", [["127.0.0.1; drop"]]],
      [
        "a redirect to a name that is private",
        `http://first.test/to/${encodeURIComponent("http://private.test/")}`,
        [[publicAddress], ["10.0.0.1"]],
      ],
      [
        "a redirect to the same name, changed meanwhile",
        `http://same.test/to/${encodeURIComponent("http://same.test/y")}`,
        [[publicAddress], ["127.0.0.1"]],
      ],
    ];
    for (const [name, url, answers] of cases) {
      await record.case(`DNS: ${name}`, async (report) => {
        internet.connected.length = 0;
        let asked = 0;
        const lookup: Lookup = async () => {
          const addresses = answers[Math.min(asked, answers.length - 1)] ?? [];
          asked += 1;
          return addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
        };
        const reply = await sendHttp(requestTo(url), { ...context, lookup });
        const bad = internet.connected.filter((address) => address !== publicAddress);
        if (bad.length > 0) report("leak", `connected to ${bad.join()}`);
        const mustPass = name.startsWith("public first");
        if (mustPass && reply.kind !== "answer")
          report("accepted_bad", `the address that was checked was not used: ${JSON.stringify(reply)}`);
        if (!mustPass && reply.kind === "answer" && reply.status === 200)
          report("accepted_bad", `it was answered: ${JSON.stringify(reply).slice(0, 200)}`);
      });
    }
    for (const host of [...loopbackHosts, ...otherPrivateHosts].map((one) => one.replace(/^\[|\]$/g, ""))) {
      await record.case(`SMTP server: ${host}`, async (report) => {
        internet.connected.length = 0;
        const smtp = { host, port: 25, secure: false, username: null, password: null, from: "handoff@example.com" };
        const lookup: Lookup = async () => [{ address: "127.0.0.1", family: 4 }];
        const mail = {
          kind: "mail" as const,
          to: ["x@example.com"],
          subject: "x",
          text: "x",
          html: null,
          headers: [],
          timeoutMs: 1_000,
          secrets: [],
        };
        const reply = await sendMail(mail, { ...context, lookup, smtp });
        if (internet.connected.length > 0) report("leak", `connected to ${internet.connected.join()}`);
        if (reply.kind === "answer") report("accepted_bad", JSON.stringify(reply).slice(0, 200));
      });
    }
  } finally {
    internet.stop();
    standIn.close();
  }
}

const context = { allowHosts: [], idempotencyKey: "delivery", now: () => new Date(), smtp: null };

function requestTo(url: string): HttpRequest {
  return {
    kind: "http",
    method: "POST",
    url,
    headers: [],
    body: "{}",
    timeoutMs: 2_000,
    followRedirects: true,
    secrets: [],
    authentication: { type: "none" },
  };
}

/**
 * Every connection of this process now ends at a server of ours, and where it wanted to go is written down: what the
 * operating system would be asked to connect to, after all look-ups.
 */
function standInForTheInternet(port: number): { readonly connected: string[]; stop(): void } {
  const connected: string[] = [];
  const original = net.connect;
  const connect = (options: net.TcpNetConnectOpts) => {
    const host = options.host ?? "";
    if (net.isIP(host)) connected.push(host);
    else {
      options.lookup?.(host, { all: true }, (_error, addresses) => {
        for (const { address } of [addresses].flat() as { address: string }[]) connected.push(address);
      });
    }
    return original({ port, host: "127.0.0.1" });
  };
  Object.assign(net, { connect });
  syncBuiltinESMExports();
  return {
    connected,
    stop() {
      Object.assign(net, { connect: original });
      syncBuiltinESMExports();
    },
  };
}

/** Recipients that would have the mail server do something else. */
async function attackRecipients(attacker: Attacker): Promise<void> {
  const { record } = attacker;
  const recipients = [
    "a@example.com>\r\nRCPT TO:<evil@example.com",
    "a@example.com\nBcc: evil@example.com",
    "a@example.com,evil@example.com",
    "<a@example.com>",
    '"a@example.com"@evil.example',
    "a@[127.0.0.1]",
    "a@localhost",
    "a b@example.com",
    "a@example.com\0",
    "@",
    "",
    "a@",
    `${"a".repeat(300)}@example.com`,
    "a@example.com SIZE=1",
    "=?utf-8?q?a=40evil.example=3e=00?=@example.com",
    "a%evil.example@example.com",
    "a!evil@example.com",
  ];
  for (const to of recipients) {
    await record.case(`a recipient ${JSON.stringify(to.slice(0, 50))}`, async (report) => {
      const document = { name: "Mail", timeZone: "Europe/London", currency: "GBP", email: { to: [to] } };
      const saved = await attacker.call(report, { method: "POST", path: "/v1/partners", document });
      if (saved.status >= 400) return;
      const id = textAt(saved.json, "id");
      await addCampaign(attacker, report, [id]);
      const before = attacker.installation.mail.messages().length;
      await attacker.call(report, { method: "POST", path: `/v1/partners/${id}/test`, document: {} });
      for (const mail of attacker.installation.mail.messages().slice(before)) {
        if (mail.to.length !== 1 || mail.to.some((one) => /^evil/.test(one)))
          report("leak", `it went to ${mail.to.join()}`);
      }
    });
  }
}
