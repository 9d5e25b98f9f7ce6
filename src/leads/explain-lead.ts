import type { FieldProblem } from "../campaigns/normalise-fields.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { costOfPayment, type LeadCost } from "../prices/lead-cost.ts";
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
  /** The price less what the introducer would be owed; null where that is in another currency. */
  readonly marginMinor: number | null;
  readonly result: ChoiceResult;
  readonly reasons: readonly (Reason & { readonly text: string })[];
}

/**
 * Answers "who would get this lead now?" with the code that routes, on a lead that is not stored and without taking
 * anything. An invalid lead is explained as far as its readable fields go. `intakeKeyId` says over which key it would come;
 * null: over one that is nobody's. null where there is no such campaign, or it has no such key.
 */
export async function explainLead(
  context: Context,
  organisationId: string,
  campaignId: string,
  raw: Readonly<Record<string, unknown>>,
  intakeKeyId: string | null = null,
): Promise<LeadExplanation | null> {
  const campaign = await readIntakeCampaign(context, organisationId, campaignId);
  if (campaign === null) return null;
  const lead = prepareLead(context, campaign, { raw, idempotencyKey: null, source: null });
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const introduction = await readIntroduction(transaction, campaignId, intakeKeyId);
    if (introduction === null) return null;
    const [earlier] = await findEarlier(transaction, campaign, [lead], context.clock());
    const duplicateOf = earlier?.duplicateOf ?? null;
    const routed = await readRoutedCampaign(transaction, campaignId, "read");
    const market = await loadMarket(transaction, routed, routedPartnerIds(routed), "read");
    const routable = {
      fields: lead.fields,
      introducerId: introduction.introducerId,
      mayWait: true,
      hadBy: new Map<string, string>(),
    };
    const choice = choosePartners(routable, [], new Map(), market, context.clock());
    const names = await readPartnerNames(transaction, [...market.buyers.keys()]);
    const partners = choice.considered.map((considered) => ({
      ...considered,
      marginMinor: marginOf(considered.priceMinor, market.buyers.get(considered.partnerId)?.currency, introduction),
      name: names.get(considered.partnerId) ?? "",
      reasons: considered.reasons.map((reason) => ({ ...reason, text: explainReason(reason) })),
    }));
    const status = lead.problems.length > 0 ? "invalid" : duplicateOf !== null ? "duplicate" : "valid";
    return { status, fields: lead.problems, duplicateOf, partners };
  });
}

/** Who would be paid for a lead that comes over a key, and what. */
interface KeyIntroduction {
  readonly introducerId: string | null;
  readonly cost: LeadCost | null;
  readonly currency: string | null;
}

async function readIntroduction(
  transaction: Database,
  campaignId: string,
  intakeKeyId: string | null,
): Promise<KeyIntroduction | null> {
  if (intakeKeyId === null) return { introducerId: null, cost: null, currency: null };
  const key = await transaction
    .selectFrom("intakeKeys as k")
    .leftJoin("partners as p", "p.id", "k.introducerId")
    .select(["k.introducerId", "k.leadCost as ofKey", "p.leadCost as ofIntroducer", "p.currency"])
    .where("k.id", "=", intakeKeyId)
    .where("k.campaignId", "=", campaignId)
    .executeTakeFirst();
  if (key === undefined) return null;
  return { introducerId: key.introducerId, cost: key.ofKey ?? key.ofIntroducer, currency: key.currency };
}

function marginOf(priceMinor: number, currency: string | undefined, introduction: KeyIntroduction): number | null {
  const { cost } = introduction;
  if (cost === null) return priceMinor;
  if (cost.percent !== undefined) return priceMinor - costOfPayment(cost, 0, priceMinor);
  return introduction.currency === currency ? priceMinor - (cost.amount ?? 0) : null;
}

async function readPartnerNames(transaction: Database, ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
  if (ids.length === 0) return new Map();
  const rows = await transaction.selectFrom("partners").select(["id", "name"]).where("id", "in", ids).execute();
  return new Map(rows.map((row) => [row.id, row.name]));
}
