import { setTimeout } from "node:timers/promises";
import { z } from "zod";
import type { OtherAddress } from "./other-installation.ts";

/** An organisation as the demo reaches it: over HTTP, like anybody. */
export interface DemoOrganisation {
  readonly url: string;
  readonly apiKey: string;
}

export interface NeighbourOrganisation extends DemoOrganisation {
  readonly portalCode: string;
}

/** One deal that was referred, and what is known of it. */
export interface ReferredDeal {
  readonly over: string;
  readonly to: string;
  readonly state: string;
  readonly status: string | null;
}

const idSchema = z.looseObject({ id: z.string() });
const workflowSchema = z.looseObject({ id: z.string(), stages: z.array(z.looseObject({ id: z.string() })) });
const inboundSchema = z.looseObject({ referralUrl: z.string(), key: z.string() });
const incomingSchema = z.looseObject({ version: z.int() });
const referralSchema = z.looseObject({
  id: z.string(),
  state: z.string(),
  receivedAs: z.string().nullable(),
  status: z.string().nullable(),
});
type Referral = z.infer<typeof referralSchema>;
const leadsSchema = z.looseObject({ data: z.array(z.looseObject({ id: z.string() })) });

/** Everybody waits for everybody: a machine that needs longer goes on by itself. */
const waitMs = 30_000;

/**
 * Refers three deals of the demo's organisation: by key to a neighbour in the same installation, over a connected portal to the
 * same neighbour, and by key to another installation. Each receiver says what became of it.
 */
export async function referDemoDeals(
  own: DemoOrganisation,
  neighbour: NeighbourOrganisation,
  other: OtherAddress | null,
  campaignId: string,
): Promise<readonly ReferredDeal[]> {
  const leaving = await makeWorkflow(own, campaignId, "Selling", ["Sold", "Referred on"]);
  const near = await receive(neighbour, "Mortgages");
  const far = other === null ? null : await receive(other, "Investments");
  const connectionId = await connect(own, neighbour, near.stageId);
  const outbound = async (name: string, { referralUrl: url, key }: z.infer<typeof inboundSchema>) => ({
    outboundId: idSchema.parse(await ask(own, "POST", "/v1/outbounds", { name, url, key, ...leaving })).id,
  });
  const { data } = leadsSchema.parse(await ask(own, "GET", "/v1/leads?state=sold&limit=3"));
  const [nearName, farName] = ["Harbour Mortgages", "Quay Investments"];
  const ways: { over: string; to: DemoOrganisation; name: string; link: object }[] = [
    { over: "key, same installation", to: neighbour, name: nearName, link: await outbound(nearName, near.inbound) },
    { over: "connected portal", to: neighbour, name: nearName, link: { connectionId } },
  ];
  if (other !== null && far !== null) {
    ways.push({
      over: "key, other installation",
      to: other,
      name: farName,
      link: await outbound(farName, far.inbound),
    });
  }
  return Promise.all(
    ways.slice(0, data.length).map(async ({ over, to, name, link }, place) => {
      const leadId = data[place]?.id ?? "";
      await ask(own, "PUT", `/v1/leads/${leadId}/stage`, { stageId: leaving.stageId });
      const made = await ask(own, "POST", `/v1/leads/${leadId}/referrals`, { ...link, confirmed: true });
      const { id } = referralSchema.parse(made);
      const sent = await until(own, id, ({ state }) => state !== "due");
      if (sent.receivedAs === null) return { over, to: name, state: sent.state, status: sent.status };
      await ask(to, "POST", `/v1/leads/${sent.receivedAs}/referral-status`, {
        status: place === 1 ? "won" : "accepted",
      });
      const heard = await until(own, id, ({ status }) => status !== null);
      return { over, to: name, state: heard.state, status: heard.status };
    }),
  );
}

/** What a receiver needs: a campaign with its fields, a workflow that somebody owns, and a way in. */
async function receive(organisation: DemoOrganisation, name: string) {
  const fields = [
    { key: "first_name", type: "text", group: "contact" },
    { key: "last_name", type: "text", group: "contact" },
    { key: "email", type: "email", group: "contact" },
    { key: "phone", type: "phone", country: "GB", group: "contact" },
    { key: "postcode", type: "postcode", group: "contact" },
  ];
  const campaign = { name, timeZone: "Europe/London", fields, routing: [] };
  const { id: campaignId } = idSchema.parse(await ask(organisation, "POST", "/v1/campaigns", campaign));
  const workflow = await makeWorkflow(organisation, campaignId, `${name} deals`, ["New", "In talks", "Done"]);
  const inbound = { name: "From the sellers", ...workflow };
  return { ...workflow, inbound: inboundSchema.parse(await ask(organisation, "POST", "/v1/inbounds", inbound)) };
}

async function makeWorkflow(organisation: DemoOrganisation, campaignId: string, name: string, stages: string[]) {
  const owner = { email: "olivia@demo.test", name: "Olivia Example", role: "admin" };
  const { id: ownerId } = idSchema.parse(await ask(organisation, "POST", "/v1/users", owner));
  const document = { name, campaignId, ownerId, stages: stages.map((stage) => ({ name: stage })) };
  const workflow = workflowSchema.parse(await ask(organisation, "POST", "/v1/workflows", document));
  return { workflowId: workflow.id, stageId: workflow.stages[0]?.id ?? "" };
}

async function connect(own: DemoOrganisation, to: NeighbourOrganisation, stageId: string): Promise<string> {
  const request = { portalCode: to.portalCode, permissions: [] };
  const { id } = idSchema.parse(await ask(own, "POST", "/v1/connections/outgoing", request));
  const { version } = incomingSchema.parse(await ask(to, "GET", `/v1/connections/incoming/${id}`));
  await ask(to, "POST", `/v1/connections/incoming/${id}/approve`, { version, stageId, reportsStatus: true });
  return id;
}

/** How a referral stands once it is as wished, or after the longest wait. */
async function until(own: DemoOrganisation, id: string, isSo: (referral: Referral) => boolean): Promise<Referral> {
  const endsAt = performance.now() + waitMs;
  for (;;) {
    const referral = referralSchema.parse(await ask(own, "GET", `/v1/referrals/${id}`));
    if (isSo(referral) || performance.now() > endsAt) return referral;
    await setTimeout(100);
  }
}

async function ask({ url, apiKey }: DemoOrganisation, method: string, path: string, body?: object): Promise<unknown> {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${apiKey}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`The demo is refused: ${method} ${path} gave ${response.status} ${text}`);
  return text === "" ? null : JSON.parse(text);
}
