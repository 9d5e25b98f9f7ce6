import { Redis } from "ioredis";
import pg from "pg";
import type { Attacker } from "./attacker.ts";
import { send, textAt } from "./http.ts";
import type { Report } from "./record.ts";

/** Looks for everything personal and everything secret that was sent, wherever it must not be. */
export async function findTraces(attacker: Attacker): Promise<void> {
  const { record, installation, personal, secrets } = attacker;
  const people = new Search(personal);
  const everything = new Search([...personal, ...secrets.values()]);
  // First: what is below takes long, and connections are closed meanwhile.
  for (const base of [installation.api, installation.limited]) {
    await record.case(`nothing personal in ${base}/metrics`, async (report) => {
      const { text } = await send(base, { path: "/metrics" });
      everything.in(text, report);
    });
  }
  for (const [name, output] of installation.readOutput()) {
    // `handoff start` shows its user the first API key and a line with the first intake key.
    const text = output.replace(/^(API key: .*| {2}curl .*)$/gm, "");
    await record.case(`nothing personal in the ${name}`, async (report) => people.in(text, report));
    await record.case(`nothing secret in the ${name}`, async (report) => {
      for (const [secretName, secret] of secrets)
        if (text.includes(secret)) report("leak", `${secretName} is in it: ${around(text, secret)}`);
    });
    await record.case(`no error of our own in the ${name}`, async (report) => {
      for (const line of text
        .split("\n")
        .filter((one) => /"level":(50|60)/.test(one))
        .slice(0, 5))
        report("server_error", line.slice(0, 500));
    });
  }
  await record.case("no secret in plain text in the database", async (report) => searchDatabase(attacker, report));
  await record.case("nothing personal in the queue", async (report) =>
    searchQueue(attacker, people, everything, report),
  );
}

const prefixLength = 8;

/** Looks for thousands of values in megabytes of text at once, by how they begin. */
class Search {
  readonly #byPrefix = new Map<string, string[]>();

  constructor(values: Iterable<string>) {
    for (const spelling of [...values].flatMap(spellingsOf)) {
      const prefix = spelling.slice(0, prefixLength);
      if (prefix.length < prefixLength) throw new Error(`${spelling} is too short to be looked for.`);
      this.#byPrefix.set(prefix, [...(this.#byPrefix.get(prefix) ?? []), spelling]);
    }
  }

  in(text: string, report: Report): void {
    let found = 0;
    for (let at = 0; at + prefixLength <= text.length && found < 3; at += 1) {
      const spelling = this.#byPrefix.get(text.slice(at, at + prefixLength))?.find((one) => text.startsWith(one, at));
      if (spelling === undefined) continue;
      found += 1;
      report("leak", `${spelling}: ${around(text, spelling)}`);
    }
  }
}

function spellingsOf(value: string): readonly string[] {
  return value.startsWith("+44") ? [value, `0${value.slice(3)}`] : [value, encodeURIComponent(value)];
}

function around(text: string, found: string): string {
  const at = text.indexOf(found);
  return text.slice(Math.max(0, at - 150), at + found.length + 50).replaceAll("\n", " ");
}

async function searchDatabase(attacker: Attacker, report: Report): Promise<void> {
  const client = new pg.Client({ connectionString: attacker.installation.databaseUrl });
  await client.connect();
  try {
    const tables = await client.query(
      "select schemaname as schema, tablename as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema')",
    );
    const secrets = [...attacker.secrets].flatMap(([name, secret]) => [
      [name, secret] as const,
      [`${name} in hexadecimal`, Buffer.from(secret).toString("hex")] as const,
      [`${name} in base64`, Buffer.from(secret).toString("base64").replace(/=+$/, "")] as const,
    ]);
    const pattern = secrets.map(([, secret]) => secret.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
    for (const table of tables.rows) {
      const name = `"${textAt(table, "schema")}"."${textAt(table, "name")}"`;
      const { rows } = await client.query(
        `select substring(t::text from '(${pattern.replaceAll("'", "''")})') as found from ${name} t where t::text ~ $1 limit 3`,
        [pattern],
      );
      for (const row of rows) {
        const found = textAt(row, "found");
        report("leak", `${secrets.find(([, secret]) => secret === found)?.[0] ?? found} is in ${name}`);
      }
    }
  } finally {
    await client.end();
  }
}

/** Jobs carry ids only: what is in Redis, and in the queue's own schema in PostgreSQL. */
async function searchQueue(attacker: Attacker, people: Search, everything: Search, report: Report): Promise<void> {
  const { databaseUrl, redisUrl } = attacker.installation;
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const tables = await client.query("select tablename as name from pg_tables where schemaname = 'bullmq'");
    for (const table of tables.rows) {
      const { rows } = await client.query(
        `select t::text as line from bullmq."${textAt(table, "name")}" t limit 20000`,
      );
      people.in(rows.map((row) => textAt(row, "line")).join("\n"), report);
    }
  } finally {
    await client.end();
  }
  if (redisUrl === null) return;
  const redis = new Redis(redisUrl);
  try {
    const keys = await redis.keys("*");
    const values = await Promise.all(keys.slice(0, 20_000).map(async (key) => readKey(redis, key)));
    everything.in([...keys, ...values].join("\n"), report);
  } finally {
    redis.disconnect();
  }
}

async function readKey(redis: Redis, key: string): Promise<string> {
  switch (await redis.type(key)) {
    case "string":
      return (await redis.get(key)) ?? "";
    case "hash":
      return JSON.stringify(await redis.hgetall(key));
    case "list":
      return JSON.stringify(await redis.lrange(key, 0, -1));
    case "zset":
      return JSON.stringify(await redis.zrange(key, "0", "-1"));
    case "set":
      return JSON.stringify(await redis.smembers(key));
    case "stream":
      return JSON.stringify(await redis.xrange(key, "-", "+"));
    default:
      return "";
  }
}
