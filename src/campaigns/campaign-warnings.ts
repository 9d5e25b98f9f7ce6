import { createTrialTime, type TrialTime } from "../channels/trial-time.ts";
import type { Database } from "../db/database.ts";
import type { Warning } from "../http/api.ts";
import { checkDelivery, checkMs } from "../partners/check-delivery.ts";
import { readsPrice } from "../partners/partner-warnings.ts";
import type { CampaignDocument } from "./campaign.ts";
import { previewFields } from "./preview.ts";

/**
 * What in a campaign's document is allowed and yet hardly meant, and why. `partners` are those of its routing. To be asked
 * outside of a transaction: trying their templates may take seconds.
 */
export async function campaignWarnings(
  document: CampaignDocument,
  partners: readonly RoutedPartner[],
): Promise<Warning[]> {
  return [...duplicatesWarnings(document), ...(await routingWarnings(document, partners))];
}

function duplicatesWarnings({ duplicates, fields }: CampaignDocument): Warning[] {
  const keys = fields.map((field) => field.key);
  return (duplicates?.match ?? []).flatMap((key, index) =>
    keys.includes(key)
      ? []
      : [
          {
            field: `duplicates.match.${index}`,
            message: `${key} is no field of the campaign, so no lead ever matches in it.`,
          },
        ],
  );
}

/** Partners that cannot get the campaign's leads. */
async function routingWarnings(document: CampaignDocument, partners: readonly RoutedPartner[]): Promise<Warning[]> {
  const { routing } = document;
  if (routing.length === 0) return [{ field: "routing", message: "Nobody is in the routing: the leads go unsold." }];
  const time = createTrialTime(checkMs);
  const notes = new Map<string, string | null>();
  for (const partner of partners) notes.set(partner.id, await noteOn(partner, document, time));
  return routing.flatMap((group, groupIndex) =>
    group.partners.flatMap(({ partnerId, price }, index): Warning[] => {
      const place = `routing.${groupIndex}.partners.${index}`;
      const note = notes.get(partnerId) ?? null;
      const internet = partners.find(({ id }) => id === partnerId)?.internet ?? null;
      const isUnread =
        price !== null && typeof price === "object" && price.answer !== null && !readsPrice({ internet });
      const unread = "The partner's answer is to name the price, and its settings have no path to it.";
      return [
        ...(note === null ? [] : [{ field: `${place}.partnerId`, message: `The partner ${note}.` }]),
        ...(isUnread ? [{ field: `${place}.price.answer`, message: unread }] : []),
      ];
    }),
  );
}

async function noteOn(partner: RoutedPartner, campaign: CampaignDocument, time: TrialTime): Promise<string | null> {
  const { type, active, internet, email, acceptFirst } = partner;
  if (type === "introducer") return "only introduces leads and gets none";
  if (!active) return "is switched off";
  if (internet === null && email === null) return "has no delivery set up";
  if (time.isOver()) return "was not tried: the templates of those before it take too long";
  const [problem] = await checkDelivery({ internet, email }, [campaign], time);
  if (problem === undefined && acceptFirst !== null && previewFields(campaign.fields).length === 0)
    return "accepts its leads first, and no field is marked as preview: it sees nothing of them";
  return problem === undefined ? null : `cannot be delivered to: ${problem.field}: ${problem.message}`;
}

export type RoutedPartner = Awaited<ReturnType<typeof readRoutedPartners>>[number];

/** The partners that a campaign's routing names. */
export async function readRoutedPartners(transaction: Database, { routing }: CampaignDocument) {
  const ids = [...new Set(routing.flatMap((group) => group.partners.map(({ partnerId }) => partnerId)))];
  if (ids.length === 0) return [];
  return transaction
    .selectFrom("partners")
    .select(["id", "type", "active", "internet", "email", "acceptFirst"])
    .where("id", "in", ids)
    .execute();
}
