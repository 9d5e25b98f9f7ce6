import { buildApp } from "../../src/app.ts";
import { readConfig } from "../../src/config.ts";
import { type Context, closeContext, openContext } from "../../src/context.ts";
import { createPool, type Database, openDatabase } from "../../src/db/database.ts";
import type { Api } from "../../src/http/api.ts";
import { createApiKey } from "../../src/organisations/api-keys.ts";
import { createOrganisation } from "../../src/organisations/create-organisation.ts";
import { createTestDatabase } from "./database.ts";
import { undocumented } from "./documented.ts";

/** The HTTP API on a database of its own, without a socket and without workers. All parts are real. */
export interface TestApi {
  readonly api: Api;
  readonly context: Context;
  /** As the superuser: sees every organisation's rows. */
  readonly owner: Database;
  readonly databaseUrl: string;
  /** Makes an organisation and a client that calls with its key. */
  createClient(name?: string): Promise<TestClient>;
  close(): Promise<void>;
}

export interface TestAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  /** Parsed JSON; the text itself where it is none. */
  readonly body: unknown;
  readonly raw: string;
  /** What lies at a place in the body, such as `fields.0.code`; undefined where there is nothing. */
  value(place: string): unknown;
  /** The text at a place in the body; fails where there is none. */
  text(place: string): string;
}

export interface CallOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as it is, with the content type among the headers. */
  readonly payload?: string | Buffer;
}

export interface TestClient {
  readonly organisationId: string;
  readonly key: string;
  call(method: Method, url: string, body?: unknown, options?: CallOptions): Promise<TestAnswer>;
}

export type Method = "GET" | "POST" | "PATCH" | "PUT" | "DELETE";

export interface TestApiOptions {
  readonly environment?: Readonly<Record<string, string>>;
  readonly clock?: () => Date;
  readonly log?: Context["log"];
}

export async function createTestApi({ environment = {}, ...options }: TestApiOptions = {}): Promise<TestApi> {
  const { databaseUrl, drop } = await createTestDatabase();
  const read = readConfig({ LOG_LEVEL: "silent", DATABASE_POOL_SIZE: "8", ...environment });
  if (!read.ok) throw new Error(read.problems.join("; "));
  const secret = "a secret of the tests, 32 characters long";
  const context = openContext({ config: read.config, databaseUrl, secret, ...options });
  const api = await buildApp(context, { pendingMigrations: async () => [] });
  await api.ready();
  const owner = openDatabase(createPool(databaseUrl, "owner", 2));
  return {
    api,
    context,
    owner,
    databaseUrl,
    createClient: async (name = "Sellers") => createClient(api, owner, name),
    async close() {
      await api.close();
      await closeContext(context, 1_000);
      await owner.destroy();
      await drop();
    },
  };
}

async function createClient(api: Api, owner: Database, name: string): Promise<TestClient> {
  const document = { name, timeZone: "Europe/London", currency: "GBP", smsRate: 5, staffEmail: null };
  const at = new Date();
  const { id } = await createOrganisation(owner, document, "test", at);
  const created = await createApiKey(owner, { organisationId: id, by: "test", at }, { name: "test", expiresAt: null });
  if (created === null) throw new Error("The API key exists already.");
  const { key } = created;
  return { organisationId: id, key, call: async (...words) => call(api, key, ...words) };
}

/** One request; with `key` null, without a key. */
export async function call(
  api: Api,
  key: string | null,
  method: Method,
  url: string,
  body?: unknown,
  { headers = {}, payload }: CallOptions = {},
): Promise<TestAnswer> {
  const answer = await api.inject({
    method,
    url,
    headers: {
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
    ...(payload === undefined ? {} : { payload }),
  });
  const parsed = parseBody(answer.body);
  const problem = undocumented(api, method, url, answer.statusCode, parsed);
  if (problem !== null) throw new Error(`The answer is not as documented. ${problem}\n${answer.body}`);
  return {
    status: answer.statusCode,
    headers: answer.headers,
    body: parsed,
    raw: answer.body,
    value: (place) => valueAt(parsed, place),
    text(place) {
      const value = valueAt(parsed, place);
      if (typeof value !== "string") throw new Error(`No text at ${place} in ${answer.statusCode} ${answer.body}`);
      return value;
    },
  };
}

function valueAt(root: unknown, place: string): unknown {
  return place.split(".").reduce<unknown>((value, key) => {
    if (typeof value !== "object" || value === null) return undefined;
    return new Map(Object.entries(value)).get(key);
  }, root);
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
