import type { z } from "zod";
import type { SettingsProblem } from "./contract.ts";
import { secretMask, soapAuthSchema } from "./http-settings.ts";

/** The parts of settings that can hold secrets. */
interface MaybeSecret {
  readonly auth?: z.infer<typeof soapAuthSchema>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** By the kind of authentication, the keys that its schema marks as secret. */
const secretKeys: ReadonlyMap<string, readonly string[]> = new Map(
  soapAuthSchema.options.map((option) => {
    const secret = Object.entries(option.shape).filter(([, schema]) => schema.meta()?.secret === true);
    return [option.shape.type.value, secret.map(([key]) => key)];
  }),
);

/** A header whose name speaks of a credential is taken to hold one. */
const credentialName = /authorization|key|token|secret|cookie|pass|signature|credential/i;

/** Where the secrets of these settings are: `["auth", "token"]`, `["headers", "X-Api-Key"]`. */
export function secretPaths(settings: MaybeSecret): readonly (readonly ["auth" | "headers", string])[] {
  const auth = secretKeys.get(settings.auth?.type ?? "none") ?? [];
  const headers = Object.keys(settings.headers ?? {}).filter((name) => credentialName.test(name));
  return [
    ...auth.map((key): ["auth", string] => ["auth", key]),
    ...headers.map((name): ["headers", string] => ["headers", name]),
  ];
}

/** The same settings with each secret changed, as for encrypting or decrypting them. */
export function mapSecrets<Settings extends MaybeSecret>(
  settings: Settings,
  change: (secret: string, path: string) => string,
): Settings {
  const changed: { auth?: Record<string, unknown>; headers?: Record<string, unknown> } = {};
  for (const [part, key] of secretPaths(settings)) {
    const values = new Map<string, unknown>(Object.entries(settings[part] ?? {}));
    const secret = values.get(key);
    changed[part] ??= Object.fromEntries(values);
    if (typeof secret === "string") changed[part][key] = change(secret, secretName(settings, part, key));
  }
  return { ...settings, ...changed };
}

/** The secrets themselves, so that they can be masked in what is stored about a request. */
export function listSecrets(settings: MaybeSecret): readonly string[] {
  const secrets: string[] = [];
  mapSecrets(settings, (secret) => {
    secrets.push(secret);
    return secret;
  });
  return secrets;
}

export function maskSecrets<Settings extends MaybeSecret>(settings: Settings): Settings {
  return mapSecrets(settings, () => secretMask);
}

export type Kept<Settings> =
  | { readonly ok: true; readonly settings: Settings }
  | { readonly ok: false; readonly problems: readonly SettingsProblem[] };

/**
 * Puts the stored secret wherever `next` carries the mask. Both are as a person would write them, with secrets in the
 * clear (or both encrypted alike). Refuses a mask for which nothing is stored, as after a change of `auth.type`.
 */
export function keepMaskedSecrets<Settings extends MaybeSecret>(
  next: Settings,
  previous: MaybeSecret | null,
): Kept<Settings> {
  const stored = new Map<string, string>();
  if (previous !== null)
    mapSecrets(previous, (secret, name) => {
      stored.set(name, secret);
      return secret;
    });
  const problems: SettingsProblem[] = [];
  const settings = mapSecrets(next, (secret, name) => {
    if (secret !== secretMask) return secret;
    const kept = stored.get(name);
    if (kept === undefined) problems.push({ field: fieldOf(name), message: "must be given: no secret is stored here" });
    return kept ?? secret;
  });
  return problems.length === 0 ? { ok: true, settings } : { ok: false, problems };
}

/** Tells secrets apart: the password of one kind of authentication is not that of another. */
function secretName(settings: MaybeSecret, part: "auth" | "headers", key: string): string {
  return part === "auth" ? `auth.${key} ${settings.auth?.type}` : `headers.${key.toLowerCase()}`;
}

function fieldOf(name: string): string {
  return name.replace(/ .*$/, "");
}
