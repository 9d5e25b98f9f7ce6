import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { type CampaignPlan, campaigns, type PartnerPlan } from "./configuration.ts";

/** What the trial asks of an API: over HTTP, as anybody would. */
export interface Api {
  readonly base: string;
  readonly apiKey: string;
}

export interface SetUp {
  /** Names of partners by id. */
  readonly partners: ReadonlyMap<string, string>;
  readonly campaigns: readonly { readonly plan: CampaignPlan; readonly id: string; readonly intakePath: string }[];
}

const createdSchema = z.looseObject({ id: z.string() });
const campaignSchema = z.looseObject({ id: z.string(), intakeUrl: z.string() });

export async function setUp(api: Api, plans: readonly PartnerPlan[], receiverPort: number): Promise<SetUp> {
  const partners = new Map<string, string>();
  const routed: object[] = [];
  for (const plan of plans) {
    const { id } = createdSchema.parse(await ask(api, "POST", "/v1/partners", partnerDocument(plan, receiverPort)));
    partners.set(id, plan.name);
    routed.push({ partnerId: id, weight: plan.weight });
  }
  const made: SetUp["campaigns"][number][] = [];
  for (const plan of campaigns) {
    const document = campaignDocument(plan, routed);
    const { id, intakeUrl } = campaignSchema.parse(await ask(api, "POST", "/v1/campaigns", document));
    made.push({ plan, id, intakePath: new URL(intakeUrl).pathname });
  }
  return { partners, campaigns: made };
}

function partnerDocument(plan: PartnerPlan, receiverPort: number): object {
  const delivery =
    plan.method === "email"
      ? { email: { to: [`leads@${plan.name}.test`], headers: { "X-Lead": "{{ lead.id }}" }, timeoutMs: 2_000 } }
      : {
          internet: {
            method: "json",
            url: `http://127.0.0.1:${receiverPort}/${plan.name}`,
            body: '{"lead": {{ lead.id }}, "name": {{ lead.first_name }}, "email": {{ lead.email }}}',
            timeoutMs: 1_000,
            followRedirects: plan.followRedirects ?? false,
            success: { path: "$.outcome", equals: "success" },
            reason: "$.reason",
            reference: "$.reference",
          },
        };
  return {
    name: plan.name,
    timeZone: "Europe/London",
    currency: "GBP",
    leadValue: plan.priceMinor,
    creditLimit: plan.creditMinor,
    limits: { day: plan.dayLimit },
    concurrency: 10,
    ...delivery,
    ...plan.document,
  };
}

function campaignDocument(plan: CampaignPlan, partners: readonly object[]): object {
  return {
    name: plan.name,
    timeZone: "Europe/London",
    saleLimit: plan.saleLimit,
    fields: [
      { key: "first_name", type: "text", required: true, group: "contact", shareable: true },
      { key: "email", type: "email", required: true, group: "contact", shareable: true },
    ],
    routing: [{ method: "weighted", partners }],
  };
}

/** As `ask`, of what is only looked at. */
export const read = async (api: Api, path: string): Promise<unknown> => ask(api, "GET", path, null);

/** Asks again for half a minute where the API is away. Fails on a refusal. */
export async function ask(api: Api, method: string, path: string, body: object | null): Promise<unknown> {
  const endsAt = performance.now() + 30_000;
  for (;;) {
    try {
      const response = await fetch(`${api.base}${path}`, {
        method,
        headers: { authorization: `Bearer ${api.apiKey}`, "content-type": "application/json" },
        body: body === null ? null : JSON.stringify(body),
        signal: AbortSignal.timeout(5_000),
      });
      const answer: unknown = await response.json();
      if (response.ok) return answer;
      if (response.status < 500) throw new Refused(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
    } catch (error) {
      if (error instanceof Refused || performance.now() > endsAt) throw error;
    }
    await sleep(500);
  }
}

class Refused extends Error {}
