import { randomBytes } from "node:crypto";
import { hash, parseOptions, verify } from "@node-rs/argon2";
import { Overloaded } from "../http/answer-errors.ts";

/**
 * Passwords are kept as argon2id (RFC 9106) with what the OWASP Password Storage Cheat Sheet asks for: 19 MiB, two passes,
 * one lane. When these grow, a hash is renewed the next time its owner signs in.
 */
const parameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;

/** Each takes 19 MiB and one of libuv's four threads, which file and name look-ups need as well. */
const mostAtOnce = 2;

/** At 30 ms each the last of them has waited three seconds. */
const mostWaiting = 200;

let underWay = 0;
const waiting: (() => void)[] = [];

/** What a password is compared with where there is no hash, so that it takes as long: of the same parameters, and nobody's. */
const nobodysHash = [
  "",
  "argon2id",
  "v=19",
  `m=${parameters.memoryCost},t=${parameters.timeCost},p=${parameters.parallelism}`,
  unpadded(randomBytes(16)),
  unpadded(randomBytes(32)),
].join("$");

function unpadded(bytes: Buffer): string {
  return bytes.toString("base64").replaceAll("=", "");
}

/** How many passwords this process has compared: the same number for every sign-in, whatever it comes to. */
export const passwordWork = { comparisons: 0, mostAtOnce: 0 };

/** Makes the hash that is kept of a password. Throws `Overloaded` where too many wait. */
export async function hashPassword(password: string): Promise<string> {
  return inTurn(async () => hash(normalised(password), parameters));
}

/**
 * Compares a password with a hash, off the event loop. Without a hash it does the same work and says no. Throws `Overloaded`
 * where too many wait.
 */
export async function isPassword(password: string, kept: string | null): Promise<boolean> {
  return inTurn(async () => {
    passwordWork.comparisons += 1;
    const isRight = await verify(kept ?? nobodysHash, normalised(password));
    return isRight && kept !== null;
  });
}

/** Whether a hash was made with less than is asked for today. */
export function isOutdated(kept: string): boolean {
  const { memoryCost, timeCost } = parseOptions(kept);
  return memoryCost < parameters.memoryCost || timeCost < parameters.timeCost;
}

/** A letter with an accent can be written in two ways, and keyboards differ in which. */
function normalised(password: string): string {
  return password.normalize("NFC");
}

async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (underWay >= mostAtOnce) {
    if (waiting.length >= mostWaiting) throw new Overloaded("Too many sign in at this moment. Nothing was changed.");
    // Whoever ends hands its place over, so that nobody comes in between.
    await new Promise<void>((resolve) => waiting.push(resolve));
  } else {
    underWay += 1;
  }
  passwordWork.mostAtOnce = Math.max(passwordWork.mostAtOnce, underWay);
  try {
    return await work();
  } finally {
    const next = waiting.shift();
    if (next === undefined) underWay -= 1;
    else next();
  }
}
