import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Reads a value that is made once and kept in the data folder, readable by its owner only: the encryption secret, the
 * first API key. Two processes that start at once agree on one.
 */
export async function readKeptValue(dataDirectory: string, name: string, make: () => string): Promise<string> {
  const file = join(dataDirectory, name);
  await mkdir(dataDirectory, { recursive: true });
  try {
    await writeFile(file, `${make()}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  }
  return (await readFile(file, "utf8")).trim();
}

/** 256 bits from the system's random source, in letters that need no escaping anywhere. */
export function randomSecret(): string {
  return randomBytes(32).toString("base64url");
}
