import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { Lookup } from "../../src/channels/address-guard.ts";
import {
  isAllowedHost,
  normaliseHost,
  permitAddresses,
  readOutboundUrl,
  refusalOf,
} from "../../src/channels/address-guard.ts";

const refused: readonly (readonly [address: string, what: RegExp])[] = [
  ["0.0.0.0", /unspecified/],
  ["0.1.2.3", /unspecified/],
  ["10.0.0.1", /private/],
  ["10.255.255.255", /private/],
  ["100.64.0.1", /shared/],
  ["100.100.100.200", /shared/],
  ["100.127.255.255", /shared/],
  ["127.0.0.1", /loopback/],
  ["127.255.255.254", /loopback/],
  ["168.63.129.16", /metadata/],
  ["169.254.169.254", /link-local/],
  ["172.16.0.1", /private/],
  ["172.31.255.255", /private/],
  ["192.0.0.192", /reserved/],
  ["192.0.2.1", /documentation/],
  ["192.88.99.1", /reserved/],
  ["192.168.1.1", /private/],
  ["198.18.0.1", /benchmark/],
  ["198.19.255.255", /benchmark/],
  ["198.51.100.7", /documentation/],
  ["203.0.113.9", /documentation/],
  ["224.0.0.1", /multicast/],
  ["239.255.255.250", /multicast/],
  ["240.0.0.1", /reserved/],
  ["255.255.255.255", /reserved/],
  ["::", /reserved/],
  ["::1", /loopback/],
  ["0:0:0:0:0:0:0:1", /loopback/],
  ["::127.0.0.1", /reserved/],
  ["::ffff:127.0.0.1", /loopback/],
  ["::ffff:7f00:1", /loopback/],
  ["::ffff:169.254.169.254", /link-local/],
  ["::ffff:0:10.0.0.1", /reserved/],
  ["64:ff9b::10.0.0.1", /private/],
  ["64:ff9b::a9fe:a9fe", /link-local/],
  ["64:ff9b:1::1", /reserved/],
  ["100::1", /reserved/],
  ["2001::1", /tunnel/],
  ["2001:0:7f00:1::", /tunnel/],
  ["2001:2::1", /reserved/],
  ["2001:10::1", /reserved/],
  ["2001:20::1", /reserved/],
  ["2001:db8::1", /documentation/],
  ["2002:7f00:1::", /tunnel/],
  ["2002:808:808::1", /tunnel/],
  ["2a00:1450::5efe:10.0.0.1", /tunnel/],
  ["2a00:1450::200:5efe:10.0.0.1", /tunnel/],
  ["3fff::1", /documentation/],
  ["4000::1", /reserved/],
  ["5f00::1", /reserved/],
  ["fc00::1", /private/],
  ["fd00:ec2::254", /private/],
  ["fe80::1", /link-local/],
  ["febf::1", /link-local/],
  ["fe80::1%eth0", /not an address/],
  ["2a00:1450::1%eth0", /not an address/],
  ["fec0::1", /reserved/],
  ["ff02::1", /multicast/],
  ["", /not an address/],
  ["localhost", /not an address/],
  ["127.1", /not an address/],
  ["2130706433", /not an address/],
];

const reachable = [
  "1.1.1.1",
  "8.8.8.8",
  "9.255.255.255",
  "11.0.0.0",
  "100.63.255.255",
  "100.128.0.0",
  "126.255.255.255",
  "128.0.0.0",
  "168.63.129.17",
  "169.253.255.255",
  "172.15.255.255",
  "172.32.0.0",
  "192.0.1.0",
  "192.167.255.255",
  "192.169.0.0",
  "198.17.255.255",
  "198.20.0.0",
  "203.0.112.255",
  "203.0.114.0",
  "223.255.255.255",
  "::ffff:8.8.8.8",
  "64:ff9b::8.8.8.8",
  "2001:200::1",
  "2001:4860:4860::8888",
  "2606:4700:4700::1111",
  "2a00:1450:4009::200e",
];

describe("the address guard", () => {
  test.each(refused)("refuses %s", (address, what) => {
    expect(refusalOf(address)).toMatch(what);
  });

  test.each(reachable)("lets %s through", (address) => {
    expect(refusalOf(address)).toBeNull();
  });

  const privateIpv4 = fc
    .tuple(
      fc.constantFrom(
        [10, 8],
        [127, 8],
        [169 * 256 + 254, 16],
        [192 * 256 + 168, 16],
        [172 * 16 + 1, 12],
        [0, 8],
        [7, 3],
      ),
      fc.nat(0xffffffff),
    )
    .map(([[network = 0, bits = 0], random]) => network * 2 ** (32 - bits) + (random % 2 ** (32 - bits)));
  const octets = (ip: number) => [24, 16, 8, 0].map((shift) => Math.floor(ip / 2 ** shift) % 256);
  const hex = (ip: number) => `${Math.floor(ip / 65536).toString(16)}:${(ip % 65536).toString(16)}`;

  test("refuses every private IPv4 address in whatever IPv6 address carries it", () => {
    fc.assert(
      fc.property(privateIpv4, fc.nat(0xffff), (ip, group) => {
        const dotted = octets(ip).join(".");
        const embeddings = [
          dotted,
          `::${dotted}`,
          `::ffff:${dotted}`,
          `::ffff:0:${dotted}`,
          `::ffff:${hex(ip)}`,
          `0:0:0:0:0:FFFF:${hex(ip).toUpperCase()}`,
          `64:ff9b::${dotted}`,
          `64:ff9b::${hex(ip)}`,
          `64:ff9b:1:${group.toString(16)}::${dotted}`,
          `2002:${hex(ip)}::1`,
          `2001:0:${hex(ip)}:0:${group.toString(16)}::`,
          `2a00:${group.toString(16)}::5efe:${dotted}`,
        ];
        return embeddings.every((address) => refusalOf(address) !== null);
      }),
      { numRuns: 1_000 },
    );
  });

  test("refuses every private IPv4 address in whatever spelling a URL takes", () => {
    const spellings = (ip: number) => {
      const [a = 0, b = 0, c = 0, d = 0] = octets(ip);
      const wide = [...`${a}.${b}.${c}.${d}`].map((digit) =>
        digit === "." ? "\uff0e" : String.fromCodePoint(0xfee0 + (digit.codePointAt(0) ?? 0)),
      );
      return [
        String(ip),
        `0x${ip.toString(16)}`,
        `0${ip.toString(8)}`,
        `0x${a.toString(16)}.0x${b.toString(16)}.0X${c.toString(16)}.${d}`,
        `0${a.toString(8)}.0${b.toString(8)}.${c}.0${d.toString(8)}`,
        `${a}.${b * 65536 + c * 256 + d}`,
        `${a}.${b}.${c * 256 + d}`,
        `${a}.${b}.${c}.${d}.`,
        `[::ffff:${a}.${b}.${c}.${d}]`,
        wide.join(""),
      ];
    };
    fc.assert(
      fc.property(privateIpv4, (ip) =>
        spellings(ip).every((spelling) => {
          const url = readOutboundUrl(`http://${spelling}/x`);
          return url.ok && refusalOf(normaliseHost(url.url.hostname) ?? "") !== null;
        }),
      ),
      { numRuns: 500 },
    );
  });
});

const never: Lookup = () => {
  throw new Error("A literal address is not looked up.");
};
const answering =
  (...addresses: readonly string[]): Lookup =>
  async () =>
    addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));

describe("permission to connect", () => {
  test.each([
    "2130706433",
    "0x7f.1",
    "0x7F000001",
    "0177.0.0.1",
    "017700000001",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "1\uff12\uff17.0.0.1",
    "\u2460\u2461\u2466.0.0.1",
    "[::1]",
    "::1",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7F00:1]",
    "0",
    "0.0.0.0",
    "169.254.169.254",
    "[fd00:ec2::254]",
  ])("is refused for %s without asking a name server", async (host) => {
    const permitted = await permitAddresses({ allowHosts: [], lookup: never }, host, 80);
    expect(permitted).toMatchObject({ ok: false, code: "refused_address" });
  });

  test.each(["localhost", "LOCALHOST", "localhost.", "LocalHost."])("is refused for %s, as resolved", async (host) => {
    const permitted = await permitAddresses({ allowHosts: [] }, host, 80);
    expect(permitted).toMatchObject({ ok: false, code: "refused_address" });
  });

  test("is refused for a name as soon as one of its addresses is private", async () => {
    const guard = { allowHosts: [], lookup: answering("8.8.8.8", "10.0.0.8") };
    const permitted = await permitAddresses(guard, "mixed.example.com", 443);
    expect(permitted).toMatchObject({ ok: false, code: "refused_address" });
  });

  test("does not tell which private address a name stands for", async () => {
    const permitted = await permitAddresses({ allowHosts: [], lookup: answering("10.11.12.13") }, "x.test", 443);
    expect(JSON.stringify(permitted)).not.toContain("10.11.12.13");
  });

  test("gives all addresses of a public name", async () => {
    const lookup = answering("2606:4700:4700::1111", "1.1.1.1");
    const permitted = await permitAddresses({ allowHosts: [], lookup }, "one.example.com", 443);
    expect(permitted).toEqual({
      ok: true,
      addresses: [
        { address: "2606:4700:4700::1111", family: 6 },
        { address: "1.1.1.1", family: 4 },
      ],
    });
  });

  test.each([
    ["a name without addresses", answering()],
    ["a name server that fails", async () => Promise.reject(new Error("EAI_AGAIN"))],
  ])("fails with dns for %s", async (_what, lookup) => {
    const permitted = await permitAddresses({ allowHosts: [], lookup }, "nowhere.test", 443);
    expect(permitted).toMatchObject({ ok: false, code: "dns" });
  });

  test("is given for a private address where the operator allowed that host and port, in any spelling", async () => {
    for (const allowed of ["127.0.0.1:8080", "2130706433:8080", "0x7f.1:8080"]) {
      const guard = { allowHosts: [allowed], lookup: never };
      expect(await permitAddresses(guard, "127.1", 8080)).toMatchObject({ ok: true });
      expect(await permitAddresses(guard, "127.0.0.1", 8081)).toMatchObject({ ok: false });
      expect(await permitAddresses(guard, "127.0.0.2", 8080)).toMatchObject({ ok: false });
    }
  });

  test("is not given to another name that leads to an allowed address", async () => {
    const guard = { allowHosts: ["127.0.0.1:8080"], lookup: answering("127.0.0.1") };
    expect(await permitAddresses(guard, "rebind.test", 8080)).toMatchObject({ ok: false, code: "refused_address" });
  });
});

describe("an allowed host", () => {
  test.each([
    ["mail:25", "MAIL", 25, true],
    ["Mail.Internal:25", "mail.internal.", 25, true],
    ["[::1]:25", "::1", 25, true],
    ["[::1]:25", "[0:0:0:0:0:0:0:1]", 25, true],
    ["b\u00fccher.test:443", "xn--bcher-kva.test", 443, true],
    ["mail:25", "mail", 26, false],
    ["mail", "mail", 25, false],
    ["mail:", "mail", 0, false],
    [":25", "mail", 25, false],
    ["", "", 25, false],
    ["user@mail:25", "mail", 25, false],
    ["mail/x:25", "mail", 25, false],
    ["*:25", "mail", 25, false],
  ] as const)("%s matches %s port %d: %s", (entry, host, port, expected) => {
    expect(isAllowedHost([entry], host, port)).toBe(expected);
  });
});

describe("an address to send to", () => {
  test.each([
    "ftp://a.test/",
    "file:///etc/passwd",
    "javascript:1",
    "data:text/plain,x",
    "unix:/run/docker.sock",
    "gopher://a.test/",
    "a.test/x",
    "//a.test",
    "http://",
    "",
    "http://u:p@a.test/",
    "http://u@a.test/",
    "http://[fe80::1%25eth0]/",
    "http://a b.test/",
  ])("is not %s", (text) => {
    expect(readOutboundUrl(text).ok).toBe(false);
  });

  test("is an http or https URL", () => {
    expect(readOutboundUrl("HTTPS://Partner.Example.com:443/a?b=c")).toMatchObject({ ok: true });
  });
});
