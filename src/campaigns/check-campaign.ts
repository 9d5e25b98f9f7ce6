import type { FieldError } from "../errors.ts";
import type { Price } from "../prices/price.ts";
import type { CampaignDocument } from "./campaign.ts";
import { filterProblems } from "./filter.ts";

/** What of a partner its place in a campaign's routing is checked against. */
export interface RoutedPartner {
  readonly id: string;
  readonly type: "introducer" | "partner" | "both";
}

/**
 * What in a campaign's document does not fit together: names of partners that are not there, a partner twice in
 * a group, filters that its fields can never meet. `groupIds` are the groups that the campaign has already.
 */
export function campaignProblems(
  document: CampaignDocument,
  partners: ReadonlyMap<string, RoutedPartner>,
  groupIds: ReadonlySet<string>,
): FieldError[] {
  return [
    ...duplicatesProblems(document),
    ...leadValueProblems(document),
    ...routingProblems(document, partners, groupIds),
  ];
}

function duplicatesProblems({ duplicates }: CampaignDocument): FieldError[] {
  return (duplicates?.match ?? []).flatMap((key, index, match) =>
    match.indexOf(key) < index
      ? [{ field: `duplicates.match.${index}`, code: "repeated", message: `${key} is named already` }]
      : [],
  );
}

function leadValueProblems({ leadValues, fields }: CampaignDocument): FieldError[] {
  return leadValues.flatMap(({ currency, price }, index) => {
    const problems = priceProblems(price, fields, `leadValues.${index}.price`);
    const isRepeated = leadValues.findIndex((other) => other.currency === currency) < index;
    const repeated = {
      field: `leadValues.${index}.currency`,
      code: "repeated",
      message: `${currency} is named already`,
    };
    return isRepeated ? [...problems, repeated] : problems;
  });
}

/** What the rules of a price ask for that the campaign's fields can never give. */
function priceProblems(price: Price | null, fields: CampaignDocument["fields"], place: string): FieldError[] {
  if (price === null || typeof price === "number") return [];
  return price.rules.flatMap(({ when }, index) =>
    filterProblems(when, fields).map(({ field, message }) => ({
      field: `${place}.rules.${index}.when.${field}`,
      code: "does_not_fit",
      message,
    })),
  );
}

function routingProblems(
  { routing, fields }: CampaignDocument,
  partners: ReadonlyMap<string, RoutedPartner>,
  groupIds: ReadonlySet<string>,
): FieldError[] {
  const problems: FieldError[] = [];
  const add = (field: string, code: string, message: string) => problems.push({ field, code, message });
  routing.forEach((group, groupIndex) => {
    const place = `routing.${groupIndex}`;
    if (group.id !== undefined && !groupIds.has(group.id)) {
      add(`${place}.id`, "unknown_group", "is not a group of this campaign; leave it out for a new one");
    }
    if (routing.findIndex(({ id }) => id !== undefined && id === group.id) < groupIndex && group.id !== undefined) {
      add(`${place}.id`, "repeated", "is the id of an earlier group already");
    }
    group.partners.forEach(({ partnerId, filter, price }, index) => {
      const at = `${place}.partners.${index}`;
      if (!partners.has(partnerId)) add(`${at}.partnerId`, "unknown_partner", `there is no partner ${partnerId}`);
      if (group.partners.findIndex((other) => other.partnerId === partnerId) < index) {
        add(`${at}.partnerId`, "repeated", "is in this group already");
      }
      for (const { field, message } of filter === null ? [] : filterProblems(filter, fields)) {
        add(`${at}.filter.${field}`, "does_not_fit", message);
      }
      problems.push(...priceProblems(price, fields, `${at}.price`));
    });
  });
  return problems;
}
