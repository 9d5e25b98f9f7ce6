import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
} from "node:crypto";

/** Keeps secrets at rest (AES-256-GCM) and makes keyed hashes of personal values that are only ever compared. */
export interface Vault {
  encrypt(text: string): string;
  decrypt(stored: string): string;
  /** 16 bytes of HMAC-SHA-256: equal for equal values, and of no use to who reads the database without the secret. */
  fingerprint(text: string): Buffer;
}

const marker = "enc1.";

/** Takes the operator's secret (HANDOFF_SECRET). What one vault encrypted, only a vault of the same secret decrypts. */
export function createVault(secret: string): Vault {
  const encryptionKey = Buffer.from(hkdfSync("sha256", secret, "", "handoff encryption", 32));
  const fingerprintKey = Buffer.from(hkdfSync("sha256", secret, "", "handoff fingerprint", 32));
  return {
    encrypt(text) {
      const nonce = randomBytes(12);
      const cipher = createCipheriv("aes-256-gcm", encryptionKey, nonce);
      const sealed = Buffer.concat([nonce, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
      return marker + sealed.toString("base64url");
    },
    decrypt(stored) {
      if (!stored.startsWith(marker))
        throw new Error("A stored secret is not encrypted: it was written past the vault.");
      const sealed = Buffer.from(stored.slice(marker.length), "base64url");
      const decipher = createDecipheriv("aes-256-gcm", encryptionKey, sealed.subarray(0, 12));
      decipher.setAuthTag(sealed.subarray(-16));
      try {
        return decipher.update(sealed.subarray(12, -16)).toString("utf8") + decipher.final("utf8");
      } catch (error) {
        throw new Error("A stored secret cannot be decrypted: HANDOFF_SECRET is not the one it was encrypted with.", {
          cause: error,
        });
      }
    },
    fingerprint: (text) => createHmac("sha256", fingerprintKey).update(text).digest().subarray(0, 16),
  };
}

export function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** Whether two digests are equal, in a time that does not depend on where they differ. */
export function equalDigests(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}
