import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { eraseLead } from "../../src/leads/erase-lead.ts";
import { sendDueReferrals } from "../../src/referrals/send-referrals.ts";
import { signStatus } from "../../src/referrals/sign-status.ts";
import { call, createTestApi, type TestAnswer, type TestApi } from "../helpers/api.ts";
import { type Desk, openDesk } from "../helpers/deals.ts";
import { type ReferralReceiver, startReferralReceiver } from "../helpers/referral-receiver.ts";

/** What the other organisation tells of a deal that was referred to it: a state, and a note in the sender's deal. */

let receiver: ReferralReceiver;
let server: TestApi;
let desk: Desk;
let now = new Date("2026-11-20T10:00:00Z");

beforeAll(async () => {
  receiver = await startReferralReceiver();
  const environment = { HANDOFF_ALLOW_HOSTS: receiver.host, PUBLIC_URL: "https://sellers.example.com" };
  server = await createTestApi({ environment, clock: () => now });
  desk = await openDesk(server);
});
afterAll(async () => {
  await server.close();
  await receiver.close();
});

interface Sent {
  readonly id: string;
  readonly leadId: string;
  readonly key: string;
}

async function sent(): Promise<Sent> {
  const outboundId = (await desk.outbound({ url: receiver.referralUrl, key: receiver.key })).text("id");
  const leadId = await desk.deal();
  const id = (await desk.refer(leadId, outboundId)).text("id");
  await sendDueReferrals(server.context, desk.client.organisationId, outboundId);
  const status = receiver.arrived.find(({ referralId }) => referralId === id)?.status;
  expect(status?.url).toBe(`https://sellers.example.com/v1/referrals/status/${id}`);
  return { id, leadId, key: status?.key ?? "" };
}

interface Told {
  readonly status?: string;
  readonly reason?: string | null;
  readonly sequence?: number;
  readonly key?: string;
  readonly sentAt?: Date;
  readonly to?: string;
  readonly about?: string;
  readonly body?: string;
}

async function tell(referral: Sent, told: Told = {}): Promise<TestAnswer> {
  const { status = "accepted", reason = null, sequence = 1, key = referral.key, sentAt = now } = told;
  const document = {
    version: 1,
    referralId: told.about ?? referral.id,
    status,
    reason,
    at: now.toISOString(),
    sequence,
  };
  const body = told.body ?? JSON.stringify(document);
  const signed = Object.fromEntries(signStatus(key, { id: `${referral.id}-${sequence}`, sentAt, body }));
  const headers = { ...signed, "content-type": "application/json" };
  return call(server.api, null, "POST", `/v1/referrals/status/${told.to ?? referral.id}`, undefined, {
    headers,
    payload: body,
  });
}

const read = async (id: string) => desk.client.call("GET", `/v1/referrals/${id}`);

async function statusNotes(leadId: string): Promise<string[]> {
  const { body } = await desk.client.call("GET", `/v1/leads/${leadId}`);
  const { timeline } = body as { timeline: { text: string }[] };
  return timeline.map(({ text }) => text).filter((text) => text.startsWith("What became of"));
}

describe("a status", () => {
  test("comes back as a state and a note, each change once, in order", async () => {
    const referral = await sent();
    expect((await tell(referral)).status).toBe(204);
    expect((await read(referral.id)).body).toMatchObject({
      status: "accepted",
      statusReason: null,
      statusAt: now.toISOString(),
    });
    expect((await tell(referral, { status: "lost", reason: "No cover needed", sequence: 2 })).status).toBe(204);
    expect((await read(referral.id)).body).toMatchObject({
      status: "lost",
      statusReason: "No cover needed",
      state: "sent",
    });
    const over = "over “To Receivers”";
    expect(await statusNotes(referral.leadId)).toEqual([
      `What became of the referral ${over}: accepted, as referral ${referral.id} (Receivers Ltd).`,
      `What became of the referral ${over}: lost, as referral ${referral.id} (Receivers Ltd): No cover needed.`,
    ]);
  });

  test("that is told again, or comes after a later one, is answered 204 and changes nothing", async () => {
    const referral = await sent();
    await tell(referral, { status: "won", sequence: 2 });
    for (const sequence of [2, 1]) {
      expect((await tell(referral, { status: "lost", sequence })).status).toBe(204);
    }
    expect((await read(referral.id)).value("status")).toBe("won");
    expect(await statusNotes(referral.leadId)).toHaveLength(1);
  });

  test("told many times at one moment is noted once", async () => {
    const referral = await sent();
    const answers = await Promise.all([1, 2, 3, 4, 5].map(async () => tell(referral)));
    expect(answers.map(({ status }) => status)).toEqual([204, 204, 204, 204, 204]);
    expect(await statusNotes(referral.leadId)).toHaveLength(1);
  });

  test("that is not signed with this referral's key within five minutes is refused, and so is one of an unknown referral, alike", async () => {
    const [referral, other] = [await sent(), await sent()];
    const minuteMs = 60_000;
    const answers = [
      await tell(referral, { key: other.key }),
      await tell(referral, { sentAt: new Date(now.getTime() - 6 * minuteMs) }),
      await tell(referral, { sentAt: new Date(now.getTime() + 6 * minuteMs) }),
      await tell(referral, { to: other.id }),
      await tell(referral, { to: "01900000-0000-7000-8000-000000000000" }),
      await call(server.api, null, "POST", `/v1/referrals/status/${referral.id}`, { status: "won" }),
      await call(server.api, desk.client.key, "POST", `/v1/referrals/status/${referral.id}`, { status: "won" }),
    ];
    for (const answer of answers) expect([answer.status, answer.raw]).toEqual([403, answers[0]?.raw]);
    for (const { id, leadId } of [referral, other]) {
      expect((await read(id)).value("status")).toBeNull();
      expect(await statusNotes(leadId)).toEqual([]);
    }
    expect((await tell(referral, { sentAt: new Date(now.getTime() - 4 * minuteMs) })).status).toBe(204);
  });

  test("whose body was changed on the way is refused", async () => {
    const referral = await sent();
    const body = JSON.stringify({
      version: 1,
      referralId: referral.id,
      status: "won",
      reason: null,
      at: now.toISOString(),
      sequence: 1,
    });
    const signed = Object.fromEntries(signStatus(referral.key, { id: "x", sentAt: now, body }));
    const headers = { ...signed, "content-type": "application/json" };
    const payload = body.replace("won", "lost");
    const answer = await call(server.api, null, "POST", `/v1/referrals/status/${referral.id}`, undefined, {
      headers,
      payload,
    });
    expect(answer.status).toBe(403);
  });

  test.each([
    ["another word", { status: "cancelled" }, 422, "status"],
    ["another referral", { about: "01900000-0000-7000-8000-000000000000" }, 422, "referralId"],
    ["a sequence of nothing", { sequence: 0 }, 422, "sequence"],
    ["no JSON", { body: "{" }, 400, undefined],
  ])("that is signed and says %s is refused in words", async (_, told, status, field) => {
    const answer = await tell(await sent(), told);
    expect(answer.status).toBe(status);
    expect(answer.value("fields.0.field")).toBe(field);
  });

  test("of a lead that was erased is kept without its reason, which may be about the person", async () => {
    const referral = await sent();
    await eraseLead(
      server.context,
      { organisationId: desk.client.organisationId, by: "test", at: now },
      referral.leadId,
    );
    expect((await tell(referral, { status: "lost", reason: "Ann moved away" })).status).toBe(204);
    const referralNow = await read(referral.id);
    expect(referralNow.body).toMatchObject({ status: "lost", statusReason: null });
    expect(JSON.stringify(await statusNotes(referral.leadId))).not.toContain("Ann");
  });

  test("sent too often is made to wait", async () => {
    const referral = await sent();
    const statuses: number[] = [];
    for (let count = 0; count < 61; count += 1)
      statuses.push((await tell(referral, { key: "wrong-key-of-somebody-else-1234567" })).status);
    expect(new Set(statuses.slice(0, 60))).toEqual(new Set([403]));
    expect(statuses[60]).toBe(429);
    expect((await tell(await sent())).status).toBe(204);
    now = new Date(now.getTime() + 60_000);
  });
});
