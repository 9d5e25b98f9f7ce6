import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { pino } from "pino";
import { eraseLead } from "../../src/leads/erase-lead.ts";
import { type ClaimedReferral, claimReferrals } from "../../src/referrals/claim-referrals.ts";
import type { ReferralOutcome } from "../../src/referrals/judge-referral.ts";
import { sendOverOutbound } from "../../src/referrals/send-over-outbound.ts";
import { sendDueReferrals } from "../../src/referrals/send-referrals.ts";
import { settleReferral } from "../../src/referrals/settle-referral.ts";
import { sweep } from "../../src/sweep.ts";
import { createTestApi, type TestApi } from "../helpers/api.ts";
import { type Desk, openDesk } from "../helpers/deals.ts";
import { problem, type ReferralReceiver, startReferralReceiver } from "../helpers/referral-receiver.ts";
import { quietWaker } from "../helpers/waker.ts";

/** A referral on its way: nothing lost, nothing doubled, every end noted. The other side is a real HTTP server; the clock is ours. */

let receiver: ReferralReceiver;
let server: TestApi;
let desk: Desk;
let outboundId: string;
let now = new Date("2026-11-20T10:00:00Z");
const logged: string[] = [];

beforeAll(async () => {
  receiver = await startReferralReceiver();
  const log = pino({ level: "debug" }, { write: (line: string) => void logged.push(line) });
  server = await createTestApi({ environment: { HANDOFF_ALLOW_HOSTS: receiver.host }, clock: () => now, log });
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
afterEach(async () => {
  const errors = logged.filter((line) => line.includes('"level":50'));
  expect(errors).toEqual([]);
});

const later = (ms: number) => {
  now = new Date(now.getTime() + ms);
};
const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const send = async () => sendDueReferrals(server.context, desk.client.organisationId, outboundId);
const read = async (id: string) => desk.client.call("GET", `/v1/referrals/${id}`);
const arrivedAs = (id: string) => receiver.arrived.filter(({ referralId }) => referralId === id);
const requestsOf = (id: string) => receiver.seen.filter(({ headers }) => headers["idempotency-key"] === id);
const erase = async (leadId: string) =>
  eraseLead(server.context, { organisationId: desk.client.organisationId, by: "test", at: now }, leadId);

async function refer(): Promise<{ readonly leadId: string; readonly id: string }> {
  const leadId = await desk.deal();
  return { leadId, id: (await desk.refer(leadId, outboundId)).text("id") };
}

/** The notes about referrals in a deal after the first, oldest first. */
async function notesOf(leadId: string): Promise<string[]> {
  const { body } = await desk.client.call("GET", `/v1/leads/${leadId}`);
  const { timeline } = body as { timeline: { kind: string; text: string }[] };
  return timeline
    .filter(({ kind, text }) => kind === "event" && /referral/.test(text))
    .map(({ text }) => text)
    .slice(1);
}

async function outcomesOf(id: string): Promise<unknown[]> {
  const { attempts } = (await read(id)).body as { attempts: { outcome: string }[] };
  return attempts.map(({ outcome }) => outcome);
}

describe("the other side is down", () => {
  test("for a while: the referral arrives later, once, with the same content under the same key", async () => {
    const { id, leadId } = await refer();
    receiver.next("reset", { status: 503 }, "lose");
    await send();
    expect((await read(id)).body).toMatchObject({
      state: "due",
      mayHaveArrived: true,
      reason: expect.stringMatching(/closed/),
    });
    for (const waitMs of [minuteMs, 5 * minuteMs, 30 * minuteMs]) {
      later(waitMs - 1);
      await send();
      later(1);
      await send();
    }
    expect(await outcomesOf(id)).toEqual(["trouble", "trouble", "trouble", "sent"]);
    expect(arrivedAs(id)).toHaveLength(1);
    expect(new Set(requestsOf(id).map(({ body }) => body)).size).toBe(1);
    expect(requestsOf(id)).toHaveLength(4);
    expect(await notesOf(leadId)).toEqual([expect.stringContaining("arrived at Receivers Ltd")]);
  });

  test("for three days: it is given up, with a note, and goes when it is tried again by hand", async () => {
    const { id, leadId } = await refer();
    receiver.always({ status: 500 });
    for (let tries = 0; tries < 60 && (await read(id)).value("state") === "due"; tries += 1) {
      await send();
      later(2 * hourMs);
    }
    const failed = await read(id);
    expect(failed.body).toMatchObject({ state: "failed", dueAt: null, mayHaveArrived: true });
    expect(failed.text("reason")).toMatch(
      /^Given up after three days\. They answered 500\. An earlier try may have arrived/,
    );
    expect(await notesOf(leadId)).toEqual([expect.stringMatching(/could not be sent.*Given up after three days/)]);
    expect((await desk.refer(leadId, outboundId)).body).toMatchObject({ id, state: "failed" });
    receiver.always(null);
    const again = await desk.client.call("POST", `/v1/referrals/${id}/retry`);
    expect(again.status).toBe(204);
    await send();
    expect((await read(id)).body).toMatchObject({ state: "sent" });
    expect(arrivedAs(id)).toHaveLength(1);
    const retried = await desk.client.call("POST", `/v1/referrals/${id}/retry`);
    expect(retried.body).toMatchObject({ status: 409, code: "referral_state" });
  });

  test("and asks to wait: it is not asked before", async () => {
    const { id } = await refer();
    receiver.next({ status: 429, headers: { "retry-after": "600" } });
    await send();
    expect(new Date((await read(id)).text("dueAt"))).toEqual(new Date(now.getTime() + 10 * minuteMs));
    later(10 * minuteMs);
    await send();
    expect((await read(id)).value("state")).toBe("sent");
  });
});

describe("the other side refuses", () => {
  const refusals: readonly (readonly [string, Parameters<ReferralReceiver["always"]>[0], RegExp])[] = [
    ["a wrong key", problem(401, "referral_key_wrong"), /do not know the key/],
    ["a disabled inbound", problem(409, "inbound_disabled"), /switched the inbound off/],
    ["a deleted inbound", problem(410, "inbound_gone"), /deleted the inbound/],
    ["a stage that is gone", problem(409, "stage_gone"), /stage/],
    ["an oversize lead", problem(413, "referral_too_large"), /larger than they take/],
    ["an invalid referral", problem(422, "invalid_referral", "lead.fields.0: nonsense"), /nonsense/],
    ["other content under the same id", problem(409, "idempotency_conflict"), /already/],
    ["a newer version", problem(400, "referral_version", "", { supported: [2, 3] }), /versions 2, 3.*version 1/],
    ["an older version", problem(400, "referral_version", "", { supported: [0] }), /version 0.*version 1/],
    ["an address that is no inbound", { status: 404 }, /check the URL/],
  ];
  test.each(refusals)(
    "%s: it is noted with the reason, is not tried again, and may be referred anew",
    async (_, manners, words) => {
      const { id, leadId } = await refer();
      receiver.always(manners);
      await send();
      const refused = await read(id);
      expect(refused.body).toMatchObject({ state: "refused", dueAt: null, mayHaveArrived: false });
      expect(refused.text("reason")).toMatch(words);
      expect(await notesOf(leadId)).toEqual([expect.stringMatching(words)]);
      later(3 * hourMs);
      receiver.always(null);
      await send();
      expect(requestsOf(id)).toHaveLength(1);
      expect(arrivedAs(id)).toHaveLength(0);
      const again = await desk.refer(leadId, outboundId);
      expect(again.status).toBe(201);
      await send();
      expect(arrivedAs(again.text("id"))).toHaveLength(1);
    },
  );

  test("a version that a later one of ours speaks: the highest that both know goes at once", async () => {
    const { id } = await refer();
    receiver.next(problem(400, "referral_version", "", { supported: [0, 1, 2] }));
    const [claimed] = await claimReferrals(server.context.database, desk.client.organisationId, outboundId, 1, now);
    if (claimed === undefined) throw new Error("Nothing is due.");
    // As a later version of ours would have made it.
    const later = { ...claimed, content: { ...claimed.content, version: 3 as 1 } };
    const { outcome } = await sendOverOutbound(server.context, later, [1, 3]);
    expect(outcome).toMatchObject({ kind: "sent" });
    expect(requestsOf(id).map(({ body }) => JSON.parse(body).version)).toEqual([3, 1]);
    expect(arrivedAs(id)).toHaveLength(1);
  });

  test("and echoes our keys: they are stored nowhere", async () => {
    const { id, leadId } = await refer();
    receiver.always(problem(422, "invalid_referral", `not right: ${receiver.key}`));
    await send();
    const kept = (await read(id)).raw + JSON.stringify(await notesOf(leadId));
    expect(kept).not.toContain(receiver.key);
    const statusKey = JSON.parse(requestsOf(id)[0]?.body ?? "").status.key;
    expect(statusKey).toMatch(/^[\w-]{43}$/);
    expect(kept).not.toContain(statusKey);
  });
});

describe("a worker", () => {
  test("that dies between the answer and its settling: it arrives once, and the next one says so", async () => {
    const { id, leadId } = await refer();
    const { context } = server;
    const [claimed] = await claimReferrals(context.database, desk.client.organisationId, outboundId, 5, now);
    if (claimed === undefined) throw new Error("Nothing is due.");
    expect((await sendOverOutbound(context, claimed)).outcome.kind).toBe("sent");
    // It is gone. Nobody takes what it had in hand until its time is over.
    await send();
    expect(requestsOf(id)).toHaveLength(1);
    later(3 * minuteMs);
    await send();
    expect((await read(id)).body).toMatchObject({ state: "sent", receivedAs: `there-${id}` });
    expect(await outcomesOf(id)).toEqual(["interrupted", "sent"]);
    expect(arrivedAs(id)).toHaveLength(1);
    expect(await notesOf(leadId)).toHaveLength(1);
  });

  test("that comes back after another took its referral over: only the news that it was sent counts", async () => {
    const { context } = server;
    const claim = async () => {
      const [claimed] = await claimReferrals(context.database, desk.client.organisationId, outboundId, 1, now);
      if (claimed === undefined) throw new Error("Nothing is due.");
      return claimed;
    };
    const settle = async (referral: ClaimedReferral, outcome: ReferralOutcome) =>
      settleReferral(context, desk.client.organisationId, {
        ...{ referral, outcome, status: 500, response: { body: "Ann" }, startedAt: now, durationMs: 1 },
      });
    const trouble = { kind: "trouble", reason: "Ann", mayHaveArrived: false, retryAfterMs: null } as const;
    const refused = { kind: "refused", reason: "Ann" } as const;
    const sent = { kind: "sent", receivedAs: "there", organisation: "Receivers Ltd" } as const;

    const { id, leadId } = await refer();
    const slow = await claim();
    later(3 * minuteMs);
    const quick = await claim();
    for (const outcome of [trouble, refused]) {
      await settle(slow, outcome);
      expect((await read(id)).body).toMatchObject({ state: "due", reason: null });
    }
    expect((await read(id)).raw).not.toContain("Ann");
    await settle(slow, sent);
    expect((await read(id)).body).toMatchObject({ state: "sent", receivedAs: "there" });
    for (const outcome of [trouble, refused, sent]) await settle(quick, outcome);
    expect((await read(id)).body).toMatchObject({ state: "sent", receivedAs: "there", reason: null });
    expect(await notesOf(leadId)).toHaveLength(1);
  });

  test("of many takes each referral once", async () => {
    const made = await Promise.all(Array.from({ length: 12 }, refer));
    await Promise.all([send(), send(), send(), send()]);
    for (const { id } of made) expect([id, requestsOf(id).length]).toEqual([id, 1]);
  });

  test("finds what is due although no wake-up came, and nothing that is not", async () => {
    const woken = async () => {
      const links: unknown[] = [];
      const wake = (_job: unknown, payload: object) => {
        if ("linkId" in payload) links.push(payload.linkId);
      };
      await sweep({ ...server.context, waker: { ...quietWaker, wake } });
      return links;
    };
    await refer();
    expect(await woken()).toContain(outboundId);
    receiver.next({ status: 503 });
    await send();
    expect(await woken()).not.toContain(outboundId);
    later(minuteMs);
    expect(await woken()).toContain(outboundId);
    await send();
    later(hourMs);
    expect(await woken()).not.toContain(outboundId);
  });

  test("logs nothing personal and no key", async () => {
    const { id } = await refer();
    await send();
    const lines = logged.filter((line) => line.includes(id)).join("\n");
    expect(lines).toContain("referral.attempted");
    expect(logged.join("\n")).not.toMatch(/Ann|ann\d+@example|Friday|Olive/);
    expect(logged.join("\n")).not.toContain(receiver.key);
  });
});

describe("a referral that was confirmed and not sent yet", () => {
  const changes: readonly (readonly [string, () => Promise<unknown>, RegExp])[] = [
    [
      "is cancelled when the outbound is switched off",
      async () => desk.client.call("PATCH", `/v1/outbounds/${outboundId}`, { enabled: false }),
      /switched off/,
    ],
    [
      "is cancelled when the outbound is turned to another address, which nobody confirmed",
      async () => desk.client.call("PATCH", `/v1/outbounds/${outboundId}`, { url: `${receiver.url}/elsewhere` }),
      /another address/,
    ],
    [
      "is cancelled when the outbound is deleted",
      async () => desk.client.call("DELETE", `/v1/outbounds/${outboundId}`),
      /deleted/,
    ],
  ];
  test.each(changes)("%s, with a note", async (_, change, words) => {
    const { id, leadId } = await refer();
    await change();
    await send();
    expect((await read(id)).body).toMatchObject({ state: "cancelled", reason: expect.stringMatching(words) });
    expect(requestsOf(id)).toHaveLength(0);
    expect(await notesOf(leadId)).toEqual([expect.stringMatching(words)]);
  });

  test("takes a new key of the same outbound", async () => {
    const { id } = await refer();
    await desk.client.call("PATCH", `/v1/outbounds/${outboundId}`, { key: "another-key" });
    await send();
    expect((await read(id)).body).toMatchObject({ state: "refused", reason: expect.stringMatching(/key/) });
    expect(requestsOf(id)[0]?.headers.authorization).toBe("Bearer another-key");
  });

  test("is cancelled by erasing the lead, and nothing of it is kept", async () => {
    const { id, leadId } = await refer();
    receiver.next(problem(503, "busy", "Ann is not in"));
    await send();
    expect(await erase(leadId)).toBe("erased");
    later(hourMs);
    await send();
    const cancelled = await read(id);
    expect(cancelled.body).toMatchObject({ state: "cancelled", dueAt: null, shared: null });
    expect(cancelled.raw).not.toMatch(/Ann/);
    expect(requestsOf(id)).toHaveLength(1);
    const retried = await desk.client.call("POST", `/v1/referrals/${id}/retry`);
    expect(retried.body).toMatchObject({ status: 409, code: "lead_erased" });
  });

  test("that is being sent this moment keeps its lead from being erased until it is settled", async () => {
    const { leadId } = await refer();
    await claimReferrals(server.context.database, desk.client.organisationId, outboundId, 5, now);
    expect(await erase(leadId)).toBe("under_way");
    later(3 * minuteMs);
    await send();
    expect(await erase(leadId)).toBe("erased");
  });
});
