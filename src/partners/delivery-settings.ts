import { type EmailSettings, type InternetSettings, mapSecrets, maskSecrets } from "../channels/settings.ts";
import type { Vault } from "../encrypt.ts";

/** The ways to reach a partner, as settings of channels. */
export interface DeliverySettings {
  readonly internet: InternetSettings | null;
  readonly email: EmailSettings | null;
}

/** Takes settings as they are stored, gives them with their secrets in the clear. */
export function openDeliverySettings(vault: Vault, stored: DeliverySettings): DeliverySettings {
  return mapBoth(stored, (settings) => mapSecrets(settings, (secret) => vault.decrypt(secret)));
}

/** Takes settings with their secrets in the clear, gives them as they are stored. */
export function sealDeliverySettings(vault: Vault, settings: DeliverySettings): DeliverySettings {
  return mapBoth(settings, (part) => mapSecrets(part, (secret) => vault.encrypt(secret)));
}

/** The settings as anybody may see them. */
export function maskDeliverySettings(settings: DeliverySettings): DeliverySettings {
  return mapBoth(settings, (part) => maskSecrets(part));
}

function mapBoth(
  { internet, email }: DeliverySettings,
  change: <Settings extends InternetSettings | EmailSettings>(settings: Settings) => Settings,
): DeliverySettings {
  return { internet: internet === null ? null : change(internet), email: email === null ? null : change(email) };
}
