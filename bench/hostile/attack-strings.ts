import pg from "pg";
import {
  type ApiDocument,
  entriesOf,
  fillPath,
  leafPlaces,
  makeGood,
  type Operation,
  readDocument,
  sampleOf,
  textPlaces,
  withValue,
} from "./api-document.ts";
import { type Attacker, addCampaign, addPartner, mostTaken } from "./attacker.ts";
import { textAt, valueAt } from "./http.ts";
import { type Report, tooLongMs } from "./record.ts";

/** SQL in every text of every route, and values of every wrong kind in every field. */

const sqlTexts = [
  "'; drop table leads; --",
  "' or '1'='1",
  "x' union select key_hash::text from api_keys --",
  "'; select pg_sleep(20); --",
  "\\'; select pg_sleep(20); --",
  "\"; update organisations set name = 'pwned'; --",
  "$1",
  "$$; select pg_sleep(20); $$",
  "%' or 1=1 --",
  "'); delete from partners; --",
  "E'\\x27 or 1=1'",
  "{x',(select pg_sleep(20))}",
  "1; set role postgres",
  "*/ or 1=1 /*",
] as const;

const wrongValues: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  9007199254740991,
  -9007199254740991,
  2147483648,
  32768,
  "",
  " ",
  "\u0000",
  "\ud800",
  "a\u0000b",
  "x".repeat(100_000),
  "\u0301".repeat(1_000),
  "💩".repeat(500),
  "../../etc/passwd",
  "{{ lead.v }}",
  "{% for i in (1..9) %}",
  "<script>",
  "__proto__",
  "constructor",
  "NaN",
  "Infinity",
  "-0",
  "1e999",
  "9999-12-31T23:59:59.999Z",
  "0000-01-01T00:00:00Z",
  "-271821-04-20T00:00:00Z",
  "+275760-09-13T00:00:00.000Z",
  "2026-02-30T00:00:00Z",
  "2026-02-30",
  "0001-01-01",
  "Europe/../London",
  "Etc/GMT+99",
  "GBP\n",
  "ZZZ",
  "00000000-0000-0000-0000-000000000000",
  "ffffffff-ffff-ffff-ffff-ffffffffffff",
  [],
  {},
  [[]],
  [null],
  { __proto__: null },
  { toString: 1 },
  Array.from({ length: 2_000 }, () => "x"),
  { $ne: null },
  JSON.parse('{"__proto__":{"polluted":"yes"}}'),
];

export async function attackStrings(attacker: Attacker): Promise<void> {
  const { record, random } = attacker;
  let document: ApiDocument = { operations: [], schemas: {} };
  const ids = new Map<string, string>();
  let intakeKey = "";
  await record.case("something of everything", async (report) => {
    document = await readDocument(attacker, report);
    const internet = { method: "json", url: `${attacker.installation.receiver.url}/ok`, body: "{}" };
    const partner = await addPartner(attacker, report, { internet });
    const shop = await addCampaign(attacker, report, [partner]);
    intakeKey = shop.intakeKey;
    const sent = await attacker.call(report, {
      method: "POST",
      path: `/v1/intake/${intakeKey}?wait=5000`,
      key: null,
      document: attacker.person(),
    });
    const lead = textAt(sent.json, "leadId");
    ids.set("partners", partner).set("campaigns", shop.campaignId).set("leads", lead);
    ids.set("partnerId", partner).set("campaignId", shop.campaignId).set("leadId", lead).set("introducerId", partner);
    const { email, last_name: name } = attacker.person();
    await attacker.call(report, { method: "POST", path: "/v1/users", document: { email, name, role: "viewer" } });
    for (const kind of ["deliveries", "alerts", "api-keys", "users"]) {
      const { json } = await attacker.call(report, { path: `/v1/${kind}?limit=1` });
      const id = valueAt(json, "data.0.id");
      if (typeof id === "string") ids.set(kind, id);
    }
  });
  const schemaBefore = await describeDatabase(attacker.installation.databaseUrl);
  const idFor = (operation: Operation) =>
    ids.get(operation.path.split("/")[2] ?? "") ?? "01890000-0000-7000-8000-000000000000";
  const idOf = (name: string) => ids.get(name) ?? ids.get("partners");
  for (const operation of document.operations) {
    const path = fillPath(operation, (name) => (name === "intakeKey" ? intakeKey : idFor(operation)));
    const full = operation.hasBody ? sampleOf(operation.body, document, idOf) : undefined;
    await attackParameters(attacker, operation, path);
    // What it would do is done elsewhere; here its own objects must stay.
    if (operation.method === "DELETE" || full === undefined) continue;
    const body = await makeGood(attacker, operation, path, full);
    const isEmpty = entriesOf(body).length === 0;
    const open =
      operation.path.includes("/intake/") || isEmpty
        ? { v: "x", fields: { v: "x" }, email: "x", contacts: [{ first_name: "x" }] }
        : full;
    const places = textPlaces(open);
    for (const place of places) {
      await record.case(`SQL in ${operation.method} ${operation.path} ${place.join(".")}`, async (report) => {
        const texts = attacker.isShort ? [random.pick(sqlTexts), random.pick(sqlTexts), sqlTexts[3]] : sqlTexts;
        for (const text of texts) {
          const changed = withValue(body, place, text, open);
          await callAndTime(attacker, report, { method: operation.method, path, document: changed });
        }
      });
    }
    for (const place of leafPlaces(open)) {
      await record.case(`wrong values in ${operation.method} ${operation.path} ${place.join(".")}`, async (report) => {
        const values = attacker.isShort
          ? [random.pick(wrongValues), random.pick(wrongValues), random.pick(wrongValues), random.pick(wrongValues)]
          : wrongValues;
        for (const value of values)
          await callAndTime(attacker, report, {
            method: operation.method,
            path,
            document: withValue(body, place, value, open),
          });
      });
    }
    await record.case(`no document at all in ${operation.method} ${operation.path}`, async (report) => {
      for (const raw of [
        "",
        "null",
        "[]",
        '"x"',
        "{",
        `${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}`,
        "[".repeat(100_000),
        '{"a":1,"a":2}',
        '{"__proto__":{"x":1}}',
        "\ufeff{}",
      ]) {
        await callAndTime(attacker, report, {
          method: operation.method,
          path,
          body: raw,
          headers: { "content-type": "application/json" },
        });
      }
      for (const type of [
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
      ]) {
        await callAndTime(attacker, report, {
          method: operation.method,
          path,
          body: "{}",
          headers: { "content-type": type },
        });
      }
    });
  }
  await attackSums(attacker);
  await record.case("every table, role and function is as it was", async (report) => {
    const schemaAfter = await describeDatabase(attacker.installation.databaseUrl);
    if (schemaAfter !== schemaBefore) report("leak", "the schema of the database changed");
  });
}

async function callAndTime(attacker: Attacker, report: Report, call: Parameters<Attacker["call"]>[1]): Promise<void> {
  const answer = await attacker.call(report, { shows: /intake key/, ...call });
  if (answer.durationMs > tooLongMs)
    report(
      "leak",
      `${call.path} took ${Math.round(answer.durationMs)} ms with ${JSON.stringify(call.document)?.slice(0, 200)}`,
    );
}

/** As it stands inside a text of JSON. */
const quoted = (text: string) => JSON.stringify(text).slice(1, -1);

async function attackParameters(attacker: Attacker, operation: Operation, path: string): Promise<void> {
  const { record, random } = attacker;
  for (const { name, place } of operation.parameters) {
    await record.case(
      `SQL and noise in the ${place} parameter ${name} of ${operation.method} ${operation.path}`,
      async (report) => {
        const some = attacker.isShort
          ? Array.from({ length: 8 }, () => random.pick([...sqlTexts, ...wrongValues]))
          : [...sqlTexts, ...wrongValues];
        const texts = some
          .map((value) => (typeof value === "string" ? value : JSON.stringify(value)))
          .map((text) => text.slice(0, 4_000));
        for (const text of texts) {
          const encoded = encodeURIComponent(Buffer.from(text).toString());
          const { method } = operation;
          if (place === "query") {
            const answer = await attacker.call(report, {
              method,
              path: `${path}?${name}=${encoded}`,
              document: operation.hasBody ? {} : undefined,
            });
            if (answer.durationMs > tooLongMs) report("leak", `took ${Math.round(answer.durationMs)} ms`);
            const found = valueAt(answer.json, "data");
            const isFilter = !["limit", "cursor"].includes(name) && sqlTexts.includes(text as never);
            // What was called so on purpose may be found by its name.
            const others = Array.isArray(found)
              ? found.filter((one) => !JSON.stringify(one).includes(quoted(text)))
              : [];
            if (isFilter && answer.status === 200 && others.length > 0)
              report("leak", `${text} found ${others.length} things`);
          } else if (place === "path") {
            const changed = operation.path
              .replace(`{${name}}`, encoded)
              .replace(/\{\w+\}/g, "01890000-0000-7000-8000-000000000000");
            const answer = await attacker.call(report, {
              method,
              path: changed,
              document: operation.hasBody ? {} : undefined,
            });
            if (answer.durationMs > tooLongMs) report("leak", `took ${Math.round(answer.durationMs)} ms`);
            if (answer.status < 400 && text.trim() !== "" && changed.split("/").length > 4)
              report("accepted_bad", `${changed.slice(0, 100)} answered ${answer.status}`);
          } else {
            const headers = { [name]: text.replace(/[^\x20-\x7e]/g, "x").slice(0, 1_000) };
            await attacker.call(report, { method, path, headers, document: operation.hasBody ? {} : undefined });
          }
        }
      },
    );
  }
}

/** Money to the edge of what can be counted, and beyond it. */
async function attackSums(attacker: Attacker): Promise<void> {
  const most = Number.MAX_SAFE_INTEGER;
  await attacker.record.case("payments that add up to more than 2^53", async (report) => {
    const id = await addPartner(attacker, report, {});
    for (const amount of [most, most, 1, 2 ** 52, -most, -most, -most]) {
      await attacker.call(report, {
        method: "POST",
        path: `/v1/partners/${id}/payments`,
        document: { amount, kind: amount < 0 ? "adjustment" : "payment", reason: "x" },
      });
      for (const path of [`/v1/partners/${id}`, `/v1/partners/${id}/ledger`, "/v1/partners"])
        await attacker.call(report, { path });
    }
  });
  await attacker.record.case("limits of 2^53 - 1, prices and credit as large as they may be", async (report) => {
    const limits = {
      hour: most,
      day: most,
      week: most,
      month: most,
      total: most,
      spendDay: most,
      spendWeek: most,
      spendMonth: most,
    };
    const internet = { method: "json", url: `${attacker.installation.receiver.url}/ok`, body: "{}" };
    for (const field of ["leadValue", "creditLimit"]) {
      const document = { name: "Sums", timeZone: "Europe/London", currency: "GBP", [field]: most };
      await attacker.refuse(report, { method: "POST", path: "/v1/partners", document });
    }
    const id = await addPartner(attacker, report, { internet, leadValue: mostTaken, creditLimit: mostTaken, limits });
    const campaign = {
      name: "Sums",
      timeZone: "Europe/London",
      holdHours: 8_760,
      fields: [{ key: "email", type: "email" }],
      routing: [{ partners: [{ partnerId: id, price: mostTaken, priority: 1_000_000, weight: 1_000_000, limits }] }],
    };
    const made = await attacker.call(report, { method: "POST", path: "/v1/campaigns", document: campaign });
    if (made.status >= 400) return;
    const path = `/v1/intake/${textAt(made.json, "intakeKey")}?wait=5000`;
    for (let count = 0; count < 3; count += 1) {
      const sent = await attacker.call(report, {
        method: "POST",
        path,
        key: null,
        document: { email: attacker.person().email },
      });
      await attacker.call(report, { path: `/v1/leads/${textAt(sent.json, "leadId")}` });
    }
    for (const path of [`/v1/partners/${id}`, `/v1/partners/${id}/ledger`, "/v1/partners?limit=5"])
      await attacker.call(report, { path });
  });
}

async function describeDatabase(databaseUrl: string): Promise<string> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query(`
      select 'table ' || table_schema || '.' || table_name || '.' || column_name as line from information_schema.columns where table_schema = 'public'
      union all select 'role ' || rolname || rolsuper::text from pg_roles
      union all select 'function ' || proname || md5(prosrc) from pg_proc where pronamespace = 'public'::regnamespace
      union all select 'policy ' || policyname || coalesce(qual, '') from pg_policies
      order by 1`);
    return rows.map((row) => textAt(row, "line")).join("\n");
  } finally {
    await client.end();
  }
}
