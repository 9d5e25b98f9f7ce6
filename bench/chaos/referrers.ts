import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { Observer } from "./observer.ts";
import type { ReferredDeal, ToldStatus } from "./record.ts";
import { ask, type SetUp } from "./set-up.ts";
import { type Desk, insist, isDone, listSold, look, pick } from "./staff.ts";

/** Deals that go to another organisation while leads flow, by key and over a connected portal, and what comes back of them. */

export interface Links {
  /** The organisation that deals are referred to. */
  readonly receiver: Desk;
  /** Deals stand here to be referred. */
  readonly stageId: string;
  readonly outboundId: string;
  readonly connectionId: string;
}

const idSchema = z.looseObject({ id: z.string() });
const workflowSchema = z.looseObject({ id: z.string(), stages: z.tuple([z.looseObject({ id: z.string() })]) });
const inboundSchema = z.looseObject({ referralUrl: z.string(), key: z.string() });
const connectionSchema = z.looseObject({ id: z.string(), version: z.int() });

const fields = [
  { key: "first_name", type: "text", group: "contact", shareable: true },
  { key: "email", type: "email", group: "contact", shareable: true },
];

/** Makes both links: an outbound to the receiver's inbound, and a connection that the receiver approves. */
export async function setUpLinks(
  desk: Desk,
  { organisation, referralBase }: { organisation: NewOrganisation; referralBase: string },
  { campaigns }: SetUp,
): Promise<Links> {
  const [from, to] = [desk.apiKey, organisation.apiKey].map((apiKey) => ({ base: desk.apis[1] ?? "", apiKey }));
  if (from === undefined || to === undefined) throw new Error("There are two organisations.");
  const campaign = { name: "referred", timeZone: "Europe/London", fields, routing: [] };
  const { id: campaignId } = idSchema.parse(await ask(to, "POST", "/v1/campaigns", campaign));
  const arriving = await makeWorkflow(to, campaignId);
  const leaving = await makeWorkflow(from, campaigns[0]?.id ?? "");
  const inbound = inboundSchema.parse(await ask(to, "POST", "/v1/inbounds", { name: "From the sellers", ...arriving }));
  // The address by which the receiver is known outside leads nowhere here; the path is the same.
  const url = `${referralBase}${new URL(inbound.referralUrl).pathname}`;
  const outbound = { name: "To the receivers", url, key: inbound.key, ...leaving };
  const { id: outboundId } = idSchema.parse(await ask(from, "POST", "/v1/outbounds", outbound));
  const request = { portalCode: organisation.portalCode, permissions: [] };
  const { id } = idSchema.parse(await ask(from, "POST", "/v1/connections/outgoing", request));
  const { version } = connectionSchema.parse(await ask(to, "GET", `/v1/connections/incoming/${id}`, null));
  const approval = { version, stageId: arriving.stageId, reportsStatus: true };
  await ask(to, "POST", `/v1/connections/incoming/${id}/approve`, approval);
  return {
    receiver: { ...desk, apiKey: organisation.apiKey },
    stageId: leaving.stageId,
    outboundId,
    connectionId: id,
  };
}

export interface NewOrganisation {
  readonly apiKey: string;
  readonly portalCode: string;
}

async function makeWorkflow(api: { base: string; apiKey: string }, campaignId: string) {
  const owner = { email: "owner@chaos.test", name: "Olivia Owner", role: "admin" };
  const { id: ownerId } = idSchema.parse(await ask(api, "POST", "/v1/users", owner));
  const document = { name: "Deals", campaignId, ownerId, stages: [{ name: "Referred" }] };
  const workflow = workflowSchema.parse(await ask(api, "POST", "/v1/workflows", document));
  return { workflowId: workflow.id, stageId: workflow.stages[0].id };
}

/** This part of what was sold is referred. */
const share = 0.1;
const partnersLookedAt = ["plain", "funded", "capped"];

/** Refers a part of what was sold, some of it over both links, until told to stop. */
export async function referDeals(desk: Desk, links: Links, stop: AbortSignal): Promise<readonly ReferredDeal[]> {
  const seen = new Set<string>();
  const underWay: Promise<ReferredDeal>[] = [];
  while (!stop.aborted) {
    for (const { leadId } of await listSold(desk, pick(desk.random, partnersLookedAt))) {
      if (seen.has(leadId)) continue;
      seen.add(leadId);
      if (desk.random() > share) continue;
      const over = pick(desk.random, [["key"], ["connection"], ["key", "connection"]] as const);
      for (const link of over) underWay.push(referDeal(desk, links, leadId, link));
    }
    await sleep(1_000, undefined, { signal: stop }).catch(() => undefined);
  }
  return Promise.all(underWay);
}

const referralSchema = z.looseObject({ id: z.string() });

async function referDeal(desk: Desk, links: Links, leadId: string, link: ReferredDeal["link"]): Promise<ReferredDeal> {
  const put = await insist(desk, `/v1/leads/${leadId}/stage`, { stageId: links.stageId }, null, "PUT");
  const over = link === "key" ? { outboundId: links.outboundId } : { connectionId: links.connectionId };
  const asked = await insist(desk, `/v1/leads/${leadId}/referrals`, { ...over, confirmed: true });
  const ids = asked.answers.filter(isDone).map(({ body }) => referralSchema.parse(body).id);
  const failed = [...put.answers, ...asked.answers].filter((answer) => !isDone(answer));
  return {
    leadId,
    link,
    referralIds: [...new Set(ids)],
    tries: asked.tries,
    failed: failed.map((answer) => JSON.stringify(answer)),
  };
}

const arrivedSchema = z.looseObject({ data: z.array(z.looseObject({ id: z.string() })) });

/** The receiver's staff say what became of what arrived, in one or two steps, until told to stop. */
export async function tellStatuses({ receiver }: Links, stop: AbortSignal): Promise<readonly ToldStatus[]> {
  const seen = new Set<string>();
  const underWay: Promise<ToldStatus>[] = [];
  while (!stop.aborted) {
    const found = await look(receiver, "/v1/leads", { limit: "200" });
    for (const { id } of found === null ? [] : arrivedSchema.parse(found).data) {
      if (!seen.has(id)) underWay.push(tellStatus(receiver, id));
      seen.add(id);
    }
    await sleep(1_000, undefined, { signal: stop }).catch(() => undefined);
  }
  return Promise.all(underWay);
}

async function tellStatus(receiver: Desk, leadId: string): Promise<ToldStatus> {
  const failed: string[] = [];
  const told: string[] = [];
  for (const status of pick(receiver.random, [["accepted"], ["won"], ["accepted", "lost"], ["accepted", "won"]])) {
    await sleep(2_000 * receiver.random());
    const { answers } = await insist(receiver, `/v1/leads/${leadId}/referral-status`, { status });
    if (answers.some(isDone)) told.push(status);
    else failed.push(`${status}: ${JSON.stringify(answers)}`);
  }
  return { arrivedAs: leadId, status: told.at(-1) ?? null, failed };
}

/** What both sides hold of the referrals in the end. */
export async function readReferrals(observer: Observer, receiverId: string) {
  const sent = await observer.query<{ id: string; leadId: string; state: string; arrivedAs: string; status: string }>(
    'select id, lead_id as "leadId", state, received_as as "arrivedAs", status from referrals',
  );
  const arrived = await observer.query<{ id: string; email: string; referralId: string }>(
    `select l.id, l.fields ->> 'email' as email, a.referral_id as "referralId"
      from leads l left join arrivals a on a.lead_id = l.id where l.organisation_id = $1`,
    [receiverId],
  );
  return { sent, arrived };
}
