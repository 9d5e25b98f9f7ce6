import type {
  ChannelName,
  ChannelRequest,
  Outcome,
  Reply,
  SendContext,
  TemplateVariables,
} from "../channels/contract.ts";
import { moneyFields } from "../channels/money-fields.ts";
import { type ChannelSettings, channelFor } from "../channels/registry.ts";
import type { Context } from "../context.ts";
import { expectedMinor } from "../prices/sale-terms.ts";
import type { ClaimedDelivery } from "./claim-deliveries.ts";
import type { DrainedPartner } from "./drained-partner.ts";
import { recordReply, recordRequest, storable } from "./record-exchange.ts";

/** One attempt that has ended, as it is to be stored. */
export interface FinishedAttempt {
  readonly delivery: ClaimedDelivery;
  /** `none`: the partner was not asked. */
  readonly channel: ChannelName | "none";
  readonly startedAt: Date;
  readonly durationMs: number;
  readonly outcome: Outcome;
  readonly status: number | null;
  /** Masked. */
  readonly request: Record<string, unknown> | null;
  readonly response: Record<string, unknown> | null;
}

/** Makes one attempt: renders, sends, judges. Never throws: whatever happens is an outcome. */
export async function attemptDelivery(
  context: Context,
  partner: DrainedPartner,
  delivery: ClaimedDelivery,
): Promise<FinishedAttempt> {
  const startedAt = context.clock();
  const settings = partner.delivery.internet ?? partner.delivery.email;
  if (settings === null) return giveUp(context, delivery, "no way of delivery is set up");
  const sent = await sendOver(settings, variablesOf(partner, delivery), sendContext(context, delivery.idempotencyKey));
  const { channel, outcome, status, durationMs } = sent;
  context.log.info(
    {
      deliveryId: delivery.id,
      leadId: delivery.leadId,
      partnerId: partner.id,
      attempt: delivery.attemptCount,
      channel,
      outcome: outcome.kind,
      status,
      durationMs: Math.round(durationMs),
    },
    "delivery.attempted",
  );
  return { delivery, startedAt, ...sent };
}

/** Ends a delivery without an attempt at the partner's endpoint, whose health this says nothing about. */
export function giveUp(context: Context, delivery: ClaimedDelivery, reason: string): FinishedAttempt {
  return { delivery, startedAt: context.clock(), ...nothingSent("none", { kind: "broken", reason }) };
}

export type SentOver = Omit<FinishedAttempt, "delivery" | "startedAt">;

/** Renders a lead into a partner's format, sends it and judges the answer. Used by deliveries and by trial sends. */
export async function sendOver(
  settings: ChannelSettings,
  variables: TemplateVariables,
  context: SendContext,
): Promise<SentOver> {
  let name: ChannelName | "none" = "none";
  try {
    const channel = channelFor(settings);
    name = channel.name;
    const rendered = channel.render(variables, settings);
    if (!rendered.ok) {
      return nothingSent(name, { kind: "broken", reason: `${rendered.field}: ${rendered.reason}` });
    }
    const reply = await channel.send(rendered.request, context);
    return exchanged(name, rendered.request, reply, channel.judge(reply, settings));
  } catch (error) {
    // Our own fault, and after sending perhaps: the lead may be with the partner.
    const reason = `an error of Handoff's own: ${error instanceof Error ? error.message : String(error)}`;
    return nothingSent(name, { kind: "retry", reason, arrived: "unknown", retryAfterMs: null });
  }
}

function nothingSent(channel: ChannelName | "none", outcome: Outcome): SentOver {
  const outcomeKept = storableOutcome(outcome);
  return { channel, durationMs: 0, outcome: outcomeKept, status: null, request: null, response: null };
}

function exchanged(channel: ChannelName | "none", request: ChannelRequest, reply: Reply, outcome: Outcome): SentOver {
  return {
    channel,
    durationMs: reply.durationMs,
    outcome: storableOutcome(outcome),
    status: reply.kind === "answer" ? reply.status : null,
    request: recordRequest(request),
    response: recordReply(reply, request.secrets),
  };
}

/** What a partner says may hold what PostgreSQL cannot keep. */
function storableOutcome(outcome: Outcome): Outcome {
  if (outcome.kind !== "accepted") return { ...outcome, reason: storable(outcome.reason) };
  const kept = (text: string | null) => (text === null ? null : storable(text));
  return { ...outcome, reason: kept(outcome.reason), reference: kept(outcome.reference) };
}

/** What a channel needs of the installation to send; the key tells the partner that two attempts are one delivery. */
export function sendContext(context: Context, idempotencyKey: string): SendContext {
  return { allowHosts: context.config.allowHosts, idempotencyKey, now: context.clock, smtp: context.config.smtp };
}

function variablesOf(partner: DrainedPartner, delivery: ClaimedDelivery): TemplateVariables {
  const { idempotencyKey, leadId, fields, contacts, receivedAt, source } = delivery;
  return {
    lead: { ...fields, id: leadId, received_at: receivedAt.toISOString(), source },
    contacts,
    campaign: { id: delivery.campaignId, name: delivery.campaignName, money: moneyFields(delivery.moneyFields) },
    partner: { id: partner.id, name: partner.name },
    delivery: { id: idempotencyKey, price_minor: expectedMinor(delivery), currency: delivery.currency, test: false },
  };
}
