import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { inStages, returning } from "./configuration.ts";
import type { ReturnedLead } from "./record.ts";
import { type Answer, type Desk, insist, isDone, listSold, look, pick } from "./staff.ts";

/** Partners that give leads back while leads flow, and staff who decide about it. */

const returnSchema = z.looseObject({ id: z.string(), state: z.enum(["open", "accepted", "declined"]) });
const listSchema = z.looseObject({ data: z.array(returnSchema) });
const problemSchema = z.looseObject({
  code: z.string(),
  fields: z.array(z.looseObject({ code: z.string() })).optional(),
});

const returners = { [returning.atOnce]: 0.35, [returning.byStaff]: 0.35, [inStages]: 0.15 } as const;

/** Gives back a part of what was sold to each of the partners that return leads, until they are told to stop. */
export async function returnLeads(desk: Desk, stop: AbortSignal): Promise<readonly ReturnedLead[]> {
  const seen = new Set<string>();
  const underWay: Promise<ReturnedLead>[] = [];
  while (!stop.aborted) {
    for (const [partner, share] of Object.entries(returners)) {
      for (const { id, leadId } of await listSold(desk, partner)) {
        if (!seen.has(id) && desk.random() < share) underWay.push(returnLead(desk, partner, id, leadId));
        seen.add(id);
      }
    }
    await sleep(1_000, undefined, { signal: stop }).catch(() => undefined);
  }
  return Promise.all(underWay);
}

async function returnLead(desk: Desk, partner: string, deliveryId: string, leadId: string): Promise<ReturnedLead> {
  await sleep(3_000 * desk.random());
  const partnerId = desk.partnerIds.get(partner) ?? "";
  const asked = await insist(desk, `/v1/leads/${leadId}/returns`, { partnerId, reason: "wrong_contact" });
  const failed = asked.answers.filter((answer) => !isDone(answer) && !saysAgain(answer));
  const state = await stateOf(desk, leadId, partnerId);
  if (state?.state !== "open") {
    return { partner, deliveryId, leadId, ...outcome(asked.sentAtMs, Date.now(), asked.tries, state?.state, failed) };
  }
  await sleep(2_000 * desk.random());
  const decision = pick(desk.random, ["accepted", "accepted", "declined"] as const);
  const decided = await insist(desk, `/v1/returns/${state.id}/decide`, { decision });
  const wrong = decided.answers.filter((answer) => !isDone(answer) && !saysAgain(answer));
  const told = decided.answers.length === 0 ? undefined : decision;
  const tries = asked.tries + decided.tries - 1;
  const times = outcome(asked.sentAtMs, decided.answeredAtMs, tries, told, [...failed, ...wrong]);
  return { partner, deliveryId, leadId, ...times };
}

function outcome(
  askedAtMs: number,
  answeredAtMs: number,
  tries: number,
  state: string | undefined,
  failed: readonly Answer[],
) {
  const told = state === "accepted" || state === "declined" ? state : "nothing";
  return { told, askedAtMs, answeredAtMs, tries, failed: failed.map((answer) => JSON.stringify(answer)) } as const;
}

/** What was done before, and not told. */
function saysAgain({ body }: Answer): boolean {
  const { code, fields = [] } = problemSchema.parse(body);
  return code === "return_decided" || fields.some((field) => field.code === "already_returned");
}

/** How the return stands; undefined where nobody knows of one. */
async function stateOf(desk: Desk, leadId: string, partnerId: string) {
  for (let tries = 0; tries < 100; tries += 1) {
    const found = await look(desk, "/v1/returns", { leadId, partnerId });
    if (found !== null) return listSchema.parse(found).data[0];
    await sleep(300);
  }
  return undefined;
}
