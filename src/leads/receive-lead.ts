import { sql } from "kysely";
import { routeLeads } from "../../queues/route-leads.ts";
import type { FieldProblem } from "../campaigns/normalise-fields.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { groupCalls } from "../group-calls.ts";
import { type Earlier, findEarlier, matchesNeeded } from "./find-earlier.ts";
import { insertLeads } from "./insert-leads.ts";
import type { Entrance, IntakeCampaign } from "./intake-campaign.ts";
import { type PreparedLead, prepareLead, type ReceivedLead } from "./prepare-lead.ts";

/** What the sender is told. Given again, word for word, for the same Idempotency-Key. */
export type IntakeAnswer =
  | { readonly status: "received"; readonly leadId: string }
  | { readonly status: "duplicate"; readonly leadId: string; readonly duplicateOf: string }
  | { readonly status: "invalid"; readonly leadId: string; readonly fields: readonly FieldProblem[] };

export type Intake =
  | { readonly kind: "answered"; readonly answer: IntakeAnswer; readonly isReplay: boolean }
  | { readonly kind: "refused"; readonly reason: "idempotency_conflict" | "campaign_inactive" };

/** A lead on its way in, with the campaign as it was when the lead came. */
export interface IncomingLead {
  readonly entrance: Entrance;
  readonly lead: PreparedLead;
}

/**
 * Takes a lead in: checks its fields, finds whether it is a duplicate, stores it, and wakes routing. When this resolves
 * with an answer, the lead is in Postgres. An invalid lead is kept as such, so that nothing that was sent is lost. Leads
 * that come to a campaign at the same time share a transaction.
 */
export async function receiveLead(context: Context, entrance: Entrance, received: ReceivedLead): Promise<Intake> {
  const { campaign } = entrance;
  if (!campaign.active) return { kind: "refused", reason: "campaign_inactive" };
  const lead = prepareLead(context, campaign, received);
  const intake = await groupOf(context, campaign)({ entrance, lead });
  if (intake.kind === "answered" && intake.answer.status === "received" && !intake.isReplay) {
    context.waker.wake(routeLeads, { organisationId: campaign.organisationId, campaignId: campaign.id });
  }
  return intake;
}

type Group = (incoming: IncomingLead) => Promise<Intake>;
const groups = new WeakMap<Context, Map<string, { readonly version: number; readonly receive: Group }>>();

/** One group for each campaign, of its latest version: what decides about duplicates is the same for all in it. */
function groupOf(context: Context, campaign: IntakeCampaign): Group {
  const known = groups.get(context) ?? new Map<string, { readonly version: number; readonly receive: Group }>();
  groups.set(context, known);
  const group = known.get(campaign.id);
  if (group?.version === campaign.version) return group.receive;
  const receive = groupCalls<IncomingLead, Intake>(async (incoming) => receiveTogether(context, campaign, incoming));
  known.set(campaign.id, { version: campaign.version, receive });
  return receive;
}

async function receiveTogether(
  context: Context,
  campaign: IntakeCampaign,
  incoming: readonly IncomingLead[],
): Promise<readonly Intake[]> {
  return inOrganisation(
    context.database,
    campaign.organisationId,
    async (transaction, last) => {
      const leads = incoming.map(({ lead }) => lead);
      // One round trip: the locks are taken first, and the search sees what was committed until then.
      const [, earlier] = await Promise.all([
        lockKeys(transaction, leads),
        findEarlier(transaction, campaign, leads, context.clock()),
      ]);
      const intakes = decide(campaign, leads, earlier);
      const stored = incoming.flatMap(({ entrance, lead }, place) => {
        const intake = intakes[place];
        return intake?.kind === "answered" && !intake.isReplay ? [{ entrance, lead, answer: intake.answer }] : [];
      });
      if (stored.length > 0) await last(async () => insertLeads(transaction, campaign, stored));
      return intakes;
    },
    { keepsPlans: true },
  );
}

/**
 * Serialises leads that could be each other's duplicates, in whatever process: the later one waits until the earlier one
 * is committed, and then sees it. Locks are taken in numerical order, so that no two wait in a ring.
 */
async function lockKeys(transaction: Database, leads: readonly PreparedLead[]): Promise<void> {
  const hashes = leads.flatMap(({ contentHash, matchHashes, idempotencyHash }) => [
    contentHash,
    ...matchHashes,
    ...(idempotencyHash === null ? [] : [idempotencyHash]),
  ]);
  const keys = [...new Set(hashes.map((hash) => hash.readBigInt64BE(0)))].sort((a, b) => (a < b ? -1 : 1)).map(String);
  await sql`select pg_advisory_xact_lock(key) from unnest(${keys}::bigint[]) as key`.execute(transaction);
}

/** Decides one after the other, so that a lead sees those of its own group that came before it. Pure. */
function decide(
  campaign: IntakeCampaign,
  leads: readonly PreparedLead[],
  earlier: readonly Earlier[],
): readonly Intake[] {
  const received: PreparedLead[] = [];
  const answered = new Map<string, NonNullable<Earlier["answered"]>>();
  return leads.map((lead, place) => {
    const known = earlier[place];
    const before = known?.answered ?? (lead.idempotencyKey === null ? null : answered.get(lead.idempotencyKey)) ?? null;
    if (before !== null) return replay(before, lead);
    const answer = toAnswer(lead, known?.duplicateOf ?? duplicateWithin(campaign, received, lead));
    if (answer.status === "received") received.push(lead);
    if (lead.idempotencyKey !== null) answered.set(lead.idempotencyKey, { contentHash: lead.contentHash, answer });
    return { kind: "answered", answer, isReplay: false };
  });
}

function replay(before: NonNullable<Earlier["answered"]>, lead: PreparedLead): Intake {
  if (!before.contentHash.equals(lead.contentHash)) return { kind: "refused", reason: "idempotency_conflict" };
  return { kind: "answered", answer: before.answer, isReplay: true };
}

function duplicateWithin(
  campaign: IntakeCampaign,
  received: readonly PreparedLead[],
  lead: PreparedLead,
): string | null {
  const needed = matchesNeeded(campaign);
  const twin = received.find((other) => {
    const shared = lead.matchHashes.filter((hash) => other.matchHashes.some((otherHash) => otherHash.equals(hash)));
    return other.contentHash.equals(lead.contentHash) || (shared.length > 0 && shared.length >= needed);
  });
  return twin?.id ?? null;
}

function toAnswer(lead: PreparedLead, duplicateOf: string | null): IntakeAnswer {
  if (lead.problems.length > 0) return { status: "invalid", leadId: lead.id, fields: lead.problems };
  if (duplicateOf !== null) return { status: "duplicate", leadId: lead.id, duplicateOf };
  return { status: "received", leadId: lead.id };
}
