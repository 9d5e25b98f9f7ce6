import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import type { Browser } from "../helpers/people.ts";
import { openPortal, type Portal, type PortalPartner, type SoldLead } from "../helpers/portal.ts";

/** What a partner's own people see of their leads, and what they say about them. */

let portal: Portal;
beforeAll(async () => {
  portal = await openPortal();
});
afterAll(async () => portal.close());

/** The ids on every page of a list. */
async function listAll(browser: Browser, query: string, limit = 200): Promise<string[]> {
  const ids: string[] = [];
  for (let cursor = ""; ; ) {
    const page = await browser.call("GET", `/v1/portal/leads?limit=${limit}${query}${cursor}`);
    expect(page.status).toBe(200);
    for (const lead of Object(page.body).data) ids.push(lead.id);
    const next = page.value("nextCursor");
    if (typeof next !== "string") return ids;
    cursor = `&cursor=${next}`;
  }
}

describe("a partner's people", () => {
  let mine: PortalPartner;
  let rival: PortalPartner;
  let user: Browser;
  let sold: SoldLead[];
  beforeAll(async () => {
    [mine, rival] = [await portal.partner(), await portal.partner()];
    user = await portal.user(mine);
    const people = [
      { first_name: "Zoë", email: "Zoe.Quill@example.com", phone: "07700 900123" },
      { first_name: "Marc Antoine", email: "marc@example.com", phone: "+44 7700 900124" },
      { first_name: "Percent 100%", email: "percent@example.com" },
      { first_name: "Marcia", email: "marcia@example.com", phone: "07700 900125" },
    ];
    sold = [];
    for (const person of people) {
      portal.later(60_000);
      sold.push(await portal.sell(mine, person));
    }
    await portal.sell(rival, { first_name: "Zoë", email: "zoe@example.com", phone: "07700 900123" });
  });

  test("see the leads that were sold to it, newest first, and no others", async () => {
    expect(await listAll(user, "")).toEqual(sold.map(({ id }) => id).reverse());
    const answer = await user.call("GET", "/v1/portal/leads?limit=1");
    expect(answer.value("data.0")).toMatchObject({
      ...{ id: sold[3]?.id, leadId: sold[3]?.leadId, campaign: mine.campaignId && `Campaign of ${mine.name}` },
      ...{ state: "delivered", status: "new", reference: expect.stringMatching(/^R\d+$/) },
      contact: { name: "Marcia", email: "marcia@example.com", phone: "+447700900125" },
      ...{ price: 1250, paid: 1250, currency: "GBP", soldAt: portal.now().toISOString() },
    });
  });

  test("see neither a lead that they refused, nor one that waits for them or is on its way", async () => {
    portal.partners.answer(mine.name.toLowerCase().replace(" ", ""), "reject");
    const refused = await portal.sell(mine, { first_name: "Refused" });
    portal.partners.answer(mine.name.toLowerCase().replace(" ", ""), { status: 503 });
    const underWay = await portal.sell(mine, { first_name: "Underway" });
    portal.partners.answer(mine.name.toLowerCase().replace(" ", ""), "accept");
    expect(await listAll(user, "")).toHaveLength(sold.length);
    for (const { id } of [refused, underWay]) {
      expect((await user.call("GET", `/v1/portal/leads/${id}`)).status).toBe(404);
    }
    await sql`update deliveries set state = 'cancelled', due_at = null where id = ${underWay.id}`.execute(
      portal.server.owner,
    );
  });

  test.each([
    ["name=zo%C3%AB", [0]],
    ["name=ZO%C3%8B", [0]],
    ["name=marc", [1, 3]],
    ["name=marc%20antoine", [1]],
    ["name=antoine%20marc", [1]],
    ["name=100%25", [2]],
    ["name=%25", [2]],
    ["name=nobody", []],
    ["email=zoe.quill%40EXAMPLE.com", [0]],
    ["email=quill%40example.com", []],
    ["phone=07700900123", [0]],
    ["phone=%2B44%207700%20900-124", [1]],
    ["phone=0044%207700900124", [1]],
    ["phone=900125", [3]],
    ["name=marc&phone=900125", [3]],
    ["name=zo%C3%AB&phone=900125", []],
    ["state=delivered", [0, 1, 2, 3]],
    ["state=returned", []],
    ["status=new", [0, 1, 2, 3]],
    ["status=won", []],
  ])("find their leads by %s", async (query, places) => {
    const expected = places.map((place) => sold[place]?.id).reverse();
    expect(await listAll(user, `&${query}`)).toEqual(expected);
    expect(await listAll(user, `&${query}`, 1)).toEqual(expected);
  });

  test("find a lead by what they call it, by its campaign, and by when it became theirs", async () => {
    const all = Object((await user.call("GET", "/v1/portal/leads")).body).data;
    const [, , second] = all;
    expect(await listAll(user, `&reference=${second.reference}`)).toEqual([second.id]);
    expect(await listAll(user, `&campaignId=${mine.campaignId}`)).toHaveLength(4);
    expect(await listAll(user, `&campaignId=${rival.campaignId}`)).toEqual([]);
    expect(await listAll(user, `&from=${second.soldAt}`)).toEqual(all.slice(0, 3).map(({ id }: { id: string }) => id));
    expect(await listAll(user, `&to=${second.soldAt}`)).toEqual([all[3].id]);
  });

  test("are told what cannot be searched for", async () => {
    const short = await user.call("GET", "/v1/portal/leads?phone=123");
    expect(short.body).toMatchObject({
      code: "invalid_query",
      fields: [{ field: "phone", message: expect.stringContaining("5 digits") }],
    });
    const cursor = await user.call("GET", `/v1/portal/leads?cursor=${mine.id}`);
    expect(cursor.body).toMatchObject({ code: "invalid_query", fields: [{ field: "cursor" }] });
  });

  test("see the whole lead: fields and contacts, and not where it came from, what was sent beside, or what it cost", async () => {
    const fields = { first_name: "Whole", email: "whole@example.com", postcode: "SW1A 1AA" };
    const lead = await portal.sell(mine, {
      ...fields,
      ...{ source: "secret-source", unknown_field: "secret-extra", contacts: [{ first_name: "Second" }] },
    });
    const answer = await user.call("GET", `/v1/portal/leads/${lead.id}`);
    expect(answer.body).toMatchObject({
      fields: { ...fields, phone: null },
      contacts: [{ first_name: "Second" }],
      ...{ statuses: [], returns: [] },
      timeline: [{ text: "The lead became yours." }],
    });
    expect(answer.raw).not.toMatch(/secret-|introducer|cost|explanation|attempts/);
    sold.push(lead);
  });

  test("find a lead by searching on, where there are more leads than one page of a search looks at", async () => {
    const many = await portal.partner();
    const reader = await portal.user(many);
    const oldest = await portal.sell(many, { first_name: "Needle" });
    await sql`
      with copies as (select gen_random_uuid() as lead_id, gen_random_uuid() as id, n from generate_series(1, 20500) n), made as (
        insert into leads (id, organisation_id, campaign_id, state, fields, received_at, hold_ends_at)
        select c.lead_id, l.organisation_id, l.campaign_id, 'sold', '{"first_name": "Hay"}', l.received_at, l.hold_ends_at
        from copies c, leads l where l.id = ${oldest.leadId} returning id)
      insert into deliveries (id, organisation_id, lead_id, campaign_id, partner_id, state, price_minor, currency, created_at, sold_at)
      select c.id, d.organisation_id, c.lead_id, d.campaign_id, d.partner_id, 'delivered', 0, 'GBP', d.created_at,
        d.sold_at + make_interval(secs => c.n % 50)
      from copies c, deliveries d where d.id = ${oldest.id}`.execute(portal.server.owner);
    // As PostgreSQL does by itself within a minute.
    await sql`analyze leads, deliveries`.execute(portal.server.owner);
    const first = await reader.call("GET", "/v1/portal/leads?name=needle");
    expect(first.body).toMatchObject({ data: [], nextCursor: expect.any(String) });
    expect(await listAll(reader, "&name=needle")).toEqual([oldest.id]);
    const straws = await reader.call("GET", "/v1/portal/leads?name=hay&limit=200");
    const more = await reader.call("GET", `/v1/portal/leads?name=hay&limit=200&cursor=${straws.text("nextCursor")}`);
    const ids = [straws, more].flatMap(({ body }) => Object(body).data.map(({ id }: { id: string }) => id));
    expect(new Set(ids).size).toBe(400);
  });
});

describe("a status", () => {
  test("is kept with its note and all before it, and shown to staff in the lead's history", async () => {
    const partner = await portal.partner();
    const user = await portal.user(partner);
    const { id, leadId } = await portal.sell(partner);
    portal.later(60_000);
    const first = await user.call("POST", `/v1/portal/leads/${id}/status`, { status: "contacted", note: "Rang twice" });
    expect(first.body).toMatchObject({ status: "contacted", statuses: [{ status: "contacted", note: "Rang twice" }] });
    portal.later(60_000);
    const second = await user.call("POST", `/v1/portal/leads/${id}/status`, { status: "won" });
    expect(second.body).toMatchObject({
      status: "won",
      statuses: [{ status: "contacted" }, { status: "won", note: null, by: expect.stringContaining(partner.name) }],
      timeline: [{ text: "The lead became yours." }, { text: expect.stringContaining("contacted: Rang twice") }, {}],
    });
    const staff = await portal.staff.call("GET", `/v1/leads/${leadId}`);
    expect(staff.body).toMatchObject({ deliveries: [{ partnerStatus: "won" }] });
    const told = Object(staff.body).timeline.map(({ text }: { text: string }) => text);
    expect(told).toContainEqual(
      expect.stringMatching(/^Its partner said what became of it \(user .*\): contacted, Rang twice\.$/),
    );
    expect(told).toContainEqual(expect.stringMatching(/: won\.$/));
  });

  test("that is so already, without a note, changes nothing; with one it is kept", async () => {
    const partner = await portal.partner();
    const user = await portal.user(partner);
    const { id } = await portal.sell(partner);
    const say = async (body: object) => user.call("POST", `/v1/portal/leads/${id}/status`, body);
    expect((await say({ status: "new" })).value("statuses")).toEqual([]);
    await say({ status: "lost" });
    expect((await say({ status: "lost" })).value("statuses")).toHaveLength(1);
    expect((await say({ status: "lost", note: "Moved away" })).value("statuses")).toHaveLength(2);
  });

  test("moves no billing point: what the lead costs is as it was", async () => {
    const billing = { accepted: { percent: 20 }, qualified: { percent: 30 }, converted: { percent: 50 } };
    const partner = await portal.partner({ billing });
    const user = await portal.user(partner);
    const { id } = await portal.sell(partner);
    const before = Object((await portal.staff.call("GET", `/v1/deliveries/${id}`)).body).billing;
    for (const status of ["qualified", "won", "lost"]) {
      await user.call("POST", `/v1/portal/leads/${id}/status`, { status });
    }
    const after = await portal.staff.call("GET", `/v1/deliveries/${id}`);
    expect(after.body).toMatchObject({ partnerStatus: "lost", billing: before });
  });

  test("of a lead that was taken back, of one that was erased, and of nobody's is refused", async () => {
    const partner = await portal.partner();
    const user = await portal.user(partner);
    const [returned, erased] = [await portal.sell(partner), await portal.sell(partner)];
    const say = async (id: string) =>
      user.call("POST", `/v1/portal/leads/${id}/status`, { status: "won", note: "Private" });
    await say(erased.id);
    const back = { partnerId: partner.id, reason: "a staff matter" };
    expect((await portal.staff.call("POST", `/v1/leads/${returned.leadId}/unrefer`, back)).status).toBe(200);
    expect((await portal.staff.call("DELETE", `/v1/leads/${erased.leadId}`)).status).toBe(204);
    expect((await say(returned.id)).body).toMatchObject({ status: 409, code: "lead_state" });
    expect((await say(erased.id)).body).toMatchObject({ status: 409, code: "lead_erased" });
    expect((await say(returned.leadId)).status).toBe(404);
    const shown = await user.call("GET", `/v1/portal/leads/${erased.id}`);
    expect(shown.body).toMatchObject({ fields: {}, statuses: [{ status: "won", note: null }] });
    const taken = await user.call("GET", `/v1/portal/leads/${returned.id}`);
    expect(taken.body).toMatchObject({ state: "returned", timeline: [{}, { text: "The lead was taken back." }] });
    expect(taken.raw).not.toContain("a staff matter");
  });
});

describe("a return", () => {
  const returns = { within: { days: 14 }, perMonth: { percent: 50 }, neverFor: ["no_interest"] };

  test("is asked for as was agreed, decided by staff, and told in the partner's terms", async () => {
    const partner = await portal.partner({ returns });
    const user = await portal.user(partner);
    const leads = [await portal.sell(partner), await portal.sell(partner)];
    const id = leads[0]?.id ?? "";
    const asked = await user.call("POST", `/v1/portal/leads/${id}/returns`, {
      reason: "wrong_contact",
      comment: "A bakery",
    });
    expect(asked.status).toBe(201);
    expect(asked.body).toMatchObject({
      leadId: id,
      state: "open",
      reason: { code: "wrong_contact" },
      comment: "A bakery",
    });
    expect(await listAll(user, "&state=return_open")).toEqual([id]);
    const decision = { decision: "accepted", note: "So it is" };
    await portal.staff.call("POST", `/v1/returns/${asked.text("id")}/decide`, decision);
    const lead = await user.call("GET", `/v1/portal/leads/${id}`);
    expect(lead.body).toMatchObject({
      ...{ state: "returned", paid: 0, returns: [{ state: "accepted", note: "So it is" }] },
      timeline: [
        {},
        { text: "Its return was asked for: The contact details are wrong; A bakery." },
        { text: "Its return was accepted: So it is." },
      ],
    });
    expect(lead.raw).not.toContain("API key");
    expect(await listAll(user, "&state=returned")).toEqual([id]);
    const list = await user.call("GET", "/v1/portal/returns?state=accepted");
    expect(list.body).toMatchObject({ data: [{ leadId: id, note: "So it is" }], nextCursor: null });
  });

  test("that was not agreed is refused with every reason, and cannot be overridden by the partner", async () => {
    const partner = await portal.partner({ returns });
    const user = await portal.user(partner);
    const { id } = await portal.sell(partner);
    portal.later(20 * 86_400_000);
    const body = { reason: "no_interest" };
    // The session is over by then.
    const again = await portal.user(partner);
    const refused = await again.call("POST", `/v1/portal/leads/${id}/returns`, body);
    expect(refused.body).toMatchObject({ status: 409, code: "return_refused" });
    const codes = Object(refused.body).fields.map(({ code }: { code: string }) => code);
    expect(codes).toEqual(["out_of_time", "above_share", "reason_not_taken"]);
    expect(refused.raw).not.toContain("override");
    const forced = await again.call("POST", `/v1/portal/leads/${id}/returns`, { ...body, override: true });
    expect(forced.body).toMatchObject({ status: 422, fields: [{ field: "override", code: "unknown_field" }] });
    expect((await user.call("GET", "/v1/portal/account")).status).toBe(401);
  });
});

describe("a report", () => {
  test("counts what became the partner's in its own days and months, what was paid and what went back", async () => {
    const partner = await portal.partner({ returns: { decide: "auto" }, timeZone: "Pacific/Auckland" });
    const user = await portal.user(partner);
    const leads = [await portal.sell(partner), await portal.sell(partner), await portal.sell(partner)];
    await user.call("POST", `/v1/portal/leads/${leads[0]?.id}/status`, { status: "won" });
    await user.call("POST", `/v1/portal/leads/${leads[1]?.id}/returns`, { reason: "duplicate" });
    const today = portal.now().toLocaleDateString("sv-SE", { timeZone: "Pacific/Auckland" });
    portal.later(3_600_000);
    const report = async (by: string, more = "") => user.call("GET", `/v1/portal/reports/leads?by=${by}${more}`);
    const days = await report("day");
    const total = { leads: 3, returned: 1, returnedPercent: 33.33, spend: 2500 };
    expect(days.body).toMatchObject({
      timeZone: "Pacific/Auckland",
      currency: "GBP",
      rows: [{ key: today, ...total }],
      total,
    });
    expect((await report("month")).value("rows")).toEqual([{ key: today.slice(0, 7), name: null, ...total }]);
    expect((await report("campaign")).body).toMatchObject({ rows: [{ name: `Campaign of ${partner.name}` }] });
    expect((await report("status")).body).toMatchObject({
      rows: [
        { key: "new", leads: 2 },
        { key: "won", leads: 1 },
      ],
    });
    const empty = await report("day", "&from=2026-01-01&to=2026-01-31");
    expect(empty.body).toMatchObject({ rows: [], total: { leads: 0, returnedPercent: null } });
    expect((await report("day", "&from=2025-01-01&to=2026-06-01")).body).toMatchObject({
      fields: [{ code: "too_many" }],
    });
  });
});
