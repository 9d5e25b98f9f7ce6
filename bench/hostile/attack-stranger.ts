import pg from "pg";
import { demoPayPalAccount } from "../../demo/paypal-catcher.ts";
import {
  type ApiDocument,
  entriesOf,
  fillPath,
  listOf,
  makeGood,
  type Operation,
  readDocument,
  sampleOf,
  textPlaces,
  withValue,
} from "./api-document.ts";
import { letIn } from "./attack-portal.ts";
import { type Attacker, addCampaign, addPartner } from "./attacker.ts";
import { textAt, valueAt } from "./http.ts";
import type { Report } from "./record.ts";

/** One organisation's key on every route that there is, with every id of another's. */
export async function attackAsStranger(attacker: Attacker): Promise<void> {
  const { record, installation } = attacker;
  const { strangerKey } = installation;
  let document: ApiDocument = { operations: [], schemas: {} };
  let ids: readonly string[] = [];
  const words = new Set<string>();
  await record.case("the owner has something of everything", async (report) => {
    document = await readDocument(attacker, report);
    for (const word of await fillOrganisation(attacker, report, installation.ownerKey)) words.add(word);
    ids = await collectIds(attacker, report, document);
  });
  let own: ReadonlyMap<string, string> = new Map();
  await record.case("the stranger has something too", async (report) => {
    await fillOrganisation(attacker, report, strangerKey);
    own = await newestIds(attacker, report, document);
  });
  const before = await digestOf(installation.databaseUrl, installation.ownerKey);
  for (const operation of document.operations) {
    await record.case(`${operation.method} ${operation.path} without a key`, async (report) =>
      withoutKey(attacker, report, document, operation),
    );
    if (operation.isPublic) continue;
    const parameters = operation.parameters.filter(({ place }) => place === "path");
    if (parameters.length > 0) await attackPath(attacker, document, operation, ids, words);
    else await attackBodyAndQuery(attacker, document, operation, ids, words);
  }
  await attackFromOwn(attacker, document, own, ids, words);
  await record.case("nothing of the owner's was changed", async (report) => {
    const after = await digestOf(installation.databaseUrl, installation.ownerKey);
    for (const [table, digest] of before) {
      if (after.get(table) !== digest) report("leak", `rows of ${table} are not as they were`);
    }
  });
  await record.case("the stranger's lists hold nothing of the owner's", async (report) => {
    for (const operation of document.operations.filter(
      ({ method, path, isPublic }) => method === "GET" && !path.includes("{") && !isPublic,
    )) {
      const answer = await attacker.call(report, { path: operation.path, key: strangerKey });
      lookForOwner(report, answer.text, ids, words, operation.path);
    }
  });
}

/**
 * A partner, a campaign, leads, money, and what comes of them; gives every personal word in it. A route whose things are
 * not among them is told by `collectIds`: what it shows is to be made here.
 */
async function fillOrganisation(attacker: Attacker, report: Report, key: string): Promise<readonly string[]> {
  const { installation, person } = attacker;
  const url = `${installation.receiver.url}/ok`;
  const delivery = {
    internet: { method: "json", url, body: "{}" },
    contact: { email: "desk@example.com" },
    alerts: { leadReferredEmail: true },
  };
  const partner = await addPartner(attacker, report, delivery, key);
  const shop = await addCampaign(attacker, report, [partner], key);
  await attacker.call(report, {
    method: "POST",
    path: `/v1/partners/${partner}/payments`,
    key,
    document: { amount: 1_000, reason: "for the trial" },
  });
  const amounts = { EUR: { minimum: 100, maximum: 100_000 }, GBP: { minimum: 100, maximum: 100_000 } };
  await attacker.call(report, {
    method: "PUT",
    path: "/v1/paypal-account",
    key,
    document: { environment: "sandbox", ...demoPayPalAccount, amounts },
  });
  await attacker.call(report, {
    method: "POST",
    path: `/v1/partners/${partner}/top-ups`,
    key,
    document: { amount: 1_000 },
  });
  await attacker.call(report, {
    method: "POST",
    path: `/v1/campaigns/${shop.campaignId}/intake-keys`,
    key,
    document: { name: "another" },
    shows: /intake key/,
  });
  const colleague = person();
  await attacker.call(report, {
    method: "POST",
    path: "/v1/users",
    key,
    document: { email: colleague.email, name: colleague.last_name, role: "viewer" },
  });
  const access = { level: "leads", mayChangeSettings: "after_approval" };
  const ask = await letIn(attacker, report, { partnerId: partner, key }, access);
  await ask(report, { method: "PATCH", path: "/v1/portal/settings", document: { limits: { day: 77 } } });
  const people = [person(), person(), person()];
  let lead = "";
  for (const document of people) {
    const sent = await attacker.call(report, {
      method: "POST",
      path: `/v1/intake/${shop.intakeKey}?wait=5000`,
      key: null,
      document,
    });
    lead = textAt(sent.json, "leadId");
  }
  await attacker.call(report, {
    method: "POST",
    path: `/v1/leads/${lead}/returns`,
    key,
    document: { partnerId: partner, comment: "for the trial", override: true },
  });
  await fillWorkflow(attacker, report, key, shop.campaignId, lead);
  people.push(await offerLead(attacker, report, delivery, key));
  // Partners' days are those of London.
  const today = new Date().toLocaleDateString("sv-SE", { timeZone: "Europe/London" });
  await attacker.call(report, {
    method: "POST",
    path: `/v1/partners/${partner}/invoices`,
    key,
    document: { from: today, to: today },
  });
  await connect(attacker, report, key, attacker.installation.neighbourKey);
  await connect(attacker, report, attacker.installation.neighbourKey, key);
  return [...people, colleague].flatMap((one) => Object.values(one));
}

/** A workflow with an inbound and an outbound, and a lead in its stage that was referred. */
async function fillWorkflow(
  attacker: Attacker,
  report: Report,
  key: string,
  campaignId: string,
  lead: string,
): Promise<void> {
  const ownerId = await addUser(attacker, report, key);
  const workflow = await attacker.call(report, {
    method: "POST",
    path: "/v1/workflows",
    key,
    document: { name: "Sales", campaignId, ownerId, stages: [{ name: "New" }] },
  });
  const stageId = textAt(workflow.json, "stages.0.id");
  const workflowId = textAt(workflow.json, "id");
  const document = { name: "Sister firm", workflowId, stageId, form: {} };
  await attacker.call(report, { method: "POST", path: "/v1/inbounds", key, document });
  await attacker.call(report, { method: "PUT", path: `/v1/leads/${lead}/stage`, key, document: { stageId } });
  await attacker.call(report, { method: "POST", path: `/v1/leads/${lead}/notes`, key, document: { text: "a note" } });
  const note = { text: "a note for others", shareable: true };
  await attacker.call(report, { method: "POST", path: `/v1/leads/${lead}/notes`, key, document: note });
  // Leads to an address that is refused: nothing is sent.
  const link = { name: "To a sister firm", url: "https://127.0.0.1:1/", key: "k", workflowId, stageId };
  const outbound = await attacker.call(report, { method: "POST", path: "/v1/outbounds", key, document: link });
  const referral = { outboundId: textAt(outbound.json, "id"), confirmed: true };
  await attacker.call(report, { method: "POST", path: `/v1/leads/${lead}/referrals`, key, document: referral });
}

/** A user as if the invitation had been accepted. */
async function addUser(attacker: Attacker, report: Report, key: string): Promise<string> {
  const { json } = await attacker.call(report, { path: "/v1/organisation", key });
  const client = new pg.Client({ connectionString: attacker.installation.databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ id: string }>(
      `insert into users (id, organisation_id, email, name, role, created_at, updated_at)
       values (gen_random_uuid(), $1, gen_random_uuid() || '@example.com', 'A member of staff', 'agent', now(), now()) returning id`,
      [textAt(json, "id")],
    );
    return rows[0]?.id ?? "";
  } finally {
    await client.end();
  }
}

/** A lead that is offered to a partner, which has a day to accept it; gives whose it is. */
async function offerLead(
  attacker: Attacker,
  report: Report,
  delivery: Readonly<Record<string, unknown>>,
  key: string,
): Promise<ReturnType<Attacker["person"]>> {
  const partner = await addPartner(attacker, report, { ...delivery, acceptFirst: {} }, key);
  const shop = await addCampaign(attacker, report, [partner], key);
  const document = attacker.person();
  const path = `/v1/intake/${shop.intakeKey}?wait=2000`;
  const sent = await attacker.call(report, { method: "POST", path, key: null, document });
  const offered = await attacker.call(report, { path: `/v1/deliveries?leadId=${textAt(sent.json, "leadId")}`, key });
  if (valueAt(offered.json, "data.0.state") !== "offered") report("accepted_bad", "a lead was not offered");
  return document;
}

async function connect(attacker: Attacker, report: Report, sender: string, receiver: string): Promise<void> {
  const organisation = await attacker.call(report, { path: "/v1/organisation", key: receiver });
  const document = { portalCode: textAt(organisation.json, "portalCode") };
  await attacker.call(report, { method: "POST", path: "/v1/connections/outgoing", key: sender, document });
}

/** What the stranger has of each kind, by the first part of the path and by the name that other things call it by. */
async function newestIds(
  attacker: Attacker,
  report: Report,
  { operations }: ApiDocument,
): Promise<ReadonlyMap<string, string>> {
  const ids = new Map<string, string>();
  for (const { method, path, isPublic } of operations) {
    const kind = /^\/v1\/([\w-]+)$/.exec(path)?.[1];
    if (method !== "GET" || isPublic || kind === undefined) continue;
    const { json } = await attacker.call(report, { path, key: attacker.installation.strangerKey });
    const id = valueAt(json, "data.0.id");
    if (typeof id === "string") ids.set(kind, id).set(`${kind.replace(/s$/, "")}Id`, id);
  }
  return ids;
}

/** The stranger's own things, in good documents, but for one id at a time, which is another's. */
async function attackFromOwn(
  attacker: Attacker,
  document: ApiDocument,
  own: ReadonlyMap<string, string>,
  ids: readonly string[],
  words: ReadonlySet<string>,
): Promise<void> {
  const { record, installation } = attacker;
  const key = installation.strangerKey;
  const some = attacker.isShort ? ids.slice(0, 30) : ids;
  const partner = own.get("partners") ?? "";
  for (const operation of document.operations.filter(({ isPublic }) => !isPublic)) {
    const { method } = operation;
    const path = fillPath(operation, () => own.get(operation.path.split("/")[2] ?? "") ?? partner);
    for (const { name, place, schema } of operation.parameters) {
      if (place !== "query" || valueAt(schema, "format") !== "uuid" || path === operation.path) continue;
      await record.case(
        `${method} ${operation.path}?${name}= on the stranger's own, with another's ids`,
        async (report) => {
          for (const id of some) {
            const answer = await attacker.call(report, { method, path: `${path}?${name}=${id}`, key });
            lookForOwner(
              report,
              answer.text,
              ids.filter((one) => one !== id),
              words,
              path,
            );
          }
        },
      );
    }
    if (!operation.hasBody || method === "DELETE") continue;
    const full = sampleOf(operation.body, document, (name) => own.get(name) ?? partner);
    const places = textPlaces(full).filter((place) =>
      new RegExp(uuid.source).test(String(valueAt(full, place.join(".")))),
    );
    if (places.length === 0) continue;
    const good = await makeGood(attacker, operation, path, full, key);
    for (const place of places) {
      await record.case(
        `${method} ${operation.path} on the stranger's own, ${place.join(".")} another's`,
        async (report) => {
          for (const id of some) {
            const changed = withValue(good, place, id, full);
            const answer = await attacker.call(report, { method, path, key, document: changed });
            if (answer.status < 300)
              report("leak", `${path} took the id ${id} of another: ${answer.text.slice(0, 200)}`);
            lookForOwner(report, answer.text, [], words, path);
          }
        },
      );
    }
  }
}

const uuid = /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g;

/** Whatever looks like an id in what the owner's own lists and things say; says which things it could not see. */
async function collectIds(attacker: Attacker, report: Report, document: ApiDocument): Promise<readonly string[]> {
  const ids = new Set<string>();
  // What partners' people see is attacked on its own.
  const isOfPortal = (permission: string | null) => permission?.startsWith("portal.") === true;
  const gets = document.operations.filter(
    ({ method, isPublic, permission }) => method === "GET" && !isPublic && !isOfPortal(permission),
  );
  const kinds = new Map<string, string[]>();
  for (const operation of gets.filter(({ path }) => !path.includes("{"))) {
    const { json, text } = await attacker.call(report, { path: operation.path });
    for (const [id] of text.matchAll(uuid)) ids.add(id);
    const listed = listOf(valueAt(json, "data"))
      .map((one) => String(valueAt(one, "id")))
      .slice(0, 3);
    kinds.set(operation.path, listed);
  }
  for (const operation of gets.filter(({ path }) => path.includes("{"))) {
    const parent = operation.path.slice(0, operation.path.indexOf("/{"));
    let seen = 0;
    for (const id of kinds.get(parent) ?? []) {
      const { status, text } = await attacker.call(report, { path: fillPath(operation, () => id) });
      if (status === 200) seen += 1;
      for (const [found] of text.matchAll(uuid)) ids.add(found);
    }
    if (seen === 0)
      report("accepted_bad", `the owner sees nothing at ${operation.path}: the trial has nothing to attack there`);
  }
  return [...ids].slice(0, attacker.isShort ? 60 : 2_000);
}

async function withoutKey(
  attacker: Attacker,
  report: Report,
  document: ApiDocument,
  operation: Operation,
): Promise<void> {
  if (operation.isPublic) return;
  const id = "01890000-0000-7000-8000-000000000000";
  const path = fillPath(operation, () => id);
  const body = operation.hasBody ? { document: sampleOf(operation.body, document, () => id) } : {};
  const keys = [
    null,
    "",
    "x",
    "null",
    "undefined",
    "Bearer",
    `${attacker.installation.ownerKey}x`,
    attacker.installation.ownerKey.slice(0, -1),
  ];
  for (const key of keys) {
    const { status } = await attacker.call(report, { method: operation.method, path, key, ...body });
    if (status !== 401) report("accepted_bad", `answered ${status} to the key ${JSON.stringify(key)}`);
  }
}

async function attackPath(
  attacker: Attacker,
  document: ApiDocument,
  operation: Operation,
  ids: readonly string[],
  words: ReadonlySet<string>,
): Promise<void> {
  const { record, installation, random } = attacker;
  await record.case(`${operation.method} ${operation.path} with ids of another organisation`, async (report) => {
    for (const id of ids) {
      let place = 0;
      const path = fillPath(operation, () => (place++ === 0 ? id : random.pick(ids)));
      const body = operation.hasBody ? { document: sampleOf(operation.body, document, () => random.pick(ids)) } : {};
      const answer = await attacker.call(report, {
        method: operation.method,
        path,
        key: installation.strangerKey,
        ...body,
      });
      if (answer.status < 400) report("leak", `${path} answered ${answer.status} ${answer.text.slice(0, 200)}`);
      // What was asked for is no news.
      lookForOwner(
        report,
        answer.text,
        ids.filter((one) => !path.includes(one) && !JSON.stringify(body).includes(one)),
        words,
        path,
      );
    }
  });
  await record.case(
    `${operation.method} ${operation.path} with ids of another organisation and a body that is right`,
    async (report) => {
      if (!operation.hasBody) return;
      const least = leastBody(operation.body, document, random.pick(ids));
      for (const id of ids) {
        const path = fillPath(operation, () => id);
        const answer = await attacker.call(report, {
          method: operation.method,
          path,
          key: installation.strangerKey,
          document: least,
        });
        if (answer.status < 400) report("leak", `${path} answered ${answer.status} ${answer.text.slice(0, 200)}`);
        lookForOwner(report, answer.text, [], words, path);
      }
    },
  );
}

/** Only what must be there. */
function leastBody(schema: unknown, document: ApiDocument, id: string): unknown {
  const required = listOf(valueAt(schema, "required")).map(String);
  const full = sampleOf(schema, document, () => id);
  return Object.fromEntries(entriesOf(full).filter(([key]) => required.includes(key)));
}

async function attackBodyAndQuery(
  attacker: Attacker,
  document: ApiDocument,
  operation: Operation,
  ids: readonly string[],
  words: ReadonlySet<string>,
): Promise<void> {
  const { record, installation } = attacker;
  const named = operation.parameters.filter(
    ({ place, schema }) => place === "query" && valueAt(schema, "format") === "uuid",
  );
  for (const { name } of named) {
    await record.case(
      `${operation.method} ${operation.path}?${name}= with ids of another organisation`,
      async (report) => {
        for (const id of ids) {
          const path = `${operation.path}?${name}=${id}`;
          const answer = await attacker.call(report, { method: operation.method, path, key: installation.strangerKey });
          lookForOwner(
            report,
            answer.text,
            ids.filter((one) => one !== id),
            words,
            path,
          );
        }
      },
    );
  }
  if (!operation.hasBody || operation.method === "PATCH") return;
  await record.case(
    `${operation.method} ${operation.path} with a body that names ids of another organisation`,
    async (report) => {
      for (const id of ids.slice(0, 20)) {
        const bodies = [sampleOf(operation.body, document, () => id), leastBody(operation.body, document, id)];
        for (const body of bodies) {
          const answer = await attacker.call(report, {
            method: operation.method,
            path: operation.path,
            key: installation.strangerKey,
            document: body,
            shows: /intake key/,
          });
          if (answer.status < 300 && JSON.stringify(body).includes(id) && answer.text.includes(id))
            report("leak", `${operation.path} took the id ${id} of another: ${answer.text.slice(0, 200)}`);
          lookForOwner(report, answer.text, [], words, operation.path);
        }
      }
    },
  );
}

function lookForOwner(
  report: Report,
  text: string,
  ids: readonly string[],
  words: ReadonlySet<string>,
  path: string,
): void {
  for (const word of [...ids, ...words]) {
    if (text.includes(word)) report("leak", `${path} told the stranger ${word}`);
  }
}

/** A digest of each table's rows of the owner, but for those that workers write while nobody asks. */
async function digestOf(databaseUrl: string, ownerKey: string): Promise<ReadonlyMap<string, string>> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const owner = await client.query("select organisation_id as id from api_keys where key_hash = sha256($1::bytea)", [
      Buffer.from(ownerKey),
    ]);
    const id = textAt(owner.rows[0], "id");
    const tables = await client.query(
      "select table_name as name from information_schema.columns where table_schema = 'public' and column_name = 'organisation_id' order by 1",
    );
    const digests = new Map<string, string>();
    for (const row of tables.rows) {
      const name = textAt(row, "name");
      if (
        /^(leads|deliveries|attempts|alerts|endpoints|hold|limit_usage|entries|accounts|transactions|decisions|lead_|drain|lease|top_ups)/.test(
          name,
        )
      ) {
        const { rows } = await client.query(
          `select count(*)::text as digest from "${name}" where organisation_id = $1`,
          [id],
        );
        if (/^(leads|lead_contacts|top_ups)$/.test(name)) digests.set(name, textAt(rows[0], "digest"));
        continue;
      }
      const { rows } = await client.query(
        `select coalesce(md5(string_agg(md5(t::text), '' order by t::text)), '') as digest from "${name}" t where organisation_id = $1`,
        [id],
      );
      digests.set(name, textAt(rows[0], "digest"));
    }
    const { rows } = await client.query(
      "select coalesce(md5(string_agg(md5(t::text), '' order by t::text)), '') as digest from connections t where $1 in (from_organisation_id, to_organisation_id)",
      [id],
    );
    digests.set("connections", textAt(rows[0], "digest"));
    return digests;
  } finally {
    await client.end();
  }
}
