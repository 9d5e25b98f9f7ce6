import { sql } from "kysely";
import type { Duplicates } from "../campaigns/campaign.ts";
import type { Field } from "../campaigns/fields.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { sha256 } from "../encrypt.ts";
import { groupCalls } from "../group-calls.ts";

/** What intake has to know of a campaign. */
export interface IntakeCampaign {
  readonly id: string;
  readonly organisationId: string;
  readonly name: string;
  readonly active: boolean;
  readonly version: number;
  readonly routeAfterMinutes: number;
  readonly holdHours: number;
  readonly fields: readonly Field[];
  readonly duplicates: Duplicates | null;
}

/** Where a lead comes in: the campaign, and over which key. */
export interface Entrance {
  readonly campaign: IntakeCampaign;
  readonly intakeKeyId: string | null;
  readonly introducerId: string | null;
}

/** Compiled campaigns by id; an older version is replaced, so this grows no further than there are campaigns in use. */
const campaigns = new WeakMap<Context, Map<string, IntakeCampaign>>();

const lookUps = new WeakMap<Context, Map<string, (key: string) => Promise<{ entrance: Entrance | null }>>>();

/**
 * Finds the entrance that an intake key opens; null where none does. Sees a changed campaign at once: its version is asked
 * each time, once for all that ask at the same time.
 */
export async function findEntrance(context: Context, intakeKey: string): Promise<Entrance | null> {
  const known = lookUps.get(context) ?? new Map<string, (key: string) => Promise<{ entrance: Entrance | null }>>();
  lookUps.set(context, known);
  const lookUp = known.get(intakeKey) ?? groupCalls(async (keys) => lookUpTogether(context, intakeKey, keys.length));
  known.set(intakeKey, lookUp);
  const { entrance } = await lookUp(intakeKey);
  // Keys that open nothing are not remembered: there is no end to them.
  if (entrance === null) known.delete(intakeKey);
  return entrance;
}

async function lookUpTogether(context: Context, intakeKey: string, times: number) {
  const entrance = await lookUpEntrance(context, intakeKey);
  return Array.from({ length: times }, () => ({ entrance }));
}

async function lookUpEntrance(context: Context, intakeKey: string): Promise<Entrance | null> {
  const { rows } = await sql<{
    organisationId: string;
    intakeKeyId: string;
    campaignId: string;
    introducerId: string | null;
    campaignVersion: number;
  }>`select * from find_intake_key(${sha256(intakeKey)})`.execute(context.database);
  const found = rows[0];
  if (found === undefined) return null;
  const { organisationId, campaignId, intakeKeyId, introducerId, campaignVersion } = found;
  const known = campaigns.get(context)?.get(campaignId);
  const campaign =
    known?.version === campaignVersion ? known : await readIntakeCampaign(context, organisationId, campaignId);
  return campaign === null ? null : { campaign, intakeKeyId, introducerId };
}

/** Reads a campaign for intake; null where the organisation has none of that id. */
export async function readIntakeCampaign(
  context: Context,
  organisationId: string,
  campaignId: string,
): Promise<IntakeCampaign | null> {
  const campaign = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("campaigns")
      .select([
        "id",
        "organisationId",
        "name",
        "active",
        "version",
        "routeAfterMinutes",
        "holdHours",
        "fields",
        "duplicates",
      ])
      .where("id", "=", campaignId)
      .executeTakeFirst(),
  );
  if (campaign === undefined) return null;
  const known = campaigns.get(context) ?? new Map<string, IntakeCampaign>();
  campaigns.set(context, known.set(campaignId, campaign));
  return campaign;
}
