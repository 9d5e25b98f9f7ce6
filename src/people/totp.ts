import { randomBytes } from "node:crypto";
import { Secret, TOTP } from "otpauth";
import { sha256 } from "../encrypt.ts";

/** What every authenticator app takes: SHA-1, six digits, thirty seconds (RFC 6238). */
const settings = { algorithm: "SHA1", digits: 6, period: 30 } as const;

/** A clock that is off by half a minute is no reason to keep somebody out. */
const stepsAround = 1;

export interface NewTotp {
  /** In base32, to be kept encrypted. */
  readonly secret: string;
  /** What an authenticator app reads out of a QR code. */
  readonly uri: string;
}

export function makeTotp(issuer: string, email: string): NewTotp {
  const secret = new Secret({ size: 20 });
  return { secret: secret.base32, uri: new TOTP({ ...settings, issuer, label: email, secret }).toString() };
}

/** The time step that a code is of, at `now` or one step around it; null where it is the code of none of these. */
export function stepOf(secret: string, code: string, now: Date): number | null {
  const totp = new TOTP({ ...settings, secret: Secret.fromBase32(secret) });
  const delta = totp.validate({ token: code, timestamp: now.getTime(), window: stepsAround });
  return delta === null ? null : Math.floor(now.getTime() / 1000 / settings.period) + delta;
}

const recoveryCodeCount = 10;

/** Five bits each, and none that is taken for another. */
const codeLetters = "0123456789abcdefghjkmnpqrstvwxyz";

/** Ten codes of 100 bits each, in groups of five letters. */
export function makeRecoveryCodes(): readonly string[] {
  return Array.from({ length: recoveryCodeCount }, () => {
    const letters = [...randomBytes(20)].map((byte) => codeLetters[byte % codeLetters.length]);
    return [0, 5, 10, 15].map((start) => letters.slice(start, start + 5).join("")).join("-");
  });
}

/** What is kept of a recovery code; however it is spelled. 100 random bits need no slow hash. */
export function recoveryCodeHash(code: string): Buffer {
  const read = code.toLowerCase().replace(/[\s-]/g, "").replaceAll("o", "0").replace(/[il]/g, "1");
  return sha256(`recovery code ${read}`);
}
