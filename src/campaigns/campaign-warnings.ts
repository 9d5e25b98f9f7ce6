import type { Database } from "../db/database.ts";
import type { Warning } from "../http/api.ts";
import { checkDelivery } from "../partners/check-delivery.ts";
import type { CampaignDocument } from "./campaign.ts";

/** What in a campaign's document is allowed and yet hardly meant, and why. */
export async function campaignWarnings(transaction: Database, document: CampaignDocument): Promise<Warning[]> {
  return [...duplicatesWarnings(document), ...(await routingWarnings(transaction, document))];
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
async function routingWarnings(transaction: Database, document: CampaignDocument): Promise<Warning[]> {
  const { routing, fields, name } = document;
  if (routing.length === 0) return [{ field: "routing", message: "Nobody is in the routing: the leads go unsold." }];
  const ids = [...new Set(routing.flatMap((group) => group.partners.map(({ partnerId }) => partnerId)))];
  const partners = ids.length === 0 ? [] : await readPartners(transaction, ids);
  const notes = new Map(
    partners.map(({ id, type, active, internet, email }) => {
      const [problem] = checkDelivery({ internet, email }, [{ name, fields }]);
      if (type === "introducer") return [id, "only introduces leads and gets none"];
      if (!active) return [id, "is switched off"];
      if (internet === null && email === null) return [id, "has no delivery set up"];
      return [id, problem === undefined ? null : `cannot be delivered to: ${problem.field}: ${problem.message}`];
    }),
  );
  return routing.flatMap((group, groupIndex) =>
    group.partners.flatMap(({ partnerId }, index) => {
      const note = notes.get(partnerId) ?? null;
      return note === null
        ? []
        : [{ field: `routing.${groupIndex}.partners.${index}.partnerId`, message: `The partner ${note}.` }];
    }),
  );
}

async function readPartners(transaction: Database, ids: readonly string[]) {
  return transaction
    .selectFrom("partners")
    .select(["id", "type", "active", "internet", "email"])
    .where("id", "in", ids)
    .execute();
}
