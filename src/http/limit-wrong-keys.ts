const minuteMs = 60_000;
/** Whoever has more addresses or keys than this gets more than the limit: memory has an end. */
const mostKept = 10_000;

/** Who may try another API key. */
export interface WrongKeyLimit {
  /** How long the address has to wait before it may try this key, in seconds; 0: not at all. */
  secondsToWait(address: string, key: Buffer, now: Date): number;
  /** Tells whether the key, given by its digest, was a good one. */
  note(address: string, key: Buffer, isGood: boolean, now: Date): void;
}

/**
 * Lets each address try `perMinute` wrong keys a minute; 0 lets all be tried. A key that was good when it was last used may
 * always be tried, so that nobody is locked out by others at the same address. An IPv6 address stands for its /64. Counted
 * in this process.
 */
export function createWrongKeyLimit(perMinute: number): WrongKeyLimit {
  const wrong = new Map<string, { count: number; readonly untilMs: number }>();
  const good = new Set<string>();
  return {
    secondsToWait(address, key, now) {
      if (perMinute === 0) return 0;
      const tried = wrong.get(networkOf(address));
      const leftMs = (tried?.untilMs ?? 0) - now.getTime();
      if (tried === undefined || leftMs <= 0 || tried.count < perMinute || good.has(key.toString("base64"))) return 0;
      return Math.ceil(leftMs / 1000);
    },
    note(address, key, isGood, now) {
      if (perMinute === 0) return;
      if (isGood) {
        good.add(key.toString("base64"));
        dropFirst(good);
        return;
      }
      good.delete(key.toString("base64"));
      const network = networkOf(address);
      const tried = wrong.get(network);
      if (tried !== undefined && tried.untilMs > now.getTime()) {
        tried.count += 1;
        return;
      }
      wrong.delete(network);
      wrong.set(network, { count: 1, untilMs: now.getTime() + minuteMs });
      dropFirst(wrong);
    },
  };
}

/** Maps and sets keep the order of arrival. */
function dropFirst(kept: Map<string, unknown> | Set<string>): void {
  const [first] = kept.keys();
  if (kept.size > mostKept && first !== undefined) kept.delete(first);
}

/** One customer of an IPv6 network has a whole /64 to choose addresses from. */
export function networkOf(address: string): string {
  const [start = "", rest] = address.replace(/^::ffff:(?=\d+\.)/i, "").split("::");
  if (!address.includes(":") || start.includes(".")) return start;
  const groups = start === "" ? [] : start.split(":");
  const left = rest === undefined || rest === "" ? 0 : rest.split(":").length;
  const filled =
    rest === undefined ? groups : [...groups, ...Array.from({ length: 8 - groups.length - left }, () => "0")];
  return filled.slice(0, 4).join(":");
}
