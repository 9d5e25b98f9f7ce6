import { z } from "zod";
import type { HandoffSystem } from "./handoff-system.ts";
import type { Mix } from "./mixes.ts";
import { spreadOf } from "./percentiles.ts";

/** The lists of the API that grow with each lead, and how long each takes. */

const looks = 25;

/** Milliseconds until a page of 50 is answered, half of the looks being faster; by the words of the list. */
export async function timeLists(system: HandoffSystem, mix: Mix): Promise<Readonly<Record<string, number>>> {
  const { partnerIds } = system.campaignOf(mix);
  const middle = await middleOf(system);
  const paths: Readonly<Record<string, string>> = {
    leads: "/leads",
    "leads, further on": `/leads?cursor=${middle.lead}`,
    "leads of a state": "/leads?state=held",
    "leads of a source": "/leads?source=source%207",
    "leads of a partner": `/leads?partnerId=${partnerIds[0]}`,
    "leads by email": "/leads?field=email&value=ann.7%40example.com",
    "leads of a day": `/leads?receivedFrom=${daysAgo(8)}&receivedTo=${daysAgo(7)}`,
    "a lead": `/leads/${middle.lead}`,
    deliveries: "/deliveries",
    "deliveries, further on": `/deliveries?cursor=${middle.delivery}`,
    "deliveries held": "/deliveries?state=held",
    "deliveries failed": "/deliveries?state=failed",
    "deliveries of a partner": `/deliveries?partnerId=${partnerIds[0]}`,
    "deliveries held for a partner": `/deliveries?partnerId=${partnerIds[0]}&state=held`,
    "a partner's ledger": `/partners/${partnerIds[0]}/ledger`,
    partners: "/partners",
  };
  const times: [string, number][] = [];
  for (const [words, path] of Object.entries(paths)) times.push([words, await timePage(system, path)]);
  return Object.fromEntries(times);
}

const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();

async function timePage({ port, apiKey }: HandoffSystem, path: string): Promise<number> {
  const times: number[] = [];
  for (let look = 0; look < looks; look += 1) {
    const startedAt = performance.now();
    const answer = await fetch(`http://127.0.0.1:${port}/v1${path}`, {
      headers: { authorization: `Bearer ${apiKey}` },
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`GET ${path} was answered ${answer.status}: ${text}`);
    times.push(performance.now() - startedAt);
  }
  return spreadOf(times).p50;
}

const middleSchema = z.object({ lead: z.uuid(), delivery: z.uuid() });

/** A lead and a delivery in the middle of what is stored. */
async function middleOf({ admin }: HandoffSystem) {
  const { rows } = await admin.query(`
    select (select id from leads order by id offset (select count(*) / 2 from leads) limit 1) as lead,
      (select id from deliveries order by id offset (select count(*) / 2 from deliveries) limit 1) as delivery`);
  return middleSchema.parse(rows[0]);
}
