import type { FieldProblem } from "../campaigns/normalise-fields.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type ChoiceResult, choosePartners } from "../routing/choose.ts";
import { loadMarket, readRoutedCampaign, routedPartnerIds } from "../routing/market.ts";
import { explainReason, type Reason } from "../routing/reasons.ts";
import { findEarlier } from "./find-earlier.ts";
import { readIntakeCampaign } from "./intake-campaign.ts";
import { prepareLead } from "./prepare-lead.ts";

/** Who would get a lead now, and every reason for and against each partner. */
export interface LeadExplanation {
  readonly status: "valid" | "duplicate" | "invalid";
  readonly fields: readonly FieldProblem[];
  readonly duplicateOf: string | null;
  /** In the order in which they would be asked. */
  readonly partners: readonly ExplainedPartner[];
}

export interface ExplainedPartner {
  readonly partnerId: string;
  readonly name: string;
  readonly groupId: string;
  readonly priceMinor: number;
  readonly result: ChoiceResult;
  readonly reasons: readonly (Reason & { readonly text: string })[];
}

/**
 * Answers "who would get this lead now?" with the code that routes, on a lead that is not stored and without taking
 * anything. An invalid lead is explained as far as its readable fields go. null where there is no such campaign.
 */
export async function explainLead(
  context: Context,
  organisationId: string,
  campaignId: string,
  raw: Readonly<Record<string, unknown>>,
): Promise<LeadExplanation | null> {
  const campaign = await readIntakeCampaign(context, organisationId, campaignId);
  if (campaign === null) return null;
  const lead = prepareLead(context, campaign, { raw, idempotencyKey: null, source: null });
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const [earlier] = await findEarlier(transaction, campaign, [lead], context.clock());
    const duplicateOf = earlier?.duplicateOf ?? null;
    const routed = await readRoutedCampaign(transaction, campaignId, "read");
    const market = await loadMarket(transaction, routed, routedPartnerIds(routed), "read");
    const routable = { fields: lead.fields, introducerId: null, mayWait: true, hadBy: new Map<string, string>() };
    const choice = choosePartners(routable, [], new Map(), market, context.clock());
    const names = await readPartnerNames(transaction, [...market.buyers.keys()]);
    const partners = choice.considered.map((considered) => ({
      ...considered,
      name: names.get(considered.partnerId) ?? "",
      reasons: considered.reasons.map((reason) => ({ ...reason, text: explainReason(reason) })),
    }));
    const status = lead.problems.length > 0 ? "invalid" : duplicateOf !== null ? "duplicate" : "valid";
    return { status, fields: lead.problems, duplicateOf, partners };
  });
}

async function readPartnerNames(
  transaction: Parameters<typeof loadMarket>[0],
  ids: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  if (ids.length === 0) return new Map();
  const rows = await transaction.selectFrom("partners").select(["id", "name"]).where("id", "in", ids).execute();
  return new Map(rows.map((row) => [row.id, row.name]));
}
