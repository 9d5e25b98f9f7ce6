import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { campaignSchema } from "../src/campaigns/campaign.ts";
import { createCampaign } from "../src/campaigns/store-campaign.ts";
import type { Context } from "../src/context.ts";
import { partnerSchema } from "../src/partners/partner.ts";
import { createPartner } from "../src/partners/store-partner.ts";
import { projectRoot } from "../src/project-root.ts";
import { demoPartners, notFromSouthWest } from "./demo-partners.ts";
import type { DemoReceivers } from "./receivers.ts";

export const sampleLeadsFile = join(projectRoot, "samples", "leads.csv");

/** Makes the demo's partners and its campaign, in which they take turns. Gives the campaign's id. */
export async function seedDemo(context: Context, organisationId: string, receivers: DemoReceivers): Promise<string> {
  const change = { organisationId, by: "demo", at: context.clock() };
  const partnerIds: string[] = [];
  for (const document of demoPartners(receivers, context.clock())) {
    const created = await createPartner(context, change, partnerSchema.parse(document));
    if (created.kind === "invalid") throw new Error(`A demo partner is refused: ${JSON.stringify(created.fields)}`);
    partnerIds.push(created.id);
  }
  const sample: unknown = JSON.parse(await readFile(join(projectRoot, "samples", "campaign.json"), "utf8"));
  const last = partnerIds.length - 1;
  const partners = partnerIds.map((partnerId, index) => ({
    partnerId,
    filter: index === last ? notFromSouthWest : null,
  }));
  const routing = [{ method: "round_robin", partners }];
  const campaign = await createCampaign(context, change, campaignSchema.parse(Object.assign({}, sample, { routing })));
  if (campaign.kind === "invalid") throw new Error(`The demo campaign is refused: ${JSON.stringify(campaign.fields)}`);
  return campaign.id;
}
