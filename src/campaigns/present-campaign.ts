import { z } from "zod";
import type { Context } from "../context.ts";
import type { Database } from "../db/database.ts";
import { instantSchema } from "../http/api.ts";
import { campaignSchema, routingGroupSchema } from "./campaign.ts";
import { type CampaignRow, toDocument } from "./campaign-row.ts";
import { readIntakeKeys } from "./intake-keys.ts";

/** A campaign as the API shows it: its document, and where its leads are sent to. */
export const campaignAnswer = z
  .object({
    id: z.uuid(),
    ...campaignSchema.shape,
    routing: z.array(routingGroupSchema.extend({ id: z.uuid() })),
    intakeKey: z.string().nullable().meta({ description: "the oldest key that is good; null when all are revoked" }),
    intakeUrl: z.string().nullable().meta({ description: "where leads are POSTed to, with that key" }),
    createdAt: instantSchema,
    updatedAt: instantSchema,
  })
  .meta({ id: "Campaign" });
export type CampaignAnswer = z.infer<typeof campaignAnswer>;

export async function presentCampaigns(
  transaction: Database,
  { config, vault }: Context,
  rows: readonly CampaignRow[],
): Promise<CampaignAnswer[]> {
  const keys = await readIntakeKeys(
    transaction,
    vault,
    rows.map((row) => row.id),
  );
  return rows.map((row) => {
    const intakeKey = keys.get(row.id) ?? null;
    return {
      id: row.id,
      ...toDocument(row),
      intakeKey,
      intakeUrl: intakeKey === null ? null : intakeUrlOf(config.publicUrl, intakeKey),
      createdAt: row.createdAt.toISOString(),
      updatedAt: row.updatedAt.toISOString(),
    };
  });
}

export function intakeUrlOf(publicUrl: string, intakeKey: string): string {
  return `${publicUrl.replace(/\/$/, "")}/v1/intake/${intakeKey}`;
}
