import type { Selectable } from "kysely";
import type { Tables } from "../db/tables.ts";
import type { CampaignDocument, RoutingGroup } from "./campaign.ts";

export const campaignColumns = [
  "id",
  "name",
  "active",
  "timeZone",
  "saleLimit",
  "routeAfterMinutes",
  "holdHours",
  "whenClosed",
  "whenCapped",
  "whenUnfunded",
  "whenUncertain",
  "fields",
  "duplicates",
  "leadValues",
  "routing",
  "createdAt",
  "updatedAt",
] as const;

export type CampaignRow = Pick<Selectable<Tables["campaigns"]>, (typeof campaignColumns)[number]>;

/** The document of a campaign as it is stored: each group has its id. */
export type StoredCampaign = Omit<CampaignDocument, "routing"> & { readonly routing: RoutingGroup[] };

export function toDocument(row: CampaignRow): StoredCampaign {
  const { id: _id, createdAt: _createdAt, updatedAt: _updatedAt, ...document } = row;
  return document;
}

export function toColumns(document: StoredCampaign) {
  const { fields, duplicates, leadValues, routing, ...columns } = document;
  return {
    ...columns,
    fields: JSON.stringify(fields),
    duplicates: duplicates === null ? null : JSON.stringify(duplicates),
    leadValues: JSON.stringify(leadValues),
    routing: JSON.stringify(routing),
  };
}
