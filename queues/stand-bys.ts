import { randomBytes } from "node:crypto";
import { z } from "zod";
import type { Listening, QueueBackend } from "./connection.ts";

/**
 * Who has just done work stands by for more of it: others give it their wake-ups directly, which takes a message where the
 * queue takes a job with its states. Such a message may be lost, as a job may: the sweep finds the work within a second.
 */
export interface StandBys {
  /** Gives a wake-up to who stands by for it. False where nobody is known to: then it is for the queue. */
  give(name: string, key: string, payload: object): Promise<boolean>;
  /** Begins to hear who stands by. */
  follow(): void;
  /** Begins to hear what is given to this process, until `stopping`. */
  open(hear: (name: string, payload: unknown) => void, stopping: AbortSignal): void;
  /** Says that this process is there for work of a kind and key, if it hears what is given to it. */
  offer(name: string, key: string): void;
}

/** An offer holds for so long. Who dies in between leaves what it is given to the sweep. */
const offerMs = 5_000;

/** While work goes on the offer is made again this often. */
const offerEveryMs = 2_000;

/** Where offers are made; each process hears what it is given under a name of its own. */
const offersChannel = "stand-bys";

const offered = z.object({ by: z.string(), what: z.string().nullable() });
const given = z.object({ name: z.string(), payload: z.unknown() });

export function createStandBys(backend: QueueBackend, onError: (error: Error) => void): StandBys {
  const own = randomBytes(8).toString("hex");
  const whatOf = (name: string, key: string) => `${name}-${key}`;
  /** When this process last offered itself for what. */
  const offers = new Map<string, number>();
  const others = new Others();
  let ownChannel: Listening | null = null;

  function make(what: string | null): void {
    backend.say(offersChannel, JSON.stringify({ by: own, what })).catch(onError);
  }

  return {
    give: async (name, key, payload) =>
      others.find(whatOf(name, key), async (by) =>
        backend.say(by, JSON.stringify({ name, payload })).catch((error: Error) => {
          onError(error);
          return false;
        }),
      ),
    follow() {
      backend.listen(offersChannel, (message) => {
        const offer = read(offered, message);
        if (offer !== null) others.hear(offer.by, offer.what);
      });
    },
    open(hear, stopping) {
      if (ownChannel !== null) return;
      ownChannel = backend.listen(own, (message) => {
        const wakeUp = read(given, message);
        if (wakeUp !== null) hear(wakeUp.name, wakeUp.payload);
      });
      stopping.addEventListener("abort", () => {
        if (offers.size > 0) make(null);
      });
    },
    offer(name, key) {
      const what = whatOf(name, key);
      const now = performance.now();
      if (ownChannel?.isOpen() !== true || now - (offers.get(what) ?? Number.NEGATIVE_INFINITY) < offerEveryMs) return;
      offers.set(what, now);
      make(what);
    },
  };
}

/** Who stands by for what, and until when; in the order in which they are to be given something. */
class Others {
  readonly #standing = new Map<string, Map<string, number>>();

  /** An offer; without `what`, that `by` is leaving. */
  hear(by: string, what: string | null): void {
    if (what === null) {
      for (const standing of this.#standing.values()) standing.delete(by);
      return;
    }
    const standing = this.#standing.get(what) ?? new Map<string, number>();
    this.#standing.set(what, standing.set(by, performance.now() + offerMs));
  }

  /** Finds one that hears; the others have their turn before it is asked again, so that they share what keeps more than one busy. */
  async find(what: string, isHeardBy: (by: string) => Promise<boolean>): Promise<boolean> {
    const standing = this.#standing.get(what) ?? new Map<string, number>();
    for (const [by, until] of [...standing]) {
      standing.delete(by);
      if (performance.now() >= until || !(await isHeardBy(by))) continue;
      standing.set(by, until);
      return true;
    }
    return false;
  }
}

/** What another version of the product says, or somebody else altogether, is not listened to. */
function read<T>(schema: z.ZodType<T>, message: string): T | null {
  try {
    return schema.safeParse(JSON.parse(message)).data ?? null;
  } catch {
    return null;
  }
}
