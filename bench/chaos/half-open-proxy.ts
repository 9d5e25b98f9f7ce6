import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/**
 * A TCP proxy whose path can be made a black hole: what was connected stays open on both sides and nothing passes any more,
 * for ever; new connections are taken and get no answer. After `mend`, new connections pass. That is what a lost route, a
 * pulled cable or a firewall that forgets looks like: no end, no reset, no error.
 */
export interface HalfOpenProxy {
  readonly port: number;
  blackHole(): void;
  mend(): void;
  close(): Promise<void>;
}

export async function openHalfOpenProxy(targetPort: number): Promise<HalfOpenProxy> {
  const pairs = new Set<Pair>();
  let isBlackHole = false;
  const server = createServer((client) => {
    pairs.add(openPair(client, isBlackHole ? null : targetPort));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    blackHole() {
      isBlackHole = true;
      for (const pair of pairs) pair.silence();
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
  silence(): void;
  destroy(): void;
}

function openPair(client: Socket, targetPort: number | null): Pair {
  client.setNoDelay(true);
  client.on("error", () => undefined);
  if (targetPort === null) {
    // Bytes are taken and go nowhere.
    client.resume();
    return { silence: () => undefined, destroy: () => client.destroy() };
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
  });
  return {
    silence() {
      isSilent = true;
      client.unpipe(target);
      target.unpipe(client);
      client.resume();
      target.resume();
    },
    destroy() {
      client.destroy();
      target.destroy();
    },
  };
}
