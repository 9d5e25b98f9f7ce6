import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { type LeadDelivery, type LockedLead, lockLead, readDeliveries, recordLeadEvent } from "../leads/lead-events.ts";
import type { Candidate } from "../routing/assess.ts";
import { type Choice, choosePartners } from "../routing/choose.ts";
import { type DecidedLead, hadByOf } from "../routing/decide-lead.ts";
import { type LoadedMarket, loadMarket, readRoutedCampaign, routedPartnerIds } from "../routing/market.ts";
import { isOpenTransfer, transferMs } from "../routing/offers.ts";
import { explainReason } from "../routing/reasons.ts";
import { saveDecisions } from "../routing/save-decisions.ts";

/** Whom an agent is to hand the caller over to. */
export interface Transfer {
  readonly id: string;
  readonly partnerId: string;
  readonly partnerName: string;
  readonly transferPhone: string;
  readonly until: Date;
  readonly priceMinor: number;
  readonly currency: string;
}

export type OpenTransferResult =
  | { readonly kind: "opened"; readonly transfer: Transfer }
  | { readonly kind: "lead_not_found" }
  | { readonly kind: "lead_state"; readonly state: string }
  /** Another is open: one at a time. */
  | { readonly kind: "open_already"; readonly transferId: string }
  /** `reasons`: why each partner with a number does not get it. None: nobody in the routing has one. */
  | { readonly kind: "nobody"; readonly reasons: readonly RefusedPartner[] };

export interface RefusedPartner {
  readonly partnerId: string;
  readonly name: string;
  readonly code: string;
  readonly text: string;
}

/**
 * Finds who can take a lead by telephone now: of the partners that routing would give it to, in routing's order, the first
 * that has a number for callers. Its place and the money are reserved for two minutes, in which nobody else gets the lead.
 * What it was held for stays held. A partner that was rung up for this lead before is not named again.
 */
export async function openTransfer(
  context: Context,
  organisationId: string,
  leadId: string,
  actor: string,
): Promise<OpenTransferResult> {
  const now = context.clock();
  return inOrganisation(context.database, organisationId, async (transaction): Promise<OpenTransferResult> => {
    const lead = await lockLead(transaction, leadId);
    if (lead === null) return { kind: "lead_not_found" };
    if (["duplicate", "invalid", "erased"].includes(lead.state)) return { kind: "lead_state", state: lead.state };
    const deliveries = await readDeliveries(transaction, leadId);
    const open = deliveries.find(isOpenTransfer);
    if (open !== undefined) return { kind: "open_already", transferId: open.id };
    const routed = await readRoutedCampaign(transaction, lead.campaignId, "lock");
    const market = await loadMarket(transaction, routed, routedPartnerIds(routed), "lock");
    const choice = chooseByTelephone(lead, deliveries, market, now);
    const [candidate] = choice.sends;
    if (candidate === undefined) return { kind: "nobody", reasons: await tellReasons(transaction, choice) };
    const found = { lead, deliveries, candidate, choice, market };
    const transfer = await reserve(transaction, organisationId, found, now);
    const detail = { deliveryId: transfer.id, partnerId: transfer.partnerId };
    await recordLeadEvent(transaction, { organisationId, leadId, kind: "transfer_opened", actor, detail }, now);
    return { kind: "opened", transfer };
  });
}

interface FoundPartner {
  readonly lead: LockedLead;
  readonly deliveries: readonly LeadDelivery[];
  readonly candidate: Candidate;
  readonly choice: Choice;
  readonly market: LoadedMarket;
}

const placedStates: readonly string[] = ["offered", "sending", "delivered", "uncertain"];

/** One partner, by the function that routes; it takes place, money and turn in `market`. */
function chooseByTelephone(
  lead: LockedLead,
  deliveries: readonly LeadDelivery[],
  market: LoadedMarket,
  now: Date,
): Choice {
  const hasNumber = ({ partnerId }: Candidate) => market.buyers.get(partnerId)?.transferPhone != null;
  const groups = market.groups.map((group) => ({ ...group, candidates: group.candidates.filter(hasNumber) }));
  const placed = deliveries.filter(({ state }) => placedStates.includes(state));
  const isFull = market.saleLimit > 0 && placed.length >= market.saleLimit;
  // One more than have it: this one.
  const saleLimit = isFull ? market.saleLimit : placed.length + 1;
  const rungUp = deliveries
    .filter(({ offer }) => offer === "transfer")
    .map((row) => [row.partnerId, row.state] as const);
  const hadBy = new Map([...hadByOf(deliveries), ...rungUp]);
  const { fields, introducerId } = lead;
  const routable = { fields, introducerId, mayWait: false, hadBy };
  return choosePartners(routable, placed, new Map(), { ...market, groups, saleLimit }, now);
}

async function reserve(
  transaction: Database,
  organisationId: string,
  found: FoundPartner,
  now: Date,
): Promise<Transfer> {
  const { lead, deliveries, candidate, choice, market } = found;
  const { partnerId, priceMinor } = candidate;
  const buyer = market.buyers.get(partnerId);
  if (buyer?.transferPhone == null) throw new Error(`Partner ${partnerId} has no number to transfer to.`);
  const held = deliveries.find((row) => row.partnerId === partnerId && row.state === "held");
  const id = held?.id ?? newId();
  const until = new Date(now.getTime() + transferMs);
  const decided: DecidedLead = {
    lead,
    choice,
    sends: [{ id, isNew: held === undefined, partnerId, candidate, offer: { kind: "transfer", until } }],
    holds: [],
    cancelledIds: [],
    state: "routing",
    stateReason: { code: "transfer" },
    dueAt: null,
  };
  await saveDecisions(transaction, organisationId, lead.campaignId, [decided], market, now);
  const { name: partnerName } = await transaction
    .selectFrom("partners")
    .select("name")
    .where("id", "=", partnerId)
    .executeTakeFirstOrThrow();
  return {
    id,
    partnerId,
    partnerName,
    transferPhone: buyer.transferPhone,
    until,
    priceMinor,
    currency: buyer.currency,
  };
}

async function tellReasons(transaction: Database, { considered }: Choice): Promise<readonly RefusedPartner[]> {
  const ids = [...new Set(considered.map(({ partnerId }) => partnerId))];
  if (ids.length === 0) return [];
  const rows = await transaction.selectFrom("partners").select(["id", "name"]).where("id", "in", ids).execute();
  const names = new Map(rows.map(({ id, name }) => [id, name]));
  return considered.flatMap(({ partnerId, reasons, result }) => {
    const name = names.get(partnerId) ?? "";
    const told = reasons.map((reason) => ({ partnerId, name, code: reason.code, text: explainReason(reason) }));
    const enough = {
      partnerId,
      name,
      code: "not_needed",
      text: "As many partners have the lead as the campaign lets.",
    };
    return result === "not_needed" ? [enough] : told;
  });
}
