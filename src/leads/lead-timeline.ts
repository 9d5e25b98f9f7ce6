import { z } from "zod";
import type { DeliveryWithAttempts } from "../delivery/present-delivery.ts";
import { instantSchema } from "../http/api.ts";
import { tellReferral } from "../referrals/tell-referral.ts";
import type { NoteAnswer } from "./lead-notes.ts";
import { tellWorkflowEvent } from "./tell-workflow-event.ts";

export const timelineEntry = z.object({
  at: instantSchema,
  kind: z.enum(["received", "decision", "delivery", "attempt", "event", "note"]),
  text: z.string().meta({ description: "in plain words" }),
  deliveryId: z.uuid().optional(),
});
export type TimelineEntry = z.infer<typeof timelineEntry>;

export interface LeadHistory {
  readonly lead: { readonly receivedAt: Date; readonly source: string | null; readonly duplicateOf: string | null };
  readonly decisions: readonly { readonly decidedAt: Date; readonly result: string }[];
  readonly deliveries: readonly DeliveryWithAttempts[];
  readonly events: readonly {
    readonly happenedAt: Date;
    readonly kind: string;
    readonly actor: string;
    readonly detail: Readonly<Record<string, unknown>>;
  }[];
  readonly notes: readonly Pick<NoteAnswer, "writtenAt" | "writtenBy" | "text">[];
}

/** Puts what is known of a lead into one story, oldest first. */
export function composeTimeline({ lead, decisions, deliveries, events, notes }: LeadHistory): TimelineEntry[] {
  const source = lead.source === null ? "" : ` from ${lead.source}`;
  const duplicate = lead.duplicateOf === null ? "" : `, a duplicate of ${lead.duplicateOf}`;
  const entries: TimelineEntry[] = [
    { at: lead.receivedAt.toISOString(), kind: "received", text: `The lead came in${source}${duplicate}.` },
    ...decisions.map(({ decidedAt, result }) => ({
      at: decidedAt.toISOString(),
      kind: "decision" as const,
      text: decisionWords[result] ?? `Routing came to: ${result}.`,
    })),
    ...deliveries.flatMap(tellDelivery),
    ...events.map(({ happenedAt, kind, actor, detail }) => ({
      at: happenedAt.toISOString(),
      kind: "event" as const,
      text: tellEvent(kind, actor, detail),
    })),
    ...notes.map(({ writtenAt, writtenBy, text }) => ({
      at: writtenAt,
      kind: "note" as const,
      text: `${writtenBy} noted: ${text}`,
    })),
  ];
  const order = ["received", "event", "note", "decision", "delivery", "attempt"];
  return entries.sort((a, b) => compare(a.at, b.at) || order.indexOf(a.kind) - order.indexOf(b.kind));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const decisionWords: Readonly<Record<string, string>> = {
  routing: "Routing decided who gets it.",
  held: "Nobody could take it at that time: it is held.",
  sold: "Routing found that it is sold.",
  unsold: "Routing found nobody to take it.",
};

const eventWords: Readonly<Record<string, string>> = {
  referred: "It was sent to a partner by hand",
  offered: "It was offered to a partner by hand",
  offer_accepted: "The partner accepted it",
  offer_declined: "The partner declined it",
  transfer_opened: "An agent began to hand the caller over to a partner",
  transfer_made: "The caller was handed over",
  transfer_failed: "The caller was not handed over",
  transfer_called: "The agent was rung up, to be put through to the partner",
  transfer_dialled: "The partner's telephone was rung",
  redelivered: "A delivery was sent again by hand",
  unreferred: "It was taken back by hand",
  resolved: "An uncertain delivery was decided by hand",
  billed: "A sale of it was moved to a later billing point",
  closed: "A sale of it was closed: what was still reserved went back",
  reversed: "What was paid for it went back; the partner keeps it",
  introducer_reversed: "What its introducer was owed was taken back",
  referral_reversed: "It was taken back by hand, with what its introducer was owed",
  return_asked: "A return of it was asked for",
  return_refused: "A return of it was refused",
  return_accepted: "The return of it was accepted",
  return_declined: "The return of it was declined",
  partner_status: "Its partner said what became of it",
  erased: "Its personal data was erased",
};

function tellEvent(kind: string, actor: string, detail: Readonly<Record<string, unknown>>): string {
  const told = tellWorkflowEvent(kind, actor, detail) ?? tellReferral(kind, actor, detail);
  return told ?? `${eventWords[kind] ?? `It was ${kind}`} (${actor})${reasonOf(detail)}.`;
}

function reasonOf({ reason }: Readonly<Record<string, unknown>>): string {
  return typeof reason === "string" && reason !== "" ? `: ${reason}` : "";
}

function tellDelivery(delivery: DeliveryWithAttempts): TimelineEntry[] {
  const { id: deliveryId, partnerName, state, reason, createdAt, finishedAt, attempts } = delivery;
  const told: TimelineEntry[] = [{ at: createdAt, kind: "delivery", text: begunWords(delivery), deliveryId }];
  for (const { startedAt, number, channel, outcome, status, reason: why } of attempts) {
    const answered = status === null ? "" : ` (${status})`;
    const text = `Attempt ${number} to ${partnerName} over ${channel}: ${outcome}${answered}${why === null ? "" : `: ${why}`}.`;
    told.push({ at: startedAt, kind: "attempt", text: text.replace(/\.\.$/, "."), deliveryId });
  }
  if (finishedAt !== null) {
    const text = `The delivery to ${partnerName} ended: ${state}${reason === null ? "" : `: ${reason}`}.`;
    told.push({ at: finishedAt, kind: "delivery", text: text.replace(/\.\.$/, "."), deliveryId });
  }
  return told;
}

function begunWords({ partnerName, hold, offer }: DeliveryWithAttempts): string {
  if (hold !== null) return `It is held for ${partnerName}: ${hold.reason.text}`;
  if (offer === null) return `A delivery to ${partnerName} began.`;
  return offer.kind === "accept"
    ? `It was offered to ${partnerName}, to be accepted by ${offer.until}.`
    : `The caller was to be handed over to ${partnerName} by ${offer.until}.`;
}
