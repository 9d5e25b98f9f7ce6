import { sql } from "kysely";
import { drainPartner } from "../../queues/drain-partner.ts";
import { routeLeads } from "../../queues/route-leads.ts";
import { sendAlerts } from "../../queues/send-alerts.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { isPassingTrouble } from "../db/passing-trouble.ts";
import { recordSet } from "../db/record-set.ts";
import { describeError } from "../describe-error.ts";
import type { OutOfFunds } from "./choose.ts";
import { type ClaimedLead, type DecidedLead, decideLeads, type EarlierDelivery } from "./decide-lead.ts";
import { HoldSlots } from "./hold-slots.ts";
import { type LoadedMarket, loadMarket, readRoutedCampaign, routedPartnerIds } from "./market.ts";
import { isOpenTransfer, tellOfOffers, transferMs } from "./offers.ts";
import { saveDecisions } from "./save-decisions.ts";

/** Leads that one transaction decides. Large enough that its statements cost each lead little, small enough to be short. */
const batchSize = 100;

/** A job hands the worker back after this long, so that one busy campaign does not keep a place for ever. */
const sliceMs = 2_000;

/** While more leads wait to be routed, partners are woken this often: each then has more to send, and to settle, at once. */
const wakeEveryMs = 100;

/** A lead that cannot be decided, by a fault of ours, is tried again after this. */
const putOffMs = 60_000;

/**
 * Routes the leads of one campaign that are due, batch by batch, until none is left or the slice is over; then the rest
 * is left to another job. Any number may run at once for one campaign: each lead is claimed by one.
 */
export async function routeDueLeads(context: Context, organisationId: string, campaignId: string): Promise<void> {
  const endsAt = performance.now() + sliceMs;
  let wakesAt = performance.now() + wakeEveryMs;
  const given = new Set<string>();
  let hasOffers = false;
  const wakeGiven = () => {
    for (const partnerId of given) context.waker.wake(drainPartner, { organisationId, partnerId });
    given.clear();
    if (hasOffers) context.waker.wake(sendAlerts, { organisationId });
    hasOffers = false;
    wakesAt = performance.now() + wakeEveryMs;
  };
  try {
    for (;;) {
      const batch = await routeWhatCanBe(context, organisationId, campaignId);
      for (const partnerId of batch.partnerIds) given.add(partnerId);
      hasOffers ||= batch.hasOffers;
      if (batch.leads < batchSize) return;
      if (performance.now() > wakesAt) wakeGiven();
      if (performance.now() > endsAt) {
        context.waker.wake(routeLeads, { organisationId, campaignId });
        return;
      }
    }
  } finally {
    wakeGiven();
  }
}

interface RoutedBatch {
  /** How many leads were claimed. */
  readonly leads: number;
  /** Who was given any. */
  readonly partnerIds: ReadonlySet<string>;
  /** Somebody is told that it may accept one. */
  readonly hasOffers: boolean;
}

/** Decides a batch. Where that fails each of its leads is decided alone, so that one lead's trouble is its own. */
async function routeWhatCanBe(context: Context, organisationId: string, campaignId: string): Promise<RoutedBatch> {
  const claimed: string[] = [];
  try {
    return await routeBatch(context, organisationId, campaignId, null, claimed);
  } catch (error) {
    if (claimed.length === 0 || isPassingTrouble(error)) throw error;
    context.log.warn({ campaignId, leads: claimed.length, error: describeError(error) }, "routing.batch_failed");
  }
  const partnerIds = new Set<string>();
  let hasOffers = false;
  for (const leadId of claimed) {
    try {
      const alone = await routeBatch(context, organisationId, campaignId, leadId, []);
      for (const partnerId of alone.partnerIds) partnerIds.add(partnerId);
      hasOffers ||= alone.hasOffers;
    } catch (error) {
      if (isPassingTrouble(error)) throw error;
      context.log.error({ campaignId, leadId, error: describeError(error) }, "routing.lead_failed");
      await putOff(context, organisationId, leadId);
    }
  }
  return { leads: claimed.length, partnerIds, hasOffers };
}

/**
 * Decides up to `batchSize` due leads in one transaction, or one named: claims them, takes places and money, writes what
 * was decided. Notes in `claimed` which leads it has, for when it fails.
 */
async function routeBatch(
  context: Context,
  organisationId: string,
  campaignId: string,
  leadId: string | null,
  claimed: string[],
): Promise<RoutedBatch> {
  const now = context.clock();
  return inOrganisation(
    context.database,
    organisationId,
    async (transaction, last) => {
      // Who waits for the campaign has no lead in hand meanwhile.
      const [campaign, leads] = await Promise.all([
        readRoutedCampaign(transaction, campaignId, "lock"),
        claimLeads(transaction, campaignId, leadId, now),
      ]);
      if (leads.length === 0) return { leads: 0, partnerIds: new Set<string>(), hasOffers: false };
      claimed.push(...leads.map(({ id }) => id));
      const [earlier, market] = await Promise.all([
        readEarlierDeliveries(transaction, leads),
        loadMarket(transaction, campaign, routedPartnerIds(campaign), "lock"),
      ]);
      const slots = new HoldSlots(transaction, market.buyers);
      const inTransfer = leads.filter(({ id }) => earlier.get(id)?.some(isOpenTransfer));
      await leaveToAgents(transaction, inTransfer, now);

      const decidable = leads.filter((lead) => !inTransfer.includes(lead));
      const decided = await decideLeads(decidable, earlier, campaign.whenUncertain, market, slots, now);
      const sends = decided.flatMap((lead) => lead.sends);
      const offeredIds = sends.flatMap(({ id, offer }) => (offer === null ? [] : [id]));
      const save = async () => saveDecisions(transaction, organisationId, campaignId, decided, market, now);
      await Promise.all([
        tellOutOfFunds(transaction, decided, market, now),
        ...(offeredIds.length === 0
          ? [last(save)]
          : [save(), last(async () => tellOfOffers(transaction, offeredIds, now))]),
      ]);
      return {
        leads: leads.length,
        partnerIds: new Set(sends.map((send) => send.partnerId)),
        hasOffers: offeredIds.length > 0,
      };
    },
    { keepsPlans: true },
  );
}

/** A lead whose caller is being handed over is looked at again when that has surely ended. */
async function leaveToAgents(transaction: Database, leads: readonly ClaimedLead[], now: Date): Promise<void> {
  if (leads.length === 0) return;
  await transaction
    .updateTable("leads")
    .set({ dueAt: new Date(now.getTime() + transferMs) })
    .where(
      "id",
      "in",
      leads.map(({ id }) => id),
    )
    .execute();
}

/** Tells of partners that are out of funds, where that was not told yet: seldom is there a statement to send. */
async function tellOutOfFunds(
  transaction: Database,
  decided: readonly DecidedLead[],
  market: LoadedMarket,
  now: Date,
): Promise<void> {
  const first = new Map<string, OutOfFunds>();
  for (const { choice } of decided) {
    for (const out of choice.outOfFunds) {
      const isTold = market.funds.get(out.partnerId)?.outSince !== null;
      if (!isTold && !first.has(out.partnerId)) first.set(out.partnerId, out);
    }
  }
  const news = [...first.values()];
  if (news.length === 0) return;
  const rows = news.map((out) => ({ id: out.partnerId, price: out.priceMinor, available: out.availableMinor }));
  await sql`
    select partner_ran_out(g.id, g.price, g.available, ${now}::timestamptz)
    from ${recordSet(rows, "id uuid, price bigint, available bigint")} as g
  `.execute(transaction);
}

async function putOff(context: Context, organisationId: string, leadId: string): Promise<void> {
  const now = context.clock();
  await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .updateTable("leads")
      .set({ dueAt: new Date(now.getTime() + putOffMs) })
      .where("id", "=", leadId)
      .where("dueAt", "<=", now)
      .execute(),
  );
}

/** Leads whose time has come, oldest first, that no other worker has in hand; or the one named, if it is among them. */
async function claimLeads(
  transaction: Database,
  campaignId: string,
  leadId: string | null,
  now: Date,
): Promise<readonly ClaimedLead[]> {
  const due = transaction
    .selectFrom("leads")
    .select(["id", "fields", "introducerId", "state", "soldCount", "receivedAt", "holdEndsAt", "byHand"])
    .where("campaignId", "=", campaignId)
    .where("dueAt", "<=", now);
  return (leadId === null ? due : due.where("id", "=", leadId))
    .orderBy("dueAt")
    .orderBy("id")
    .limit(batchSize)
    .forNoKeyUpdate()
    .skipLocked()
    .execute();
}

async function readEarlierDeliveries(
  transaction: Database,
  leads: readonly ClaimedLead[],
): Promise<ReadonlyMap<string, EarlierDelivery[]>> {
  const ids = leads.filter((lead) => lead.state !== "received").map((lead) => lead.id);
  const byLead = new Map<string, EarlierDelivery[]>();
  if (ids.length === 0) return byLead;
  const rows = await transaction
    .selectFrom("deliveries")
    .select(["id", "leadId", "partnerId", "groupId", "state", "offer", "holdUntil", "holdReason", "dueAt", "withdrawn"])
    .where("leadId", "in", ids)
    .orderBy("id")
    .execute();
  for (const row of rows) {
    const deliveries = byLead.get(row.leadId) ?? [];
    deliveries.push(row);
    byLead.set(row.leadId, deliveries);
  }
  return byLead;
}
