import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/**
 * A TCP proxy that keeps its port whatever becomes of the server behind it, and whose path can be made a black hole: what was connected stays open on both sides and nothing passes any more,
 * for ever; new connections are taken and get no answer. After `mend`, new connections pass. That is what a lost route, a
 * pulled cable or a firewall that forgets looks like: no end, no reset, no error.
 */
export interface HalfOpenProxy {
  readonly port: number;
  /** Where new connections lead from now on; null: nowhere, they are reset, as where no server listens. */
  leadTo(targetPort: number | null): void;
  /** Gives how many connections have gone silent. */
  blackHole(): number;
  mend(): void;
  close(): Promise<void>;
}

export async function openHalfOpenProxy(firstPort: number | null): Promise<HalfOpenProxy> {
  const pairs = new Set<Pair>();
  let targetPort = firstPort;
  let isBlackHole = false;
  const server = createServer((client) => {
    if (!isBlackHole && targetPort === null) {
      client.resetAndDestroy();
      return;
    }
    const pair = openPair(client, isBlackHole ? null : targetPort, () => pairs.delete(pair));
    pairs.add(pair);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    leadTo(port) {
      targetPort = port;
    },
    blackHole() {
      isBlackHole = true;
      return [...pairs].filter((pair) => pair.silence()).length;
    },
    mend() {
      isBlackHole = false;
    },
    async close() {
      for (const pair of pairs) pair.destroy();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}

interface Pair {
  /** Gives false where it was silent already. */
  silence(): boolean;
  destroy(): void;
}

function openPair(client: Socket, targetPort: number | null, onOver: () => void): Pair {
  client.setNoDelay(true);
  client.on("error", () => undefined);
  if (targetPort === null) {
    // Bytes are taken and go nowhere.
    client.resume();
    client.once("close", onOver);
    return { silence: () => false, destroy: () => client.destroy() };
  }
  const target = connect({ port: targetPort, host: "127.0.0.1", noDelay: true });
  target.on("error", () => undefined);
  client.pipe(target);
  target.pipe(client);
  let isSilent = false;
  client.once("close", () => {
    // The other side of a black hole never hears of it: it goes on believing in its client.
    if (!isSilent) target.destroy();
  });
  target.once("close", () => {
    if (!isSilent) client.destroy();
    onOver();
  });
  return {
    silence() {
      if (isSilent) return false;
      isSilent = true;
      client.unpipe(target);
      target.unpipe(client);
      client.resume();
      target.resume();
      return true;
    },
    destroy() {
      client.destroy();
      target.destroy();
    },
  };
}
