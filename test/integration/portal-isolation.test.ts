import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { createPool, type Database, inPartner, openDatabase } from "../../src/db/database.ts";
import { newId } from "../../src/db/id.ts";
import { type PartnerAccess, portalPermissionsOf } from "../../src/people/permissions.ts";
import type { Method } from "../helpers/api.ts";
import { accountDocument } from "../helpers/payments.ts";
import type { Browser, TestUser } from "../helpers/people.ts";
import { fullAccess } from "../helpers/people.ts";
import { openPortal, type Portal, type PortalPartner } from "../helpers/portal.ts";
import { type GuardedOperation, listGuarded } from "../helpers/rights.ts";

/** A partner's people get at nothing of another partner's, of this organisation or another, on any route and in no other way. */

let portal: Portal;
let mine: Stall;
let rival: Stall;
let foreign: Stall;

/** A partner with one of everything. */
interface Stall {
  readonly partner: PortalPartner;
  readonly user: Browser & TestUser;
  /** By the route that names them. */
  readonly ids: Readonly<Record<string, string>>;
  /** Everything that is this partner's business alone: ids, names, words. */
  readonly words: readonly string[];
}

beforeAll(async () => {
  portal = await openPortal();
  for (const client of [portal.staff, portal.others]) await client.call("PUT", "/v1/paypal-account", accountDocument);
  mine = await openStall("mine", portal.staff);
  rival = await openStall("rival", portal.staff);
  foreign = await openStall("foreign", portal.others);
});
afterAll(async () => portal.close());

async function openStall(word: string, client: Portal["staff"]): Promise<Stall> {
  const partner = await portal.partner({ name: `Name-of-${word}`, returns: {}, billing: null }, client);
  const user = await portal.user(partner, { mayChangeSettings: "after_approval" });
  const fields = {
    first_name: `Firstname-${word}`,
    email: `${word}@example.com`,
    contacts: [{ first_name: `Second-${word}` }],
  };
  const lead = await portal.sell(partner, fields);
  const returned = await portal.sell(partner, { first_name: `Returned-${word}` });
  const say = { status: "contacted", note: `Note-of-${word}` };
  await user.call("POST", `/v1/portal/leads/${lead.id}/status`, say);
  const asked = { comment: `Comment-of-${word}` };
  const back = await user.call("POST", `/v1/portal/leads/${returned.id}/returns`, asked);
  await client.call("POST", `/v1/partners/${partner.id}/payments`, { amount: 4711, reason: `Payment-of-${word}` });
  const today = portal.now().toISOString().slice(0, 10);
  const invoice = await client.call("POST", `/v1/partners/${partner.id}/invoices`, { from: today, to: today });
  const topUpId = newId();
  await sql`insert into top_ups (id, organisation_id, partner_id, paypal_account_id, amount_minor, currency, state, approval_url, requested_by, created_at)
    select ${topUpId}, organisation_id, ${partner.id}, id, 100, 'GBP', 'open', ${`https://pay.test/${word}`}, 'test', ${portal.now()}
    from paypal_accounts where organisation_id = ${client.organisationId}`.execute(portal.server.owner);
  await user.call("PATCH", "/v1/portal/settings", { limits: { day: 17 } });
  const change = (await user.call("GET", "/v1/portal/settings")).text("pending.id");
  await client.call("PATCH", `/v1/partners/${partner.id}`, { acceptFirst: {} });
  const offered = await portal.sell(partner, { first_name: `Offered-${word}` });
  const reference = (await user.call("GET", `/v1/portal/leads/${lead.id}`)).text("reference");
  const ids = {
    leads: lead.id,
    returns: back.text("id"),
    invoices: invoice.text("id"),
    "top-ups": topUpId,
    offers: offered.id,
  };
  const made = [
    partner.id,
    partner.campaignId,
    user.id,
    user.email,
    lead.leadId,
    returned.id,
    returned.leadId,
    offered.leadId,
    change,
  ];
  const written = ["Firstname", "Second", "Returned", "Offered"].map((name) => `${name}-${word}`);
  const said = ["Note", "Comment", "Payment", "Name"].map((name) => `${name}-of-${word}`);
  const words = [
    ...Object.values(ids),
    ...made,
    ...written,
    ...said,
    `${word}@example.com`,
    `pay.test/${word}`,
    `"${reference}"`,
  ];
  return { partner, user, ids, words };
}

const accesses: readonly PartnerAccess[] = (["leads_and_reports", "leads", "all_but_leads"] as const).flatMap(
  (level) => {
    const none = { mayAccept: false, mayUpdateStatus: false, mayReturn: false };
    const seesNoLeads = level === "all_but_leads" ? none : {};
    const nothing = { ...none, mayPause: false, maySeeFunds: false, mayChangeSettings: "no" } as const;
    return [
      { ...fullAccess, level, ...seesNoLeads },
      { ...fullAccess, level, ...nothing },
    ];
  },
);

const isOfPortal = ({ permission }: GuardedOperation) => permission.startsWith("portal.");

const portalRoutes = () => listGuarded(portal.server.api).filter(isOfPortal);

/** A body that each route takes. A new route of the portal with a body belongs here. */
const bodies: Readonly<Record<string, unknown>> = {
  "POST /v1/portal/leads/{id}/status": { status: "won" },
  "POST /v1/portal/leads/{id}/returns": { comment: "not ours" },
  "POST /v1/portal/offers/{id}/decline": {},
  "POST /v1/portal/pause": {},
  "PATCH /v1/portal/settings": {},
  "POST /v1/portal/top-ups": { amount: 5_000 },
};

const strange = () => [...rival.words, ...foreign.words];

function expectNothingStrange(of: string, raw: string): void {
  expect([of, strange().filter((word) => raw.includes(word))]).toEqual([of, []]);
}

/** Everything in every table that is not this partner's, as text. */
async function dumpOthers(): Promise<string> {
  const { rows } = await sql<{ name: string }>`
    select table_name as name from information_schema.columns where table_schema = 'public' and column_name = 'partner_id'
  `.execute(portal.server.owner);
  const parts = await Promise.all(
    rows.map(async ({ name }) =>
      sql<{ text: string | null }>`
        select string_agg(t::text, ' ' order by t::text) as text from ${sql.table(name)} t where t.partner_id <> ${mine.partner.id}
      `.execute(portal.server.owner),
    ),
  );
  return parts.map((part) => part.rows[0]?.text ?? "").join("\n");
}

describe("every route of the portal", () => {
  test("lets through whose access it is, and nobody else", async () => {
    const all = portalRoutes();
    expect(all.length).toBeGreaterThan(20);
    for (const access of accesses) {
      const user = await portal.user(mine.partner, access);
      const permissions: ReadonlySet<string> = portalPermissionsOf(access);
      for (const { method, path, permission } of all) {
        const operation = `${method} ${path}`;
        const answer = await user.call(method as Method, path.replace("{id}", newId()), bodies[operation]);
        const expected = permissions.has(permission) ? expect.not.stringMatching("not_allowed") : "not_allowed";
        expect({ access, operation, code: String(answer.value("code")) }).toEqual({
          access,
          operation,
          code: expected,
        });
        expectNothingStrange(operation, answer.raw);
      }
    }
  });

  test("knows nothing by the ids of another partner, of this organisation or another, whatever the access", async () => {
    const before = await dumpOthers();
    const named = portalRoutes().filter(({ path }) => path.includes("{id}"));
    expect(named.length).toBeGreaterThan(5);
    for (const access of accesses) {
      const user = await portal.user(mine.partner, access);
      const permissions: ReadonlySet<string> = portalPermissionsOf(access);
      for (const { method, path, permission } of named) {
        for (const stall of [rival, foreign]) {
          for (const id of Object.values(stall.ids)) {
            const operation = `${method} ${path}`;
            const answer = await user.call(method as Method, path.replace("{id}", id), bodies[operation]);
            const status = permissions.has(permission) ? 404 : 403;
            expect({ operation, status: answer.status }).toEqual({ operation, status });
            expectNothingStrange(operation, answer.raw);
          }
        }
      }
    }
    expect(await dumpOthers()).toBe(before);
  });

  test("shows the partner's own, by the same ids and searches", async () => {
    for (const { path } of portalRoutes().filter(({ method }) => method === "GET")) {
      const kind = path.split("/")[3] ?? "";
      const answer = await mine.user.call("GET", path.replace("{id}", mine.ids[kind] ?? ""));
      expect({ path, status: answer.status }).toEqual({ path, status: 200 });
      expectNothingStrange(path, answer.raw);
    }
  });

  test("finds nothing of another's by searching for it", async () => {
    const { ids, partner } = rival;
    const searches = [
      "name=firstname-rival",
      "email=rival%40example.com",
      `campaignId=${partner.campaignId}`,
      `campaignId=${foreign.partner.campaignId}`,
    ];
    for (const search of searches) {
      const answer = await mine.user.call("GET", `/v1/portal/leads?${search}`);
      expect(answer.body).toEqual({ data: [], nextCursor: null });
    }
    expect((await mine.user.call("GET", `/v1/portal/leads?cursor=${ids.leads}`)).status).toBe(400);
    for (const list of ["returns", "invoices", "top-ups", "settings/changes"]) {
      const answer = await mine.user.call("GET", `/v1/portal/${list}?cursor=${ids.invoices}`);
      expectNothingStrange(list, answer.raw);
    }
  });

  test("takes no API key, and no staff route takes a partner's user", async () => {
    for (const { method, path } of portalRoutes()) {
      const answer = await portal.staff.call(
        method as Method,
        path.replace("{id}", newId()),
        bodies[`${method} ${path}`],
      );
      expect({ path, code: answer.value("code") }).toEqual({ path, code: "not_allowed" });
    }
    const isOfStaff = (route: GuardedOperation) => !isOfPortal(route) && route.permission !== "signed_in";
    const staffRoutes = listGuarded(portal.server.api).filter(isOfStaff);
    expect(staffRoutes.length).toBeGreaterThan(60);
    for (const { method, path } of staffRoutes) {
      const answer = await mine.user.call(
        method as Method,
        path.replace(/\{\w+\}/g, mine.partner.id),
        method === "GET" ? undefined : {},
      );
      expect({ path, code: answer.value("code") }).toEqual({ path, code: "not_allowed" });
    }
  });
});

describe("the database role of the portal", () => {
  let application: Database;
  beforeAll(() => {
    application = openDatabase(createPool(portal.server.databaseUrl, "application", 2));
  });
  afterAll(async () => application.destroy());

  const asMine = async <T>(work: (transaction: Database) => Promise<T>) =>
    inPartner(application, { organisationId: portal.staff.organisationId, partnerId: mine.partner.id }, work);

  const readable = async () => {
    const { rows } = await sql<{ name: string; columns: string[] }>`
      select table_name as name, array_agg(column_name::text) as columns from information_schema.column_privileges
      where grantee = 'handoff_portal' and table_schema = 'public' group by table_name order by table_name
    `.execute(portal.server.owner);
    return rows;
  };

  test("sees of every table that it may read this partner's rows alone", async () => {
    const tables = await readable();
    expect(tables.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["leads", "deliveries", "entries", "campaigns"]),
    );
    for (const { name, columns } of tables) {
      const list = sql.join(columns.map((column) => sql.ref(column)));
      const text = await asMine(async (transaction) => {
        const { rows } = await sql`select ${list} from ${sql.table(name)}`.execute(transaction);
        return JSON.stringify(rows);
      });
      expectNothingStrange(name, text);
      if (name !== "top_up_refunds" && name !== "invoice_payments") expect([name, text]).not.toEqual([name, "[]"]);
    }
  });

  test("has a policy of its own on every table that it may read, but for its organisation", async () => {
    const { rows } = await sql<{ name: string }>`
      select c.relname as name from pg_policy p join pg_class c on c.oid = p.polrelid
      where not p.polpermissive and p.polroles = array['handoff_portal'::regrole::oid] order by 1
    `.execute(portal.server.owner);
    const names = (await readable()).map(({ name }) => name).filter((name) => name !== "organisations");
    expect(rows.map(({ name }) => name)).toEqual(names);
  });

  test.each([
    [
      "who introduced a lead, where it came from and what it cost",
      "select introducer_id, source, lead_cost, cost_minor, extra from leads",
    ],
    ["what a lead is to others", "select state, sold_count from leads"],
    [
      "what introducers are owed for a sale, and why it was decided so",
      "select cost_minor, hold_reason, group_id from deliveries",
    ],
    ["how partners are delivered to", "select internet, email from partners"],
    ["prices and routing of a campaign", "select routing, lead_values from campaigns"],
    ["decisions", "select 1 from decisions"],
    ["attempts", "select 1 from attempts"],
    ["what staff did", "select 1 from lead_events"],
    ["changes", "select 1 from changes"],
    ["keys", "select 1 from api_keys"],
    ["passwords", "select password_hash from users"],
    ["sessions", "select 1 from sessions"],
  ])("does not read %s", async (_, statement) => {
    await expect(asMine(async (transaction) => sql.raw(statement).execute(transaction))).rejects.toThrow(
      /permission denied/,
    );
  });

  test("writes nothing, and is out of the role when the transaction ends", async () => {
    const { rows } = await sql`
      select table_name, privilege_type from information_schema.role_table_grants
      where grantee = 'handoff_portal' and privilege_type <> 'SELECT'
    `.execute(portal.server.owner);
    expect(rows).toEqual([]);
    const single = openDatabase(createPool(portal.server.databaseUrl, "application", 1));
    try {
      const scope = { organisationId: portal.staff.organisationId, partnerId: mine.partner.id };
      const seen = async (transaction: Database) =>
        (
          await sql<{ role: string; partner: string | null }>`
          select current_user as role, current_setting('handoff.partner_id', true) as partner`.execute(transaction)
        ).rows[0];
      expect(await inPartner(single, scope, seen)).toEqual({ role: "handoff_portal", partner: mine.partner.id });
      expect(await seen(single)).toEqual({ role: "handoff_app", partner: "" });
    } finally {
      await single.destroy();
    }
  });
});
