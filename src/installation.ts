import type { Config } from "./config.ts";
import { createPool, type Database, openDatabase } from "./db/database.ts";
import { findEmbeddedDatabase, startEmbeddedPostgres } from "./db/embedded-postgres.ts";
import { migrate } from "./db/migrate.ts";
import { randomSecret, readKeptValue } from "./kept-value.ts";
import { createApiKey } from "./organisations/api-keys.ts";
import { createOrganisation } from "./organisations/create-organisation.ts";

/** The database of an installation: the operator's own, or the one that comes with Handoff. */
export interface InstallationDatabase {
  readonly databaseUrl: string;
  readonly isEmbedded: boolean;
  stop(): Promise<void>;
}

/** Takes the database at DATABASE_URL, else starts PostgreSQL in the data folder. */
export async function openInstallationDatabase(
  config: Config,
  log: (message: string) => void,
): Promise<InstallationDatabase> {
  if (config.databaseUrl !== undefined) {
    return { databaseUrl: config.databaseUrl, isEmbedded: false, stop: async () => undefined };
  }
  const server = await startEmbeddedPostgres({ dataDirectory: config.dataDirectory, log });
  return { databaseUrl: server.databaseUrl, isEmbedded: true, stop: async () => server.stop() };
}

/** The same for a command that may run beside `handoff start`: then that one's database is used, and left running. */
export async function joinInstallationDatabase(
  config: Config,
  log: (message: string) => void,
): Promise<InstallationDatabase> {
  const options = { dataDirectory: config.dataDirectory, log };
  const running = config.databaseUrl === undefined ? await findEmbeddedDatabase(options) : null;
  if (running === null) return openInstallationDatabase(config, log);
  return { databaseUrl: running, isEmbedded: true, stop: async () => undefined };
}

/** The encryption secret: HANDOFF_SECRET, else the one that was made and kept in the data folder. */
export async function readSecret(config: Config): Promise<string> {
  return config.secret ?? readKeptValue(config.dataDirectory, "secret", randomSecret);
}

export interface FirstOrganisation {
  readonly id: string;
  /** It was made just now: this is the first start. */
  readonly isNew: boolean;
  readonly apiKey: string;
}

/**
 * Migrates, and makes the first organisation with its API key where there is none. The key is HANDOFF_API_KEY, else one
 * that is made and kept in the data folder, so that every start can show it.
 */
export async function prepareInstallation(config: Config, databaseUrl: string, now: Date): Promise<FirstOrganisation> {
  await migrate(databaseUrl);
  const owner = openDatabase(createPool(databaseUrl, "owner", 2));
  try {
    const apiKey =
      config.apiKey ?? (await readKeptValue(config.dataDirectory, "api-key", () => `handoff_${randomSecret()}`));
    const first = await owner.selectFrom("organisations").select("id").orderBy("id").limit(1).executeTakeFirst();
    const id = first?.id ?? (await createFirstOrganisation(owner, now));
    await ensureApiKey(owner, id, apiKey, now);
    return { id, isNew: first === undefined, apiKey };
  } finally {
    await owner.destroy();
  }
}

async function createFirstOrganisation(owner: Database, now: Date): Promise<string> {
  const document = {
    name: "My organisation",
    timeZone: "Europe/London",
    currency: "GBP",
    smsRate: 4,
    staffEmail: null,
  };
  const { id } = await createOrganisation(owner, document, "handoff start", now);
  return id;
}

/** A key that exists already is left as it is: revoked stays revoked. */
async function ensureApiKey(owner: Database, organisationId: string, key: string, now: Date): Promise<void> {
  const change = { organisationId, by: "handoff start", at: now };
  await createApiKey(owner, change, { name: "First key", expiresAt: null, key });
}
