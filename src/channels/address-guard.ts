import { promises as dns } from "node:dns";
import { BlockList, isIP, isIPv4, isIPv6 } from "node:net";

/**
 * Which addresses may be connected to when somebody else typed in the host. Only globally routable unicast addresses
 * are, unless the operator allowed that `host:port`. The check is on the address, not on the name: see outbound.ts for
 * how the address that was checked is the one that is connected to.
 */

export interface ResolvedAddress {
  readonly address: string;
  readonly family: 4 | 6;
}

/** Gives every address of a host name; throws (as `dns.lookup` does) where there is none. */
export type Lookup = (hostname: string) => Promise<readonly ResolvedAddress[]>;

export interface AddressGuard {
  /** `host:port` entries, as an operator writes them, that may be reached although they are private. */
  readonly allowHosts: readonly string[];
  readonly lookup?: Lookup | undefined;
}

export type Permitted =
  | { readonly ok: true; readonly addresses: readonly ResolvedAddress[] }
  | { readonly ok: false; readonly code: "dns" | "refused_address"; readonly detail: string };

/** IANA special-purpose registries (RFC 6890 and its updates), and what cloud providers keep for themselves. */
const refusedRanges: readonly (readonly [what: string, ...ranges: string[]])[] = [
  ["an unspecified address", "0.0.0.0/8"],
  ["a private address", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
  ["a shared (carrier-grade NAT) address", "100.64.0.0/10"],
  ["a loopback address", "127.0.0.0/8"],
  ["a link-local address", "169.254.0.0/16"],
  // 168.63.129.16 looks public but is Azure's wire server, reachable from inside a virtual machine only.
  ["a metadata address", "168.63.129.16/32"],
  ["a reserved address", "192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4"],
  ["a documentation or benchmark address", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15"],
  ["a multicast address", "224.0.0.0/4"],
  // Inside 2000::/3; whatever lies outside it is refused without a list (RFC 4291 section 2.4).
  ["a documentation address", "2001:db8::/32", "3fff::/20"],
  ["a tunnel address", "2002::/16", "2001::/32"],
  ["a reserved address", "2001::/23"],
];

const refusedLists = refusedRanges.map(([what, ...ranges]) => {
  const list = new BlockList();
  for (const range of ranges) {
    const [network = "", prefix = ""] = range.split("/");
    list.addSubnet(network, Number(prefix), isIPv4(network) ? "ipv4" : "ipv6");
  }
  return { what, list };
});

/**
 * Takes an IP address in text form. Gives null where it may be connected to, otherwise what it is, in words that follow
 * "it is": `a private address`. An IPv6 address that carries an IPv4 one is judged by it or refused outright.
 */
export function refusalOf(address: string): string | null {
  if (isIPv4(address)) return listed(address, "ipv4");
  // A zone id (`fe80::1%eth0`) names an interface of this machine.
  if (!isIPv6(address) || address.includes("%")) return "not an address that can be reached";
  const groups = groupsOf(address);
  const embedded = embeddedIpv4(groups);
  if (embedded !== null) return listed(embedded, "ipv4");
  const [first = 0] = groups;
  if (groups.every((group, index) => group === (index === 7 ? 1 : 0))) return "a loopback address";
  if ((first & 0xffc0) === 0xfe80) return "a link-local address";
  if ((first & 0xfe00) === 0xfc00) return "a private address";
  if ((first & 0xff00) === 0xff00) return "a multicast address";
  if ((first & 0xe000) !== 0x2000) return "a reserved address";
  // ISATAP (RFC 5214): an IPv4 address behind any prefix, marked by the interface identifier.
  if (((groups[4] ?? 0) & 0xfdff) === 0 && groups[5] === 0x5efe) return "a tunnel address";
  return listed(address, "ipv6");
}

function listed(address: string, family: "ipv4" | "ipv6"): string | null {
  return refusedLists.find(({ list }) => list.check(address, family))?.what ?? null;
}

/** IPv4-mapped `::ffff:0:0/96` (RFC 4291) and NAT64 `64:ff9b::/96` (RFC 6052) lead to the IPv4 address in their last 32 bits. */
function embeddedIpv4(groups: readonly number[]): string | null {
  const prefix = groups.slice(0, 6).join(":");
  if (prefix !== "0:0:0:0:0:65535" && prefix !== "100:65435:0:0:0:0") return null;
  return groups
    .slice(6)
    .flatMap((group) => [group >> 8, group & 0xff])
    .join(".");
}

/** The eight groups of an IPv6 address as numbers. */
function groupsOf(address: string): readonly number[] {
  // The URL parser writes every spelling, dotted quads too, as hexadecimal groups with at most one `::`.
  const [head = "", tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const missing = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return [...before, ...missing, ...after].map((group) => Number.parseInt(group, 16));
}

/**
 * Takes a host as somebody wrote it (any case, international, decimal or hexadecimal IPv4, IPv6 with or without
 * brackets) and gives the one spelling that the URL standard makes of it, without brackets and without a final dot;
 * null where it is no host.
 */
export function normaliseHost(host: string): string | null {
  const written = isIPv6(host) ? `[${host}]` : host;
  if (!URL.canParse(`http://${written}/`)) return null;
  const url = new URL(`http://${written}/`);
  if (url.href !== `http://${url.hostname}/` || url.hostname === "") return null;
  return url.hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
}

/** Is this host and port, as typed, among the allowed `host:port` entries? An entry without a port allows nothing. */
export function isAllowedHost(allowHosts: readonly string[], typedHost: string, port: number): boolean {
  const typed = normaliseHost(typedHost);
  if (typed === null) return false;
  return allowHosts.some((entry) => {
    const [, host, digits] = /^(.+):(\d+)$/.exec(entry) ?? [];
    return host !== undefined && Number(digits) === port && normaliseHost(host) === typed;
  });
}

/**
 * Takes an address that somebody else typed in. Gives the URL; refuses (with the reason in plain words) what is not
 * http or https, and user names and passwords inside the URL, which would end up in logs.
 */
export function readOutboundUrl(
  text: string,
  base?: URL,
): { readonly ok: true; readonly url: URL } | { readonly ok: false; readonly detail: string } {
  if (!URL.canParse(text, base?.href)) return { ok: false, detail: "The address is not a URL." };
  const url = new URL(text, base?.href);
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    return { ok: false, detail: "Only http and https addresses can be sent to." };
  }
  if (url.username !== "" || url.password !== "") {
    return { ok: false, detail: "The address must not hold a user name or password: use the authentication setting." };
  }
  return { ok: true, url };
}

/** The port of an http or https URL, named or not. */
export function portOf(url: { readonly protocol: string; readonly port: string }): number {
  if (url.port !== "") return Number(url.port);
  return url.protocol === "https:" ? 443 : 80;
}

/**
 * Takes a host (with or without brackets) and port; gives the addresses that may be connected to. Refuses the host when
 * any of its addresses is refused: a name that is public and private at once is a mistake or an attack. Says which kind
 * of address it was, not which address: what a name means inside our network is not for outsiders.
 */
export async function permitAddresses(guard: AddressGuard, host: string, port: number): Promise<Permitted> {
  const hostname = normaliseHost(host);
  if (hostname === null) return { ok: false, code: "refused_address", detail: "The host is not a valid name." };
  const literal = isIP(hostname);
  const addresses = literal
    ? [{ address: hostname, family: literal === 4 ? (4 as const) : (6 as const) }]
    : await (guard.lookup ?? systemLookup)(hostname).catch(() => []);
  if (addresses.length === 0) return { ok: false, code: "dns", detail: `The host ${hostname} could not be found.` };
  if (isAllowedHost(guard.allowHosts, hostname, port)) return { ok: true, addresses };
  for (const { address } of addresses) {
    const refusal = refusalOf(address);
    if (refusal === null) continue;
    const detail = `The host ${hostname} is ${refusal}, which may not be sent to.`;
    return { ok: false, code: "refused_address", detail };
  }
  return { ok: true, addresses };
}

const lookupsUnderWay = new Map<string, Promise<readonly ResolvedAddress[]>>();

/** One lookup per name at a time: getaddrinfo has two threads, which one dead name server must not take from everybody. */
function systemLookup(hostname: string): Promise<readonly ResolvedAddress[]> {
  const underWay = lookupsUnderWay.get(hostname);
  if (underWay !== undefined) return underWay;
  const started = dns
    .lookup(hostname, { all: true, verbatim: true })
    .then((found) =>
      found.map(({ address, family }) => ({ address, family: family === 6 ? (6 as const) : (4 as const) })),
    )
    .finally(() => lookupsUnderWay.delete(hostname));
  lookupsUnderWay.set(hostname, started);
  return started;
}
