import type { Vault } from "../encrypt.ts";

/**
 * What stands in lead_keys for a value that a campaign matches duplicates on: leads can be found by it, and who reads the
 * database learns nothing. Takes the value as `matchKeys` gives it.
 */
export function leadKey(vault: Vault, campaignId: string, field: string, value: string): Buffer {
  return vault.fingerprint(`${campaignId} field ${field} ${value}`);
}
