import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { z } from "zod";
import { freePort } from "../../src/db/embedded-postgres-server.ts";
import { dealFields } from "../helpers/deals.ts";
import { type HttpLoopback, startHttp } from "../helpers/loopback.ts";
import type { TestProcess } from "../helpers/process.ts";
import { queueBackends } from "../helpers/redis.ts";
import { addUser } from "../helpers/referrals.ts";
import { openRunningInstallation, type RunningInstallation } from "../helpers/running-installation.ts";
import { until } from "../helpers/until.ts";

/**
 * Two installations, each with a database, an API and a worker in processes of their own. The queue of the one that refers is
 * in Redis where there is one, that of the other in PostgreSQL.
 */

let sender: RunningInstallation;
let receiver: RunningInstallation;
let between: HttpLoopback;
/** What happens once the receiver has answered, before the sender hears of it. */
let onAnswer: (() => Promise<void>) | null = null;
let worker: TestProcess;
let inbound: { readonly id: string; readonly referralUrl: string; readonly key: string };
let stageId: string;
let workflowId: string;
let intakeKey: string;
let owners: { readonly olive: string; readonly rita: string };

const withId = z.looseObject({ id: z.string() });
const withStages = z.looseObject({ id: z.string(), stages: z.array(withId) });

beforeAll(async () => {
  const redisUrl = await queueBackends().at(-1)?.createRedisUrl();
  const ports = { sender: await freePort(), receiver: await freePort() };
  between = await startHttp((request, response) => void pass(request, response));
  const allowed = (port: number) => `127.0.0.1:${port},${between.host}`;
  [sender, receiver] = await Promise.all([
    openRunningInstallation({ name: "Sellers", port: ports.sender, allowHosts: allowed(ports.receiver), redisUrl }),
    openRunningInstallation({ name: "Receivers Ltd", port: ports.receiver, allowHosts: allowed(ports.sender) }),
  ]);
  await Promise.all([sender.startApi(), receiver.startApi(), receiver.startWorker()]);
  worker = await sender.startWorker();
  await openSender();
  await openReceiver();
}, 90_000);
afterAll(async () => {
  await Promise.all([sender?.close(), receiver?.close()]);
  await between?.close();
}, 30_000);

/** Hands a request on to the receiver, and its answer back. */
async function pass(
  { method, path, headers, body }: HttpLoopback["seen"][number],
  response: Parameters<Parameters<typeof startHttp>[0]>[1],
): Promise<void> {
  const kept = ["authorization", "content-type", "idempotency-key"].flatMap((name) => {
    const value = headers[name];
    return typeof value === "string" ? [[name, value] as [string, string]] : [];
  });
  try {
    const answer = await fetch(receiver.url + path, { method, headers: kept, ...(body === "" ? {} : { body }) });
    const text = await answer.text();
    await onAnswer?.();
    response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "" }).end(text);
  } catch {
    response.destroy();
  }
}

const addUserTo = async (at: RunningInstallation, user: { readonly name: string; readonly email: string }) =>
  addUser({ context: { database: at.owner, clock: () => new Date() } }, at, user);

async function openSender(): Promise<void> {
  const olive = await addUserTo(sender, { name: "Olive Owner", email: "olive@example.com" });
  const document = { name: "Home", timeZone: "Europe/London", fields: dealFields, routing: [] };
  const campaign = z
    .looseObject({ id: z.string(), intakeKey: z.string() })
    .parse(await sender.call("POST", "/v1/campaigns", document));
  const stages = [{ name: "New" }, { name: "Refer" }];
  const workflow = withStages.parse(
    await sender.call("POST", "/v1/workflows", { name: "Deals", campaignId: campaign.id, ownerId: olive, stages }),
  );
  intakeKey = campaign.intakeKey;
  workflowId = workflow.id;
  stageId = workflow.stages[1]?.id ?? "";
  owners = { olive, rita: "" };
}

async function openReceiver(): Promise<void> {
  const rita = await addUserTo(receiver, { name: "Rita Receiver", email: "rita@example.com" });
  const theirOlive = await addUserTo(receiver, { name: "Olive too", email: "OLIVE@example.com" });
  owners = { olive: theirOlive, rita };
  const fields = dealFields.filter(({ key }) => key !== "smoker");
  const document = { name: "Referred", timeZone: "Europe/London", fields, routing: [] };
  const campaign = withId.parse(await receiver.call("POST", "/v1/campaigns", document));
  const stages = [{ name: "Arrived" }];
  const workflow = withStages.parse(
    await receiver.call("POST", "/v1/workflows", { name: "Referred", campaignId: campaign.id, ownerId: rita, stages }),
  );
  inbound = await addInbound(workflow.id, workflow.stages[0]?.id ?? "");
}

const inboundAnswer = z.looseObject({ id: z.string(), referralUrl: z.string(), key: z.string() });

async function addInbound(workflowId: string, stageId: string) {
  return inboundAnswer.parse(
    await receiver.call("POST", "/v1/inbounds", { name: "From Sellers", workflowId, stageId }),
  );
}

/** Over the server in between, so that it can be in the way. */
async function addOutbound({ referralUrl, key }: { readonly referralUrl: string; readonly key: string }) {
  const url = referralUrl.replace(receiver.url, between.url);
  const document = { name: "To Receivers", url, key, workflowId, stageId };
  return outboundAnswer.parse(await sender.call("POST", "/v1/outbounds", document));
}
const outboundAnswer = z.looseObject({
  id: z.string(),
  organisation: z.string().nullable(),
  warnings: z.array(z.unknown()),
});

let names = 0;

/** A lead of the sender in the stage, with an owner, another contact, and a note of each kind. */
async function makeDeal(): Promise<string> {
  names += 1;
  const lead = {
    first_name: "Ann",
    email: `ann${names}@example.com`,
    cover: "1250.00",
    remark: "Strictly ours",
    smoker: "no",
  };
  const contacts = [{ first_name: "Ben", email: `ben${names}@example.com` }];
  const taken = z
    .looseObject({ leadId: z.string() })
    .parse(await sender.call("POST", `/v1/intake/${intakeKey}`, { ...lead, contacts }));
  const path = `/v1/leads/${taken.leadId}`;
  await sender.call("PUT", `${path}/stage`, { stageId });
  const users = await sender.owner.selectFrom("users").select("id").execute();
  await sender.call("PUT", `${path}/owner`, { ownerId: users[0]?.id });
  await sender.call("POST", `${path}/notes`, { text: "Calls back on Friday", shareable: true });
  await sender.call("POST", `${path}/notes`, { text: "Haggles: for us only" });
  return taken.leadId;
}

const referralAnswer = z.looseObject({
  id: z.string(),
  state: z.string(),
  reason: z.string().nullable(),
  receivedAs: z.string().nullable(),
  status: z.string().nullable(),
  statusReason: z.string().nullable(),
  attempts: z.array(z.looseObject({ outcome: z.string() })),
});

async function refer(leadId: string, outboundId: string) {
  return referralAnswer.parse(
    await sender.call("POST", `/v1/leads/${leadId}/referrals`, { outboundId, confirmed: true }),
  );
}

const read = async (id: string) => referralAnswer.parse(await sender.call("GET", `/v1/referrals/${id}`));

async function settled(id: string) {
  await until(async () => (await read(id)).state !== "due", 30_000);
  return read(id);
}

/** As if the time until the next try were over. */
async function dueNow(id: string): Promise<void> {
  await sql`update referrals set due_at = now() - interval '1 second' where id = ${id} and state = 'due'`.execute(
    sender.owner,
  );
}

async function arrivalsOf(referralId: string) {
  return receiver.owner.selectFrom("arrivals").selectAll().where("referralId", "=", referralId).execute();
}

async function countLeads(): Promise<number> {
  const { count } = await receiver.owner
    .selectFrom("leads")
    .select((is) => is.fn.countAll<number>().as("count"))
    .executeTakeFirstOrThrow();
  return Number(count);
}

const leadAnswer = z.looseObject({
  fields: z.record(z.string(), z.unknown()),
  contacts: z.array(z.record(z.string(), z.unknown())),
  timeline: z.array(z.looseObject({ text: z.string() })),
});

const readDeal = async (at: RunningInstallation, id: string) =>
  leadAnswer.parse(await at.call("GET", `/v1/leads/${id}`));
const notesOf = async (at: RunningInstallation, id: string) =>
  (await readDeal(at, id)).timeline.map(({ text }) => text).join("\n");

test("a deal arrives with its contacts, fields and notes that are shareable; both sides note it; what becomes of it comes back", async () => {
  const outbound = await addOutbound(inbound);
  expect(outbound).toMatchObject({ organisation: "Receivers Ltd", warnings: [] });
  const leadId = await makeDeal();
  const { id } = await refer(leadId, outbound.id);
  const sent = await settled(id);
  expect(sent.state).toBe("sent");

  const arrived = await readDeal(receiver, sent.receivedAs ?? "");
  expect(arrived.fields).toMatchObject({ first_name: "Ann", email: `ann${names}@example.com`, cover: 125_000 });
  expect(arrived.contacts).toMatchObject([{ first_name: "Ben", email: `ben${names}@example.com` }]);
  const row = await receiver.owner
    .selectFrom("leads")
    .select(["ownerId", "stageId"])
    .where("id", "=", sent.receivedAs ?? "")
    .executeTakeFirstOrThrow();
  expect(row.ownerId).toBe(owners.olive);
  const there = await notesOf(receiver, sent.receivedAs ?? "");
  for (const word of ["Sellers", "From Sellers", id, "Calls back on Friday"]) expect(there).toContain(word);
  const here = await notesOf(sender, leadId);
  for (const word of ["Receivers Ltd", "To Receivers", id, sent.receivedAs ?? ""]) expect(here).toContain(word);

  await receiver.call("POST", `/v1/leads/${sent.receivedAs}/referral-status`, {
    status: "lost",
    reason: "No cover needed",
  });
  await until(async () => (await read(id)).status === "lost", 30_000);
  expect((await read(id)).statusReason).toBe("No cover needed");
  expect(await notesOf(sender, leadId)).toMatch(/What became of the referral.*lost.*No cover needed/);
}, 60_000);

test("what is not shareable never reaches the receiver's database", async () => {
  const outbound = await addOutbound(inbound);
  const { id } = await refer(await makeDeal(), outbound.id);
  expect((await settled(id)).state).toBe("sent");
  const { rows } = await sql<{ name: string }>`
    select tablename as name from pg_tables where schemaname = 'public'`.execute(receiver.owner);
  for (const { name } of rows) {
    const table = await sql<{ text: string | null }>`
      select string_agg(t::text, ' ') as text from ${sql.table(name)} t`.execute(receiver.owner);
    expect([name, /Haggles|Strictly ours/.test(table.rows[0]?.text ?? "")]).toEqual([name, false]);
  }
  expect(sender.output() + receiver.output()).not.toMatch(/ann\d+@example|Haggles|Friday|Strictly/);
}, 60_000);

test("referred by several at the same moment, with several workers, it arrives once", async () => {
  const outbound = await addOutbound(inbound);
  const second = await sender.startWorker();
  const leads = [await makeDeal(), await makeDeal(), await makeDeal()];
  const before = await countLeads();
  const made = await Promise.all([...leads, ...leads, ...leads].map(async (leadId) => refer(leadId, outbound.id)));
  const ids = [...new Set(made.map(({ id }) => id))];
  expect(ids).toHaveLength(3);
  for (const id of ids) expect((await settled(id)).state).toBe("sent");
  expect(await countLeads()).toBe(before + 3);
  await second.end("SIGTERM");
}, 60_000);

test("a worker that is killed between the receiver's answer and its own settling: it arrives once", async () => {
  const outbound = await addOutbound(inbound);
  const leadId = await makeDeal();
  const before = await countLeads();
  let isKilled = false;
  onAnswer = async () => {
    if (isKilled) return;
    isKilled = true;
    await worker.end("SIGKILL");
  };
  const { id } = await refer(leadId, outbound.id);
  await until(() => isKilled, 30_000);
  onAnswer = null;
  expect(await countLeads()).toBe(before + 1);
  expect((await read(id)).state).toBe("due");
  await dueNow(id);
  worker = await sender.startWorker();
  const sent = await settled(id);
  expect([sent.state, sent.attempts.map(({ outcome }) => outcome)]).toEqual(["sent", ["interrupted", "sent"]]);
  expect(await arrivalsOf(id)).toHaveLength(1);
  expect(await countLeads()).toBe(before + 1);
}, 90_000);

test("while the receiver is down it waits, and arrives once the receiver is back", async () => {
  const outbound = await addOutbound(inbound);
  const leadId = await makeDeal();
  await receiver.api().end("SIGKILL");
  const { id } = await refer(leadId, outbound.id);
  await until(async () => (await read(id)).attempts.length > 0, 30_000);
  expect(await read(id)).toMatchObject({ state: "due", attempts: [{ outcome: "trouble" }] });
  await receiver.startApi();
  await dueNow(id);
  expect((await settled(id)).state).toBe("sent");
  expect(await arrivalsOf(id)).toHaveLength(1);
}, 90_000);

describe("a refusal of the receiver is noted in the sender's deal, and nothing is half-made", () => {
  const cases: readonly (readonly [string, (own: typeof inbound) => Promise<unknown>, RegExp])[] = [
    [
      "an inbound that was switched off",
      async ({ id }) => receiver.call("PATCH", `/v1/inbounds/${id}`, { enabled: false }),
      /switched the inbound off/,
    ],
    [
      "a key that was renewed",
      async ({ id }) => receiver.call("POST", `/v1/inbounds/${id}/renew-key`),
      /do not know the key/,
    ],
    [
      "an inbound that was deleted",
      async ({ id }) => receiver.call("DELETE", `/v1/inbounds/${id}`),
      /deleted the inbound/,
    ],
  ];
  test.each(cases)(
    "%s",
    async (_, change, words) => {
      const { workflowId: theirs, stageId: there } = await receiver.owner
        .selectFrom("inbounds")
        .select(["workflowId", "stageId"])
        .where("id", "=", inbound.id)
        .executeTakeFirstOrThrow();
      const own = await addInbound(theirs, there);
      const outbound = await addOutbound(own);
      await change(own);
      const leadId = await makeDeal();
      const before = await countLeads();
      const refused = await settled((await refer(leadId, outbound.id)).id);
      expect(refused).toMatchObject({ state: "refused", reason: expect.stringMatching(words) });
      expect(await notesOf(sender, leadId)).toMatch(words);
      expect(await countLeads()).toBe(before);
      expect(await arrivalsOf(refused.id)).toHaveLength(0);
    },
    60_000,
  );
});
