import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { eraseLead } from "../../src/leads/erase-lead.ts";
import { sendDueReferrals } from "../../src/referrals/send-referrals.ts";
import { createTestApi, type TestApi } from "../helpers/api.ts";
import { type Desk, openDesk } from "../helpers/deals.ts";
import { type ReferralReceiver, startReferralReceiver } from "../helpers/referral-receiver.ts";

/** Refer deal: what is offered, what it takes, and what goes. The other side is a real HTTP server that speaks the protocol. */

let receiver: ReferralReceiver;
let server: TestApi;
let desk: Desk;
let outboundId: string;

beforeAll(async () => {
  receiver = await startReferralReceiver();
  const environment = { HANDOFF_ALLOW_HOSTS: receiver.host, PUBLIC_URL: "https://sellers.example.com/" };
  server = await createTestApi({ environment });
  desk = await openDesk(server);
});
afterAll(async () => {
  await server.close();
  await receiver.close();
});
beforeEach(async () => {
  receiver.always(null);
  outboundId = (await desk.outbound({ url: receiver.referralUrl, key: receiver.key })).text("id");
});

const send = async () => sendDueReferrals(server.context, desk.client.organisationId, outboundId);
const read = async (id: string) => desk.client.call("GET", `/v1/referrals/${id}`);
const arrivedAs = (id: string) => receiver.arrived.filter(({ referralId }) => referralId === id);

/** The notes about referrals in a deal, oldest first. */
async function notesOf(leadId: string): Promise<string[]> {
  const { body } = await desk.client.call("GET", `/v1/leads/${leadId}`);
  const { timeline } = body as { timeline: { kind: string; text: string }[] };
  return timeline.filter(({ kind, text }) => kind === "event" && /referr/.test(text)).map(({ text }) => text);
}

describe("outbounds of a lead", () => {
  const offers = async (leadId: string) => desk.client.call("GET", `/v1/leads/${leadId}/outbounds`);
  const offered = async (leadId: string) => JSON.stringify((await offers(leadId)).value("outbounds"));

  test("are those of the stage in which it stands, with exactly what would go", async () => {
    const leadId = await desk.deal({ smoker: "yes" });
    const offer = await offers(leadId);
    expect(offer.value("refusal")).toBeNull();
    expect(await offered(leadId)).toContain(outboundId);
    const { shared } = offer.body as {
      shared: { fields: { key: string; value: unknown }[]; contacts: { key: string }[][] };
    };
    expect(shared.fields.map(({ key, value }) => [key, value])).toEqual([
      ["first_name", "Ann"],
      ["email", expect.stringMatching(/^ann\d+@example\.com$/)],
      ["cover", "1250.00"],
      ["smoker", true],
    ]);
    expect(shared.contacts.map((contact) => contact.map(({ key }) => key))).toEqual([["first_name", "email"]]);
    expect(offer.raw).toContain("Calls back on Friday");
    expect(offer.raw).not.toMatch(/Haggles|Strictly ours|remark/);
    expect(offer.text("outbounds.0.confirmation")).toContain("Receivers Ltd");
  });

  test("are none in another stage, in none, or where they are switched off or deleted", async () => {
    for (const stage of [desk.otherStageId, null]) {
      expect(await offered(await desk.deal({}, stage))).not.toContain(outboundId);
    }
    const leadId = await desk.deal();
    await desk.client.call("PATCH", `/v1/outbounds/${outboundId}`, { enabled: false });
    expect(await offered(leadId)).not.toContain(outboundId);
    await desk.client.call("PATCH", `/v1/outbounds/${outboundId}`, { enabled: true });
    expect(await offered(leadId)).toContain(outboundId);
    await desk.client.call("DELETE", `/v1/outbounds/${outboundId}`);
    expect(await offered(leadId)).not.toContain(outboundId);
  });
});

describe("refer deal", () => {
  test("takes a confirmation that names the party and says what it means; without it nothing is made", async () => {
    const leadId = await desk.deal();
    const answer = await desk.client.call("POST", `/v1/leads/${leadId}/referrals`, { outboundId });
    expect(answer.body).toMatchObject({ status: 409, code: "confirmation_needed" });
    const text = answer.text("detail");
    expect(text).toContain(
      "All clients, contacts and deal data go to another organisation's system: that of Receivers Ltd",
    );
    expect(text).toContain("This cannot be undone.");
    expect(text).toContain("The privacy document must say that client data is shared with Receivers Ltd.");
    expect((await desk.refer(leadId, outboundId, false)).status).toBe(409);
    expect((await desk.client.call("GET", `/v1/referrals?leadId=${leadId}`)).value("data")).toEqual([]);
    expect(await notesOf(leadId)).toEqual([]);
  });

  test("sends the lead with its contacts, fields and notes that are shareable, and nothing else", async () => {
    const leadId = await desk.deal();
    const made = await desk.refer(leadId, outboundId);
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({ state: "due", leadId, outboundId, organisation: "Receivers Ltd", attempts: [] });
    const id = made.text("id");
    await send();
    const [arrived] = arrivedAs(id);
    expect(arrived).toMatchObject({
      version: 1,
      from: { organisation: "Sellers", installation: "https://sellers.example.com" },
      referredBy: { name: "API key test", email: null },
      owner: { name: "Olive Owner", email: "olive@example.com" },
      status: {
        url: `https://sellers.example.com/v1/referrals/status/${id}`,
        key: expect.stringMatching(/^[\w-]{43}$/),
      },
    });
    expect(arrived?.lead).toMatchObject({
      id: leadId,
      notes: [{ text: "Calls back on Friday", writtenBy: "API key test" }],
    });
    expect(arrived?.lead.fields.map(({ key }) => key)).toEqual(["first_name", "email", "cover"]);
    expect(arrived?.lead.fields.at(-1)).toEqual({
      ...{ key: "cover", label: "Cover", type: "money", group: null },
      ...{ value: "1250.00", currency: "GBP" },
    });
    const request = receiver.seen.at(-1);
    expect(request?.headers).toMatchObject({ authorization: `Bearer ${receiver.key}`, "idempotency-key": id });
    expect(request?.body).not.toMatch(/Haggles|Strictly ours|remark/);
    const sent = await read(id);
    expect(sent.body).toMatchObject({
      state: "sent",
      receivedAs: `there-${id}`,
      organisation: "Receivers Ltd",
      dueAt: null,
    });
    expect(sent.body).toMatchObject({ shared: { fields: ["first_name", "email", "cover"], contacts: 1, notes: 1 } });
    expect(sent.value("attempts.0")).toMatchObject({ number: 1, outcome: "sent", status: 201 });
    expect(sent.raw).not.toContain(arrived?.status?.key);
    expect(await notesOf(leadId)).toEqual([
      `It was referred to Receivers Ltd over “To Receivers”, as referral ${id} (API key test).`,
      `The referral arrived at Receivers Ltd over “To Receivers”, is there-${id} there, as referral ${id}.`,
    ]);
  });

  test("sends what was confirmed, whatever is changed until it goes", async () => {
    const leadId = await desk.deal();
    const id = (await desk.refer(leadId, outboundId)).text("id");
    await sql`update leads set fields = fields || '{"first_name": "Changed"}' where id = ${leadId}`.execute(
      server.owner,
    );
    await send();
    expect(JSON.stringify(arrivedAs(id)[0]?.lead.fields)).toMatch(/"Ann"/);
  });

  test("asked for again answers the first, also of two at the same moment; it goes once", async () => {
    const leadId = await desk.deal();
    const answers = await Promise.all([1, 2, 3, 4].map(async () => desk.refer(leadId, outboundId)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 201]);
    expect(new Set(answers.map((answer) => answer.text("id"))).size).toBe(1);
    await Promise.all([send(), send(), send()]);
    const again = await desk.refer(leadId, outboundId);
    expect(again.body).toMatchObject({ id: answers[0]?.text("id"), state: "sent" });
    await send();
    expect(receiver.seen.filter(({ body }) => body.includes(leadId))).toHaveLength(1);
  });

  const refusals: readonly (readonly [string, () => Promise<string>, string, RegExp])[] = [
    ["a lead in another stage", async () => desk.deal({}, desk.otherStageId), "not_offered", /another stage/],
    ["a lead in no workflow", async () => desk.deal({}, null), "not_offered", /no workflow/],
    [
      "a lead that was erased",
      async () => {
        const leadId = await desk.deal();
        await eraseLead(
          server.context,
          { organisationId: desk.client.organisationId, by: "test", at: new Date() },
          leadId,
        );
        return leadId;
      },
      "lead_erased",
      /./,
    ],
    [
      "a lead that is invalid",
      async () => {
        const leadId = await desk.deal();
        await sql`update leads set state = 'invalid' where id = ${leadId}`.execute(server.owner);
        return leadId;
      },
      "lead_state",
      /./,
    ],
    [
      "a lead of which nothing may be shared",
      async () => {
        const leadId = await desk.deal();
        await sql`update leads set fields = '{"remark": "Strictly ours"}' where id = ${leadId}`.execute(server.owner);
        await sql`delete from contacts where lead_id = ${leadId}`.execute(server.owner);
        await sql`delete from lead_notes where lead_id = ${leadId}`.execute(server.owner);
        return leadId;
      },
      "nothing_shareable",
      /nothing would go/,
    ],
    [
      "an outbound that is switched off",
      async () => {
        await desk.client.call("PATCH", `/v1/outbounds/${outboundId}`, { enabled: false });
        return desk.deal();
      },
      "outbound_disabled",
      /Switch/,
    ],
  ];
  test.each(refusals)("of %s is refused, confirmed or not, and nothing is made", async (_, make, code, words) => {
    const leadId = await make();
    for (const confirmed of [true, false]) {
      const answer = await desk.refer(leadId, outboundId, confirmed);
      expect(answer.body).toMatchObject({ status: 409, code });
      expect(answer.text("detail")).toMatch(words);
    }
    expect((await desk.client.call("GET", `/v1/referrals?leadId=${leadId}`)).value("data")).toEqual([]);
  });

  test("over an outbound that is not there, or another organisation's, is refused", async () => {
    const leadId = await desk.deal();
    const other = await openDesk(server, "Others");
    const theirs = (await other.outbound({ url: receiver.referralUrl, key: receiver.key })).text("id");
    for (const id of ["01900000-0000-7000-8000-000000000000", theirs]) {
      expect((await desk.refer(leadId, id)).body).toMatchObject({ status: 422, fields: [{ field: "outboundId" }] });
    }
    expect((await other.refer(leadId, theirs)).status).toBe(404);
  });
});

describe("lists of referrals", () => {
  test("are found by state, lead and outbound", async () => {
    const [one, two] = [await desk.deal(), await desk.deal()];
    const first = (await desk.refer(one, outboundId)).text("id");
    await send();
    const second = (await desk.refer(two, outboundId)).text("id");
    const ids = async (query: string) => {
      const { body } = await desk.client.call("GET", `/v1/referrals?outboundId=${outboundId}${query}`);
      return (body as { data: { id: string }[] }).data.map(({ id }) => id);
    };
    expect(await ids("")).toEqual([second, first]);
    expect(await ids("&state=sent")).toEqual([first]);
    expect(await ids("&state=due")).toEqual([second]);
    expect(await ids(`&leadId=${one}`)).toEqual([first]);
    expect(await ids("&limit=1")).toEqual([second]);
  });
});
