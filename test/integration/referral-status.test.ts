import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import { statusCallbackSchema } from "../../src/referrals/protocol.ts";
import { sendDueStatuses } from "../../src/referrals/send-due-statuses.ts";
import { isSignedStatus } from "../../src/referrals/sign-status.ts";
import { maximumStatusAttempts } from "../../src/referrals/status-outcome.ts";
import { sweep } from "../../src/sweep.ts";
import { call, createTestApi, type TestApi, type TestClient } from "../helpers/api.ts";
import { addCampaign } from "../helpers/api-documents.ts";
import { type HttpLoopback, startHttp } from "../helpers/loopback.ts";
import { addInbound, addUser, addWorkflow, referralDocument, type TestInbound } from "../helpers/referrals.ts";
import { until } from "../helpers/until.ts";
import { quietWaker } from "../helpers/waker.ts";

/** What became of a referred lead, told to a real HTTP server that stands in for the sender. */

let sender: HttpLoopback;
interface Answer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  /** Answered no sooner than this. */
  readonly after?: Promise<void> | undefined;
}
let answerWith: (count: number) => Answer;
let server: TestApi;
let client: TestClient;
let inbound: TestInbound;
let now: Date;

const key = "k".repeat(40);

beforeAll(async () => {
  sender = await startHttp((_seen, response) => {
    const { status, headers = {}, after = Promise.resolve() } = answerWith(sender.seen.length);
    void after.then(() => response.writeHead(status, headers).end());
  });
  server = await createTestApi({ environment: { HANDOFF_ALLOW_HOSTS: sender.host }, clock: () => now });
});
afterAll(async () => {
  await server.close();
  await sender.close();
  await closeOutbound();
});

beforeEach(async () => {
  now = new Date("2026-11-20T10:00:00Z");
  answerWith = () => ({ status: 204 });
  sender.seen.length = 0;
  client = await server.createClient("Receivers");
  const ownerId = await addUser(server, client);
  const workflow = await addWorkflow(client, { campaignId: (await addCampaign(client)).id, ownerId });
  inbound = await addInbound(client, workflow);
});

async function referred(status: object | null = { url: `${sender.url}/status`, key }): Promise<string> {
  const answer = await call(server.api, inbound.key, "POST", inbound.path, { ...referralDocument(), status });
  return answer.text("receivedAs");
}

const report = async (leadId: string, status: string, reason: string | null = null) =>
  client.call("POST", `/v1/leads/${leadId}/referral-status`, { status, reason });
const sendDue = async () => sendDueStatuses(server.context, client.organisationId);
const later = (minutes: number) => {
  now = new Date(now.getTime() + minutes * 60_000);
};
const told = async (leadId: string) => (await client.call("GET", `/v1/leads/${leadId}`)).value("arrival.told");
const heard = () => sender.seen.map(({ body }) => statusCallbackSchema.parse(JSON.parse(body)));

describe("a status that is reported", () => {
  test("is told to the sender, signed with the referral's key, and kept with the lead", async () => {
    const leadId = await referred();
    expect((await report(leadId, "won", "Signed today")).status).toBe(204);
    await sendDue();
    const shown = await client.call("GET", `/v1/leads/${leadId}`);
    expect(heard()).toEqual([
      {
        version: 1,
        referralId: shown.text("arrival.referralId"),
        status: "won",
        reason: "Signed today",
        at: "2026-11-20T10:00:00.000Z",
        sequence: 1,
      },
    ]);
    const [request] = sender.seen;
    if (request === undefined) throw new Error("nothing came");
    expect(request).toMatchObject({ method: "POST", path: "/status" });
    expect(isSignedStatus(key, request.headers, request.body, now)).toBe(true);
    expect(isSignedStatus(`${key}x`, request.headers, request.body, now)).toBe(false);
    expect(isSignedStatus(key, request.headers, `${request.body} `, now)).toBe(false);
    expect(isSignedStatus(key, request.headers, request.body, new Date(now.getTime() + 301_000))).toBe(false);
    expect(shown.body).toMatchObject({
      arrival: { status: "won", statusReason: "Signed today", told: { state: "sent" } },
    });
    expect(shown.value("timeline")).toContainEqual(
      expect.objectContaining({ text: "Brightwater Brokers is told that it is won: Signed today (API key test)." }),
    );
  });

  test("is tried again after 1 min, 5 min, 30 min, 2 h and on, and in the end given up with a note", async () => {
    answerWith = () => ({ status: 503 });
    const leadId = await referred();
    await report(leadId, "accepted");
    const waits: number[] = [];
    for (let attempt = 1; attempt <= maximumStatusAttempts; attempt += 1) {
      await sendDue();
      expect(sender.seen.length).toBe(attempt);
      await sendDue();
      expect(sender.seen.length).toBe(attempt);
      const { dueAt } = (await told(leadId)) as { dueAt: string | null };
      if (dueAt === null) break;
      waits.push((Date.parse(dueAt) - now.getTime()) / 60_000);
      now = new Date(dueAt);
    }
    expect(waits.slice(0, 4)).toEqual([1, 5, 30, 120]);
    expect(waits.length).toBe(maximumStatusAttempts - 1);
    const shown = await client.call("GET", `/v1/leads/${leadId}`);
    expect(shown.value("arrival.told")).toMatchObject({ state: "failed", error: "They answered 503." });
    expect(shown.value("timeline")).toContainEqual(
      expect.objectContaining({
        text: "Brightwater Brokers could not be told that it is accepted: They answered 503.",
      }),
    );
  });

  test("waits as long as it is asked to, an hour at most", async () => {
    answerWith = () => ({ status: 429, headers: { "retry-after": "600" } });
    const leadId = await referred();
    await report(leadId, "accepted");
    await sendDue();
    expect(await told(leadId)).toMatchObject({ state: "due", dueAt: "2026-11-20T10:10:00.000Z" });
  });

  test.each([400, 401, 404, 410, 422])("that is answered %i is not tried again", async (status) => {
    answerWith = () => ({ status });
    const leadId = await referred();
    await report(leadId, "lost");
    await sendDue();
    expect(await told(leadId)).toMatchObject({ state: "failed", error: `They answered ${status}.` });
  });

  test("goes after those that were reported before, however long those take", async () => {
    answerWith = (count) => ({ status: count < 3 ? 500 : 204 });
    const leadId = await referred();
    await report(leadId, "accepted");
    await sendDue();
    await report(leadId, "won");
    await sendDue();
    expect(heard().map(({ sequence }) => sequence)).toEqual([1]);
    later(1);
    await sendDue();
    later(5);
    await sendDue();
    expect(heard().map(({ sequence, status }) => [sequence, status])).toEqual([
      [1, "accepted"],
      [1, "accepted"],
      [1, "accepted"],
      [2, "won"],
    ]);
  });

  test("of one lead does not wait for another's", async () => {
    answerWith = (count) => ({ status: count === 1 ? 500 : 204 });
    const [first, second] = [await referred(), await referred()];
    await report(first, "accepted");
    await sendDue();
    await report(second, "accepted");
    await sendDue();
    expect([await told(first), await told(second)]).toMatchObject([{ state: "due" }, { state: "sent" }]);
  });

  test("a second time says nothing new and is not told again", async () => {
    const leadId = await referred();
    await report(leadId, "accepted");
    expect((await report(leadId, "accepted")).status).toBe(204);
    await sendDue();
    expect(sender.seen.length).toBe(1);
    await report(leadId, "accepted", "for 12 months");
    await sendDue();
    expect(heard().map(({ sequence }) => sequence)).toEqual([1, 2]);
  });

  test("is claimed by one of two workers, and one whose worker died is sent again", async () => {
    const leadId = await referred();
    await report(leadId, "won");
    await Promise.all([sendDue(), sendDue()]);
    expect(sender.seen.length).toBe(1);
    const other = await referred();
    await report(other, "won");
    await server.owner
      .updateTable("statusCallbacks")
      .set({ dueAt: new Date(now.getTime() + 60_000), attemptCount: 1 })
      .where("state", "=", "due")
      .execute();
    await sendDue();
    expect(sender.seen.length).toBe(1);
    later(1);
    await sendDue();
    expect(sender.seen.length).toBe(2);
  });

  test("is settled by whoever made the latest attempt, not by one who was given up", async () => {
    const release: (() => void)[] = [];
    const gates = [1, 2].map(() => new Promise<void>((resolve) => void release.push(resolve)));
    answerWith = (count) => ({ status: count === 1 ? 500 : 204, after: gates[count - 1] });
    const leadId = await referred();
    await report(leadId, "won");
    const givenUp = sendDue();
    await until(() => sender.seen.length === 1);
    later(2);
    const latest = sendDue();
    await until(() => sender.seen.length === 2);
    release[0]?.();
    await givenUp;
    expect(await told(leadId)).toMatchObject({ state: "due", error: null });
    release[1]?.();
    await latest;
    expect(await told(leadId)).toMatchObject({ state: "sent" });
  });

  test("is found by the sweep when it is due, one that waits for another is not", async () => {
    answerWith = () => ({ status: 500 });
    const leadId = await referred();
    const woken = async () => {
      const names: string[] = [];
      const wake = (job: { readonly name: string }) => void names.push(job.name);
      await sweep({ ...server.context, waker: { ...quietWaker, wake } });
      return names.includes("send-referral-status");
    };
    await report(leadId, "accepted");
    expect(await woken()).toBe(true);
    await sendDue();
    await report(leadId, "won");
    expect(await woken()).toBe(false);
    later(1);
    expect(await woken()).toBe(true);
  });

  test("goes to no address that is not allowed", async () => {
    const leadId = await referred({ url: "http://127.0.0.2:1/status", key });
    await report(leadId, "won");
    await sendDue();
    expect(await told(leadId)).toMatchObject({ state: "due", error: expect.stringContaining("127.0.0.2") });
  });
});

describe("nobody is told", () => {
  const refused = async (leadId: string, why: RegExp) => {
    const answer = await report(leadId, "won");
    expect(answer.body).toMatchObject({ status: 409, code: "status_not_wanted", detail: expect.stringMatching(why) });
    await sendDue();
    expect(sender.seen.length).toBe(0);
  };

  test("where the lead was not referred", async () => {
    const campaign = await addCampaign(client);
    const lead = await call(server.api, null, "POST", `/v1/intake/${campaign.intakeKey}`, { first_name: "Ann" });
    await refused(lead.text("leadId"), /not referred/);
  });

  test("where the sender does not want to hear", async () => {
    await refused(await referred(null), /did not say where/);
  });

  test("where the inbound does not allow it", async () => {
    const leadId = await referred();
    await client.call("PATCH", `/v1/inbounds/${inbound.id}`, { reportsStatus: false });
    await refused(leadId, /does not let/);
  });

  test("of a lead that was erased, nor why after it was", async () => {
    const leadId = await referred();
    await report(leadId, "lost", "Moved to Spain");
    await client.call("DELETE", `/v1/leads/${leadId}`);
    expect((await report(leadId, "won")).body).toMatchObject({ status: 409, code: "lead_erased" });
    await sendDue();
    expect(heard()).toMatchObject([{ status: "lost", reason: null }]);
  });
});

test("the key that signs is in the database encrypted, and in no answer", async () => {
  const leadId = await referred();
  const rows = await server.owner.selectFrom("arrivals").selectAll().where("leadId", "=", leadId).execute();
  expect(JSON.stringify(rows)).not.toContain(key);
  expect((await client.call("GET", `/v1/leads/${leadId}`)).raw).not.toContain(key);
});
