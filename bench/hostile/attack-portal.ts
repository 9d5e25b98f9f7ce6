import pg from "pg";
import { demoPayPalAccount } from "../../demo/paypal-catcher.ts";
import { type ApiDocument, fillPath, type Operation, readDocument, sampleOf } from "./api-document.ts";
import { type Attacker, addCampaign, addPartner } from "./attacker.ts";
import { textAt, valueAt } from "./http.ts";
import { type AskAs, type Person, signIn } from "./people.ts";
import type { Report } from "./record.ts";

/** One partner's people on every route of the portal, with every id of other partners: of this organisation and of another. */

/** A partner with something of everything, and one of its people who may all. */
interface Stall {
  readonly partnerId: string;
  readonly key: string;
  readonly ask: AskAs;
  /** What people and leads of it are called. */
  readonly words: readonly string[];
}

const levels = ["leads_and_reports", "leads", "all_but_leads"] as const;
const leadSwitches = { mayAccept: true, mayUpdateStatus: true, mayReturn: true };
const otherSwitches = { mayPause: true, maySeeFunds: true };

export async function attackPortal(attacker: Attacker): Promise<void> {
  const { record, installation } = attacker;
  const { ownerKey, strangerKey } = installation;
  let operations: readonly Operation[] = [];
  let document: ApiDocument = { operations: [], schemas: {} };
  const stalls: Stall[] = [];
  const ids = new Set<string>();
  const words = new Set<string>();
  await record.case(
    "partners of two organisations, each with its people and something of everything",
    async (report) => {
      document = await readDocument(attacker, report);
      operations = document.operations.filter(({ permission }) => permission?.startsWith("portal."));
      for (const key of [ownerKey, ownerKey, strangerKey]) stalls.push(await openStall(attacker, report, key));
      const own = new Set(await idsOf(report, operations, stalls[0]));
      for (const stall of stalls.slice(1)) {
        for (const id of await idsOf(report, operations, stall)) if (!own.has(id)) ids.add(id);
        for (const word of stall.words) words.add(word);
      }
      if (ids.size < 10)
        report("accepted_bad", `only ${ids.size} things of other partners are known: nothing to attack`);
    },
  );
  const [mine, ...others] = stalls;
  if (mine === undefined) return;
  const before = await digestOf(installation.databaseUrl, others);
  for (const level of levels) {
    let ask: AskAs = mine.ask;
    await record.case(`a user of the level ${level}`, async (report) => {
      const access = {
        level,
        ...otherSwitches,
        mayChangeSettings: "at_once",
        ...(level === "all_but_leads" ? {} : leadSwitches),
      };
      ask = await letIn(attacker, report, mine, access);
    });
    for (const operation of operations) {
      await record.case(
        `${operation.method} ${operation.path} as ${level}, with ids of other partners`,
        async (report) => askForOthers(report, ask, operation, document, [...ids], words),
      );
    }
  }
  await record.case("nothing of other partners was changed", async (report) => {
    const after = await digestOf(installation.databaseUrl, others);
    if (after !== before) report("leak", "rows of other partners are not as they were");
  });
}

async function askForOthers(
  report: Report,
  ask: AskAs,
  operation: Operation,
  document: ApiDocument,
  ids: readonly string[],
  words: ReadonlySet<string>,
): Promise<void> {
  const { method } = operation;
  const isOfOne = operation.path.includes("{");
  const named = operation.parameters.filter(
    ({ place, schema }) => place === "query" && valueAt(schema, "format") === "uuid",
  );
  for (const id of ids) {
    const path = fillPath(operation, () => id);
    const paths = isOfOne ? [path] : [path, ...named.map(({ name }) => `${path}?${name}=${id}`)];
    for (const one of paths) {
      const body = operation.hasBody ? { document: sampleOf(operation.body, document, () => id) } : {};
      const { status, text } = await ask(report, { method, path: one, ...body });
      if (isOfOne && status < 400) report("leak", `${one} answered ${status} ${text.slice(0, 200)}`);
      // What was asked for is no news.
      for (const told of [...ids, ...words]) {
        if (!one.includes(told) && text.includes(told)) report("leak", `${one} told of ${told}`);
      }
    }
    if (!isOfOne && named.length === 0) return;
  }
}

async function openStall(attacker: Attacker, report: Report, key: string): Promise<Stall> {
  const { installation, person, random } = attacker;
  const internet = { method: "json", url: `${installation.receiver.url}/ok`, body: "{}" };
  const partnerId = await addPartner(attacker, report, { internet, returns: {} }, key);
  const shop = await addCampaign(attacker, report, [partnerId], key);
  const people = [person(), person()];
  for (const document of people) {
    const path = `/v1/intake/${shop.intakeKey}?wait=5000`;
    await attacker.call(report, { method: "POST", path, key: null, document });
  }
  const stall = { partnerId, key, words: people.flatMap((one) => Object.values(one)) };
  const access = { level: "leads_and_reports", ...leadSwitches, ...otherSwitches, mayChangeSettings: "after_approval" };
  const ask = await letIn(attacker, report, stall, access);
  const [first, second] = [0, 1].map((place) => async () => {
    const { json } = await ask(report, { path: "/v1/portal/leads" });
    return textAt(json, `data.${place}.id`);
  });
  const post = async (path: string, document: object) => ask(report, { method: "POST", path, document });
  const staff = async (method: string, path: string, document: object) =>
    attacker.call(report, { method, path, key, document });
  await post(`/v1/portal/leads/${await first?.()}/status`, { status: "won", note: `Note ${random.word(10)}` });
  await post(`/v1/portal/leads/${await second?.()}/returns`, { comment: `Comment ${random.word(10)}` });
  await ask(report, { method: "PATCH", path: "/v1/portal/settings", document: { limits: { day: 77 } } });
  const amounts = { EUR: { minimum: 100, maximum: 100_000 }, GBP: { minimum: 100, maximum: 100_000 } };
  await staff("PUT", "/v1/paypal-account", { environment: "sandbox", ...demoPayPalAccount, amounts });
  await post("/v1/portal/top-ups", { amount: 1_000 });
  const today = new Date().toLocaleDateString("sv-SE", { timeZone: "Europe/London" });
  await staff("POST", `/v1/partners/${partnerId}/invoices`, { from: today, to: today });
  await staff("PATCH", `/v1/partners/${partnerId}`, { acceptFirst: {} });
  const offered = person();
  await attacker.call(report, {
    method: "POST",
    path: `/v1/intake/${shop.intakeKey}?wait=1000`,
    key: null,
    document: offered,
  });
  return { ...stall, words: [...stall.words, ...Object.values(offered)], ask };
}

/** Has somebody sign in for a partner; gives how to call as them. */
export async function letIn(
  attacker: Attacker,
  report: Report,
  { partnerId, key }: Pick<Stall, "partnerId" | "key">,
  access: object,
): Promise<AskAs> {
  const { random, secrets } = attacker;
  const user: Person = { email: `${random.word(14)}@example.com`, password: `pass ${random.word(20)}` };
  secrets.set(`the password of ${user.email}`, user.password);
  const document = { ...user, name: `Name ${random.word(8)}`, access };
  const made = await attacker.call(report, { method: "POST", path: `/v1/partners/${partnerId}/users`, key, document });
  if (made.status !== 201) throw new Error(`No user was made: ${made.text}`);
  return (await signIn(attacker, report, user)).ask;
}

const uuid = /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g;

/** Whatever looks like an id in what a partner sees of its own. */
async function idsOf(
  report: Report,
  operations: readonly Operation[],
  stall: Stall | undefined,
): Promise<readonly string[]> {
  const found = new Set<string>();
  if (stall === undefined) return [];
  for (const { method, path } of operations) {
    if (method !== "GET" || path.includes("{")) continue;
    const { text, status } = await stall.ask(report, { path });
    if (status !== 200) report("accepted_bad", `${path} answered its own partner ${status}`);
    for (const [id] of text.matchAll(uuid)) found.add(id);
  }
  return [...found];
}

/** A digest of what is these partners', but for what workers write while nobody asks. */
async function digestOf(databaseUrl: string, stalls: readonly Stall[]): Promise<string> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const parts = [
      "select id, state, partner_status from deliveries",
      "select * from delivery_statuses",
      "select * from returns",
      "select * from settings_changes",
      "select * from invoices",
      "select id, amount_minor from top_ups",
      "select id, access, disabled_at from users",
    ];
    const partners = stalls.map(({ partnerId }) => partnerId);
    const digests: unknown[] = [];
    for (const part of parts) {
      const text = `select md5(coalesce(string_agg(t::text, '' order by t::text), '')) as digest from (${part} where partner_id = any($1)) t`;
      digests.push((await client.query(text, [partners])).rows);
    }
    const settings = "select id, limits, schedule, own_pause from partners where id = any($1) order by id";
    digests.push((await client.query(settings, [partners])).rows);
    return JSON.stringify(digests);
  } finally {
    await client.end();
  }
}
